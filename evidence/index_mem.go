package evidence

import (
	"encoding/binary"
	"slices"
	"sort"
	"sync"

	"github.com/oklog/ulid/v2"
	"github.com/zeebo/blake3"
)

// The kinds of reference a record is indexed by.
const (
	byAction byte = iota + 1
	byCorrelation
	bySubject
	byType
	byParent
	byDecision
	kinds = int(byDecision)
)

// key is the index key of a reference. Collisions are harmless: a query
// compares the record's own fields.
func key(kind byte, value string) uint64 {
	var b [maxField + 1]byte
	b[0] = kind
	n := copy(b[1:], value)
	sum := blake3.Sum256(b[:1+n])
	return binary.LittleEndian.Uint64(sum[:])
}

// keys returns the index keys of a record; 0 stands for an unset reference.
func keys(r *Receipt) (out [kinds]uint64) {
	for i, v := range [kinds]string{r.ActionID, r.CorrelationID, r.Subject, r.Type.String(), r.ParentID, r.PolicyDecisionID} {
		if v != "" && !(i == int(byCorrelation)-1 && v == r.ActionID) {
			out[i] = key(byte(i+1), v)
		}
	}
	return out
}

// index finds records of one segment by their ordinal (0 is the segment's
// first record).
type index interface {
	// row returns the offset and length of the record's frame.
	row(i uint32) (off, length int64, err error)
	find(id ulid.ULID) (i uint32, ok bool, err error)
	// postings returns the ordinals filed under a key, ascending.
	postings(key uint64) ([]uint32, error)
	// seek returns the first ordinal recorded at or after t (Unix ns).
	seek(t int64) (uint32, error)
}

// memIndex is the index of the active segment. Each row chains to the
// previous row with the same key, so that a row costs 40 bytes and a distinct
// key one map entry.
type memIndex struct {
	mu    sync.RWMutex
	rows  []memRow
	end   int64 // offset behind the last frame
	heads map[uint64]uint32
	ids   map[ulid.ULID]uint32
}

type memRow struct {
	off, time int64
	prev      [kinds]uint32 // ordinal + 1 of the previous row with that key
	keys      [kinds]uint64
}

func newMemIndex() *memIndex {
	return &memIndex{end: magicLen, heads: map[uint64]uint32{}, ids: map[ulid.ULID]uint32{}}
}

// add files the next record, whose frame ends at end.
func (x *memIndex) add(r *Receipt, off, end int64) {
	id, _ := ulid.ParseStrict(r.ID[len(idPrefix):])
	row := memRow{off: off, time: r.RecordedAt.UnixNano(), keys: keys(r)}
	x.mu.Lock()
	defer x.mu.Unlock()
	n := uint32(len(x.rows)) + 1
	for k, key := range row.keys {
		if key != 0 {
			row.prev[k] = x.heads[key]
			x.heads[key] = n
		}
	}
	x.rows = append(x.rows, row)
	x.ids[id] = n - 1
	x.end = end
}

func (x *memIndex) row(i uint32) (off, length int64, err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if int(i) >= len(x.rows) {
		return 0, 0, ErrNotFound
	}
	end := x.end
	if int(i)+1 < len(x.rows) {
		end = x.rows[i+1].off
	}
	return x.rows[i].off, end - x.rows[i].off, nil
}

func (x *memIndex) find(id ulid.ULID) (uint32, bool, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, ok := x.ids[id]
	return i, ok, nil
}

func (x *memIndex) postings(key uint64) ([]uint32, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []uint32
	for n := x.heads[key]; n != 0; {
		row := &x.rows[n-1]
		out = append(out, n-1)
		next := uint32(0)
		for k := range row.keys {
			if row.keys[k] == key {
				next = row.prev[k]
			}
		}
		n = next
	}
	slices.Reverse(out)
	return out, nil
}

func (x *memIndex) seek(t int64) (uint32, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return uint32(sort.Search(len(x.rows), func(i int) bool { return x.rows[i].time >= t })), nil
}
