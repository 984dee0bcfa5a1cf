package objects

import (
	"sync/atomic"
	"time"
)

// What may be done later gives way to those who wait: packing what is superseded, and the
// search index, which asks for it. On two processors it would take one of them from a
// program that walks or removes a tree.
const (
	// lookQuiet is how long it is watched how much is asked, and quietMost how many
	// requests in it are somebody at a shell, or a desktop that looks around.
	lookQuiet = 200 * time.Millisecond
	quietMost = 40
)

// asking counts what is asked of a store.
type asking struct {
	requests atomic.Uint64
	// At the last look: how many there had been, and when it was, in ns.
	looked, at atomic.Uint64
}

// quiet tells whether little was asked since the last look, which must be some time ago,
// and not too long: a mean over minutes says nothing of now.
func (a *asking) quiet() bool {
	n, now := a.requests.Load(), uint64(time.Now().UnixNano())
	before, at := a.looked.Load(), a.at.Load()
	since := time.Duration(now - at)
	if n == before {
		return true
	}
	if since < lookQuiet/4 {
		return false
	}
	a.looked.Store(n)
	a.at.Store(now)
	return since < 2*lookQuiet && float64(n-before) <= quietMost*float64(since)/float64(lookQuiet)
}

// Asked counts a request that somebody waits for.
func (s *Store) Asked() { s.asking.requests.Add(1) }

// GiveWay waits until little is asked of the store, but no longer than most, or until stop
// is closed.
func (s *Store) GiveWay(stop <-chan struct{}, most time.Duration) {
	for end := time.Now().Add(most); !s.asking.quiet() && time.Now().Before(end); {
		select {
		case <-stop:
			return
		case <-time.After(min(lookQuiet, time.Until(end))):
		}
	}
}
