package objects

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func mkdir(t testing.TB, s *Store, dir Ino, name string) Ino {
	t.Helper()
	a, err := s.Mkdir(alice, dir, name, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	return a.Ino
}

// removeAll is rm -r, as a program does it.
func removeAll(t testing.TB, s *Store, dir Ino, name string) {
	t.Helper()
	a, err := s.Lookup(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	if !isDir(a.Mode) {
		if err := s.Unlink(alice, dir, name); err != nil {
			t.Fatal(err)
		}
		return
	}
	h, err := s.OpenDir(a.Ino)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range h.From(0) {
		removeAll(t, s, a.Ino, e.Name)
	}
	h.Close()
	if err := s.Rmdir(alice, dir, name); err != nil {
		t.Fatal(err)
	}
}

func sound(t testing.TB, s *Store) {
	t.Helper()
	rep, err := s.Fsck(context.Background())
	if err != nil || len(rep.Problems) > 0 {
		t.Errorf("fsck: %v, %q", err, rep.Problems)
	}
}

// A tree with hard links, attributes and history, removed name by name, comes back whole:
// also after a restart.
func TestTrashGivesATreeBackWhole(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		t.Run(fmt.Sprint("reopen=", reopen), func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir)
			d := mkdir(t, s, RootIno, "d")
			sub := mkdir(t, s, d, "sub")
			f := put(t, s, d, "f.md", "first")
			put(t, s, d, "f.md", "second")
			g := put(t, s, sub, "g", "both names")
			if _, err := s.Link(alice, g.Ino, d, "h"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Symlink(alice, sub, "l", "../f.md"); err != nil {
				t.Fatal(err)
			}
			mode := uint32(0o600)
			when := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
			if _, err := s.SetAttr(alice, f.Ino, SetAttr{Mode: &mode, Mtime: &when}); err != nil {
				t.Fatal(err)
			}
			if err := s.SetXattr(alice, f.Ino, "user.note", []byte("keep"), false, false); err != nil {
				t.Fatal(err)
			}
			if err := s.SetLabels(alice, f.Object, []string{"red"}); err != nil {
				t.Fatal(err)
			}
			removeAll(t, s, RootIno, "d")
			if reopen {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openStore(t, dir)
			}
			defer s.Close()
			list, err := s.Trash(10, nil)
			if err != nil || len(list) != 1 || list[0].Name != "d" || list[0].Object.State != "RETIRED" {
				t.Fatalf("%+v, %v", list, err)
			}
			below, err := s.TrashIn(list[0].Attr.Ino)
			if err != nil || len(below) != 3 {
				t.Fatalf("%+v, %v", below, err)
			}
			for _, e := range below {
				if p, err := s.TrashPath(e); err != nil || p != "d/"+e.Name {
					t.Errorf("%q, %v", p, err)
				}
			}
			a, err := s.Restore(alice, list[0], RootIno, "d")
			if err != nil || a.Ino != d {
				t.Fatalf("%+v, %v", a, err)
			}
			if got := get(t, s, d, "f.md"); got != "second" {
				t.Errorf("f.md is %q", got)
			}
			r, err := s.Lookup(d, "f.md")
			if err != nil || r.Object != f.Object || r.Mode&0o7777 != mode || !r.Mtime.Equal(when) {
				t.Errorf("%+v, %v", r, err)
			}
			if x, err := s.GetXattr(r.Ino, "user.note"); err != nil || string(x) != "keep" {
				t.Errorf("%q, %v", x, err)
			}
			if o, err := s.Object(r.Object); err != nil || o.State != "ACTIVE" || len(o.Labels) != 1 {
				t.Errorf("%+v, %v", o, err)
			}
			if hist, err := s.NameHistory(d, "f.md"); err != nil || len(hist) != 2 {
				t.Errorf("%+v, %v", hist, err)
			}
			h, err := s.Lookup(d, "h")
			if err != nil || h.Ino != g.Ino || h.Nlink != 2 {
				t.Errorf("%+v, %v", h, err)
			}
			if to, err := s.Lookup(sub, "l"); err != nil {
				t.Error(err)
			} else if l, err := s.Readlink(to.Ino); err != nil || l != "../f.md" {
				t.Errorf("%q, %v", l, err)
			}
			if list, err := s.Trash(10, nil); err != nil || len(list) != 0 {
				t.Errorf("left in the trash: %+v, %v", list, err)
			}
			sound(t, s)
		})
	}
}

// What was removed from a directory long before it does not come back with it.
func TestTrashSweepStopsAtAPause(t *testing.T) {
	now := time.Now()
	s, err := Open(context.Background(), Options{Dir: t.TempDir(), Now: func() time.Time { now = now.Add(time.Millisecond); return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d := mkdir(t, s, RootIno, "d")
	put(t, s, d, "early", "x")
	put(t, s, d, "late", "x")
	if err := s.Unlink(alice, d, "early"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	removeAll(t, s, RootIno, "d")
	list, err := s.Trash(10, nil)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := s.Restore(alice, list[0], RootIno, "back"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(d, "early"); !errors.Is(err, ErrNotFound) {
		t.Errorf("early: %v", err)
	}
	if got := get(t, s, d, "late"); got != "x" {
		t.Error(got)
	}
	if list, err = s.Trash(10, nil); err != nil || len(list) != 1 || list[0].Name != "early" {
		t.Errorf("%+v, %v", list, err)
	}
	sound(t, s)
}

// The kernel tells of a close after the unlink that followed it: what was written is kept.
func TestTrashKeepsWhatWasWrittenBeforeTheUnlink(t *testing.T) {
	for _, size := range []int{10, 200_000} {
		s := openStore(t, t.TempDir())
		_, h, err := s.Create(alice, RootIno, "f", 0o644, true)
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, size)
		text[size-1] = 'x'
		if _, err := h.WriteAt(alice, text, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Unlink(alice, RootIno, "f"); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		list, err := s.Trash(10, nil)
		if err != nil || len(list) != 1 || list[0].Attr.Size != int64(size) {
			t.Fatalf("%+v, %v", list, err)
		}
		if _, err := s.Restore(alice, list[0], RootIno, "g"); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, RootIno, "g"); got != string(text) {
			t.Errorf("%d bytes came back", len(got))
		}
		if err := s.SyncAll(context.Background()); err != nil {
			t.Fatal(err)
		}
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An open file that is removed and restored is one file with its handle.
func TestTrashRestoresWhatIsStillOpen(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	a := put(t, s, RootIno, "f", "old")
	h, err := s.OpenFile(alice, a.Ino, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unlink(alice, RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	list, err := s.Trash(10, nil)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if b, err := s.Restore(alice, list[0], RootIno, "f"); err != nil || b.Ino != a.Ino {
		t.Fatalf("%+v, %v", b, err)
	}
	if _, err := h.WriteAt(alice, []byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, RootIno, "f"); got != "new" {
		t.Error(got)
	}
	sound(t, s)
}

// A desktop's trash can retires by rename, and gives back by rename, to the object's own
// scope only.
func TestTrashCan(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	defer s.Close()
	var dirs []Ino
	for _, name := range []string{"one", "two"} {
		a, err := s.EnsureDir(ctx, name, 0o755, 1000, 1000, Scope{Kind: ScopeGroup, Group: name})
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, a.Ino)
	}
	can, err := s.EnsureCan(ctx, alice, "local", "alice")
	if err != nil || can.Mode&0o7777 != 0o700 {
		t.Fatalf("%+v, %v", can, err)
	}
	files := mkdir(t, s, can.Ino, "files")
	a := put(t, s, dirs[0], "f", "text")
	if err := s.Rename(alice, dirs[0], "f", files, "f.2", 0); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Object(a.Object); err != nil || o.State != "RETIRED" {
		t.Errorf("%+v, %v", o, err)
	}
	list, err := s.Trash(10, nil)
	if err != nil || len(list) != 1 || list[0].Name != "f" || list[0].Dead {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := s.Rename(alice, files, "f.2", dirs[1], "f", 0); !errors.Is(err, ErrCrossScope) {
		t.Errorf("into another scope: %v", err)
	}
	if err := s.Rename(alice, files, "f.2", dirs[0], "f", 0); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Object(a.Object); err != nil || o.State != "ACTIVE" || o.Name != "f" {
		t.Errorf("%+v, %v", o, err)
	}
	// Emptied from the can it is in the trash still, under the name that it had.
	if err := s.Rename(alice, dirs[0], "f", files, "f.2", 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Unlink(alice, files, "f.2"); err != nil {
		t.Fatal(err)
	}
	if list, err = s.Trash(10, nil); err != nil || len(list) != 1 || list[0].Name != "f" || !list[0].Dead {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := s.Restore(alice, list[0], dirs[0], "f"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, dirs[0], "f"); got != "text" {
		t.Error(got)
	}
	// A directory in the can comes back by Restore as well.
	d := mkdir(t, s, dirs[0], "d")
	put(t, s, d, "in", "side")
	if err := s.Rename(alice, dirs[0], "d", files, "d", 0); err != nil {
		t.Fatal(err)
	}
	if list, err = s.Trash(10, nil); err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := s.Restore(alice, list[0], dirs[0], "e"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, d, "in"); got != "side" {
		t.Error(got)
	}
	sound(t, s)
}
