package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// space keeps Badger away from a full disk, on which it dies by SIGBUS: its memtable
// logs and tables are sparse files written through a mapping. Three measures: commits
// are refused below a floor of free space; the next memtable log is made beforehand,
// empty and with its blocks allocated; and a file of spare blocks is let go when a
// quarter of the floor is left, so that flushes under way have room even if somebody else goes on
// filling the disk. The limit: if others leave less than a compaction under way needs
// (up to about as much as level zero holds), Badger dies all the same, and opens again when there is space.
type space struct {
	dir     string
	floor   int64 // bytes
	logSize int64

	looked  atomic.Int64 // when DiskLow looked, in ns
	lowThen atomic.Bool  // what it saw

	mu      sync.Mutex
	low     bool
	spare   bool     // the spare file holds its blocks
	ahead   *os.File // the log made beforehand
	aheadNo int
	noAhead bool // the host cannot allocate beyond the end
}

const spareName = "SPARE"

// spareShare is the part of the floor that the spare file holds.
const spareShare = 4

func (s *space) open(o Options, logSize int64) error {
	s.dir, s.floor, s.logSize = o.Dir, o.ReserveBytes, logSize
	if o.ReadOnly {
		s.noAhead = true
		return nil
	}
	if free, err := s.free(); err == nil && free > s.floor+s.floor/spareShare {
		s.fillSpare()
	}
	return nil
}

// free is the space on the host file system, in bytes.
func (s *space) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// fillSpare allocates the spare file; a host that cannot goes without.
func (s *space) fillSpare() {
	f, err := os.OpenFile(filepath.Join(s.dir, spareName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	s.spare = unix.Fallocate(int(f.Fd()), 0, 0, s.floor/spareShare) == nil
}

// room answers ErrNoSpace when n bytes more would come too near to a full disk.
func (s *space) room(n int64) error {
	free, err := s.free()
	if err != nil {
		return fmt.Errorf("look for free space: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if free < s.need(n) {
		s.low = true
		if s.spare && free < s.floor/spareShare {
			s.spare = false
			if err := os.Truncate(filepath.Join(s.dir, spareName), 0); err != nil {
				return errors.Join(ErrNoSpace, err)
			}
		}
		return ErrNoSpace
	}
	s.low = false
	if !s.spare && free > s.need(n)+s.floor/8 {
		s.fillSpare()
	}
	return nil
}

// need is how much must be free for n bytes more. Without the spare file its share
// must be free as well, so that letting it go does not invite commits to use it up.
func (s *space) need(n int64) int64 {
	need := s.floor + 2*n
	if !s.spare {
		need += s.floor / spareShare
	}
	if s.low {
		need += s.floor / 8 // no flapping
	}
	return need
}

// lookEvery is how old DiskLow's answer may be. It is asked at every write, and refuses
// early only; each commit looks for itself.
const lookEvery = 50 * time.Millisecond

// DiskLow says whether the free space under the database is below its reserve, and
// commits are refused.
func (d *DB) DiskLow() bool {
	s, now := &d.space, time.Now().UnixNano()
	if at := s.looked.Load(); at != 0 && now-at < int64(lookEvery) && now >= at {
		return s.lowThen.Load()
	}
	free, err := s.free()
	if err != nil {
		return false
	}
	s.mu.Lock()
	low := free < s.need(0)
	s.mu.Unlock()
	s.lowThen.Store(low)
	s.looked.Store(now)
	return low
}

// prepareLog makes the next memtable log when the one made before has been taken into
// use. Badger opens a log by creating it, and takes a file of length zero for a new one.
func (s *space) prepareLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noAhead {
		return
	}
	if s.ahead != nil {
		var st unix.Stat_t
		if err := unix.Fstat(int(s.ahead.Fd()), &st); err == nil && st.Size == 0 {
			return
		}
		s.ahead.Close()
		s.ahead = nil
	}
	names, err := filepath.Glob(filepath.Join(s.dir, "*.mem"))
	if err != nil || len(names) == 0 {
		return
	}
	sort.Strings(names)
	top, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(names[len(names)-1]), ".mem"))
	if err != nil || top >= 99998 { // beyond five digits names no longer sort
		s.noAhead = true
		return
	}
	name := filepath.Join(s.dir, fmt.Sprintf("%05d.mem", top+1))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, s.logSize); err != nil {
		f.Close()
		os.Remove(name)
		s.noAhead = !errors.Is(err, unix.ENOSPC)
		return
	}
	s.ahead, s.aheadNo = f, top+1
}

// waiting says whether the log made beforehand is there and not in use yet: then no other
// log has come since it was made.
func (s *space) waiting() (no int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead == nil {
		return 0, false
	}
	var st unix.Stat_t
	return s.aheadNo, unix.Fstat(int(s.ahead.Fd()), &st) == nil && st.Size == 0
}

// close lets go of the log made beforehand, which Badger has not taken, and the spare.
func (s *space) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead == nil {
		return
	}
	if st, err := s.ahead.Stat(); err == nil && st.Size() == 0 {
		os.Remove(s.ahead.Name())
	}
	s.ahead.Close()
	s.ahead = nil
}

// lockedElsewhere says whether another process has Badger's lock on dir.
func lockedElsewhere(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true, nil
		}
		return false, err
	}
	return false, nil
}
