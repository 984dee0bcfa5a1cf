package kv

import (
	"context"
	"errors"
)

// group is an epoch that several callers of CommitSync make together: while the commit
// before it runs, their batches gather, and one write to the journal makes all durable.
type group struct {
	members []*Batch
	size    int
	done    chan struct{} // closed when ends is filled
	ends    []ending      // a member each
}

type ending struct {
	ts  TS
	err error
}

// groupMost is how many batches an epoch is made of at most: all wait for the largest.
const groupMost = 64

// takes tells whether a batch may join: the epoch still fits into the journal, and what
// each of its members wrote is what a reader finds, in whatever order they came.
func (g *group) takes(b *Batch) bool {
	if len(g.members) >= groupMost || g.size+b.size > journalMost {
		return false
	}
	for _, m := range g.members {
		if m.meets(b) {
			return false
		}
	}
	return true
}

func (b *Batch) meets(o *Batch) bool {
	if len(o.m) < len(b.m) {
		b, o = o, b
	}
	for k := range b.m {
		if _, ok := o.m[k]; ok {
			return true
		}
	}
	return false
}

// CommitSync commits an epoch and makes it durable, with everything before it. Callers that
// come while another's commit runs share the next epoch; each gets its timestamp.
func (d *DB) CommitSync(ctx context.Context, b *Batch) (TS, error) {
	if err := d.mayCommit(ctx, b); err != nil {
		return 0, err
	}
	d.groupMu.Lock()
	if g := d.gathering; g != nil && g.takes(b) {
		i := len(g.members)
		g.members, g.size = append(g.members, b), g.size+b.size
		d.groupMu.Unlock()
		<-g.done
		return g.ends[i].ts, g.ends[i].err
	}
	g := &group{members: []*Batch{b}, size: b.size, done: make(chan struct{})}
	if !d.toValueLog(b) { // that one syncs a file in between
		d.gathering = g
	}
	d.groupMu.Unlock()
	d.lead(g)
	return g.ends[0].ts, g.ends[0].err
}

// Room answers ErrNoSpace when an epoch of so many bytes would be refused now.
func (d *DB) Room(bytes int64) error { return d.space.room(bytes) }

// lead commits a group for all its members. Where they cannot have it together, as on a disk
// that is nearly full, each has it or its error alone.
func (d *DB) lead(g *group) {
	defer close(g.done)
	d.commit.Lock()
	d.groupMu.Lock()
	if d.gathering == g {
		d.gathering = nil
	}
	d.groupMu.Unlock()
	g.ends = make([]ending, len(g.members))
	ts, durable, err := d.commitJournal(g.whole())
	if err == nil || len(g.members) == 1 || d.broken != nil {
		d.commit.Unlock()
		if err == nil && !durable {
			err = d.Sync(context.Background())
		}
		for i := range g.ends {
			g.ends[i] = ending{ts, err}
		}
		return
	}
	synced := true
	for i, m := range g.members {
		g.ends[i].ts, durable, g.ends[i].err = d.commitJournal(m)
		synced = synced && (durable || g.ends[i].err != nil)
	}
	d.commit.Unlock()
	if synced {
		return
	}
	if err := d.Sync(context.Background()); err != nil {
		for i := range g.ends {
			g.ends[i].err = errors.Join(g.ends[i].err, err)
		}
	}
}

// whole is the members' changes as one batch; they have no key in common.
func (g *group) whole() *Batch {
	if len(g.members) == 1 {
		return g.members[0]
	}
	n := 0
	for _, m := range g.members {
		n += len(m.m)
	}
	all := NewBatchOf(n)
	for _, m := range g.members {
		for k, v := range m.m {
			all.put(k, v)
		}
	}
	return all
}

// commitJournal commits an epoch and writes it to the journal at the same time, if that may
// be: every epoch before it must be there or in what was synced of Badger's log. Where
// Badger refuses it the undoing is synced as an epoch of its own, above what the journal has.
// d.commit is held.
func (d *DB) commitJournal(b *Batch) (ts TS, durable bool, err error) {
	prev, missing, synced := d.LastSealed(), d.unlogged, d.LastSynced()
	var turned bool
	along := func(ts TS) { durable, turned = d.journal.append(ts, prev, b, synced) }
	if missing > synced || d.toValueLog(b) {
		along = nil
	}
	if ts, err = d.commitLocked(b, along); err != nil {
		return ts, false, err
	}
	if durable {
		d.unlogged = missing
	}
	if turned { // so that the other half is free when this one is full
		d.background.Go(func() {
			if err := d.Sync(context.Background()); err != nil {
				d.o.Logger.Error("metadata cannot be synced", "error", err)
			}
		})
	}
	return ts, durable, nil
}
