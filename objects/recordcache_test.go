package objects

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// The cache gives what was set last or nothing, forgets what is gone, and stays within its
// bounds, in what it holds and in what it remembers of what it held.
func TestRecordCache(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var c recordCache
		truth := map[string]string{}
		for i := range rapid.IntRange(0, 6000).Draw(r, "steps") {
			key := fmt.Sprint("v", i*7919%rapid.SampledFrom([]int{3, 50, 5000}).Draw(r, "keys"))
			var value []byte
			if n := rapid.SampledFrom([]int{-1, 0, 30, 4000, recordMost, recordMost + 1}).Draw(r, "size"); n >= 0 {
				value = append(make([]byte, 0, n), fmt.Sprintf("%0*d", max(n, 1), i)...)
			}
			c.set(key, value)
			if value == nil {
				delete(truth, key)
			} else {
				truth[key] = string(value)
			}
		}
		held := 0
		for k, v := range c.m {
			if want, ok := truth[k]; !ok || want != string(v.value) {
				r.Fatalf("%s is %.20q, want %.20q, there: %v", k, v.value, want, ok)
			}
			held += len(k) + len(v.value) + recordCost
		}
		if held != c.bytes || held > recordBudget || len(c.order) > 2*len(c.m)+1024 {
			r.Fatalf("%d bytes are held, %d counted, %d places of %d records", held, c.bytes, len(c.order), len(c.m))
		}
	})
}

// A record that comes and goes again and again takes one place.
func TestRecordCacheComesAndGoes(t *testing.T) {
	var c recordCache
	for range 5000 {
		c.set("v", []byte("x"))
		c.set("v", nil)
		c.set("v", []byte("y"))
	}
	if n := len(c.order); n > 2*len(c.m)+1024 || string(c.get([]byte("v"))) != "y" {
		t.Errorf("%d places for one record", n)
	}
}
