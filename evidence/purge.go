package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// coldAfter is the age from which a record is in the cold tier (S3.1 §7.4).
const coldAfter = 90 * 24 * time.Hour

// horizons are the retention classes in months; FOREVER has none.
var horizons = map[record.Retention]int{record.Standard24M: 24, record.Extended60M: 60}

// ErrRetained is returned by Purge for a record whose payload must stay.
var ErrRetained = errors.New("payload is still retained")

// Purge erases the payloads of the given records. Each must be past its
// retention horizon, in the cold tier of a sealed segment, and not be
// referenced by an audit (referenced may be nil); else nothing is erased and
// the error wraps ErrRetained. A GC_PASS record that names them is durable
// before the first byte is erased. Records, ids and links stay for ever.
func (l *Log) Purge(ctx context.Context, referenced func(id string) bool, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	type target struct {
		path string
		off  int64
	}
	var targets []target
	var bytes int64
	now := l.o.Now()
	for _, id := range ids {
		s, i, err := l.find(id)
		if err != nil {
			return fmt.Errorf("purge: %w", err)
		}
		r, err := l.readOne(s, i)
		if err != nil {
			return fmt.Errorf("purge: %w", err)
		}
		months, ends := horizons[r.Retention]
		switch {
		case !ends:
			return fmt.Errorf("purge %s: %w: kept %s", id, ErrRetained, r.Retention)
		case now.Before(r.RecordedAt.AddDate(0, months, 0)):
			return fmt.Errorf("purge %s: %w: kept %s from %s", id, ErrRetained, r.Retention, r.RecordedAt.Format(time.RFC3339))
		case now.Before(r.RecordedAt.Add(coldAfter)) || !s.sealed.Load():
			return fmt.Errorf("purge %s: %w: not in the cold tier", id, ErrRetained)
		case referenced != nil && referenced(id):
			return fmt.Errorf("purge %s: %w: referenced by an audit", id, ErrRetained)
		}
		off, ok := refOffset(r.PayloadRef, r.SegmentID)
		if !ok {
			return fmt.Errorf("purge %s: %w", id, ErrIntegrity)
		}
		if r.Integrity != Retired {
			b, err := l.payloadOf(s, &r)
			if err != nil {
				return fmt.Errorf("purge: %w", err)
			}
			bytes += int64(len(b))
		}
		targets = append(targets, target{filepath.Join(s.dir, payloadsName), off})
	}
	if _, err := l.appendSelf(ctx, record.GcPass, map[string]any{
		"scope": "evidence", "chunks_reaped": "0", "bytes_freed": decimal(uint64(bytes)), "receipt_ids": ids,
	}); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	for _, t := range targets {
		if err := erase(t.path, t.off); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
	}
	return nil
}

// erase overwrites a payload frame, but for its length, with zeros.
func erase(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [frameHead]byte
	if _, err := f.ReadAt(head[:], off); err != nil {
		return err
	}
	n := int(head[0]) | int(head[1])<<8 | int(head[2])<<16 | int(head[3])<<24
	if n <= 0 || n > maxPayload {
		return ErrIntegrity
	}
	if _, err := f.WriteAt(make([]byte, frameHead-4+n), off+4); err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

// Rebuild makes every sealed segment's index again from its records. The
// segments themselves are only read.
func (l *Log) Rebuild(ctx context.Context) error {
	if l.o.ReadOnly {
		return fmt.Errorf("rebuild indexes: %w", ErrReadOnly)
	}
	l.mu.RLock()
	segs := append([]*segment(nil), l.segs...)
	l.mu.RUnlock()
	for _, s := range segs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.sealed.Load() {
			continue // the active segment's index is in memory
		}
		mem := newMemIndex()
		st := segmentState{seq: s.first, link: s.firstPrev}
		err := scanSegment(s.dir, fmt.Sprintf("%s/%08d", segmentsDir, s.number), &st, func(r *scanned) error {
			mem.add(&r.Receipt, r.off, r.end)
			return nil
		})
		if err != nil {
			return fmt.Errorf("rebuild indexes: %w", err)
		}
		s.setIndex(mem)
		if err := s.writeIndex(); err != nil {
			return fmt.Errorf("rebuild indexes: %w", err)
		}
	}
	return nil
}
