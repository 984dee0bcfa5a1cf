package objects

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// What is made and removed within one epoch has no inode and no name on disk; its object
// and what was written are kept for the trash.
func TestWhatLivesInOneEpochLeavesNoInode(t *testing.T) {
	s, err := Open(context.Background(), Options{Dir: t.TempDir(), EpochInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := s.Mkdir(alice, RootIno, "d", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SyncAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := put(t, s, d.Ino, "f", "short-lived")
	held := put(t, s, d.Ino, "held", "held by the kernel")
	s.Ref(held.Ino)
	sub, err := s.Mkdir(alice, d.Ino, "sub", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "held"} {
		if err := s.Unlink(alice, d.Ino, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Rmdir(alice, d.Ino, "sub"); err != nil {
		t.Fatal(err)
	}
	s.Forget(held.Ino, 1)
	if err := s.SyncAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := s.db.View()
	defer v.Close()
	for _, ino := range []Ino{f.Ino, held.Ino, sub.Ino} {
		for what, key := range map[string][]byte{"inode": inoKey(ino), "orphan": orphanKey(ino)} {
			if len(v.History(key)) != 0 {
				t.Errorf("inode %d: its %s record came to the disk", ino, what)
			}
		}
	}
	for _, name := range []string{"f", "held", "sub"} {
		if len(v.History(dentKey(d.Ino, name))) != 0 {
			t.Errorf("the name %s came to the disk", name)
		}
	}
	if vs, err := s.Versions(f.Object); err != nil || len(vs) != 1 {
		t.Errorf("what was written: %d versions, %v", len(vs), err)
	}
}

// A name that an earlier epoch has is removed on disk, whatever happened to it since.
func TestRemovalReachesTheDisk(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	put(t, s, RootIno, "a", "1")
	if err := s.SyncAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, RootIno, "b", "2")
	for _, step := range []error{s.Unlink(alice, RootIno, "a"), s.Rename(alice, RootIno, "b", RootIno, "a", 0), s.Unlink(alice, RootIno, "a"), s.Close()} {
		if step != nil {
			t.Fatal(step)
		}
	}
	s = openStore(t, dir)
	defer s.Close()
	for _, name := range []string{"a", "b"} {
		if _, err := s.Lookup(RootIno, name); err == nil {
			t.Errorf("%s is there again", name)
		}
	}
}

// Whatever is kept or dropped of the names in memory, a directory has the names that it
// has: looked up, listed, and asked whether it is empty.
func TestNamesInMemoryAreTheTruth(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	r := rand.New(rand.NewPCG(7, 7))
	d, err := s.Mkdir(alice, RootIno, "d", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Ino{}
	for i := range 3000 {
		a, b := fmt.Sprint("n", r.IntN(40)), fmt.Sprint("n", r.IntN(40))
		switch r.IntN(8) {
		case 0, 1, 2:
			if at, err := s.Mknod(alice, d.Ino, a, 0o100644, 0); err == nil {
				want[a] = at.Ino
			} else if want[a] == 0 {
				t.Fatal(err)
			}
		case 3, 4:
			if err := s.Unlink(alice, d.Ino, a); (err == nil) != (want[a] != 0) {
				t.Fatalf("unlink %s: %v", a, err)
			}
			delete(want, a)
		case 5:
			if err := s.Rename(alice, d.Ino, a, d.Ino, b, 0); err == nil && a != b {
				want[b] = want[a]
				delete(want, a)
			} else if (err == nil) != (want[a] != 0) {
				t.Fatalf("rename %s: %v", a, err)
			}
		case 6:
			s.mu.Lock()
			s.names.drop(d.Ino)
			s.mu.Unlock()
		case 7:
			if i%5 == 0 {
				if err := s.SyncAll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if at, err := s.Lookup(d.Ino, b); (err == nil) != (want[b] != 0) || err == nil && at.Ino != want[b] {
			t.Fatalf("step %d: %s is %d, want %d, %v", i, b, at.Ino, want[b], err)
		}
		if r.IntN(4) == 0 {
			entries, err := s.list(d.Ino)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]Ino{}
			for _, e := range entries {
				got[e.Name] = e.Ino
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || !slices.IsSortedFunc(entries, func(a, b DirEntry) int { return int(a.Cookie) - int(b.Cookie) }) {
				t.Fatalf("step %d: %v, want %v", i, got, want)
			}
			s.mu.Lock()
			empty := s.emptyDir(d.Ino)
			s.mu.Unlock()
			if empty != (len(want) == 0) {
				t.Fatalf("step %d: empty %v with %d names", i, empty, len(want))
			}
		}
	}
}

// What changes while an epoch is encoded belongs to the next one: the epoch shows every
// file as it was when it was closed.
func TestAnEpochHoldsNothingOfTheNext(t *testing.T) {
	var during atomic.Pointer[func()]
	s, err := Open(context.Background(), Options{Dir: t.TempDir(), EpochInterval: time.Hour, step: func(step string) {
		if step == "commit: epoch is closed" || step == "commit: inodes are encoded" {
			if fn := during.Load(); fn != nil {
				(*fn)()
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const files = 4 * encodeStep
	inos := make([]Ino, files)
	for i := range inos {
		inos[i] = put(t, s, RootIno, fmt.Sprintf("f%04d", i), "x").Ino
	}
	round := 0
	change := func() {
		round++
		for i, ino := range inos {
			mode := uint32(0o600)
			if _, err := s.SetAttr(alice, ino, SetAttr{Mode: &mode}); err != nil {
				t.Error(err)
			}
			if i%7 == round%7 {
				if err := s.Rename(alice, RootIno, fmt.Sprintf("f%04d", i), RootIno, fmt.Sprintf("g%04d", i), 0); err != nil && round == 1 {
					t.Error(err)
				}
			}
		}
	}
	during.Store(&change)
	if err := s.SyncAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	during.Store(nil)
	first := s.db.LastSealed()
	if round < 2 {
		t.Fatalf("%d rounds of changes while the epoch was encoded", round)
	}
	check := func(ts kv.TS, mode uint32, renamed bool) {
		t.Helper()
		v, err := s.db.ViewAt(ts)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		sn := &Snapshot{s, v}
		for i, ino := range inos {
			a, err := sn.GetAttr(ino)
			if err != nil || a.Mode&0o777 != mode {
				t.Errorf("file %d has mode %o, %v; want %o", i, a.Mode, err, mode)
			}
			if _, err := sn.Lookup(RootIno, fmt.Sprintf("f%04d", i)); err != nil && !renamed {
				t.Errorf("file %d has lost its name: %v", i, err)
			}
		}
	}
	check(first, 0o644, false)
	if err := s.SyncAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(s.db.LastSealed(), 0o600, true)
}
