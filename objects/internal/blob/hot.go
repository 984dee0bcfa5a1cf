package blob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// HotFile is one hot file of a listing.
type HotFile struct {
	Hash Hash
	Size int64     // bytes
	Used time.Time // when it was last opened or adopted
}

// HotLRU lists the hot files, the least recently used first. It reads the directory:
// for the evicting pass, not for every open.
func (s *Store) HotLRU() ([]HotFile, error) {
	var list []HotFile
	err := filepath.WalkDir(s.hotDir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		h, err := ParseHash(e.Name())
		if err != nil {
			return nil // not one of ours
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		list = append(list, HotFile{h, st.Size(), st.ModTime()})
		return nil
	})
	sort.Slice(list, func(i, j int) bool { return list[i].Used.Before(list[j].Used) })
	return list, err
}

// HotBytes is the space that hot files take, in bytes.
func (s *Store) HotBytes() (int64, error) {
	list, err := s.HotLRU()
	var n int64
	for _, f := range list {
		n += f.Size
	}
	return n, err
}

// touch notes the use of a hot file in its modification time, at most once an hour:
// the content never changes, so the time is free for it, and it outlives a restart.
func touch(f *os.File) {
	st, err := f.Stat()
	if err != nil || time.Since(st.ModTime()) < time.Hour {
		return
	}
	// The time of reading is not ours: it shows what the kernel reads in a lent file.
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}
	_ = unix.UtimesNanoAt(int(f.Fd()), "", ts, unix.AT_EMPTY_PATH) // only the order of eviction depends on it
}
