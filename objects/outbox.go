package objects

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// outbox hands the evidence of committed epochs to the log: each draft is a record
// of the epoch that it tells of, is appended after the epoch is durable, in order,
// and is removed by a later epoch. A crash in between appends it again, and the log
// drops what it has by id (design §2: evidence exactly once).
type outbox struct {
	mu      sync.Mutex
	queue   []outEntry
	wake    chan struct{}
	hurry   chan struct{} // somebody waits for the log: gather no longer
	next    uint64
	coming  map[uint64]bool // the first key of each epoch's that is not committed yet
	running sync.Mutex
	waiters []outWaiter
}

// outWaiter waits until the log has everything up to a key.
type outWaiter struct {
	upTo  uint64
	ready chan struct{}
}

// lowest is the lowest key that waits, math.MaxUint64 for none. It need not be the first:
// what is prepared earlier may be committed later. b.mu is held.
func (b *outbox) lowest() uint64 {
	low := uint64(math.MaxUint64)
	for _, e := range b.queue {
		low = min(low, e.key)
	}
	return low
}

// release lets go those whose evidence the log has; b.mu is held.
func (b *outbox) release() {
	if len(b.waiters) == 0 {
		return
	}
	low := b.lowest()
	b.waiters = slices.DeleteFunc(b.waiters, func(w outWaiter) bool {
		if low <= w.upTo {
			return false
		}
		close(w.ready)
		return true
	})
}

type outEntry struct {
	key   uint64
	draft evidence.Draft
}

func (b *outbox) init() {
	b.wake, b.hurry, b.coming = make(chan struct{}, 1), make(chan struct{}, 1), map[uint64]bool{}
}

// gatherEvidence is how long the evidence of plain file work is collected before it is
// appended: it is durable in the store already, and a program that syncs a thousand files
// a second would have the log sync as often (measured: four of five syncs of the disk).
const gatherEvidence = 250 * time.Millisecond

// gatherMost ends the collecting: what waits is held in memory.
const gatherMost = 1024

// drainBatch is how many records are appended, and synced, at once.
const drainBatch = 256

// push has what waits appended at once.
func (b *outbox) push() {
	select {
	case b.hurry <- struct{}{}:
	default:
	}
	b.signal()
}

// first is a key below which nothing waits any more. An epoch that removes entries notes it:
// the next start need not look past all that were ever removed.
func (b *outbox) first() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := min(b.next+1, b.lowest())
	for key := range b.coming {
		first = min(first, key)
	}
	return first
}

const outboxFirst = "m-out"

// load takes up what an earlier run left.
func (b *outbox) load(s *Store) error {
	first, err := s.view.Get([]byte(outboxFirst))
	switch {
	case err == nil && len(first) == 8:
		b.next = binary.BigEndian.Uint64(first) // also where the clock was set back
	case !errors.Is(err, kv.ErrNotFound):
		return err
	}
	for k, v := range s.view.Scan([]byte{'y'}, outboxKey(b.next)) {
		d, err := evidence.ParseDraft(v)
		if err != nil {
			return fmt.Errorf("evidence of the last run: %w", err)
		}
		n := binary.BigEndian.Uint64(k[1:])
		b.queue = append(b.queue, outEntry{n, d})
		b.next = max(b.next, n)
	}
	b.next = max(b.next, uint64(s.o.Now().UnixMicro()))
	if len(b.queue) > 0 {
		b.signal()
	}
	return nil
}

// prepare puts drafts into an epoch's batch.
func (b *outbox) prepare(batch *kv.Batch, drafts []evidence.Draft) ([]outEntry, error) {
	var entries []outEntry
	for _, d := range drafts {
		v, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		b.mu.Lock()
		b.next++
		n := b.next
		if len(entries) == 0 {
			b.coming[n] = true
		}
		b.mu.Unlock()
		batch.Set(outboxKey(n), v)
		entries = append(entries, outEntry{n, d})
	}
	return entries, nil
}

func (b *outbox) add(e ...outEntry) {
	if len(e) == 0 {
		return
	}
	b.mu.Lock()
	delete(b.coming, e[0].key)
	b.queue = append(b.queue, e...)
	full := len(b.queue) >= gatherMost
	b.mu.Unlock()
	if full {
		b.push()
	} else {
		b.signal()
	}
}

// drop forgets entries whose epoch was not committed.
func (b *outbox) drop(e []outEntry) {
	if len(e) > 0 {
		b.mu.Lock()
		delete(b.coming, e[0].key)
		b.mu.Unlock()
	}
}

func (b *outbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (s *Store) outboxLoop() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.outbox.wake:
		}
		gather := time.NewTimer(gatherEvidence)
		select {
		case <-s.stop: // Close appends what is left
		case <-s.outbox.hurry:
		case <-gather.C:
		}
		gather.Stop()
		select {
		case <-s.stop:
			return
		default:
			s.outbox.drain(context.Background(), s)
		}
	}
}

// drain appends what waits. A log that refuses leaves it waiting: it is durable here. What
// comes meanwhile is gathered anew: a program that syncs and syncs would have the log sync
// for every few records otherwise, and pay for it.
func (b *outbox) drain(ctx context.Context, s *Store) {
	b.running.Lock()
	defer b.running.Unlock()
	b.mu.Lock()
	until := b.next
	b.mu.Unlock()
	for first := true; ; first = false {
		b.mu.Lock()
		n := 0
		for n < min(len(b.queue), drainBatch) && b.queue[n].key <= until {
			n++
		}
		if !first && 0 < n && n < drainBatch && len(b.waiters) == 0 && !s.stopping() {
			b.mu.Unlock()
			b.signal() // the rest of a full queue is gathered further
			return
		}
		batch := append([]outEntry{}, b.queue[:n]...)
		if n == 0 {
			b.release()
			if len(b.queue) > 0 {
				b.signal()
			}
		}
		b.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if s.o.Log != nil {
			drafts := make([]evidence.Draft, len(batch))
			for i, e := range batch {
				drafts[i] = e.draft
			}
			if _, err := s.o.Log.Append(ctx, drafts...); err != nil {
				if !evidence.Refused(err) {
					s.o.Logger.Error("evidence waits: the log does not take it", "error", err, "records", len(batch))
					s.retryOutbox()
					return
				}
				b.appendEach(ctx, s, drafts)
			}
		}
		s.at("outbox: appended")
		s.mu.Lock()
		for _, e := range batch {
			s.open.told = append(s.open.told, e.key)
		}
		b.mu.Lock()
		b.queue = b.queue[len(batch):]
		b.release()
		b.mu.Unlock()
		s.mu.Unlock()
	}
}

// appendEach appends one by one: a draft that the log will never take must not keep
// the others from it. What is dropped is said, with its type and never its payload.
func (b *outbox) appendEach(ctx context.Context, s *Store, drafts []evidence.Draft) {
	for _, d := range drafts {
		if _, err := s.o.Log.Append(ctx, d); err != nil {
			s.o.Logger.Error("evidence is lost: the log refuses the record", "error", err, "type", d.Type.String(), "id", d.ID)
		}
	}
}

// retryOutbox tries again in a while, unless the store closes before.
func (s *Store) retryOutbox() {
	select {
	case <-s.stop:
		return
	default:
	}
	time.AfterFunc(time.Second, s.outbox.signal)
}

// WaitEvidence returns when the log has the evidence of every change that was
// committed before the call.
func (s *Store) WaitEvidence(ctx context.Context) error {
	s.outbox.mu.Lock()
	w := outWaiter{s.outbox.next, make(chan struct{})}
	if len(s.outbox.queue) == 0 {
		s.outbox.mu.Unlock()
		// A drain may be between the log and the queue: let it finish.
		s.outbox.running.Lock()
		defer s.outbox.running.Unlock()
		return nil
	}
	s.outbox.waiters = append(s.outbox.waiters, w)
	s.outbox.mu.Unlock()
	s.outbox.push()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Change tells what an epoch changed.
type Change struct {
	TS       time.Time
	Internal bool    // made by an intent's transaction, not through the kernel
	Inos     []Ino   // inodes whose content or attributes views care about
	Dentries []Named // names that were bound or unbound
	Fenced   []ID    // versions that were put in quarantine, however they were read
	entries  []outEntry
}

// Named is a name in a directory.
type Named struct {
	Dir  Ino
	Name string
}

// changed notes a name for the epoch's Change; s.mu is held.
func (s *Store) changed(dir Ino, name string) {
	s.open.change.Dentries = append(s.open.change.Dentries, Named{dir, name})
}

type subscribers struct {
	mu    sync.Mutex
	fns   map[int]func(Change)
	next  int
	queue []Change
	wake  chan struct{}
	added uint64 // changes ever queued
	told  uint64 // those that every subscriber has had
	waits []subWait
}

type subWait struct {
	upTo  uint64
	ready chan struct{}
}

// Subscribe calls fn after each epoch, in order, from a goroutine of the store's and
// never under a lock.
func (s *Store) Subscribe(fn func(Change)) (cancel func()) {
	s.subs.mu.Lock()
	defer s.subs.mu.Unlock()
	if s.subs.fns == nil {
		s.subs.fns = map[int]func(Change){}
	}
	id := s.subs.next
	s.subs.next++
	s.subs.fns[id] = fn
	return func() {
		s.subs.mu.Lock()
		delete(s.subs.fns, id)
		s.subs.mu.Unlock()
	}
}

func (q *subscribers) channel() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wake == nil {
		q.wake = make(chan struct{}, 1)
	}
	return q.wake
}

func (q *subscribers) add(c Change) {
	wake := q.channel()
	q.mu.Lock()
	if len(q.fns) > 0 {
		q.queue = append(q.queue, c)
		q.added++
	}
	q.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default:
	}
}

// had notes that all subscribers have had one more change.
func (q *subscribers) had() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.told++
	q.waits = slices.DeleteFunc(q.waits, func(w subWait) bool {
		if w.upTo > q.told {
			return false
		}
		close(w.ready)
		return true
	})
}

// WaitSubscribers returns when every subscriber has had the changes that were committed
// before the call. A subscriber must not call it.
func (s *Store) WaitSubscribers(ctx context.Context) error {
	q := &s.subs
	q.mu.Lock()
	if q.told >= q.added {
		q.mu.Unlock()
		return nil
	}
	w := subWait{q.added, make(chan struct{})}
	q.waits = append(q.waits, w)
	q.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-s.stop: // nobody is told any more
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) notifyLoop() {
	wake := s.subs.channel()
	for {
		select {
		case <-s.stop:
			return
		case <-wake:
		}
		for {
			s.subs.mu.Lock()
			if len(s.subs.queue) == 0 {
				s.subs.mu.Unlock()
				break
			}
			c := s.subs.queue[0]
			s.subs.queue = s.subs.queue[1:]
			fns := make([]func(Change), 0, len(s.subs.fns))
			for _, fn := range s.subs.fns {
				fns = append(fns, fn)
			}
			s.subs.mu.Unlock()
			for _, fn := range fns {
				fn(c)
			}
			s.subs.had()
		}
	}
}
