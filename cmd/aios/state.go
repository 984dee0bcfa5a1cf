package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stateVersion is the layout of the state directory that this build reads and
// writes. A higher one on disk is refused: an older build would damage what it
// does not know.
const stateVersion = 1

// Errors of opening a state directory.
var (
	errInUse = errors.New("the state directory is in use by another daemon")
	errNewer = errors.New("the state directory is of a newer version")
)

// lockState takes the state directory's lock, which a running daemon holds for as
// long as it lives; the kernel drops it with the process, however that ends.
func lockState(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", errInUse, dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// leaving is what the lock says of a daemon whose mount is gone and that has work to end.
const leaving = "leaving\n"

const (
	// noticeTime is how long a daemon may need until it knows that its mount is gone.
	noticeTime = time.Second
	// leaveTime is how long it may need to end then; aios umount waits as long.
	leaveTime = time.Minute
)

// lockLeft takes the state directory's lock, and waits for a daemon that is about to let go
// of it: umount(8) comes back before a daemon has written everything, which it does not
// with a file system of the kernel's, and mount(8) is often the next command.
func lockLeft(dir string) (*os.File, error) {
	began := time.Now()
	for {
		f, err := lockState(dir)
		if !errors.Is(err, errInUse) {
			return f, err
		}
		patience := noticeTime
		if b, rerr := os.ReadFile(filepath.Join(dir, "LOCK")); rerr == nil && string(b) == leaving {
			patience = leaveTime
		}
		if time.Since(began) > patience {
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// openState makes the state directory if it is not there, locks it, and checks its
// version. first says that there was nothing before.
func openState(dir string) (lock *os.File, first bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("make the state directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, false, fmt.Errorf("state directory: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, false, fmt.Errorf("close the state directory to others: %w", err)
		}
	}
	if lock, err = lockLeft(dir); err != nil {
		return nil, false, err
	}
	name := filepath.Join(dir, "VERSION")
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 1 {
			lock.Close()
			return nil, false, fmt.Errorf("%s is neither empty nor a state directory of AIOS (it has no VERSION)", dir)
		}
		if err := writeSynced(name, []byte(strconv.Itoa(stateVersion)+"\n"), 0o600); err != nil {
			lock.Close()
			return nil, false, fmt.Errorf("write VERSION: %w", err)
		}
		return lock, true, nil
	case err != nil:
		lock.Close()
		return nil, false, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		lock.Close()
		return nil, false, fmt.Errorf("%s says %q, not a version", name, strings.TrimSpace(string(b)))
	}
	if n > stateVersion {
		lock.Close()
		return nil, false, fmt.Errorf("%w: %s is version %d, this aios knows up to %d; use the aios that wrote it, or a later one", errNewer, dir, n, stateVersion)
	}
	return lock, false, nil
}

// writeSynced writes a small file whole or not at all, durably.
func writeSynced(name string, b []byte, mode os.FileMode) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// key gives the Ed25519 key that the state directory keeps under this name, and
// makes one at the first start. Each purpose has a key of its own, so that one can
// be replaced without the others.
func key(state, name string) (ed25519.PrivateKey, error) {
	file := filepath.Join(state, "keys", name+".key")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		text := base64.StdEncoding.EncodeToString(k.Seed()) + "\n"
		if err := writeSynced(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("keep the %s key: %w", name, err)
		}
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the %s key: %w", name, err)
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is not a key", file) // never its content
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
