package objects

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The time of reading moves as on Linux' own file systems with the mount option lazytime:
// in memory at once, and on disk with the inode's next record, or in a table beside the
// records (readTable). A reading alone is no change: it makes no version, no evidence, no
// epoch, nothing that subscribers hear of and nothing in the history, and ctime stays. A
// daemon that is killed may lose the readings of the last second, a power cut those since
// the last sync; a time that a program sets (utimensat) is as durable as all else.

// AtimeRule says when reading moves the time of reading, as the mount options of these
// names do.
type AtimeRule uint8

// Relatime is the kernel's default: the time moves where it does not lie after the last
// change, or is a day old. So a file costs something at the first reading, and nothing
// afterwards.
const (
	Relatime AtimeRule = iota
	NoAtime
	StrictAtime
)

// relatimeAge is from which age on a time moves although the file did not change (the
// kernel's relatime_need_update).
const relatimeAge = 24 * time.Hour

// due tells whether a reading now moves the inode's time.
func (n *inode) due(rule AtimeRule, now time.Time) bool {
	switch rule {
	case NoAtime:
		return false
	case StrictAtime:
		return true
	}
	return !n.atime.After(n.mtime) || !n.atime.After(n.ctime) || now.Sub(n.atime) >= relatimeAge
}

// Accessed notes that an inode is read now, and tells whether its time moved by that.
func (s *Store) Accessed(ino Ino, rule AtimeRule) bool {
	if rule == NoAtime {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	return err == nil && s.accessed(n, rule)
}

// AccessDue tells whether reading an inode now would move its time.
func (s *Store) AccessDue(ino Ino, rule AtimeRule) bool {
	if rule == NoAtime {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	return err == nil && s.writable() == nil && n.due(rule, s.o.Now())
}

// Counts says by which rule readings through this handle count; relatime, if nothing is
// said. It is called before the handle is lent.
func (h *Handle) Counts(rule AtimeRule) { h.rule = rule }

// Accessed is Store.Accessed for an open file, by the handle's rule.
func (h *Handle) Accessed() bool {
	if h.rule == NoAtime {
		return false
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.s.accessed(h.n, h.rule)
}

// Unread tells whether a file has bytes, and reading them through this handle would move its
// time.
func (h *Handle) Unread() bool {
	if h.rule == NoAtime || !h.read {
		return false
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	a := h.s.attrOf(h.n)
	return a.Size > 0 && h.s.writable() == nil && h.n.due(h.rule, h.s.o.Now())
}

// accessed is described at Accessed; s.mu is held.
func (s *Store) accessed(n *node, rule AtimeRule) bool {
	if s.writable() != nil {
		return false
	}
	s.observe(n)
	now := s.o.Now()
	if !n.due(rule, now) {
		return false
	}
	s.setAccessed(n, now)
	return true
}

func (s *Store) setAccessed(n *node, at time.Time) {
	n.atime = at
	if n.dirty == nil && n.nlink > 0 { // otherwise the record that will be written has it
		n.lazy = true
		s.reads.set(n.ino, n.ctime, at)
	}
}

// hostAtime is what a lent host file's own time of reading is set to, so that the host
// moves it at the next reading: before any change.
var hostAtime = unix.Timespec{}

// watch makes a lent file show that it is read: the kernel does that without the daemon,
// and moves the host file's time by the host's rules. It is called when a handle that
// counts is lent, and when a time changes by more than a write. s.mu is held.
func (s *Store) watch(n *node, rule AtimeRule) {
	p, now := n.pin, s.o.Now()
	if s.writable() != nil {
		return
	}
	fd := int(p.file.Fd())
	if n.due(rule, now) {
		ts := []unix.Timespec{hostAtime, {Nsec: unix.UTIME_OMIT}}
		if err := unix.UtimesNanoAt(fd, "", ts, unix.AT_EMPTY_PATH); err != nil {
			s.o.Logger.Debug("readings of a lent file do not show", "inode", n.ino, "error", err)
			return
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return
	}
	p.watched, p.since, p.rule, p.atime = true, now, rule, st.Atim
}

// observeReads takes over that the kernel has read a lent file. s.mu is held.
func (s *Store) observeReads(n *node) {
	p := n.pin
	if !p.watched {
		return
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(p.file.Fd()), &st); err != nil || st.Atim == p.atime {
		return
	}
	p.atime = st.Atim
	at := time.Unix(st.Atim.Unix())
	if at.Before(p.since) { // the host's clock goes in ticks, ours does not
		at = p.since
	}
	if s.writable() != nil || !n.due(p.rule, at) {
		return
	}
	s.setAccessed(n, at)
	if p.rule == StrictAtime { // the host would wait for a change
		s.watch(n, p.rule)
	}
}

// hostCounts tells whether the host moves times of reading at all.
func hostCounts(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Flags&stNoAtime == 0
}

// stNoAtime is ST_NOATIME of statfs(2).
const stNoAtime = 0x400

// syncAccess makes an inode's time of reading durable where no record has it.
func (s *Store) syncAccess(n *node) error {
	s.mu.Lock()
	lazy := n.lazy
	n.lazy = false
	s.mu.Unlock()
	if !lazy {
		return nil
	}
	return s.syncAccesses()
}

// syncAccesses makes all times of reading durable.
func (s *Store) syncAccesses() error {
	s.mu.Lock()
	f := s.reads.written()
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the times of reading: %w", err)
	}
	return nil
}
