package evidence

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Durable appends from many goroutines; the goal is 5,000 a second.
func BenchmarkAppendDurable(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := openAt(b, Options{})
			var n atomic.Int64
			b.SetParallelism(writers / 2)
			if writers == 1 {
				b.SetParallelism(1)
			}
			b.ResetTimer()
			start := time.Now()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := l.Append(context.Background(), received(int(n.Add(1)))); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "records/s")
		})
	}
}

// benchLog makes a stopped log of n records.
func benchLog(b testing.TB, n int) *Log {
	l := openAt(b, Options{})
	batch := make([]Draft, 250)
	for i := 0; i < n; i += len(batch) {
		for k := range batch {
			batch[k] = received(i + k)
			batch[k].ActionID = id("act_", (i+k)/8)
		}
		if _, err := l.Append(context.Background(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	return l
}

// Verification of records, payloads, chain, tree and bundles; the goal is
// 100,000 records a second.
func BenchmarkVerify(b *testing.B) {
	l := benchLog(b, 200_000)
	b.ResetTimer()
	var records uint64
	for b.Loop() {
		records += verified(b, l.o.Dir).Records
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// Opening after a clean stop. EVIDENCE_BENCH_RECORDS sets the size.
func BenchmarkOpen(b *testing.B) {
	n := 200_000
	fmt.Sscan(os.Getenv("EVIDENCE_BENCH_RECORDS"), &n)
	l := benchLog(b, n)
	for b.Loop() {
		again, err := Open(context.Background(), Options{Dir: l.o.Dir, Key: l.o.Key, Logger: quiet()})
		if err != nil || again.Health() != nil {
			b.Fatal(err, again.Health())
		}
		again.Close()
	}
}

func BenchmarkQueryAction(b *testing.B) {
	l := benchLog(b, 200_000)
	again := openAt(b, Options{Dir: l.o.Dir, Key: l.o.Key})
	i := 0
	for b.Loop() {
		n := 0
		for _, err := range again.Query(Query{ActionID: id("act_", i%25_000)}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 8 {
			b.Fatal(n)
		}
		i += 977
	}
}
