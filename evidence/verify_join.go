package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// join puts scanned segments together: continuity, tree, seals, checkpoints.
type join struct {
	v        *verification
	st       segmentState
	tree     tile.Tree
	prevSeal string
	lastGood uint64 // the largest size at which a signed root was confirmed
	retired  map[string]uint64
	places   map[string]place
	purged   map[string]bool
	edges    lineage
	groups   *groupChecker
	group    []place // of the leaves of the current group of 256
	hashes   []tile.Hash
	// beforeSeal is the root before the segment's last record, which its seal
	// signs.
	beforeSeal string
	reported   bool // a root mismatch was reported; later ones follow from it
}

// place is where a record is, for messages.
type place struct {
	rel string
	off int64
}

func newJoin(v *verification, workers int) *join {
	return &join{
		v: v, st: segmentState{seq: 1, link: zeroLink}, prevSeal: zeroLink,
		retired: map[string]uint64{}, places: map[string]place{}, purged: map[string]bool{}, edges: lineage{},
		groups: newGroupChecker(v, workers),
	}
}

func (j *join) stop() { j.groups.wait() }

// segment adds one segment's result. last says that no segment follows.
func (j *join) segment(r *segmentResult, last bool) error {
	v := j.v
	if len(r.leaves) > 0 || r.err == nil && r.firstRec != 0 {
		if problem := j.continues(r); problem != "" {
			d := &damage{seq: j.st.seq, file: r.rel + "/" + recordsName, offset: magicLen, problem: problem}
			d.id = v.idAt(r.rel, magicLen)
			v.anomaly(d)
			return j.finish()
		}
	}
	for i, leaf := range r.leaves {
		if r.sealed && i == len(r.leaves)-1 {
			j.beforeSeal = rootText(j.tree.Root())
		}
		j.add(leaf, place{r.rel, r.offsets[i]})
	}
	v.rep.Records += uint64(len(r.leaves))
	if len(r.leaves) > 0 {
		v.rep.Segments++
		j.st = r.last
	}
	for id, seq := range r.retired {
		j.retired[id] = seq
		j.places[id] = place{r.rel, r.offsets[seq-r.first.seq]}
	}
	maps.Copy(j.edges, r.edges)
	for _, id := range r.purges {
		j.purged[id] = true
	}
	var found *damage
	if errors.As(r.err, &found) {
		if len(r.leaves) == 0 || found.seq == 0 {
			found.seq = j.st.seq
		}
		if last && !r.sealed && found.seq > v.cp.Size {
			v.rep.Tail = found.Error()
		} else {
			if found.id == "" && found.file == r.rel+"/"+recordsName {
				found.id = v.idAt(r.rel, found.offset)
			}
			v.anomaly(found)
			return j.finish()
		}
	} else if r.err != nil {
		return r.err
	}
	if r.sealed {
		j.seal(r)
	} else if !last {
		v.anomaly(&damage{seq: j.st.seq, file: r.rel + "/" + recordsName, offset: -1, problem: "segment ends without its seal"})
		return j.finish()
	}
	return nil
}

// finish ends a join after damage: no later segment can be placed. The files
// that were complete are still compared.
func (j *join) finish() error {
	j.groups.wait()
	return j.v.worst
}

// continues says why a segment does not continue the one before, or nothing.
func (j *join) continues(r *segmentResult) string {
	switch {
	case r.first.seq != j.st.seq:
		return fmt.Sprintf(wrongSequence+"%d, want %d", r.first.seq, j.st.seq)
	case r.first.link != j.st.link:
		return fmt.Sprintf(wrongLink+"%s does not match the previous segment's %s", r.first.link, j.st.link)
	case r.firstAt < j.st.time && r.firstRec != record.RecoveryEvent:
		return "recorded before its predecessor"
	}
	return ""
}

// add puts one leaf into the tree and compares it with what was published.
func (j *join) add(leaf tile.Hash, p place) {
	v := j.v
	n := j.tree.Size()
	j.tree.Add(leaf, func(f tile.Full) {
		if f.ID.Level > 0 && j.tree.Size() <= v.cp.Size {
			v.compareTile(f.ID, f.Hashes)
		}
	})
	if n < v.cp.Size {
		j.group, j.hashes = append(j.group, p), append(j.hashes, leaf)
		if len(j.group) == tile.Width || n+1 == v.cp.Size {
			j.groups.add(n/tile.Width, j.hashes, j.group)
			j.group, j.hashes = nil, nil
		}
	}
	size := n + 1
	if want := v.roots[size]; want != nil {
		root := rootText(j.tree.Root())
		for _, w := range want {
			j.root(size, root, w)
		}
	}
	if size == v.cp.Size {
		for _, id := range tile.Files(size) {
			if id.Level > 0 {
				v.compareEdge(id, j.tree.Row(id.Level))
			}
		}
	}
}

// root compares a root with one that was signed.
func (j *join) root(size uint64, got string, w expectation) {
	if got == w.root {
		if size > j.lastGood {
			j.lastGood = size
		}
		return
	}
	if j.reported {
		return
	}
	j.reported = true
	j.v.anomaly(&damage{seq: j.lastGood + 1, upto: size, file: w.file, offset: -1, problem: fmt.Sprintf(
		"the %s over %d records has root %s, the records have %s: something in records %d to %d was changed", w.what, size, w.root, got, j.lastGood+1, size)})
}

// seal checks the seal of a segment.
func (j *join) seal(r *segmentResult) {
	v := j.v
	seq := r.last.seq - 1
	bad := func(problem string) {
		off := r.offsets[len(r.offsets)-1]
		v.anomaly(&damage{seq: seq, id: r.last.lastID, file: r.rel + "/" + recordsName, offset: off, problem: "SEGMENT_SEALED: " + problem})
	}
	v.rep.Checkpoints++
	s, problem := checkSeal(r.seal, v.public)
	switch {
	case problem != "":
		bad(problem)
	case s.SegmentID != r.last.id || s.Genesis != r.genesis || s.Count != decimal(uint64(len(r.leaves))) || s.FinalHash != r.sealLink:
		bad("seal is of another segment")
	case s.PreviousSeal != j.prevSeal:
		bad("seal does not follow the previous segment's")
	case s.TreeSize != decimal(seq-1):
		bad("seal is of another tree size")
	default:
		j.root(seq-1, j.beforeSeal, expectation{s.TreeRoot, r.rel + "/" + sealName, "segment seal"})
	}
	j.prevSeal = hex32(r.seal)
	have, err := os.ReadFile(filepath.Join(v.dir, r.rel, sealName))
	if err == nil && !bytes.Equal(have, r.seal) {
		v.anomaly(&damage{seq: seq, id: r.last.lastID, file: r.rel + "/" + sealName, offset: firstDifference(have, r.seal), problem: "differs from the seal in the segment"})
	} else if err != nil && seq <= v.cp.Size {
		v.anomaly(&damage{seq: seq, id: r.last.lastID, file: r.rel + "/" + sealName, offset: -1, problem: "file is missing"})
	}
}

func (j *join) end() error {
	j.groups.wait()
	v := j.v
	size := j.st.seq - 1
	if size < v.cp.Size && v.worst == nil {
		return &damage{seq: size + 1, file: lastFile(v), offset: -1,
			problem: fmt.Sprintf("the signed checkpoint covers %d records, only %d are there", v.cp.Size, size)}
	}
	if size > v.cp.Size {
		v.rep.Unsigned = size - v.cp.Size
	}
	for n, want := range v.roots {
		if n == 0 {
			for _, w := range want {
				j.root(0, rootText((&tile.Tree{}).Root()), w)
			}
		}
	}
	j.lineage()
	v.rep.Retired = uint64(len(j.retired))
	for id, seq := range j.retired {
		if !j.purged[id] {
			v.anomaly(&damage{seq: seq, id: id, file: j.places[id].rel + "/" + payloadsName, offset: -1, problem: "payload is erased, but no GC_PASS record says so"})
		}
	}
	return nil
}

func lastFile(v *verification) string {
	if n := v.rep.Segments; n > 0 {
		return fmt.Sprintf("%s/%08d/%s", segmentsDir, n, recordsName)
	}
	return segmentsDir
}

func firstDifference(a, b []byte) int64 {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(min(len(a), len(b)))
}
