package objects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// PendingTTL is how long a transaction may be PENDING_TX before it is ABORTED (S1.3 §9.2).
// It counts from the first change that the transaction is to make: one that only carries
// records of the runtime holds nothing.
const PendingTTL = time.Hour

// pendingCheck is how often a store looks for such transactions.
const pendingCheck = time.Minute

// ErrExpired is the error of a transaction that was PENDING_TX for longer than PendingTTL.
var ErrExpired = errors.New("the transaction was pending for more than an hour and is aborted")

// pending is what the store, which may end it, shares with the goroutine that uses a
// transaction; guarded by pendings.mu.
type pending struct {
	since   time.Time // of its first change; zero before
	aborted bool
}

// pendings are the transactions that hold changes and are neither committed nor dropped.
type pendings struct {
	mu   sync.Mutex
	open map[*Tx]bool
}

// do adds a change to the transaction.
func (t *Tx) do(op func() error) {
	t.ops = append(t.ops, op)
	t.hold()
}

// hold begins the time of the transaction with its first change.
func (t *Tx) hold() {
	p := &t.s.pendings
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.pending.since.IsZero() {
		t.pending.since = t.s.o.Now()
		if p.open == nil {
			p.open = map[*Tx]bool{}
		}
		p.open[t] = true
	}
}

// stage takes a staging file into the transaction.
func (t *Tx) stage(id string) error {
	t.hold()
	p := &t.s.pendings
	p.mu.Lock()
	gone := t.pending.aborted
	if !gone {
		t.staged = append(t.staged, id)
	}
	p.mu.Unlock()
	if gone {
		return errors.Join(ErrExpired, t.s.blobs.RemoveStaging(id))
	}
	return nil
}

// leave ends the time in which the store may abort the transaction; false when it has.
func (t *Tx) leave() bool {
	p := &t.s.pendings
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, t)
	return !t.pending.aborted
}

// settle lets a transaction go on to COMMITTING, unless its time is over.
func (t *Tx) settle(ctx context.Context) error {
	t.s.pendings.mu.Lock()
	late := !t.pending.aborted && t.stale(t.s.o.Now())
	t.s.pendings.mu.Unlock()
	if late {
		if err := t.s.abortStale(ctx); err != nil {
			return err
		}
	}
	if !t.leave() {
		return fmt.Errorf("transaction %s: %w", t.id, ErrExpired)
	}
	return nil
}

func (t *Tx) stale(now time.Time) bool {
	return !t.pending.since.IsZero() && now.Sub(t.pending.since) > PendingTTL
}

// abortStale ends the transactions whose time is over: their records say ABORTED, and
// what they had stored goes. Nothing that is current changes, and no file that somebody
// has open is a transaction.
func (s *Store) abortStale(ctx context.Context) error {
	now := s.o.Now()
	var over []*Tx
	var staged []string
	s.pendings.mu.Lock()
	for t := range s.pendings.open {
		if t.stale(now) {
			t.pending.aborted = true
			delete(s.pendings.open, t)
			over = append(over, t)
			staged = append(staged, t.staged...)
			t.staged = nil
		}
	}
	s.pendings.mu.Unlock()
	if len(over) == 0 {
		return nil
	}
	slices.SortFunc(over, func(a, b *Tx) int { return a.pending.since.Compare(b.pending.since) })
	var err error
	for _, id := range staged {
		err = errors.Join(err, s.blobs.RemoveStaging(id))
	}
	s.mu.Lock()
	for _, t := range over {
		s.leave(t)
		s.open.puts[string(txnKey(t.id))] = encodeTxn(txnRecord{ID: t.id, Subject: t.c.Subject, Action: t.action, At: now, State: txnAborted})
		s.o.Logger.Warn("a transaction was pending for too long and is aborted", "transaction", t.id, "action", t.action, "since", t.pending.since)
	}
	s.mu.Unlock()
	return errors.Join(err, s.commit(ctx))
}
