package evidence

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestScale runs with 60,000 records; AIOS_LONG=1 (make test-long) makes it a
// million, half a minute and 3 GB.
func TestScale(t *testing.T) {
	records := 60_000
	if os.Getenv("AIOS_LONG") != "" {
		records = 1_000_000
	}
	start := time.Now()
	l := benchLog(t, records)
	t.Logf("appended %d in %s", records, time.Since(start).Round(time.Millisecond))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start = time.Now()
	again := openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	opened := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if err := again.Health(); err != nil {
		t.Fatal(err)
	}
	idle := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if opened > time.Second || idle > 8<<20 {
		t.Errorf("opened in %s with %d bytes of heap", opened, idle)
	}
	start = time.Now()
	n := 0
	for _, err := range again.Query(Query{ActionID: id("act_", records/16)}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	query := time.Since(start)
	rep, err := Verify(context.Background(), l.o.Dir, VerifyOptions{})
	if err != nil || !rep.Consistent || n != 8 {
		t.Fatal(err, rep, n)
	}
	t.Logf("open %s, idle heap %d KiB, first query %s, verify %s (%.0f records/s)",
		opened.Round(time.Millisecond), idle>>10, query.Round(time.Microsecond), rep.Duration.Round(time.Millisecond), float64(rep.Records)/rep.Duration.Seconds())
}

// The figures of the reference (S3.1 §6), best of three because the machine
// may be busy with other things.
func TestEvidence31_Figures(t *testing.T) {
	if testing.Short() {
		t.Skip("figures mean nothing beside the race detector and in a hurry")
	}
	var single, hundred time.Duration
	var rate float64
	for range 3 {
		l := openAt(t, Options{})
		var one, many []time.Duration
		for i := range 100 {
			start := time.Now()
			if _, err := l.Append(context.Background(), received(i)); err != nil {
				t.Fatal(err)
			}
			one = append(one, time.Since(start))
		}
		batch := make([]Draft, 100)
		for i := range batch {
			batch[i] = received(i)
		}
		for range 20 {
			start := time.Now()
			if _, err := l.Append(context.Background(), batch...); err != nil {
				t.Fatal(err)
			}
			many = append(many, time.Since(start))
		}
		const writers, each = 32, 250
		start := time.Now()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range each {
					if _, err := l.Append(context.Background(), received(w*each+i)); err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
		rate = float64(writers*each) / time.Since(start).Seconds()
		slices.Sort(one)
		slices.Sort(many)
		single, hundred = one[94], many[18]
		if single < 5*time.Millisecond && hundred < 50*time.Millisecond && rate >= 5000 {
			t.Logf("append p95 %s, batch of 100 p95 %s, %.0f durable records/s from %d writers", single, hundred, rate, writers)
			// 60,000 records are about one segment of 64 MB.
			dir := benchLog(t, 60_000).o.Dir
			took := verified(t, dir).Duration
			for range 2 {
				took = min(took, verified(t, dir).Duration)
			}
			if took > 2*time.Second {
				t.Fatalf("verification of a segment took %s", took)
			}
			t.Log("proves: evidence-31")
			return
		}
	}
	t.Fatalf("append p95 %s, batch of 100 p95 %s, %.0f durable records/s", single, hundred, rate)
}

// A checkpoint that cannot be published stops appends until it can be.
func TestPublishFails(t *testing.T) {
	l := openAt(t, Options{CheckpointEvery: time.Millisecond})
	appendN(t, l, 3)
	l.Checkpoint()
	tiles := filepath.Join(l.o.Dir, logDir, "tile")
	if err := os.Rename(tiles, tiles+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tiles, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 1)
	l.Checkpoint()
	if l.Health() == nil {
		t.Fatal("health is good")
	}
	if _, err := l.Append(context.Background(), received(1)); err == nil {
		t.Fatal("append without a publishable checkpoint")
	}
	os.Remove(tiles)
	os.Rename(tiles+"-away", tiles)
	for range 100 {
		if l.Health() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	appendN(t, l, 1)
	l.Close()
	verified(t, l.o.Dir)
}
