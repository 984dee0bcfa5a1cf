package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	Bad  bool      `json:"quarantined,omitempty"` // its bytes are damaged or a person has said so, and nobody is given them
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
		v.Bad = getXattr(v.File, "user.aios.state") == "QUARANTINED"
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
				switch {
				case v.Bad:
					mark = "in quarantine"
				case v.ID == current:
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
	v, err := pickOf(list, path, want)
	if err == nil && v.Bad {
		err = fail(exitFailed, "version %s of %s is in quarantine: nobody is given its bytes; `aios history %s` shows the others", v.ID, path, path)
	}
	return v.File, err
}

func pickOf(list []pathVersion, path, want string) (pathVersion, error) {
	var back int
	if n, err := fmt.Sscanf(want, "-%d", &back); n == 1 && err == nil {
		if back < 0 || back >= len(list) {
			return pathVersion{}, fail(exitUsage, "%s has %d versions; @-%d is before the first", path, len(list), back)
		}
		return list[len(list)-1-back], nil
	}
	var found []pathVersion
	for _, v := range list {
		if strings.Contains(v.ID, want) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return pathVersion{}, fail(exitFailed, "%s has no version %q (see `aios history %s`)", path, want, path)
	}
	return pathVersion{}, fail(exitUsage, "%q names %d versions of %s; give more of the id", want, len(found), path)
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
