package mnttests

import (
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// caller makes the calls of one subject on one side. It answers with what a program could
// see, as text; what differs on any two filesystems (inode and device numbers, blocks, the
// sizes of directories) is left out.
type caller struct {
	fds  map[int]int
	seen map[string]look // the last stat, by name
}

func serveCalls(in io.Reader, out io.Writer) error {
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	w := &caller{fds: map[int]int{}, seen: map[string]look{}}
	for {
		var c call
		if err := dec.Decode(&c); err != nil {
			return err
		}
		var a struct{ Text string }
		a.Text = w.make(&c)
		if err := enc.Encode(&a); err != nil {
			return err
		}
	}
}

// calls are the operations by name.
var calls map[string]func(w *caller, c *call) (string, error)

func init() {
	calls = map[string]func(w *caller, c *call) (string, error){
		"reset": (*caller).reset, "umask": (*caller).umask,
		"open": (*caller).open, "close": (*caller).close, "read": (*caller).read, "write": (*caller).write,
		"pread": (*caller).pread, "pwrite": (*caller).pwrite, "seek": (*caller).seek, "copy": (*caller).copy,
		"truncate": (*caller).truncate, "fallocate": (*caller).fallocate, "sync": (*caller).sync,
		"lock": (*caller).lock, "flock": (*caller).flock,
		"mkdir": (*caller).mkdir, "mknod": (*caller).mknod, "symlink": (*caller).symlink, "readlink": (*caller).readlink,
		"link": (*caller).link, "linkfd": (*caller).linkfd, "unlink": (*caller).unlink, "rename": (*caller).rename,
		"chmod": (*caller).chmod, "chown": (*caller).chown, "utimens": (*caller).utimens, "access": (*caller).access,
		"stat": (*caller).stat, "list": (*caller).list, "tree": (*caller).tree, "statfs": (*caller).statfs,
		"setxattr": (*caller).setxattr, "getxattr": (*caller).getxattr, "listxattr": (*caller).listxattr, "rmxattr": (*caller).rmxattr,
		"chdir": (*caller).chdir, "handle": (*caller).handle,
	}
}

func (w *caller) make(c *call) string {
	do, ok := calls[c.Op]
	if !ok {
		return "unknown operation " + c.Op
	}
	text, err := do(w, c)
	if err != nil {
		if e, ok := err.(syscall.Errno); ok {
			return unix.ErrnoName(e)
		}
		return err.Error()
	}
	return strings.TrimSpace("ok " + text)
}

// fd is the descriptor in a slot; an empty slot is no descriptor.
func (w *caller) fd(slot int) int {
	if fd, ok := w.fds[slot]; ok {
		return fd
	}
	return -1
}

func (w *caller) dir(c *call) int {
	if c.Dir == 0 {
		return unix.AT_FDCWD
	}
	return w.fd(c.Dir)
}

var flagNames = map[string]int{
	"RDONLY": unix.O_RDONLY, "WRONLY": unix.O_WRONLY, "RDWR": unix.O_RDWR, "CREAT": unix.O_CREAT, "EXCL": unix.O_EXCL,
	"TRUNC": unix.O_TRUNC, "APPEND": unix.O_APPEND, "NOFOLLOW": unix.O_NOFOLLOW, "DIRECTORY": unix.O_DIRECTORY,
	"PATH": unix.O_PATH, "TMPFILE": unix.O_TMPFILE, "SYNC": unix.O_SYNC, "DSYNC": unix.O_DSYNC, "NOATIME": unix.O_NOATIME, "DIRECT": unix.O_DIRECT,
	"NOREPLACE": unix.RENAME_NOREPLACE, "EXCHANGE": unix.RENAME_EXCHANGE, "WHITEOUT": unix.RENAME_WHITEOUT,
	"KEEP": unix.FALLOC_FL_KEEP_SIZE, "PUNCH": unix.FALLOC_FL_PUNCH_HOLE, "ZERO": unix.FALLOC_FL_ZERO_RANGE,
	"COLLAPSE": unix.FALLOC_FL_COLLAPSE_RANGE, "INSERT": unix.FALLOC_FL_INSERT_RANGE,
	"FOLLOW": unix.AT_SYMLINK_FOLLOW, "LINK": unix.AT_SYMLINK_NOFOLLOW, "REMOVEDIR": unix.AT_REMOVEDIR, "EMPTY": unix.AT_EMPTY_PATH,
	"XCREATE": unix.XATTR_CREATE, "XREPLACE": unix.XATTR_REPLACE,
	"SET": unix.SEEK_SET, "CUR": unix.SEEK_CUR, "END": unix.SEEK_END, "DATA": unix.SEEK_DATA, "HOLE": unix.SEEK_HOLE,
	"SH": unix.LOCK_SH, "EX": unix.LOCK_EX, "UN": unix.LOCK_UN, "NB": unix.LOCK_NB,
	"REG": unix.S_IFREG, "FIFO": unix.S_IFIFO, "SOCK": unix.S_IFSOCK, "CHR": unix.S_IFCHR, "BLK": unix.S_IFBLK,
}

func (c *call) flags() int {
	n := 0
	for f := range strings.SplitSeq(c.Flags, "|") {
		n |= flagNames[f]
	}
	return n
}

func (c *call) has(flag string) bool {
	for f := range strings.SplitSeq(c.Flags, "|") {
		if f == flag {
			return true
		}
	}
	return false
}

// reset starts anew in another directory.
func (w *caller) reset(c *call) (string, error) {
	for slot, fd := range w.fds {
		_ = unix.Close(fd)
		delete(w.fds, slot)
	}
	clear(w.seen)
	unix.Umask(0o022)
	return "", unix.Chdir(c.P)
}

func (w *caller) umask(c *call) (string, error) {
	return fmt.Sprintf("%o", unix.Umask(c.Mode)), nil
}

// open never blocks on a FIFO.
func (w *caller) open(c *call) (string, error) {
	fd, err := unix.Openat(w.dir(c), c.P, c.flags()|unix.O_NONBLOCK|unix.O_CLOEXEC, uint32(c.Mode))
	if err != nil {
		return "", err
	}
	if old, ok := w.fds[c.FD]; ok {
		_ = unix.Close(old)
	}
	w.fds[c.FD] = fd
	return "", nil
}

func (w *caller) close(c *call) (string, error) {
	err := unix.Close(w.fd(c.FD))
	delete(w.fds, c.FD)
	return "", err
}

// show shortens long data to what tells it from other data.
func show(b []byte) string {
	if len(b) <= 64 {
		return strconv.Quote(string(b))
	}
	var sum uint64 = 14695981039346656037
	for _, x := range b {
		sum = (sum ^ uint64(x)) * 1099511628211
	}
	return fmt.Sprintf("%d bytes %x", len(b), sum)
}

func (w *caller) read(c *call) (string, error) {
	b := make([]byte, c.N)
	n, err := unix.Read(w.fd(c.FD), b)
	return show(b[:max(n, 0)]), err
}

func (w *caller) pread(c *call) (string, error) {
	b := make([]byte, c.N)
	n, err := unix.Pread(w.fd(c.FD), b, c.Off)
	return show(b[:max(n, 0)]), err
}

func (w *caller) write(c *call) (string, error) {
	n, err := unix.Write(w.fd(c.FD), []byte(c.Data))
	return strconv.Itoa(n), err
}

func (w *caller) pwrite(c *call) (string, error) {
	n, err := unix.Pwrite(w.fd(c.FD), []byte(c.Data), c.Off)
	return strconv.Itoa(n), err
}

func (w *caller) seek(c *call) (string, error) {
	n, err := unix.Seek(w.fd(c.FD), c.Off, c.flags())
	return strconv.FormatInt(n, 10), err
}

func (w *caller) copy(c *call) (string, error) {
	in, out := c.Off, int64(c.Mode)
	n, err := unix.CopyFileRange(w.fd(c.FD), &in, w.fd(c.To), &out, int(c.N), 0)
	return strconv.Itoa(n), err
}

func (w *caller) truncate(c *call) (string, error) {
	if c.FD > 0 {
		return "", unix.Ftruncate(w.fd(c.FD), c.N)
	}
	return "", unix.Truncate(c.P, c.N)
}

func (w *caller) fallocate(c *call) (string, error) {
	return "", unix.Fallocate(w.fd(c.FD), uint32(c.flags()), c.Off, c.N)
}

func (w *caller) sync(c *call) (string, error) {
	switch c.Name {
	case "data":
		return "", unix.Fdatasync(w.fd(c.FD))
	case "fs":
		return "", unix.Syncfs(w.fd(c.FD))
	}
	return "", unix.Fsync(w.fd(c.FD))
}

func (w *caller) flock(c *call) (string, error) {
	return "", unix.Flock(w.fd(c.FD), c.flags()|unix.LOCK_NB)
}

// lock is a POSIX lock of a range, or with the name "ofd" one of the open file.
func (w *caller) lock(c *call) (string, error) {
	l := unix.Flock_t{Start: c.Off, Len: c.N, Type: unix.F_UNLCK}
	if c.has("SH") {
		l.Type = unix.F_RDLCK
	} else if c.has("EX") {
		l.Type = unix.F_WRLCK
	}
	set, get := unix.F_SETLK, unix.F_GETLK
	if c.Name == "ofd" {
		set, get = unix.F_OFD_SETLK, unix.F_OFD_GETLK
	}
	if c.has("GET") {
		err := unix.FcntlFlock(uintptr(w.fd(c.FD)), get, &l)
		return fmt.Sprintf("%d %d+%d", l.Type, l.Start, l.Len), err
	}
	return "", unix.FcntlFlock(uintptr(w.fd(c.FD)), set, &l)
}

func (w *caller) chdir(c *call) (string, error) { return "", unix.Chdir(c.P) }

// handle wants a file handle as the NFS server takes it, and to open the file by it.
func (w *caller) handle(c *call) (string, error) {
	h, mnt, err := unix.NameToHandleAt(w.dir(c), c.P, 0)
	if err != nil {
		return "", err
	}
	root, err := os.Open(".")
	if err != nil {
		return "", err
	}
	defer root.Close()
	_ = mnt
	fd, err := unix.OpenByHandleAt(int(root.Fd()), h, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var a, b unix.Stat_t
	if err := unix.Fstat(fd, &a); err != nil {
		return "", err
	}
	if err := unix.Fstatat(w.dir(c), c.P, &b, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", err
	}
	return fmt.Sprint(a.Ino == b.Ino), nil
}
