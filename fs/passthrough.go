package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/objects"
)

// Passthrough (kernel 6.9 and later): the kernel reads and writes a large file's host
// file itself. Its rule (fs/fuse/iomode.c) is that an inode is either cached or passed
// through: while one handle passes through, every other must too, with the same backing
// file, or the open fails with EIO; while one is cached, none can. A handle that passes
// through may carry DIRECT_IO as well, and then reads and writes in the daemon. So what
// the first open of an inode gets is kept until the last is closed.

// ioMode is how the kernel reaches the bytes behind one handle.
type ioMode uint8

const (
	ioPlain  ioMode = iota // through the daemon, past the page cache; binds nobody else
	ioCached               // through the page cache
	ioPassed               // by the kernel, in the host file
)

// passing knows the mode of every stored file that is open.
type passing struct {
	tr  transport
	log interface{ Debug(string, ...any) }

	mu     sync.Mutex
	modes  map[uint64]*openMode
	ready  atomic.Bool // tr is there: requests come before
	on     atomic.Bool
	reason atomic.Value // string: why not

	// given are the inodes that were open through the page cache since the kernel knows
	// them, and whether it was given their bytes with an open; guarded by mu.
	given map[uint64]bool

	lastMu  sync.Mutex
	created time.Time   // when a file was last made
	last    objects.Ino // which
	alone   bool        // whether it was the only one then
}

// openMode is the mode of one inode; its lock is held while a handle is opened or closed.
type openMode struct {
	mu             sync.Mutex
	users          int // guarded by passing.mu
	cached, passed int
	id             int32
}

// loneCreate is how long ago the last file must have been made for the next one to get a
// host file at once. Making one costs 400 µs, which a big file earns back and a burst of
// small ones never does (limits.md §8).
const loneCreate = 100 * time.Millisecond

func (p *passing) init() {
	p.modes, p.given = map[uint64]*openMode{}, map[uint64]bool{}
	p.reason.Store("not mounted yet")
}

// start finds out whether the kernel takes host files, by giving it one.
func (t *tree) startPassing(tr transport) {
	p := &t.pass
	p.tr, p.log = tr, t.log
	p.ready.Store(true)
	if t.o.NoPassthrough {
		p.reason.Store("switched off (passthrough: off)")
		return
	}
	if t.o.ReadOnly || t.o.Recovery {
		p.reason.Store("a read-only mount does without")
		return
	}
	f, done, err := t.store.Probe()
	if err != nil {
		p.reason.Store(err.Error())
		return
	}
	defer done()
	id, errno := tr.RegisterBackingFd(&fuse.BackingMap{Fd: int32(f.Fd())})
	if errno != 0 {
		p.reason.Store(whyNot(errno))
		return
	}
	tr.UnregisterBackingFd(id)
	p.reason.Store("")
	p.on.Store(true)
}

func whyNot(e syscall.Errno) string {
	switch e {
	case syscall.EPERM:
		if os.Geteuid() == 0 {
			return "the kernel does not offer it"
		}
		return "only an administrator's mount may (CAP_SYS_ADMIN)"
	case syscall.ELOOP:
		return "the state directory is on a stacked file system (overlayfs, FUSE)"
	case syscall.EOPNOTSUPP, syscall.ENOTTY, syscall.EINVAL, syscall.ENOSYS:
		return fmt.Sprintf("the kernel or the state directory's file system cannot (Linux 6.9 is needed): %v", e)
	}
	return fmt.Sprintf("the kernel refuses a host file: %v", e)
}

// Passthrough says whether the kernel reads and writes large files itself, and if not,
// why.
func (s *Server) Passthrough() (on bool, why string) { return s.t.pass.state() }

func (p *passing) state() (on bool, why string) {
	why, _ = p.reason.Load().(string)
	return p.on.Load(), why
}

// lone notes that a file is being made, and tells whether it is the only one for now. A
// program that has a large file open is about to copy it: then sharing what is stored is
// better than any way to write it again.
func (t *tree) lone(c Caller, ino objects.Ino) bool {
	p := &t.pass
	now := time.Now()
	p.lastMu.Lock()
	switch {
	case p.last == ino && now.Sub(p.created) <= loneCreate: // made a moment ago, and opened again
	default:
		p.alone, p.last = now.Sub(p.created) > loneCreate, ino
	}
	p.created = now
	alone := p.alone
	p.lastMu.Unlock()
	return alone && !t.copies(c)
}

func (t *tree) copies(c Caller) bool {
	t.handles.mu.RLock()
	defer t.handles.mu.RUnlock()
	for _, h := range t.handles.m {
		if h.file != nil && h.caller.UID == c.UID && !writes(h.flags) && h.file.Attr().Size > largeFile && sameProcess(h.caller.PID, c.PID) {
			return true
		}
	}
	return false
}

// sameProcess tells whether two of the kernel's callers, which are threads, belong to one
// process.
func sameProcess(a, b uint32) bool {
	if a == b {
		return true
	}
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", a, b))
	return err == nil
}

// growsAfresh tells whether a file that is being opened is empty, or will be, and may well
// become large: because it was, or because it is to be read and written (fio and databases
// make their files first, and open them to work).
func (t *tree) growsAfresh(c Caller, in *fuse.OpenIn) bool {
	if !t.pass.on.Load() || !writes(in.Flags) {
		return false
	}
	a, err := t.store.GetAttr(objects.Ino(in.NodeId))
	if err != nil {
		return false
	}
	grows := in.Flags&syscall.O_TRUNC != 0 && a.Size > largeFile || in.Flags&syscall.O_ACCMODE == syscall.O_RDWR && a.Size == 0
	return grows && t.lone(c, a.Ino)
}

func (p *passing) take(ino uint64) *openMode {
	p.mu.Lock()
	m := p.modes[ino]
	if m == nil {
		m = &openMode{}
		p.modes[ino] = m
	}
	m.users++
	p.mu.Unlock()
	m.mu.Lock()
	return m
}

func (p *passing) put(ino uint64, m *openMode) {
	m.mu.Unlock()
	p.mu.Lock()
	if m.users--; m.users == 0 {
		delete(p.modes, ino)
	}
	p.mu.Unlock()
}

// admit decides how the kernel reaches a file that is being opened, and adds its handle.
// fresh files are empty and get a host file at once.
func (t *tree) admit(ctx context.Context, h *handle, fresh bool, out *fuse.OpenOut) error {
	h.mode, out.OpenFlags = ioPlain, storedFlags(h.flags)
	h.file.Counts(t.ruleOf(h.flags, false))
	if err := t.pass.admit(ctx, t, h, fresh, out); err != nil {
		return errors.Join(err, h.file.Close(ctx))
	}
	out.Fh = t.handles.add(h)
	return nil
}

func (p *passing) admit(ctx context.Context, t *tree, h *handle, fresh bool, out *fuse.OpenOut) error {
	m := p.take(h.ino)
	direct := writes(h.flags) && t.mustSee(h)
	if p.on.Load() && (m.passed > 0 || m.cached == 0 && !direct) {
		loan, ok, err := h.file.Lend(ctx, fresh)
		switch {
		case err != nil && m.passed > 0:
			p.put(h.ino, m)
			return err
		case err != nil: // no room for a copy, say: what can go through the daemon does
			p.log.Debug("a file is opened without passthrough", "ino", h.ino, "error", err)
		case ok && m.passed == 0:
			ok = p.register(m, loan)
		}
		if ok {
			m.passed++
			h.mode, out.BackingID = ioPassed, m.id
			out.OpenFlags = fuse.FOPEN_PASSTHROUGH | fuse.FOPEN_NOFLUSH
			if direct || loan.Direct {
				out.OpenFlags |= fuse.FOPEN_DIRECT_IO
			}
			// What the kernel remembers of a file that is about to be mapped would be kept
			// for as long as it was promised before (attrTime).
			if loan.Read || writes(h.flags) && h.flags&syscall.O_ACCMODE == syscall.O_RDWR {
				t.moved(h.ino)
			}
			m.mu.Unlock() // it is in use until release
			return nil
		}
	}
	if out.OpenFlags&fuse.FOPEN_DIRECT_IO == 0 {
		m.cached++
		h.mode = ioCached
		due := h.file.Unread()
		ask := due && t.reads.few()
		give, known := p.first(h.ino, m, !writes(h.flags) && !ask)
		given := give && t.giveBytes(h)
		switch {
		case !due || !given && !known: // it does not count, or the kernel asks
		case !ask:
			h.unseen = unseenOfMany
		case m.cached > 1: // others may have it mapped
			h.unseen = unseenOne
		default:
			out.OpenFlags &^= fuse.FOPEN_KEEP_CACHE
		}
	}
	m.mu.Unlock()
	return nil
}

func (p *passing) register(m *openMode, l objects.Loan) bool {
	id, errno := p.tr.RegisterBackingFd(&fuse.BackingMap{Fd: int32(l.File.Fd())})
	if errno != 0 {
		p.log.Debug("the kernel refuses a host file", "error", errno)
		return false
	}
	m.id = id
	return true
}

// mustSee tells whether each write of a file must come to the daemon: one that takes
// privileges away from a program, and one that may exceed its owner's quota.
func (t *tree) mustSee(h *handle) bool {
	if t.o.NearLimit != nil && t.o.NearLimit(objects.Ino(h.ino)) {
		return true
	}
	a := h.file.Attr()
	if a.Mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 {
		return true
	}
	_, err := t.store.GetXattr(a.Ino, "security.capability")
	return err == nil
}

// release closes a handle and takes its part in its inode's mode back, in one: the next
// open must find the store and the mode agreeing.
func (p *passing) release(ctx context.Context, h *handle) error {
	p.mu.Lock()
	m := p.modes[h.ino]
	p.mu.Unlock()
	if m == nil || h.file == nil {
		return h.close(ctx)
	}
	m.mu.Lock()
	defer p.put(h.ino, m)
	switch h.mode {
	case ioCached:
		m.cached--
	case ioPassed:
		if m.passed--; m.passed > 0 {
			break
		}
		if errno := p.tr.UnregisterBackingFd(m.id); errno != 0 {
			p.log.Debug("a host file stays registered", "error", errno)
		}
	}
	return h.close(ctx)
}
