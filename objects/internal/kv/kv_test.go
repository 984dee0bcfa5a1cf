package kv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("KV_CRASH_DIR"); dir != "" {
		fmt.Fprintln(os.Stderr, crashWriter(dir))
		os.Exit(1)
	}
	if dir := os.Getenv("KV_FULL_DIR"); dir != "" {
		if err := fullWriter(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

func open(t testing.TB, o Options) *DB {
	t.Helper()
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// dump is everything that a view shows, by scanning and by asking for each key.
func dump(t *testing.T, v *View) map[string]string {
	t.Helper()
	defer v.Close()
	m := map[string]string{}
	for k, val := range v.Scan([]byte("k"), nil) {
		m[string(k)] = string(val)
	}
	for k, want := range m {
		if got, err := v.Get([]byte(k)); err != nil || string(got) != want {
			t.Fatalf("%s: scanned %q, got %q, %v", k, want, got, err)
		}
	}
	return m
}

// Every epoch can be read back as it was, over restarts, clock steps, and epochs
// that were split over several Badger transactions.
func TestEveryEpochCanBeReadBack(t *testing.T) {
	dir := t.TempDir()
	clock := time.UnixMicro(1_700_000_000_000_000)
	o := Options{Dir: dir, MemTable: 1 << 20, Now: func() time.Time { return clock }}
	d := open(t, o)
	r := rand.New(rand.NewPCG(1, 2))
	model := map[string]string{}
	past := map[TS]map[string]string{}
	for n := range 150 {
		b := NewBatch()
		count := 1 + r.IntN(20)
		if n%20 == 7 {
			count = 4000 // far more than one Badger transaction of a 1 MiB memtable
		}
		for range count {
			k := fmt.Sprintf("k%05d", r.IntN(6000))
			if r.IntN(4) == 0 {
				b.Delete([]byte(k))
				delete(model, k)
			} else {
				v := fmt.Sprintf("%d-%d", n, r.IntN(1000))
				b.Set([]byte(k), []byte(v))
				model[k] = v
			}
		}
		ts, err := d.Commit(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		past[ts] = maps.Clone(model)
		clock = clock.Add(time.Duration(r.IntN(2000)-1000) * time.Microsecond) // it steps back, too
		if n%37 == 36 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = open(t, o)
		}
	}
	defer d.Close()
	for ts, want := range past {
		for _, at := range []TS{ts, ts} {
			v, err := d.ViewAt(at)
			if err != nil {
				t.Fatal(err)
			}
			if v.TS() != ts {
				t.Fatalf("asked for %d, clamped to %d", at, v.TS())
			}
			if got := dump(t, v); !maps.Equal(got, want) {
				t.Fatalf("epoch %d: %d records, want %d", ts, len(got), len(want))
			}
		}
	}
	n := 0
	for ts := range d.Epochs(0, d.LastSealed()) {
		if past[ts] == nil {
			t.Errorf("epoch %d was never committed", ts)
		}
		n++
	}
	if n != len(past) {
		t.Errorf("%d epochs are listed, %d were made", n, len(past))
	}
}

// F-106 in the small: a crash at every step of a split epoch leaves the epoch before it.
func TestTornEpochNeverHappened(t *testing.T) {
	for _, step := range []struct {
		name string
		at   int
	}{{"before write", 1}, {"before write", 2}, {"before write", 3}, {"before seal", 1}} {
		dir := t.TempDir()
		d := open(t, Options{Dir: dir, MemTable: 1 << 20})
		b := NewBatch()
		for i := range 3000 {
			b.Set(fmt.Appendf(nil, "k%05d", i), []byte("old"))
		}
		first, err := d.CommitSync(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		want := dump(t, d.View())
		crash := errCrash
		seen := 0
		d.failpoint = func(s string) error {
			if s == step.name {
				if seen++; seen == step.at {
					return crash
				}
			}
			return nil
		}
		b = NewBatch()
		for i := range 4000 {
			if i%3 == 0 {
				b.Delete(fmt.Appendf(nil, "k%05d", i))
			} else {
				b.Set(fmt.Appendf(nil, "k%05d", i), []byte("new"))
			}
		}
		if _, err := d.Commit(context.Background(), b); !errors.Is(err, crash) {
			t.Fatalf("%v %d: %v", step.name, step.at, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = open(t, Options{Dir: dir, MemTable: 1 << 20})
		if got := dump(t, d.View()); !maps.Equal(got, want) {
			t.Errorf("%v: the torn epoch shows: %d records, want %d", step, len(got), len(want))
		}
		for at := first; at <= d.LastSealed(); at += max(1, (d.LastSealed()-first)/50) {
			v, err := d.ViewAt(at)
			if err != nil {
				t.Fatal(err)
			}
			if got := dump(t, v); !maps.Equal(got, want) {
				t.Fatalf("%v: as of %d the torn epoch shows", step, at)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHorizon(t *testing.T) {
	d := open(t, Options{Dir: t.TempDir()})
	defer d.Close()
	if _, err := d.ViewAt(At(time.Now())); !errors.Is(err, ErrHorizon) {
		t.Errorf("before the first epoch: %v", err)
	}
	var all []TS
	for i := range 5 {
		b := NewBatch()
		b.Set([]byte("k"), fmt.Append(nil, i))
		ts, err := d.Commit(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ts)
	}
	unpin := d.Pin(all[1])
	if err := d.SetHorizon(context.Background(), all[3]); err != nil {
		t.Fatal(err)
	}
	if d.Horizon() != all[1] {
		t.Errorf("the horizon passed a pin: %d", d.Horizon())
	}
	unpin()
	if err := d.SetHorizon(context.Background(), all[3]); err != nil {
		t.Fatal(err)
	}
	if err := d.SetHorizon(context.Background(), all[2]); err != nil || d.Horizon() != all[3] {
		t.Errorf("the horizon went back: %d, %v", d.Horizon(), err)
	}
	if _, err := d.ViewAt(all[3] - 1); !errors.Is(err, ErrHorizon) {
		t.Errorf("below the horizon: %v", err)
	}
	v, err := d.ViewAt(all[3])
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if b, err := v.Get([]byte("k")); err != nil || string(b) != "3" {
		t.Errorf("at the horizon: %q, %v", b, err)
	}
}

func TestHistoryOfAKey(t *testing.T) {
	d := open(t, Options{Dir: t.TempDir()})
	defer d.Close()
	for _, v := range []string{"one", "", "two"} {
		b := NewBatch()
		if v == "" {
			b.Delete([]byte("kx"))
		} else {
			b.Set([]byte("kx"), []byte(v))
		}
		b.Set([]byte("ky"), []byte("other"))
		if _, err := d.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	b := NewBatch()
	b.Delete([]byte("ky"))
	if _, err := d.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	v := d.View()
	defer v.Close()
	h := v.History([]byte("kx"))
	if len(h) != 3 || string(h[0].Value) != "one" || !h[1].Deleted || string(h[2].Value) != "two" {
		t.Errorf("%+v", h)
	}
	if k := v.KeysEver([]byte("k")); len(k) != 2 || k[0] != "kx" || k[1] != "ky" {
		t.Errorf("%v", k)
	}
}

func TestSyncIsShared(t *testing.T) {
	d := open(t, Options{Dir: t.TempDir()})
	defer d.Close()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b := NewBatch()
			b.Set(fmt.Appendf(nil, "k%d", i), []byte("v"))
			if _, err := d.CommitSync(context.Background(), b); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if got := dump(t, d.View()); len(got) != 32 {
		t.Errorf("%d records", len(got))
	}
}

func TestRefusesNearlyFullDisk(t *testing.T) {
	d := open(t, Options{Dir: t.TempDir(), ReserveBytes: 1 << 60})
	defer d.Close()
	b := NewBatch()
	b.Set([]byte("k"), []byte("v"))
	if _, err := d.Commit(context.Background(), b); !errors.Is(err, ErrNoSpace) {
		t.Errorf("%v", err)
	}
}

// The barrier names every memtable log, also those that were rotated out.
func TestSyncSeesRotatedLogs(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{Dir: dir, MemTable: 1 << 20})
	defer d.Close()
	for i := range 40 {
		b := NewBatch()
		b.Set(fmt.Appendf(nil, "k%d", i), make([]byte, 60<<10))
		if _, err := d.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	names, err := d.memFiles()
	if err != nil || len(names) == 0 {
		t.Fatalf("%v %v", names, err)
	}
	if entries, _ := filepath.Glob(filepath.Join(dir, "*.mem")); len(entries) == 0 {
		t.Fatal("no logs")
	}
	if err := d.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCommitSync(b *testing.B) {
	for _, workers := range []int{1, 16} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			d := open(b, Options{Dir: b.TempDir()})
			defer d.Close()
			b.SetParallelism(workers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					batch := NewBatch()
					batch.Set(fmt.Appendf(nil, "k%d", rand.Uint64()), make([]byte, 200))
					if _, err := d.CommitSync(context.Background(), batch); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// Opening must not grow with the number of records: a start with 100,000 objects is
// to take less than two seconds in all.
func BenchmarkOpen100kRecords(b *testing.B) {
	dir := b.TempDir()
	d := open(b, Options{Dir: dir})
	for i := range 10 {
		batch := NewBatch()
		for j := range 40_000 {
			batch.Set(fmt.Appendf(nil, "k%06d", i*40_000+j), make([]byte, 150))
		}
		if _, err := d.Commit(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := open(b, Options{Dir: dir}).Close(); err != nil {
			b.Fatal(err)
		}
	}
}
