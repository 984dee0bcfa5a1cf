package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// recovery is what recover found besides damage.
type recovery struct {
	adopted   uint64   // records beyond the checkpoint
	cut       []string // torn tails, in words
	unsealed  bool     // the last segment was left active
	clockBack bool
}

// recover loads segments and tree (see Open).
func (l *Log) recover(ctx context.Context) (rec recovery, err error) {
	cp, err := l.readCheckpoint()
	if err != nil {
		return rec, err
	}
	l.cpSize = cp.Size
	numbers, err := segmentNumbers(l.o.Dir)
	if err != nil {
		return rec, err
	}
	st := segmentState{seq: 1, link: zeroLink}
	load := 0
	for ; load < len(numbers); load++ {
		s, ok := l.loadSealed(numbers[load], &st)
		if !ok || s.last() > cp.Size {
			break
		}
		l.segs = append(l.segs, s)
		st = segmentState{seq: s.last() + 1, link: s.lastLink, time: s.lastTime, id: s.id, lastID: s.lastID}
	}
	if l.tree, err = tile.Load(st.seq-1, func(id tile.ID) ([]tile.Hash, error) { return readTileAt(l.o.Dir, id, cp.Size) }); err != nil {
		return rec, l.tileDamage(err)
	}
	if err := l.checkRoot(cp); err != nil {
		return rec, err
	}
	for i := load; i < len(numbers); i++ {
		if err := ctx.Err(); err != nil {
			return rec, err
		}
		if err := l.loadScanned(numbers[i], i == len(numbers)-1, cp, &st, &rec); err != nil {
			return rec, err
		}
	}
	if st.seq-1 < cp.Size {
		file, off := segmentsDir, int64(-1)
		if n := len(l.segs); n > 0 {
			file, off = fmt.Sprintf("%s/%08d/%s", segmentsDir, l.segs[n-1].number, recordsName), l.segs[n-1].records
		}
		return rec, &damage{seq: st.seq, file: file, offset: off, problem: fmt.Sprintf("the signed checkpoint covers %d records, only %d are there", cp.Size, st.seq-1)}
	}
	rec.adopted = st.seq - 1 - cp.Size
	rec.unsealed = l.active() != nil
	l.setHead(&st)
	l.prevSeal, err = l.lastSeal()
	rec.clockBack = l.size > 0 && l.o.Now().UnixNano() < l.lastTime-int64(clockTolerance)
	return rec, err
}

func (l *Log) setHead(st *segmentState) {
	l.size, l.lastID, l.lastLink, l.lastTime = st.seq-1, st.lastID, st.link, st.time
}

// readCheckpoint loads and opens the stored checkpoint.
func (l *Log) readCheckpoint() (tile.Checkpoint, error) {
	file := logDir + "/checkpoint"
	msg, err := os.ReadFile(filepath.Join(l.o.Dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return tile.Checkpoint{}, &damage{file: file, offset: -1, problem: "the signed checkpoint is missing"}
	} else if err != nil {
		return tile.Checkpoint{}, err
	}
	cp, err := tile.ParseCheckpoint(msg, l.verifier)
	if err != nil {
		return cp, &damage{file: file, offset: 0, problem: err.Error()}
	}
	l.cp = msg
	return cp, nil
}

// loadSealed takes a sealed segment from its index, if that fits the files
// and continues the chain.
func (l *Log) loadSealed(number int, st *segmentState) (*segment, bool) {
	s, ok := l.loadIndexed(number)
	if !ok || s.first != st.seq || s.firstPrev != st.link {
		return nil, false
	}
	for name, size := range map[string]int64{recordsName: s.records, payloadsName: s.payloads} {
		fi, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil || fi.Size() != size {
			return nil, false
		}
	}
	return s, true
}

// loadIndexed takes a sealed segment from its index alone.
func (l *Log) loadIndexed(number int) (*segment, bool) {
	s := &segment{dir: segmentPath(l.o.Dir, number), number: number}
	x, err := openIndex(s.dir)
	if err != nil || x.head.Count == 0 {
		return nil, false
	}
	h := &x.head
	s.id, s.first, s.count, s.opened = string(h.ID[:]), h.First, h.Count, h.Opened
	s.firstPrev, s.lastLink, s.lastID = string(h.FirstPrev[:]), string(h.LastLink[:]), idPrefix+h.LastID.String()
	s.firstTime, s.lastTime, s.records, s.payloads = h.FirstTime, h.LastTime, h.Records, h.Payloads
	s.sealed.Store(true)
	s.setIndex(x)
	return s, true
}

// loadScanned reads a whole segment, adds it to the tree and checks the root
// where the checkpoint falls inside. Bad bytes behind the checkpoint in the
// last segment are a torn tail and cut.
func (l *Log) loadScanned(number int, last bool, cp tile.Checkpoint, st *segmentState, rec *recovery) error {
	s := &segment{dir: segmentPath(l.o.Dir, number), number: number, first: st.seq, records: magicLen, payloads: magicLen, firstPrev: st.link}
	rel := fmt.Sprintf("%s/%08d", segmentsDir, number)
	mem := newMemIndex()
	st.lastType = 0
	var rootErr error
	err := scanSegment(s.dir, rel, st, func(r *scanned) error {
		mem.add(&r.Receipt, r.off, r.end)
		if s.count == 0 {
			s.id, s.opened, s.firstTime = r.SegmentID, r.RecordedAt.UnixNano(), r.RecordedAt.UnixNano()
		}
		s.count++
		s.records, s.payloads = r.end, r.payloadEnd
		s.lastID, s.lastLink, s.lastTime = r.ID, r.LinkHash, r.RecordedAt.UnixNano()
		if l.tree.Size() < r.Seq {
			l.tree.Add(r.leaf, func(f tile.Full) { l.pending[f.ID] = f.Hashes })
			if rootErr == nil {
				rootErr = l.checkRoot(cp)
			}
		}
		return nil
	})
	s.setIndex(mem)
	s.sealed.Store(st.lastType == record.SegmentSealed && s.count > 0)
	if s.count > 0 {
		l.segs = append(l.segs, s)
	}
	l.setHead(st)
	if rootErr != nil {
		return rootErr
	}
	var found *damage
	if errors.As(err, &found) {
		if !last || st.seq-1 < cp.Size {
			return found
		}
		rec.cut = append(rec.cut, found.Error())
		if !l.o.ReadOnly {
			if err := s.cut(); err != nil {
				return err
			}
		}
	} else if err != nil {
		return err
	}
	if !last && !s.sealed.Load() {
		return &damage{seq: st.seq, file: rel + "/" + recordsName, offset: s.records, problem: "segment ends without its seal"}
	}
	if s.sealed.Load() && !l.o.ReadOnly {
		return l.finishSealed(s)
	}
	if s.count > 0 && !l.o.ReadOnly {
		return s.reopen()
	}
	return nil
}

// finishSealed writes what is derived from a sealed segment again, where a
// crash or a deletion left it out.
func (l *Log) finishSealed(s *segment) error {
	if s.last() > l.cpSize {
		// A checkpoint is about to vouch for it; it may be in the page cache only.
		if err := s.reopen(); err != nil {
			return err
		}
		s.closeFiles()
	}
	p, err := l.sealPayload(s)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(filepath.Join(s.dir, sealName)); errors.Is(err, os.ErrNotExist) || err == nil && len(have) == 0 {
		if err := writeDurable(filepath.Join(s.dir, sealName), p, 0o444); err != nil {
			return err
		}
	}
	return s.writeIndex()
}

// sealPayload returns the canonical SEGMENT_SEALED payload of a sealed segment.
func (l *Log) sealPayload(s *segment) ([]byte, error) {
	r, err := l.readOne(s, s.count-1)
	if err != nil {
		return nil, err
	}
	b, err := l.payloadOf(s, &r)
	if err != nil {
		return nil, err
	}
	canonical, _, _ := splitPayload(b)
	return canonical, nil
}

// lastSeal returns the hash of the newest seal, zeros if there is none.
func (l *Log) lastSeal() (string, error) {
	for i := len(l.segs) - 1; i >= 0; i-- {
		if s := l.segs[i]; s.sealed.Load() {
			p, err := l.sealPayload(s)
			if err != nil {
				return "", &damage{seq: s.last(), file: fmt.Sprintf("%s/%08d", segmentsDir, s.number), offset: -1, problem: "seal cannot be read: " + err.Error()}
			}
			return hex32(p), nil
		}
	}
	return zeroLink, nil
}

// checkRoot compares the tree with the checkpoint where their sizes meet.
func (l *Log) checkRoot(cp tile.Checkpoint) error {
	if l.tree.Size() == cp.Size && l.tree.Root() != cp.Root {
		return &damage{file: logDir + "/checkpoint", offset: -1, problem: fmt.Sprintf("the root of %d records differs from the signed one", cp.Size)}
	}
	return nil
}

func (l *Log) tileDamage(err error) error {
	var d *damage
	if errors.As(err, &d) {
		return d
	}
	return &damage{file: logDir + "/tile", offset: -1, problem: err.Error()}
}

// loadAnyway makes as many records readable as can be found, for a log that
// is degraded: segments by their index whatever their size, others as far as
// they were scanned.
func (l *Log) loadAnyway() {
	scannedSoFar := map[int]*segment{}
	for _, s := range l.segs {
		scannedSoFar[s.number] = s
	}
	numbers, _ := segmentNumbers(l.o.Dir)
	l.segs = nil
	next := uint64(1)
	for _, n := range numbers {
		s := scannedSoFar[n]
		if x, ok := l.loadIndexed(n); ok {
			s = x
		}
		if s == nil || s.first < next {
			continue
		}
		l.segs = append(l.segs, s)
		next = s.last() + 1
		l.setHead(&segmentState{seq: next, link: s.lastLink, time: s.lastTime, lastID: s.lastID})
	}
	l.tree = &tile.Tree{}
	clear(l.pending)
}
