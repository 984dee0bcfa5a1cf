package loop

import (
	"encoding/binary"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// handler answers one kind of request. fixed is the length of its fixed part.
type handler struct {
	fixed  uintptr
	answer func(l *Loop, r *Request) fuse.Status
}

// handlers has a row for each kind that a file system answers; the kernel is
// told ENOSYS of the others, and does not ask again.
var handlers = [opCount]handler{
	OpLookup:        {uintptr(headerIn), lookup},
	OpForget:        {unsafe.Sizeof(fuse.ForgetIn{}), forget},
	OpBatchForget:   {uintptr(headerIn) + 8, batchForget},
	OpGetattr:       {unsafe.Sizeof(fuse.GetAttrIn{}), getattr},
	OpSetattr:       {unsafe.Sizeof(fuse.SetAttrIn{}), setattr},
	OpStatx:         {unsafe.Sizeof(fuse.StatxIn{}), statx},
	OpAccess:        {unsafe.Sizeof(fuse.AccessIn{}), access},
	OpStatfs:        {uintptr(headerIn), statfs},
	OpSyncfs:        {uintptr(headerIn), syncfs},
	OpReadlink:      {uintptr(headerIn), readlink},
	OpSymlink:       {uintptr(headerIn), symlink},
	OpMknod:         {unsafe.Sizeof(fuse.MknodIn{}), mknod},
	OpMkdir:         {unsafe.Sizeof(fuse.MkdirIn{}), mkdir},
	OpUnlink:        {uintptr(headerIn), unlink},
	OpRmdir:         {uintptr(headerIn), rmdir},
	OpRename:        {uintptr(renameIn), rename},
	OpRename2:       {unsafe.Sizeof(fuse.RenameIn{}), rename2},
	OpLink:          {unsafe.Sizeof(fuse.LinkIn{}), link},
	OpOpen:          {unsafe.Sizeof(fuse.OpenIn{}), open},
	OpCreate:        {unsafe.Sizeof(fuse.CreateIn{}), create},
	OpTmpfile:       {unsafe.Sizeof(fuse.CreateIn{}), tmpfile},
	OpRead:          {unsafe.Sizeof(fuse.ReadIn{}), read},
	OpWrite:         {unsafe.Sizeof(fuse.WriteIn{}), write},
	OpFlush:         {unsafe.Sizeof(fuse.FlushIn{}), flush},
	OpFsync:         {unsafe.Sizeof(fuse.FsyncIn{}), fsync},
	OpRelease:       {unsafe.Sizeof(fuse.ReleaseIn{}), release},
	OpFallocate:     {unsafe.Sizeof(fuse.FallocateIn{}), fallocate},
	OpLseek:         {unsafe.Sizeof(fuse.LseekIn{}), lseek},
	OpCopyFileRange: {unsafe.Sizeof(fuse.CopyFileRangeIn{}), copyFileRange},
	OpIoctl:         {unsafe.Sizeof(fuse.IoctlIn{}), ioctl},
	OpGetlk:         {unsafe.Sizeof(fuse.LkIn{}), getlk},
	OpSetlk:         {unsafe.Sizeof(fuse.LkIn{}), setlk},
	OpSetlkw:        {unsafe.Sizeof(fuse.LkIn{}), setlkw},
	OpOpendir:       {unsafe.Sizeof(fuse.OpenIn{}), opendir},
	OpReaddir:       {unsafe.Sizeof(fuse.ReadIn{}), readdir},
	OpReaddirplus:   {unsafe.Sizeof(fuse.ReadIn{}), readdirplus},
	OpReleasedir:    {unsafe.Sizeof(fuse.ReleaseIn{}), releasedir},
	OpFsyncdir:      {unsafe.Sizeof(fuse.FsyncIn{}), fsyncdir},
	OpGetxattr:      {unsafe.Sizeof(fuse.GetXAttrIn{}), getxattr},
	OpListxattr:     {unsafe.Sizeof(fuse.GetXAttrIn{}), listxattr},
	OpSetxattr:      {uintptr(setxattrIn), setxattr},
	OpRemovexattr:   {uintptr(headerIn), removexattr},
	OpInterrupt:     {unsafe.Sizeof(fuse.InterruptIn{}), interrupt},
	OpNotifyReply:   {uintptr(headerIn), notifyReply},
	OpDestroy:       {uintptr(headerIn), destroy},
}

// answer finds the request's handler and runs it. A handler that panics is
// logged and answers EIO.
func (l *Loop) answer(r *Request) (st fuse.Status) {
	defer func() {
		if v := recover(); v != nil {
			r.result, r.bytes, r.outLen = nil, nil, 0
			if st = l.opts.PanicHandler(v); st == fuse.OK {
				st = fuse.EIO
			}
		}
	}()
	op := r.Op()
	if r.Node() == pollNode {
		return l.answerPollFile(r)
	}
	if op >= opCount || handlers[op].answer == nil {
		return fuse.ENOSYS
	}
	h := &handlers[op]
	if op == OpForget || op == OpBatchForget || op == OpNotifyReply || op == OpInterrupt {
		r.quiet = true
	}
	if !r.split(int(h.fixed)) {
		return fuse.EIO
	}
	return h.answer(l, r)
}

// ---- names and attributes

func lookup(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	if p := l.pollFile.Load(); p != nil && *p == name && r.Node() == fuse.FUSE_ROOT_ID {
		return l.lookupPollFile(r)
	}
	return l.fs.Lookup(r.cancel, r.header(), name, out[fuse.EntryOut](r))
}

func forget(l *Loop, r *Request) fuse.Status {
	l.fs.Forget(r.Node(), in[fuse.ForgetIn](r).Nlookup)
	return fuse.OK
}

func batchForget(l *Loop, r *Request) fuse.Status {
	const one = 16 // node and count
	count := r.uint32At(headerIn)
	for ; count > 0 && len(r.payload) >= one; count-- {
		node, n := binary.NativeEndian.Uint64(r.payload), binary.NativeEndian.Uint64(r.payload[8:])
		if node != pollNode {
			l.fs.Forget(node, n)
		}
		r.payload = r.payload[one:]
	}
	return fuse.OK
}

func getattr(l *Loop, r *Request) fuse.Status {
	return l.fs.GetAttr(r.cancel, in[fuse.GetAttrIn](r), out[fuse.AttrOut](r))
}

func setattr(l *Loop, r *Request) fuse.Status {
	return l.fs.SetAttr(r.cancel, in[fuse.SetAttrIn](r), out[fuse.AttrOut](r))
}

func statx(l *Loop, r *Request) fuse.Status {
	return l.fs.Statx(r.cancel, in[fuse.StatxIn](r), out[fuse.StatxOut](r))
}

func access(l *Loop, r *Request) fuse.Status { return l.fs.Access(r.cancel, in[fuse.AccessIn](r)) }

func statfs(l *Loop, r *Request) fuse.Status {
	return l.fs.StatFs(r.cancel, r.header(), out[fuse.StatfsOut](r))
}

// syncer is a file system that answers syncfs; go-fuse's interface has no
// place for it. The kernel sends it to few mounts.
type syncer interface {
	SyncFs(cancel <-chan struct{}, header *fuse.InHeader) fuse.Status
}

func syncfs(l *Loop, r *Request) fuse.Status {
	if s, ok := l.fs.(syncer); ok {
		return s.SyncFs(r.cancel, r.header())
	}
	return fuse.ENOSYS
}

func readlink(l *Loop, r *Request) (st fuse.Status) {
	r.bytes, st = l.fs.Readlink(r.cancel, r.header())
	return st
}

func symlink(l *Loop, r *Request) fuse.Status {
	name, ok1 := r.name()
	target, ok2 := r.name()
	if !ok1 || !ok2 {
		return fuse.EINVAL
	}
	return l.fs.Symlink(r.cancel, r.header(), target, name, out[fuse.EntryOut](r))
}

func mknod(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.fs.Mknod(r.cancel, in[fuse.MknodIn](r), name, out[fuse.EntryOut](r))
}

func mkdir(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.fs.Mkdir(r.cancel, in[fuse.MkdirIn](r), name, out[fuse.EntryOut](r))
}

func unlink(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.fs.Unlink(r.cancel, r.header(), name)
}

func rmdir(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.fs.Rmdir(r.cancel, r.header(), name)
}

func rename(l *Loop, r *Request) fuse.Status {
	r.rename = fuse.RenameIn{InHeader: *r.header(), Newdir: r.uint64At(headerIn)}
	return renameTo(l, r, &r.rename)
}

func rename2(l *Loop, r *Request) fuse.Status { return renameTo(l, r, in[fuse.RenameIn](r)) }

func renameTo(l *Loop, r *Request, in *fuse.RenameIn) fuse.Status {
	from, ok1 := r.name()
	to, ok2 := r.name()
	if !ok1 || !ok2 {
		return fuse.EINVAL
	}
	return l.fs.Rename(r.cancel, in, from, to)
}

func link(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.fs.Link(r.cancel, in[fuse.LinkIn](r), name, out[fuse.EntryOut](r))
}

// ---- files

func open(l *Loop, r *Request) fuse.Status {
	return l.fs.Open(r.cancel, in[fuse.OpenIn](r), out[fuse.OpenOut](r))
}

func create(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.fs.Create(r.cancel, in[fuse.CreateIn](r), name, out[fuse.CreateOut](r))
}

// tmpfile does not look at the name: it is that of the kernel's dentry, "/".
func tmpfile(l *Loop, r *Request) fuse.Status {
	return l.fs.Tmpfile(r.cancel, in[fuse.CreateIn](r), out[fuse.CreateOut](r))
}

func read(l *Loop, r *Request) (st fuse.Status) {
	q := in[fuse.ReadIn](r)
	if int64(q.Size) > int64(l.opts.MaxWrite) {
		return fuse.EINVAL
	}
	r.result, st = l.fs.Read(r.cancel, q, r.space(int(q.Size)))
	if st == fuse.OK && r.result != nil {
		r.bytes, st = r.result.Bytes(r.room.b[:q.Size])
	}
	return st
}

func write(l *Loop, r *Request) (st fuse.Status) {
	q, o := in[fuse.WriteIn](r), out[fuse.WriteOut](r)
	if int64(q.Size) > int64(len(r.payload)) {
		return fuse.EINVAL
	}
	o.Size, st = l.fs.Write(r.cancel, q, r.payload[:q.Size])
	return st
}

func flush(l *Loop, r *Request) fuse.Status { return l.fs.Flush(r.cancel, in[fuse.FlushIn](r)) }
func fsync(l *Loop, r *Request) fuse.Status { return l.fs.Fsync(r.cancel, in[fuse.FsyncIn](r)) }

func release(l *Loop, r *Request) fuse.Status {
	l.fs.Release(r.cancel, in[fuse.ReleaseIn](r))
	return fuse.OK
}

func fallocate(l *Loop, r *Request) fuse.Status {
	return l.fs.Fallocate(r.cancel, in[fuse.FallocateIn](r))
}

func lseek(l *Loop, r *Request) fuse.Status {
	return l.fs.Lseek(r.cancel, in[fuse.LseekIn](r), out[fuse.LseekOut](r))
}

func copyFileRange(l *Loop, r *Request) (st fuse.Status) {
	o := out[fuse.WriteOut](r)
	o.Size, st = l.fs.CopyFileRange(r.cancel, in[fuse.CopyFileRangeIn](r))
	return st
}

func ioctl(l *Loop, r *Request) fuse.Status {
	q := in[fuse.IoctlIn](r)
	if int64(q.OutSize) > int64(l.opts.MaxWrite) || int64(q.InSize) > int64(len(r.payload)) {
		return fuse.EINVAL
	}
	buf := r.space(int(q.OutSize))
	clear(buf)
	st := l.fs.Ioctl(r.cancel, q, r.payload[:q.InSize], out[fuse.IoctlOut](r), buf)
	r.bytes = buf
	return st
}

func getlk(l *Loop, r *Request) fuse.Status {
	return l.fs.GetLk(r.cancel, in[fuse.LkIn](r), out[fuse.LkOut](r))
}

func setlk(l *Loop, r *Request) fuse.Status  { return l.fs.SetLk(r.cancel, in[fuse.LkIn](r)) }
func setlkw(l *Loop, r *Request) fuse.Status { return l.fs.SetLkw(r.cancel, in[fuse.LkIn](r)) }

// ---- directories

func opendir(l *Loop, r *Request) fuse.Status {
	return l.fs.OpenDir(r.cancel, in[fuse.OpenIn](r), out[fuse.OpenOut](r))
}

func readdir(l *Loop, r *Request) fuse.Status     { return list(l, r, l.fs.ReadDir) }
func readdirplus(l *Loop, r *Request) fuse.Status { return list(l, r, l.fs.ReadDirPlus) }

func list(l *Loop, r *Request, fill func(<-chan struct{}, *fuse.ReadIn, *fuse.DirEntryList) fuse.Status) fuse.Status {
	q := in[fuse.ReadIn](r)
	if int64(q.Size) > int64(l.opts.MaxWrite) {
		return fuse.EINVAL
	}
	es := fuse.NewDirEntryList(r.space(int(q.Size)), q.Offset)
	st := fill(r.cancel, q, es)
	r.bytes = es.Bytes()
	return st
}

func releasedir(l *Loop, r *Request) fuse.Status {
	l.fs.ReleaseDir(in[fuse.ReleaseIn](r))
	return fuse.OK
}

func fsyncdir(l *Loop, r *Request) fuse.Status {
	return l.fs.FsyncDir(r.cancel, in[fuse.FsyncIn](r))
}

// ---- attributes

func getxattr(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.xattr(r, func(buf []byte) (uint32, fuse.Status) { return l.fs.GetXAttr(r.cancel, r.header(), name, buf) })
}

func listxattr(l *Loop, r *Request) fuse.Status {
	return l.xattr(r, func(buf []byte) (uint32, fuse.Status) { return l.fs.ListXAttr(r.cancel, r.header(), buf) })
}

// xattr asks for a value, or with a size of 0 for its length only.
func (l *Loop) xattr(r *Request, get func([]byte) (uint32, fuse.Status)) fuse.Status {
	size := in[fuse.GetXAttrIn](r).Size
	if int64(size) > int64(l.opts.MaxWrite) {
		return fuse.EINVAL
	}
	if size == 0 {
		n, st := get(nil)
		if st == fuse.ERANGE {
			st = fuse.OK // of no room at all it is the answer
		}
		out[fuse.GetXAttrOut](r).Size = n
		return st
	}
	buf := r.space(int(size))
	n, st := get(buf)
	if st == fuse.OK {
		r.bytes = buf[:min(n, size)]
	}
	return st
}

func setxattr(l *Loop, r *Request) fuse.Status {
	q := &r.setxattr
	if l.setxattrIn == setxattrIn {
		*q = fuse.SetXAttrIn{InHeader: *r.header(), Size: r.uint32At(headerIn), Flags: r.uint32At(headerIn + 4)}
	} else if !r.split(l.setxattrIn) {
		return fuse.EIO
	} else {
		q = in[fuse.SetXAttrIn](r)
	}
	name, ok := r.name()
	if !ok || int64(q.Size) > int64(len(r.payload)) {
		return fuse.EINVAL
	}
	return l.fs.SetXAttr(r.cancel, q, name, r.payload[:q.Size])
}

func removexattr(l *Loop, r *Request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EINVAL
	}
	return l.fs.RemoveXAttr(r.cancel, r.header(), name)
}

// ---- the connection

func interrupt(l *Loop, r *Request) fuse.Status {
	l.interrupt(in[fuse.InterruptIn](r).Unique)
	return fuse.OK
}

// notifyReply answers a question for cached bytes; none is ever asked.
func notifyReply(*Loop, *Request) fuse.Status { return fuse.OK }

func destroy(*Loop, *Request) fuse.Status { return fuse.OK }
