package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func snapshotCommand() *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "Name the tree as it is now, and hold it whatever retention says",
		Long: `A snapshot is the whole stored tree of one moment, readable at views/at/NAME and held until
it is removed, whatever retention says. An administrator makes and removes it. Its name is
good wherever a time is: aios diff DIR@NAME, aios restore-version DIR@NAME.`}
	c.AddCommand(
		&cobra.Command{Use: "create NAME", Short: "Name the tree as it is now; it is readable at views/at/NAME", Args: usageArgs(cobra.ExactArgs(1)),
			RunE: func(c *cobra.Command, a []string) error {
				t, err := findTree(c)
				if err != nil {
					return err
				}
				if strings.Contains(a[0], "/") {
					return fail(exitUsage, "a snapshot's name has no slash")
				}
				if err := os.Mkdir(t.path("views", "at", a[0]), 0o755); err != nil {
					return reach(err)
				}
				_, err = fmt.Fprintln(c.OutOrStdout(), t.path("views", "at", a[0]))
				return err
			}},
		&cobra.Command{Use: "ls", Short: "List the named snapshots, oldest first", Args: usageArgs(cobra.NoArgs),
			RunE: func(c *cobra.Command, _ []string) error { return listSnapshots(c) }},
		&cobra.Command{Use: "rm NAME", Short: "Let a named snapshot go", Args: usageArgs(cobra.ExactArgs(1)),
			RunE: func(c *cobra.Command, a []string) error {
				t, err := findTree(c)
				if err != nil {
					return err
				}
				err = os.Remove(t.path("views", "at", a[0]))
				if errors.Is(err, fs.ErrNotExist) {
					return fail(exitFailed, "there is no snapshot %q (see `aios snapshot ls`)", a[0])
				}
				return reach(err)
			}},
	)
	return c
}

// snapshot is a line of views/at/.snapshots.
type snapshot struct {
	Name string    `json:"name"`
	Time time.Time `json:"time"`
	By   string    `json:"created_by"`
}

func listSnapshots(c *cobra.Command) error {
	t, err := findTree(c)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(t.path("views", "at", ".snapshots"))
	if err != nil {
		return reach(err)
	}
	list := []snapshot{}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if line == "" {
			continue
		}
		var s snapshot
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			return err
		}
		list = append(list, s)
	}
	if wantsJSON(c) {
		return printJSON(c.OutOrStdout(), list)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTIME\tBY")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, s.Time.Local().Format(time.DateTime), s.By)
	}
	return w.Flush()
}
