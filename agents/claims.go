package agents

import (
	"strings"
	"sync"
)

// claims has documents that want the same name or idempotency key come one after the
// other, and lets all others be accepted side by side, in one commit where it so happens.
// Keys begin with the subject's id and a NUL byte, or are those of records.
type claims struct {
	mu   sync.Mutex
	held map[string]*claim
}

type claim struct {
	free  chan struct{} // holds a token while nobody holds the key
	users int           // who hold it or wait for it
}

// take waits until nobody holds a key, and holds it until release is called.
func (s *claims) take(key string) (release func()) {
	s.mu.Lock()
	c := s.held[key]
	if c == nil {
		if s.held == nil {
			s.held = map[string]*claim{}
		}
		c = &claim{free: make(chan struct{}, 1)}
		c.free <- struct{}{}
		s.held[key] = c
	}
	c.users++
	s.mu.Unlock()
	<-c.free
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.users--; c.users == 0 {
			delete(s.held, key)
		}
		c.free <- struct{}{}
	}
}

// of gives the names that a subject's documents hold: those that are about to be
// accepted, the caller's among them.
func (s *claims) of(subject string) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{}
	for key := range s.held {
		if name, ok := strings.CutPrefix(key, subject+"\x00"); ok {
			names[name] = true
		}
	}
	return names
}
