package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// AllocMode is a mode of fallocate(2), with its values.
type AllocMode uint32

// The modes that a draft knows; of others Allocate says ErrNotSupported.
const (
	AllocKeepSize  AllocMode = unix.FALLOC_FL_KEEP_SIZE
	AllocPunchHole AllocMode = unix.FALLOC_FL_PUNCH_HOLE // with AllocKeepSize only, as the kernel asks
	AllocZeroRange AllocMode = unix.FALLOC_FL_ZERO_RANGE
)

// Errors of Allocate.
var (
	// ErrNotSupported says that a draft cannot do the mode (collapse, insert, unshare).
	ErrNotSupported = errors.New("operation not supported")
	// ErrInvalid says that an offset, a length or a combination of modes makes no sense.
	ErrInvalid = errors.New("invalid argument")
)

// Allocate does what fallocate(2) does with the mode.
func (d *Draft) Allocate(mode AllocMode, off, n int64) error {
	if off < 0 || n <= 0 || off > maxOffset-n {
		return ErrInvalid
	}
	keep := mode&AllocKeepSize != 0
	switch mode &^ AllocKeepSize {
	case 0:
		return d.Reserve(off, n, keep)
	case AllocPunchHole:
		if !keep {
			return ErrNotSupported
		}
		return d.Zero(off, n)
	case AllocZeroRange:
		if err := d.Zero(off, n); err != nil {
			return err
		}
		return d.Reserve(off, n, keep)
	}
	return ErrNotSupported
}

// Reserve is fallocate: room for [off, off+n) that a later write will not fail for.
// The bytes are not taken from the disk below, since versions and compression make
// that promise empty; the size grows unless keep is set.
func (d *Draft) Reserve(off, n int64, keep bool) error {
	if err := d.reserve(off, off+n); err != nil {
		return err
	}
	if !keep && off+n > d.Size() {
		return d.Truncate(off + n)
	}
	return nil
}

// reserve notes it, and which parts of what lies before are neither reserved nor data.
func (d *Draft) reserve(off, end int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for pos := d.alloc; pos < off; {
		data, until, err := d.segment(pos, off)
		if err != nil {
			return err
		}
		if !data {
			d.holes.add(pos, until)
		}
		pos = until
	}
	d.alloc = max(d.alloc, end)
	d.holes.remove(off, end)
	return nil
}

// InMemory gives a copy of the content when the draft lives in memory, at most
// MemoryLimit bytes.
func (d *Draft) InMemory() ([]byte, bool) { return d.Memory() }

// StagingID names the staging file, "" while there is none.
func (d *Draft) StagingID() string { return d.Staging() }

// Reader reads the content from the start to the size it has when the reader gets
// there; holes are zeros. A write meanwhile may or may not be seen.
func (d *Draft) Reader() io.Reader { return &draftReader{d: d} }

type draftReader struct {
	d   *Draft
	off int64
}

func (r *draftReader) Read(p []byte) (int, error) {
	n, err := r.d.ReadAt(p, r.off)
	r.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ClearDirty forgets that anything was changed; the next change sets Dirty again.
func (d *Draft) ClearDirty() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dirty = false
}

// Overlay is what must be kept, with the staging file, to restore a draft over its base.
type Overlay struct {
	Staging string  // "" while the draft is in memory
	Written []Range // what the staging file holds
	BaseLen int64   // how much of the base shows through elsewhere
	Size    int64
}

// Overlay gives the draft's state of one moment, which it moves to a staging file if it
// has none: for drafts that Memory does not answer for.
func (d *Draft) Overlay() (Overlay, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spill(); err != nil {
		return Overlay{}, err
	}
	if err := d.observe(); err != nil {
		return Overlay{}, err
	}
	return Overlay{d.id, append([]Range(nil), d.written...), d.baseLen, d.size}, nil
}

// RestoreOverlay opens a draft again as Overlay said it was, over the same base. What
// was synced then is there; the staging file may hold younger bytes as well.
func RestoreOverlay(s *Store, base Base, o Overlay) (*Draft, error) {
	id, written, baseLen, size := o.Staging, o.Written, o.BaseLen, o.Size
	if baseLen < 0 || size < 0 || baseLen > size || baseLen > 0 && (base == nil || base.Size() < baseLen) {
		return nil, fmt.Errorf("restore draft %s: %w", id, ErrInvalid)
	}
	d := &Draft{store: s, id: id, size: size}
	for _, r := range written {
		if r.Start < 0 || r.End > size || r.Start >= r.End {
			return nil, fmt.Errorf("restore draft %s: %w", id, ErrInvalid)
		}
		d.written.add(r.Start, r.End)
	}
	f, err := s.OpenStaging(id)
	if err != nil {
		return nil, err
	}
	d.file = f
	if st, err := f.Stat(); err != nil {
		return nil, errors.Join(err, f.Close())
	} else if st.Size() > size { // written to and grown after that moment
		if err := f.Truncate(size); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if baseLen > 0 {
		d.base, d.baseLen = base, baseLen
	}
	return d, nil
}

// SyncOverlay makes the staged bytes durable without copying the base: what a large
// file's fsync should cost. Whoever needs the draft after a crash keeps its Overlay, too.
func (d *Draft) SyncOverlay(ctx context.Context) error {
	d.mu.RLock()
	f := d.file
	d.mu.RUnlock()
	if f == nil {
		return nil
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync draft: %w", err)
	}
	return d.store.syncStaging()
}

// Flatten makes the staging file hold the whole content, sparse where it is; the base
// is not needed any more and File answers.
func (d *Draft) Flatten(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flatten(ctx)
}

// File is the staging file of a draft that needs no base, for reading and writing past
// the draft. Size and content are the file's from then on: call Refresh after.
func (d *Draft) File() (*os.File, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.file, d.file != nil && d.base == nil
}

// Refresh takes over the size of a staging file that was written past the draft.
func (d *Draft) Refresh() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil || d.base != nil {
		return nil
	}
	st, err := d.file.Stat()
	if err != nil {
		return err
	}
	d.size = st.Size()
	d.written = nil
	d.written.add(0, d.size)
	d.dirty = true
	d.syncGen++
	return nil
}

// Close is Release with keep, else Drop.
func (d *Draft) Close(keep bool) error {
	if keep {
		return d.Release()
	}
	return d.Drop()
}
