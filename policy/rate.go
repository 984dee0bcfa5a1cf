package policy

import (
	"errors"
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Evaluations that a subject may ask for in a minute, and at once. S2.3 §7 says 1,000.
// People get more: thirty-two scripts of one person may have 200 goals a second carried
// out (issue of the golden path), which is 12,000 a minute with one action each; five
// times that still stops a loop that ran away.
const (
	perMinute      = 1000
	perMinuteHuman = 60_000
	// maxRates bounds the subjects whose budgets are kept.
	maxRates = 100_000
)

// ErrRate is the transport's answer to a subject that asks too often: no decision
// (RESOURCE_EXHAUSTED; S2.3 §7).
var ErrRate = errors.New("the subject asks the policy kernel too often")

// rates are the token buckets of the subjects.
type rates struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens, size float64
	at           time.Time
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.size, b.tokens+d.Minutes()*b.size)
		b.at = now
	}
}

// Admit takes n evaluations from the subject's budget, all or none; ErrRate when there are
// not so many. A request for more than the whole budget is served by a full one, since
// it would never be served else.
func (k *Kernel) Admit(s identity.Subject, n int) error {
	now, size := k.o.Now(), float64(perMinute)
	if s.Kind.Human() && !s.IsAI {
		size = perMinuteHuman
	}
	k.rates.mu.Lock()
	defer k.rates.mu.Unlock()
	b := k.rates.buckets[s.ID]
	if b == nil {
		if len(k.rates.buckets) >= maxRates {
			k.rates.forget(now)
		}
		if k.rates.buckets == nil {
			k.rates.buckets = map[string]*bucket{}
		}
		b = &bucket{tokens: size, size: size, at: now}
		k.rates.buckets[s.ID] = b
	}
	b.fill(now)
	if b.tokens < min(float64(n), b.size) {
		return ErrRate
	}
	b.tokens = max(0, b.tokens-float64(n))
	return nil
}

// forget drops the budgets that are full again: a new one says the same.
func (r *rates) forget(now time.Time) {
	for id, b := range r.buckets {
		if b.fill(now); b.tokens >= b.size {
			delete(r.buckets, id)
		}
	}
}
