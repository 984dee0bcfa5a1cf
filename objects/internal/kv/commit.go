package kv

import (
	"context"
	"fmt"
	"os"
	"sort"
)

// Batch gathers the changes of one epoch. The last change of a key wins.
type Batch struct {
	m    map[string][]byte // nil deletes
	size int
}

// NewBatch gives an empty batch.
func NewBatch() *Batch { return &Batch{m: map[string][]byte{}} }

// Set writes value under key. Neither may be changed by the caller afterwards.
func (b *Batch) Set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	b.m[string(key)] = value
	b.size += len(key) + len(value)
}

// Delete removes key.
func (b *Batch) Delete(key []byte) {
	b.m[string(key)] = nil
	b.size += len(key)
}

// Get answers what the batch holds for a key; deleted is true for a removal.
func (b *Batch) Get(key []byte) (value []byte, deleted, ok bool) {
	v, ok := b.m[string(key)]
	return v, ok && v == nil, ok
}

// Len is the number of keys, Size about their bytes.
func (b *Batch) Len() int  { return len(b.m) }
func (b *Batch) Size() int { return b.size }

// next is the timestamp of the next epoch: now, but later than every earlier one.
func (d *DB) next() TS {
	return max(At(d.o.Now()), d.LastSealed()+1, TS(d.b.MaxVersion())+1)
}

// Commit writes the batch as one epoch and seals it. It is visible to readers when
// Commit returns, and survives a power cut once Sync was called after it.
func (d *DB) Commit(ctx context.Context, b *Batch) (TS, error) {
	if d.o.ReadOnly {
		return 0, ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	d.commit.Lock()
	defer d.commit.Unlock()
	if d.DiskLow() {
		return 0, ErrNoSpace
	}
	ts := d.next()
	keys := make([]string, 0, len(b.m))
	for k := range b.m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	if err := d.write(ts, b, keys); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	d.sealed.Store(uint64(ts))
	return ts, nil
}

// write puts the keys and the seal at ts: in one Badger transaction where they fit,
// else in several, the seal alone in the last one.
func (d *DB) write(ts TS, b *Batch, keys []string) error {
	// Badger's own limits with some room for its per-entry cost.
	maxSize, maxCount := int(d.b.MaxBatchSize())*3/4, int(d.b.MaxBatchCount())*3/4
	perEntry := 64
	for start := 0; ; {
		txn := d.b.NewTransactionAt(uint64(ts)-1, true)
		size, i := 0, start
		for ; i < len(keys); i++ {
			v := b.m[keys[i]]
			cost := len(keys[i]) + len(v) + perEntry
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
				txn.Discard()
				return err
			}
		}
		last := i == len(keys)
		alone := start > 0 // a split epoch: its seal goes in a transaction of its own
		if last && !alone {
			if err := txn.Set(sealKey, nil); err != nil {
				txn.Discard()
				return err
			}
		}
		if err := d.fail("before write"); err != nil {
			txn.Discard()
			return err
		}
		if err := txn.CommitAt(uint64(ts), nil); err != nil {
			return err
		}
		if !last {
			start = i
			continue
		}
		if !alone {
			return nil
		}
		if err := d.fail("before seal"); err != nil {
			return err
		}
		seal := d.b.NewTransactionAt(uint64(ts)-1, true)
		if err := seal.Set(sealKey, nil); err != nil {
			seal.Discard()
			return err
		}
		return seal.CommitAt(uint64(ts), nil)
	}
}

func (d *DB) fail(step string) error {
	if d.failpoint == nil {
		return nil
	}
	return d.failpoint(step)
}

// CommitSync is Commit and then Sync.
func (d *DB) CommitSync(ctx context.Context, b *Batch) (TS, error) {
	ts, err := d.Commit(ctx, b)
	if err != nil {
		return 0, err
	}
	return ts, d.Sync(ctx)
}

// syncRound is one pass of the barrier and those who wait for it.
type syncRound struct {
	done chan struct{}
	err  error
}

// Sync returns when everything committed before the call is on disk. Callers that
// come while a pass runs share the next one: what they committed may have come too
// late for the one that runs.
func (d *DB) Sync(ctx context.Context) error {
	if d.o.ReadOnly {
		return nil
	}
	d.syncMu.Lock()
	if d.pending == nil {
		d.pending = &syncRound{done: make(chan struct{})}
	}
	r := d.pending
	if !d.active {
		d.active = true
		go d.syncLoop()
	}
	d.syncMu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *DB) syncLoop() {
	for {
		d.syncMu.Lock()
		r := d.pending
		d.pending = nil
		if r == nil {
			d.active = false
			d.syncMu.Unlock()
			return
		}
		d.syncMu.Unlock()
		r.err = d.syncOnce()
		close(r.done)
	}
}

// syncOnce makes the logs durable. Badger's own Sync covers the active memtable's
// log and the value log, not logs of memtables that were rotated out and wait to be
// flushed (seen in 4.9.6): those are synced by name first. One that disappears
// meanwhile was flushed to a table, which Badger syncs before it removes the log.
func (d *DB) syncOnce() error {
	files, err := d.memFiles()
	if err != nil {
		return err
	}
	if len(files) > 1 {
		for _, name := range files {
			f, err := os.Open(name)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("sync: %w", err)
			}
			err = f.Sync()
			f.Close()
			if err != nil {
				return fmt.Errorf("sync %s: %w", name, err)
			}
		}
	}
	if err := d.b.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}
