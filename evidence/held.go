package evidence

import (
	"sync"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// heldTypes remembers which record types the log has records of. As nothing leaves the
// log, a type that was found stays, and the others are looked for among later records only.
type heldTypes struct {
	mu     sync.Mutex
	types  map[record.Type]bool
	looked uint64 // the last record that was looked at
}

// Types lists the types that the log has records of, in the order of their numbers,
// simulated records included.
func (l *Log) Types() ([]record.Type, error) {
	h := &l.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.types == nil {
		h.types = map[record.Type]bool{}
	}
	size := l.Head().Size
	var list []record.Type
	for _, t := range record.All() {
		if !h.types[t] && h.looked < size {
			for _, err := range l.Query(Query{Types: []record.Type{t}, FromSeq: h.looked + 1, Limit: 1, IncludeSimulated: true}) {
				if err != nil {
					return nil, err
				}
				h.types[t] = true
			}
		}
		if h.types[t] {
			list = append(list, t)
		}
	}
	h.looked = size
	return list, nil
}
