package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"

	"github.com/spf13/cobra"
)

// smallDiff bounds the files whose text a comparison of directories shows.
const smallDiff = 64 << 10

// difference is one path that two trees do not have alike.
type difference struct {
	Path   string `json:"path"`
	Change string `json:"change"` // added, removed, changed
	Kind   string `json:"kind"`
}

func diffCommand() *cobra.Command {
	return &cobra.Command{Use: "diff PATH[@V] [PATH[@V]]", Short: "Differences between any two versions or times of files and directories; of one path, against the version before",
		Long: `Show how two things differ. V is a version (` + "`aios history PATH`" + `; @-1 is the one before the
current one), a time (2h, yesterday, 2026-05-11, RFC 3339) or a named snapshot. PATH@V alone is
compared with PATH now. Of directories, the paths that were added, removed and changed are
listed, with the differences of small texts.`,
		Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, a []string) error {
			if len(a) == 1 {
				path, _, ok := cutVersion(a[0])
				if ok {
					a = []string{a[0], path}
				} else {
					a = []string{path + "@-1", path}
				}
			}
			left, err := pick(c, a[0])
			if err != nil {
				return err
			}
			right, err := pick(c, a[1])
			if err != nil {
				return err
			}
			return showDiff(c, a, left, right)
		}}
}

func showDiff(c *cobra.Command, label []string, left, right string) error {
	lk, err := kindOf(left)
	if err != nil {
		return err
	}
	rk, err := kindOf(right)
	if err != nil {
		return err
	}
	switch {
	case lk == "" && rk == "":
		return fail(exitFailed, "neither %s nor %s is there", label[0], label[1])
	case lk != "directory" && rk != "directory" && !wantsJSON(c):
		return textDiff(c, label[0], label[1], orNothing(left, lk), orNothing(right, rk))
	case lk != "" && rk != "" && (lk == "directory") != (rk == "directory"):
		return fail(exitFailed, "%s is a %s, %s a %s", label[0], lk, label[1], rk)
	}
	list, err := compare(left, right)
	if err != nil {
		return reach(err)
	}
	if wantsJSON(c) {
		return printJSON(c.OutOrStdout(), list)
	}
	for _, d := range list {
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%-8s %s\n", d.Change, d.Path); err != nil {
			return err
		}
		l, r := filepath.Join(left, d.Path), filepath.Join(right, d.Path)
		if d.Change != "changed" || !small(l) || !small(r) {
			continue
		}
		if err := textDiff(c, filepath.Join(label[0], d.Path), filepath.Join(label[1], d.Path), l, r); err != nil {
			return err
		}
	}
	return nil
}

// compare lists what two paths do not have alike; "." is the paths themselves.
func compare(left, right string) ([]difference, error) {
	were, err := kinds(left)
	if err != nil {
		return nil, err
	}
	are, err := kinds(right)
	if err != nil {
		return nil, err
	}
	list := []difference{}
	for rel, kind := range were {
		now, ok := are[rel]
		if !ok {
			list = append(list, difference{rel, "removed", kind})
			continue
		}
		same := now == kind
		if same {
			if same, err = alike(kind, filepath.Join(left, rel), filepath.Join(right, rel)); err != nil {
				return nil, err
			}
		}
		if !same {
			list = append(list, difference{rel, "changed", now})
		}
	}
	for rel, kind := range are {
		if _, ok := were[rel]; !ok {
			list = append(list, difference{rel, "added", kind})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Path < list[j].Path })
	return list, nil
}

func kinds(root string) (map[string]string, error) {
	list, err := walkKinds(root)
	if err != nil {
		return nil, err
	}
	kind, err := kindOf(root)
	if kind != "" {
		list["."] = kind
	}
	return list, err
}

func alike(kind, left, right string) (bool, error) {
	switch kind {
	case "file":
		return sameFile(left, right)
	case "link":
		l, err := os.Readlink(left)
		if err != nil {
			return false, err
		}
		r, err := os.Readlink(right)
		return l == r, err
	}
	return true, nil
}

// small tells a file whose text is worth showing.
func small(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() <= smallDiff
}

// orNothing lets a file that is not there be compared as an empty one.
func orNothing(path, kind string) string {
	if kind == "" {
		return os.DevNull
	}
	return path
}

func textDiff(c *cobra.Command, leftLabel, rightLabel, left, right string) error {
	cmd := exec.CommandContext(c.Context(), "diff", "-u", "--label", leftLabel, "--label", rightLabel, "--", left, right)
	cmd.Stdout, cmd.Stderr = c.OutOrStdout(), c.ErrOrStderr()
	err := cmd.Run()
	var ee *exec.ExitError
	if errors.As(err, &ee) && ee.ExitCode() == 1 {
		return nil // they differ: that is the answer, not a failure
	}
	if errors.Is(err, exec.ErrNotFound) {
		_, err = io.WriteString(c.OutOrStdout(), leftLabel+" and "+rightLabel+" differ (the program diff would show how)\n")
	}
	return err
}
