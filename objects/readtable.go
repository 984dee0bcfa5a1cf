package objects

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// readTable keeps the times of reading that no inode's record has: a sparse file beside
// the records, with an entry at each inode's number. The records have a history of 90
// days; a backup that reads a million files every day must not fill it.
//
// An entry is good for the inode as it was after its last change, which its ctime names:
// with the next change the record has the time of reading, and the entry counts no more.
// So an entry needs no removal, and may be lost, or be newer than the records after a
// power cut: a time that belongs to another state is not taken.
//
// A few blocks of the table are kept in memory. Inodes that are made one after another are
// read one after another, too: a walk reads one block for 256 of them.
type readTable struct {
	path     string
	readOnly bool
	log      *slog.Logger
	f        *os.File
	size     int64 // of the file
	blocks   [32]*readBlock
	behind   bool // something was written since the last sync
}

const (
	readBlockSize = 4096
	readEntrySize = 16 // ctime and atime, in ns since 1970, little endian; 0 for none
)

// readBlock is a block of the table; one that is dirty is not in the file yet.
type readBlock struct {
	index int64
	dirty bool
	b     [readBlockSize]byte
}

func (r *readTable) init(dir string, readOnly bool, log *slog.Logger) {
	r.path, r.readOnly, r.log = filepath.Join(dir, "atimes"), readOnly, log
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(r.path, flags, 0)
	if err == nil {
		var st os.FileInfo
		if st, err = f.Stat(); err == nil {
			r.f, r.size = f, st.Size()
			return
		}
		f.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		log.Warn("the times of reading are not known", "error", err)
	}
}

// place gives the entry of an inode; nil where there is none and make is not set.
func (r *readTable) place(ino Ino, make bool) (*readBlock, []byte) {
	at := int64(ino) * readEntrySize
	i := at / readBlockSize
	slot := &r.blocks[i%int64(len(r.blocks))]
	if *slot == nil || (*slot).index != i {
		if !make && i*readBlockSize >= r.size {
			return nil, nil
		}
		r.write(*slot)
		if *slot == nil {
			*slot = &readBlock{}
		}
		**slot = readBlock{index: i}
		if i*readBlockSize < r.size {
			if _, err := r.f.ReadAt((*slot).b[:], i*readBlockSize); err != nil && !errors.Is(err, io.EOF) {
				r.log.Warn("the times of reading cannot be read", "error", err)
			}
		}
	}
	return *slot, (*slot).b[at%readBlockSize:][:readEntrySize]
}

// get gives the time of reading of an inode that changed last at ctime.
func (r *readTable) get(ino Ino, ctime time.Time) (time.Time, bool) {
	_, e := r.place(ino, false)
	if e == nil || binary.LittleEndian.Uint64(e) != uint64(ctime.UnixNano()) {
		return time.Time{}, false
	}
	at := int64(binary.LittleEndian.Uint64(e[8:]))
	return time.Unix(0, at), at != 0
}

// set is get's counterpart.
func (r *readTable) set(ino Ino, ctime, atime time.Time) {
	if r.readOnly {
		return
	}
	b, e := r.place(ino, true)
	binary.LittleEndian.PutUint64(e, uint64(ctime.UnixNano()))
	binary.LittleEndian.PutUint64(e[8:], uint64(atime.UnixNano()))
	b.dirty = true
}

// write puts a changed block into the file. One that cannot be written is lost: a full
// disk must not keep anybody from reading.
func (r *readTable) write(b *readBlock) {
	if b == nil || !b.dirty {
		return
	}
	b.dirty = false
	var err error
	if r.f == nil {
		r.f, err = os.OpenFile(r.path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err == nil {
		_, err = r.f.WriteAt(b.b[:], b.index*readBlockSize)
	}
	if err != nil {
		r.log.Debug("times of reading are lost", "error", err)
		return
	}
	r.size = max(r.size, (b.index+1)*readBlockSize)
	r.behind = true
}

// flush writes what has changed.
func (r *readTable) flush() {
	for _, b := range r.blocks {
		r.write(b)
	}
}

// written flushes, and gives the file if it must be synced then.
func (r *readTable) written() *os.File {
	r.flush()
	if !r.behind {
		return nil
	}
	r.behind = false
	return r.f
}

func (r *readTable) close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}
