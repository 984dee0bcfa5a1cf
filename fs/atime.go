package fs

import (
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/objects"
)

// Times of reading. Where a READ, READLINK or READDIR comes, it is the reading, and the
// kernel asks for the new time by itself. Of a file that the kernel reads in the host's,
// the host's own time tells (objects/atime.go). But bytes that the kernel was given with
// an open, or kept from before, are read without a word.
//
// So where reading would move a file's time, the kernel is not given its bytes with the
// open, nor left those that it has: it asks, once. A program that walks a tree and reads
// all of it (grep -r, tar) would pay that for every file, and is the one that does not look
// at the times. Of more than readMost files in a readWindow the open counts as the reading;
// the kernel is told that the times it has are old when little is asked, or after readLate
// at the latest.
//
// Nor does a READ come for an empty file, nor for what a handle has written through the page
// cache and reads back, nor a READLINK for a link that the kernel has read, and of which
// nothing has changed, for a day: those readings are not seen.
const (
	readMost   = 64
	readWindow = 250 * time.Millisecond
	readLate   = 5 * time.Second
	lateMost   = 1 << 14 // files that may wait to be told; more are told at once
)

// readings are the opens that count as readings.
type readings struct {
	mu    sync.Mutex
	since time.Time // when the window began
	asked int       // how many were asked about in it
	late  []uint64
}

// ruleOf is by which rule readings with these flags of open(2) count.
func (t *tree) ruleOf(flags uint32, dir bool) objects.AtimeRule {
	if t.o.ReadOnly || t.o.Recovery || flags&syscall.O_NOATIME != 0 || dir && t.o.NoDirAtime {
		return objects.NoAtime
	}
	return t.o.Atime
}

// few tells whether an open is one of few, so that the kernel may be made to ask.
func (r *readings) few() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.since) >= readWindow {
		r.since, r.asked = now, 0
	}
	r.asked++
	return r.asked <= readMost
}

// opened counts an open as the reading that no request will tell of.
func (t *tree) opened(h *handle) {
	switch {
	case h.unseen == seen || !h.file.Accessed():
	case h.unseen == unseenOne:
		t.moved(h.ino)
	default:
		t.movedLate(h.ino)
	}
}

// unseen says that what a handle reads may not come to the daemon, so that the open counts.
type unseen uint8

const (
	seen unseen = iota
	unseenOne
	unseenOfMany
)

// readBy counts what a request reads through a handle, and tells whether that moved the
// time; the flags may have changed since the open.
func readBy(h *handle, flags uint32) bool {
	return flags&syscall.O_NOATIME == 0 && h.file.Accessed()
}

// moved tells the kernel that a file's times are others, or may become so unseen. A notice for attributes
// alone takes no lock that a request may hold, so that it may be sent from a handler.
func (t *tree) moved(ino uint64) {
	if !t.pass.ready.Load() {
		t.movedLate(ino)
		return
	}
	if st := t.pass.tr.InodeNotify(ino, -1, 0); st != fuse.OK && st != fuse.ENOENT {
		t.log.Debug("the kernel does not forget the times", "ino", ino, "status", st)
	}
}

// readAgain has the kernel forget where a link leads, of which it keeps a copy and reads
// that without a word, when the next reading of it moves its time. The notice waits for a
// READLINK that is under way, so that it is not sent from here.
func (t *tree) readAgain(a *objects.Attr) {
	if a.Mode&syscall.S_IFMT == syscall.S_IFLNK && t.store.AccessDue(a.Ino, t.ruleOf(0, false)) {
		t.inval.add(notice{ino: uint64(a.Ino)})
	}
}

func (t *tree) movedLate(ino uint64) {
	r := &t.reads
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = append(r.late, ino)
	switch len(r.late) {
	case 1:
		go t.tellLate()
	case lateMost:
		t.sendLate()
	}
}

func (t *tree) tellLate() {
	t.store.GiveWay(t.inval.stop, readLate)
	t.reads.mu.Lock()
	defer t.reads.mu.Unlock()
	t.sendLate()
}

// sendLate hands over what waits; reads.mu is held.
func (t *tree) sendLate() {
	ns := make([]notice, len(t.reads.late))
	for i, ino := range t.reads.late {
		ns[i] = notice{ino: ino, attrs: true}
	}
	t.reads.late = nil
	t.inval.add(ns...)
}
