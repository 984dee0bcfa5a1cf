package blob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func store(t testing.TB) *Store {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir + "/blobs", Staging: dir + "/staging", PackSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type bytesBase struct{ *bytes.Reader }

// A draft reads like a plain slice of bytes, whatever was done to it.
func TestDraftAgainstModel(t *testing.T) {
	s := store(t)
	rapid.Check(t, func(t *rapid.T) {
		baseSize := rapid.SampledFrom([]int{0, 10, MemoryLimit, MemoryLimit + 5000, 200_000}).Draw(t, "base")
		model := make([]byte, baseSize)
		for i := range model {
			model[i] = byte(i*7 + 1)
		}
		d, err := NewDraft(s, bytesBase{bytes.NewReader(bytes.Clone(model))})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Drop()
		grow := func(n int) {
			if n > len(model) {
				model = append(model, make([]byte, n-len(model))...)
			}
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			off := rapid.IntRange(0, 150_000).Draw(t, "off")
			n := rapid.IntRange(0, 40_000).Draw(t, "n")
			switch rapid.IntRange(0, 6).Draw(t, "op") {
			case 0, 1:
				b := bytes.Repeat([]byte{byte(n)}, n)
				if _, err := d.WriteAt(b, int64(off)); err != nil {
					t.Fatal(err)
				}
				if n > 0 {
					grow(off + n)
					copy(model[off:], b)
				}
			case 2:
				if err := d.Truncate(int64(off)); err != nil {
					t.Fatal(err)
				}
				grow(off)
				model = model[:off:off]
			case 3:
				if err := d.Zero(int64(off), int64(n)); err != nil {
					t.Fatal(err)
				}
				if off < len(model) {
					clear(model[off:min(off+n, len(model))])
				}
			case 4:
				at, err := d.Append([]byte("tail"))
				if err != nil || at != int64(len(model)) {
					t.Fatalf("append at %d, want %d: %v", at, len(model), err)
				}
				model = append(model, "tail"...)
			case 5:
				if err := d.Sync(context.Background()); err != nil {
					t.Fatal(err)
				}
			case 6:
				if err := d.Reserve(int64(off), int64(n), off%2 == 0); err != nil {
					t.Fatal(err)
				}
				if off%2 != 0 {
					grow(off + n)
				}
			}
			got := make([]byte, len(model)+10)
			m, err := d.ReadAt(got, 0)
			if err != io.EOF || d.Size() != int64(len(model)) || !bytes.Equal(got[:m], model) {
				t.Fatalf("size %d, want %d; read %d, %v; equal %v", d.Size(), len(model), m, err, bytes.Equal(got[:m], model))
			}
			checkSeek(t, d, model)
		}
	})
}

// What fallocate reserves counts, what is punched out of it does not any more, wherever
// the bytes lie (ext4 counts so).
func TestReservedBlocks(t *testing.T) {
	for _, unit := range []int64{4 << 10, 64 << 10} { // in memory, and in a file
		d, err := NewDraft(store(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		do := func(what string, want int64, err error) {
			t.Helper()
			if got := d.Blocks() * 512; err != nil || got != want*unit {
				t.Errorf("%s: %d bytes, want %d, %v", what, got, want*unit, err)
			}
		}
		do("reserve six", 6, d.Reserve(0, 6*unit, false))
		do("punch one", 5, d.Zero(2*unit, unit))
		do("punch it again", 5, d.Zero(2*unit, unit))
		do("reserve it again", 6, d.Reserve(2*unit, unit, false))
		do("punch the last two", 4, d.Zero(4*unit, 2*unit))
		do("reserve behind a hole", 5, d.Reserve(10*unit, unit, false))
		_, err = d.WriteAt(make([]byte, unit), 4*unit)
		do("write into the hole", 6, err)
		do("reserve beyond the end", 7, d.Reserve(11*unit, unit, true))
		do("punch beyond the end", 6, d.Zero(11*unit, unit))
		do("grow", 6, d.Truncate(20*unit))
		do("reserve in what grew", 7, d.Reserve(15*unit, unit, false))
		do("cut", 5, d.Truncate(6*unit))
		do("empty it", 0, d.Truncate(0))
		if err := d.Drop(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSeek walks data and holes: a hole must read as zeros, and the walk must end.
func checkSeek(t *rapid.T, d *Draft, model []byte) {
	for pos := int64(0); pos < int64(len(model)); {
		data, err := d.SeekData(pos)
		if errors.Is(err, unix.ENXIO) {
			data = int64(len(model))
		} else if err != nil {
			t.Fatal(err)
		}
		if !allZero(model[pos:data]) {
			t.Fatalf("a hole %d-%d holds data", pos, data)
		}
		if data == int64(len(model)) {
			return
		}
		hole, err := d.SeekHole(data)
		if err != nil || hole <= data {
			t.Fatalf("hole after %d: %d, %v", data, hole, err)
		}
		pos = hole
	}
}

func TestDraftOutlivesACrash(t *testing.T) {
	s := store(t)
	d, err := NewDraft(s, bytesBase{bytes.NewReader(bytes.Repeat([]byte("base"), 50_000))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt([]byte("written"), 100_000); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, d.Size())
	if _, err := d.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	o, err := d.Overlay()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Release(); err != nil {
		t.Fatal(err)
	}
	d, err = RestoreOverlay(s, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, o.Size)
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the crash: %v, equal %v", err, bytes.Equal(got, want))
	}
	if err := d.Drop(); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreOverlay(s, nil, o); !errors.Is(err, ErrNoStaging) {
		t.Errorf("dropped, and still there: %v", err)
	}
}

// T-13: a terabyte of nothing costs nothing.
func TestSparseDraftIsCheap(t *testing.T) {
	s := store(t)
	d, err := NewDraft(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Drop()
	if err := d.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt([]byte("x"), 1<<39); err != nil {
		t.Fatal(err)
	}
	if at, err := d.SeekData(0); err != nil || at > 1<<39 || at < 1<<39-(1<<20) {
		t.Errorf("data at %d, %v", at, err)
	}
	if b := d.Blocks(); b > 64 {
		t.Errorf("%d blocks", b)
	}
}

func TestChunksComeBackAndDamageIsSeen(t *testing.T) {
	s := store(t)
	r := rand.New(rand.NewPCG(3, 4))
	type kept struct {
		h Hash
		l Location
		b []byte
	}
	var all []kept
	for i := range 60 {
		b := make([]byte, r.IntN(120_000)+1)
		if i%2 == 0 {
			for j := range b {
				b[j] = byte(r.UintN(256))
			}
		}
		h, l, err := s.Append(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseLocation(l.Marshal())
		if err != nil || back != l {
			t.Fatalf("%+v became %+v, %v", l, back, err)
		}
		all = append(all, kept{h, l, b})
	}
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	ids, err := s.Packs()
	if err != nil || len(ids) < 2 {
		t.Fatalf("%v packs, %v: they do not rotate", ids, err)
	}
	n := 0
	for _, id := range ids {
		for h, l := range s.ScanPack(id) {
			if all[n].h != h || all[n].l != l {
				t.Fatalf("frame %d: %v %+v", n, h, l)
			}
			n++
		}
	}
	if n != len(all) {
		t.Errorf("%d frames scanned of %d", n, len(all))
	}
	for i, k := range all {
		b, err := s.ReadChunk(context.Background(), k.h, k.l)
		if err != nil || !bytes.Equal(b, k.b) {
			t.Fatalf("chunk %d: %v", i, err)
		}
		for _, spare := range []int{-1, 0, 100} { // what lies behind the room stays as it is
			room := bytes.Repeat([]byte{0xee}, len(k.b)+200)
			b, err := s.ReadChunkInto(context.Background(), k.h, k.l, room[:max(len(k.b)+spare, 0)])
			if err != nil || !bytes.Equal(b, k.b) {
				t.Fatalf("chunk %d with %d bytes to spare: %v", i, spare, err)
			}
			if into := len(b) > 0 && &b[0] == &room[0]; into != (spare >= 0 && len(b) > 0) || bytes.Count(room[max(len(k.b)+spare, 0):], []byte{0xee}) != len(room)-max(len(k.b)+spare, 0) {
				t.Fatalf("chunk %d with %d bytes to spare: in the room %v", i, spare, into)
			}
		}
		at := int64(k.l.Offset) + frameHeader + int64(r.IntN(int(k.l.Stored)))
		flip(t, s.packPath(k.l.Pack), at)
		if b, err := s.ReadChunk(context.Background(), k.h, k.l); !errors.Is(err, ErrIntegrity) {
			// zstd has bits that do not matter; what must never come back is other bytes
			if err != nil || !bytes.Equal(b, k.b) {
				t.Fatalf("chunk %d damaged: %v", i, err)
			}
		}
		flip(t, s.packPath(k.l.Pack), at)
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestSplitIsStable(t *testing.T) {
	b := make([]byte, 3<<20)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	cuts := func(b []byte) (list []Hash, total int) {
		if err := Split(bytes.NewReader(b), func(c []byte) error {
			if len(c) > chunkSizes.MaxSize {
				t.Errorf("a chunk of %d bytes", len(c))
			}
			list = append(list, Sum(c))
			total += len(c)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return
	}
	one, n := cuts(b)
	two, _ := cuts(b)
	if n != len(b) || len(one) < 4 || len(one) != len(two) || one[0] != two[0] {
		t.Fatalf("%d chunks of %d bytes, then %d", len(one), n, len(two))
	}
	three, _ := cuts(append([]byte("a few bytes more at the front"), b...))
	shared := map[Hash]bool{}
	for _, h := range one {
		shared[h] = true
	}
	same := 0
	for _, h := range three {
		if shared[h] {
			same++
		}
	}
	if same < len(one)/2 {
		t.Errorf("after an insertion only %d of %d chunks are the same", same, len(one))
	}
	if small, _ := cuts([]byte("small")); len(small) != 1 {
		t.Errorf("a small file has %d chunks", len(small))
	}
}

func TestHotFiles(t *testing.T) {
	s := store(t)
	f, id, err := s.NewStaging()
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("hot"), 1000)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	f.Close()
	h := Sum(content)
	if _, err := s.OpenHot(h); !errors.Is(err, ErrNotHot) {
		t.Errorf("%v", err)
	}
	if err := s.AdoptHot(s.StagingPath(id), h); err != nil {
		t.Fatal(err)
	}
	hot, err := s.OpenHot(h)
	if err != nil {
		t.Fatal(err)
	}
	defer hot.Close()
	if b, err := io.ReadAll(hot); err != nil || !bytes.Equal(b, content) {
		t.Error("the hot file differs")
	}
	if err := s.EvictHot(h); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenHot(h); !errors.Is(err, ErrNotHot) {
		t.Errorf("evicted: %v", err)
	}
}

// What is a hole in bytes that are held in memory.
func TestHolesOfBytes(t *testing.T) {
	b := append(bytes.Repeat([]byte("x"), 5000), make([]byte, 8000)...)
	b = append(b, 'y')
	const size = 40_000
	type run struct {
		data  bool
		until int64
	}
	var got []run
	for pos := int64(0); pos < size; {
		data, until := BytesSegment(b, pos, size)
		for in := pos + 1; in < until; in += 97 {
			if d, u := BytesSegment(b, in, size); d != data || u != until {
				t.Errorf("at %d: %v until %d, and at %d: %v until %d", pos, data, until, in, d, u)
			}
		}
		got = append(got, run{data, until})
		pos = until
	}
	want := []run{{true, 8192}, {false, 12288}, {true, 16384}, {false, size}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if data, until := BytesSegment(nil, 0, 10); data || until != 10 {
		t.Errorf("of nothing: %v until %d", data, until)
	}
}
