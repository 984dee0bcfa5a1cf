package objects

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reader opens a lent host file once more, as the kernel has it for itself.
func reader(t *testing.T, f *os.File) *os.File {
	t.Helper()
	k, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// On a busy machine the kernel closes the host file long after it has said that the last
// handle is gone. What was saved by that is a version all the same, whoever opens the
// file meanwhile.
func TestALateCloseOfTheHostFileIsNoMapping(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	ctx := context.Background()
	old, want := noise(300<<10, 1), noise(300<<10, 2)
	put(t, s, RootIno, "f", string(old))
	a, err := s.Lookup(RootIno, "f")
	if err != nil {
		t.Fatal(err)
	}
	for saved, b := range [][]byte{want, old} {
		h, err := s.OpenFile(alice, a.Ino, unix.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if vs, err := s.Versions(a.Object); err != nil || len(vs) != saved+1 {
			t.Errorf("%d versions when the file had been saved %d times and was opened again, %v", len(vs), saved+1, err)
		}
		f := lend(t, h, false)
		poke(t, f, b)
		kernel := reader(t, f)
		if err := h.Close(ctx); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Millisecond, func() { kernel.Close() })
	}
}

// A mapping holds up no open for longer than the doubt about it.
func TestAMappingDoesNotHoldUpAnOpen(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	ctx := context.Background()
	put(t, s, RootIno, "f", string(noise(300<<10, 1)))
	a, err := s.Lookup(RootIno, "f")
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.OpenFile(alice, a.Ino, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	mapping := reader(t, lend(t, h, false))
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w, err := s.OpenFile(alice, a.Ino, unix.O_WRONLY)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := mapping.Close(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	n := s.nodes[a.Ino]
	for n.closing > 0 {
		s.quiet.Wait()
	}
	s.mu.Unlock()
	eventually(t, "the file is given back", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return n.pin == nil && n.writers == 0 && n.closing == 0
	})
}
