package loop

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Options are what go-fuse's mount options have no place for.
type Options struct {
	// MayBlock tells whether a request may have to wait: for a disk, a lock
	// that others hold long, another process. It is asked for each request and
	// must be fast. Without it every request counts as one that may.
	MayBlock func(*Request) bool
	// Closing is told of a RELEASE as soon as it was read, before anything else
	// is: nobody waits for a close, but the next open of the file must come
	// after it. It must be fast.
	Closing func(*Request)
	Logger  *slog.Logger
}

// Mount mounts and agrees with the kernel on how to speak; Serve then answers.
// Of o it heeds what has a meaning here: MaxWrite, which is the limit of reads
// too, names, mount options, capabilities, PanicHandler, Debug.
//
// With o.DirectMount it calls mount(2) and falls back on fusermount3, which an
// ordinary user needs. Errors wrap the system's: ENOENT or ENODEV without the
// device, exec.ErrNotFound without fusermount3.
func Mount(fs fuse.RawFileSystem, mountpoint string, o *fuse.MountOptions, x Options) (*Loop, error) {
	dir, err := filepath.Abs(mountpoint)
	if err != nil {
		return nil, err
	}
	l := newLoop(fs, o, x)
	l.mountpoint = dir
	if l.fd, l.direct, err = attach(dir, &l.opts); err != nil {
		return nil, err
	}
	syscall.CloseOnExec(l.fd)
	if err := l.handshake(); err != nil {
		return nil, errors.Join(err, syscall.Close(l.fd), detach(dir, l.direct))
	}
	fs.Init(nil) // the file system talks back by the Loop
	return l, nil
}

func newLoop(fs fuse.RawFileSystem, o *fuse.MountOptions, x Options) *Loop {
	l := &Loop{fs: fs, opts: *o, mayBlock: x.MayBlock, closing: x.Closing, log: x.Logger, served: make(chan struct{}), rouse: make(chan struct{}, 1), stop: make(chan struct{})}
	l.setxattrIn = setxattrIn
	if l.log == nil {
		l.log = slog.Default()
	}
	if o.Debug {
		l.trace = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if l.mayBlock == nil {
		l.mayBlock = func(*Request) bool { return true }
	}
	if l.opts.PanicHandler == nil {
		l.opts.PanicHandler = func(v any) fuse.Status {
			l.log.Error("a request panicked", "panic", v)
			return fuse.EIO
		}
	}
	if l.opts.MaxWrite <= 0 {
		l.opts.MaxWrite = 128 << 10
	}
	l.opts.MaxWrite = min(l.opts.MaxWrite, maxPages()*os.Getpagesize())
	if l.opts.MaxBackground <= 0 {
		l.opts.MaxBackground = 12
	}
	return l
}

// maxPages is the kernel's limit on a request; it can be tuned since Linux 6.13.
func maxPages() int {
	b, err := os.ReadFile("/proc/sys/fs/fuse/max_pages_limit")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 {
			return n
		}
	}
	return 256
}

func attach(dir string, o *fuse.MountOptions) (fd int, direct bool, err error) {
	if o.DirectMount || o.DirectMountStrict {
		if fd, err = mountDirect(dir, o); err == nil || o.DirectMountStrict {
			return fd, true, err
		}
	}
	fd, ferr := mountByHelper(dir, o)
	if err != nil && errors.Is(ferr, exec.ErrNotFound) {
		return -1, false, err // it is mount(2) that says what is wrong
	}
	return fd, false, ferr
}

// flagOf are the options that mount(2) takes as bits; off is set for those
// that take one away.
var flagOf = map[string]struct {
	bit uintptr
	off bool
}{
	"ro": {syscall.MS_RDONLY, false}, "rw": {syscall.MS_RDONLY, true},
	"nodev": {syscall.MS_NODEV, false}, "dev": {syscall.MS_NODEV, true},
	"nosuid": {syscall.MS_NOSUID, false}, "suid": {syscall.MS_NOSUID, true},
	"noexec": {syscall.MS_NOEXEC, false}, "exec": {syscall.MS_NOEXEC, true},
	"sync": {syscall.MS_SYNCHRONOUS, false}, "async": {syscall.MS_SYNCHRONOUS, true},
	"dirsync": {syscall.MS_DIRSYNC, false},
	"noatime": {syscall.MS_NOATIME, false}, "atime": {syscall.MS_NOATIME, true},
	"nodiratime": {syscall.MS_NODIRATIME, false}, "diratime": {syscall.MS_NODIRATIME, true},
	"relatime": {syscall.MS_RELATIME, false}, "strictatime": {syscall.MS_STRICTATIME, false},
}

// unhelped are the options that fusermount3 does not know: it mounts with relatime, and it
// is the daemon that does as they say.
var unhelped = []string{"relatime", "strictatime", "diratime", "nodiratime"}

func mountDirect(dir string, o *fuse.MountOptions) (int, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return -1, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if o.DirectMountFlags != 0 {
		flags = o.DirectMountFlags
	}
	data := []string{
		fmt.Sprintf("fd=%d", fd), fmt.Sprintf("rootmode=%o", st.Mode&syscall.S_IFMT),
		fmt.Sprintf("user_id=%d", os.Geteuid()), fmt.Sprintf("group_id=%d", os.Getegid()), fmt.Sprintf("max_read=%d", o.MaxWrite),
	}
	for _, opt := range o.Options {
		if f, ok := flagOf[opt]; !ok {
			data = append(data, opt)
		} else if f.off {
			flags &^= f.bit
		} else {
			flags |= f.bit
		}
	}
	if o.AllowOther {
		data = append(data, "allow_other")
	}
	source := o.FsName
	if source == "" {
		source = o.Name
	}
	if err := syscall.Mount(source, dir, "fuse."+o.Name, flags, strings.Join(data, ",")); err != nil {
		syscall.Close(fd)
		return -1, &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	return fd, nil
}

// helper finds fusermount3, also with an empty PATH.
func helper() (string, error) {
	if p, err := exec.LookPath("fusermount3"); err == nil {
		return p, nil
	}
	return exec.LookPath("/bin/fusermount3")
}

// mountByHelper has fusermount3 mount: it opens the device as its caller and
// passes it back through a socket.
func mountByHelper(dir string, o *fuse.MountOptions) (int, error) {
	bin, err := helper()
	if err != nil {
		return -1, fmt.Errorf("fusermount3: %w", exec.ErrNotFound)
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "fusermount3"), os.NewFile(uintptr(pair[1]), "fusermount3")
	defer ours.Close()
	defer theirs.Close()
	opts := slices.DeleteFunc(slices.Clone(o.Options), func(s string) bool { return slices.Contains(unhelped, s) })
	if o.AllowOther {
		opts = append(opts, "allow_other")
	}
	if o.FsName != "" {
		opts = append(opts, "fsname="+o.FsName)
	}
	if o.Name != "" {
		opts = append(opts, "subtype="+o.Name)
	}
	opts = append(opts, fmt.Sprintf("max_read=%d", o.MaxWrite))
	for i, s := range opts {
		opts[i] = strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
	}
	cmd := exec.Command(bin, "-o", strings.Join(opts, ","), "--", dir)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	if err := runHelper(cmd); err != nil {
		return -1, err
	}
	return receive(ours)
}

func runHelper(cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			return errors.New(text)
		}
		return fmt.Errorf("fusermount3: %w", err)
	}
	return nil
}

// receive takes the device from the socket.
func receive(s *os.File) (int, error) {
	conn, err := net.FileConn(s)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	var data [4]byte
	oob := make([]byte, unix.CmsgSpace(4*4))
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(data[:], oob)
	if err != nil {
		return -1, fmt.Errorf("receive the device from fusermount3: %w", err)
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:n])
	if err == nil && len(msgs) == 1 {
		var fds []int
		if fds, err = syscall.ParseUnixRights(&msgs[0]); err == nil && len(fds) == 1 {
			return fds[0], syscall.SetNonblock(fds[0], false)
		}
	}
	return -1, errors.Join(errors.New("fusermount3 passed no device"), err)
}

// detach unmounts.
func detach(dir string, direct bool) error {
	if direct {
		return os.NewSyscallError("umount2", syscall.Unmount(dir, 0))
	}
	bin, err := helper()
	if err != nil {
		return fmt.Errorf("fusermount3: %w", exec.ErrNotFound)
	}
	return runHelper(exec.Command(bin, "-u", "--", dir))
}

// Unmount takes the mount away and waits until everything is answered. It
// fails while somebody uses it, and does nothing once the mount is gone.
func (l *Loop) Unmount() error {
	// A file that was just closed still counts as open until its RELEASE was
	// sent, and nothing tells when.
	const tries = 5
	wait := 5 * time.Millisecond
	for try := 1; ; try++ {
		err := detach(l.mountpoint, l.direct)
		if err == nil {
			<-l.served
			return nil
		}
		select {
		case <-l.served:
			return nil // by somebody else
		case <-time.After(wait):
		}
		if try == tries {
			return err
		}
		wait = 2*wait + 5*time.Millisecond
	}
}
