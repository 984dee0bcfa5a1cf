package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// coldFile makes a file whose current version lies in packs alone, half of it compressible.
func coldFile(t testing.TB, s *Store, size int) ([]byte, *version) {
	t.Helper()
	text := noise(size, 7)
	for i := 0; i+8192 <= size; i += 8192 {
		clear(text[i : i+4096])
	}
	a := put(t, s, RootIno, "cold", string(text))
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	v := chill(t, s, a)
	return text, v
}

// chill packs a file's current version, as if it had been superseded.
func chill(t testing.TB, s *Store, a Attr) *version {
	t.Helper()
	if err := s.sealAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	v, err := s.findVersion(a.Version)
	s.mu.Unlock()
	if err != nil || !v.hot {
		t.Fatalf("%+v, %v", v, err)
	}
	f, err := s.blobs.OpenHot(v.hash)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	places := map[blob.Hash][]byte{}
	var off int64
	for _, r := range v.chunks {
		b := make([]byte, r.size)
		if _, err := f.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		h, loc, err := s.blobs.Append(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		places[h] = loc.Marshal()
		off += int64(r.size)
	}
	if err := s.recordCold(v.id, places, v.hash); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	v.hot = false
	return v
}

// A cold version reads the same in any order and from many readers; one that was read from
// end to end is a plain file afterwards.
func TestColdVersionsReadAheadAndHeat(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	text, v := coldFile(t, s, 5<<20)
	c, err := s.openVersion(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(*chunkContent); !ok {
		t.Fatalf("it is %T", c)
	}
	done := make(chan error, 4)
	for range 4 {
		go func() {
			b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
			if err == nil && !bytes.Equal(b, text) {
				err = ErrIntegrity
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	one := make([]byte, 100)
	for off := int64(len(text)) - 100; off >= 0; off -= 77_777 {
		if _, err := c.ReadAt(one, off); err != nil || !bytes.Equal(one, text[off:off+100]) {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	// alone, from end to end
	if get(t, s, RootIno, "cold") != string(text) {
		t.Error("the file reads differently")
	}
	st, err := s.StatFS()
	if err != nil {
		t.Fatal(err)
	}
	roomy := st.Available >= st.Blocks/4
	if roomy {
		eventually(t, "it is hot again", func() bool { return hotFiles(t, s) == 1 })
	}
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if rep, err := s.Fsck(context.Background()); err != nil || len(rep.Problems) != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	if s.chunks.bytes > chunkCacheBytes {
		t.Errorf("the cache holds %d bytes", s.chunks.bytes)
	}
	if !roomy {
		t.Skip("all but one thing was looked at: where less than a quarter of the disk is free, nothing gets hot again")
	}
}

// BenchmarkColdRead compares the first sequential read of a packed file with a plain one.
func BenchmarkColdRead(b *testing.B) {
	const size = 64 << 20
	dir := b.TempDir()
	s := openStore(b, dir)
	defer s.Close()
	text, v := coldFile(b, s, size)
	if err := os.WriteFile(dir+"/plain", text, 0o600); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 128<<10)
	b.Run("packed", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			s.chunks.close()
			s.chunks = chunkCache{}
			s.chunks.init(s.chunk)
			c, err := s.openVersion(v)
			if err != nil {
				b.Fatal(err)
			}
			for off := int64(0); off < size; off += int64(len(buf)) {
				if _, err := c.ReadAt(buf, off); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			f, err := os.Open(dir + "/plain")
			if err != nil {
				b.Fatal(err)
			}
			for off := int64(0); off < size; off += int64(len(buf)) {
				if _, err := f.ReadAt(buf, off); err != nil {
					b.Fatal(err)
				}
			}
			f.Close()
		}
	})
}

// A file that is all hole costs nothing, however large it says it is.
func TestHollowFilesAreNotHashed(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := openStore(t, dir)
	const size = 4 << 40
	a, h, err := s.Create(alice, RootIno, "hollow", 0o644, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(alice, []byte("end"), size-3); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.SyncAll(ctx), s.sealAll(context.Background()), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	if a, err = s.GetAttr(a.Ino); err != nil || a.Size != size || a.Blocks > 64 {
		t.Errorf("%d bytes in %d blocks, %v", a.Size, a.Blocks, err)
	}
	r, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(ctx)
	if rep, err := s.Fsck(ctx); err != nil || len(rep.Problems) != 0 {
		t.Errorf("fsck: %+v, %v", rep, err)
	}
	b := make([]byte, 4)
	if n, err := r.ReadAt(b, size-4); n != 4 || string(b) != "\x00end" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if off, err := r.SeekData(1 << 20); err != nil || off != (size-3)&^4095 {
		t.Errorf("data at %d, %v", off, err)
	}
}
