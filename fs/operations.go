package fs

import (
	"sync/atomic"

	"github.com/ai-os-dot-net/aios/fs/internal/loop"
)

// operations counts the kernel's requests by their kind, of which there are few.
type operations [64]atomic.Uint64

func (o *operations) count(opcode uint32) {
	if opcode < uint32(len(o)) {
		o[opcode].Add(1)
	}
}

// Operations gives how many requests of each kind were answered for somebody, by the
// names that linux/fuse.h has for them. What the kernel reads and writes by itself, or
// asks for on nobody's behalf, is not among them.
func (s *Server) Operations() map[string]uint64 {
	m := map[string]uint64{}
	for op := range s.t.ops {
		if n := s.t.ops[op].Load(); n > 0 {
			m[loop.Op(op).String()] += n
		}
	}
	return m
}

// OperationNames lists all names that Operations may give.
func OperationNames() []string {
	var names []string
	for op := range len(operations{}) {
		names = append(names, loop.Op(op).String())
	}
	return names
}
