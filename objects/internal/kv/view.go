package kv

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// View is the records as they were at one sealed epoch. It must be closed; it may be
// used by several goroutines. An open view holds back the horizon.
type View struct {
	d    *DB
	txn  *badger.Txn
	ts   TS
	once sync.Once
	mu   sync.Mutex
	err  error
}

// View reads the newest sealed epoch.
func (d *DB) View() *View {
	d.pinMu.Lock()
	ts := d.LastSealed()
	d.pinLocked(ts)
	d.pinMu.Unlock()
	return &View{d: d, txn: d.b.NewTransactionAt(uint64(ts), false), ts: ts}
}

// ViewAt reads the newest sealed epoch that is not later than ts; ErrHorizon when
// that lies before the history that is kept, or before the first epoch.
func (d *DB) ViewAt(ts TS) (*View, error) {
	sealed, ok := d.EpochAt(ts)
	if !ok {
		return nil, ErrHorizon
	}
	d.pinMu.Lock()
	defer d.pinMu.Unlock()
	if ts < d.Horizon() {
		return nil, ErrHorizon
	}
	// The epoch itself may be older than the horizon; what Badger keeps is the state at
	// the horizon, which is the epoch's.
	at := max(sealed, min(ts, d.Horizon()))
	d.pinLocked(at)
	return &View{d: d, txn: d.b.NewTransactionAt(uint64(at), false), ts: sealed}, nil
}

// EpochAt gives the newest sealed epoch not later than ts.
func (d *DB) EpochAt(ts TS) (TS, bool) {
	if ts < d.Horizon() {
		return 0, false
	}
	ts = d.clamp(min(ts, d.LastSealed()))
	txn := d.b.NewTransactionAt(uint64(ts), false)
	defer txn.Discard()
	item, err := txn.Get(sealKey)
	if err != nil {
		return 0, false
	}
	return TS(item.Version()), true
}

// clamp moves a time inside a torn interval to its beginning.
func (d *DB) clamp(ts TS) TS {
	d.pinMu.Lock()
	defer d.pinMu.Unlock()
	for again := true; again; {
		again = false
		for _, iv := range d.torn {
			if ts > iv.from && ts <= iv.to {
				ts, again = iv.from, true
			}
		}
	}
	return ts
}

// Epochs walks the sealed epochs from `from` to `to`, both included, oldest first.
func (d *DB) Epochs(from, to TS) iter.Seq[TS] {
	return func(yield func(TS) bool) {
		txn := d.b.NewTransactionAt(uint64(min(to, d.LastSealed())), false)
		defer txn.Discard()
		it := txn.NewKeyIterator(sealKey, badger.IteratorOptions{AllVersions: true, PrefetchValues: false})
		defer it.Close()
		var list []TS
		for it.Rewind(); it.Valid(); it.Next() {
			v := TS(it.Item().Version())
			if v < from || v < d.Horizon() {
				break
			}
			if d.clamp(v) == v {
				list = append(list, v)
			}
		}
		for i := len(list) - 1; i >= 0; i-- {
			if !yield(list[i]) {
				return
			}
		}
	}
}

// TS is the epoch that the view reads.
func (v *View) TS() TS { return v.ts }

// Time is the moment of that epoch.
func (v *View) Time() time.Time { return v.ts.Time() }

// Get gives a copy of the record under key, or ErrNotFound.
func (v *View) Get(key []byte) ([]byte, error) {
	item, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// Scan walks the records under prefix in key order, from the key `from` on (nil:
// from the first). Key and value are valid until the next step only. Err tells whether
// a scan ended early.
func (v *View) Scan(prefix, from []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for item := range v.walk(prefix, from) {
			ok := true
			if err := item.Value(func(val []byte) error { ok = yield(item.Key(), val); return nil }); err != nil {
				v.fail(err)
				return
			}
			if !ok {
				return
			}
		}
	}
}

// ScanKeys is Scan without the values.
func (v *View) ScanKeys(prefix, from []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for item := range v.walk(prefix, from) {
			if !yield(item.Key()) {
				return
			}
		}
	}
}

// walk gives the newest item of each key that is there. Values are not fetched ahead: they
// lie beside their keys, and a goroutine for each takes longer than reading it (measured: a
// thousand records of 40 bytes in 0.3 ms, and in 1.1 ms with that).
func (v *View) walk(prefix, from []byte) iter.Seq[*badger.Item] {
	return func(yield func(*badger.Item) bool) {
		it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, AllVersions: true, PrefetchValues: false})
		defer it.Close()
		if from == nil {
			from = prefix
		}
		past := pastOf{it: it}
		for it.Seek(from); it.ValidForPrefix(prefix); past.next() {
			item := it.Item()
			if !past.fresh() || item.IsDeletedOrExpired() || item.Key()[0] == 0 { // the package's own
				continue
			}
			if !yield(item) {
				return
			}
		}
	}
}

// pastOf walks an iterator of all versions past those that do not count.
type pastOf struct {
	it    *badger.Iterator
	key   []byte
	items int // of the key, so far
}

// pastWalked is how many older values of a key are walked over before the next key is
// looked up instead: a record that changes with each epoch has millions of them.
const pastWalked = 16

// fresh tells whether the item is the first of its key that this is asked of.
func (p *pastOf) fresh() bool {
	if k := p.it.Item().Key(); p.items == 0 || !bytes.Equal(k, p.key) {
		p.key, p.items = append(p.key[:0], k...), 1
		return true
	}
	p.items++
	return false
}

func (p *pastOf) next() {
	if p.items <= pastWalked {
		p.it.Next()
		return
	}
	p.items = 0
	p.it.Seek(append(p.key, 0)) // no key lies between
}

// Past is one value that a key once had.
type Past struct {
	TS      TS
	Value   []byte
	Deleted bool
}

// History gives what a key was over time up to this view, oldest first, as far back
// as the horizon. It shows sealed epochs only.
func (v *View) History(key []byte) []Past {
	it := v.txn.NewKeyIterator(key, badger.IteratorOptions{AllVersions: true, PrefetchValues: true})
	defer it.Close()
	var list []Past // newest first
	undone := TS(0) // the epoch that wrote this key's old value over a torn one
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		p := Past{TS: TS(item.Version()), Deleted: item.IsDeletedOrExpired()}
		if v.d.clamp(p.TS) != p.TS {
			continue
		}
		if undone != 0 && len(list) > 0 && list[len(list)-1].TS == undone {
			list = list[:len(list)-1] // it only repeated what comes here
		}
		undone = 0
		if v.d.isUndo(p.TS) {
			undone = p.TS
		}
		if !p.Deleted {
			b, err := item.ValueCopy(nil)
			if err != nil {
				v.fail(err)
				continue
			}
			p.Value = b
		}
		list = append(list, p)
	}
	if undone != 0 && list[len(list)-1].Deleted {
		list = list[:len(list)-1] // the key existed in the torn epoch only
	}
	slices.Reverse(list)
	return list
}

// isUndo says whether the epoch only wrote old values over a torn one.
func (d *DB) isUndo(ts TS) bool {
	d.pinMu.Lock()
	defer d.pinMu.Unlock()
	return slices.ContainsFunc(d.torn, func(iv interval) bool { return iv.undo == ts })
}

// KeysEver gives the keys under prefix that exist or once existed within the history.
func (v *View) KeysEver(prefix []byte) []string {
	it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, AllVersions: true, PrefetchValues: false})
	defer it.Close()
	var keys []string
	past := pastOf{it: it}
	for it.Rewind(); it.Valid(); past.next() {
		if ts := TS(it.Item().Version()); v.d.clamp(ts) != ts || it.Item().Key()[0] == 0 {
			continue
		}
		if past.fresh() {
			keys = append(keys, string(it.Item().Key()))
		}
	}
	return keys
}

// Has says whether the record exists.
func (v *View) Has(key []byte) (bool, error) {
	_, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Err is the first error that a scan of this view met.
func (v *View) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

func (v *View) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
}

// Close releases the view; again is no error.
func (v *View) Close() {
	v.once.Do(func() {
		at := v.txn.ReadTs()
		v.txn.Discard()
		v.d.unpin(TS(at))
	})
}

// KeysSince walks the keys under prefix that changed after ts, removed ones too.
func (v *View) KeysSince(prefix []byte, ts TS) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, SinceTs: uint64(ts), AllVersions: true, PrefetchValues: false})
		defer it.Close()
		past := pastOf{it: it}
		for it.Seek(prefix); it.ValidForPrefix(prefix); past.next() {
			if past.fresh() && !yield(it.Item().Key()) {
				return
			}
		}
	}
}
