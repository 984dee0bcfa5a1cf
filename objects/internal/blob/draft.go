package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// MemoryLimit is the size up to which a draft lives in memory: a host inode costs
// 400 µs, a round trip 20 to 100 (design §2).
const MemoryLimit = 64 << 10

// maxOffset is where a file ends at the latest (the kernel's MAX_LFS_FILESIZE).
const maxOffset = 1<<63 - 1

// Base is the immutable content that a draft started from.
type Base interface {
	io.ReaderAt
	Size() int64
}

// Draft is the working state of one open file, shared by all its writers. Its
// methods may be used concurrently; a write is seen by every read that starts after it.
type Draft struct {
	mu    sync.RWMutex
	store *Store
	size  int64
	dirty bool
	alloc int64  // up to where fallocate reserved, for st_blocks
	holes ranges // what below alloc is neither reserved nor written

	mem []byte // the content, while file is nil; may be shorter than size: zeros follow

	file    *os.File // the staging file, once there is one
	id      string
	base    Base   // what shows through where nothing was written
	baseLen int64  // how much of it still shows: truncation lowers it for good
	written ranges // what the staging file covers
	syncGen uint64 // counts changes, so that Sync knows what it made durable
	synced  uint64
	shares  bool      // the base is another file's version
	lent    bool      // the kernel reads and writes the file itself
	seen    fileState // of a lent file, when it was last looked at
	news    bool      // it was found changed, and Observe has not told
}

// NewDraft starts a draft on a base; nil stands for an empty file.
func NewDraft(s *Store, base Base) (*Draft, error) {
	d := &Draft{store: s}
	if base == nil || base.Size() == 0 {
		return d, nil
	}
	d.size = base.Size()
	if d.size <= MemoryLimit {
		d.mem = make([]byte, d.size)
		if _, err := base.ReadAt(d.mem, 0); err != nil && err != io.EOF {
			return nil, fmt.Errorf("read the version below the draft: %w", err)
		}
		return d, nil
	}
	d.base, d.baseLen = base, d.size
	return d, nil
}

// spill moves the draft to a staging file.
func (d *Draft) spill() error {
	if d.file != nil {
		return nil
	}
	f, id, err := d.store.NewStaging()
	if err != nil {
		return err
	}
	if len(d.mem) > 0 {
		if _, err := f.WriteAt(d.mem, 0); err != nil {
			return errors.Join(err, f.Close(), d.store.RemoveStaging(id))
		}
	}
	if d.base == nil {
		if err := f.Truncate(d.size); err != nil {
			return errors.Join(err, f.Close(), d.store.RemoveStaging(id))
		}
		d.written.add(0, d.size)
	}
	d.file, d.id, d.mem = f, id, nil
	return nil
}

// Size is the length in bytes.
func (d *Draft) Size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.current()
}

// Dirty says whether anything was changed since the draft was made.
func (d *Draft) Dirty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.observe(); err != nil {
		return true
	}
	return d.dirty
}

// Blocks is what the content takes, in units of 512 bytes, holes not counted.
func (d *Draft) Blocks() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.blocks()
}

func (d *Draft) blocks() int64 {
	var n int64
	if d.file == nil {
		n = (int64(len(d.mem)) + 511) / 512
		if d.base != nil {
			n = (d.baseLen + 511) / 512
		}
	} else {
		var st unix.Stat_t
		if unix.Fstat(int(d.file.Fd()), &st) == nil {
			n = st.Blocks
		}
		if d.base != nil {
			n += (d.baseLen + 511) / 512
		}
	}
	return max(n, (d.alloc-d.holes.bytes()+511)/512)
}

// ReadAt reads as io.ReaderAt does.
func (d *Draft) ReadAt(p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if off < 0 {
		return 0, ErrInvalid
	}
	size := d.current()
	if off >= size {
		return 0, io.EOF
	}
	want := len(p)
	if rest := size - off; int64(want) > rest {
		p = p[:rest]
	}
	if err := d.readLocked(p, off); err != nil {
		return 0, err
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

// readLocked fills p, which lies within the size.
func (d *Draft) readLocked(p []byte, off int64) error {
	if d.file == nil && d.base == nil {
		n := 0
		if off < int64(len(d.mem)) {
			n = copy(p, d.mem[off:])
		}
		clear(p[n:])
		return nil
	}
	if d.isWhole() {
		n, err := d.file.ReadAt(p, off)
		if err != nil && err != io.EOF {
			return err
		}
		clear(p[n:])
		return nil
	}
	end := off + int64(len(p))
	for pos := off; pos < end; {
		in, until := d.written.at(pos, end)
		part := p[pos-off : until-off]
		switch {
		case in:
			n, err := d.file.ReadAt(part, pos)
			if err != nil && err != io.EOF {
				return err
			}
			clear(part[n:])
		case pos < d.baseLen:
			until = min(until, d.baseLen)
			part = p[pos-off : until-off]
			if n, err := d.base.ReadAt(part, pos); n < len(part) && err != nil {
				return err
			}
		default:
			clear(part)
		}
		pos = until
	}
	return nil
}

// WriteAt writes all of p, growing the file where needed.
func (d *Draft) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writeLocked(p, off)
}

// Append writes p at the end and gives where that was.
func (d *Draft) Append(p []byte) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	off := d.current()
	_, err := d.writeLocked(p, off)
	return off, err
}

func (d *Draft) writeLocked(p []byte, off int64) (int, error) {
	if off < 0 || off > maxOffset-int64(len(p)) {
		return 0, ErrInvalid
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.observe(); err != nil {
		return 0, err
	}
	end := off + int64(len(p))
	if d.file == nil && d.base == nil && end <= MemoryLimit {
		if int64(len(d.mem)) < end {
			if int64(cap(d.mem)) < end {
				room := max(end, 512) // most small files come in one write
				if len(d.mem) > 0 {
					room = min(MemoryLimit, 2*end)
				}
				grown := make([]byte, end, room)
				copy(grown, d.mem)
				d.mem = grown
			} else {
				old := len(d.mem)
				d.mem = d.mem[:end]
				clear(d.mem[old:])
			}
		}
		copy(d.mem[off:], p)
	} else {
		if err := d.spill(); err != nil {
			return 0, err
		}
		if n, err := d.file.WriteAt(p, off); err != nil {
			d.written.add(off, off+int64(n))
			return n, err
		}
		d.written.add(off, end)
	}
	d.holes.remove(off, end)
	d.size = max(d.size, end)
	d.dirty = true
	d.syncGen++
	return len(p), nil
}

// Truncate sets the size; what is cut off is gone, what is added reads as zeros.
func (d *Draft) Truncate(size int64) error {
	if size < 0 || size > maxOffset {
		return ErrInvalid
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.observe(); err != nil {
		return err
	}
	if size <= d.size {
		d.alloc = min(d.alloc, size)
		d.holes.cut(size)
	}
	if size == d.size {
		return nil
	}
	if size == 0 && d.file == nil { // a small file may follow, which stays in memory
		d.base, d.baseLen, d.mem = nil, 0, nil
	}
	if d.file == nil && d.base == nil {
		if size < int64(len(d.mem)) {
			d.mem = d.mem[:size]
		}
	} else {
		if size < d.size {
			d.written.cut(size)
			d.baseLen = min(d.baseLen, size)
		}
		if d.file != nil {
			if err := d.file.Truncate(size); err != nil {
				return err
			}
		}
	}
	d.size = size
	d.dirty = true
	d.syncGen++
	return nil
}

// Zero makes [off, off+n) read as zeros without storing them; the size stays.
func (d *Draft) Zero(off, n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.observe(); err != nil {
		return err
	}
	d.holes.add(off, min(off+n, d.alloc))
	end := min(off+n, d.size)
	if off >= end {
		return nil
	}
	if d.file == nil && d.base == nil {
		if off < int64(len(d.mem)) {
			clear(d.mem[off:min(end, int64(len(d.mem)))])
		}
	} else {
		if err := d.spill(); err != nil {
			return err
		}
		if err := unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, end-off); err != nil {
			return err
		}
		d.written.add(off, end)
	}
	d.dirty = true
	d.syncGen++
	return nil
}

// Memory gives a copy of the content when the draft lives in memory.
func (d *Draft) Memory() ([]byte, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.file != nil || d.base != nil || d.size > MemoryLimit {
		return nil, false
	}
	b := make([]byte, d.size)
	copy(b, d.mem)
	return b, true
}

// Sync makes the draft's bytes durable where they lie in a staging file, which is
// self-contained afterwards: Staging names it. Bytes in memory are the epoch's.
func (d *Draft) Sync(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil && d.base == nil && d.size <= MemoryLimit {
		return nil
	}
	if d.file != nil && d.synced == d.syncGen && d.base == nil {
		return nil
	}
	if err := d.flatten(ctx); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(d.file.Fd())); err != nil {
		return fmt.Errorf("sync draft: %w", err)
	}
	d.synced = d.syncGen
	return nil
}

// flatten copies into the staging file what still shows of the base.
func (d *Draft) flatten(ctx context.Context) error {
	if err := d.spill(); err != nil {
		return err
	}
	if err := d.observe(); err != nil || d.lent {
		return err
	}
	if err := d.file.Truncate(d.size); err != nil {
		return err
	}
	if d.base == nil {
		return nil
	}
	var host *os.File
	if h, ok := d.base.(Hosted); ok {
		f, done := h.Host()
		defer done()
		host = f
	}
	buf := make([]byte, 1<<20)
	for pos := int64(0); pos < d.baseLen; {
		if err := ctx.Err(); err != nil {
			return err
		}
		in, until := d.written.at(pos, d.baseLen)
		switch {
		case in:
		case host != nil:
			if err := copyHost(ctx, d.file, host, pos, until); err != nil {
				return fmt.Errorf("copy the version below the draft: %w", err)
			}
		default:
			part := buf[:min(int64(len(buf)), until-pos)]
			if n, err := d.base.ReadAt(part, pos); n < len(part) && err != nil {
				return fmt.Errorf("copy the version below the draft: %w", err)
			}
			if !allZero(part) {
				if _, err := d.file.WriteAt(part, pos); err != nil {
					return err
				}
			}
			until = pos + int64(len(part))
		}
		pos = until
	}
	d.base, d.baseLen = nil, 0
	d.written = nil
	d.written.add(0, d.size)
	return nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// Staging names the staging file, "" while there is none.
func (d *Draft) Staging() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.id
}

// Release closes the draft's descriptor and leaves its staging file where it is: a
// version has taken it over.
func (d *Draft) Release() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}

// Drop forgets the draft and its staging file.
func (d *Draft) Drop() error {
	id := d.Staging()
	err := d.Release()
	if id != "" {
		err = errors.Join(err, d.store.RemoveStaging(id))
	}
	return err
}
