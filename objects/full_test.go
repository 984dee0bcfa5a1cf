package objects

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Somebody else fills the disk while an epoch is on its way to it: the epoch waits, nothing
// new is taken meanwhile, and all of it is there once there is room again.
func TestEpochWaitsForRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a small file system: needs root")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=400m"); err != nil {
		t.Skip("no tmpfs here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	ctx, ballast, fill := context.Background(), filepath.Join(disk, "ballast"), false
	o := Options{Dir: filepath.Join(disk, "state")}
	o.step = func(name string) {
		if fill && name == "commit: epoch is closed" {
			fill = false
			f, err := os.Create(ballast)
			if err != nil {
				t.Error(err)
				return
			}
			for b := make([]byte, 1<<20); err == nil; {
				_, err = f.Write(b)
			}
			f.Close()
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
