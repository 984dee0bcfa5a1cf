package objects

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// Handle is an open file. All handles of an inode see each other's writes; the bytes
// of a file that was unlinked or replaced stay readable through its handles.
type Handle struct {
	s      *Store
	n      *node
	read   bool
	write  bool
	fence  uint32      // what n.fenced was when it was opened
	rule   AtimeRule   // when reading through it counts
	lent   bool        // the kernel has the host file for this handle; guarded by n.io
	begun  atomic.Bool // its close has begun
	closed atomic.Bool
}

// Create makes a regular file and opens it. With exclusive, a name that exists is
// ErrExist; otherwise it is opened, and truncated if truncate is set.
func (s *Store) Create(c Cred, parent Ino, name string, mode uint32, exclusive bool) (Attr, *Handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.placeNew(parent, name)
	if err != nil {
		return Attr{}, nil, err
	}
	n := s.newNode(c, p, name, unix.S_IFREG|mode&0o7777, 0)
	s.bind(p, n, name)
	n.refs++
	n.writers++
	n.lastCred = s.credOf(c)
	return s.attrOf(n), &Handle{s: s, n: n, read: true, write: true}, nil
}

// Tmpfile makes a file without a name in a directory (O_TMPFILE); Link may name it.
func (s *Store) Tmpfile(c Cred, parent Ino, mode uint32) (Attr, *Handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return Attr{}, nil, err
	}
	p, err := s.dir(parent)
	if err != nil {
		return Attr{}, nil, err
	}
	n := s.newNode(c, p, "", unix.S_IFREG|mode&0o7777, 0)
	n.nlink = 0
	s.orphaned(n)
	n.refs++
	n.writers++
	n.lastCred = s.credOf(c)
	return s.attrOf(n), &Handle{s: s, n: n, read: true, write: true}, nil
}

// OpenFile opens a regular file; flags are those of open(2), of which only the
// access mode and O_TRUNC matter here.
func (s *Store) OpenFile(c Cred, ino Ino, flags int) (*Handle, error) {
	write := flags&unix.O_ACCMODE != unix.O_RDONLY
	s.mu.Lock()
	n, err := s.node(ino)
	switch {
	case err != nil:
	case isDir(n.mode):
		err = ErrIsDir
	case !isRegular(n.mode):
		err = ErrInvalid
	case write || flags&unix.O_TRUNC != 0:
		err = s.writable()
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	n.refs++
	if write {
		for n.closing > 0 { // what was closed before this open is a version of its own
			s.quiet.Wait()
		}
		n.writers++
		n.lastCred = s.credOf(c)
	}
	h := &Handle{s: s, n: n, read: flags&unix.O_ACCMODE != unix.O_WRONLY, write: write, fence: n.fenced}
	s.mu.Unlock()
	if flags&unix.O_TRUNC != 0 {
		if err := s.truncate(c, ino, 0); err != nil {
			return nil, errors.Join(err, h.Close(context.Background()))
		}
	}
	return h, nil
}

// Ino is the inode that the handle is open on.
func (h *Handle) Ino() Ino { return h.n.ino }

// Attr gives the file's attributes, also of one that has lost its name.
func (h *Handle) Attr() Attr {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.s.attrOf(h.n)
}

// ReadAt reads as io.ReaderAt does.
func (h *Handle) ReadAt(p []byte, off int64) (int, error) {
	n, s := h.n, h.s
	for {
		n.io.RLock()
		if n.draft != nil {
			m, err := n.draft.ReadAt(p, off)
			n.io.RUnlock()
			return m, err
		}
		s.mu.Lock()
		c, fresh, shut := n.content, n.contentOf == n.inode.version, h.fence != n.fenced
		s.mu.Unlock()
		if shut {
			n.io.RUnlock()
			return 0, fmt.Errorf("what this reader began to read is %w", ErrQuarantined)
		}
		if c != nil && fresh {
			m, err := c.ReadAt(p, off)
			n.io.RUnlock()
			return m, err
		}
		n.io.RUnlock()
		n.io.Lock()
		var err error
		if n.draft == nil {
			_, err = s.current(n)
		}
		n.io.Unlock()
		if err != nil {
			return 0, err
		}
	}
}

// Version is the version that a read sees now, zero while a draft is open. fs keeps
// cached pages as long as it stays the same.
func (h *Handle) Version() ID {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.n.draft != nil {
		return ID{}
	}
	return h.n.inode.version
}

// draftOf gives the file's draft, starting one if there is none; n.io is held for
// writing.
func (s *Store) draftOf(n *node) (*blob.Draft, error) {
	if n.draft != nil {
		return n.draft, nil
	}
	if n.pin != nil {
		d, err := s.breakOff(n)
		if err != nil {
			return nil, err
		}
		if d != nil {
			s.mu.Lock()
			s.startDraft(n, d)
			s.mu.Unlock()
			return d, nil
		}
	}
	c, err := s.current(n)
	if err != nil {
		return nil, err
	}
	d, err := blob.NewDraft(s.blobs, c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.startDraft(n, d)
	s.mu.Unlock()
	return d, nil
}

// startDraft makes d the file's draft; s.mu and n.io are held.
func (s *Store) startDraft(n *node, d *blob.Draft) {
	n.draft, n.draftBase, n.writes, n.draftSaved = d, n.inode.version, 0, 0
	if d := n.inode.large(); n.inode.big != nil {
		d.synced = syncedDraft{}
		n.inode.big = &d
	}
	s.drafts[n] = true
}

// change runs fn on the file's draft and notes the change; end is where the file may end
// then, atEnd+n for n bytes more than it has.
func (s *Store) change(c Cred, n *node, end int64, fn func(*blob.Draft) error) error {
	s.mu.Lock()
	err := s.writable()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if s.db.DiskLow() {
		return ErrNoSpace
	}
	n.io.Lock()
	defer n.io.Unlock()
	d, err := s.draftOf(n)
	if err != nil {
		return err
	}
	if end < 0 {
		end = d.Size() + end - atEnd
	}
	if err := s.blobs.Holds(end); err != nil {
		return err
	}
	if err := s.grow(n, end); err != nil {
		return err
	}
	if n.pin != nil { // what the kernel wrote before is the last writer's, not this one's
		s.mu.Lock()
		s.observe(n)
		s.mu.Unlock()
	}
	err = fn(d)
	s.mu.Lock()
	n.writes++
	s.touch(n)
	n.lastCred = s.credOf(c)
	now := s.o.Now()
	n.mtime, n.ctime = now, now
	n.dropCapability()
	if n.pin != nil { // the host's clock is behind ours by a tick
		s.observe(n)
		if e := s.setMtime(n, now); e != nil && err == nil {
			err = e
		}
		n.mtime, n.ctime = now, now
	}
	n.size, n.blocks = d.Size(), d.Blocks()
	s.count(n)
	s.mu.Unlock()
	if errors.Is(err, unix.ENOSPC) {
		return ErrNoSpace
	}
	return err
}

// atEnd counts from the end of a file instead of its beginning.
const atEnd = math.MinInt64

// WriteAt writes all of p at off; across the largest size that a file can have, what
// lies before it.
func (h *Handle) WriteAt(c Cred, p []byte, off int64) (int, error) {
	if !h.write {
		return 0, ErrPermission
	}
	p, err := h.s.blobs.Cut(p, off)
	if err != nil {
		return 0, err
	}
	done := 0
	err = h.s.change(c, h.n, off+int64(len(p)), func(d *blob.Draft) (err error) {
		done, err = d.WriteAt(p, off)
		return err
	})
	return done, err
}

// Append writes p at the end of the file, atomically among appenders.
func (h *Handle) Append(c Cred, p []byte) (int, error) {
	if !h.write {
		return 0, ErrPermission
	}
	err := h.s.change(c, h.n, atEnd+int64(len(p)), func(d *blob.Draft) error {
		_, err := d.Append(p)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// truncate sets a file's size, open or not. A file that nobody has open for writing
// gets a version at once.
func (s *Store) truncate(c Cred, ino Ino, size int64) error {
	if size < 0 {
		return ErrInvalid
	}
	s.mu.Lock()
	n, err := s.node(ino)
	switch {
	case err != nil:
	case isDir(n.mode):
		err = ErrIsDir
	case !isRegular(n.mode):
		err = ErrInvalid
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	n.refs++
	n.writers++
	s.mu.Unlock()
	h := &Handle{s: s, n: n, write: true}
	err = s.change(c, n, size, func(d *blob.Draft) error { return d.Truncate(size) })
	return errors.Join(err, h.Close(context.Background()))
}

// Allocate is fallocate(2) with the modes a local file system knows best; the ones
// that shift content are ErrNotSupported there, too, on many.
func (h *Handle) Allocate(c Cred, mode uint32, off, length int64) error {
	if !h.write {
		return ErrPermission
	}
	if off < 0 || length <= 0 || off+length < 0 {
		return ErrInvalid
	}
	keep := mode&unix.FALLOC_FL_KEEP_SIZE != 0
	end := off + length
	if err := h.s.blobs.Holds(end); err != nil {
		return err
	}
	if keep {
		end = 0
	}
	if mode&unix.FALLOC_FL_PUNCH_HOLE == 0 {
		if err := h.s.roomFor(length - h.Attr().Blocks*512); err != nil {
			return err
		}
	}
	return h.s.change(c, h.n, end, func(d *blob.Draft) error {
		switch mode &^ unix.FALLOC_FL_KEEP_SIZE {
		case 0:
			return d.Reserve(off, length, keep)
		case unix.FALLOC_FL_PUNCH_HOLE:
			if !keep {
				return ErrNotSupported
			}
			return d.Zero(off, length)
		case unix.FALLOC_FL_ZERO_RANGE:
			if err := d.Zero(off, length); err != nil {
				return err
			}
			return d.Reserve(off, length, keep)
		}
		return ErrNotSupported
	})
}

// roomFor refuses what the disk could never hold: programs reserve to find out whether a
// file will fit, although the room is not taken from the disk then (blob.Draft.Reserve).
func (s *Store) roomFor(bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	st, err := s.StatFS()
	if err != nil {
		return err
	}
	if uint64(bytes)/uint64(st.BlockSize) > st.Available {
		return ErrNoSpace
	}
	return nil
}

// ErrNotSupported is an operation that this file system does not have.
var ErrNotSupported = errors.New("not supported")

// Sync makes the file's bytes and everything that happened before it durable.
func (h *Handle) Sync(ctx context.Context) error { return h.s.SyncIno(ctx, h.n.ino) }

// SyncIno is fsync of an inode, open or not.
func (s *Store) SyncIno(ctx context.Context, ino Ino) error {
	if s.o.ReadOnly {
		return nil
	}
	s.mu.Lock()
	n, err := s.node(ino)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	n.refs++
	dir := isDir(n.mode)
	s.mu.Unlock()
	defer s.unref(n)
	if err := s.syncDraft(ctx, n, true); err != nil {
		return err
	}
	if dir {
		s.settleCloses()
	}
	return errors.Join(s.commit(ctx), s.syncAccess(n))
}

// syncDraft makes an open draft's bytes durable, and a version of it when the last
// one is older than the version interval, or there is none yet and the file itself was
// asked for.
func (s *Store) syncDraft(ctx context.Context, n *node, asked bool) error {
	n.io.Lock()
	defer n.io.Unlock()
	if n.draft == nil {
		return nil
	}
	b, small, err := n.draft.Bytes()
	if err != nil {
		return err
	}
	if small {
		// The first sync of a small new file is most often its last: the bytes that the epoch
		// must have are put where a version has them, and not once more at the close.
		s.mu.Lock()
		first := asked && n.pin == nil && n.inode.version.IsZero() && len(b) <= inlineLimit
		s.mu.Unlock()
		if !first && (n.versioned == 0 || s.o.Now().UnixNano()-n.versioned < int64(s.o.VersionInterval)) {
			return nil // its bytes go into the epoch
		}
		return s.publishBytes(ctx, n, b, true)
	}
	o, err := n.draft.Overlay()
	if err != nil {
		return err
	}
	if err := n.draft.SyncOverlay(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe(n)
	if n.nlink > 0 {
		s.touch(n)
		d := n.inode.large()
		d.synced = syncedDraft{o.Staging, o.Size, overlaid{n.draftBase, o.BaseLen, o.Written}}
		n.inode.big = &d
		s.saveDraft(n)
		n.blocks = n.draft.Blocks()
	}
	return nil
}
