package fs

import "context"

// Welcome does for a caller who comes by another way than the mount what his first
// contact with it does: a human gets his directories (contract §2). The caller needs
// his subject and ids.
func (s *Server) Welcome(ctx context.Context, c Caller) error {
	return s.t.contact(&call{Context: ctx, Caller: c, t: s.t})
}

// Temporary tells whether a name is an editor's or file manager's own, which no drop
// box submits (design §3).
func Temporary(name string) bool { return temporary(name) }
