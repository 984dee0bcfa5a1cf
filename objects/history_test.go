package objects

import (
	"testing"
	"time"
)

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
			got := ""
			for i, v := range list {
				r, err := s.OpenVersion(v.ID)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, r.Size())
				if _, err := r.ReadAt(b, 0); err != nil {
					t.Fatal(err)
				}
				r.Close()
				got += string(b) + " "
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
