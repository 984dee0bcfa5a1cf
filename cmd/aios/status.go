package main

import (
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"

	"github.com/spf13/cobra"
)

func statusCommand() *cobra.Command {
	var metrics bool
	cmd := &cobra.Command{Use: "status", Short: "Health of the mounted AIOS", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := findTree(c)
			if err != nil {
				return err
			}
			if metrics {
				b, err := os.ReadFile(t.path("system", "runtime", "metrics"))
				if err != nil {
					return reach(err)
				}
				_, err = c.OutOrStdout().Write(b)
				return err
			}
			var v map[string]any
			if err := t.health(&v); err != nil {
				return err
			}
			v["mountpoint"] = t.root
			if wantsJSON(c) {
				return printJSON(c.OutOrStdout(), v)
			}
			for _, k := range statusOrder(v) {
				fmt.Fprintf(c.OutOrStdout(), "%-18s %s\n", strings.ReplaceAll(k, "_", " "), statusText(v[k]))
			}
			if v["state"] != "HEALTHY" && v["state"] != "RECOVERY" {
				return &exitError{code: exitFailed}
			}
			return nil
		}}
	cmd.Flags().BoolVar(&metrics, "metrics", false, "counters in the text format of Prometheus, as system/runtime/metrics has them")
	return cmd
}

// statusOrder puts what a person looks for first.
func statusOrder(v map[string]any) []string {
	first := []string{"state", "reason", "mountpoint", "state_dir", "version", "mode", "writable"}
	rank := map[string]int{}
	for i, k := range first {
		rank[k] = i - len(first)
	}
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if rank[keys[i]] != rank[keys[j]] {
			return rank[keys[i]] < rank[keys[j]]
		}
		return keys[i] < keys[j]
	})
	return keys
}

func statusText(v any) string {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = statusText(x)
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		var parts []string
		for _, k := range statusOrder(v) {
			parts = append(parts, k+" "+statusText(v[k]))
		}
		return strings.Join(parts, "; ")
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprint(int64(v))
		}
	}
	return fmt.Sprint(v)
}

func umountCommand() *cobra.Command {
	return &cobra.Command{Use: "umount MOUNTPOINT", Short: "Unmount cleanly, everything flushed", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			mounts, err := aiosMounts()
			if err != nil {
				return fail(exitUnreachable, "read mountinfo: %v", err)
			}
			dir := absolute(a[0])
			for _, m := range mounts {
				if m == dir {
					return unmount(c, dir)
				}
			}
			return fail(exitUnreachable, "nothing of AIOS is mounted at %s", a[0])
		}}
}

func unmount(c *cobra.Command, dir string) error {
	name, args := "umount", []string{dir}
	if !isRoot() {
		name, args = "fusermount3", []string{"-u", dir}
	}
	lock := stateOf(dir)
	out, err := exec.CommandContext(c.Context(), name, args...).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "busy") {
			return fail(exitFailed, "%s is in use; leave it, and see who else is there with `fuser -vm %s`", dir, dir)
		}
		return fail(exitFailed, "%s", strings.TrimSpace(string(out)))
	}
	if lock != "" {
		return waitUnlocked(c.Context(), lock)
	}
	return nil
}
