package objects

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A program may map a file and close it. Of a file that was lent the kernel maps the
// host file itself, and sends RELEASE all the same: the mapping is a reader, or a writer,
// that nobody tells the store of. Were the file given back then, its bytes would become a
// version that the mapping goes on to change, and the next writer would get another file
// that the mapping never sees. So the last loan of a host file ends only when nobody else
// has that open; until then a handle of the store's own stands for the mapping.

// lingerFirst and lingerMost are how long the store waits between two looks at whether a
// mapping is gone. Whoever has a host file open for less than lingerDoubt after its close
// may be the kernel, about to close its own, by a thread that the machine has no time
// for: until then an open for writing waits, or two saves would become one version.
const (
	lingerFirst = time.Millisecond
	lingerMost  = 250 * time.Millisecond
	lingerDoubt = 100 * time.Millisecond
)

// onlyOurs tells whether no other open file has this host file: then the kernel grants a
// write lease (fcntl(2)), which is given back at once.
func onlyOurs(f *os.File) bool {
	fd := f.Fd()
	if _, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return !errors.Is(err, unix.EAGAIN) // a host that knows no leases: nothing can be told
	}
	_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
	return true
}

// linger lets a handle of the store's own take the place of the last one that has a host
// file from the kernel, while somebody still maps the file. The kernel closes its own
// open file some microseconds after RELEASE, or later on a busy machine, so that a look
// may come too early.
// n.io is held for writing.
func (s *Store) linger(h *Handle) {
	p := h.n.pin
	if !h.lent || p == nil || p.loans > 1 || !p.seen {
		return
	}
	for _, wait := range []time.Duration{0, 50 * time.Microsecond, 200 * time.Microsecond} {
		time.Sleep(wait)
		if onlyOurs(p.file) {
			return
		}
	}
	s.mu.Lock()
	g := &Handle{s: s, n: h.n, read: true, write: p.mapped, lent: true, fence: h.fence}
	h.n.refs++
	p.loans++
	if g.write {
		h.n.writers++
	}
	s.mu.Unlock()
	g.Closing()
	s.workMu.Lock()
	defer s.workMu.Unlock()
	if s.closed { // Close publishes what is open by itself
		g.stays()
		return
	}
	s.goWork(func() { s.outlive(g) })
}

// outlive closes the handle that stands for a mapping once that is gone.
func (s *Store) outlive(g *Handle) {
	file := g.n.pin.file
	since := time.Now()
	for wait := lingerFirst; ; wait = min(2*wait, lingerMost) {
		select {
		case <-s.stop:
			g.stays()
			return
		case <-time.After(wait):
		}
		if onlyOurs(file) {
			break
		}
		if time.Since(since) > lingerDoubt {
			g.stays()
		}
	}
	if err := g.Close(context.Background()); err != nil {
		s.o.Logger.Error("a file that was mapped could not be closed", "ino", g.n.ino, "error", err)
	}
}
