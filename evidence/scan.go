package evidence

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// maxRecord is the largest record (tlog-tiles entry, spec/tlog.md).
const maxRecord = tile.MaxEntry

// damage is a place where stored bytes are not what they should be.
type damage struct {
	seq     uint64 // 0 where no single record is at fault
	id      string
	file    string // relative to the log's directory
	offset  int64  // -1 where there is none
	problem string
	upto    uint64 // last record of a range that is at fault, if it is one
}

func (d *damage) Error() string {
	s := d.file
	if d.offset >= 0 {
		s += fmt.Sprintf(" at byte %d", d.offset)
	}
	if d.seq > 0 {
		s += fmt.Sprintf(", record %d", d.seq)
	}
	return s + ": " + d.problem
}

// frameReader walks the frames of a file in order with a bounded buffer.
type frameReader struct {
	f     *os.File
	buf   []byte
	have  []byte // unread part of buf
	off   int64  // file offset of have
	limit int
	eof   bool
	err   error
}

// newFrameReader reads in steps of 256 KiB, or at once what is smaller.
func newFrameReader(f *os.File, limit int) *frameReader {
	size := int64(256 << 10)
	if st, err := f.Stat(); err == nil {
		size = min(size, st.Size()+frameHead)
	}
	return &frameReader{f: f, buf: make([]byte, size), limit: limit}
}

// fill reads on until n bytes are there or the file ends.
func (r *frameReader) fill(n int) {
	for len(r.have) < n && !r.eof {
		if n > len(r.buf) {
			r.buf = append(make([]byte, 0, n+len(r.buf)), r.have...)[:n+len(r.buf)]
		} else {
			copy(r.buf, r.have)
		}
		m, err := r.f.Read(r.buf[len(r.have):])
		r.have = r.buf[:len(r.have)+m]
		if err != nil {
			r.eof = true
			if err != io.EOF {
				r.err = err
			}
		}
	}
}

// magic consumes the file's first bytes.
func (r *frameReader) magic(want string) bool {
	r.fill(magicLen)
	if len(r.have) < magicLen || string(r.have[:magicLen]) != want {
		return false
	}
	r.have, r.off = r.have[magicLen:], r.off+magicLen
	return true
}

// holds reports whether the file reaches up to end, so that a damaged length
// does not make us reserve memory for what is not there.
func (r *frameReader) holds(end int64) bool {
	st, err := r.f.Stat()
	return err == nil && st.Size() >= end
}

// next returns the whole next frame and its body, valid until the call after.
// At the end it returns io.EOF; errTorn leaves off at the bad frame. A
// tombstone has a nil body.
func (r *frameReader) next() (off int64, frame, body []byte, err error) {
	r.fill(frameHead)
	if len(r.have) == 0 {
		if r.err != nil {
			return r.off, nil, nil, r.err
		}
		return r.off, nil, nil, io.EOF
	}
	if len(r.have) >= frameHead {
		n := int64(r.have[0]) | int64(r.have[1])<<8 | int64(r.have[2])<<16 | int64(r.have[3])<<24
		if n <= int64(r.limit) && (frameHead+n <= int64(len(r.have)) || r.holds(r.off+frameHead+n)) {
			r.fill(frameHead + int(n))
		}
		if len(r.have) >= frameHead+int(n) && n > 0 && n <= int64(r.limit) && r.limit == maxPayload {
			if frame := r.have[:frameHead+n]; purged(frame) {
				off, r.off, r.have = r.off, r.off+int64(len(frame)), r.have[len(frame):]
				return off, frame, nil, nil
			}
		}
	}
	body, n, err := nextFrame(r.have, r.limit)
	if err != nil {
		if r.err != nil {
			err = r.err
		}
		return r.off, nil, nil, err
	}
	frame = r.have[:n]
	off, r.off, r.have = r.off, r.off+int64(n), r.have[n:]
	return off, frame, body, nil
}

// scanned is one record met by scanSegment, valid during the call.
type scanned struct {
	Receipt
	off, end   int64 // its frame
	payloadOff int64
	payloadEnd int64
	retired    bool   // the payload is purged
	payload    []byte // stored form, nil if retired
	leaf       tile.Hash
}

// segmentState is where a scan stands: what the next record must continue.
type segmentState struct {
	seq      uint64 // sequence number expected next
	link     string // link of the last record
	time     int64  // its time
	id       string // segment id, once known
	lastID   string
	lastType record.Type
}

// scanSegment reads a segment's records with their payloads in order and
// checks everything that can be checked without the tree: frames, canonical
// form, sequence, links, times, segment id and payload commitments. It stops
// at the first damage, which it returns as *damage, and calls each for every
// good record before it. rel is the segment's path for messages.
func scanSegment(dir, rel string, st *segmentState, each func(*scanned) error) error {
	rf, err := os.Open(filepath.Join(dir, recordsName))
	if err != nil {
		return missing(err, rel+"/"+recordsName, st.seq)
	}
	defer rf.Close()
	pf, err := os.Open(filepath.Join(dir, payloadsName))
	if err != nil {
		return missing(err, rel+"/"+payloadsName, st.seq)
	}
	defer pf.Close()
	recs, pays := newFrameReader(rf, maxRecord), newFrameReader(pf, maxPayload)
	if !recs.magic(recordMagic) {
		return &damage{seq: st.seq, file: rel + "/" + recordsName, problem: "bad file header"}
	}
	if !pays.magic(payloadMagic) {
		return &damage{seq: st.seq, file: rel + "/" + payloadsName, problem: "bad file header"}
	}
	for first := true; ; first = false {
		off, frame, body, err := recs.next()
		if err == io.EOF {
			return trailing(pays, rel, st)
		}
		bad := func(problem string) error {
			return &damage{seq: st.seq, file: rel + "/" + recordsName, offset: off, problem: problem}
		}
		if err == errTorn {
			return bad("torn or damaged frame")
		} else if err != nil {
			return fmt.Errorf("read %s: %w", rel, err)
		}
		var s scanned
		if s.Receipt, err = parseRecord(body); err != nil {
			return bad(err.Error())
		}
		s.off, s.end = off, off+int64(len(frame))
		if problem := st.follows(&s.Receipt, first); problem != "" {
			return bad(problem)
		}
		if err := s.readPayload(pays, rel); err != nil {
			return err
		}
		sum := linkSum(body)
		s.LinkHash = hex.EncodeToString(sum[:16])
		s.leaf = tile.Leaf(body)
		if err := each(&s); err != nil {
			return err
		}
		st.seq, st.link, st.time, st.id = s.Seq+1, s.LinkHash, s.RecordedAt.UnixNano(), s.SegmentID
		st.lastID, st.lastType = s.ID, s.Type
	}
}

// How the problems start that a broken chain has.
const (
	wrongSequence = "sequence number "
	wrongLink     = "link "
)

// follows says what is wrong with r as the next record, or nothing.
func (st *segmentState) follows(r *Receipt, first bool) string {
	switch {
	case r.Seq != st.seq:
		return fmt.Sprintf(wrongSequence+"%d, want %d", r.Seq, st.seq)
	case r.PreviousHash != st.link:
		return fmt.Sprintf(wrongLink+"%s does not match the previous record's %s", r.PreviousHash, st.link)
	case !first && r.SegmentID != st.id:
		return fmt.Sprintf("segment id %s, want %s", r.SegmentID, st.id)
	case first && !validSegmentID(r):
		return "segment id does not match its first record"
	case r.TAI64N != tai64n(r.RecordedAt) && r.Type != record.TimeDriftDetected:
		return "tai64n differs from recorded_at"
	case r.RecordedAt.UnixNano() < st.time && !(first && r.Type == record.RecoveryEvent):
		return "recorded before its predecessor"
	case st.lastType == record.SegmentSealed && !first:
		return "record behind the segment's seal"
	}
	return ""
}

// readPayload takes the record's payload from the payload file, where it must
// be next.
func (s *scanned) readPayload(pays *frameReader, rel string) error {
	off, frame, body, err := pays.next()
	bad := func(problem string) error {
		return &damage{seq: s.Seq, id: s.ID, file: rel + "/" + payloadsName, offset: off, problem: problem}
	}
	if err == io.EOF {
		return bad("payload is missing")
	} else if err == errTorn {
		return bad("torn or damaged frame")
	} else if err != nil {
		return fmt.Errorf("read %s: %w", rel, err)
	}
	if want, ok := refOffset(s.PayloadRef, s.SegmentID); !ok || want != off {
		return bad("payload is not where the record says")
	}
	s.payloadOff, s.payloadEnd = off, off+int64(len(frame))
	if body == nil {
		s.retired = true
		return nil
	}
	canonical, salt, ok := splitPayload(body)
	if !ok || commitment(salt, canonical) != s.PayloadHash {
		return bad("payload does not match the record's commitment")
	}
	s.payload = body
	return nil
}

// trailing reports payload bytes that belong to no record.
func trailing(pays *frameReader, rel string, st *segmentState) error {
	off, _, _, err := pays.next()
	if err == io.EOF {
		return nil
	}
	return &damage{seq: st.seq, file: rel + "/" + payloadsName, offset: off, problem: "payload without a record"}
}

func missing(err error, file string, seq uint64) error {
	if os.IsNotExist(err) {
		return &damage{seq: seq, file: file, offset: -1, problem: "file is missing"}
	}
	return err
}
