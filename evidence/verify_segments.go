package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// segmentResult is what one worker found in one segment.
type segmentResult struct {
	number   int
	rel      string
	first    segmentState // what the first record claims to continue
	last     segmentState
	firstAt  int64 // its first record's time
	genesis  string
	leaves   []tile.Hash
	offsets  []int64
	sealed   bool
	seal     []byte // canonical payload of SEGMENT_SEALED
	sealLink string // link before SEGMENT_SEALED
	retired  map[string]uint64
	purges   []string // ids that GC_PASS records name
	edges    lineage  // records with a parent
	firstRec record.Type
	err      error
}

// segments scans all segments side by side and puts the results together in
// order.
func (v *verification) segments(ctx context.Context) error {
	numbers, err := segmentNumbers(v.dir)
	var gap *damage
	if errors.As(err, &gap) {
		// What stands before the gap is looked at first.
		for i, n := range numbers {
			if n != i+1 {
				numbers = numbers[:i]
				break
			}
		}
	} else if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var done atomic.Uint64
	results := make([]chan *segmentResult, len(numbers))
	for i := range results {
		results[i] = make(chan *segmentResult, 1)
	}
	// Each worker slot is given back when its result has been consumed, which
	// bounds memory to Workers+1 segments.
	slots := make(chan struct{}, v.o.Workers+1)
	go func() {
		for i, n := range numbers {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() { results[i] <- v.scan(ctx, n, &done) }()
		}
	}()
	j := newJoin(v, v.o.Workers)
	defer j.stop()
	for i := range numbers {
		var r *segmentResult
		select {
		case r = <-results[i]:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := j.segment(r, i == len(numbers)-1 && gap == nil); err != nil {
			return err
		}
		<-slots
		if v.o.Progress != nil {
			v.o.Progress(done.Load(), max(v.cp.Size, done.Load()))
		}
	}
	if gap != nil {
		gap.seq = j.st.seq
		j.stop()
		return gap
	}
	return j.end()
}

// scan reads one segment. Where its first record claims to stand is taken on
// trust and compared later, so that segments can be read side by side.
func (v *verification) scan(ctx context.Context, number int, done *atomic.Uint64) *segmentResult {
	r := &segmentResult{number: number, rel: fmt.Sprintf("%s/%08d", segmentsDir, number), retired: map[string]uint64{}}
	dir := filepath.Join(v.dir, r.rel)
	st, err := claimed(dir)
	if err != nil {
		// An empty segment, or one whose damage the scan describes.
		st = segmentState{seq: 1, link: zeroLink}
	}
	r.first = st
	err = scanSegment(dir, r.rel, &st, func(s *scanned) error {
		if len(r.leaves) == 0 {
			r.genesis, r.firstAt, r.firstRec = s.ID, s.RecordedAt.UnixNano(), s.Type
		}
		r.leaves = append(r.leaves, s.leaf)
		r.offsets = append(r.offsets, s.off)
		if s.retired {
			r.retired[s.ID] = s.Seq
		}
		if s.ParentID != "" {
			if r.edges == nil {
				r.edges = lineage{}
			}
			r.edges.add(&s.Receipt, place{r.rel, s.off})
		}
		switch s.Type {
		case record.SegmentSealed:
			if canonical, _, ok := splitPayload(s.payload); ok {
				r.seal, r.sealLink = append([]byte(nil), canonical...), s.PreviousHash
			}
		case record.GcPass:
			r.purges = append(r.purges, purgedBy(s.payload)...)
		}
		if len(r.leaves)%4096 == 0 {
			done.Add(4096)
			return ctx.Err()
		}
		return nil
	})
	done.Add(uint64(len(r.leaves) % 4096))
	r.last = st
	r.sealed = len(r.leaves) > 0 && st.lastType == record.SegmentSealed
	r.err = err
	return r
}

// claimed returns the state that a segment's first record says it continues.
func claimed(dir string) (segmentState, error) {
	st := segmentState{seq: 1, link: zeroLink}
	f, err := os.Open(filepath.Join(dir, recordsName))
	if err != nil {
		return st, errors.New("file is missing")
	}
	defer f.Close()
	recs := newFrameReader(f, maxRecord)
	if !recs.magic(recordMagic) {
		return st, errors.New("bad file header")
	}
	_, _, body, err := recs.next()
	if err != nil {
		return st, errTorn
	}
	r, err := parseRecord(body)
	if err != nil {
		return st, err
	}
	return segmentState{seq: r.Seq, link: r.PreviousHash}, nil
}

// purgedBy returns the receipt ids a GC_PASS names.
func purgedBy(stored []byte) []string {
	var p struct {
		Payload struct {
			IDs []string `json:"receipt_ids"`
		} `json:"payload"`
	}
	if json.Unmarshal(stored, &p) != nil {
		return nil
	}
	return p.Payload.IDs
}

// idAt reads the id of a record for a message.
func (v *verification) idAt(rel string, off int64) string {
	f, err := os.Open(filepath.Join(v.dir, rel, recordsName))
	if err != nil {
		return ""
	}
	defer f.Close()
	buf := make([]byte, frameHead+maxRecord)
	n, _ := f.ReadAt(buf, off)
	body, _, err := nextFrame(buf[:n], maxRecord)
	if err != nil {
		return ""
	}
	r, _ := parseRecord(body)
	return r.ID
}
