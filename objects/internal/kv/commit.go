package kv

import (
	"context"
	"errors"
	"fmt"
	"sort"
)

// Batch gathers the changes of one epoch. The last change of a key wins.
type Batch struct {
	m    map[string][]byte // nil deletes
	size int
}

// NewBatch gives an empty batch.
func NewBatch() *Batch { return &Batch{m: map[string][]byte{}} }

// NewBatchOf gives an empty batch with room for about n changes.
func NewBatchOf(n int) *Batch { return &Batch{m: make(map[string][]byte, n)} }

// Set writes value under key. The value may not be changed by the caller afterwards.
func (b *Batch) Set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	b.put(string(key), value)
}

// Delete removes key.
func (b *Batch) Delete(key []byte) { b.put(string(key), nil) }

func (b *Batch) put(key string, value []byte) {
	if old, ok := b.m[key]; ok {
		b.size -= len(key) + len(old)
	}
	b.m[key] = value
	b.size += len(key) + len(value)
}

// Get answers what the batch holds for a key; deleted is true for a removal.
func (b *Batch) Get(key []byte) (value []byte, deleted, ok bool) {
	v, ok := b.m[string(key)]
	return v, ok && v == nil, ok
}

// Len is the number of keys, Size their bytes with the values.
func (b *Batch) Len() int { return len(b.m) }

// Size is the number of bytes of keys and values.
func (b *Batch) Size() int { return b.size }

// next is the timestamp of the next epoch: now, but later than every earlier one (T-7).
func (d *DB) next() TS { return max(At(d.o.Now()), d.LastSealed()+1, d.last+1) }

// Commit writes the batch as one epoch and seals it. It is visible to readers when
// Commit returns, and survives a power cut once Sync was called after it. An empty
// batch makes no epoch. ErrNoSpace, ErrReadOnly and ErrBadKey leave nothing behind;
// what any other error left is undone before Commit returns.
func (d *DB) Commit(ctx context.Context, b *Batch) (TS, error) {
	if err := d.mayCommit(ctx, b); err != nil {
		return 0, err
	}
	return d.commitAny(b)
}

func (d *DB) mayCommit(ctx context.Context, b *Batch) error {
	if d.o.ReadOnly {
		return ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for k := range b.m {
		if len(k) == 0 || len(k) > maxKey || k[0] == 0 {
			return fmt.Errorf("commit %q: %w", k[:min(len(k), 32)], ErrBadKey)
		}
	}
	return nil
}

// commitAny is Commit for keys of the package, too.
func (d *DB) commitAny(b *Batch) (TS, error) {
	d.commit.Lock()
	defer d.commit.Unlock()
	return d.commitLocked(b, nil)
}

// commitLocked is commitAny with d.commit held. along, if there is one, is called with the
// epoch's timestamp while Badger takes its last transaction.
func (d *DB) commitLocked(b *Batch, along func(ts TS)) (TS, error) {
	if d.broken != nil {
		return 0, d.broken
	}
	if len(b.m) == 0 {
		return d.LastSealed(), nil
	}
	if err := d.space.room(int64(b.size)); err != nil {
		return 0, err
	}
	good := d.LastSealed()
	ts := d.next()
	if err := d.write(ts, good, b, along); err != nil {
		err = fmt.Errorf("commit: %w", err)
		if errors.Is(err, errCrash) {
			d.broken = err // a test's crash: the next Open mends it
			return 0, err
		}
		// Parts of the epoch may stand at ts; a later seal would make them visible.
		if e := d.undo(good); e != nil {
			d.broken = fmt.Errorf("metadata takes no more writes until it is opened again: %w", errors.Join(err, e))
			return 0, d.broken
		}
		return 0, err
	}
	d.sealed.Store(uint64(ts))
	d.unlogged = ts
	return ts, nil
}

// errCrash is wrapped by what a test's failpoint returns to play a crash.
var errCrash = errors.New("crash")

// write puts the keys and the seal at ts: in one Badger transaction where they fit,
// else in several, the seal in the last one. Values that go to Badger's value log are
// on disk before the seal is written: a seal must never vouch for bytes that a power
// cut can take away while it stays.
func (d *DB) write(ts, prev TS, b *Batch, along func(ts TS)) error {
	keys := make([]string, 0, len(b.m))
	large := false
	for k, v := range b.m {
		keys = append(keys, k)
		large = large || int64(len(v)) >= d.inTree
	}
	sort.Strings(keys)
	// Badger's own limits with some room for its per-entry cost and our own keys.
	maxSize, maxCount := int(d.b.MaxBatchSize())*3/4, int(d.b.MaxBatchCount())*3/4
	const perEntry = 64
	part := 0
	for start := 0; ; {
		d.space.prepareLog()
		txn := d.b.NewTransactionAt(uint64(ts)-1, true)
		defer txn.Discard()
		size, i := 0, start
		for ; i < len(keys); i++ {
			v := b.m[keys[i]]
			cost := len(keys[i]) + perEntry
			if int64(len(v)) < d.inTree {
				cost += len(v)
			}
			if i > start && (size+cost > maxSize || i-start >= maxCount) {
				break
			}
			size += cost
			var err error
			if v == nil {
				err = txn.Delete([]byte(keys[i]))
			} else {
				err = txn.Set([]byte(keys[i]), v)
			}
			if err != nil {
				return err
			}
		}
		last := i == len(keys) && !large
		step := "before write"
		if last {
			s := seal{prev: prev, synced: d.LastSynced(), parts: uint32(part + 1)}
			if err := txn.Set(sealKey, s.marshal()); err != nil {
				return err
			}
			if part > 0 {
				step = "before seal"
			}
		} else if err := txn.Set(partKey(part), nil); err != nil {
			return err
		}
		if err := d.fail(step); err != nil {
			return err
		}
		d.last = ts
		if last && along != nil {
			done := make(chan error, 1)
			if err := txn.CommitAt(uint64(ts), func(err error) { done <- err }); err != nil {
				return err
			}
			along(ts)
			return <-done
		}
		if err := txn.CommitAt(uint64(ts), nil); err != nil {
			return err
		}
		if last {
			return nil
		}
		if i == len(keys) && large {
			if err := d.syncValueLog(); err != nil {
				return err
			}
			large = false
		}
		start = i
		part++
	}
}

func (d *DB) fail(step string) error {
	if d.failpoint == nil {
		return nil
	}
	return d.failpoint(step)
}
