package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killed is the store that a daemon finds which was killed at this moment: what it had
// written to its files, synced or not, is there.
func killed(t *testing.T, dir string) *Store {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to+"/state", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, to+"/state")
	t.Cleanup(func() { s.Close() })
	rep, err := s.Fsck(context.Background())
	if err != nil || len(rep.Problems) != 0 {
		t.Errorf("fsck after the crash: %+v, %v", rep, err)
	}
	return s
}

func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func lend(t *testing.T, h *Handle, fresh bool) *os.File {
	t.Helper()
	l, ok, err := h.Lend(context.Background(), fresh)
	if err != nil || !ok || l.Direct {
		t.Fatalf("lend: %+v, %v, %v", l, ok, err)
	}
	return l.File
}

// poke writes as the kernel does: it opens the host file for itself.
func poke(t *testing.T, f *os.File, b []byte) {
	t.Helper()
	w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

// quiet waits until nothing is left to seal, so that the files can be copied one by one.
func quiet(t *testing.T, s *Store, names ...string) {
	t.Helper()
	for _, name := range names {
		eventually(t, name+" is sealed", func() bool {
			a, err := s.Lookup(RootIno, name)
			if err != nil {
				t.Fatal(err)
			}
			v, err := s.Version(a.Version)
			if err != nil {
				t.Fatal(err)
			}
			return v.Hash != ""
		})
	}
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What the kernel wrote to a lent file, and was synced, is there after a crash; size and
// all. So is the version below, bit for bit, also when its readers had its file first.
func TestLentDraftsSurviveACrash(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := Open(ctx, Options{Dir: dir, EpochInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old, want := noise(300<<10, 1), noise(500<<10, 2)
	for _, name := range []string{"sealed", "read"} {
		put(t, s, RootIno, name, string(old))
	}
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Lookup(RootIno, "sealed")
	if err != nil {
		t.Fatal(err)
	}
	quiet(t, s, "sealed", "read")

	// a new file
	_, fresh, err := s.Create(alice, RootIno, "fresh", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	lent := []*Handle{fresh}
	files := []*os.File{lend(t, fresh, true)}
	// one that is opened for writing
	h, err := s.OpenFile(alice, sealed.Ino, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	lent, files = append(lent, h), append(files, lend(t, h, false))
	// one that has a reader first
	a, err := s.Lookup(RootIno, "read")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	reader := lend(t, r, false)
	w, err := s.OpenFile(alice, a.Ino, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	lent, files = append(lent, w), append(files, lend(t, w, false))
	if files[2] != reader {
		t.Error("the writer has another file than the reader")
	}
	past := a.Version

	for i, f := range files {
		poke(t, f, want)
		if err := lent[i].Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s2 := killed(t, dir)
	for _, name := range []string{"fresh", "sealed", "read"} {
		if got := get(t, s2, RootIno, name); got != string(want) {
			t.Errorf("%s has %d bytes after the crash, which are not what was synced", name, len(got))
		}
	}
	v, err := s2.OpenVersion(past)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	b := make([]byte, len(old))
	if _, err := v.ReadAt(b, 0); err != nil || !bytes.Equal(b, old) {
		t.Errorf("the version that had a reader has changed: %v", err)
	}
	for _, h := range append(lent, r) {
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if got := get(t, s, RootIno, "read"); got != string(want) {
		t.Error("without a crash it is something else")
	}
}

// A lent file that was never synced is as the last epoch and the host left it; a crash
// with a reader alone changes nothing.
func TestLentFilesWithoutSync(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := openStore(t, dir)
	defer s.Close()
	old := noise(300<<10, 3)
	a := put(t, s, RootIno, "f", string(old))
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	quiet(t, s, "f")
	r, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(ctx)
	lend(t, r, false)
	if got := get(t, killed(t, dir), RootIno, "f"); got != string(old) {
		t.Error("a file that was being read is another after a crash")
	}
	w, err := s.OpenFile(alice, a.Ino, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(ctx)
	f := lend(t, w, false)
	poke(t, f, []byte("x"))
	if err := s.commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got := get(t, killed(t, dir), RootIno, "f"); got != "x"+string(old[1:]) {
		t.Error("a process that dies loses what an epoch knew of")
	}
	vs, err := s.Versions(a.Object)
	if err != nil || len(vs) != 1 {
		t.Fatalf("%+v, %v", vs, err)
	}
}

// A write that the kernel does to a lent file moves both times on, also where the host's
// clock, which goes in ticks, is behind the one that the file was made by.
func TestLentWritesMoveTimes(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: t.TempDir(), Now: func() time.Time { return time.Now().Add(time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, h, err := s.Create(alice, RootIno, "f", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	f := lend(t, h, true)
	for i := range 3 {
		poke(t, f, noise(100*(i+1), 1))
		b, err := s.GetAttr(a.Ino)
		if err != nil || !b.Mtime.After(a.Mtime) || !b.Ctime.After(a.Ctime) || b.Size != int64(100*(i+1)) {
			t.Errorf("write %d: from %v, %v to %v, %v, size %d, %v", i, a.Mtime, a.Ctime, b.Mtime, b.Ctime, b.Size, err)
		}
		a = b
	}
}

// What a first sync has made a version of is there after a crash, and not what an epoch
// had of the draft before.
func TestFirstSyncSurvivesACrash(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := Open(ctx, Options{Dir: dir, EpochInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, h, err := s.Create(alice, RootIno, "f", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	for i, sync := range []func(context.Context) error{s.SyncAll, h.Sync, h.Sync} {
		want := fmt.Sprint("text ", i)
		if _, err := h.WriteAt(alice, []byte(want), 0); err != nil {
			t.Fatal(err)
		}
		if err := sync(ctx); err != nil {
			t.Fatal(err)
		}
		k := killed(t, dir)
		a, err := k.Lookup(RootIno, "f")
		if err != nil {
			t.Fatal(err)
		}
		r, err := k.OpenFile(alice, a.Ino, unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, _ := r.ReadAt(b, 0); string(b[:n]) != want {
			t.Errorf("after sync %d and a crash: %q, want %q", i, b[:n], want)
		}
		r.Close(ctx)
	}
}

// The superseded version of another file has the same bytes as the one that a reader has
// open, and is packed meanwhile: the reader's host file stays, and who comes to read and
// write it is let in.
func TestLentWhileItsTwinIsPacked(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: t.TempDir(), EpochInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	same := noise(300<<10, 1)
	old := put(t, s, RootIno, "one", string(same)).Version
	a := put(t, s, RootIno, "two", string(same))
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	quiet(t, s, "one", "two")
	reader, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	seen := lend(t, reader, false)
	put(t, s, RootIno, "one", "another")
	eventually(t, "the version before is packed", func() bool {
		if err := s.SyncAll(ctx); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		v, err := s.findVersion(old)
		if err != nil {
			t.Fatal(err)
		}
		return !v.hot
	})
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	writtenBeside(t, s, reader, seen)
	for _, v := range []ID{old, a.Version} {
		r, err := s.OpenVersion(v)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(same))
		if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, same) {
			t.Errorf("version %s is not what it was: %v", v, err)
		}
		r.Close()
	}
}

// writtenBeside has somebody write what a reader has of a host file, and closes both.
func writtenBeside(t *testing.T, s *Store, reader *Handle, seen *os.File) {
	t.Helper()
	writer, err := s.OpenFile(alice, reader.Ino(), unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	poke(t, lend(t, writer, false), []byte("changed"))
	b := make([]byte, 10)
	if _, err := seen.ReadAt(b, 0); err != nil || string(b[:7]) != "changed" {
		t.Errorf("the reader sees %q, %v", b, err)
	}
	if err := errors.Join(writer.Close(t.Context()), reader.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// A reader has a file open that turns out to have the bytes of another one, whose host file
// it shares from then on. Who comes to read and write it is let in, and the reader sees
// what he writes.
func TestLentBesideItsTwin(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: t.TempDir(), EpochInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	same := noise(300<<10, 1)
	put(t, s, RootIno, "one", string(same))
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	quiet(t, s, "one")
	a := put(t, s, RootIno, "two", string(same))
	reader, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.ReadAt(make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	quiet(t, s, "two")
	seen := lend(t, reader, false)
	writtenBeside(t, s, reader, seen)
	for name, want := range map[string][]byte{"one": same, "two": append([]byte("changed"), same[7:]...)} {
		a, err := s.Lookup(RootIno, name)
		if err != nil {
			t.Fatal(err)
		}
		h, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := h.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was made: %v", name, err)
		}
		h.Close(ctx)
	}
}
