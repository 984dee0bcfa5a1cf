package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// damage changes records past everything that guards them.
func damage(t *testing.T, dir string, change func(s *Store, set func(key, value []byte))) {
	t.Helper()
	s := openStore(t, dir)
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	b := kv.NewBatch()
	change(s, func(key, value []byte) {
		if value == nil {
			b.Delete(key)
		} else {
			b.Set(key, value)
		}
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := kv.Open(kv.Options{Dir: dir + "/meta"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Commit(context.Background(), b)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// What a repair can put right from the store itself it does, loses nothing, and says what
// it did; the check is clean afterwards.
func TestRepair(t *testing.T) {
	ctx := context.Background()
	make3 := func(t *testing.T, s *Store) (sub, f Attr) {
		t.Helper()
		sub, err := s.Mkdir(alice, RootIno, "sub", 0o755)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, sub.Ino, "f", "one")
		f = put(t, s, sub.Ino, "f", "two")
		if _, err := s.Link(alice, f.Ino, sub.Ino, "g"); err != nil {
			t.Fatal(err)
		}
		put(t, s, sub.Ino, "other", "other")
		return sub, f
	}
	for _, c := range []struct {
		what    string
		change  func(t *testing.T, s *Store, sub, f Attr, set func(key, value []byte))
		problem string // a part of what the check says
		text    string // of sub/f afterwards; "" when it cannot be read
	}{
		{"an inode's record is lost", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) { set(inoKey(f.Ino), nil) }, "is not there", "two"},
		{"an inode's record is torn", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) { set(inoKey(f.Ino), []byte{1, 2, 3}) }, "cannot be read", "two"},
		{"a directory's record is lost", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) { set(inoKey(sub.Ino), nil) }, "is not there", "two"},
		{"a name is torn", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) {
			set(dentKey(sub.Ino, "f"), []byte{1})
		}, "cannot be read", "two"},
		{"one of two names is lost", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) {
			set(dentKey(sub.Ino, "g"), nil)
		}, "links", "two"},
		{"all names of a file are lost", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) {
			set(dentKey(sub.Ino, "f"), nil)
			set(dentKey(sub.Ino, "g"), nil)
		}, "has no name", "two"},
		{"the name of a directory is lost", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) {
			set(dentKey(RootIno, "sub"), nil)
		}, "has no name", "two"},
		{"the current version is lost", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) {
			set(verKey(f.Object, f.Version), nil)
		}, "is not there", "one"},
		{"a version has other bytes", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) {
			v, err := s.version(f.Object, f.Version)
			if err != nil {
				t.Fatal(err)
			}
			bad := *v
			bad.inline = []byte("TWO")
			set(verKey(f.Object, f.Version), bad.encode())
		}, "another hash", "one"},
		{"what a scope takes up is miscounted", func(t *testing.T, s *Store, sub, f Attr, set func(k, v []byte)) {
			set(quotaKey('u', Scope{Kind: ScopeGroup, Group: "local"}), encodePair(12345, 67))
		}, "is said to take up 12345", "two"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir)
			sub, f := make3(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, dir, func(s *Store, set func(k, v []byte)) {
				a, err := s.GetAttr(f.Ino) // with the version that close made
				if err != nil {
					t.Fatal(err)
				}
				c.change(t, s, sub, a, set)
			})
			s = openStore(t, dir)
			rep, err := s.Fsck(ctx)
			if err != nil || !strings.Contains(strings.Join(rep.Problems, "\n"), c.problem) {
				t.Fatalf("the check says %q, %v", rep.Problems, err)
			}
			rep, err = s.Repair(ctx)
			if err != nil || len(rep.Problems) != 0 || len(rep.Repairs) == 0 {
				t.Fatalf("repair: %+v, %v", rep, err)
			}
			t.Logf("%q", rep.Repairs)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir)
			defer s.Close()
			if rep, err := s.Fsck(ctx); err != nil || len(rep.Problems) != 0 {
				t.Errorf("afterwards: %+v, %v", rep, err)
			}
			d, err := s.Lookup(RootIno, "sub")
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{"f": c.text, "other": "other"} {
				a, err := s.Lookup(d.Ino, name)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				b, err := readAll(s, a.Ino)
				if want == "" && err == nil || want != "" && (err != nil || b != want) {
					t.Errorf("%s is %q, %v; want %q", name, b, err, want)
				}
			}
		})
	}
}

func readAll(s *Store, ino Ino) (string, error) {
	h, err := s.OpenFile(alice, ino, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := h.ReadAt(b, 0)
	if err != nil && !strings.Contains(err.Error(), "EOF") {
		return "", errors.Join(err, h.Close(context.Background()))
	}
	return string(b[:n]), h.Close(context.Background())
}

// A disk that does not answer now says nothing of a version: only one that is known to be
// damaged goes to quarantine.
func TestRepairTakesNoErrorForDamage(t *testing.T) {
	for err, want := range map[error]bool{ErrIntegrity: true, kv.ErrNotFound: true, unix.EIO: false, unix.EMFILE: false, context.Canceled: false} {
		if got := damaged(fmt.Errorf("read: %w", err)); got != want {
			t.Errorf("%v: damaged %v, want %v", err, got, want)
		}
	}
}
