package fs

import (
	"context"
	"fmt"
	"os"

	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

type setAttrIn = fuse.SetAttrIn

const fattrSize = fuse.FATTR_SIZE

// draft is a file in intents/ that is being written. It is submitted once:
// at fsync, at a rename to its real name, or when the last of those that have
// it open closes it.
type draft struct {
	b        *dropBox
	base     string // guarded by b.mu
	subject  string
	uid, gid uint32
	serial   uint64

	// committing is held while the document is being accepted; mu is not,
	// since that may take as long as a disk does.
	committing sync.Mutex

	mu      sync.Mutex
	data    []byte
	mtime   time.Time
	writers int
	dirty   bool // written since the last attempt
	frozen  bool // being accepted
	taken   bool // accepted: it never changes again
	tried   string
	gone    bool // unlinked
	again   bool // what was accepted under the name, and nothing written to it yet
	cut     bool // a write was refused: what is there is not the whole document
}

func (d *draft) name() string { return fmt.Sprintf("intents\x00draft/%d", d.serial) }

func (d *draft) attr(*call) (vattr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return vattr{mode: syscall.S_IFREG | 0o644, size: int64(len(d.data)), uid: d.uid, gid: d.gid, mtime: d.mtime}, nil
}

func (d *draft) open(c *call, flags uint32) (vhandle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	if w && d.taken {
		return nil, ErrImmutable
	}
	if w && d.frozen {
		return nil, ErrBusy
	}
	if flags&syscall.O_TRUNC != 0 {
		d.data, d.dirty, d.cut, d.again = nil, true, false, false
	}
	if w {
		d.writers++
	}
	return &draftHandle{d: d, writer: w, caller: c.Caller, group: groupLeader(c.PID), append: flags&syscall.O_APPEND != 0}, nil
}

// setattr takes sizes; modes, owners and times have no meaning here.
func (d *draft) setattr(c *call, in *setAttrIn) error {
	if n, ok := in.GetSize(); ok {
		return d.truncate(int64(n))
	}
	return nil
}

func (d *draft) truncate(n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.taken:
		return ErrImmutable
	case d.frozen:
		return ErrBusy
	case n < 0 || n > maxDocument:
		d.cut = true
		return ErrTooLarge
	}
	d.cut, d.again = d.cut && n > 0, false
	if int(n) <= len(d.data) {
		d.data = d.data[:n:n]
	} else {
		d.data = append(d.data, make([]byte, int(n)-len(d.data))...)
	}
	d.dirty = true
	return nil
}

// commit submits the document under its own name, if it is one.
func (d *draft) commit(c *call) error {
	d.b.mu.Lock()
	name := d.base
	d.b.mu.Unlock()
	if temporary(name) {
		return nil
	}
	return d.commitAs(c, name)
}

// commitAs submits the document. What was accepted, or has not changed since
// it was refused, is not submitted again; nothing was written is no document.
func (d *draft) commitAs(c *call, name string) error {
	d.committing.Lock()
	defer d.committing.Unlock()
	d.mu.Lock()
	if d.taken || d.gone || len(d.data) == 0 || !d.dirty && name == d.tried {
		d.mu.Unlock()
		return nil
	}
	if d.cut {
		d.dirty, d.tried = false, name
		d.mu.Unlock()
		err := &IntentError{Code: "EnvelopeMalformed", Message: fmt.Sprintf("a document has at most %d bytes; what was written of this one is not submitted", maxDocument)}
		d.b.settled(d.subject, name, d, err, true)
		return err
	}
	doc := append([]byte(nil), d.data...)
	d.frozen, d.dirty, d.tried = true, false, name
	d.mu.Unlock()
	if err := d.b.t.contact(c); err != nil { // a goal may be the first that is seen of somebody
		d.b.t.log.Warn("the caller's directories could not be made", "subject", c.Subject.ID, "error", err)
	}
	err := d.b.t.o.Intents.Submit(settled(c), c.Caller, name, doc)
	d.mu.Lock()
	d.frozen, d.taken = false, err == nil
	d.mu.Unlock()
	d.b.settled(d.subject, name, d, err, false)
	return err
}

// draftHandle is an open draft.
type draftHandle struct {
	d      *draft
	writer bool
	append bool
	caller Caller
	group  uint32 // thread group of the opener
	once   sync.Once
}

func (h *draftHandle) read(_ *call, p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if off >= int64(len(h.d.data)) {
		return 0, nil
	}
	return copy(p, h.d.data[off:]), nil
}

func (h *draftHandle) write(c *call, p []byte, off int64) (int, error) {
	d := h.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken {
		return 0, ErrImmutable
	}
	if d.frozen {
		return 0, ErrBusy
	}
	if !h.writer {
		return 0, errBadHandle
	}
	if h.append {
		off = int64(len(d.data))
	}
	end := off + int64(len(p))
	if off < 0 || end > maxDocument {
		d.cut = true
		return 0, fmt.Errorf("a document has at most %d bytes: %w", maxDocument, ErrTooLarge)
	}
	if end > int64(len(d.data)) {
		d.data = append(d.data, make([]byte, int(end)-len(d.data))...)
	}
	copy(d.data[off:], p)
	d.dirty, d.again, d.mtime = true, false, d.b.t.o.Now()
	return len(p), nil
}

func (h *draftHandle) truncate(_ *call, n int64) error { return h.d.truncate(n) }

func (h *draftHandle) fsync(c *call) error { return h.d.commit(c) }

// flush is a close of one descriptor. It commits when it is the opener's last
// one and nobody else writes, so that the error reaches the program that
// wrote the document; otherwise the release does.
func (h *draftHandle) flush(c *call, closer Caller) error {
	h.d.mu.Lock()
	alone := h.writer && h.d.writers == 1 && len(h.d.data) > 0
	h.d.mu.Unlock()
	if !alone || h.group == 0 || groupLeader(closer.PID) != h.group {
		return nil
	}
	h.d.b.mu.Lock()
	name := h.d.base
	h.d.b.mu.Unlock()
	if holds(h.group, "/intents/"+name) {
		return nil
	}
	return h.d.commit(c)
}

func (h *draftHandle) release() {
	h.once.Do(func() {
		if !h.writer {
			return
		}
		h.d.mu.Lock()
		h.d.writers--
		last, again := h.d.writers == 0, h.d.again
		h.d.mu.Unlock()
		if !last {
			return
		}
		if again {
			h.d.b.forget(h.d)
			return
		}
		// Nobody can be told; error.json can.
		if err := h.d.commit(&call{Context: context.Background(), Caller: h.caller, t: h.d.b.t}); err != nil {
			h.d.b.t.log.Info("a document was not accepted", "subject", h.caller.Subject.ID, "error", err)
		}
	})
}

// groupLeader is the process of a thread, 0 when it is gone.
func groupLeader(pid uint32) uint32 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/status")
	if err != nil || pid == 0 {
		return 0
	}
	_, rest, ok := strings.Cut(string(b), "\nTgid:")
	if !ok {
		return 0
	}
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// holds tells whether a process or one of its descendants still has a
// descriptor of a file of the mount, as a shell has that is in the middle of
// `(cat a; cat b) > NAME`. Only the names of links are read: following one
// would ask this mount.
func holds(pid uint32, suffix string) bool {
	dir := "/proc/" + strconv.Itoa(int(pid))
	fds, err := names(dir + "/fd")
	if err != nil {
		return true // not ours to see: leave it to the release
	}
	for _, fd := range fds {
		if to, err := os.Readlink(dir + "/fd/" + fd); err == nil && strings.HasSuffix(to, suffix) {
			return true
		}
	}
	// A thread has its own list of children; most programs have one thread.
	tasks := []string{strconv.Itoa(int(pid))}
	if st, err := os.Stat(dir + "/task"); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 3 {
		if tasks, err = names(dir + "/task"); err != nil {
			return false
		}
	}
	for _, task := range tasks {
		b, err := os.ReadFile(dir + "/task/" + task + "/children")
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			n, err := strconv.ParseUint(f, 10, 32)
			if err == nil && alive(uint32(n)) && holds(uint32(n), suffix) {
				return true
			}
		}
	}
	return false
}

func names(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func alive(pid uint32) bool { return startTime(pid) != "" }
