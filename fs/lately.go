package fs

import (
	"slices"
	"sync"
)

// lately remembers what some directories listed last. A program that lists a directory
// looks up each of its names right after; to compute all of them anew for each would cost
// the square of their number. It is for listings whose entries stay what they are, as
// records and versions do: what is not found in one is looked for in a new one. Whether a
// caller may see an entry is no part of it.
type lately[T any] struct {
	mu sync.Mutex
	m  []listed[T] // oldest first
}

type listed[T any] struct {
	key string
	es  []T
}

// Bounds of what is remembered: some programs that walk at once, and 64 MiB of entries of
// some 256 bytes.
const (
	maxLately = 8
	maxListed = 64 << 20 / 256
)

func (l *lately[T]) keep(key string, es []T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m = slices.DeleteFunc(l.m, func(x listed[T]) bool { return x.key == key })
	l.m = append(l.m, listed[T]{key, es})
	held := 0
	for i, x := range slices.Backward(l.m) {
		if held += len(x.es); len(l.m)-i > 1 && (held > maxListed || len(l.m)-i > maxLately) {
			l.m = slices.Clone(l.m[i+1:])
			return
		}
	}
}

// of gives what a directory listed last, nothing when that is forgotten.
func (l *lately[T]) of(key string) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := slices.IndexFunc(l.m, func(x listed[T]) bool { return x.key == key }); n >= 0 {
		return l.m[n].es
	}
	return nil
}
