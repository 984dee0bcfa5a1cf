package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// pathVersion is one file of a .versions/NAME directory.
type pathVersion struct {
	ID   string    `json:"version"`
	Time time.Time `json:"time"`
	Size int64     `json:"size"`
	Hash string    `json:"content_hash,omitempty"`
	File string    `json:"file"`
}

// versionsOf lists the versions of a path, oldest first, by reading .versions.
func versionsOf(path string) ([]pathVersion, error) {
	dir := filepath.Join(filepath.Dir(path), ".versions", filepath.Base(path))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(exitFailed, "%s has no versions (is it in the stored tree of an AIOS mount?)", path)
	}
	if err != nil {
		return nil, reach(err)
	}
	var list []pathVersion
	for _, e := range entries {
		stamp, rest, ok := strings.Cut(e.Name(), "_")
		if !ok {
			continue
		}
		at, err := time.Parse("2006-01-02T15:04:05.000Z", stamp)
		if err != nil {
			continue
		}
		id := rest
		if len(rest) >= 30 {
			id = rest[:30] // ver_ and 26 characters; the original extension follows
		}
		v := pathVersion{ID: id, Time: at, File: filepath.Join(dir, e.Name())}
		if info, err := e.Info(); err == nil {
			v.Size = info.Size()
		}
		v.Hash = getXattr(v.File, "user.aios.content_hash")
		list = append(list, v)
	}
	return list, nil
}

func historyCommand() *cobra.Command {
	return &cobra.Command{Use: "history PATH", Short: "Versions of a path, oldest first", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			path, err := filepath.Abs(a[0])
			if err != nil {
				return err
			}
			list, err := versionsOf(path)
			if err != nil {
				return err
			}
			if wantsJSON(c) {
				return printJSON(c.OutOrStdout(), list)
			}
			current := getXattr(path, "user.aios.version_id")
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TIME\tVERSION\tSIZE\tHASH\t")
			for _, v := range list {
				mark := ""
				if v.ID == current {
					mark = "current"
				}
				hash := v.Hash
				if len(hash) > 15 {
					hash = hash[:15]
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", v.Time.Local().Format("2006-01-02 15:04:05.000"), v.ID, v.Size, hash, mark)
			}
			return w.Flush()
		}}
}

// pickVersion opens PATH or PATH@V, where V is a version id or a unique part of
// one, or a number from the end (@-1 is the version before the current one).
func pickVersion(arg string) (string, error) {
	path, want, ok := cutVersion(arg)
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if !ok {
		return abs, nil
	}
	list, err := versionsOf(abs)
	if err != nil {
		return "", err
	}
	var back int
	if n, err := fmt.Sscanf(want, "-%d", &back); n == 1 && err == nil {
		if back < 0 || back >= len(list) {
			return "", fail(exitUsage, "%s has %d versions; @-%d is before the first", path, len(list), back)
		}
		return list[len(list)-1-back].File, nil
	}
	var found []string
	for _, v := range list {
		if strings.Contains(v.ID, want) {
			found = append(found, v.File)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fail(exitFailed, "%s has no version %q (see `aios history %s`)", path, want, path)
	}
	return "", fail(exitUsage, "%q names %d versions of %s; give more of the id", want, len(found), path)
}

func cutVersion(arg string) (path, version string, ok bool) {
	i := strings.LastIndexByte(arg, '@')
	if i <= 0 || strings.Contains(arg[i:], "/") {
		return arg, "", false
	}
	if _, err := os.Lstat(arg); err == nil {
		return arg, "", false // a file that has an @ in its name
	}
	return arg[:i], arg[i+1:], true
}

func diffCommand() *cobra.Command {
	return &cobra.Command{Use: "diff PATH[@V] [PATH[@V]]", Short: "Differences between two versions; of one path, against the version before", Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, a []string) error {
			if len(a) == 1 {
				path, _, ok := cutVersion(a[0])
				if ok {
					a = []string{a[0], path}
				} else {
					a = []string{path + "@-1", path}
				}
			}
			left, err := pickVersion(a[0])
			if err != nil {
				return err
			}
			right, err := pickVersion(a[1])
			if err != nil {
				return err
			}
			cmd := exec.CommandContext(c.Context(), "diff", "-u", "--label", a[0], "--label", a[1], "--", left, right)
			cmd.Stdout, cmd.Stderr = c.OutOrStdout(), c.ErrOrStderr()
			err = cmd.Run()
			var ee *exec.ExitError
			if errors.As(err, &ee) && ee.ExitCode() == 1 {
				return nil // they differ: that is the answer, not a failure
			}
			return err
		}}
}

func restoreVersionCommand() *cobra.Command {
	return &cobra.Command{Use: "restore-version PATH@V", Short: "Make an earlier version current, as a new version", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			path, _, ok := cutVersion(a[0])
			if !ok {
				return fail(exitUsage, "name a version: PATH@V (see `aios history PATH`)")
			}
			from, err := pickVersion(a[0])
			if err != nil {
				return err
			}
			if err := copyInto(from, path); err != nil {
				return reach(err)
			}
			if wantsJSON(c) {
				return printJSON(c.OutOrStdout(), map[string]string{"path": path, "from": from, "version": getXattr(path, "user.aios.version_id")})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is again as in %s\n", path, filepath.Base(from))
			return nil
		}}
}

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
