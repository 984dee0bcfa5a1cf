package views

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
)

// Sum is what evidence keeps of a subject's ordinary queries of one epoch, in one
// record: file managers list directories all day (filesystem.md §12).
type Sum struct {
	Caller                              Caller
	Since, Until                        time.Time
	Ceiling                             objects.Privacy
	Queries, Rows, Filtered, Suppressed int
	// Asked are the different queries, in the order in which they were first asked; of
	// more than maxAsked only the totals know.
	Asked []Asked
}

// Asked is one query of a Sum.
type Asked struct {
	Canonical, Hash string
	Queries, Rows   int
}

const (
	maxAsked   = 32      // different queries that a record names
	maxAskedOf = 1 << 10 // bytes of a query's text in it; the hash tells the rest
)

// tally gathers Sums until an epoch is over.
type tally struct {
	mu     sync.Mutex
	sums   map[string]*Sum
	timer  *time.Timer
	closed bool
	giving sync.Mutex // one hand-over at a time
}

// count notes a query that is not recorded alone.
func (v *Views) count(c Caller, t Told) {
	if v.d.Sum == nil {
		return
	}
	y := &v.tally
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.closed {
		return
	}
	key := callerKey(c)
	s := y.sums[key]
	if s == nil {
		s = &Sum{Caller: c, Since: t.At, Ceiling: t.Ceiling}
		y.sums[key] = s
	}
	s.add(t)
	if y.timer == nil {
		y.timer = time.AfterFunc(v.d.SumEvery, v.handOver)
	}
}

func (s *Sum) add(t Told) {
	s.Until, s.Ceiling = t.At, max(s.Ceiling, t.Ceiling)
	s.Queries++
	s.Rows, s.Filtered, s.Suppressed = s.Rows+t.Rows, s.Filtered+t.Filtered, s.Suppressed+t.Suppressed
	for i := range s.Asked {
		if a := &s.Asked[i]; a.Hash == t.Hash {
			a.Queries, a.Rows = a.Queries+1, a.Rows+t.Rows
			return
		}
	}
	if len(s.Asked) < maxAsked {
		s.Asked = append(s.Asked, Asked{strings.ToValidUTF8(t.Canonical[:min(len(t.Canonical), maxAskedOf)], ""), t.Hash, 1, t.Rows})
	}
}

// handOver gives what was gathered to the log. What it does not take is said, and lost:
// rows were shown already, and none of them was of a class that must be on record.
func (v *Views) handOver() {
	y := &v.tally
	y.giving.Lock()
	defer y.giving.Unlock()
	y.mu.Lock()
	sums := y.sums
	y.sums, y.timer = map[string]*Sum{}, nil
	y.mu.Unlock()
	for _, s := range sums {
		if err := v.d.Sum(context.Background(), *s); err != nil {
			v.d.Logger.Error("queries are not on record", "error", err, "subject", s.Caller.Subject.ID, "queries", s.Queries)
		}
	}
}

// Close hands over what is left of the tally; queries after it are not counted.
func (v *Views) Close() error {
	y := &v.tally
	y.mu.Lock()
	y.closed = true
	if y.timer != nil {
		y.timer.Stop()
	}
	y.mu.Unlock()
	v.handOver()
	return nil
}
