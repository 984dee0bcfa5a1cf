package loop

import (
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The runtime of a Go program in the daemon's own process (its tests) puts
// files that it opens under its poller, for which the kernel sends POLL, and
// waits for the answer without leaving its processor to anybody: with as many
// of them as processors nobody is left to answer. So that the kernel never
// sends one again, it is told ENOSYS once before the mount is used: by a file
// that exists for this alone, and only while WaitMount looks for it.
const (
	pollNode = ^uint64(0)
	pollName = ".aios-poll"
)

// WaitMount returns when the mount answers. Serve must be running.
func (l *Loop) WaitMount() error {
	name := pollName
	l.pollFile.Store(&name)
	defer l.pollFile.Store(nil)
	fd, err := unix.Open(filepath.Join(l.mountpoint, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}}, 0) // whatever it says
	return unix.Close(fd)
}

func pollAttr() fuse.Attr {
	a := fuse.Attr{Ino: pollNode, Mode: syscall.S_IFREG | 0o444, Nlink: 1}
	a.Uid, a.Gid = uint32(unix.Geteuid()), uint32(unix.Getegid())
	return a
}

func (l *Loop) lookupPollFile(r *Request) fuse.Status {
	*out[fuse.EntryOut](r) = fuse.EntryOut{NodeId: pollNode, Attr: pollAttr()}
	return fuse.OK
}

func (l *Loop) answerPollFile(r *Request) fuse.Status {
	switch r.Op() {
	case OpGetattr:
		out[fuse.AttrOut](r).Attr = pollAttr()
		return fuse.OK
	case OpOpen:
		// A daemon that is killed meanwhile closes the file before the device, and
		// would wait for its own answer to FLUSH, for ever.
		out[fuse.OpenOut](r).OpenFlags = fuse.FOPEN_NOFLUSH
		return fuse.OK
	case OpFlush, OpRelease:
		return fuse.OK
	case OpForget:
		r.quiet = true
		return fuse.OK
	case OpPoll:
		return fuse.ENOSYS
	}
	return fuse.ERANGE // ENOSYS would end the operation for the whole mount
}
