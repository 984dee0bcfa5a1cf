package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A daemon that was killed leaves its mount behind: the mountpoint answers
// ENOTCONN until somebody detaches it. The next mount there does that itself,
// but only to a mount that is ours by type and has nobody behind it.

// maxDead bounds how many dead mounts on top of each other are taken away.
const maxDead = 16

// clearDead detaches the dead mounts of ours that are on dir.
func clearDead(dir string) error {
	for range maxDead {
		if !isDead(dir) {
			return nil
		}
		typ, err := topMount(dir)
		if err != nil {
			return err
		}
		if typ != mountType {
			return ErrMountpointDead
		}
		if err := detach(dir); err != nil {
			return fmt.Errorf("%w (%w)", ErrMountpointDead, err)
		}
	}
	return ErrMountpointDead
}

// isDead tells whether nobody answers for a mountpoint. Its attributes may still
// be in the kernel's cache, so that only opening it tells.
func isDead(dir string) bool {
	f, err := os.Open(dir)
	if err == nil {
		err = f.Close()
	}
	return errors.Is(err, syscall.ENOTCONN)
}

// mountType is the type under which the kernel lists our mounts.
const mountType = "fuse.aios"

// topMount gives the type of the mount that is on top of a mountpoint.
func topMount(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// The last name cannot be looked at: it is the dead mount.
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	typ := ""
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if ok && len(left) > 4 && len(right) > 0 && unescape.Replace(left[4]) == abs {
			typ = right[0] // later lines lie on earlier ones
		}
	}
	return typ, nil
}

// detach takes the topmost mount away although it may be in use.
func detach(dir string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	out, err := exec.Command("fusermount3", "-u", "-z", "--", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3: %s: %w", strings.TrimSpace(string(out)), err)
	}
	return nil
}
