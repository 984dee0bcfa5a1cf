package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// trashed is a name of views/trash.
type trashed struct {
	Path string    `json:"path"` // where it was, from the mount's root
	At   time.Time `json:"removed_at"`
	By   string    `json:"removed_by"`
	Dir  bool      `json:"directory"`
	Size int64     `json:"size"`
	File string    `json:"file"` // where it can be read now
}

func (t tree) trash() ([]trashed, error) {
	dir := t.path("views", "trash")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, reach(err)
	}
	var list []trashed
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		r := trashed{Path: getXattr(file, "user.aios.trash_path"), By: getXattr(file, "user.aios.trash_by"), Dir: e.IsDir(), File: file}
		if r.Path == "" {
			continue // restored since it was listed
		}
		r.At, _ = time.Parse(time.RFC3339Nano, getXattr(file, "user.aios.trash_time")) // zero sorts last
		if info, err := e.Info(); err == nil && !e.IsDir() {
			r.Size = info.Size()
		}
		list = append(list, r)
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].At.After(list[j].At) })
	return list, nil
}

func restoreCommand() *cobra.Command {
	var to, from string
	c := &cobra.Command{Use: "restore [--to PATH] [PATH...] | --from BACKUP STATE", Short: "Bring removed files and directories back; without a path, list what can be brought back",
		Long: `Bring back what was removed, by whatever program: the same object, with its
attributes, hard links and versions. PATH is where it was (the newest removal of
that path counts) or a name below views/trash/. Without a path, the trash is listed.
What was removed is kept for 90 days (--retention of ` + "`aios mount`" + `; user.aios.retention of a
directory says otherwise for what is in it).

With --from, make a state directory of what ` + "`aios backup`" + ` wrote; every file is checked.
` + "`aios fsck`" + ` and ` + "`aios verify`" + ` check what is in them.`,
		RunE: func(c *cobra.Command, a []string) error {
			if from != "" {
				if len(a) != 1 || to != "" {
					return fail(exitUsage, "--from takes one new state directory")
				}
				return restoreBackup(c, from, a[0])
			}
			if to != "" && len(a) != 1 {
				return fail(exitUsage, "--to takes one path")
			}
			t, err := findTree(c)
			if err != nil {
				return err
			}
			list, err := t.trash()
			if err != nil {
				return err
			}
			if len(a) == 0 {
				return printTrash(c, list)
			}
			for _, p := range a {
				if err := t.restore(c, list, p, to); err != nil {
					return err
				}
			}
			return nil
		}}
	c.Flags().StringVar(&from, "from", "", "a backup, to make a state directory of")
	c.Flags().StringVar(&to, "to", "", "bring it back at this path instead of its own")
	return c
}

func printTrash(c *cobra.Command, list []trashed) error {
	if wantsJSON(c) {
		if list == nil {
			list = []trashed{}
		}
		return printJSON(c.OutOrStdout(), list)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REMOVED\tBY\tSIZE\tPATH")
	for _, r := range list {
		size := fmt.Sprint(r.Size)
		if r.Dir {
			size = "dir"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.At.Local().Format(time.DateTime), r.By, size, r.Path)
	}
	return w.Flush()
}

// restore finds what a path named and moves it out of the trash.
func (t tree) restore(c *cobra.Command, list []trashed, arg, to string) error {
	rel, err := t.relative(arg)
	if err != nil {
		return err
	}
	from := ""
	for _, r := range list {
		inner, below := strings.CutPrefix(rel, r.Path+"/")
		switch {
		case r.Path == rel, r.File == t.path(rel):
			from, rel = r.File, r.Path
		case below && r.Dir:
			if _, err := os.Lstat(filepath.Join(r.File, inner)); err == nil {
				from = filepath.Join(r.File, inner)
			}
		}
		if from != "" {
			break
		}
	}
	if from == "" {
		return fail(exitFailed, "%s is not in the trash (see `aios restore`; for an earlier version of a file that is there, `aios history` and `aios restore-version`)", arg)
	}
	target := t.path(rel)
	if to != "" {
		if target, err = filepath.Abs(to); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(target); err == nil {
		return fail(exitFailed, "%s exists; bring it back elsewhere with --to", target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return reach(err)
	}
	if err := os.Rename(from, target); err != nil {
		return reach(err)
	}
	if wantsJSON(c) {
		return printJSON(c.OutOrStdout(), map[string]string{"path": target, "object": getXattr(target, "user.aios.object_id")})
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s is back\n", target)
	return err
}

// relative gives a path from the mount's root; symbolic links on the way to what exists of
// it are followed, as in self/home.
func (t tree) relative(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil && dir != abs {
			abs = filepath.Join(real, rest)
			break
		}
		if dir == "/" || err != nil && !errors.Is(err, fs.ErrNotExist) {
			break
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
	root, err := filepath.EvalSymlinks(t.root)
	if err != nil {
		root = t.root
	}
	rel, ok := strings.CutPrefix(abs, root+"/")
	if !ok {
		return "", fail(exitUsage, "%s is not below the mount at %s", p, t.root)
	}
	return rel, nil
}
