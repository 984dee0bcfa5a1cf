package loop

import (
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// rawMax is up to how many bytes a reply is written by a raw system call. The
// garbage collector cannot stop a thread that is in one; copying this much
// takes some 30 µs.
const rawMax = 256 << 10

// readDevice reads one request. It blocks in an ordinary system call.
func readDevice(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}

// send writes the reply to the worker's request.
func (w *worker) send(st fuse.Status) {
	r := &w.r
	w.l.replies.Add(1)
	if st != fuse.OK {
		r.outLen, r.bytes = 0, nil
	}
	n := headerOut + r.outLen
	r.reply.OutHeader = fuse.OutHeader{Length: uint32(n + len(r.bytes)), Status: -int32(st), Unique: r.header().Unique}
	for {
		errno := w.write(n, r.bytes)
		switch errno {
		case 0, syscall.ENOENT, syscall.ENODEV, syscall.EPERM:
			// Who asked is gone, or the mount is.
			return
		case syscall.EINTR, syscall.EAGAIN:
			continue
		}
		w.l.log.Error("the kernel refused a reply", "op", r.Op(), "node", r.Node(), "status", st, "bytes", len(r.bytes), "error", errno)
		if st == fuse.EIO {
			return
		}
		// Whoever asked must not wait for ever.
		st, r.bytes, n = fuse.EIO, nil, headerOut
		r.reply.OutHeader = fuse.OutHeader{Length: uint32(n), Status: -int32(st), Unique: r.header().Unique}
	}
}

func (w *worker) write(n int, more []byte) syscall.Errno {
	fd, head := uintptr(w.l.fd), unsafe.Pointer(&w.r.reply)
	if len(more) == 0 {
		_, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(head), uintptr(n))
		return errno
	}
	w.iov[0].Base, w.iov[1].Base = (*byte)(head), unsafe.SliceData(more)
	w.iov[0].SetLen(n)
	w.iov[1].SetLen(len(more))
	var errno syscall.Errno
	if len(more) <= rawMax {
		_, _, errno = syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov)), 2)
	} else {
		_, _, errno = syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov)), 2)
	}
	w.iov[1].Base = nil
	return errno
}
