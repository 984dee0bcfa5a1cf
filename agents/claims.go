package agents

import "sync"

// claims has documents that want the same name or idempotency key come one after the
// other, and lets all others be accepted side by side, in one commit where it so happens.
type claims struct {
	mu     sync.Mutex
	held   map[string]*claim
	coming map[string]map[string]bool // by subject: the names that are about to be goals
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

// admit gives a document that is to be accepted a place among the goals of its subject that
// are under way, until release is called; false where there is none. live gives the names
// of those that have begun: one that has, and still holds its place, counts once.
func (s *claims) admit(subject, name string, most int, live func() []string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	coming := s.coming[subject]
	n := len(coming)
	for _, l := range live() {
		if !coming[l] {
			n++
		}
	}
	if n >= most {
		return nil, false
	}
	if coming == nil {
		if s.coming == nil {
			s.coming = map[string]map[string]bool{}
		}
		coming = map[string]bool{}
		s.coming[subject] = coming
	}
	coming[name] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(coming, name); len(coming) == 0 {
			delete(s.coming, subject)
		}
	}, true
}
