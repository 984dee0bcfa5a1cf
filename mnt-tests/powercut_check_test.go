package mnttests

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// check compares what is there after a cut with what was acknowledged before it.
func (w *powerWork) check(t *testing.T) {
	t.Helper()
	w.checkBatches(t)
	w.checkSaved(t)
	w.checkUpdated(t)
	w.checkTrail(t)
	for i := range w.goals {
		name := fmt.Sprintf("p%d-%d", w.round, i)
		if b, err := os.ReadFile(filepath.Join(w.mount, "self/home/kept", name+".md")); err != nil || string(b) != name {
			t.Errorf("round %d: goal %d had succeeded: %q, %v", w.round, i, b, err)
		}
	}
}

// checkBatches wants every acknowledged batch whole; of the one that was being made, the
// files that are there are the first ones, and whole but for the last. The closes of large
// files come to the daemon late: several of them may be open still as far as it knows, and
// lose all bytes, as they do on ext4.
func (w *powerWork) checkBatches(t *testing.T) {
	t.Helper()
	for i := 0; i <= w.batches; i++ {
		gap, late := "", false
		for k, size := range powerSizes {
			path := filepath.Join(w.dir, fmt.Sprint("b", i), fmt.Sprint(k))
			want := w.text("batch", i*100+k, size)
			got, err := os.ReadFile(path)
			whole := err == nil && bytes.Equal(got, want)
			switch {
			case i < w.batches && !whole:
				t.Errorf("%s: %d bytes of %d, %s %v; the batch was acknowledged", path, len(got), size, firstDifference(got, want), err)
			case errors.Is(err, os.ErrNotExist):
				gap = path + " is missing"
			case err != nil:
				t.Errorf("%s: %v", path, err)
			case gap != "" && !(late && size > 64<<10 && len(got) == 0):
				t.Errorf("%s is there, but %s", path, gap)
			case !whole && len(got) > 0:
				t.Errorf("%s: %d bytes of %d, %s: no moment had that", path, len(got), size, firstDifference(got, want))
			case !whole:
				gap, late = path+" is empty", size > 64<<10
			}
		}
	}
}

func firstDifference(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("different from byte %d on", i)
		}
	}
	return "the same as far as it goes"
}

// checkSaved wants some whole save, not older than the last acknowledged one.
func (w *powerWork) checkSaved(t *testing.T) {
	t.Helper()
	path := filepath.Join(w.dir, "saved")
	got, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && w.saves == 0 {
		return
	}
	if err != nil {
		t.Errorf("%s: %v; %d saves were acknowledged", path, err, w.saves)
		return
	}
	var round, stamp, at int
	if _, err := fmt.Sscanf(string(got), "save %d %d %d\n", &round, &stamp, &at); err != nil {
		t.Errorf("%s: %d bytes, beginning with %.40q", path, len(got), got)
		return
	}
	if want := w.text("save", stamp, 20_000+stamp%5*30_000); !bytes.Equal(got, want) || stamp < w.saves-1 {
		t.Errorf("%s: save %d, %d bytes of %d, %s; %d saves were acknowledged", path, stamp, len(got), len(want), firstDifference(got, want), w.saves)
	}
}

// checkUpdated wants each block as it was last synced; the one in flight may be anything
// between old and new.
func (w *powerWork) checkUpdated(t *testing.T) {
	t.Helper()
	if !w.ready {
		return
	}
	path := filepath.Join(w.dir, "updated")
	got, err := os.ReadFile(path)
	if err != nil || len(got) != powerBlocks*pageSize {
		t.Errorf("%s: %d bytes, %v", path, len(got), err)
		return
	}
	for k := range powerBlocks {
		want := make([]byte, pageSize)
		if stamp := w.blocks[k]; stamp > 0 {
			want = w.text("block", stamp, pageSize)
		}
		if b := got[k*pageSize : (k+1)*pageSize]; k != w.flying && !bytes.Equal(b, want) {
			t.Errorf("%s: block %d is %.30q, stamp %d was synced", path, k, b, w.blocks[k])
		}
	}
}

// checkTrail wants the beginning of the row: no file may be there whose predecessor is not.
func (w *powerWork) checkTrail(t *testing.T) {
	t.Helper()
	ended, missed := -1, 0
	for i := 0; missed < 1000; i++ {
		path := filepath.Join(w.dir, fmt.Sprint("t", i))
		got, err := os.ReadFile(path)
		if err != nil {
			missed++
			if ended < 0 {
				ended = i
			}
			continue
		}
		want := w.text("trail", i, 100)
		switch {
		case ended >= 0:
			t.Errorf("%s is there, but not t%d: no moment had that", path, ended)
			return
		case len(got) == 0:
			ended = i + 1 // it was being written
		case !bytes.Equal(got, want):
			t.Errorf("%s: %q", path, got)
		}
	}
}

// The disk itself: what was synced is there after any cut, what was not may be lost, and
// names are kept as a beginning of what was done.
func TestPowerDisk(t *testing.T) {
	lost, torn, kept, partly := 0, 0, 0, 0
	for seed := range uint64(200) {
		d := newDisk()
		f := d.make(0o100600)
		d.bind(rename{1, "f", f.ino})
		f.write(0, bytes.Repeat([]byte{'a'}, 10_000))
		d.sync(f)
		f.write(4096, bytes.Repeat([]byte{'b'}, 4096))
		for i := range 4 {
			d.bind(rename{1, fmt.Sprint(i), d.make(0o100600).ino})
		}
		d.cut(rand.New(rand.NewPCG(seed, seed)))
		got := make([]byte, 10_000)
		if n := f.read(0, got); n != 10_000 || d.nodes[1].names["f"] != f.ino {
			t.Fatalf("seed %d: %d synced bytes are left", seed, n)
		}
		if a := bytes.Count(got, []byte("a")); a+bytes.Count(got, []byte("b")) != 10_000 || got[0] != 'a' || got[9000] != 'a' {
			t.Fatalf("seed %d: what was synced has changed", seed)
		} else if a == 10_000 {
			lost++
		} else if a == 10_000-4096 {
			kept++
		} else {
			torn++
		}
		for i := range 4 {
			if d.nodes[1].names[fmt.Sprint(i)] != 0 && i > 0 && d.nodes[1].names[fmt.Sprint(i-1)] == 0 {
				t.Fatalf("seed %d: a later name is kept and an earlier one is not", seed)
			}
		}
		if n := len(d.nodes[1].names); n > 1 && n < 5 {
			partly++
		}
	}
	if lost == 0 || torn == 0 || kept == 0 || partly == 0 {
		t.Errorf("lost %d, torn %d, kept %d, names kept in part %d: the disk is too kind", lost, torn, kept, partly)
	}
}
