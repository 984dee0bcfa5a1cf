package fs

import (
	"io"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/objects"
)

// The bytes of a small file go to the kernel with the first open that reads it
// (NOTIFY_STORE), which saves the READ, and the question for the attributes that the time
// of reading in it costs (limits.md §3); not where a READ is wanted, to count it (atime.go). The rules, for a notice in a handler must not
// wait for a page that waits for the daemon, nor bring back what has been changed:
//
//   - no other handle of the inode is open: nobody reads or writes it now; opens, closes
//     and changes of the size wait meanwhile (openMode.mu);
//   - what changes a file from inside tells the kernel afterwards to forget its pages, so
//     if the version has changed meanwhile it is told once more;
//   - a file that the kernel was given once, and still knows, is not given again.

// givenMost is the largest file that is given: larger ones are read in several requests,
// and read ahead.
const givenMost = largeFile

var givenRoom = sync.Pool{New: func() any { return new([givenMost]byte) }}

// first tells whether the only handle of an inode is the one that is being opened, to read
// alone, and the kernel was not given its bytes yet; and whether the kernel may know some
// from an earlier open. m.mu is held.
func (p *passing) first(ino uint64, m *openMode, readOnly bool) (give, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	given, known := p.given[ino]
	give = readOnly && !given && m.users == 1 && p.ready.Load()
	p.given[ino] = given || give
	return give, known
}

// forget is told that the kernel forgets an inode.
func (p *passing) forget(ino uint64) {
	p.mu.Lock()
	delete(p.given, ino)
	p.mu.Unlock()
}

// giveBytes puts a small file's bytes into the kernel's cache. Whatever fails, the kernel
// reads them as usual.
func (t *tree) giveBytes(h *handle) (given bool) {
	size, version := h.file.Attr().Size, h.file.Version()
	if size == 0 || size > givenMost || version.IsZero() {
		return false
	}
	t.store.ReadOn(objects.Ino(h.ino))
	room := givenRoom.Get().(*[givenMost]byte)
	defer givenRoom.Put(room)
	n, err := h.file.ReadAt(room[:size], 0)
	if err != nil && err != io.EOF || int64(n) != size {
		return false
	}
	if st := t.pass.tr.InodeNotifyStoreCache(h.ino, 0, room[:n]); st != fuse.OK {
		t.log.Debug("the kernel does not take a file's bytes", "ino", h.ino, "status", st)
		return false
	}
	if h.file.Version() != version {
		t.inval.add(notice{ino: h.ino})
	}
	return true
}

// resizing keeps the bytes of a file from being given to the kernel while its size is
// changed by its name.
func (p *passing) resizing(ino uint64) (done func()) {
	m := p.take(ino)
	return func() { p.put(ino, m) }
}
