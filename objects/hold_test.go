package objects

import (
	"context"
	"fmt"
	"testing"
)

// What a kernel holds is remembered, though it be more than is to be remembered, as after a
// walk of a large tree; what it lets go is forgotten when the store rests.
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
	var inos []Ino
	for i := range files {
		a, err := s.Lookup(RootIno, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		s.Ref(a.Ino)
		inos = append(inos, a.Ino)
	}
	for _, ino := range inos {
		s.mu.Lock()
		n := s.nodes[ino]
		s.mu.Unlock()
		if n == nil || n.refs != 1 {
			t.Fatalf("inode %d is held, and the store does not know: %+v", ino, n)
		}
		s.Forget(ino, 1)
	}
	s.Rest()
	s.mu.Lock()
	n := s.idle.Len()
	s.mu.Unlock()
	if n > restNodes {
		t.Errorf("%d inodes are remembered that nobody holds", n)
	}
}
