package blob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// A flipped byte anywhere in a frame, its header included, is seen by the next read.
func TestEveryByteOfAFrameIsChecked(t *testing.T) {
	s := store(t)
	for _, content := range [][]byte{[]byte("plain"), bytes.Repeat([]byte("squeeze me "), 500)} {
		h, l, err := s.Append(context.Background(), content)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(l.Offset); at < int64(l.Offset)+frameHeader+int64(l.Stored); at++ {
			flip(t, s.packPath(l.Pack), at)
			if _, err := s.ReadChunk(context.Background(), h, l); !errors.Is(err, ErrIntegrity) {
				t.Fatalf("byte %d of the frame: %v", at-int64(l.Offset), err)
			}
			flip(t, s.packPath(l.Pack), at)
		}
		if b, err := s.ReadChunk(context.Background(), h, l); err != nil || !bytes.Equal(b, content) {
			t.Fatal(err)
		}
	}
}

// A torn tail takes nothing else with it, and nothing is written behind it.
func TestTornTailOfAPack(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir + "/blobs", Staging: dir + "/staging"}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	h, l, err := s.Append(context.Background(), noise(50_000, 1))
	if err != nil {
		t.Fatal(err)
	}
	_, torn, err := s.Append(context.Background(), noise(50_000, 2))
	if err != nil {
		t.Fatal(err)
	}
	path := s.packPath(l.Pack)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(torn.Offset)+frameHeader+100); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ReadChunk(context.Background(), h, l); err != nil {
		t.Error(err)
	}
	n := 0
	for range s.ScanPack(l.Pack) {
		n++
	}
	if n != 1 {
		t.Errorf("%d whole frames, want 1", n)
	}
	if damaged, err := s.CheckPack(context.Background(), l.Pack, nil); err != nil || !errors.Is(damaged, ErrIntegrity) {
		t.Errorf("check: %v, %v", damaged, err)
	}
	if _, l2, err := s.Append(context.Background(), []byte("next")); err != nil || l2.Pack == l.Pack {
		t.Errorf("appended behind the torn tail: %+v %v", l2, err)
	}
}

func TestRewriteKeepsTheLiving(t *testing.T) {
	s := store(t)
	live := map[Hash][]byte{}
	var first Location
	for i := range 20 {
		b := noise(30_000, uint64(i))
		h, l, err := s.Append(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = l
		}
		if i%2 == 0 && l.Pack == first.Pack {
			live[h] = b
		}
	}
	if err := s.DropPack(first.Pack); !errors.Is(err, ErrNoPack) {
		t.Errorf("the open pack was dropped: %v", err)
	}
	for range 30 { // fill the pack, so that another is open
		if _, _, err := s.Append(context.Background(), noise(60_000, rand.Uint64())); err != nil {
			t.Fatal(err)
		}
	}
	places := map[Hash]Location{}
	err := s.RewritePack(context.Background(), first.Pack, func(h Hash, _ Location) bool { return live[h] != nil },
		func(h Hash, l Location) error { places[h] = l; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.DropPack(first.Pack); err != nil {
		t.Fatal(err)
	}
	if len(places) != len(live) || len(live) == 0 {
		t.Fatalf("%d moved of %d", len(places), len(live))
	}
	for h, l := range places {
		if b, err := s.ReadChunk(context.Background(), h, l); err != nil || !bytes.Equal(b, live[h]) {
			t.Errorf("%v: %v", l, err)
		}
	}
	if err := s.DropPack(first.Pack); !errors.Is(err, ErrNoPack) {
		t.Errorf("dropped twice: %v", err)
	}
}

// An fsync of a large file copies nothing of the version below, and the draft comes
// back from its parts.
func TestOverlayComesBack(t *testing.T) {
	s := store(t)
	content := noise(4<<20, 7)
	d, err := NewDraft(s, bytesBase{bytes.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt([]byte("changed"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := d.Truncate(3 << 20); err != nil {
		t.Fatal(err)
	}
	if err := d.Truncate(4 << 20); err != nil {
		t.Fatal(err)
	}
	if err := d.SyncOverlay(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Clone(content[:3<<20]), make([]byte, 1<<20)...)
	copy(want[1<<20:], "changed")
	o, err := d.Overlay()
	if err != nil {
		t.Fatal(err)
	}
	id, size := o.Staging, o.Size
	if st, err := os.Stat(s.StagingPath(id)); err != nil || blocks(st) > 64 {
		t.Errorf("the staging file of seven changed bytes takes %d blocks, %v", blocks(st), err)
	}
	if err := d.Close(true); err != nil {
		t.Fatal(err)
	}
	if d, err = RestoreOverlay(s, bytesBase{bytes.NewReader(content)}, o); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(d.Reader()); err != nil || !bytes.Equal(b, want) {
		t.Errorf("restored: %d bytes, %v", len(b), err)
	}
	if _, ok := d.File(); ok {
		t.Error("a file is offered while the base shows through")
	}
	if err := d.Flatten(context.Background()); err != nil {
		t.Fatal(err)
	}
	f, ok := d.File()
	if !ok {
		t.Fatal("no file after Flatten")
	}
	if b, err := io.ReadAll(io.NewSectionReader(f, 0, size)); err != nil || !bytes.Equal(b, want) {
		t.Errorf("flattened: %d bytes, %v", len(b), err)
	}
	if err := d.Close(false); err != nil {
		t.Fatal(err)
	}
}

func blocks(st os.FileInfo) int64 { return st.Sys().(*syscall.Stat_t).Blocks }

func TestAllocateModes(t *testing.T) {
	s := store(t)
	d, err := NewDraft(s, bytesBase{bytes.NewReader(bytes.Repeat([]byte("x"), 100_000))})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Drop()
	for _, c := range []struct {
		mode   AllocMode
		off, n int64
		want   error
		size   int64
	}{
		{0, 100_000, 50, nil, 100_050},
		{AllocKeepSize, 0, 1 << 20, nil, 100_050},
		{AllocPunchHole | AllocKeepSize, 1000, 5000, nil, 100_050},
		{AllocPunchHole, 0, 10, ErrNotSupported, 100_050},
		{AllocZeroRange, 99_000, 2000, nil, 101_000},
		{0x08, 0, 4096, ErrNotSupported, 101_000},
		{0x20, 0, 4096, ErrNotSupported, 101_000},
		{0, -1, 5, ErrInvalid, 101_000},
		{0, 5, 0, ErrInvalid, 101_000},
		{0, 1 << 62, 1 << 62, ErrInvalid, 101_000},
	} {
		if err := d.Allocate(c.mode, c.off, c.n); !errors.Is(err, c.want) || d.Size() != c.size {
			t.Errorf("%+v: %v, size %d", c, err, d.Size())
		}
	}
	b, err := io.ReadAll(d.Reader())
	if err != nil || !allZero(b[1000:6000]) || b[999] != 'x' || b[6000] != 'x' || b[98_999] != 'x' || !allZero(b[99_000:]) {
		t.Errorf("content: %v", err)
	}
}

func TestHotListIsByUse(t *testing.T) {
	s := store(t)
	var hs []Hash
	for i := range 3 {
		b := noise(1000, uint64(i))
		f, id, err := s.NewStaging()
		if err != nil {
			t.Fatal(err)
		}
		f.Write(b)
		f.Close()
		h := Sum(b)
		if err := s.AdoptHot(s.StagingPath(id), h); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Duration(10-i) * 24 * time.Hour)
		if err := os.Chtimes(s.hotPath(h), old, old); err != nil {
			t.Fatal(err)
		}
		hs = append(hs, h)
	}
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	f, err := s.OpenHot(hs[0])
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	list, err := s.HotLRU()
	if err != nil || len(list) != 3 || list[0].Hash != hs[1] || list[2].Hash != hs[0] {
		t.Errorf("%v %v", list, err)
	}
	if n, err := s.HotBytes(); err != nil || n != 3000 {
		t.Errorf("%d %v", n, err)
	}
}

func TestAppendersAndSyncsTogether(t *testing.T) {
	s := store(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				b := noise(40_000, uint64(w*100+i))
				h, l, err := s.Append(context.Background(), b)
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					if err := s.Sync(context.Background()); err != nil {
						t.Error(err)
					}
				}
				if got, err := s.ReadChunk(context.Background(), h, l); err != nil || !bytes.Equal(got, b) {
					t.Errorf("%v: %v", l, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSplitAppend(b *testing.B) {
	s := store(b)
	data := noise(16<<20, 1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		err := Split(bytes.NewReader(data), func(c []byte) error {
			_, _, err := s.Append(context.Background(), c)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadChunk(b *testing.B) {
	s := store(b)
	data := noise(256<<10, 1)
	h, l, err := s.Append(context.Background(), data)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := s.ReadChunk(context.Background(), h, l); err != nil {
			b.Fatal(err)
		}
	}
}
