package kv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Keys of the package itself start with a NUL; those of its users must not.
var (
	sealKey    = []byte("\x00seal")
	partPrefix = []byte("\x00part")
	tornPrefix = []byte("\x00torn")
	horizonKey = []byte("\x00horizon")
)

func partKey(n int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{}, partPrefix...), uint32(n))
}
func tornKey(from TS) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{}, tornPrefix...), uint64(from))
}

// seal is the value under sealKey.
type seal struct {
	prev, synced TS
	parts        uint32
}

func (s seal) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(s.prev))
	b = binary.BigEndian.AppendUint64(b, uint64(s.synced))
	return binary.BigEndian.AppendUint32(b, s.parts)
}

func parseSeal(b []byte) (seal, error) {
	if len(b) != 20 {
		return seal{}, fmt.Errorf("a seal has 20 bytes, not %d", len(b))
	}
	return seal{TS(binary.BigEndian.Uint64(b)), TS(binary.BigEndian.Uint64(b[8:])), binary.BigEndian.Uint32(b[16:])}, nil
}

// interval is a stretch (from, to] of timestamps in which nothing happened, and the
// epoch that undid what stands there.
type interval struct{ from, to, undo TS }

const everything = ^uint64(0)

// load reads the package's own records and mends what a crash left.
func (d *DB) load() error {
	txn := d.b.NewTransactionAt(everything, false)
	defer txn.Discard()
	item, err := txn.Get(horizonKey)
	if err == nil {
		if err := item.Value(func(v []byte) error { d.horizon.Store(binary.BigEndian.Uint64(v)); return nil }); err != nil {
			return err
		}
	} else if !errors.Is(err, badger.ErrKeyNotFound) {
		return err
	}
	if err := d.loadTorn(txn); err != nil {
		return err
	}
	good, err := d.lastGood(txn)
	if err != nil {
		return err
	}
	d.sealed.Store(uint64(good))
	d.synced.Store(uint64(good))
	if d.o.ReadOnly {
		return nil
	}
	// Replayed logs may have outlived a process only, not a power cut: until they are
	// synced no new seal may say that they are on disk.
	if err := d.logs.sync(d.o.Dir, &d.space); err != nil {
		return err
	}
	if good, err = d.replay(good); err != nil {
		return err
	}
	if d.last > good {
		if err := d.undo(good); err != nil {
			return err
		}
	}
	return d.setDiscard()
}

func (d *DB) loadTorn(txn *badger.Txn) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: tornPrefix, PrefetchValues: true})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		from := TS(binary.BigEndian.Uint64(item.Key()[len(tornPrefix):]))
		err := item.Value(func(v []byte) error {
			if len(v) != 16 {
				return fmt.Errorf("a torn interval has 16 bytes, not %d", len(v))
			}
			iv := interval{from, TS(binary.BigEndian.Uint64(v)), TS(binary.BigEndian.Uint64(v[8:]))}
			// A crash while mending leaves the interval without the seal of its undo: the
			// next mending writes it again, wider.
			d.torn = append(d.torn, iv)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lastGood walks the seals down to what the newest one says is on disk, and then up
// again as far as the chain holds.
func (d *DB) lastGood(txn *badger.Txn) (TS, error) {
	type link struct {
		ts TS
		seal
	}
	var links []link
	floor, known := TS(0), false
	it := txn.NewKeyIterator(sealKey, badger.IteratorOptions{AllVersions: true, PrefetchValues: false})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		ts := TS(item.Version())
		if d.tornAt(ts) {
			continue
		}
		v, err := item.ValueCopy(nil)
		if err != nil {
			return 0, err
		}
		s, err := parseSeal(v)
		if err != nil {
			return 0, fmt.Errorf("epoch %d: %w", ts, err)
		}
		links = append(links, link{ts, s})
		if !known {
			floor, known = s.synced, true
		}
		if ts <= floor {
			break
		}
	}
	var good TS
	for i := len(links) - 1; i >= 0; i-- {
		l := links[i]
		first := i == len(links)-1
		// The oldest link seen is either at the floor, or the first one that the horizon left.
		if !first && l.prev != good || first && l.ts > floor && l.prev > floor && l.prev > d.Horizon() {
			break
		}
		if l.ts > floor && !d.whole(txn, l.ts, l.parts) {
			break
		}
		good = l.ts
	}
	return good, nil
}

// whole says whether every transaction of a split epoch is there.
func (d *DB) whole(txn *badger.Txn, ts TS, parts uint32) bool {
	if parts <= 1 {
		return true
	}
	at := d.b.NewTransactionAt(uint64(ts), false)
	defer at.Discard()
	for n := range int(parts) - 1 {
		item, err := at.Get(partKey(n))
		if err != nil || TS(item.Version()) != ts {
			return false
		}
	}
	return true
}

// tornAt says whether ts lies in an interval that never happened.
func (d *DB) tornAt(ts TS) bool {
	for _, iv := range d.torn {
		if ts > iv.from && ts <= iv.to {
			return true
		}
	}
	return false
}

// undo writes over everything above good the values of good, at a new timestamp, and
// remembers the interval, so that reads never land in between (T-5).
func (d *DB) undo(good TS) error {
	txn := d.b.NewTransactionAt(everything, false)
	defer txn.Discard()
	before := d.b.NewTransactionAt(uint64(good), false)
	defer before.Discard()
	b := NewBatch()
	it := txn.NewIterator(badger.IteratorOptions{SinceTs: uint64(good), AllVersions: true, PrefetchValues: false})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		k := string(item.Key())
		if TS(item.Version()) <= good || k == string(sealKey) || len(k) > len(partPrefix) && k[:len(partPrefix)] == string(partPrefix) {
			continue
		}
		if _, _, seen := b.Get([]byte(k)); seen {
			continue
		}
		old, err := before.Get([]byte(k))
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			b.Delete([]byte(k))
		case err != nil:
			return err
		default:
			v, err := old.ValueCopy(nil)
			if err != nil {
				return err
			}
			b.Set([]byte(k), v)
		}
	}
	ts := d.next()
	iv := interval{good, ts - 1, ts}
	b.Set(tornKey(good), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(iv.to)), uint64(ts)))
	d.o.Logger.Warn("an epoch was torn; it never happened", "after", good.Time(), "records", b.Len()-1)
	d.pinMu.Lock()
	d.torn = append(d.torn, iv)
	d.pinMu.Unlock()
	if err := d.write(ts, good, b, nil); err != nil {
		return fmt.Errorf("undo a torn epoch: %w", err)
	}
	d.sealed.Store(uint64(ts))
	return d.syncOnce()
}
