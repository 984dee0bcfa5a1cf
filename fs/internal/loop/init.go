package loop

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// always is asked for on every mount where the kernel has it, as go-fuse does.
const always = fuse.CAP_ASYNC_READ | fuse.CAP_BIG_WRITES | fuse.CAP_READDIRPLUS | fuse.CAP_PARALLEL_DIROPS | fuse.CAP_MAX_PAGES | fuse.CAP_PASSTHROUGH

// never is what the kernel would stop calling OPEN and OPENDIR by, after one
// ENOSYS; and what is not spoken here.
const never = fuse.CAP_NO_OPEN_SUPPORT | fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_ALLOW_IDMAP | fuse.CAP_OVER_IO_URING | fuse.CAP_SECURITY_CTX | fuse.CAP_ABORT_ERROR

// capabilities are what is agreed on with a kernel that offers these.
func capabilities(offered uint64, o *fuse.MountOptions) uint64 {
	ask := always | o.ExtraCapabilities
	if o.EnableLocks {
		ask |= fuse.CAP_FLOCK_LOCKS | fuse.CAP_POSIX_LOCKS
	}
	if o.EnableSymlinkCaching {
		ask |= fuse.CAP_CACHE_SYMLINKS
	}
	if o.EnableAcl {
		ask |= fuse.CAP_POSIX_ACL
	}
	if o.ExplicitDataCacheControl {
		ask |= fuse.CAP_EXPLICIT_INVAL_DATA
	} else {
		ask |= fuse.CAP_AUTO_INVAL_DATA
	}
	if o.SyncRead {
		ask &^= fuse.CAP_ASYNC_READ
	}
	if o.DisableReadDirPlus {
		ask &^= fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO
	}
	return offered & ask &^ (o.DisabledCapabilities | never)
}

// negotiate makes the reply to the kernel's INIT.
func negotiate(in *fuse.InitIn, o *fuse.MountOptions) (fuse.InitOut, error) {
	if in.Major != major || in.Minor < minorMin {
		return fuse.InitOut{}, fmt.Errorf("the kernel speaks FUSE %d.%d; 7.%d or newer is needed", in.Major, in.Minor, minorMin)
	}
	ahead := in.MaxReadAhead
	if o.MaxReadAhead > 0 {
		ahead = min(ahead, uint32(o.MaxReadAhead))
	}
	congestion := o.CongestionThreshold
	if congestion <= 0 {
		congestion = o.MaxBackground * 3 / 4
	}
	caps := capabilities(in.Flags64(), o)
	page := os.Getpagesize()
	return fuse.InitOut{
		Major: major, Minor: min(minor, in.Minor), MaxReadAhead: ahead,
		Flags: uint32(caps) | fuse.CAP_INIT_EXT, Flags2: uint32(caps >> 32),
		MaxBackground: uint16(o.MaxBackground), CongestionThreshold: uint16(congestion),
		MaxWrite: uint32(o.MaxWrite), MaxPages: uint16((o.MaxWrite + page - 1) / page),
		MaxStackDepth: uint32(max(o.MaxStackDepth, 1)),
	}, nil
}

// handshake answers INIT, which is the first request of a mount.
func (l *Loop) handshake() error {
	w := l.newWorker(readBuffer(max(l.opts.MaxWrite, readMin)))
	for {
		n, errno := readDevice(l.fd, w.in)
		if errno == syscall.EINTR || errno == syscall.EAGAIN {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("read the first request: %w", errno)
		}
		if !w.r.set(w.in[:n]) || w.r.Op() != OpInit || n < headerIn+16 {
			return fmt.Errorf("the kernel's first request is not INIT: %w", syscall.EPROTO)
		}
		break
	}
	// Kernels before 5.17 send a shorter one.
	var hello fuse.InitIn
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&hello)), unsafe.Sizeof(hello)), w.r.body)
	answer, err := negotiate(&hello, &l.opts)
	if err != nil {
		w.send(fuse.EIO)
		return err
	}
	*out[fuse.InitOut](&w.r) = answer
	const old = 24 // of kernels before 2.6.35, 7.23
	if answer.Minor < 23 {
		w.r.outLen = old
	}
	l.setxattrIn = setxattrIn
	if answer.Flags&fuse.CAP_SETXATTR_EXT != 0 {
		l.setxattrIn = int(unsafe.Sizeof(fuse.SetXAttrIn{}))
	}
	w.send(fuse.OK)
	l.buffers = append(l.buffers, w.in)
	return nil
}
