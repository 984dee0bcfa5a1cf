package fs

import (
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/fs/internal/loop"
	"github.com/ai-os-dot-net/aios/objects"
)

// What may carry the kernel's requests (Options.Transport).
const (
	// TransportLoop is a request loop of our own: one reader that answers in
	// line, for half of the CPU time that go-fuse's server takes.
	TransportLoop = "loop"
	// TransportGoFuse is go-fuse's server.
	TransportGoFuse = "go-fuse"
	// TransportDefault is what is used when nothing is said.
	TransportDefault = TransportLoop
)

// transport carries requests from the kernel and notices to it. Notices must
// not be sent from a request's handler, but for InodeNotifyStoreCache of a file
// that nobody has open to read, and InodeNotify for attributes alone.
type transport interface {
	Serve()
	WaitMount() error
	Unmount() error
	InodeNotify(node uint64, off, length int64) fuse.Status
	InodeNotifyStoreCache(node uint64, off int64, data []byte) fuse.Status
	EntryNotify(parent uint64, name string) fuse.Status
	DeleteNotify(parent, child uint64, name string) fuse.Status
	RegisterBackingFd(m *fuse.BackingMap) (int32, syscall.Errno)
	UnregisterBackingFd(id int32) syscall.Errno
}

// CheckTransport refuses a name that is no transport's; an empty one stands for
// the default.
func CheckTransport(name string) error {
	switch name {
	case "", TransportLoop, TransportGoFuse:
		return nil
	}
	return fmt.Errorf("there is no transport %q: choose %s or %s", name, TransportLoop, TransportGoFuse)
}

func (o *Options) transport() string {
	if o.Transport == "" {
		return TransportDefault
	}
	return o.Transport
}

// attach mounts.
func (t *tree) attach() (transport, error) {
	if err := CheckTransport(t.o.Transport); err != nil {
		return nil, err
	}
	if t.o.transport() == TransportGoFuse {
		s, err := fuse.NewServer(t, t.o.Mountpoint, t.mountOptions())
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	l, err := loop.Mount(t, t.o.Mountpoint, t.mountOptions(), loop.Options{MayBlock: t.mayBlock, Closing: t.closing, Logger: t.log})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// bulk is up to how many bytes are copied in line: this many take some 10 µs,
// and what is larger lies in host files (design §2).
const bulk = 64 << 10

// mayBlock tells which requests may wait for a disk or for somebody, so that
// the loop reads on meanwhile. It looks at little: a request that blocks
// although this says no is noticed a moment later (see package loop).
func (t *tree) mayBlock(r *loop.Request) bool {
	if isVirtual(r.Node()) {
		return true
	}
	switch r.Op() {
	case loop.OpFsync:
		return !r.Lone() || t.inHostFile(r.Handle())
	case loop.OpFsyncdir, loop.OpSyncfs, loop.OpFallocate, loop.OpCopyFileRange:
		return true
	case loop.OpRead, loop.OpWrite:
		return r.Size() > bulk || t.inHostFile(r.Handle())
	case loop.OpOpen:
		a, err := t.store.GetAttr(objects.Ino(r.Node()))
		return err == nil && a.Size > bulk // it may be unpacked, or copied
	case loop.OpRelease:
		return t.inHostFile(r.Handle())
	case loop.OpSetattr:
		return r.Valid()&fuse.FATTR_SIZE != 0
	}
	return false
}

// closing notes that a file is being closed: what is left to do may take its time, but
// an open that comes after it waits, or two saves would become one version.
func (t *tree) closing(r *loop.Request) {
	if h, err := t.handles.get(r.Handle()); err == nil && h.file != nil {
		h.file.Closing()
	}
}

// inHostFile tells whether an open file's bytes are not in memory.
func (t *tree) inHostFile(fh uint64) bool {
	h, err := t.handles.get(fh)
	return err == nil && h.file != nil && (h.mode == ioPassed || h.file.Attr().Size > bulk)
}
