package objects

import (
	"context"
	"os"
	"testing"
	"time"
)

// A daemon that dies loses nothing of a file that is open; where the machine lost its
// power, of a large one that is left which was synced, since of the rest the disk may have
// any mixture.
func TestWhatIsLeftOfAnOpenFile(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := Open(ctx, Options{Dir: dir, EpochInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old, b := noise(200<<10, 1), noise(400<<10, 2)
	put(t, s, RootIno, "had a version", string(old))
	write := func(name string, sync bool) *Handle {
		t.Helper()
		a, err := s.Lookup(RootIno, name)
		var h *Handle
		if err == nil {
			h, err = s.OpenFile(alice, a.Ino, os.O_RDWR)
		} else {
			_, h, err = s.Create(alice, RootIno, name, 0o644, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.WriteAt(alice, b[:300<<10], 0); err != nil {
			t.Fatal(err)
		}
		if sync {
			if err := h.Sync(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.WriteAt(alice, b[300<<10:], 300<<10); err != nil {
			t.Fatal(err)
		}
		return h
	}
	for name, sync := range map[string]bool{"had a version": false, "synced": true, "new": false} {
		h := write(name, sync)
		defer h.Close(ctx)
	}
	// What replaces a file before it is closed replaces it with all of its bytes.
	put(t, s, RootIno, "replaced", string(old))
	over := write("replaced.new", false)
	defer over.Close(ctx)
	if err := s.Rename(alice, RootIno, "replaced.new", RootIno, "replaced", 0); err != nil {
		t.Fatal(err)
	}
	_, h, err := s.Create(alice, RootIno, "small", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	if _, err := h.WriteAt(alice, []byte("small"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(ctx); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []bool{false, true} {
		to := t.TempDir() + "/state"
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if lost {
			if err := os.WriteFile(to+"/boot", []byte("another\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		x := openStore(t, to)
		want := map[string]string{"had a version": string(b), "synced": string(b), "new": string(b), "small": "small", "replaced": string(b)}
		if lost {
			want = map[string]string{"had a version": string(old), "synced": string(b[:300<<10]), "new": "", "small": "small", "replaced": string(b)}
		}
		for name, text := range want {
			a, err := x.Lookup(RootIno, name)
			if err != nil || a.Size != int64(len(text)) {
				t.Errorf("power lost %v: %s has %d bytes, want %d, %v", lost, name, a.Size, len(text), err)
				continue
			}
			h, err := x.OpenFile(alice, a.Ino, os.O_RDONLY)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(text))
			if n, _ := h.ReadAt(got, 0); n != len(text) || string(got) != text {
				t.Errorf("power lost %v: %s has other bytes", lost, name)
			}
			if err := h.Close(ctx); err != nil {
				t.Error(err)
			}
		}
		if rep, err := x.Fsck(ctx); err != nil || len(rep.Problems) != 0 {
			t.Errorf("power lost %v: fsck: %+v, %v", lost, rep, err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What was closed before a directory is synced is durable with it, also where the close of
// a large file is still under way.
func TestSyncOfADirectoryWaitsForCloses(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	ctx := context.Background()
	a, h, err := s.Create(alice, RootIno, "f", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(alice, noise(300<<10, 3), 0); err != nil {
		t.Fatal(err)
	}
	h.Closing()
	synced := make(chan error, 1)
	go func() { synced <- s.SyncIno(ctx, RootIno) }()
	select {
	case err := <-synced:
		t.Errorf("the directory is synced, and a file in it not closed yet: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-synced; err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.view.Get(inoKey(a.Ino)) // as it is on disk
	if err != nil {
		t.Fatal(err)
	}
	if n, err := decodeInode(b); err != nil || n.version.IsZero() || n.drafted {
		t.Errorf("on disk the file has version %v, a draft: %v, %v", n.version, n.drafted, err)
	}
}

// A file that was closed takes another's name as a version: editors save so.
func TestRenameWaitsForTheClose(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	put(t, s, RootIno, "f", "old")
	a, h, err := s.Create(alice, RootIno, "f.new", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(alice, noise(300<<10, 3), 0); err != nil {
		t.Fatal(err)
	}
	h.Closing()
	renamed := make(chan error, 1)
	go func() { renamed <- s.Rename(alice, RootIno, "f.new", RootIno, "f", 0) }()
	select {
	case err := <-renamed:
		t.Errorf("it has the name before its bytes are a version: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-renamed; err != nil {
		t.Fatal(err)
	}
	if b, err := s.Lookup(RootIno, "f"); err != nil || b.Ino != a.Ino || b.Version.IsZero() {
		t.Errorf("f is %+v, %v", b, err)
	}
}
