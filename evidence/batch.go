package evidence

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/evidence/tile"
)

var random = bufio.NewReaderSize(rand.Reader, 4096) // read by the writer only

// batch is one group commit under construction. Nothing of it is visible
// before publish.
type batch struct {
	l    *Log
	seg  *segment
	at   time.Time
	gen  ids
	recs []byte // frames for the records file
	pays []byte // frames for the payloads file
	rows []placed
	byID map[string]int // id -> row, for duplicates and parents within the batch

	seq        uint64
	link, last string
	measured   time.Time // the wall clock of a jump that the batch notes
}

type placed struct {
	Receipt
	off, end int64
	leaf     tile.Hash
}

// begin starts a batch on the active segment, or on a new one.
func (l *Log) begin() (*batch, error) {
	b := &batch{l: l, at: l.now(), byID: map[string]int{}, seq: l.size, link: l.lastLink}
	b.seg = l.active()
	return b, nil
}

// place appends a request's records to the batch, all or none. Duplicates
// get no record; their receipts are looked up once the batch is durable.
func (b *batch) place(r *request) ([]Receipt, error) {
	if err := b.l.Health(); err != nil && !(r.self && errors.Is(err, ErrClockBackwards)) {
		return nil, fmt.Errorf("append: %w", err)
	}
	for i, p := range r.drafts {
		if err := b.belongs(r, i); err != nil {
			return nil, err
		}
		if p.ParentID == "" {
			continue
		}
		if _, ok := b.byID[p.ParentID]; ok || earlier(r.drafts[:i], p.ParentID) {
			continue
		}
		s, _, err := b.l.find(p.ParentID)
		if errors.Is(err, ErrNotFound) {
			return nil, &refusal{p, ErrOrphanedParent, p.ParentID}
		} else if err != nil {
			return nil, fmt.Errorf("append %s: find parent: %w", p.Type, err)
		}
		if s.quarantined.Load() {
			return nil, &refusal{p, ErrQuarantinedParent, p.ParentID}
		}
	}
	known := make([]bool, len(r.drafts))
	for i, p := range r.drafts {
		if p.ID == "" {
			continue
		}
		_, known[i] = b.byID[p.ID]
		if !known[i] {
			_, _, err := b.l.find(p.ID)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return nil, fmt.Errorf("append %s: find id: %w", p.Type, err)
			}
			known[i] = err == nil
		}
	}
	out := make([]Receipt, len(r.drafts))
	before := *b
	for i, p := range r.drafts {
		if _, again := b.byID[p.ID]; known[i] || again && p.ID != "" {
			out[i].ID = p.ID // resolved later
			continue
		}
		rec, err := b.add(p)
		if err != nil {
			b.undo(before)
			return nil, err
		}
		out[i] = rec
	}
	return out, nil
}

// undo takes back the records of a request that failed half-way.
func (b *batch) undo(before batch) {
	for _, row := range b.rows[len(before.rows):] {
		delete(b.byID, row.ID)
	}
	if before.seg == nil && b.seg != nil {
		b.seg.closeFiles() // its directory is used again
	}
	*b = before
}

func earlier(ps []*prepared, id string) bool {
	for _, p := range ps {
		if p.ID == id {
			return true
		}
	}
	return false
}

// add turns a prepared draft into the batch's next record.
func (b *batch) add(p *prepared) (Receipt, error) {
	if b.seg == nil {
		n := 1
		if k := len(b.l.segs); k > 0 {
			n = b.l.segs[k-1].number + 1
		}
		s, err := createSegment(b.l.o.Dir, n)
		if err != nil {
			return Receipt{}, fmt.Errorf("append: %w", err)
		}
		s.first, s.opened = b.l.size+1, b.at.UnixNano()
		b.seg = s
	}
	class, profile := outcome(p.rules)
	r := Receipt{
		ID: p.ID, Seq: b.seq + 1, Type: p.Type, Retention: p.retention, RecordedAt: b.at, TAI64N: tai64n(b.at),
		Emitter: p.Emitter, Subject: p.Subject, SubjectIsAI: p.SubjectIsAI, Session: p.Session,
		Scope: p.Scope, GroupID: p.GroupID, UserID: p.UserID,
		ActionID: p.ActionID, PolicyDecisionID: p.PolicyDecisionID, VerificationID: p.VerificationID,
		CorrelationID: p.CorrelationID, TraceID: p.TraceID, ParentID: p.ParentID,
		Simulated: p.Simulated, RedactionClass: class, RedactionProfile: []string{profile},
		PayloadHash: p.hash, PreviousHash: b.link, Integrity: Pending,
	}
	if p.tai != "" {
		r.TAI64N = p.tai
	}
	if r.ID == "" {
		r.ID = idPrefix + b.gen.next(b.at, random).String()
	}
	if b.seg.id == "" {
		b.seg.id = segmentID(r.ID, r.RecordedAt)
		b.seg.firstPrev = b.link
	}
	r.SegmentID = b.seg.id
	r.PayloadRef = "segment://" + r.SegmentID + "/" + strconv.FormatInt(b.seg.payloads+int64(len(b.pays)), 10)
	r.Bytes = appendRecord(make([]byte, 0, 1024), &r)
	if len(r.Bytes) > maxRecord {
		return Receipt{}, fmt.Errorf("append %s: %w: record of %d bytes", p.Type, ErrTooLarge, len(r.Bytes))
	}
	row := placed{off: b.seg.records + int64(len(b.recs)), leaf: tile.Leaf(r.Bytes)}
	b.pays = appendFrame(b.pays, p.stored)
	b.recs = appendFrame(b.recs, r.Bytes)
	row.end = b.seg.records + int64(len(b.recs))
	r.LinkHash = hex32(r.Bytes)
	r.LeafHash = fmt.Sprintf("%x", row.leaf[:])
	row.Receipt = r
	b.rows = append(b.rows, row)
	b.byID[r.ID] = len(b.rows) - 1
	b.seq, b.link, b.last = r.Seq, r.LinkHash, r.ID
	return r, nil
}

// write makes the batch durable. If that fails the files are cut back; if
// even that fails, the log is degraded.
func (b *batch) write() error {
	if len(b.rows) == 0 {
		return nil
	}
	s := b.seg
	_, err := s.files[1].WriteAt(b.pays, s.payloads)
	if err == nil {
		_, err = s.files[0].WriteAt(b.recs, s.records)
	}
	if err == nil {
		err = syncBoth(s.files)
		if err != nil {
			// After a failed sync the kernel may have dropped the pages:
			// what is on disk is unknown until the next open.
			b.l.degrade(fmt.Errorf("%w: sync segment: %w", ErrDegraded, err))
			return fmt.Errorf("sync segment: %w", err)
		}
		return nil
	}
	for i, size := range []int64{s.records, s.payloads} {
		if cut := s.files[i].Truncate(size); cut != nil {
			b.l.degrade(fmt.Errorf("%w: cut back after a failed write: %w", ErrDegraded, cut))
		}
	}
	if s.count == 0 {
		s.closeFiles() // never became part of the log; its number is used again
	}
	return fmt.Errorf("write segment: %w", err)
}

// syncBoth syncs two files side by side.
func syncBoth(files [2]*os.File) error {
	other := make(chan error, 1)
	go func() { other <- unix.Fdatasync(int(files[1].Fd())) }()
	err := unix.Fdatasync(int(files[0].Fd()))
	return errors.Join(err, <-other)
}

// publish makes a durable batch visible.
func (b *batch) publish() {
	if len(b.rows) == 0 {
		return
	}
	l, s := b.l, b.seg
	mem := s.index().(*memIndex)
	for i := range b.rows {
		r := &b.rows[i].Receipt
		mem.add(r, b.rows[i].off, b.rows[i].end)
		if r.Type == record.ActionReceived && r.ActionID != "" {
			l.actions.note(r.ActionID, r.GroupID)
		}
	}
	l.mu.Lock()
	if s.count == 0 {
		s.firstTime = b.at.UnixNano()
		l.segs = append(l.segs, s)
	}
	s.count += uint32(len(b.rows))
	s.records += int64(len(b.recs))
	s.payloads += int64(len(b.pays))
	s.lastID, s.lastLink, s.lastTime = b.last, b.link, b.at.UnixNano()
	for i := range b.rows {
		l.tree.Add(b.rows[i].leaf, func(f tile.Full) { l.pending[f.ID] = f.Hashes })
	}
	l.size, l.lastID, l.lastLink, l.lastTime = b.seq, b.last, b.link, b.at.UnixNano()
	l.wake()
	l.mu.Unlock()
	l.tell(b.rows)
	if !b.measured.IsZero() {
		l.drift.start(b.measured)
	}
	select {
	case l.dirty <- struct{}{}:
	default:
	}
}

// resolve fills in the receipts of duplicates.
func (b *batch) resolve(r *request) {
	for i := range r.out {
		if r.out[i].Seq != 0 {
			continue
		}
		first, err := b.l.Receipt(r.out[i].ID)
		if err != nil {
			r.out, r.err = nil, fmt.Errorf("append: first receipt of %s: %w", r.out[i].ID, err)
			return
		}
		r.out[i] = first
	}
}

// ulidOf returns the ULID of a receipt id.
func ulidOf(id string) (ulid.ULID, error) {
	if !prefixed(id, idPrefix) {
		return ulid.ULID{}, fmt.Errorf("%w: %.80q is not a receipt id", ErrNotFound, id)
	}
	return ulid.ParseStrict(id[len(idPrefix):])
}

// sealActive appends the SEGMENT_SEALED record and ends the active segment.
// It runs in the writer.
func (l *Log) sealActive(reason string) error {
	s := l.active()
	if s == nil || s.count == 0 {
		return nil
	}
	at := l.now()
	sl := seal{
		FinalHash: l.lastLink, PreviousSeal: l.prevSeal, Count: decimal(uint64(s.count) + 1), SealedAt: at.Format(timeForm),
		SegmentID: s.id, TreeRoot: rootText(l.tree.Root()), TreeSize: decimal(l.size),
	}
	f, err := s.open(recordsName)
	if err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	first, err := s.read(f, 0)
	f.Close()
	if err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	sl.Genesis = first.ID
	canonical, err := appendCanonical(nil, sl.payload(l.o.Key, l.keyID, reason))
	if err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	var salt [16]byte
	rand.Read(salt[:])
	p := &prepared{
		Draft: Draft{Type: record.SegmentSealed, Subject: selfSubject, Emitter: string(record.EmitterLog), Scope: "_system"},
		hash:  commitment(salt, canonical), stored: appendPayload(nil, canonical, salt),
		retention: record.SegmentSealed.Retention(),
	}
	b, err := l.begin()
	if err != nil {
		return err
	}
	if _, err := b.add(p); err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	if err := b.write(); err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	b.publish()
	l.mu.Lock()
	s.sealed.Store(true)
	s.closeFiles()
	l.prevSeal = hex32(canonical)
	l.mu.Unlock()
	if err := writeDurable(s.dir+"/"+sealName, canonical, 0o444); err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	l.done.Add(1)
	go func() {
		defer l.done.Done()
		if err := s.writeIndex(); err != nil {
			l.o.Logger.Error("write segment index; it stays in memory", "segment", s.id, "err", err)
		}
	}()
	return l.publish(reason != sealSize)
}
