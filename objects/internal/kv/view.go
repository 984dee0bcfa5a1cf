package kv

import (
	"errors"
	"iter"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// View is the records as they were at one sealed epoch. It must be closed; it is
// safe for use by several goroutines, scans of one view excepted.
type View struct {
	txn *badger.Txn
	ts  TS
}

// View reads the newest sealed epoch.
func (d *DB) View() *View {
	ts := d.LastSealed()
	return &View{d.b.NewTransactionAt(uint64(ts), false), ts}
}

// ViewAt reads the newest sealed epoch that is not later than ts; ErrHorizon when
// that lies before the history that is kept, or before the first epoch.
func (d *DB) ViewAt(ts TS) (*View, error) {
	if ts < d.Horizon() {
		return nil, ErrHorizon
	}
	sealed, ok := d.EpochAt(ts)
	if !ok {
		return nil, ErrHorizon
	}
	return &View{d.b.NewTransactionAt(uint64(sealed), false), sealed}, nil
}

// EpochAt gives the newest sealed epoch not later than ts.
func (d *DB) EpochAt(ts TS) (TS, bool) {
	txn := d.b.NewTransactionAt(uint64(min(ts, d.LastSealed())), false)
	defer txn.Discard()
	item, err := txn.Get(sealKey)
	if err != nil {
		return 0, false
	}
	return TS(item.Version()), true
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
			list = append(list, v)
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
// from the first). Key and value are valid until the next step only.
func (v *View) Scan(prefix, from []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchValues: true, PrefetchSize: 64})
		defer it.Close()
		if from == nil {
			from = prefix
		}
		for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
			item := it.Item()
			ok := true
			if err := item.Value(func(val []byte) error { ok = yield(item.Key(), val); return nil }); err != nil || !ok {
				return
			}
		}
	}
}

// ScanKeys is Scan without the values; with reverse it walks backwards, from the
// last key not after `from`.
func (v *View) ScanKeys(prefix, from []byte, reverse bool) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchValues: false, Reverse: reverse})
		defer it.Close()
		switch {
		case from != nil:
		case reverse:
			from = append(append([]byte{}, prefix...), 0xff)
		default:
			from = prefix
		}
		for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
			if !yield(it.Item().Key()) {
				return
			}
		}
	}
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
	var list []Past
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		p := Past{TS: TS(item.Version()), Deleted: item.IsDeletedOrExpired()}
		if !p.Deleted {
			b, err := item.ValueCopy(nil)
			if err != nil {
				continue
			}
			p.Value = b
		}
		list = append(list, p)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// KeysEver gives the keys under prefix that exist or once existed within the history.
func (v *View) KeysEver(prefix []byte) []string {
	it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, AllVersions: true, PrefetchValues: false})
	defer it.Close()
	var keys []string
	for it.Rewind(); it.Valid(); it.Next() {
		k := string(it.Item().Key())
		if len(keys) == 0 || keys[len(keys)-1] != k {
			keys = append(keys, k)
		}
	}
	return keys
}

// Close releases the view.
func (v *View) Close() { v.txn.Discard() }
