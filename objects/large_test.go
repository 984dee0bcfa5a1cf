package objects

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// No file ends where the disk below could not follow, whatever form it has at present:
// what was accepted can be synced, closed and read again.
func TestNoFileIsLargerThanTheDiskCanHold(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	limit := s.blobs.MaxFile()
	if limit == math.MaxInt64 {
		t.Skip("the disk here sets no limit to a file")
	}
	ctx := context.Background()
	put(t, s, RootIno, "closed", "small")
	a, h, err := s.Create(alice, RootIno, "f", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(alice, []byte("small"), 0); err != nil {
		t.Fatal(err)
	}
	closed, err := s.Lookup(RootIno, "closed")
	if err != nil {
		t.Fatal(err)
	}
	size := func(n int64) SetAttr { return SetAttr{Size: &n} }
	for what, fn := range map[string]func() error{
		"truncate of an open file":    func() error { _, err := s.SetAttr(alice, a.Ino, size(limit+1)); return err },
		"truncate of a closed file":   func() error { _, err := s.SetAttr(alice, closed.Ino, size(math.MaxInt64)); return err },
		"write past it":               func() error { _, err := h.WriteAt(alice, []byte("x"), limit); return err },
		"write at the end of offsets": func() error { _, err := h.WriteAt(alice, []byte("x"), math.MaxInt64-1); return err },
		"write past all offsets":      func() error { _, err := h.WriteAt(alice, []byte("xyz"), math.MaxInt64-1); return err },
		"reserve":                     func() error { return h.Allocate(alice, 0, limit-5, 10) },
		"reserve, keeping the size":   func() error { return h.Allocate(alice, unix.FALLOC_FL_KEEP_SIZE, limit-5, 10) },
		"zero":                        func() error { return h.Allocate(alice, unix.FALLOC_FL_ZERO_RANGE, limit-5, 10) },
	} {
		if err := fn(); !errors.Is(err, unix.EFBIG) {
			t.Errorf("%s: %v, want EFBIG", what, err)
		}
	}
	if now := h.Attr(); now.Size != 5 {
		t.Errorf("the size is %d afterwards", now.Size)
	}
	// Up to the limit all of it works; a write across it is cut there, as a disk cuts it.
	if _, err := s.SetAttr(alice, a.Ino, size(limit)); err != nil {
		t.Fatal(err)
	}
	if n, err := h.WriteAt(alice, []byte("the end, and more"), limit-7); n != 7 || err != nil {
		t.Errorf("a write across the limit: %d, %v", n, err)
	}
	if err := h.Sync(ctx); err != nil {
		t.Errorf("sync: %v", err)
	}
	if err := h.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	if h, err = s.OpenFile(alice, a.Ino, unix.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	for off, want := range map[int64]string{0: "small", limit - 7: "the end"} {
		b := make([]byte, len(want))
		if _, err := h.ReadAt(b, off); err != nil || string(b) != want {
			t.Errorf("at %d: %q, %v", off, b, err)
		}
	}
	if n := h.Attr().Size; n != limit {
		t.Errorf("the size is %d, want %d", n, limit)
	}
}

// A store is closed in a few seconds, however much of it waits for its hash: those of
// sparse files, which are made in no time, take minutes. What waits is hashed later.
func TestClosingDoesNotWaitForHashes(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := openStore(t, dir)
	const size = hollowSize - 4096
	var inos []Ino
	for _, name := range []string{"a", "b", "c", "d"} {
		a, h, err := s.Create(alice, RootIno, name, 0o644, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.WriteAt(alice, []byte(name), size-1); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(ctx); err != nil {
			t.Fatal(err)
		}
		inos = append(inos, a.Ino)
	}
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 6*sealAtClose {
		t.Errorf("closing took %v", d)
	}
	s = openStore(t, dir)
	defer s.Close()
	s.seal.mu.Lock()
	waiting := len(s.seal.queue)
	s.seal.mu.Unlock()
	if waiting == 0 {
		t.Error("nothing waits to be hashed after the next start")
	}
	for i, ino := range inos {
		h, err := s.OpenFile(alice, ino, unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2)
		if n, err := h.ReadAt(b, size-1); n != 1 || b[0] != "abcd"[i] {
			t.Errorf("read %q, %v", b[:n], err)
		}
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
