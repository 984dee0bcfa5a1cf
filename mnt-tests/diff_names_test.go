package mnttests

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func (w *caller) mkdir(c *call) (string, error) {
	return "", unix.Mkdirat(w.dir(c), c.P, uint32(c.Mode))
}

func (w *caller) mknod(c *call) (string, error) {
	return "", unix.Mknodat(w.dir(c), c.P, uint32(c.Mode|c.flags()), int(c.N))
}

func (w *caller) symlink(c *call) (string, error) {
	return "", unix.Symlinkat(c.Q, w.dir(c), c.P)
}

func (w *caller) readlink(c *call) (string, error) {
	b := make([]byte, 5000)
	n, err := unix.Readlinkat(w.dir(c), c.P, b)
	return strconv.Quote(string(b[:max(n, 0)])), err
}

func (w *caller) link(c *call) (string, error) {
	return "", unix.Linkat(w.dir(c), c.P, unix.AT_FDCWD, c.Q, c.flags())
}

// linkfd gives an open file a name, as programs do with what O_TMPFILE made.
func (w *caller) linkfd(c *call) (string, error) {
	return "", unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", w.fd(c.FD)), unix.AT_FDCWD, c.P, unix.AT_SYMLINK_FOLLOW)
}

func (w *caller) unlink(c *call) (string, error) {
	return "", unix.Unlinkat(w.dir(c), c.P, c.flags())
}

func (w *caller) rename(c *call) (string, error) {
	return "", unix.Renameat2(w.dir(c), c.P, unix.AT_FDCWD, c.Q, uint(c.flags()))
}

func (w *caller) chmod(c *call) (string, error) {
	if c.FD > 0 {
		return "", unix.Fchmod(w.fd(c.FD), uint32(c.Mode))
	}
	return "", unix.Fchmodat(w.dir(c), c.P, uint32(c.Mode), 0)
}

func (w *caller) chown(c *call) (string, error) {
	if c.FD > 0 {
		return "", unix.Fchown(w.fd(c.FD), c.UID, c.GID)
	}
	return "", unix.Fchownat(w.dir(c), c.P, c.UID, c.GID, c.flags())
}

func when(s string) (ts unix.Timespec, err error) {
	switch s {
	case "omit", "":
		return unix.Timespec{Nsec: unix.UTIME_OMIT}, nil
	case "now":
		return unix.Timespec{Nsec: unix.UTIME_NOW}, nil
	}
	sec, nsec, _ := strings.Cut(s, ".")
	if ts.Sec, err = strconv.ParseInt(sec, 10, 64); err == nil && nsec != "" {
		ts.Nsec, err = strconv.ParseInt(nsec, 10, 64)
	}
	return ts, err
}

func (w *caller) utimens(c *call) (string, error) {
	a, err := when(c.A)
	if err != nil {
		return "", err
	}
	m, err := when(c.M)
	if err != nil {
		return "", err
	}
	if c.FD > 0 {
		return "", unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", w.fd(c.FD)), []unix.Timespec{a, m}, 0)
	}
	return "", unix.UtimesNanoAt(w.dir(c), c.P, []unix.Timespec{a, m}, c.flags())
}

func (w *caller) access(c *call) (string, error) {
	return "", unix.Faccessat(w.dir(c), c.P, uint32(c.Mode), 0)
}

// stat shows what must be the same; times that a test has set are shown, others by whether
// they moved since this caller last looked.
func (w *caller) stat(c *call) (string, error) {
	var st unix.Stat_t
	dir, path, flags, key := w.dir(c), c.P, c.flags(), c.P+c.Flags
	if c.FD > 0 {
		dir, path, flags, key = w.fd(c.FD), "", unix.AT_EMPTY_PATH, fmt.Sprint("fd ", c.FD)
	}
	if err := unix.Fstatat(dir, path, &st, flags); err != nil {
		return "", err
	}
	return w.shown(key, object(dir, path, flags), &st), nil
}

// A look is what is remembered of the last stat of a name: the object that had it, and its
// times.
type look struct {
	object       string
	mtime, ctime unix.Timespec
}

// object tells what has a name now from what had it before: their times have nothing to do
// with each other, and the clock of a disk is coarse enough for two to be the same.
func object(dir int, path string, flags int) string {
	how := flags & unix.AT_EMPTY_PATH
	if flags&(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) == 0 {
		how = unix.AT_SYMLINK_FOLLOW
	}
	h, _, err := unix.NameToHandleAt(dir, path, how)
	if err != nil {
		return err.Error()
	}
	return string(h.Bytes())
}

func (w *caller) shown(key, object string, st *unix.Stat_t) string {
	text := fmt.Sprintf("%o links=%d %d:%d", st.Mode, st.Nlink, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFLNK:
		text += fmt.Sprint(" size=", st.Size)
	case unix.S_IFCHR, unix.S_IFBLK:
		text += fmt.Sprintf(" dev=%x", st.Rdev)
	}
	if st.Atim.Sec < longAgo {
		text += fmt.Sprintf(" a=%d.%09d", st.Atim.Sec, st.Atim.Nsec)
	}
	if st.Mtim.Sec < longAgo {
		text += fmt.Sprintf(" m=%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
	}
	was, ok := w.seen[key]
	w.seen[key] = look{object, st.Mtim, st.Ctim}
	ok = ok && was.object == object
	if ok && was.mtime != st.Mtim {
		text += " m+"
	}
	if ok && was.ctime != st.Ctim {
		text += " c+"
	}
	return text
}

// longAgo divides times that sequences set from those that are taken from the clock.
const longAgo = 1_500_000_000

// list is a directory, in order of names: which comes first is the filesystem's affair.
func (w *caller) list(c *call) (string, error) {
	fd, err := unix.Openat(w.dir(c), c.P, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	names, err := entries(fd)
	return strings.Join(names, " "), err
}

// entries reads a directory from its beginning, names with their types.
func entries(fd int) (names []string, err error) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			break
		}
		for b := buf[:n]; len(b) > 0; {
			rec := int(b[16]) | int(b[17])<<8
			name, _, _ := strings.Cut(string(b[19:rec]), "\x00")
			names = append(names, fmt.Sprintf("%s/%d", strconv.Quote(name), b[18]))
			b = b[rec:]
		}
	}
	slices.Sort(names)
	return names, nil
}

func (w *caller) statfs(c *call) (string, error) {
	var st unix.Statfs_t
	err := unix.Statfs(".", &st)
	return fmt.Sprint("names of ", st.Namelen), err
}

// path is what the xattr calls take; a slot is reached through /proc.
func (w *caller) path(c *call) string {
	if c.FD > 0 {
		return fmt.Sprintf("/proc/self/fd/%d", w.fd(c.FD))
	}
	return c.P
}

func (w *caller) setxattr(c *call) (string, error) {
	if c.has("LINK") {
		return "", unix.Lsetxattr(w.path(c), c.Name, []byte(c.Data), c.flags()&^unix.AT_SYMLINK_NOFOLLOW)
	}
	return "", unix.Setxattr(w.path(c), c.Name, []byte(c.Data), c.flags())
}

func (w *caller) getxattr(c *call) (string, error) {
	b := make([]byte, 1<<16)
	if c.N > 0 {
		b = b[:c.N]
	}
	get := unix.Getxattr
	if c.has("LINK") {
		get = unix.Lgetxattr
	}
	n, err := get(w.path(c), c.Name, b)
	return show(b[:max(n, 0)]), err
}

func (w *caller) listxattr(c *call) (string, error) {
	b := make([]byte, 1<<16)
	n, err := unix.Llistxattr(w.path(c), b)
	if err != nil {
		return "", err
	}
	names := strings.Split(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00")
	slices.Sort(names)
	return strings.Join(names, " "), nil
}

func (w *caller) rmxattr(c *call) (string, error) {
	if c.has("LINK") {
		return "", unix.Lremovexattr(w.path(c), c.Name)
	}
	return "", unix.Removexattr(w.path(c), c.Name)
}

// tree is everything below the directory under test.
func (w *caller) tree(c *call) (string, error) {
	var out strings.Builder
	var walk func(p string) error
	walk = func(p string) error {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return fmt.Errorf("lstat %s: %w", p, err)
		}
		fmt.Fprintf(&out, "\n  %s %s", strconv.Quote(p), w.shown("tree "+p, object(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW), &st))
		if x, err := w.listxattr(&call{P: p}); err == nil && x != "" {
			for name := range strings.SplitSeq(x, " ") {
				v, err := w.getxattr(&call{P: p, Name: name, Flags: "LINK"})
				fmt.Fprintf(&out, " %s=%s%v", name, v, errText(err))
			}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := head(p)
			fmt.Fprintf(&out, " %s%s", show(b), errText(err))
		case unix.S_IFLNK:
			to, err := os.Readlink(p)
			fmt.Fprintf(&out, " -> %q%s", to, errText(err))
		case unix.S_IFDIR:
			l, err := os.ReadDir(p) // in order of names
			if err != nil {
				return err
			}
			for _, e := range l {
				if err := walk(p + "/" + e.Name()); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := walk(".")
	return out.String(), err
}

// head is the beginning of a file: some are sparse, and huge.
func head(p string) ([]byte, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := err.(*os.PathError); ok {
		err = e.Err
	}
	if e, ok := err.(syscall.Errno); ok {
		return " " + unix.ErrnoName(e)
	}
	return " " + err.Error()
}
