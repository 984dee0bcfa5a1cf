package objects

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// A kernel that holds more inodes than are to be remembered, as after a walk of a large
// tree, costs the next lookup nothing; what it lets go is forgotten again.
func TestMoreHeldThanRemembered(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, CacheNodes: 64}
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	const files = 5000
	for i := range files {
		if _, err := s.Mkdir(alice, RootIno, fmt.Sprint(i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	held := make(chan []Ino, 1)
	go func() {
		var inos []Ino
		for i := range files {
			a, err := s.Lookup(RootIno, fmt.Sprint(i))
			if err != nil {
				t.Error(err)
				break
			}
			s.Ref(a.Ino)
			inos = append(inos, a.Ino)
		}
		held <- inos
	}()
	var inos []Ino
	select {
	case inos = <-held:
	case <-time.After(time.Minute):
		t.Fatal("lookups do not end when the kernel holds what is remembered")
	}
	for _, ino := range inos {
		s.Forget(ino, 1)
	}
	for range 10 * files / evictStep {
		if _, err := s.Lookup(RootIno, "0"); err != nil {
			t.Fatal(err)
		}
	}
	s.Rest()
	s.mu.Lock()
	n := s.idle.Len()
	s.mu.Unlock()
	if n > restNodes {
		t.Errorf("%d inodes are remembered that nobody holds", n)
	}
}
