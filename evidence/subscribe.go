package evidence

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// DefaultBuffered is how many records wait for a subscriber at most (S3.1
// §10: 1000).
const DefaultBuffered = 1000

// SubscribeRequest says what a subscriber is told of; zero fields do not
// filter. Simulations are left out, as they are from a Query.
type SubscribeRequest struct {
	Types                  []record.Type
	Subject, CorrelationID string
	// May, if set, tells whether the subscriber may see the record. It is
	// called by the log's writer and must not block.
	May func(*Receipt) bool
	// MaxBuffered bounds what waits for the subscriber; 0: DefaultBuffered.
	MaxBuffered int
	// IncludeSimulated tells of simulations, too.
	IncludeSimulated bool
}

// Event is a record that became durable, or, with Dropped, the one
// subscriber_dropped_event of records that were not kept for a subscriber who
// did not take them in time: so many of those that he asked for, between two
// places of the log, where Query has them.
type Event struct {
	Receipt
	Dropped             uint64
	DroppedFrom, DropTo uint64 // sequence numbers of the first and the last
}

// Subscription is one subscriber's queue. A slow subscriber loses records of
// his own, and never holds up the log or anybody else.
type Subscription struct {
	l    *Log
	req  SubscribeRequest
	wake chan struct{}

	mu    sync.Mutex
	queue []Receipt
	lost  Event
	over  bool
}

// subscribers are those whom a commit tells.
type subscribers struct {
	mu   sync.RWMutex
	list []*Subscription
}

// Subscribe tells of every record that becomes durable from now on, until
// Close.
func (l *Log) Subscribe(req SubscribeRequest) (*Subscription, error) {
	if req.MaxBuffered <= 0 {
		req.MaxBuffered = DefaultBuffered
	}
	s := &Subscription{l: l, req: req, wake: make(chan struct{}, 1)}
	l.mu.RLock() // a log that closes does so before, and ends it, or after
	defer l.mu.RUnlock()
	if l.closed {
		return nil, fmt.Errorf("subscribe: %w", ErrClosed)
	}
	l.subs.mu.Lock()
	defer l.subs.mu.Unlock()
	l.subs.list = append(l.subs.list, s)
	return s, nil
}

// tell gives durable records to the subscribers; it runs in the writer.
func (l *Log) tell(rows []placed) {
	l.subs.mu.RLock()
	defer l.subs.mu.RUnlock()
	for _, s := range l.subs.list {
		s.offer(rows)
	}
}

func (s *Subscription) offer(rows []placed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range rows {
		r := &rows[i].Receipt
		if !s.wants(r) {
			continue
		}
		// Once something was dropped the rest is, until he has taken what waits:
		// he is told once of a gap, and of its whole extent.
		if s.lost.Dropped > 0 || len(s.queue) >= s.req.MaxBuffered {
			if s.lost.Dropped == 0 {
				s.lost.DroppedFrom = r.Seq
			}
			s.lost.Dropped, s.lost.DropTo = s.lost.Dropped+1, r.Seq
			continue
		}
		s.queue = append(s.queue, *r)
	}
	s.signal()
}

func (s *Subscription) wants(r *Receipt) bool {
	q := &s.req
	return (q.IncludeSimulated || !r.Simulated) && (len(q.Types) == 0 || slices.Contains(q.Types, r.Type)) &&
		(q.Subject == "" || q.Subject == r.Subject) && (q.CorrelationID == "" || q.CorrelationID == r.CorrelationID) &&
		(q.May == nil || q.May(r))
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next waits for the next event. It fails with ErrClosed when the
// subscription or the log was closed and nothing is left, and with ctx.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		s.mu.Lock()
		switch {
		case len(s.queue) > 0:
			e := Event{Receipt: s.queue[0]}
			s.queue[0] = Receipt{}
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return e, nil
		case s.lost.Dropped > 0:
			e := s.lost
			s.lost, s.queue = Event{}, nil
			s.mu.Unlock()
			return e, nil
		case s.over:
			s.mu.Unlock()
			return Event{}, fmt.Errorf("subscription: %w", ErrClosed)
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.l.subs.mu.Lock()
	s.l.subs.list = slices.DeleteFunc(s.l.subs.list, func(x *Subscription) bool { return x == s })
	s.l.subs.mu.Unlock()
	s.end()
}

func (s *Subscription) end() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.signal()
}

// endSubscriptions lets every subscriber take what waits for him, and no more.
func (l *Log) endSubscriptions() {
	l.subs.mu.Lock()
	defer l.subs.mu.Unlock()
	for _, s := range l.subs.list {
		s.end()
	}
	l.subs.list = nil
}
