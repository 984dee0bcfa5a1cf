package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"
)

// together has n batches committed by as many callers that come while another's commit
// runs, and gives what each was told.
func together(t *testing.T, d *DB, batches ...*Batch) []ending {
	t.Helper()
	d.commit.Lock()
	ends := make([]ending, len(batches))
	var wg sync.WaitGroup
	for i, b := range batches {
		wg.Go(func() { ends[i].ts, ends[i].err = d.CommitSync(context.Background(), b) })
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		d.groupMu.Lock()
		n := 0
		if d.gathering != nil {
			n = len(d.gathering.members)
		}
		d.groupMu.Unlock()
		if n == len(batches) {
			break
		}
		if time.Now().After(end) {
			d.commit.Unlock()
			t.Fatalf("%d of %d gathered", n, len(batches))
		}
	}
	d.commit.Unlock()
	wg.Wait()
	return ends
}

func batchOf(i int) *Batch {
	b := NewBatch()
	b.Set(fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "v%d", i))
	return b
}

// Callers that come while a commit runs share the next epoch, and have it after a power cut.
func TestCommitsAreShared(t *testing.T) {
	d, c := newPowerCut(t, t.TempDir())
	defer d.Close()
	var batches []*Batch
	for i := range 30 {
		batches = append(batches, batchOf(i))
	}
	at := d.journal.pos
	ends := together(t, d, batches...)
	for i, e := range ends {
		if e.err != nil || e.ts != ends[0].ts {
			t.Errorf("%d: epoch %d, %v; the first has %d", i, e.ts, e.err, ends[0].ts)
		}
	}
	if one := d.journal.pos - at; one > 30*20+journalHeader {
		t.Errorf("the journal has grown by %d bytes: more than one record", one)
	}
	e := open(t, Options{Dir: c.now(), MemTable: 1 << 20})
	defer e.Close()
	got := dump(t, e.View())
	for i := range 30 {
		if k := fmt.Sprintf("k%d", i); got[k] != fmt.Sprintf("v%d", i) {
			t.Errorf("%s is %q after a power cut", k, got[k])
		}
	}
}

// What changes the same key is never one epoch, whose order nobody knows.
func TestSharedCommitsHaveNoKeyTwice(t *testing.T) {
	one, two, far := batchOf(1), batchOf(1), batchOf(2)
	two.Set([]byte("k7"), nil)
	g := &group{members: []*Batch{one}}
	if g.takes(two) {
		t.Error("two batches with one key share an epoch")
	}
	if !g.takes(far) {
		t.Error("batches without a key in common do not share an epoch")
	}
	far.Set([]byte("k9"), make([]byte, journalMost))
	if g.takes(far) {
		t.Error("an epoch grows beyond what the journal takes")
	}
}

// Where a shared epoch fails, each of its members fails or succeeds alone.
func TestSharedCommitFallsApart(t *testing.T) {
	d, c := newPowerCut(t, t.TempDir())
	defer d.Close()
	fails := map[int]bool{1: true} // the writes that fail; each is followed by its undoing
	n := 0
	d.failpoint = func(step string) error {
		if step != "before write" {
			return nil
		}
		if n++; fails[n] {
			return errors.New("the disk said no")
		}
		return nil
	}
	ends := together(t, d, batchOf(0), batchOf(1), batchOf(2))
	seen := map[TS]bool{}
	for i, e := range ends {
		if e.err != nil || seen[e.ts] {
			t.Errorf("%d: epoch %d, %v", i, e.ts, e.err)
		}
		seen[e.ts] = true
	}
	n, fails = 0, map[int]bool{1: true, 3: true} // the shared one, and the first alone
	failed := 0
	for _, e := range together(t, d, batchOf(3), batchOf(4), batchOf(5)) {
		if e.err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d failed, and one alone should have", failed)
	}
	d.failpoint = nil
	if _, err := d.CommitSync(context.Background(), batchOf(6)); err != nil {
		t.Fatal(err)
	}
	want := dump(t, d.View())
	if len(want) < 6 {
		t.Errorf("%v", want)
	}
	e := open(t, Options{Dir: c.now(), MemTable: 1 << 20})
	defer e.Close()
	got := dump(t, e.View())
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q after a power cut, not %q", k, got[k], v)
		}
	}
}

// Many writers at once: what each was told is durable is there after a power cut at any
// moment, and no writer's own order is broken.
func TestSharedCommitsAfterAPowerCut(t *testing.T) {
	d, c := newPowerCut(t, t.TempDir())
	defer d.Close()
	const writers = 8
	var mu sync.Mutex
	acked := [writers]int{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				b := NewBatch()
				b.Set(fmt.Appendf(nil, "kw%d", w), []byte(strconv.Itoa(n)))
				b.Set(fmt.Appendf(nil, "kw%d-%d", w, n), make([]byte, rand.IntN(2000)))
				if _, err := d.CommitSync(context.Background(), b); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[w] = n
				mu.Unlock()
			}
		})
	}
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		time.Sleep(50 * time.Millisecond)
		mu.Lock()
		before := acked
		mu.Unlock()
		d.commit.Lock() // the copy is of one moment; what was acknowledged before it counts
		cut := c.now()
		d.commit.Unlock()
		e := open(t, Options{Dir: cut, MemTable: 1 << 20})
		got := dump(t, e.View())
		for w, n := range before {
			is, _ := strconv.Atoi(got[fmt.Sprintf("kw%d", w)])
			if is < n {
				t.Errorf("writer %d was told of %d, and %d is there", w, n, is)
			}
			for k := 1; k <= is; k++ {
				if _, ok := got[fmt.Sprintf("kw%d-%d", w, k)]; !ok {
					t.Errorf("writer %d: %d is there and %d is not", w, is, k)
				}
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
