package evidence

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// Query selects receipts. Zero fields do not filter. Results come in chain
// order, or newest first with Reverse.
type Query struct {
	Types                               []record.Type
	ActionID, CorrelationID             string
	Subject, ParentID, PolicyDecisionID string
	GroupID                             string
	Since, Until                        time.Time // Since inclusive, Until exclusive
	FromSeq                             uint64    // first sequence number to consider (with Reverse: the last; 0 the newest)
	Limit                               int       // 0: no limit
	IncludeSimulated                    bool      // simulations are left out otherwise
	Reverse                             bool
}

// matches compares the record's own fields; indexes only narrow the search.
func (q *Query) matches(r *Receipt) bool {
	return (q.IncludeSimulated || !r.Simulated) &&
		(len(q.Types) == 0 || slices.Contains(q.Types, r.Type)) &&
		(q.ActionID == "" || q.ActionID == r.ActionID) &&
		(q.CorrelationID == "" || q.CorrelationID == r.CorrelationID) &&
		(q.Subject == "" || q.Subject == r.Subject) &&
		(q.GroupID == "" || q.GroupID == r.GroupID) &&
		(q.ParentID == "" || q.ParentID == r.ParentID) &&
		(q.PolicyDecisionID == "" || q.PolicyDecisionID == r.PolicyDecisionID) &&
		(q.Since.IsZero() || !r.RecordedAt.Before(q.Since)) &&
		(q.Until.IsZero() || r.RecordedAt.Before(q.Until)) &&
		(q.FromSeq == 0 || r.Seq == q.FromSeq || r.Seq > q.FromSeq != q.Reverse)
}

// keys returns the index keys to look under, or nil for a scan.
func (q *Query) keys() []uint64 {
	switch {
	case q.ParentID != "":
		return []uint64{key(byParent, q.ParentID)}
	case q.PolicyDecisionID != "":
		return []uint64{key(byDecision, q.PolicyDecisionID)}
	case q.ActionID != "":
		return []uint64{key(byAction, q.ActionID)}
	case q.CorrelationID != "":
		// A correlation that equals the action is filed under the action only.
		return []uint64{key(byCorrelation, q.CorrelationID), key(byAction, q.CorrelationID)}
	case len(q.Types) > 0:
		out := make([]uint64, len(q.Types))
		for i, t := range q.Types {
			out[i] = key(byType, t.String())
		}
		return out
	case q.Subject != "":
		return []uint64{key(bySubject, q.Subject)}
	}
	return nil
}

// Query yields the matching receipts. It sees the log as it was when the
// iteration began, and ends after the first error.
func (l *Log) Query(q Query) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		l.mu.RLock()
		segs := slices.Clone(l.segs)
		size := l.size
		l.mu.RUnlock()
		if q.Reverse {
			slices.Reverse(segs)
		}
		keys, left := q.keys(), q.Limit
		for _, s := range segs {
			more, err := l.querySegment(s, &q, keys, size, &left, yield)
			if err != nil {
				yield(Receipt{}, fmt.Errorf("query: %w", err))
				return
			}
			if !more {
				return
			}
		}
	}
}

func (l *Log) querySegment(s *segment, q *Query, keys []uint64, size uint64, left *int, yield func(Receipt, error) bool) (bool, error) {
	l.mu.RLock()
	first, last := s.first, min(s.last(), size)
	from, to := s.firstTime, s.lastTime
	l.mu.RUnlock()
	if q.FromSeq != 0 && (!q.Reverse && last < q.FromSeq || q.Reverse && first > q.FromSeq) ||
		!q.Since.IsZero() && to < q.Since.UnixNano() || !q.Until.IsZero() && from >= q.Until.UnixNano() {
		return true, nil
	}
	idx := s.index()
	lo, hi := uint32(0), uint32(last-first+1)
	var err error
	if !q.Since.IsZero() {
		if lo, err = idx.seek(q.Since.UnixNano()); err != nil {
			return false, err
		}
	}
	if !q.Until.IsZero() {
		end, err := idx.seek(q.Until.UnixNano())
		if err != nil {
			return false, err
		}
		hi = min(hi, end)
	}
	if q.FromSeq > first && !q.Reverse {
		lo = max(lo, uint32(q.FromSeq-first))
	}
	if q.FromSeq != 0 && q.Reverse && q.FromSeq < last {
		hi = min(hi, uint32(q.FromSeq-first+1))
	}
	next, err := ordinals(idx, keys, lo, hi, q.Reverse)
	if err != nil {
		return false, err
	}
	var f, pf *os.File
	defer func() {
		if f != nil {
			f.Close()
			pf.Close()
		}
	}()
	for i, ok := next(); ok; i, ok = next() {
		if f == nil {
			if f, err = s.open(recordsName); err != nil {
				return false, err
			}
			if pf, err = s.open(payloadsName); err != nil {
				f.Close()
				f = nil
				return false, err
			}
		}
		r, err := s.read(f, i)
		if err != nil {
			return false, err
		}
		if !q.matches(&r) {
			continue
		}
		if off, ok := refOffset(r.PayloadRef, r.SegmentID); ok && purgedAt(pf, off) {
			r.Integrity = Retired
		}
		if !yield(r, nil) {
			return false, nil
		}
		if *left--; *left == 0 {
			return false, nil
		}
	}
	return true, nil
}

// ordinals returns an iterator over the candidates lo <= i < hi.
func ordinals(idx index, keys []uint64, lo, hi uint32, reverse bool) (func() (uint32, bool), error) {
	if keys == nil {
		return func() (uint32, bool) {
			if lo >= hi {
				return 0, false
			}
			if reverse {
				hi--
				return hi, true
			}
			lo++
			return lo - 1, true
		}, nil
	}
	var all []uint32
	for _, k := range keys {
		p, err := idx.postings(k)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	if len(keys) > 1 {
		slices.Sort(all)
		all = slices.Compact(all)
	}
	all = slices.DeleteFunc(all, func(i uint32) bool { return i < lo || i >= hi })
	if reverse {
		slices.Reverse(all)
	}
	return func() (uint32, bool) {
		if len(all) == 0 {
			return 0, false
		}
		i := all[0]
		all = all[1:]
		return i, true
	}, nil
}
