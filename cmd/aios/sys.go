package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// getXattr gives an extended attribute as text, "" where there is none.
func getXattr(path, name string) string {
	var buf [512]byte
	n, err := unix.Lgetxattr(path, name, buf[:])
	if err != nil || n <= 0 {
		return ""
	}
	return string(buf[:n])
}

func ownerOf(info os.FileInfo) (uid, gid int) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(st.Uid), int(st.Gid)
}

func isRoot() bool { return os.Geteuid() == 0 }

// absolute is filepath.Abs without the error that only a lost working directory gives.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// stateOf asks the mount at dir for its state directory; "" where the caller may not know.
func stateOf(dir string) string {
	var v struct {
		State string `json:"state_dir"`
	}
	if (tree{dir}).health(&v) != nil {
		return ""
	}
	return v.State
}

// waitUnlocked waits until the daemon that held the state directory has let go of
// it: only then is everything on disk, and may it be mounted again.
func waitUnlocked(ctx context.Context, state string) error {
	deadline := time.Now().Add(leaveTime)
	for time.Now().Before(deadline) {
		l, err := lockState(state)
		if err == nil {
			return l.Close()
		}
		if !errors.Is(err, errInUse) {
			return nil // not ours to look at: umount itself has succeeded
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fail(exitFailed, "unmounted, but the daemon still holds %s after a minute", state)
}
