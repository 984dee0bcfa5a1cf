package objects

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// Lending is how an open file's bytes are reached without the store: the kernel gets
// the host file that holds all of them and reads and writes it itself (passthrough,
// design §3). The kernel wants one host file an inode until the last such handle is
// closed, whoever comes meanwhile. So a host file that readers have becomes the draft's
// when a writer comes, and it is the version below that moves to another file.

// LendLimit is how many bytes a file may have that are copied when somebody opens it
// for reading and writing, so that the kernel can do both: 256 MiB take 0.1 to 0.2 s
// from the page cache. Larger files, and those that are only written to (appending to a
// log, touch), go through the store, which keeps what was written beside the version
// and copies nothing at the open. Hosts that share blocks know no limit.
const LendLimit = 256 << 20

// Loan is a host file that stands for an open file. Direct says that this handle must
// read and write through the store all the same: the file has moved on to bytes that the
// host file does not hold. Read says that the opening counts as a reading, and has moved
// the file's time: the host does not show readings (noatime).
type Loan struct {
	File   *os.File
	Direct bool
	Read   bool
}

// pin is the host file that the kernel has of an inode. It is guarded as the draft is.
type pin struct {
	file    *os.File
	host    uint64 // its inode number below
	loans   int
	mapped  bool   // a loan may write through mmap
	seen    bool   // a loan may read through mmap
	version ID     // whose bytes the file holds, while it is no draft's
	name    string // its name in staging/ when no version and no draft needs it
	// A watched file shows by another time of reading than atime that the kernel has read
	// it, no earlier than since (atime.go).
	watched bool
	atime   unix.Timespec
	since   time.Time
	rule    AtimeRule
}

// lends is the store's knowledge of host files that are in the kernel's hands, and of
// the contents that are open on one.
type lends struct {
	mu     sync.Mutex
	pinned map[uint64]*pin
	files  map[uint64]map[*fileContent]bool
	// breaking excludes the sealer from giving names to a file that is taken from its version.
	breaking sync.Mutex
}

func (l *lends) init() {
	l.pinned, l.files = map[uint64]*pin{}, map[uint64]map[*fileContent]bool{}
}

func hostInode(f *os.File) (ino uint64, links uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, 0, fmt.Errorf("look at a host file: %w", err)
	}
	return st.Ino, uint64(st.Nlink), nil
}

// Lend gives the host file that the kernel may use for this handle; ok is false where
// the bytes must come through the store. With fresh, an empty file gets a host file at
// once. Close returns the loan.
func (h *Handle) Lend(ctx context.Context, fresh bool) (l Loan, ok bool, err error) {
	n, s := h.n, h.s
	n.io.Lock()
	defer n.io.Unlock()
	if h.lent {
		return Loan{}, false, ErrInvalid
	}
	if n.pin == nil && h.write && s.limited(n) {
		return Loan{}, false, nil // what the kernel writes by itself, no quota stops
	}
	if n.pin == nil {
		if ok, err := s.lendFirst(ctx, h, fresh); !ok || err != nil {
			return Loan{}, false, err
		}
	} else if h.write && n.draft == nil {
		if _, err := s.draftOf(n); err != nil {
			return Loan{}, false, err
		}
	}
	p := n.pin
	s.mu.Lock()
	direct := n.draft == nil && p.version != n.inode.version || n.draft != nil && !n.draft.Lent()
	s.mu.Unlock()
	if direct && h.write && h.read {
		// It could map the host file and write into a version that is past.
		return Loan{}, false, fmt.Errorf("its readers have an earlier version: %w", ErrBusy)
	}
	s.mu.Lock()
	p.loans++
	p.mapped = p.mapped || h.write && h.read
	p.seen = p.seen || h.read
	read := false
	if h.read && h.rule != NoAtime {
		if hostCounts(p.file) {
			s.observe(n)
			s.watch(n, h.rule)
		} else {
			read = s.accessed(n, h.rule)
		}
	}
	s.mu.Unlock()
	h.lent = true
	return Loan{File: p.file, Direct: direct, Read: read}, true, nil
}

// lendFirst picks the host file when nobody has one yet; n.io is held for writing.
func (s *Store) lendFirst(ctx context.Context, h *Handle, fresh bool) (bool, error) {
	n := h.n
	s.mu.Lock()
	writers := n.writers
	small := n.draft == nil && n.size <= blob.MemoryLimit && n.sound == n.inode.version
	s.mu.Unlock()
	switch {
	case h.write && (h.read || fresh || n.draft != nil || s.blobs.Shares()):
		return s.lendDraft(ctx, n, fresh)
	case n.draft != nil:
		if n.draft.Size() <= blob.MemoryLimit {
			return false, nil
		}
		if whole, err := n.draft.Whole(ctx, 0); !whole || err != nil {
			return false, err
		}
		return true, s.pinDraft(n)
	case writers > 0:
		return false, nil // its first write makes a draft elsewhere
	case small:
		return false, nil // nothing is lent of it, and it is not in quarantine
	}
	for {
		c, err := s.current(n)
		if err != nil {
			return false, err
		}
		f, hosted := c.(*fileContent)
		if !hosted || f.size <= blob.MemoryLimit || f.size > LendLimit && !s.blobs.Shares() {
			return false, nil
		}
		if ok, err := s.pinContent(n, f); !ok || err != nil {
			return false, err
		}
		if own, err := s.ownFile(n); own || err != nil {
			return own, err
		}
	}
}

// evict removes the hot file of a hash, unless the kernel has it: a version in use has the
// same bytes then, and a writer may want the file by its name. It goes with the next
// collection, or when that version is packed.
func (l *lends) evict(blobs *blob.Store, h blob.Hash) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	st, err := os.Stat(blobs.HotPath(h))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return err
	}
	if l.pinned[st.Sys().(*syscall.Stat_t).Ino] != nil {
		return nil
	}
	return blobs.EvictHot(h)
}

// ownFile tells whether the host file that was pinned is the one that the version is found
// by. Another may have turned out to have the same bytes since the content was opened: its
// file is both's then, and the pinned one is nobody's and has no name that a writer could
// use. It is let go, and so is the content. n.io is held for writing.
func (s *Store) ownFile(n *node) (bool, error) {
	p := n.pin
	s.mu.Lock()
	v, err := s.versionOf(n, p.version)
	kept := p.name != ""
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	path := s.blobs.StagingPath(v.staging)
	if v.staging == "" {
		path = s.blobs.HotPath(v.hash)
	}
	if own, err := sameFile(p.file, path); own || kept {
		return true, nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	} else if err != nil && v.staging == "" && !v.hot {
		return true, nil // packed meanwhile: nothing else has its bytes as a file
	}
	s.lends.mu.Lock()
	delete(s.lends.pinned, p.host)
	s.lends.mu.Unlock()
	s.mu.Lock()
	n.pin = nil
	old := n.content
	n.content, n.contentOf = nil, ID{}
	s.mu.Unlock()
	return false, errors.Join(p.file.Close(), old.Close())
}

// lendDraft makes the file's draft one whole host file and lends that.
func (s *Store) lendDraft(ctx context.Context, n *node, fresh bool) (bool, error) {
	d := n.draft
	if d == nil {
		c, err := s.current(n)
		if err != nil {
			return false, err
		}
		if c.Size() <= blob.MemoryLimit && !(fresh && c.Size() == 0) {
			return false, nil
		}
		if d, err = blob.NewDraft(s.blobs, c); err != nil {
			return false, err
		}
	}
	whole, err := d.Whole(ctx, LendLimit)
	if err == nil && !whole && fresh && d.Size() == 0 {
		err, whole = d.Stage(), true
	}
	if err != nil || !whole {
		if n.draft == nil {
			err = errors.Join(err, d.Drop())
		}
		return false, err
	}
	if n.draft == nil {
		s.mu.Lock()
		s.startDraft(n, d)
		s.mu.Unlock()
	}
	return true, s.pinDraft(n)
}

func (s *Store) pinDraft(n *node) error {
	s.mu.Lock()
	mtime := n.mtime
	s.mu.Unlock()
	if err := n.draft.Lend(mtime); err != nil {
		return err
	}
	f, ok := n.draft.File()
	if !ok {
		return ErrInvalid
	}
	_, err := s.pinFile(n, f, nil)
	return err
}

func (s *Store) pinContent(n *node, c *fileContent) (bool, error) {
	f, done := c.Host()
	defer done()
	return s.pinFile(n, f, c)
}

// pinFile notes a host file as the one that the kernel has of an inode, unless it has it
// of another one: two that share content must not see each other's writes. c is the
// content that the file is, nil for a draft.
func (s *Store) pinFile(n *node, f *os.File, c *fileContent) (bool, error) {
	ino, _, err := hostInode(f)
	if err != nil {
		return false, err
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("lend a host file: %w", err)
	}
	p := &pin{file: os.NewFile(uintptr(fd), f.Name()), host: ino}
	if c != nil {
		p.version = n.contentOf
	}
	s.lends.mu.Lock()
	taken := s.lends.pinned[ino] != nil || c != nil && c.host != ino
	if !taken {
		s.lends.pinned[ino] = p
	}
	s.lends.mu.Unlock()
	if taken {
		return false, p.file.Close()
	}
	s.mu.Lock()
	n.pin = p
	s.mu.Unlock()
	return true, nil
}

// giveBack ends a handle's loan; n.io is held for writing.
func (s *Store) giveBack(h *Handle) error {
	n := h.n
	if !h.lent || n.pin == nil {
		return nil
	}
	h.lent = false
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe(n)
	p := n.pin
	if p.loans--; p.loans > 0 {
		return nil
	}
	s.lends.mu.Lock()
	delete(s.lends.pinned, p.host)
	s.lends.mu.Unlock()
	if p.name != "" {
		s.open.gone = append(s.open.gone, p.name)
	}
	n.pin = nil
	var err error
	if n.draft != nil {
		err = n.draft.Unlend()
	}
	return errors.Join(err, p.file.Close())
}

// observe takes over what the kernel did to a lent file: that it was read, and of a draft
// size, times, and that there is something to keep. s.mu is held.
func (s *Store) observe(n *node) {
	if n.pin == nil {
		return
	}
	s.observeWrites(n)
	s.observeReads(n)
}

func (s *Store) observeWrites(n *node) {
	if n.draft == nil {
		return
	}
	changed, mtime, err := n.draft.Observe()
	if err != nil {
		s.o.Logger.Warn("an open file cannot be looked at", "inode", n.ino, "error", err)
		return
	}
	if !changed || s.writable() != nil {
		return
	}
	s.touch(n)
	n.writes++
	if !mtime.After(n.ctime) {
		mtime = n.ctime.Add(1) // the host's clock goes in ticks, ours does not; a write follows what was there
	}
	n.mtime, n.ctime = mtime, mtime
	if size, blocks, ok := n.draft.TryStat(); ok {
		n.size, n.blocks = size, blocks
	}
	// The kernel leaves to us what a write does to set-id bits (HANDLE_KILLPRIV_V2).
	if n.mode&(unix.S_ISUID|unix.S_ISGID) != 0 && n.author().UID != 0 {
		n.mode &^= unix.S_ISUID
		if n.mode&unix.S_IXGRP != 0 {
			n.mode &^= unix.S_ISGID
		}
	}
}

func (l *lends) add(c *fileContent) {
	m := l.files[c.host]
	if m == nil {
		m = map[*fileContent]bool{}
		l.files[c.host] = m
	}
	m[c] = true
}

// setMtime writes a time that a program sets through to a lent file: what the kernel
// wrote before must not count as later, whenever the handle is closed. s.mu is held.
func (s *Store) setMtime(n *node, t time.Time) error {
	if n.pin == nil || n.draft == nil {
		return nil
	}
	return n.draft.SetMtime(t, n.pin.mapped)
}

// keeps leaves a file that the kernel has its last name, which its version does not need
// any more: a writer may want it. s.mu is held.
func (l *lends) keeps(f *os.File, name string) bool {
	ino, _, err := hostInode(f)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pinned[ino]
	if p == nil {
		return false
	}
	p.name = name
	return true
}

func sameFile(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return os.SameFile(a, b), nil
}

// Probe makes a host file as drafts have it, to find out whether the kernel takes it.
func (s *Store) Probe() (f *os.File, done func(), err error) {
	f, id, err := s.blobs.NewStaging()
	if err != nil {
		return nil, nil, err
	}
	return f, func() {
		if err := errors.Join(f.Close(), s.blobs.RemoveStaging(id)); err != nil {
			s.o.Logger.Warn("a staging file stays behind", "error", err)
		}
	}, nil
}
