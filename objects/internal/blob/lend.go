package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Hosted is a base that is a whole file of the host, which the host can copy or share
// without the bytes coming through here. The file is good until done is called.
type Hosted interface {
	Base
	Host() (f *os.File, done func())
}

// fileState is what of a lent file tells whether the kernel has written it.
type fileState struct {
	size   int64
	blocks int64
	mtime  unix.Timespec
}

func stateOf(f *os.File) (fileState, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileState{}, err
	}
	return fileState{st.Size, st.Blocks, st.Mtim}, nil
}

// Whole makes the staging file hold the whole content when that takes no more than
// limit bytes of copying, or none because the host shares blocks. A draft that is in
// memory stays there, and is not whole.
func (d *Draft) Whole(ctx context.Context, limit int64) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.file == nil && d.base == nil && d.size <= MemoryLimit:
		return false, nil
	case d.isWhole():
		return true, nil
	}
	missing := d.baseLen
	for _, r := range d.written {
		missing -= max(0, min(r.End, d.baseLen)-r.Start)
	}
	if missing > limit {
		if d.file != nil {
			return false, nil
		}
		return d.cloneBase()
	}
	return true, d.flatten(ctx)
}

// cloneBase shares the base's blocks with a new staging file, where the host can.
func (d *Draft) cloneBase() (bool, error) {
	h, ok := d.base.(Hosted)
	if !ok || !d.store.Shares() {
		return false, nil
	}
	f, id, err := d.store.NewStaging()
	if err != nil {
		return false, err
	}
	host, done := h.Host()
	err = unix.IoctlFileClone(int(f.Fd()), int(host.Fd()))
	done()
	if err != nil {
		return false, errors.Join(f.Close(), d.store.RemoveStaging(id))
	}
	d.file, d.id = f, id
	d.written = nil
	d.written.add(0, d.size)
	d.base, d.baseLen = nil, 0
	return true, f.Truncate(d.size)
}

// Stage moves a draft that is in memory to a staging file, whatever its size.
func (d *Draft) Stage() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.spill()
}

// isWhole says that the staging file alone is the content.
func (d *Draft) isWhole() bool { return d.file != nil && (d.base == nil || d.baseLen == 0) }

// Lend lets the kernel read and write the staging file past the draft, which must be
// whole. Until Unlend, size and times are the file's; mtime is what the file is to have
// now: whether it has another later says whether it was written.
func (d *Draft) Lend(mtime time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.isWhole() {
		return fmt.Errorf("lend draft: %w", ErrInvalid)
	}
	if d.lent {
		return nil
	}
	d.base, d.baseLen = nil, 0
	if err := d.file.Truncate(d.size); err != nil {
		return err
	}
	if err := d.setMtime(mtime); err != nil {
		return err
	}
	d.lent, d.news = true, false
	return nil
}

// Unlend ends a loan; nothing writes the file past the draft any more.
func (d *Draft) Unlend() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.lent {
		return nil
	}
	err := d.observe()
	d.lent = false
	return err
}

// Lent says whether the kernel may write the file past the draft.
func (d *Draft) Lent() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.lent
}

// Observe takes over what the kernel did to a lent file: whether it changed since Observe
// told so last, or SetMtime gave it a time, and its modification time.
func (d *Draft) Observe() (changed bool, mtime time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.observe(); err != nil || !d.lent {
		return false, time.Time{}, err
	}
	changed, d.news = d.news, false
	return changed, time.Unix(d.seen.mtime.Unix()), nil
}

// observe looks at a lent file. What it finds is told by the next Observe.
func (d *Draft) observe() error {
	if !d.lent || d.file == nil {
		return nil
	}
	st, err := stateOf(d.file)
	if err != nil {
		return fmt.Errorf("look at a lent draft: %w", err)
	}
	if st.mtime == d.seen.mtime && st.size == d.seen.size {
		d.seen = st
		return nil
	}
	d.took(st)
	d.dirty, d.news = true, true
	d.syncGen++
	return nil
}

func (d *Draft) took(st fileState) {
	d.seen = st
	if d.size != st.size {
		d.size = st.size
		d.written = nil
		d.written.add(0, st.size)
	}
}

// SetMtime sets the modification time that a lent file has, so that only a later write
// counts as one. mapped says that a program may have the file mapped: what it changes
// between the look and the setting would go unnoticed, so that the draft counts as changed.
func (d *Draft) SetMtime(mtime time.Time, mapped bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.lent || d.file == nil {
		return nil
	}
	if err := d.observe(); err != nil {
		return err
	}
	if mapped {
		d.dirty = true
		d.syncGen++
	}
	d.news = false
	return d.setMtime(mtime)
}

func (d *Draft) setMtime(mtime time.Time) error {
	m, err := unix.TimeToTimespec(mtime)
	if err != nil {
		return err
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, m}
	if err := unix.UtimesNanoAt(int(d.file.Fd()), "", ts, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set the time of a draft: %w", err)
	}
	st, err := stateOf(d.file) // the host may round
	if err == nil {
		d.took(st)
	}
	return err
}

// current is the size at this moment.
func (d *Draft) current() int64 {
	if d.lent && d.file != nil {
		if st, err := stateOf(d.file); err == nil {
			return st.size
		}
	}
	return d.size
}

// Bytes gives the content of a draft of at most MemoryLimit bytes, wherever it lies.
func (d *Draft) Bytes() ([]byte, bool, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	size := d.current()
	if size > MemoryLimit {
		return nil, false, nil
	}
	b := make([]byte, size)
	if err := d.readLocked(b, 0); err != nil {
		return nil, false, err
	}
	return b, true, nil
}

// TryStat gives size and blocks unless somebody works on the draft at length.
func (d *Draft) TryStat() (size, blocks int64, ok bool) {
	if !d.mu.TryRLock() {
		return 0, 0, false
	}
	defer d.mu.RUnlock()
	return d.current(), d.blocks(), true
}

// Share lets an empty draft show a base up to upto; or one that shows the same base up to
// off, more of it. It says no where the draft holds anything else.
func (d *Draft) Share(base Base, off, upto int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.lent || len(d.written) > 0 || len(d.mem) > 0 || upto > base.Size():
		return false
	case off == 0 && d.size == 0:
		d.base, d.mem = base, nil
	case d.shares && d.base == base && d.baseLen == off && d.size == off:
	default:
		return false
	}
	d.baseLen, d.size, d.shares, d.dirty = upto, upto, true, true
	d.syncGen++
	return true
}

// IsShare says that the draft is its shared base, all of it and nothing else.
func (d *Draft) IsShare() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.shares && len(d.written) == 0 && d.base != nil && d.baseLen == d.base.Size() && d.size == d.baseLen
}

// Adopted makes the draft of a host file that has the staging name id: a file that the
// kernel has open, whose content becomes the draft's.
func Adopted(s *Store, f *os.File, id string) (*Draft, error) {
	st, err := stateOf(f)
	if err != nil {
		return nil, err
	}
	d := &Draft{store: s, file: f, id: id, size: st.size}
	d.written.add(0, st.size)
	return d, nil
}

// Shares says whether the host's files can share blocks (FICLONE): then a copy costs
// nothing. It is tried once.
func (s *Store) Shares() bool {
	s.shareOnce.Do(func() {
		if s.o.ReadOnly {
			return
		}
		a, ida, err := s.NewStaging()
		if err != nil {
			return
		}
		defer func() { a.Close(); _ = s.RemoveStaging(ida) }()
		b, idb, err := s.NewStaging()
		if err != nil {
			return
		}
		defer func() { b.Close(); _ = s.RemoveStaging(idb) }()
		if _, err := a.Write(make([]byte, 4096)); err != nil {
			return
		}
		s.shares = unix.IoctlFileClone(int(b.Fd()), int(a.Fd())) == nil
	})
	return s.shares
}

// CopyStaging copies a host file into a new staging file, holes left out, and syncs it.
func (s *Store) CopyStaging(ctx context.Context, from *os.File, size int64) (*os.File, string, error) {
	f, id, err := s.NewStaging()
	if err != nil {
		return nil, "", err
	}
	if unix.IoctlFileClone(int(f.Fd()), int(from.Fd())) != nil {
		err = copyHost(ctx, f, from, 0, size)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, "", errors.Join(err, f.Close(), s.RemoveStaging(id))
	}
	return f, id, nil
}

// copyStep is how much the host copies between two looks at the context.
const copyStep = 64 << 20

// copyHost copies [start,end) between two host files at the same place, holes left out;
// what is a hole there must be one here.
func copyHost(ctx context.Context, to, from *os.File, start, end int64) error {
	for pos := start; pos < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := unix.Seek(int(from.Fd()), pos, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= end {
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		hole = min(hole, end)
		for pos = data; pos < hole; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := copyStretch(to, from, pos, min(copyStep, hole-pos))
			if err != nil {
				return err
			}
			if n == 0 {
				return io.ErrUnexpectedEOF
			}
			pos += n
		}
	}
	return nil
}

func copyStretch(to, from *os.File, off, n int64) (int64, error) {
	in, out := off, off
	done, err := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, int(n), 0)
	switch {
	case err == nil:
		return int64(done), nil
	case !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL):
		return 0, err
	}
	buf := make([]byte, min(n, 1<<20))
	m, err := from.ReadAt(buf, off)
	if m == 0 {
		return 0, err
	}
	m, err = to.WriteAt(buf[:m], off)
	return int64(m), err
}
