package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
)

// fsType is the type that a mount of ours shows in mountinfo.
const fsType = "fuse.aios"

// tree is a mounted AIOS, seen as any program sees it.
type tree struct{ root string }

// findTree answers the mount that a command speaks to: --mount, AIOS_MOUNT, the
// mount that the working directory lies in, /aios, or the only one there is.
func findTree(c *cobra.Command) (tree, error) {
	name, _ := c.Flags().GetString("mount")
	if name == "" {
		name = os.Getenv("AIOS_MOUNT")
	}
	mounts, err := aiosMounts()
	if err != nil {
		return tree{}, fail(exitUnreachable, "read mountinfo: %v", err)
	}
	if name != "" {
		abs, err := filepath.Abs(name)
		if err != nil {
			return tree{}, fail(exitUsage, "%v", err)
		}
		for _, m := range mounts {
			if m == abs {
				return tree{abs}, nil
			}
		}
		return tree{}, fail(exitUnreachable, "nothing of AIOS is mounted at %s (mount it with `aios mount %s`)", name, name)
	}
	if wd, err := os.Getwd(); err == nil {
		for _, m := range mounts {
			if wd == m || strings.HasPrefix(wd, m+"/") {
				return tree{m}, nil
			}
		}
	}
	switch {
	case len(mounts) == 0:
		return tree{}, fail(exitUnreachable, "AIOS is not mounted (mount it with `aios mount /aios`)")
	case len(mounts) == 1:
		return tree{mounts[0]}, nil
	}
	for _, m := range mounts {
		if m == "/aios" {
			return tree{m}, nil
		}
	}
	return tree{}, fail(exitUsage, "several mounts: %s; name one with --mount", strings.Join(mounts, ", "))
}

func aiosMounts() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	seen := map[string]bool{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if ok && len(left) > 4 && len(right) > 0 && right[0] == fsType {
			seen[unescapeMount(left[4])] = true
		}
	}
	var list []string
	for m := range seen {
		list = append(list, m)
	}
	sort.Strings(list)
	return list, s.Err()
}

// unescapeMount undoes the kernel's octal escapes of space, tab, newline and backslash.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func (t tree) path(elem ...string) string {
	return filepath.Join(append([]string{t.root}, elem...)...)
}

// read gives a small file without its final newline; a missing one is "".
func (t tree) read(elem ...string) string {
	b, err := os.ReadFile(t.path(elem...))
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\n")
}

func (t tree) readJSON(into any, elem ...string) error {
	b, err := os.ReadFile(t.path(elem...))
	if err != nil {
		return reach(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", t.path(elem...), err)
	}
	return nil
}

// health reads how the mount is; one for recovery says it elsewhere (S9.1 §5.1).
func (t tree) health(into any) error {
	err := t.readJSON(into, "system", "runtime", "health.json")
	if errors.Is(err, fs.ErrNotExist) {
		return t.readJSON(into, "system", "recovery", "health.json")
	}
	return err
}

// evidence is a path of the log's files; a mount for recovery shows them below system/ only.
func (t tree) evidence(elem ...string) string {
	if _, err := os.Stat(t.path("evidence")); errors.Is(err, fs.ErrNotExist) {
		return t.path(append([]string{"system", "evidence"}, elem...)...)
	}
	return t.path(append([]string{"evidence"}, elem...)...)
}

// reach turns "the daemon is gone" into its exit code.
func reach(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && (errors.Is(pe.Err, errNotConnected)) {
		return fail(exitUnreachable, "%v: the daemon behind the mount is gone (`fusermount3 -u` it and mount again)", err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fail(exitDenied, "%v", err)
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
