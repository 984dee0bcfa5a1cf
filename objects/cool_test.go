package objects

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hotFiles counts the plain files that hold whole versions.
func hotFiles(t testing.TB, s *Store) int {
	t.Helper()
	l, err := s.blobs.HotLRU()
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

func eventually(t testing.TB, what string, fn func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if fn() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// The versions below the current one of a large file are packed, share what they have in
// common, and read as they did; a collection finds what nothing refers to, and only that.
func TestSupersededVersionsArePacked(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := Open(ctx, Options{Dir: dir, EpochInterval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 6<<20)
	rand.NewChaCha8([32]byte{1}).Read(text)
	var want [][]byte
	for i := range 4 {
		copy(text[i<<20:], "another beginning of this megabyte")
		want = append(want, bytes.Clone(text))
		put(t, s, RootIno, "f", string(text))
		if err := s.SyncAll(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// One hot file there is also at the beginning, while the others wait to be sealed.
	eventually(t, "one hot file is left", func() bool { return hotFiles(t, s) == 1 && packBytes(t, dir) >= 6<<20 })
	a, err := s.Lookup(RootIno, "f")
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		vs, err := s.Versions(a.Object)
		if err != nil || len(vs) != len(want) {
			t.Fatalf("%s: %d versions, %v", when, len(vs), err)
		}
		for i, v := range vs {
			r, err := s.OpenVersion(v.ID)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			if err != nil || !bytes.Equal(b, want[i]) {
				t.Fatalf("%s: version %d reads otherwise: %v", when, i, err)
			}
			r.Close()
		}
	}
	check("packed")
	packed := packBytes(t, dir)
	if packed < 6<<20 || packed > 12<<20 {
		t.Errorf("three versions that differ in three places take %d bytes in packs", packed)
	}
	if rep, err := s.GC(ctx); err != nil || rep != (GCReport{}) {
		t.Errorf("a collection found %+v, %v", rep, err)
	}
	// A hot file and a chunk that a crash left.
	stray := filepath.Join(dir, "blobs", "stray")
	if err := os.WriteFile(stray, []byte("nobody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.blobs.AdoptHot(stray, [32]byte{9}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.blobs.Append(ctx, text[:100<<10]); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(ctx, Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	rep, err := s.GC(ctx)
	if err != nil || rep.HotFiles != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	check("collected")
	if err := s.Unlink(alice, RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was removed is packed", func() bool { return hotFiles(t, s) == 0 })
	check("removed")
	f, err := s.Fsck(ctx)
	if err != nil || len(f.Problems) > 0 {
		t.Errorf("fsck: %v, %v", f.Problems, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A version that was superseded, and not packed yet when the store was closed, is found by
// the passes of a later run.
func TestWhatARunLeftIsPacked(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := openStore(t, dir)
	s.seal.working.Lock() // nothing is sealed before the store is closed
	for i := range byte(2) {
		put(t, s, RootIno, "f", string(noise(3<<20, i)))
		if err := s.SyncAll(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s.asking.requests.Add(1 << 30) // and nothing packed
	s.seal.working.Unlock()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	if n := hotFiles(t, s); n != 2 {
		t.Fatalf("%d plain files, want both versions'", n)
	}
	if _, err := s.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the older version is packed", func() bool { return hotFiles(t, s) == 1 && packBytes(t, dir) >= 3<<20 })
}

func packBytes(t *testing.T, dir string) (n int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "blobs", "packs", "*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		n += st.Size
	}
	return n
}
