package fs

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
)

// storedFlags says how the kernel treats an open stored file. Write-only
// handles go past the page cache, which saves the question for
// security.capability before the first write; every write comes to the daemon
// at once anyway. (Not O_DIRECT handles: they may be mapped, and the kernel
// keeps the page cache out of their way by itself.) Nobody waits for close: all writes were answered by then
// (limits.md §3).
func storedFlags(flags uint32) uint32 {
	f := uint32(fuse.FOPEN_NOFLUSH | fuse.FOPEN_KEEP_CACHE)
	if flags&syscall.O_ACCMODE == syscall.O_WRONLY {
		f |= fuse.FOPEN_DIRECT_IO
	}
	return f
}

// largeFile is the size from which on bytes are the host's file (design §2).
const largeFile = 64 << 10

// Open asks policy and opens a file.
func (t *tree) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err != nil {
		return status(err)
	}
	if isVirtual(in.NodeId) {
		return status(t.openVirtual(c, in, out))
	}
	op := OpRead
	if writes(in.Flags) {
		op = OpWrite
	}
	p, err := t.place(in.NodeId)
	switch {
	case err == nil:
		err = t.allow(c, op, p)
	case errors.Is(err, objects.ErrNotFound):
		err = nil // opened again through /proc/self/fd after its unlink
	}
	if err == nil && c.Subject.IsAI && in.Flags&syscall.O_ACCMODE != syscall.O_WRONLY {
		var a objects.Attr
		if a, err = t.store.GetAttr(objects.Ino(in.NodeId)); err == nil {
			err = t.cleared(c, a.Object, p.target)
		}
	}
	if err != nil {
		return status(err)
	}
	if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 && in.Flags&syscall.O_TRUNC != 0 {
		t.dropSetID(c.Caller, objects.Ino(in.NodeId))
	}
	fresh := t.growsAfresh(c.Caller, in)
	f, err := t.store.OpenFile(c.cred(), objects.Ino(in.NodeId), int(in.Flags))
	if err != nil {
		return status(err)
	}
	h := &handle{ino: in.NodeId, flags: in.Flags, caller: c.Caller, file: f}
	if err := t.admit(settled(c), h, fresh, out); err != nil {
		t.shut(c.Caller, in.NodeId, err)
		return status(err)
	}
	t.opened(h)
	return fuse.OK
}

// shut records who was refused a version that is in quarantine (contract §8).
func (t *tree) shut(c Caller, id uint64, err error) {
	if !errors.Is(err, objects.ErrQuarantined) {
		return
	}
	target := Target{}
	if p, perr := t.place(id); !isVirtual(id) && perr == nil {
		target = p.target()
	} else if v, verr := t.nodes.get(id); isVirtual(id) && verr == nil {
		target.Path = pathOf(v)
	}
	t.denied.add(c, OpRead, target, "VersionQuarantined", err.Error())
}

func (t *tree) openVirtual(c *call, in *fuse.OpenIn, out *fuse.OpenOut) error {
	v, err := t.nodes.get(in.NodeId)
	if err != nil {
		return err
	}
	if writes(in.Flags) && !ofDesk(v) {
		if err := t.recoveryOnly(); err != nil {
			return err
		}
	}
	f, ok := v.(vfile)
	if !ok {
		if writes(in.Flags) {
			return t.refuse(c, OpWrite, v)
		}
		return ErrInvalid
	}
	h, err := f.open(c, in.Flags)
	if err != nil {
		if errors.Is(err, ErrImmutable) {
			t.denied.add(c.Caller, OpWrite, Target{Path: pathOf(v)}, "", err.Error())
		}
		t.shut(c.Caller, in.NodeId, err)
		return err
	}
	out.Fh = t.handles.add(&handle{ino: in.NodeId, flags: in.Flags, caller: c.Caller, virt: h})
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	if k, ok := h.(vcached); ok && k.cached() {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
	if _, ok := h.(vflusher); !ok {
		out.OpenFlags |= fuse.FOPEN_NOFLUSH
	}
	return nil
}

// Create makes a file and opens it.
func (t *tree) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err != nil {
		return status(err)
	}
	if isVirtual(in.NodeId) {
		return status(t.createVirtual(c, in, name, out))
	}
	if err := t.bind(c, in.NodeId, name, OpCreate); err != nil {
		return status(err)
	}
	a, f, err := t.store.Create(c.masked(in.Umask), objects.Ino(in.NodeId), name, in.Mode, true)
	if errors.Is(err, objects.ErrExist) && in.Flags&syscall.O_EXCL == 0 {
		// Somebody else made it since the kernel looked.
		if a, err = t.store.Lookup(objects.Ino(in.NodeId), name); err == nil {
			f, err = t.store.OpenFile(c.cred(), a.Ino, int(in.Flags))
		}
	}
	if err != nil {
		return status(err)
	}
	if err := t.admit(settled(c), &handle{ino: uint64(a.Ino), flags: in.Flags, caller: c.Caller, file: f}, t.lone(c.Caller, a.Ino), &out.OpenOut); err != nil {
		return status(err)
	}
	t.entry(&a, &out.EntryOut)
	return fuse.OK
}

func (t *tree) createVirtual(c *call, in *fuse.CreateIn, name string, out *fuse.CreateOut) error {
	v, err := t.nodes.get(in.NodeId)
	if err != nil {
		return err
	}
	m, ok := v.(vmaker)
	if !ok {
		return t.refuse(c, OpCreate, v)
	}
	n, h, err := m.create(c, name, in.Flags, in.Mode&^(in.Umask&0o777))
	if err != nil {
		return err
	}
	if err := t.virtualEntry(c, n, &out.EntryOut); err != nil {
		return err
	}
	out.Fh = t.handles.add(&handle{ino: out.NodeId, flags: in.Flags, caller: c.Caller, virt: h})
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return nil
}

// Tmpfile makes a file without a name (O_TMPFILE).
func (t *tree) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err == nil && isVirtual(in.NodeId) {
		err = t.refuseIn(c, OpCreate, in.NodeId)
	}
	if err != nil {
		return status(err)
	}
	p, err := t.place(in.NodeId)
	if err == nil && p.closed() {
		err = ErrImmutable
	}
	if err == nil {
		err = t.allow(c, OpCreate, p)
	}
	if err != nil {
		return status(err)
	}
	a, f, err := t.store.Tmpfile(c.masked(in.Umask), objects.Ino(in.NodeId), in.Mode)
	if err != nil {
		return status(err)
	}
	if err := t.admit(settled(c), &handle{ino: uint64(a.Ino), flags: in.Flags, caller: c.Caller, file: f}, t.lone(c.Caller, a.Ino), &out.OpenOut); err != nil {
		return status(err)
	}
	t.entry(&a, &out.EntryOut)
	return fuse.OK
}

// of makes the call of a request on an open file: for whom is settled by the
// handle.
func (t *tree) of(cancel <-chan struct{}, h *fuse.InHeader, fh uint64) (*call, *handle, error) {
	t.ops.count(h.Opcode)
	t.store.Asked()
	f, err := t.handles.get(fh)
	if err != nil {
		return nil, nil, err
	}
	return &call{Context: &fuse.Context{Caller: h.Caller, Cancel: cancel}, Caller: f.caller, t: t}, f, nil
}

// Read reads.
func (t *tree) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	c, h, err := t.of(cancel, &in.InHeader, in.Fh)
	if err != nil {
		return nil, status(err)
	}
	var n int
	switch {
	case h.virt != nil:
		n, err = h.virt.read(c, buf, int64(in.Offset))
	case h.file != nil:
		if n, err = h.file.ReadAt(buf, int64(in.Offset)); err == nil || errors.Is(err, io.EOF) {
			readBy(h, in.Flags)
		}
	default:
		return nil, fuse.EBADF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.shut(h.caller, in.NodeId, err)
		return nil, status(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write writes.
func (t *tree) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	c, h, err := t.of(cancel, &in.InHeader, in.Fh)
	if err != nil {
		return 0, status(err)
	}
	if h.virt != nil {
		w, ok := h.virt.(vwriter)
		if !ok {
			return 0, fuse.EBADF
		}
		n, err := w.write(c, data, int64(in.Offset))
		return uint32(n), status(err)
	}
	if h.file == nil {
		return 0, fuse.EBADF
	}
	if err := t.healthy(); err != nil {
		return 0, status(err)
	}
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		t.dropSetID(h.caller, h.file.Ino())
	}
	n, err := h.file.WriteAt(h.caller.cred(), data, int64(in.Offset))
	return uint32(n), status(err)
}

// Writev writes what came in several pieces.
func (t *tree) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if len(data) == 1 {
		return t.Write(cancel, in, data[0])
	}
	total := 0
	for _, d := range data {
		total += len(d)
	}
	all := make([]byte, 0, total)
	for _, d := range data {
		all = append(all, d...)
	}
	return t.Write(cancel, in, all)
}

// dropSetID takes the set-id bits from a file whose content a caller without
// the privilege changes (HANDLE_KILLPRIV_V2).
func (t *tree) dropSetID(c Caller, ino objects.Ino) {
	a, err := t.store.GetAttr(ino)
	if err != nil || a.Mode&(syscall.S_ISUID|syscall.S_ISGID) == 0 {
		return
	}
	if m := withoutSetID(a.Mode, c.UID == 0 || c.in(a.GID)); m != a.Mode {
		m &= 0o7777
		if _, err := t.store.SetAttr(c.cred(), ino, objects.SetAttr{Mode: &m}); err != nil {
			t.log.Warn("set-id bits could not be cleared", "ino", ino, "error", err)
		}
	}
}

// Flush is a close of one descriptor. Stored files do not ask for it.
func (t *tree) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	c, h, err := t.of(cancel, &in.InHeader, in.Fh)
	if err != nil {
		return status(err)
	}
	if f, ok := h.virt.(vflusher); ok {
		closer := *c
		closer.Caller = Caller{UID: in.Uid, GID: in.Gid, PID: in.Pid}
		c.Caller = h.caller
		return status(f.flush(c, closer.Caller))
	}
	return fuse.OK
}

// Release is the last close; it has no answer, and may come from anybody.
func (t *tree) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	h := t.handles.take(in.Fh)
	if h == nil {
		return
	}
	if err := t.pass.release(context.Background(), h); err != nil {
		t.log.Error("a file could not be closed", "ino", h.ino, "error", err)
	}
}

// Fsync makes a file durable; of a document in the drop box it is the commit.
func (t *tree) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	c, h, err := t.of(cancel, &in.InHeader, in.Fh)
	if err != nil {
		return status(err)
	}
	if h.file != nil {
		return status(h.file.Sync(settled(c)))
	}
	if s, ok := h.virt.(vsyncer); ok {
		return status(s.fsync(c))
	}
	return fuse.OK
}

// Fallocate reserves, punches and zeroes.
func (t *tree) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	c, h, err := t.of(cancel, &in.InHeader, in.Fh)
	if err != nil {
		return status(err)
	}
	if h.file == nil {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	if err := t.healthy(); err != nil {
		return status(err)
	}
	return status(h.file.Allocate(c.cred(), in.Mode, int64(in.Offset), int64(in.Length)))
}

// Lseek finds data and holes.
func (t *tree) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	_, h, err := t.of(cancel, &in.InHeader, in.Fh)
	if err != nil {
		return status(err)
	}
	if h.file == nil {
		return fuse.ENOSYS
	}
	var n int64
	switch in.Whence {
	case unix.SEEK_DATA:
		n, err = h.file.SeekData(int64(in.Offset))
	case unix.SEEK_HOLE:
		n, err = h.file.SeekHole(int64(in.Offset))
	default:
		return fuse.EINVAL
	}
	if errors.Is(err, io.EOF) {
		err = errSeek
	}
	out.Offset = uint64(n)
	return status(err)
}

// CopyFileRange copies within the store.
func (t *tree) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	c, from, err := t.of(cancel, &in.InHeader, in.FhIn)
	if err != nil {
		return 0, status(err)
	}
	to, err := t.handles.get(in.FhOut)
	if err != nil {
		return 0, status(err)
	}
	if from.file == nil || to.file == nil {
		return 0, fuse.EXDEV // the caller reads and writes instead
	}
	if err := t.healthy(); err != nil {
		return 0, status(err)
	}
	n, err := t.store.CopyRange(settled(c), to.caller.cred(), from.file, int64(in.OffIn), to.file, int64(in.OffOut), int64(min(in.Len, maxCopy)))
	if n > 0 {
		err = nil
		if readBy(from, from.flags) {
			t.moved(from.ino)
		}
	}
	return uint32(n), status(err)
}

// maxCopy bounds one copy_file_range: its answer is 32 bits wide, and the
// caller asks again for the rest. (The kernel asks for less by itself.)
const maxCopy = 1<<32 - 4096
