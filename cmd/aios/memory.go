package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// The heap grows by half of what is alive before it is collected, for the daemon lives
	// beside the programs whose files it serves; a small one by gcSlack, for it would be
	// collected many times a second under load (measured: a tenth of the processor time of
	// intents), and is trimmed after it.
	gcPercent = 50
	gcSlack   = 64 << 20
	// trimEvery is how often unused memory is looked for.
	trimEvery = 5 * time.Second
	// trimQuiet is how much may be allocated in trimEvery by a daemon that counts as idle.
	trimQuiet = 8 << 20
	// trimWorth is the unused memory for which a collection is worth while.
	trimWorth = 8 << 20
	// restWorth is how much may be alive before it is worth a look what of it is needed.
	restWorth = 48 << 20
)

// trimMemory gives memory back to the host after a burst. The runtime's own scavenger
// keeps what the heap's last goal was, and no collection sets a new goal while nothing
// is allocated: 100,000 files made and indexed left 290 MiB unused for good.
// rest has the store give up what it only remembers.
func trimMemory(ctx context.Context, rest func()) {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},    // free and still ours
		{Name: "/gc/heap/live:bytes"},                // at the last collection
		{Name: "/memory/classes/heap/objects:bytes"}, // alive, or not collected yet
	}
	t := time.NewTicker(trimEvery)
	defer t.Stop()
	var before, trimmed uint64
	debug.SetGCPercent(pace(0))
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		metrics.Read(s)
		debug.SetGCPercent(pace(s[2].Value.Uint64()))
		allocated := s[0].Value.Uint64()
		quiet := allocated-before < trimQuiet
		before = allocated
		garbage := uint64(0)
		if live, objects := s[2].Value.Uint64(), s[3].Value.Uint64(); objects > live {
			garbage = objects - live
		}
		// Only after something happened: a second collection finds nothing.
		if !quiet || allocated-trimmed <= trimQuiet {
			continue
		}
		rest()
		if live := s[2].Value.Uint64(); s[1].Value.Uint64()+garbage > trimWorth || live > restWorth {
			debug.FreeOSMemory()
		}
		trimmed = allocated
	}
}

// pace is by how many percent a heap of which so much is alive may grow.
func pace(live uint64) int {
	return max(gcPercent, int(gcSlack*100/max(live, gcSlack/4)))
}
