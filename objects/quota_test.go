package objects

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseQuota(t *testing.T) {
	for text, want := range map[string]Quota{
		"bytes=10G,files=1000000": {10 << 30, 1000000}, "bytes=1": {Bytes: 1}, "files=2K": {Files: 2048}, " bytes=1T , files=3 ": {1 << 40, 3},
	} {
		q, err := ParseQuota(text)
		if err != nil || q != want {
			t.Errorf("%q: %+v, %v", text, q, err)
		}
		if again, err := ParseQuota(q.String()); err != nil || again != q {
			t.Errorf("%q: %+v, %v", q.String(), again, err)
		}
	}
	for _, text := range []string{"", "bytes", "bytes=", "bytes=-1", "bytes=0", "size=3", "bytes=9999999T", "bytes=1X", "bytes=1,"} {
		if q, err := ParseQuota(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %+v, %v", text, q, err)
		}
	}
}

var carol = Scope{Kind: ScopeUser, Group: "g", User: "carol"}

func quotaStore(t *testing.T, dir string) (*Store, Ino) {
	t.Helper()
	s := openStore(t, dir)
	for path, sc := range map[string]Scope{"g": {Kind: ScopeGroup, Group: "g"}} {
		if _, err := s.EnsureDir(context.Background(), path, 0o755, 0, 0, sc); err != nil {
			t.Fatal(err)
		}
	}
	a, err := s.EnsureDir(context.Background(), "g/carol", 0o755, 1000, 1000, carol)
	if err != nil {
		t.Fatal(err)
	}
	return s, a.Ino
}

// Every way to take room is bounded, and what is given back can be used again.
func TestQuotaBounds(t *testing.T) {
	ctx := context.Background()
	s, dir := quotaStore(t, t.TempDir())
	defer s.Close()
	_, base := s.QuotaOf(carol)
	if err := s.SetQuota(alice, carol, Quota{Bytes: 100_000, Files: base.Files + 3}); err != nil {
		t.Fatal(err)
	}
	_, h, err := s.Create(alice, dir, "a", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	full := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrQuota) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := h.WriteAt(alice, make([]byte, 90_000), 0); err != nil {
		t.Fatal(err)
	}
	_, err = h.WriteAt(alice, make([]byte, 20_000), 90_000)
	full("write", err)
	_, err = h.Append(alice, make([]byte, 20_000))
	full("append", err)
	full("fallocate", h.Allocate(alice, 0, 0, 200_000))
	size := int64(200_000)
	_, err = s.SetAttr(alice, h.Ino(), SetAttr{Size: &size})
	full("truncate", err)
	if got := s.Headroom(h.Ino()); got != 10_000 {
		t.Errorf("headroom %d", got)
	}
	if st, err := s.StatFSAt(h.Ino()); err != nil || st.Blocks != uint64((100_000+int64(st.BlockSize)-1)/int64(st.BlockSize)) || st.FilesFree != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := h.WriteAt(alice, make([]byte, 90_000), 0); err != nil {
		t.Errorf("writing over what is there: %v", err)
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, s, dir, "b", "x")
	mkdir(t, s, dir, "c")
	_, _, err = s.Create(alice, dir, "d", 0o644, true)
	full("create", err)
	_, err = s.Mkdir(alice, dir, "d", 0o755)
	full("mkdir", err)
	_, err = s.Symlink(alice, dir, "d", "x")
	full("symlink", err)
	if err := s.Unlink(alice, dir, "a"); err != nil {
		t.Fatal(err)
	}
	put(t, s, dir, "d", "there is room again")
	full("restore beyond the quota", func() error {
		l, err := s.Trash(1, nil)
		if err != nil || len(l) != 1 {
			t.Fatal(l, err)
		}
		_, err = s.Restore(alice, l[0], dir, "a")
		return err
	}())
	full("the group's bound", func() error {
		if err := s.SetQuota(alice, carol, Quota{}); err != nil {
			t.Fatal(err)
		}
		if err := s.SetQuota(alice, Scope{Kind: ScopeGroup, Group: "g"}, Quota{Bytes: 1000}); err != nil {
			t.Fatal(err)
		}
		a, err := s.Lookup(dir, "d")
		if err != nil {
			t.Fatal(err)
		}
		h, err := s.OpenFile(alice, a.Ino, unix.O_WRONLY)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(ctx)
		_, err = h.WriteAt(alice, make([]byte, 2000), 0)
		return err
	}())
	sound(t, s)
}

// After any work, aborted transactions and a restart included, the usage that is kept is
// the one that the inodes add up to.
func TestQuotaUsageIsExact(t *testing.T) {
	ctx := context.Background()
	where := t.TempDir()
	s, dir := quotaStore(t, where)
	r := rand.New(rand.NewPCG(3, 5))
	names := []string{"a", "b", "c", "d", "e"}
	for i := range 400 {
		name, other := names[r.IntN(5)], names[r.IntN(5)]
		a, err := s.Lookup(dir, name)
		switch r.IntN(9) {
		case 0, 1:
			if err != nil || isRegular(a.Mode) {
				put(t, s, dir, name, string(make([]byte, r.IntN(100_000))))
			}
		case 2:
			if err == nil && isRegular(a.Mode) {
				_ = s.Unlink(alice, dir, name)
			}
		case 3:
			_ = s.Rename(alice, dir, name, dir, other, 0)
		case 4:
			if err == nil && isRegular(a.Mode) {
				size := int64(r.IntN(1 << 20))
				_, _ = s.SetAttr(alice, a.Ino, SetAttr{Size: &size})
			}
		case 5:
			if err == nil {
				_, _ = s.Link(alice, a.Ino, dir, other)
			}
		case 6:
			tx := s.Begin(alice, "act")
			if err := tx.WriteFile(ctx, "g/carol/"+name, zeros(r.IntN(200_000)), WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			if r.IntN(2) == 0 {
				tx.Delete("g/carol/none", false, nil) // it fails
			}
			_, _ = tx.Commit(ctx)
		case 7:
			if l, err := s.Trash(5, nil); err == nil && len(l) > 0 {
				_, _ = s.Restore(alice, l[r.IntN(len(l))], dir, other)
			}
		case 8:
			_, _ = s.Mkdir(alice, dir, name, 0o755)
			if r.IntN(2) == 0 {
				_ = s.Rmdir(alice, dir, name)
			}
		}
		if i%100 == 99 {
			sound(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, where)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func zeros(n int) *bytes.Reader { return bytes.NewReader(make([]byte, n)) }
