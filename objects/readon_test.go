package objects

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// smallFiles makes files of one chunk each in a directory of its own, and lists it.
func smallFiles(t *testing.T, s *Store, n int) (files []Attr, texts []string) {
	t.Helper()
	dir, err := s.Mkdir(alice, RootIno, "dir", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		text := string(noise(inlineLimit+1000, byte(i)))
		texts = append(texts, text)
		files = append(files, put(t, s, dir.Ino, fmt.Sprintf("f%03d", i), text))
	}
	if err := s.commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.list(dir.Ino); err != nil {
		t.Fatal(err)
	}
	return files, texts
}

// decoded tells whether a file's bytes wait decoded.
func decoded(t *testing.T, s *Store, a Attr) bool {
	t.Helper()
	s.mu.Lock()
	v, err := s.version(a.Object, s.nodes[a.Ino].inode.version)
	s.mu.Unlock()
	if err != nil || len(v.chunks) != 1 {
		t.Fatalf("%d chunks, %v", len(v.chunks), err)
	}
	s.chunks.mu.Lock()
	defer s.chunks.mu.Unlock()
	c := s.chunks.m[v.chunks[0].hash]
	return c != nil && c.at != nil
}

// Who reads a directory's files in order finds the next ones decoded, and what he has read
// is kept no longer; one that reads here and there has nothing read ahead.
func TestSmallFilesAreReadAhead(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	files, texts := smallFiles(t, s, 60)
	read := func(i int) {
		t.Helper()
		s.ReadOn(files[i].Ino)
		h, err := s.OpenFile(alice, files[i].Ino, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(t.Context())
		b := make([]byte, blob.MemoryLimit)
		if n, _ := h.ReadAt(b, 0); !bytes.Equal(b[:n], []byte(texts[i])) {
			t.Fatalf("file %d reads differently", i)
		}
	}
	for _, i := range []int{50, 20, 40, 10} {
		read(i)
	}
	for i := range files {
		if decoded(t, s, files[i]) {
			t.Errorf("file %d is decoded, and nobody reads in order", i)
		}
	}
	read(0)
	read(2) // a directory lies between
	for i := 3; i < 27; i++ {
		eventually(t, fmt.Sprintf("file %d is decoded", i), func() bool { return decoded(t, s, files[i]) })
	}
	for i := 3; i < 60; i++ {
		read(i)
		if i < 27 && decoded(t, s, files[i]) {
			t.Errorf("file %d is kept after it was read", i)
		}
	}
}
