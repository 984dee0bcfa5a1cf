package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// treeOf answers the mount that a path lies in; --mount names it where that is not clear.
func treeOf(c *cobra.Command, path string) (tree, error) {
	if name, _ := c.Flags().GetString("mount"); name != "" {
		return findTree(c)
	}
	mounts, err := aiosMounts()
	if err != nil {
		return tree{}, fail(exitUnreachable, "read mountinfo: %v", err)
	}
	best := ""
	for _, m := range mounts {
		if rel, err := (tree{m}).relative(path); err == nil && rel != "" && len(m) > len(best) {
			best = m
		}
	}
	if best == "" {
		return findTree(c)
	}
	return tree{best}, nil
}

// pastOf gives where a path can be read as it was at a time that people write (a day, 2h,
// RFC 3339) or in a named snapshot. It need not have been there.
func pastOf(c *cobra.Command, path, when string) (string, error) {
	t, err := treeOf(c, path)
	if err != nil {
		return "", err
	}
	rel, err := t.relative(path)
	if err != nil {
		return "", err
	}
	at := t.path("views", "at", when)
	if _, err := os.Lstat(at); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fail(exitFailed, "%q is no version of %s, no time (2026-05-11, 2h, yesterday, RFC 3339) and no snapshot", when, path)
		}
		return "", reach(err)
	}
	if fixed := getXattr(at, "user.aios.time"); fixed != "" {
		when = fixed // "2h" is another moment by the end of a long walk
	}
	return t.path("views", "at", when, rel), nil
}

// pick finds what PATH or PATH@V names: the path itself, one of its versions, or the path
// as it was at a time. A version goes before a time that is written alike.
func pick(c *cobra.Command, arg string) (string, error) {
	path, want, ok := cutVersion(arg)
	abs, err := filepath.Abs(path)
	if err != nil || !ok {
		return abs, err
	}
	if strings.HasPrefix(want, "-") || strings.HasPrefix(want, "ver_") {
		return pickVersion(arg)
	}
	past, notTime := pastOf(c, abs, want)
	if notTime == nil {
		return past, nil
	}
	version, err := pickVersion(arg)
	var e *exitError
	if err != nil && errors.As(err, &e) && e.code == exitFailed {
		return "", notTime
	}
	return version, err
}

// kindOf says in a word what a path is; "" where nothing is.
func kindOf(path string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", reach(err)
	case info.IsDir():
		return "directory", nil
	case info.Mode().IsRegular():
		return "file", nil
	case info.Mode()&fs.ModeSymlink != 0:
		return "link", nil
	}
	return "special file", nil
}

// walkKinds lists a tree: each path below root with its kind. A root that is not there
// has nothing below it.
func walkKinds(root string) (map[string]string, error) {
	list := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it went while we looked
			}
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil || rel == "." {
			return err
		}
		switch {
		case d.IsDir():
			list[rel] = "directory"
		case d.Type().IsRegular():
			list[rel] = "file"
		case d.Type()&fs.ModeSymlink != 0:
			list[rel] = "link"
		default:
			list[rel] = "special file"
		}
		return nil
	})
	if err != nil {
		return nil, reach(fmt.Errorf("read %s: %w", root, err))
	}
	return list, nil
}
