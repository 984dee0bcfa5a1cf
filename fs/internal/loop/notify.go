package loop

import (
	"math"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The ioctls of passthrough, FUSE_DEV_IOC_BACKING_OPEN and _CLOSE.
const (
	backingOpen  = 0x4010e501
	backingClose = 0x4004e502
)

// withDevice runs f unless the device is closed already.
func (l *Loop) withDevice(f func(fd uintptr) syscall.Errno) syscall.Errno {
	l.fdMu.RLock()
	defer l.fdMu.RUnlock()
	if l.closed {
		return syscall.EBADF
	}
	return f(uintptr(l.fd))
}

// notify sends a notice. The kernel takes locks for it that a request may
// hold: it must not be sent from a handler, but for bytes under the rule of
// InodeNotifyStoreCache and for attributes alone, and blocks in an ordinary call.
func notify[T any](l *Loop, code int32, head T, more []byte) fuse.Status {
	msg := struct {
		fuse.OutHeader
		body T
	}{body: head}
	n := headerOut + int(unsafe.Sizeof(head))
	msg.OutHeader = fuse.OutHeader{Length: uint32(n + len(more)), Status: -code}
	iov := [][]byte{unsafe.Slice((*byte)(unsafe.Pointer(&msg)), n)}
	if len(more) > 0 {
		iov = append(iov, more)
	}
	errno := l.withDevice(func(fd uintptr) syscall.Errno {
		for {
			_, err := unix.Writev(int(fd), iov)
			if errno, ok := err.(syscall.Errno); !ok {
				return 0
			} else if errno != syscall.EINTR {
				return errno
			}
		}
	})
	if errno == syscall.EINVAL {
		return fuse.ENOSYS // how the kernel refuses a notice that it does not know
	}
	return fuse.Status(errno)
}

// InodeNotify makes the kernel forget an inode's attributes, and its bytes
// from off on (all with a length of 0 or less; none with a negative off).
// ENOENT: it does not know the inode.
func (l *Loop) InodeNotify(node uint64, off, length int64) fuse.Status {
	return notify(l, fuse.NOTIFY_INVAL_INODE, fuse.NotifyInvalInodeOut{Ino: node, Off: off, Length: length}, nil)
}

// EntryNotify makes the kernel forget a name in a directory.
func (l *Loop) EntryNotify(parent uint64, name string) fuse.Status {
	return notify(l, fuse.NOTIFY_INVAL_ENTRY, fuse.NotifyInvalEntryOut{Parent: parent, NameLen: uint32(len(name))}, append([]byte(name), 0))
}

// DeleteNotify tells the kernel that a name is gone, also where the thing is
// in use, as a working directory is.
func (l *Loop) DeleteNotify(parent, child uint64, name string) fuse.Status {
	return notify(l, fuse.NOTIFY_DELETE, fuse.NotifyInvalDeleteOut{Parent: parent, Child: child, NameLen: uint32(len(name))}, append([]byte(name), 0))
}

// InodeNotifyStoreCache puts bytes into the kernel's cache of a file. It waits for pages
// that are being read: from a handler only where no other open file of the inode can read.
func (l *Loop) InodeNotifyStoreCache(node uint64, off int64, data []byte) fuse.Status {
	for len(data) > 0 {
		n := min(len(data), math.MaxInt32)
		if st := notify(l, fuse.NOTIFY_STORE_CACHE, fuse.NotifyStoreOut{Nodeid: node, Offset: uint64(off), Size: uint32(n)}, data[:n]); st != fuse.OK {
			return st
		}
		data, off = data[n:], off+int64(n)
	}
	return fuse.OK
}

// RegisterBackingFd gives the kernel a host file that an open may name, so
// that reads and writes go to it directly.
func (l *Loop) RegisterBackingFd(m *fuse.BackingMap) (int32, syscall.Errno) {
	var id uintptr
	errno := l.withDevice(func(fd uintptr) (errno syscall.Errno) {
		id, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, backingOpen, uintptr(unsafe.Pointer(m)))
		return errno
	})
	return int32(id), errno
}

// UnregisterBackingFd takes a host file back.
func (l *Loop) UnregisterBackingFd(id int32) syscall.Errno {
	return l.withDevice(func(fd uintptr) syscall.Errno {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, backingClose, uintptr(unsafe.Pointer(&id)))
		return errno
	})
}
