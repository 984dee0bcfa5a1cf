package blob

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// everywhere is a size that files can have on every file system that a store may lie on.
const everywhere = 1<<31 - 1

// ErrTooLarge says that a file would end where no file of the host's file system can.
// A draft in memory would not notice before it has to become one.
var ErrTooLarge = fmt.Errorf("larger than a file can be on the disk below: %w", unix.EFBIG)

// Holds tells whether a file may have this size: ErrTooLarge if not.
func (s *Store) Holds(size int64) error {
	if size > everywhere && size > s.MaxFile() {
		return ErrTooLarge
	}
	return nil
}

// Cut shortens what shall be written at off to what a file can hold.
func (s *Store) Cut(p []byte, off int64) ([]byte, error) {
	if len(p) == 0 || off <= everywhere-int64(len(p)) {
		return p, nil
	}
	room := s.MaxFile() - off
	if room <= 0 {
		return nil, ErrTooLarge
	}
	return p[:min(int64(len(p)), room)], nil
}

// MaxFile is the largest size of a file of the host's file system: 16 TiB less a block
// on ext4. It is found out once, by the offsets to which a file there can be set.
func (s *Store) MaxFile() int64 {
	s.limitOnce.Do(func() {
		s.limit = maxOffset
		if s.o.ReadOnly {
			return
		}
		f, id, err := s.NewStaging()
		if err != nil {
			return // the disk itself refuses what it cannot hold
		}
		defer func() { f.Close(); _ = s.RemoveStaging(id) }()
		limit := int64(0)
		for bit := int64(1) << 62; bit > 0; bit >>= 1 {
			if _, err := f.Seek(limit|bit, io.SeekStart); err == nil {
				limit |= bit
			}
		}
		if limit > everywhere {
			s.limit = limit
		}
	})
	return s.limit
}
