package evidence

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"github.com/oklog/ulid/v2"
	"github.com/zeebo/blake3"
)

// An index file lies beside each sealed segment. It is derived: Rebuild makes
// it again. All integers are little-endian.
//
//	header   320 bytes, see indexHeader, the last 32 its BLAKE3
//	rows     count * (offset int64, time int64)
//	ids      count * (ULID 16 bytes, ordinal uint32), sorted
//	postings n * (key uint64, ordinal uint32), sorted
const (
	indexMagic   = "aiosidx1"
	indexHead    = 320
	rowSize      = 16
	idSize       = 20
	postingSize  = 12
	indexName    = "index"
	recordsName  = "records"
	payloadsName = "payloads"
	sealName     = "seal.json"
)

var errIndex = errors.New("index does not fit its segment")

// indexHeader is what opening a log needs to know about a sealed segment.
type indexHeader struct {
	Magic               [8]byte
	Count, Postings     uint32
	First               uint64
	FirstTime, LastTime int64
	Records, Payloads   int64 // sizes of the two files
	Opened              int64
	ID                  [36]byte
	FirstPrev, LastLink [32]byte
	LastID, MinID       ulid.ULID
	MaxID               ulid.ULID
	Body                [32]byte // BLAKE3 of everything behind the header
}

func (h *indexHeader) encode() []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	out := make([]byte, indexHead)
	if b.Len() > indexHead-32 {
		panic("index header too long")
	}
	copy(out, b.Bytes())
	sum := blake3.Sum256(out[:indexHead-32])
	copy(out[indexHead-32:], sum[:])
	return out
}

// fileIndex is the index of a sealed segment, read where it lies.
type fileIndex struct {
	path string
	head indexHeader

	check sync.Mutex
	good  bool
}

// openIndex reads the header of a segment's index.
func openIndex(dir string) (*fileIndex, error) {
	x := &fileIndex{path: filepath.Join(dir, indexName)}
	f, err := os.Open(x.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, indexHead)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, errIndex
	}
	sum := blake3.Sum256(b[:indexHead-32])
	if !bytes.Equal(sum[:], b[indexHead-32:]) {
		return nil, errIndex
	}
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, &x.head); err != nil || string(x.head.Magic[:]) != indexMagic {
		return nil, errIndex
	}
	st, err := f.Stat()
	if err != nil || st.Size() != x.offset(3) {
		return nil, errIndex
	}
	return x, nil
}

// offset returns where section s (0 rows, 1 ids, 2 postings, 3 end) starts.
func (x *fileIndex) offset(s int) int64 {
	off, n := int64(indexHead), int64(x.head.Count)
	if s > 0 {
		off += n * rowSize
	}
	if s > 1 {
		off += n * idSize
	}
	if s > 2 {
		off += int64(x.head.Postings) * postingSize
	}
	return off
}

// open opens the file; the first time it checks the whole body's digest.
func (x *fileIndex) open() (*os.File, error) {
	f, err := os.Open(x.path)
	if err != nil {
		return nil, err
	}
	x.check.Lock()
	defer x.check.Unlock()
	if !x.good {
		h := blake3.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, indexHead, 1<<62)); err != nil {
			f.Close()
			return nil, err
		}
		if !bytes.Equal(h.Sum(nil), x.head.Body[:]) {
			f.Close()
			return nil, fmt.Errorf("%s: %w (aios fsck rebuilds indexes)", x.path, errIndex)
		}
		x.good = true
	}
	return f, nil
}

func (x *fileIndex) row(i uint32) (off, length int64, err error) {
	if i >= x.head.Count {
		return 0, 0, ErrNotFound
	}
	f, err := x.open()
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var b [rowSize + 8]byte
	n, err := f.ReadAt(b[:], x.offset(0)+int64(i)*rowSize)
	if n < rowSize {
		return 0, 0, err
	}
	off = int64(binary.LittleEndian.Uint64(b[:]))
	end := x.head.Records
	if i+1 < x.head.Count && n == len(b) {
		end = int64(binary.LittleEndian.Uint64(b[rowSize:]))
	}
	return off, end - off, nil
}

func (x *fileIndex) find(id ulid.ULID) (uint32, bool, error) {
	if id.Compare(x.head.MinID) < 0 || id.Compare(x.head.MaxID) > 0 {
		return 0, false, nil
	}
	f, err := x.open()
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	var b [idSize]byte
	var ioErr error
	i := sort.Search(int(x.head.Count), func(i int) bool {
		if _, err := f.ReadAt(b[:], x.offset(1)+int64(i)*idSize); err != nil {
			ioErr = err
		}
		return bytes.Compare(b[:16], id[:]) >= 0
	})
	if ioErr != nil || i == int(x.head.Count) {
		return 0, false, ioErr
	}
	if _, err := f.ReadAt(b[:], x.offset(1)+int64(i)*idSize); err != nil {
		return 0, false, err
	}
	return binary.LittleEndian.Uint32(b[16:]), bytes.Equal(b[:16], id[:]), nil
}

func (x *fileIndex) postings(key uint64) ([]uint32, error) {
	f, err := x.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b [postingSize]byte
	var ioErr error
	i := sort.Search(int(x.head.Postings), func(i int) bool {
		if _, err := f.ReadAt(b[:], x.offset(2)+int64(i)*postingSize); err != nil {
			ioErr = err
		}
		return binary.LittleEndian.Uint64(b[:]) >= key
	})
	if ioErr != nil {
		return nil, ioErr
	}
	var out []uint32
	page := make([]byte, 340*postingSize) // about one page of the host
	for ; i < int(x.head.Postings); i += len(page) / postingSize {
		n, err := f.ReadAt(page, x.offset(2)+int64(i)*postingSize)
		if err != nil && err != io.EOF {
			return nil, err
		}
		for p := page[:n-n%postingSize]; len(p) > 0; p = p[postingSize:] {
			if binary.LittleEndian.Uint64(p) != key {
				return out, nil
			}
			out = append(out, binary.LittleEndian.Uint32(p[8:]))
		}
	}
	return out, nil
}

func (x *fileIndex) seek(t int64) (uint32, error) {
	if t <= x.head.FirstTime {
		return 0, nil
	}
	if t > x.head.LastTime {
		return x.head.Count, nil
	}
	f, err := x.open()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [8]byte
	var ioErr error
	i := sort.Search(int(x.head.Count), func(i int) bool {
		if _, err := f.ReadAt(b[:], x.offset(0)+int64(i)*rowSize+8); err != nil {
			ioErr = err
		}
		return int64(binary.LittleEndian.Uint64(b[:])) >= t
	})
	return uint32(i), ioErr
}

// encodeIndex returns the index file of a segment whose records are in mem;
// head carries the fields that mem does not know.
func encodeIndex(mem *memIndex, head indexHeader) []byte {
	mem.mu.RLock()
	defer mem.mu.RUnlock()
	copy(head.Magic[:], indexMagic)
	n := len(mem.rows)
	head.Count = uint32(n)
	type posting struct {
		key uint64
		i   uint32
	}
	var posts []posting
	body := make([]byte, 0, n*(rowSize+idSize+4*postingSize))
	for i, r := range mem.rows {
		body = binary.LittleEndian.AppendUint64(body, uint64(r.off))
		body = binary.LittleEndian.AppendUint64(body, uint64(r.time))
		for _, k := range r.keys {
			if k != 0 {
				posts = append(posts, posting{k, uint32(i)})
			}
		}
	}
	ids := make([]ulid.ULID, 0, n)
	for id := range mem.ids {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, ulid.ULID.Compare)
	for _, id := range ids {
		body = append(body, id[:]...)
		body = binary.LittleEndian.AppendUint32(body, mem.ids[id])
	}
	slices.SortFunc(posts, func(a, b posting) int {
		if a.key != b.key {
			if a.key < b.key {
				return -1
			}
			return 1
		}
		return int(a.i) - int(b.i)
	})
	for _, p := range posts {
		body = binary.LittleEndian.AppendUint64(body, p.key)
		body = binary.LittleEndian.AppendUint32(body, p.i)
	}
	head.Postings = uint32(len(posts))
	if n > 0 {
		head.FirstTime, head.LastTime = mem.rows[0].time, mem.rows[n-1].time
		head.MinID, head.MaxID = ids[0], ids[len(ids)-1]
	}
	head.Body = blake3.Sum256(body)
	return append(head.encode(), body...)
}
