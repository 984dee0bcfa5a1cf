package evidence

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// A receipt may name the one it follows from, its parent, which was there
// before it: lineage is a forest, and a walk up ends. One that does not was
// written past the log, by somebody with its key, since the chain around it
// holds. The bytes are as they were signed, so the log goes on; what lies in
// the segments of the circle is fenced (S6.3 §7.3).

// maxLineage is how many steps a walk to the first ancestor may have (S6.3 §7.2).
const maxLineage = 1024

// lineageCycle starts the problem that a circle is.
const lineageCycle = "lineage leads back to itself"

// edge is a record with a parent.
type edge struct {
	parent ulid.ULID
	seq    uint64
	at     place
	depth  int // steps to the first ancestor, once known
}

// lineage is every record with a parent, by its id.
type lineage map[ulid.ULID]*edge

func (g lineage) add(r *Receipt, at place) {
	id, err := ulidOf(r.ID)
	parent, err2 := ulidOf(r.ParentID)
	if err == nil && err2 == nil {
		g[id] = &edge{parent: parent, seq: r.Seq, at: at}
	}
}

// walk gives the records of a circle, by their sequence numbers, or nothing,
// and notes how deep each record is.
func (g lineage) walk() (cycle []uint64) {
	ids := slices.SortedFunc(maps.Keys(g), func(a, b ulid.ULID) int { return cmp.Compare(g[a].seq, g[b].seq) })
	for _, id := range ids {
		e := g[id]
		var path []*edge
		seen := map[*edge]int{}
		for at, ok := e, true; ok && at.depth == 0; at, ok = g[at.parent] {
			if i, again := seen[at]; again {
				for _, x := range path[i:] {
					cycle = append(cycle, x.seq)
				}
				slices.Sort(cycle)
				return cycle
			}
			seen[at] = len(path)
			path = append(path, at)
			id = at.parent
		}
		depth := 0
		if up, ok := g[id]; ok {
			depth = up.depth
		}
		for _, x := range slices.Backward(path) {
			depth++
			x.depth = depth
		}
	}
	return nil
}

// lineage looks for a circle and for the deepest record.
func (j *join) lineage() {
	v := j.v
	if cycle := j.edges.walk(); cycle != nil {
		v.rep.LineageCycle = cycle
		for id, e := range j.edges {
			if e.seq == cycle[0] {
				v.anomaly(&damage{seq: e.seq, id: idPrefix + id.String(), file: e.at.rel + "/" + recordsName, offset: e.at.off,
					problem: fmt.Sprintf(lineageCycle+": records %d", cycle)})
			}
		}
		return
	}
	for id, e := range j.edges {
		if e.depth > v.rep.LineageDepth || e.depth == v.rep.LineageDepth && e.seq < v.rep.lineageSeq {
			v.rep.LineageDepth, v.rep.DeepestID, v.rep.lineageSeq = e.depth, idPrefix+id.String(), e.seq
		}
	}
}

// fence takes what a circle touches out of what may be built on, and records
// it, once.
func (l *Log) fence(ctx context.Context, rep *Report) error {
	var ids []any
	fresh := false
	for _, seq := range rep.LineageCycle {
		s, _, err := l.locate(seq)
		if err != nil {
			return err
		}
		fresh = !s.quarantined.Swap(true) || fresh
		if !slices.Contains(ids, any(s.id)) {
			ids = append(ids, s.id)
		}
	}
	if !fresh || l.o.ReadOnly {
		return nil
	}
	_, err := l.appendSelf(ctx, record.ReceiptLineageCycleDetected, map[string]any{"segment_ids": ids, "first_anomalous_sequence": decimal(rep.LineageCycle[0]),
		"first_anomalous_receipt_id": rep.FirstAnomalousID, "records": fmt.Sprint(rep.LineageCycle), "detection_method": "VerifyChain"})
	return err
}

// tooDeep records a walk that is longer than any may be, once.
func (l *Log) tooDeep(ctx context.Context, rep *Report) error {
	if rep.LineageDepth <= maxLineage || l.o.ReadOnly {
		return nil
	}
	for r, err := range l.Query(Query{Types: []record.Type{record.ReceiptLineageDepthExceeded}}) {
		if err != nil {
			return err
		}
		p, err := l.Payload(r.ID)
		if err == nil && jsonText(p, "receipt_id") == rep.DeepestID {
			return nil
		}
	}
	_, err := l.appendSelf(ctx, record.ReceiptLineageDepthExceeded, map[string]any{"receipt_id": rep.DeepestID, "depth": rep.LineageDepth, "limit": maxLineage})
	return err
}

// loadFences fences again what earlier runs have fenced. An index is made of the records:
// where one is damaged, the records themselves are asked.
func (l *Log) loadFences() error {
	err := l.indexedFences()
	if !errors.Is(err, errIndex) {
		return err
	}
	for _, s := range l.segs {
		st := segmentState{seq: s.first, link: s.firstPrev}
		err := scanSegment(s.dir, fmt.Sprintf("%s/%08d", segmentsDir, s.number), &st, func(r *scanned) error {
			if r.Type != record.ReceiptLineageCycleDetected || r.payload == nil {
				return nil
			}
			return l.fenceAgain(r.Seq, r.payload)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) indexedFences() error {
	for r, err := range l.Query(Query{Types: []record.Type{record.ReceiptLineageCycleDetected}}) {
		if err != nil {
			return err
		}
		stored, err := l.Payload(r.ID)
		if err != nil {
			return err
		}
		if err := l.fenceAgain(r.Seq, stored); err != nil {
			return err
		}
	}
	return nil
}

// fenceAgain fences the segments that a record names.
func (l *Log) fenceAgain(seq uint64, stored []byte) error {
	var p struct {
		Payload struct {
			Segments []string `json:"segment_ids"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(stored, &p); err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	for _, s := range l.segs {
		if slices.Contains(p.Payload.Segments, s.id) {
			s.quarantined.Store(true)
		}
	}
	return nil
}
