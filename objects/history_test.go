package objects

import (
	"context"
	"testing"
	"time"
)

// texts reads what versions hold.
func texts(t *testing.T, s *Store, list []Version) string {
	t.Helper()
	all := ""
	for _, v := range list {
		r, err := s.OpenVersion(v.ID)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, r.Size())
		if _, err := r.ReadAt(b, 0); err != nil && len(b) > 0 {
			t.Fatal(err)
		}
		r.Close()
		all += string(b) + " "
	}
	return all
}

// A file that is older than the one whose name it takes is that name's newest version all
// the same: last in its history, before what is written afterwards.
func TestAnOlderFileTakesAName(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	put(t, s, RootIno, "old", "older")
	time.Sleep(3 * time.Millisecond)
	put(t, s, RootIno, "f", "newer")
	if err := s.Rename(alice, RootIno, "old", RootIno, "f", 0); err != nil {
		t.Fatal(err)
	}
	look := func(when, want string) {
		t.Helper()
		f, err := s.Lookup(RootIno, "f")
		if err != nil {
			t.Fatal(err)
		}
		of, err := s.Versions(f.Object)
		if err != nil {
			t.Fatal(err)
		}
		named, err := s.NameHistory(RootIno, "f")
		if err != nil {
			t.Fatal(err)
		}
		for what, list := range map[string][]Version{"object": of, "name": named} {
			got := texts(t, s, list)
			for i, v := range list {
				if i > 0 && v.Since().UnixMilli() <= list[i-1].Since().UnixMilli() {
					t.Errorf("%s: the %s's version %d came at %v, the one before at %v", when, what, i, v.Since(), list[i-1].Since())
				}
			}
			if got != want {
				t.Errorf("%s: the %s's history is %q, want %q", when, what, got, want)
			}
		}
	}
	look("after the rename", "newer older ")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	look("at the next start", "newer older ")
	time.Sleep(3 * time.Millisecond)
	put(t, s, RootIno, "f", "newest")
	look("written again", "newer older newest ")
}

// Files that change names, and names that change files: what a name holds is the last of
// its history, whichever of the files is the older one, and what they get elsewhere is not
// in it. Taking back restores the record of a name as it was.
func TestANameHoldsItsLastVersion(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	told := func(when, name, want string) {
		t.Helper()
		for range 2 { // the second time nothing is under way
			list, err := s.NameHistory(RootIno, name)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(t, s, list); got != want {
				t.Errorf("%s: the history of %s is %q, want %q", when, name, got, want)
			}
		}
	}
	pass := func() { time.Sleep(3 * time.Millisecond) }
	put(t, s, RootIno, "a", "a1")
	pass()
	put(t, s, RootIno, "b", "b1")
	pass()
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	swap := func() {
		t.Helper()
		if err := s.Rename(alice, RootIno, "a", RootIno, "b", RenameExchange); err != nil {
			t.Fatal(err)
		}
		pass()
	}
	swap()
	put(t, s, RootIno, "a", "b2") // in the epoch of the exchange, of the file that left b
	told("exchanged", "a", "a1 b1 b2 ")
	told("exchanged", "b", "b1 a1 ")
	swap()
	told("back", "a", "b1 b2 a1 ")
	told("back", "b", "b1 a1 b2 ")

	// A free name that another file had.
	if err := s.Rename(alice, RootIno, "b", RootIno, "c", 0); err != nil {
		t.Fatal(err)
	}
	told("a new name", "c", "b1 b2 ")
	pass()
	put(t, s, RootIno, "c", "b3")
	pass()
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Rename(alice, RootIno, "c", RootIno, "d", 0); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	pass()
	if err := s.Rename(alice, RootIno, "a", RootIno, "c", 0); err != nil {
		t.Fatal(err)
	}
	told("a free name that another file had", "c", "b1 b2 b3 a1 ")

	// A file that is open leaves its name, another is made there, and the first one is
	// closed, all in one epoch: what that close left is not the name's.
	_, h, err := s.Create(alice, RootIno, "e", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(alice, []byte("e1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Rename(alice, RootIno, "e", RootIno, "f", 0); err != nil {
		t.Fatal(err)
	}
	pass()
	put(t, s, RootIno, "e", "e2")
	pass()
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	told("made anew", "e", "e2 ")
	told("that left", "f", "e1 ")

	// A name loses its file to another name, and the one that it has then to a new one, all
	// in one epoch: what the first one gets under its new name is not the old name's.
	put(t, s, RootIno, "g", "g1")
	put(t, s, RootIno, "h", "h1")
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	pass()
	if err := s.Rename(alice, RootIno, "g", RootIno, "h", RenameExchange); err != nil {
		t.Fatal(err)
	}
	pass()
	put(t, s, RootIno, "h", "g2")
	put(t, s, RootIno, "g.part", "h2")
	pass()
	if err := s.Rename(alice, RootIno, "g.part", RootIno, "g", 0); err != nil {
		t.Fatal(err)
	}
	pass()
	put(t, s, RootIno, "h", "g3")
	told("lost, and replaced", "g", "g1 h1 h2 ")
	told("lost, and replaced", "h", "h1 g1 g2 g3 ")
}

// What an older file brings to an object when it is renamed over its file is not in the
// history of the name that the object's file had before.
func TestANameLacksWhatItsObjectGotElsewhere(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	pass := func() { time.Sleep(3 * time.Millisecond) }
	for _, name := range []string{"c", "a", "b"} {
		put(t, s, RootIno, name, name+"1")
		pass()
	}
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Rename(alice, RootIno, "a", RootIno, "b", RenameExchange); err != nil {
		t.Fatal(err)
	}
	pass()
	if err := s.Rename(alice, RootIno, "c", RootIno, "a", 0); err != nil { // over what b was
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "a1 b1 c1 ", "b": "b1 a1 "} {
		list, err := s.NameHistory(RootIno, name)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(t, s, list); got != want {
			t.Errorf("the history of %s is %q, want %q", name, got, want)
		}
	}
}
