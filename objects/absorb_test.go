package objects

import (
	"context"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A file that has lost its name goes on for whoever has it open, also when the file that
// was made under that name goes on as its object and is then renamed over another: the
// other's history gets what the new file holds, and not what the lost one held.
func TestALostFileIsReadWhenItsObjectGoesOn(t *testing.T) {
	large := func(c string) string { return strings.Repeat(c, 100_000) }
	for _, c := range []struct {
		name      string
		old, next string // what the lost file holds, and the one after it before it is renamed
		open      bool   // the next one is open when it is renamed
		history   string // of the object that is renamed over
	}{
		{"small, none after it", "lost", "", false, "other  "},
		{"small, none after it, open", "lost", "", true, "other  "},
		{"small, the same after it", "lost", "lost", false, "other lost "},
		{"small, the same after it, open", "lost", "lost", true, "other lost "},
		{"small, another after it", "lost", "next", false, "other next "},
		{"large, none after it", large("l"), "", false, "other  "},
		{"large, none after it, open", large("l"), "", true, "other  "},
		{"large, the same after it", large("l"), large("l"), false, "other " + large("l") + " "},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			s := openStore(t, t.TempDir())
			defer s.Close()
			lost := put(t, s, RootIno, "f", c.old)
			other := put(t, s, RootIno, "g", "other")
			if err := s.sealAll(ctx); err != nil {
				t.Fatal(err)
			}
			h, err := s.OpenFile(alice, lost.Ino, unix.O_RDWR)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close(ctx)
			if err := s.Unlink(alice, RootIno, "f"); err != nil {
				t.Fatal(err)
			}
			_, next, err := s.Create(alice, RootIno, "f", 0o644, true)
			if err != nil {
				t.Fatal(err)
			}
			if c.next != "" {
				if _, err := next.WriteAt(alice, []byte(c.next), 0); err != nil {
					t.Fatal(err)
				}
			}
			if !c.open {
				if err := next.Close(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Rename(alice, RootIno, "f", RootIno, "g", 0); err != nil {
				t.Fatal(err)
			}
			if err := next.Close(ctx); err != nil {
				t.Fatal(err)
			}
			for _, durable := range []bool{false, true} {
				if b, err := io.ReadAll(io.NewSectionReader(h, 0, 1<<20)); err != nil || string(b) != c.old {
					t.Errorf("durable %v: the lost file reads as %.20q, %v", durable, b, err)
				}
				if err := s.SyncAll(ctx); err != nil {
					t.Fatal(err)
				}
				if rep, err := s.Fsck(ctx); err != nil || len(rep.Problems) > 0 {
					t.Errorf("durable %v: %v, %v", durable, rep.Problems, err)
				}
				h.n.io.Lock() // what the store remembers of it goes
				h.n.content, h.n.contentOf = nil, ID{}
				h.n.io.Unlock()
			}
			if _, err := h.WriteAt(alice, []byte("W"), 2); err != nil {
				t.Errorf("the lost file cannot be written: %v", err)
			}
			if b, err := io.ReadAll(io.NewSectionReader(h, 0, 1<<20)); err != nil || string(b) != c.old[:2]+"W"+c.old[3:] {
				t.Errorf("the lost file reads as %.20q once it was written, %v", b, err)
			}
			if b := get(t, s, RootIno, "g"); b != c.next {
				t.Errorf("the new file reads as %.20q", b)
			}
			if err := s.sealAll(ctx); err != nil {
				t.Error(err)
			}
			list, err := s.Versions(other.Object)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(t, s, list); got != c.history {
				t.Errorf("the other's history is %.60q, want %.60q", got, c.history)
			}
		})
	}
}

// A version whose move to another object was taken back is hashed where it is.
func TestAMoveThatWasTakenBackIsSealed(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	defer s.Close()
	put(t, s, RootIno, "a", "small")
	put(t, s, RootIno, "b", strings.Repeat("b", 100_000))
	s.seal.working.Lock() // not before the transaction
	tx := s.Begin(alice, "act_01ARZ3NDEKTSV4RRFFQ69G5FAV")
	tx.Move("b", "a", true, WriteOptions{})
	tx.Delete("nothing/of/that/name", false, nil)
	_, err := tx.Commit(ctx)
	s.seal.working.Unlock()
	if err == nil {
		t.Fatal("the transaction went through")
	}
	if err := s.sealAll(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := s.Lookup(RootIno, "b")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Version(b.Version); err != nil || v.State != VerifiedState.String() {
		t.Errorf("the version is %v, %v", v.State, err)
	}
}
