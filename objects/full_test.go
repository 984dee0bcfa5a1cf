package objects

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk gives a file system of its own that a test can fill.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts a small file system: needs root")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=400m"); err != nil {
		t.Skip("no tmpfs here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	return disk
}

// fillUp takes all the room that is left.
func fillUp(t *testing.T, name string) {
	f, err := os.Create(name)
	if err != nil {
		t.Error(err)
		return
	}
	for b := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(b)
	}
	f.Close()
}

// Somebody else fills the disk while an epoch is on its way to it: the epoch waits, nothing
// new is taken meanwhile, and all of it is there once there is room again.
func TestEpochWaitsForRoom(t *testing.T) {
	disk := smallDisk(t)
	ctx, ballast, fill := context.Background(), filepath.Join(disk, "ballast"), false
	o := Options{Dir: filepath.Join(disk, "state")}
	o.step = func(name string) {
		if fill && name == "commit: epoch is closed" {
			fill = false
			fillUp(t, ballast)
		}
	}
	o.EpochInterval = 1 << 40 // commits are the test's own
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	mkdir(t, s, RootIno, "before")
	fill = true
	if err := s.SyncAll(ctx); !errors.Is(err, ErrNoSpace) {
		t.Errorf("an epoch on a full disk: %v", err)
	}
	if _, err := s.Mkdir(alice, RootIno, "meanwhile", 0o755); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a change on a full disk: %v", err)
	}
	if _, err := s.Lookup(RootIno, "before"); err != nil {
		t.Errorf("what waits is not seen: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.SyncAll(ctx); err != nil {
		t.Errorf("with room again: %v", err)
	}
	mkdir(t, s, RootIno, "after")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.step = nil
	if s, err = Open(ctx, o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"before", "after"} {
		if _, err := s.Lookup(RootIno, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A transaction that the full disk has no room for fails, and has changed nothing; the store
// goes on as soon as there is room.
func TestTransactionOnAFullDisk(t *testing.T) {
	disk := smallDisk(t)
	ctx, ballast := context.Background(), filepath.Join(disk, "ballast")
	var fill atomic.Bool
	o := Options{Dir: filepath.Join(disk, "state"), EpochInterval: 1 << 40}
	o.step = func(name string) {
		if name != "transaction: about to be closed" || !fill.CompareAndSwap(true, false) {
			return
		}
		fillUp(t, ballast)
	}
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	put(t, s, RootIno, "f", "as it was")
	write := func(name, text string) error {
		tx := s.Begin(alice, "act_x")
		for _, n := range []string{"f", name} {
			if err := tx.WriteFile(ctx, n, strings.NewReader(text), WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		tx.PutRecord("told", []byte(text))
		_, err := tx.Commit(ctx)
		return err
	}
	fill.Store(true)
	if err := write("new", "on a full disk"); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a transaction on a full disk: %v", err)
	}
	if got := get(t, s, RootIno, "f"); got != "as it was" {
		t.Errorf("after it failed the file holds %q", got)
	}
	if _, err := s.Lookup(RootIno, "new"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file of the failed transaction: %v", err)
	}
	if _, err := s.GetRecord("told"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a record of the failed transaction: %v", err)
	}
	if err := s.Health(); err != nil {
		t.Errorf("the store is not what it was: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := write("new", "with room again"); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if got := get(t, s, RootIno, "f"); got != "with room again" {
		t.Errorf("with room again the file holds %q", got)
	}
}

// Who reserves more than the disk has is told so; what is there already needs no room.
func TestReservingMoreThanThereIs(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, filepath.Join(smallDisk(t), "state"))
	defer s.Close()
	a, h, err := s.Create(alice, RootIno, "f", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	if _, err := h.WriteAt(alice, make([]byte, 20<<20), 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		mode   uint32
		off, n int64
		want   error
	}{
		{"more than there is", 0, 0, 800 << 20, ErrNoSpace},
		{"more than there is, beyond the end", unix.FALLOC_FL_KEEP_SIZE, 1 << 40, 800 << 20, ErrNoSpace},
		{"zeros of more than there is", unix.FALLOC_FL_ZERO_RANGE, 0, 800 << 20, ErrNoSpace},
		{"a hole needs none", unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, 1 << 30, 800 << 20, nil},
		{"what fits with what is there", 0, 0, 60 << 20, nil},
	} {
		if err := h.Allocate(alice, c.mode, c.off, c.n); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		if a, err = s.GetAttr(a.Ino); err != nil || c.want != nil && a.Size != 20<<20 {
			t.Errorf("%s: %d bytes afterwards, %v", c.what, a.Size, err)
		}
	}
}
