package kv

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// Horizon is the oldest time that can be read.
func (d *DB) Horizon() TS { return TS(d.horizon.Load()) }

// SetHorizon moves the horizon up to ts, or to the oldest pin or newest epoch if that
// is less; it never goes back. It is durable when SetHorizon returns.
func (d *DB) SetHorizon(ctx context.Context, ts TS) error {
	d.pinMu.Lock()
	for p := range d.pins {
		ts = min(ts, p)
	}
	d.pinMu.Unlock()
	ts = min(ts, d.LastSealed())
	if ts <= d.Horizon() {
		return nil
	}
	if d.o.ReadOnly {
		return ErrReadOnly
	}
	b := NewBatch()
	b.Set(horizonKey, binary.BigEndian.AppendUint64(nil, uint64(ts)))
	// Refuse reads below before anything below may go.
	d.pinMu.Lock()
	for p := range d.pins { // a pin taken meanwhile
		if p < ts {
			d.pinMu.Unlock()
			return d.SetHorizon(ctx, p)
		}
	}
	d.horizon.Store(max(d.horizon.Load(), uint64(ts)))
	d.pinMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := d.commitAny(b); err != nil {
		return err
	}
	if err := d.Sync(ctx); err != nil {
		return err
	}
	return d.setDiscard()
}

// setDiscard tells Badger what it may drop: nothing that a horizon, a pin, or mending
// after a crash could need. The value never goes back (T-3).
func (d *DB) setDiscard() error {
	d.pinMu.Lock()
	defer d.pinMu.Unlock()
	ts := min(d.Horizon(), d.LastSynced())
	for p := range d.pins {
		ts = min(ts, p)
	}
	if ts > d.discard {
		d.discard = ts
		d.b.SetDiscardTs(uint64(ts))
	}
	return nil
}

// Pin keeps history from ts on until unpin is called. It holds for this process;
// whoever needs it longer pins again after Open. A time below the horizon is pinned
// in vain.
func (d *DB) Pin(ts TS) (unpin func()) {
	d.pinMu.Lock()
	d.pinLocked(ts)
	d.pinMu.Unlock()
	var once sync.Once
	return func() { once.Do(func() { d.unpin(ts) }) }
}

func (d *DB) pinLocked(ts TS) { d.pins[ts]++ }

func (d *DB) unpin(ts TS) {
	d.pinMu.Lock()
	if d.pins[ts]--; d.pins[ts] == 0 {
		delete(d.pins, ts)
	}
	d.pinMu.Unlock()
}

// GC lets Badger drop what lies below the horizon, and compacts the value log. What
// the horizon has passed goes with the compactions that follow, not at once.
func (d *DB) GC(ctx context.Context) error {
	if d.o.ReadOnly {
		return ErrReadOnly
	}
	if err := d.Sync(ctx); err != nil {
		return err
	}
	if err := d.setDiscard(); err != nil {
		return err
	}
	if err := d.b.Flatten(1); err != nil {
		return err
	}
	d.collecting.Lock()
	defer d.collecting.Unlock()
	for ctx.Err() == nil {
		// Half of a file must be garbage before it is worth rewriting.
		err := d.b.RunValueLogGC(0.5)
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
