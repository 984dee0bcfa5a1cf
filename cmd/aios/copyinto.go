package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// copyInto rewrites path with the version's bytes. The version is read whole into
// a file beside it first, so that a failure half-way leaves the path as it was;
// the rename keeps the path's history (contract §3).
func copyInto(from, path string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	mode := os.FileMode(0o644)
	var uid, gid = -1, -1
	if info, err := os.Lstat(path); err == nil {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			return copyOver(in, path) // a rename would leave its other names behind
		}
		mode = info.Mode().Perm()
		uid, gid = ownerOf(info)
	} else if info, err := in.Stat(); err == nil {
		mode = info.Mode().Perm() | 0o200
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".restore.part")
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(mode)
	}
	if err == nil && uid >= 0 && (uid != os.Geteuid()) {
		err = out.Chown(uid, gid)
	}
	if err == nil {
		err = out.Sync()
	}
	if e := out.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // the copy's own error is what counts
	}
	return err
}

// copyOver writes a file with several names in place.
func copyOver(in io.Reader, path string) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}
