package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// found is one row of `aios find`.
type found struct {
	Path     string    `json:"path"`
	ObjectID string    `json:"object_id"`
	Kind     string    `json:"kind"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Labels   string    `json:"labels,omitempty"`
}

func findCommand() *cobra.Command {
	return &cobra.Command{Use: "find QUERY", Short: "Run a query of the query language, or search for words",
		Long: "QUERY is a query, `from objects where name contains \"report\" order by created_at desc limit 10`,\n" +
			"or plain words, which are searched for in names, labels and text.",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			t, err := findTree(c)
			if err != nil {
				return err
			}
			q := strings.TrimSpace(strings.Join(a, " "))
			dir := t.path("views", "search", q)
			if strings.HasPrefix(q, "from ") {
				dir = t.path("views", "query") + "/" + q // a query may hold slashes, and is not to be tidied up
			} else if strings.Contains(q, "/") {
				return fail(exitUsage, "words are searched for without `/`; a path is given to a query: from objects where under \"…\"")
			}
			for _, part := range strings.Split(q, "/") {
				if part == "" || part == "." || part == ".." || len(part) > 255 {
					return fail(exitUsage, "a query is a path here: between two `/` it has 1 to 255 bytes, and neither `.` nor `..`")
				}
			}
			entries, err := inOrder(dir)
			if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT) {
				return fail(exitUsage, "%s", firstOf(t.read("views", "query", ".error"), "the query does not parse"))
			}
			if err != nil {
				return reach(err)
			}
			list := []found{}
			for _, e := range entries {
				link := filepath.Join(dir, e.Name())
				path, err := filepath.EvalSymlinks(link)
				if err != nil {
					continue // gone between the query and now
				}
				f := found{Path: path, ObjectID: getXattr(path, "user.aios.object_id"), Kind: getXattr(path, "user.aios.kind"), Labels: getXattr(path, "user.xdg.tags")}
				if info, err := os.Lstat(path); err == nil {
					f.Size, f.Modified = info.Size(), info.ModTime()
				}
				list = append(list, f)
			}
			if wantsJSON(c) {
				return printJSON(c.OutOrStdout(), list)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, f := range list {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", f.Modified.Format("2006-01-02 15:04"), f.Size, f.Path, f.Labels)
			}
			return w.Flush()
		}}
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// inOrder lists a directory as it gives its entries: a query's view has the query's order.
func inOrder(dir string) ([]os.DirEntry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}
