package evidence

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	segmentsDir = "segments"
	findingsDir = "findings"
	logDir      = "log"
	keyFile     = "verifier.key"
	LockFile    = "LOCK" // held by the process that appends
)

// segment is one directory of records. Its fields are fixed once it is
// sealed; before, only the writer changes them, under the log's lock.
type segment struct {
	dir    string
	number int    // its place in the chain of segments, from 1
	id     string // seg_<32 hex>
	first  uint64 // sequence number of its first record
	count  uint32
	opened int64 // Unix ns

	firstPrev, lastLink string
	lastID              string
	firstTime, lastTime int64
	records, payloads   int64 // file sizes
	sealed              atomic.Bool

	idx   atomic.Pointer[indexBox]
	files [2]*os.File // records and payloads, while active

	verified    atomic.Bool // passed an audit
	quarantined atomic.Bool // has a finding against it
}

type indexBox struct{ index }

func (s *segment) index() index     { return s.idx.Load().index }
func (s *segment) setIndex(x index) { s.idx.Store(&indexBox{x}) }
func (s *segment) last() uint64     { return s.first + uint64(s.count) - 1 }

// segmentPath is the directory of the segment with the given number.
func segmentPath(dir string, number int) string {
	return filepath.Join(dir, segmentsDir, fmt.Sprintf("%08d", number))
}

// segmentNumbers lists the numbers of the segments in dir, ascending. A
// number that is missing in between is an error.
func segmentNumbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, segmentsDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || len(e.Name()) != 8 || !e.IsDir() {
			continue
		}
		out = append(out, n)
	}
	for i, n := range out {
		if n != i+1 {
			return out, &damage{file: fmt.Sprintf("%s/%08d", segmentsDir, i+1), offset: -1, problem: "segment is missing"}
		}
	}
	return out, nil
}

// createSegment makes the directory and both files, durably.
func createSegment(dir string, number int) (*segment, error) {
	s := &segment{dir: segmentPath(dir, number), number: number, records: magicLen, payloads: magicLen}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	for i, name := range []string{recordsName, payloadsName} {
		f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			s.closeFiles()
			return nil, fmt.Errorf("create segment: %w", err)
		}
		s.files[i] = f
		if _, err := f.WriteString([]string{recordMagic, payloadMagic}[i]); err != nil {
			s.closeFiles()
			return nil, fmt.Errorf("create segment: %w", err)
		}
	}
	for _, d := range []string{s.dir, filepath.Dir(s.dir)} {
		if err := syncDir(d); err != nil {
			s.closeFiles()
			return nil, fmt.Errorf("create segment: %w", err)
		}
	}
	s.setIndex(newMemIndex())
	return s, nil
}

func (s *segment) closeFiles() {
	for i, f := range s.files {
		if f != nil {
			f.Close()
			s.files[i] = nil
		}
	}
}

// open returns one of the segment's files for reading.
func (s *segment) open(name string) (*os.File, error) {
	return os.Open(filepath.Join(s.dir, name))
}

// read returns the record with ordinal i from f, its records file.
func (s *segment) read(f *os.File, i uint32) (Receipt, error) {
	off, n, err := s.index().row(i)
	if err != nil {
		return Receipt{}, err
	}
	buf := make([]byte, n)
	if _, err := f.ReadAt(buf, off); err != nil && err != io.EOF {
		return Receipt{}, fmt.Errorf("read record %d: %w", s.first+uint64(i), err)
	}
	body, _, err := nextFrame(buf, maxRecord)
	if err != nil {
		return Receipt{}, fmt.Errorf("read record %d: %w: %s at byte %d", s.first+uint64(i), ErrIntegrity, recordsName, off)
	}
	r, err := parseRecord(body)
	if err != nil || r.Seq != s.first+uint64(i) {
		return Receipt{}, fmt.Errorf("read record %d: %w", s.first+uint64(i), ErrIntegrity)
	}
	s.finish(&r)
	return r, nil
}

// finish fills the fields of a receipt that are not stored in it.
func (s *segment) finish(r *Receipt) {
	r.LinkHash = hex32(r.Bytes)
	r.LeafHash = leafHex(r.Bytes)
	switch {
	case s.quarantined.Load():
		r.Integrity = TamperQuarantine
	case s.verified.Load():
		r.Integrity = Verified
	case s.sealed.Load():
		r.Integrity = Sealed
	default:
		r.Integrity = Pending
	}
}

// payloadAt reads the payload frame at an offset of f. A purged payload is a
// frame of zeros: ErrPurged.
func payloadAt(f io.ReaderAt, off int64) ([]byte, error) {
	var head [frameHead]byte
	if _, err := f.ReadAt(head[:], off); err != nil {
		return nil, ErrIntegrity
	}
	n := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16 | int64(head[3])<<24
	if n == 0 || n > maxPayload {
		return nil, ErrIntegrity
	}
	buf := make([]byte, frameHead+n)
	if m, err := f.ReadAt(buf, off); err != nil && (err != io.EOF || int64(m) < int64(len(buf))) {
		return nil, ErrIntegrity
	}
	if purged(buf) {
		return nil, ErrPurged
	}
	body, _, err := nextFrame(buf, maxPayload)
	if err != nil {
		return nil, ErrIntegrity
	}
	return body, nil
}

// purged reports whether a payload frame is a tombstone: everything behind
// the length is zero.
func purged(frame []byte) bool {
	for _, c := range frame[4:] {
		if c != 0 {
			return false
		}
	}
	return true
}

// purgedAt reports whether the payload frame at off is a tombstone, by its
// first bytes: a payload that is there starts with a brace.
func purgedAt(f io.ReaderAt, off int64) bool {
	var b [frameHead + 1]byte
	_, err := f.ReadAt(b[:], off)
	return err == nil && purged(b[:])
}

// payload is the stored form: {"payload":P,"salt":"<32 hex>"}.
const (
	payloadOpen  = `{"payload":`
	payloadMid   = `,"salt":"`
	payloadClose = `"}`
)

func appendPayload(b, canonical []byte, salt [16]byte) []byte {
	b = append(append(b, payloadOpen...), canonical...)
	b = append(b, payloadMid...)
	b = hex.AppendEncode(b, salt[:])
	return append(b, payloadClose...)
}

// splitPayload takes a stored payload apart again.
func splitPayload(b []byte) (canonical []byte, salt [16]byte, ok bool) {
	tail := len(payloadMid) + 32 + len(payloadClose)
	if len(b) < len(payloadOpen)+2+tail || string(b[:len(payloadOpen)]) != payloadOpen {
		return nil, salt, false
	}
	canonical, t := b[len(payloadOpen):len(b)-tail], b[len(b)-tail:]
	if string(t[:len(payloadMid)]) != payloadMid || string(t[len(payloadMid)+32:]) != payloadClose {
		return nil, salt, false
	}
	hexSalt := t[len(payloadMid) : len(payloadMid)+32]
	if _, err := hex.Decode(salt[:], hexSalt); err != nil || hex.EncodeToString(salt[:]) != string(hexSalt) {
		return nil, salt, false
	}
	return canonical, salt, true
}

// commitment is payload_hash: hex32(salt || JCS(payload)).
func commitment(salt [16]byte, canonical []byte) string {
	return hex32(append(salt[:], canonical...))
}

// refOffset reads the offset out of a payload_ref of the given segment.
func refOffset(ref, segmentID string) (int64, bool) {
	rest, ok := strings.CutPrefix(ref, "segment://"+segmentID+"/")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	return n, err == nil && n >= magicLen && strconv.FormatInt(n, 10) == rest
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// writeDurable writes a file beside its place, syncs it and renames it in.
// The caller syncs the directory.
func writeDurable(path string, data []byte, perm os.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = unix.Fdatasync(int(f.Fd()))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	return err
}

// header returns what the index file of a sealed segment says about it.
func (s *segment) header() indexHeader {
	h := indexHeader{First: s.first, Records: s.records, Payloads: s.payloads, Opened: s.opened}
	copy(h.ID[:], s.id)
	copy(h.FirstPrev[:], s.firstPrev)
	copy(h.LastLink[:], s.lastLink)
	h.LastID, _ = ulidOf(s.lastID)
	return h
}

// writeIndex writes the index of a sealed segment and reads from it from now
// on instead of from memory.
func (s *segment) writeIndex() error {
	mem, ok := s.index().(*memIndex)
	if !ok {
		return nil
	}
	if err := writeDurable(filepath.Join(s.dir, indexName), encodeIndex(mem, s.header()), 0o644); err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	x, err := openIndex(s.dir)
	if err != nil {
		return err
	}
	s.setIndex(x)
	return nil
}
