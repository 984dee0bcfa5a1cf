package fs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Why a mount cannot be made.
var (
	ErrMountpointMissing  = errors.New("the mountpoint does not exist")
	ErrMountpointNotDir   = errors.New("the mountpoint is not a directory")
	ErrMountpointNotEmpty = errors.New("the mountpoint is not empty")
	ErrMountpointDead     = errors.New("a dead mount is in the way; run: fusermount3 -u -z MOUNTPOINT")
	ErrNoFuseDevice       = errors.New("/dev/fuse is missing; load the fuse module (modprobe fuse) or give the container the device")
	ErrNoFusermount       = errors.New("fusermount3 is missing; install the package fuse3")
	ErrFuseDenied         = errors.New("/dev/fuse may not be opened by you; an administrator must give it mode 0666")
)

// maxRequest is the largest read or write of one request: the kernel's limit
// without tuning (limits.md §3).
const maxRequest = 1 << 20

// Server is a mount that serves.
type Server struct {
	t    *tree
	tr   transport
	done chan struct{}
}

// Mount makes the closed layout where it is missing, mounts and serves. It
// returns when the mount answers. Errors wrap the sentinels above.
func Mount(ctx context.Context, o Options) (*Server, error) {
	if err := checkMountpoint(o.Mountpoint); err != nil {
		return nil, fmt.Errorf("mount %s: %w", o.Mountpoint, err)
	}
	// The caller's umask comes with the request; the daemon's own must not take
	// bits away from what it makes for others.
	syscall.Umask(0)
	t, err := newTree(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", o.Mountpoint, err)
	}
	tr, err := t.attach()
	if err != nil {
		t.close()
		return nil, fmt.Errorf("mount %s: %w", o.Mountpoint, mountError(err))
	}
	s := &Server{t: t, tr: tr, done: make(chan struct{})}
	t.start(tr)
	go func() {
		defer close(s.done)
		tr.Serve()
		t.close()
	}()
	if err := tr.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", o.Mountpoint, err), s.Unmount())
	}
	t.startPassing(tr)
	if os.Geteuid() == 0 {
		if err := raiseReadAhead(o.Mountpoint); err != nil {
			t.log.Debug("the kernel's read-ahead stays as it is", "error", err)
		}
	}
	return s, nil
}

// Wait returns when the mount is gone, by Unmount or by umount(8).
func (s *Server) Wait() { <-s.done }

// Unmount takes the mount away. It fails while somebody uses it.
func (s *Server) Unmount() error {
	if err := s.tr.Unmount(); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	<-s.done
	return nil
}

// Reload forgets what was derived from identity and policy: call it after
// either has changed. Groups and users that are new get their directories.
func (s *Server) Reload(ctx context.Context) error { return s.t.reload(ctx) }

// Drain waits until every notice of changes that the store has handed over
// was sent to the kernel.
func (s *Server) Drain(ctx context.Context) error { return s.t.inval.drain(ctx) }

func (t *tree) mountOptions() *fuse.MountOptions {
	root := os.Geteuid() == 0
	other := root || userAllowOther()
	if t.o.AllowOther != nil {
		other = *t.o.AllowOther
	}
	name := t.o.FsName
	if name == "" {
		name = "aios"
	}
	return &fuse.MountOptions{
		AllowOther: other, FsName: name, Name: "aios",
		Options:  append([]string{"default_permissions"}, t.o.MountOptions...),
		MaxWrite: maxRequest, MaxReadAhead: maxRequest, MaxBackground: 64,
		EnableSymlinkCaching: true, ExplicitDataCacheControl: true, EnableAcl: true,
		DirectMount: root, Debug: t.o.Debug,
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_READDIRPLUS_AUTO |
			fuse.CAP_DONT_MASK | fuse.CAP_EXPORT_SUPPORT,
		// With these the kernel would stop calling OPEN after one ENOSYS.
		DisabledCapabilities: fuse.CAP_NO_OPEN_SUPPORT | fuse.CAP_NO_OPENDIR_SUPPORT,
		PanicHandler: func(v any) fuse.Status {
			t.log.Error("a request panicked", "panic", v, "stack", stack())
			return fuse.EIO
		},
	}
}

func checkMountpoint(dir string) error {
	if err := clearDead(dir); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return ErrMountpointDead
	case errors.Is(err, os.ErrNotExist):
		return ErrMountpointMissing
	case err != nil:
		return err
	case !st.IsDir():
		return ErrMountpointNotDir
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if names, err := f.Readdirnames(1); err == nil && len(names) > 0 {
		return ErrMountpointNotEmpty
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return ErrNoFuseDevice
	}
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			if _, err := os.Stat("/bin/fusermount3"); err != nil {
				return ErrNoFusermount
			}
		}
		// fusermount3 opens the device as its caller, and would say so in its own words.
		if err := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK); err != nil {
			return ErrFuseDenied
		}
	}
	return nil
}

func mountError(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return ErrNoFusermount
	}
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO) {
		return fmt.Errorf("%w (%w)", ErrNoFuseDevice, err)
	}
	return err
}

// userAllowOther reads the line of fuse.conf without which fusermount3
// refuses allow_other to ordinary users.
func userAllowOther() bool {
	for _, name := range []string{"/etc/fuse.conf", "/etc/fuse3.conf"} {
		f, err := os.Open(filepath.Clean(name))
		if err != nil {
			continue
		}
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			if strings.TrimSpace(sc.Text()) == "user_allow_other" {
				return true
			}
		}
	}
	return false
}

// cacheTime is how long the kernel may remember a stored name and its
// attributes; what changes from inside is told (limits.md §3).
const cacheTime = time.Hour
