package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// remembered is how many inodes the store has in memory, and how many of them it counts
// lookups of.
func (s *Store) remembered() (nodes, held int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.nodes), len(s.lookups.m)
}

// The kernel of a machine with much memory holds every inode of a large tree. The store
// remembers a bounded number of them, both when they are looked at and when they are made,
// and yet what is removed meanwhile lives until the kernel lets go of it.
func TestMoreHeldThanRemembered(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, CacheNodes: 64}
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	const files, most = 5000, 128 // some change, and wait for the next epoch
	var inos []Ino
	for i := range files {
		a, err := s.Mkdir(alice, RootIno, fmt.Sprint(i), 0o755)
		if err != nil {
			t.Fatal(err)
		}
		s.Ref(a.Ino)
		inos = append(inos, a.Ino)
		if i%32 == 0 {
			if err := s.SyncAll(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, held := s.remembered(); n > most || held != files {
		t.Errorf("made %d: %d inodes in memory, %d held", files, n, held)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	for i, ino := range inos {
		a, err := s.Lookup(RootIno, fmt.Sprint(i))
		if err != nil || a.Ino != ino {
			t.Fatal(a.Ino, ino, err)
		}
		s.Ref(ino)
		s.Ref(ino)
	}
	if n, held := s.remembered(); n > most || held != files {
		t.Errorf("looked at %d: %d inodes in memory, %d held", files, n, held)
	}
	for i, ino := range inos[:100] {
		if err := s.Rmdir(alice, RootIno, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		s.Forget(ino, 1)
	}
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range inos { // others take their places in memory
		_, _ = s.Lookup(RootIno, fmt.Sprint(i))
	}
	for _, ino := range inos[:100] {
		if a, err := s.GetAttr(ino); err != nil || a.Nlink != 1 && a.Nlink != 0 {
			t.Fatalf("inode %d is removed and held: %+v %v", ino, a, err)
		}
	}
	for _, ino := range inos {
		s.Forget(ino, 2)
	}
	for _, ino := range inos[:100] {
		if _, err := s.GetAttr(ino); !errors.Is(err, ErrNotFound) {
			t.Fatalf("inode %d is removed, and nobody holds it: %v", ino, err)
		}
	}
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Rest()
	if n, held := s.remembered(); n > restNodes || held != 0 {
		t.Errorf("at rest: %d inodes in memory, %d held", n, held)
	}
}

// What has lost its name while somebody held it is gone when the store is closed: the next
// start does not look for it.
func TestCloseLeavesNoOrphans(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := openStore(t, dir)
	var lost []Ino
	for _, text := range []string{"small", strings.Repeat("large", 50_000)} {
		for i, hold := range []func(Ino){
			s.Ref, // by the kernel
			func(ino Ino) {
				h, err := s.OpenFile(alice, ino, unix.O_RDWR)
				if err == nil {
					_, err = h.WriteAt(alice, []byte("more"), 3)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
		} {
			a := put(t, s, RootIno, fmt.Sprint("f", i), text)
			hold(a.Ino)
			if err := s.Unlink(alice, RootIno, fmt.Sprint("f", i)); err != nil {
				t.Fatal(err)
			}
			lost = append(lost, a.Ino)
		}
	}
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	orphans := func() (n int) {
		for range s.view.ScanKeys([]byte{'u'}, nil) {
			n++
		}
		return n
	}
	if n := orphans(); n != len(lost) {
		t.Fatalf("%d files without a name are noted, want %d", n, len(lost))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	if n := orphans(); n > 0 {
		t.Errorf("%d files without a name are noted after a close", n)
	}
	for _, ino := range lost {
		if _, err := s.GetAttr(ino); !errors.Is(err, ErrNotFound) {
			t.Errorf("inode %d is there at the next start: %v", ino, err)
		}
	}
	if names, err := s.blobs.ListStaging(); err != nil || len(names) > 0 {
		t.Errorf("staging files stay: %v, %v", names, err)
	}
	if rep, err := s.Fsck(ctx); err != nil || len(rep.Problems) > 0 {
		t.Errorf("%v, %v", rep.Problems, err)
	}
}
