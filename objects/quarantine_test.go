package objects

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A version in quarantine is released by a repair that finds it whole again, and not
// before; after 30 days it is retired for good. What is in a pack beside it can be read all
// the time, by a collection's new packs too.
func TestQuarantineEnds(t *testing.T) {
	ctx := context.Background()
	dir, c := t.TempDir(), &later{}
	open := func() *Store {
		t.Helper()
		s, err := Open(ctx, Options{Dir: dir, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	bad := put(t, s, RootIno, "bad", string(noise(20_000, 1)))
	good := put(t, s, RootIno, "good", string(noise(20_000, 2)))
	late := put(t, s, RootIno, "late", string(noise(20_000, 3)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip := func(what byte) {
		t.Helper()
		packs, err := filepath.Glob(filepath.Join(dir, "blobs/packs/*.pack"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range packs {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := noise(20_000, what)
			for i := 0; i+len(want) <= len(b); i++ {
				if b[i+1] == want[1] && string(b[i+1:i+1000]) == string(want[1:1000]) {
					b[i] ^= 1
					if err := os.WriteFile(name, b, 0o600); err != nil {
						t.Fatal(err)
					}
					return
				}
			}
		}
		t.Fatal("the bytes are in no pack")
	}
	read := func(v ID) error {
		r, err := s.OpenVersion(v)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		return errors.Join(err, r.Close())
	}
	shut := func(when string, v ID, state VersionState) {
		t.Helper()
		if err := read(v); !errors.Is(err, ErrQuarantined) {
			t.Errorf("%s: %v", when, err)
		}
		if got, err := s.Version(v); err != nil || got.State != state.String() {
			t.Errorf("%s: %s, %v, want %s", when, got.State, err, state)
		}
	}
	repair := func(when string, done int) {
		t.Helper()
		if rep, err := s.Repair(ctx); err != nil || len(rep.Problems) != 0 || len(rep.Repairs) != done {
			t.Errorf("%s: %+v, %v, want %d repairs", when, rep, err, done)
		}
	}
	flip(1)
	flip(3)
	s = open()
	before, err := s.OpenVersion(bad.Version)
	if err != nil {
		t.Fatal(err)
	}
	shut("read", bad.Version, Quarantined)
	if _, err := before.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrQuarantined) {
		t.Errorf("who had it open before: %v", err)
	}
	if err := before.Close(); err != nil {
		t.Error(err)
	}
	repair("damaged", 1) // which finds the other one
	shut("repaired", bad.Version, Quarantined)
	shut("repaired", late.Version, Quarantined)
	if err := read(good.Version); err != nil {
		t.Errorf("beside it: %v", err)
	}
	put(t, s, RootIno, "again", string(noise(20_000, 1)))
	shut("written again", bad.Version, Quarantined)
	repair("written again", 1)
	if err := read(bad.Version); err != nil {
		t.Errorf("whole again: %v", err)
	}
	c.advance(29 * 24 * time.Hour)
	purge := func() {
		t.Helper()
		if _, err := s.Purge(ctx); err != nil {
			t.Fatal(err)
		}
	}
	purge()
	shut("29 days", late.Version, Quarantined)
	c.advance(2 * 24 * time.Hour)
	purge()
	shut("31 days", late.Version, RetiredVersion)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip(3) // back to what it was
	s = open()
	defer s.Close()
	repair("retired", 0)
	shut("retired", late.Version, RetiredVersion)
	if err := read(good.Version); err != nil {
		t.Errorf("beside it: %v", err)
	}
	if _, err := s.GC(ctx); err != nil {
		t.Error(err)
	}
	if err := errors.Join(read(good.Version), read(bad.Version)); err != nil {
		t.Errorf("after a collection: %v", err)
	}
}
