package agents

import (
	"slices"
	"sync"
	"time"
)

// The health of an adapter (S10.1 §12.8, S15.3 §8).
const (
	adapterHealthy   = "ADAPTER_HEALTHY"
	adapterDegraded  = "ADAPTER_DEGRADED"
	adapterUnhealthy = "ADAPTER_UNHEALTHY"
)

// How long what went wrong counts.
const (
	slowWindow   = 5 * time.Minute // three timeouts in it pause the adapter
	slowLimit    = 3
	slowMemory   = 30 * time.Minute // clean, heals a timeout
	panicMemory  = time.Hour        // clean, heals a panic
	brokenMemory = 24 * time.Hour   // of a rollback that failed
)

// health remembers what went wrong in the adapters, while this process runs.
type health struct {
	mu   sync.Mutex
	seen map[string]*ailment
}

type ailment struct {
	slow             []time.Time // the last ones
	panicked, broken time.Time
}

func (h *health) at(id string) *ailment {
	if h.seen == nil {
		h.seen = map[string]*ailment{}
	}
	x := h.seen[id]
	if x == nil {
		x = &ailment{}
		h.seen[id] = x
	}
	return x
}

// failed notes how an adapter failed an action; refusals are no fault of it.
func (h *health) failed(s served, f *Failure, now time.Time) {
	if s.adapter == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch reason, _ := f.Details["reason"].(string); reason {
	case "ADAPTER_TIMEOUT":
		x := h.at(s.adapter.Manifest().ID)
		x.slow = append(x.slow, now)
		x.slow = x.slow[max(0, len(x.slow)-slowLimit):]
	case "ADAPTER_PANIC":
		if f.Details["crash_recovery_observed"] == nil { // that was this process
			h.at(s.adapter.Manifest().ID).panicked = now
		}
	}
}

func (h *health) rollbackFailed(s served, now time.Time) {
	if s.adapter == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at(s.adapter.Manifest().ID).broken = now
}

// of is the health of an adapter at a time.
func (h *health) of(id string, now time.Time) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.seen[id]
	if x == nil {
		return adapterHealthy
	}
	since := func(t time.Time, d time.Duration) bool { return !t.IsZero() && now.Sub(t) < d }
	switch {
	case len(x.slow) == slowLimit && since(x.slow[0], slowWindow):
		return adapterUnhealthy
	case since(x.panicked, panicMemory), since(x.broken, brokenMemory), slices.ContainsFunc(x.slow, func(t time.Time) bool { return since(t, slowMemory) }):
		return adapterDegraded
	}
	return adapterHealthy
}

// AdapterHealth gives the health of each adapter, by the id of its manifest.
func (rt *Runtime) AdapterHealth() map[string]string {
	out := map[string]string{}
	for _, s := range rt.kinds {
		id := s.adapter.Manifest().ID
		out[id] = rt.health.of(id, rt.d.Now())
	}
	return out
}
