package kv

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func filled(tb testing.TB, keys, versions int) *DB {
	tb.Helper()
	d := open(tb, Options{Dir: tb.TempDir()})
	tb.Cleanup(func() { d.Close() })
	for v := range versions {
		b := NewBatch()
		for i := range keys {
			b.Set(fmt.Appendf(nil, "d%08d", i), bytes.Repeat([]byte{byte(v)}, 40))
		}
		if _, err := d.Commit(context.Background(), b); err != nil {
			tb.Fatal(err)
		}
	}
	return d
}

// How long it takes to walk records, each of which has a past.
func BenchmarkScan(b *testing.B) {
	for _, c := range []struct{ keys, versions int }{{1000, 1}, {1000, 3}, {10, 1}, {1, 100_000}} {
		b.Run(fmt.Sprintf("keys=%d/versions=%d", c.keys, c.versions), func(b *testing.B) {
			d := filled(b, c.keys, c.versions)
			v := d.View()
			defer v.Close()
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for range v.Scan([]byte("d"), nil) {
					n++
				}
				if n != c.keys {
					b.Fatalf("%d records", n)
				}
			}
		})
	}
}

// Keys with a long past and with a short one, removed and made again: each walk gives what
// the changes say, at any time.
func TestWalksPastLongPasts(t *testing.T) {
	d := open(t, Options{Dir: t.TempDir()})
	defer d.Close()
	type state map[string]string
	var at []TS
	var was []state
	var changed []map[string]bool
	now := state{}
	r := rand.New(rand.NewPCG(rand.Uint64(), 1))
	for range 150 {
		b, keys := NewBatch(), map[string]bool{}
		for i := range 12 {
			if r.IntN(12) < i { // the later a key, the longer its past
				continue
			}
			k, v := fmt.Sprintf("k%02d", 11-i), fmt.Sprint(r.Uint32())
			if keys[k] = true; r.IntN(4) == 0 {
				b.Delete([]byte(k))
				delete(now, k)
			} else {
				b.Set([]byte(k), []byte(v))
				now[k] = v
			}
		}
		ts, err := d.Commit(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		at, was, changed = append(at, ts), append(was, maps.Clone(now)), append(changed, keys)
	}
	for i, ts := range at {
		v, err := d.ViewAt(ts)
		if err != nil {
			t.Fatal(err)
		}
		got, from, ever := state{}, "", map[string]bool{}
		for k, val := range v.Scan([]byte("k"), nil) {
			got[string(k)] = string(val)
		}
		for k := range v.ScanKeys([]byte("k"), []byte("k05")) {
			from += string(k) + " "
		}
		for j := range i + 1 {
			maps.Copy(ever, changed[j])
		}
		wantFrom := ""
		for _, k := range slices.Sorted(maps.Keys(was[i])) {
			if k >= "k05" {
				wantFrom += k + " "
			}
		}
		if !maps.Equal(got, was[i]) || from != wantFrom {
			t.Errorf("epoch %d: %v and %s, want %v and %s", i, got, from, was[i], wantFrom)
		}
		if keys := v.KeysEver([]byte("k")); !slices.Equal(keys, slices.Sorted(maps.Keys(ever))) {
			t.Errorf("epoch %d: %v were ever there, want %v", i, keys, slices.Sorted(maps.Keys(ever)))
		}
		since := map[string]bool{}
		for j := i/2 + 1; j <= i; j++ {
			maps.Copy(since, changed[j])
		}
		var keys []string
		for k := range v.KeysSince([]byte("k"), at[i/2]) {
			keys = append(keys, string(k))
		}
		if !slices.Equal(keys, slices.Sorted(maps.Keys(since))) {
			t.Errorf("epoch %d: %v changed, want %v", i, keys, slices.Sorted(maps.Keys(since)))
		}
		v.Close()
	}
}
