package evidence

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// locate returns the segment that holds a sequence number and the ordinal in
// it.
func (l *Log) locate(seq uint64) (*segment, uint32, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].first > seq }) - 1
	if i < 0 || seq > l.segs[i].last() || l.segs[i].count == 0 {
		return nil, 0, fmt.Errorf("record %d: %w", seq, ErrNotFound)
	}
	return l.segs[i], uint32(seq - l.segs[i].first), nil
}

// find returns where the record with the given id is, newest segments first.
func (l *Log) find(id string) (*segment, uint32, error) {
	u, err := ulidOf(id)
	if err != nil {
		return nil, 0, err
	}
	l.mu.RLock()
	segs := l.segs
	l.mu.RUnlock()
	for k := len(segs) - 1; k >= 0; k-- {
		i, ok, err := segs[k].index().find(u)
		if err != nil {
			return nil, 0, err
		}
		if ok {
			return segs[k], i, nil
		}
	}
	return nil, 0, fmt.Errorf("record %s: %w", id, ErrNotFound)
}

func (l *Log) readOne(s *segment, i uint32) (Receipt, error) {
	f, err := s.open(recordsName)
	if err != nil {
		return Receipt{}, fmt.Errorf("read record: %w", err)
	}
	defer f.Close()
	r, err := s.read(f, i)
	if err != nil {
		return Receipt{}, err
	}
	if pf, err := s.open(payloadsName); err == nil {
		if off, ok := refOffset(r.PayloadRef, r.SegmentID); ok && purgedAt(pf, off) {
			r.Integrity = Retired
		}
		pf.Close()
	}
	return r, nil
}

// At returns the record with the given sequence number.
func (l *Log) At(seq uint64) (Receipt, error) {
	s, i, err := l.locate(seq)
	if err != nil {
		return Receipt{}, err
	}
	return l.readOne(s, i)
}

// Receipt returns the record with the given id, also one of a findings
// segment.
func (l *Log) Receipt(id string) (Receipt, error) {
	s, i, err := l.find(id)
	if err != nil {
		if r, ok := l.findings.receipt(id); ok {
			return r, nil
		}
		return Receipt{}, err
	}
	return l.readOne(s, i)
}

// Payload returns the stored payload of a record, {"payload":{...},
// "salt":"<32 hex>"} in canonical JSON, after checking it against the
// record's commitment. It fails with ErrPurged for one that was purged and
// ErrIntegrity for one that does not match.
func (l *Log) Payload(id string) ([]byte, error) {
	s, i, err := l.find(id)
	if err != nil {
		if p, ok := l.findings.payload(id); ok {
			return p, nil
		}
		return nil, err
	}
	f, err := s.open(recordsName)
	if err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	defer f.Close()
	r, err := s.read(f, i)
	if err != nil {
		return nil, err
	}
	return l.payloadOf(s, &r)
}

func (l *Log) payloadOf(s *segment, r *Receipt) ([]byte, error) {
	off, ok := refOffset(r.PayloadRef, r.SegmentID)
	if !ok {
		return nil, fmt.Errorf("payload of %s: %w", r.ID, ErrIntegrity)
	}
	f, err := s.open(payloadsName)
	if err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	defer f.Close()
	b, err := payloadAt(f, off)
	if err != nil {
		return nil, fmt.Errorf("payload of %s: %w", r.ID, err)
	}
	canonical, salt, ok := splitPayload(b)
	if !ok || commitment(salt, canonical) != r.PayloadHash {
		return nil, fmt.Errorf("payload of %s: %w", r.ID, ErrIntegrity)
	}
	return b, nil
}

// InclusionProof proves that record seq is in the tree of the given size:
// the hashes of RFC 6962 §2.1.1 for leaf seq-1.
func (l *Log) InclusionProof(seq, size uint64) ([][]byte, error) {
	if seq < 1 || seq > size {
		return nil, fmt.Errorf("inclusion proof: record %d is not in a tree of %d: %w", seq, size, ErrNotFound)
	}
	if err := l.within(size); err != nil {
		return nil, fmt.Errorf("inclusion proof: %w", err)
	}
	p, err := tlog.ProveRecord(int64(size), int64(seq-1), tile.Reader(l.readTile))
	return hashBytes(p), err
}

// ConsistencyProof proves that the tree of size newSize extends that of
// oldSize (RFC 6962 §2.1.2). From an empty tree the proof is empty.
func (l *Log) ConsistencyProof(oldSize, newSize uint64) ([][]byte, error) {
	if oldSize > newSize {
		return nil, fmt.Errorf("consistency proof: %d is larger than %d", oldSize, newSize)
	}
	if err := l.within(newSize); err != nil {
		return nil, fmt.Errorf("consistency proof: %w", err)
	}
	if oldSize == 0 || oldSize == newSize {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(newSize), int64(oldSize), tile.Reader(l.readTile))
	return hashBytes(p), err
}

func (l *Log) within(size uint64) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if size > l.tree.Size() {
		return fmt.Errorf("tree of %d records: %w", size, ErrNotFound)
	}
	return nil
}

func hashBytes(hs []tlog.Hash) [][]byte {
	out := make([][]byte, len(hs))
	for i := range hs {
		out[i] = append([]byte(nil), hs[i][:]...)
	}
	return out
}

// readTile returns the hashes of a tile: of the right edge from memory, else
// from disk.
func (l *Log) readTile(id tile.ID) ([]tile.Hash, error) {
	l.mu.RLock()
	n := l.tree.Size() >> (8 * uint(id.Level))
	if id.N == n/tile.Width {
		row := append([]tile.Hash(nil), l.tree.Row(id.Level)...)
		l.mu.RUnlock()
		if len(row) < id.W {
			return nil, fmt.Errorf("tile %s: %w", id.Path(), ErrNotFound)
		}
		return row, nil
	}
	full := id
	full.W = tile.Width
	hashes, ok := l.pending[full]
	l.mu.RUnlock()
	if ok {
		return hashes, nil
	}
	return readTileFile(l.o.Dir, full)
}

// readTileFile reads a full tile.
func readTileFile(dir string, id tile.ID) ([]tile.Hash, error) {
	data, err := os.ReadFile(filepath.Join(dir, logDir, id.Path()))
	if err != nil {
		return nil, err
	}
	hashes, err := tile.Split(data)
	if err == nil && len(hashes) != id.W {
		err = fmt.Errorf("tile %s has %d hashes", id.Path(), len(hashes))
	}
	return hashes, err
}

// readTileAt reads a tile as a tree of the given size has it: at least id.W
// hashes, from the full tile or the partial one of that size.
func readTileAt(dir string, id tile.ID, size uint64) ([]tile.Hash, error) {
	at := id
	row := size >> (8 * uint(id.Level))
	at.W = tile.Width
	if row/tile.Width == id.N {
		at.W = int(row % tile.Width)
	}
	hashes, err := readTileFile(dir, at)
	if err != nil {
		return nil, &damage{file: logDir + "/" + at.Path(), offset: -1, problem: err.Error()}
	}
	return hashes, nil
}
