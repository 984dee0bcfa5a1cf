package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroup bounds memory and processes of a run. kind says what was found: "v2", "v1"
// (the memory and pids hierarchies), or "none" where the daemon may not make groups;
// then the rlimits of the shim are what bounds the program.
type cgroup struct {
	kind string
	dirs []string
}

// shimThreads is what the Go runtime of the shim may use of the process limit before
// the program takes its place; seen up to 9 on two processors.
const shimThreads = 16

// Where cgroup hierarchies are mounted by convention (man 7 cgroups).
const cgroupRoot = "/sys/fs/cgroup"

func newCgroup(l Limits) (*cgroup, error) {
	name := fmt.Sprintf("aios-%d-%d", os.Getpid(), nextRun.Add(1))
	if b, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		have := " " + strings.TrimSpace(string(b)) + " "
		if strings.Contains(have, " memory ") && strings.Contains(have, " pids ") {
			if g := makeV2(filepath.Join(cgroupRoot, name), l); g != nil {
				return g, nil
			}
		}
	}
	g := &cgroup{kind: "v1"}
	for controller, files := range map[string][][2]string{
		"memory": {{"memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10)}},
		"pids":   {{"pids.max", strconv.Itoa(l.Processes + shimThreads)}},
	} {
		dir := filepath.Join(cgroupRoot, controller, name)
		if !g.make(dir, files) {
			g.remove()
			return &cgroup{kind: "none"}, nil
		}
	}
	return g, nil
}

func makeV2(dir string, l Limits) *cgroup {
	g := &cgroup{kind: "v2"}
	if !g.make(dir, [][2]string{
		{"memory.max", strconv.FormatInt(l.Memory, 10)},
		{"memory.swap.max", "0"},
		{"pids.max", strconv.Itoa(l.Processes + shimThreads)},
	}) {
		g.remove()
		return nil
	}
	return g
}

func (g *cgroup) make(dir string, files [][2]string) bool {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return false
	}
	g.dirs = append(g.dirs, dir)
	for _, f := range files {
		err := os.WriteFile(filepath.Join(dir, f[0]), []byte(f[1]), 0)
		if err != nil && !(f[0] == "memory.swap.max" && errors.Is(err, os.ErrNotExist)) {
			return false
		}
	}
	return true
}

// add puts the shim into the group while it still waits for its order.
func (g *cgroup) add(pid int) error {
	for _, dir := range g.dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("%w: join %s: %w", ErrApply, dir, err)
		}
	}
	return nil
}

// remove drops the group; its processes are dead by then, their last accounting may
// take the kernel a moment, so a busy group is left to the next start's clean-up.
func (g *cgroup) remove() {
	for _, dir := range g.dirs {
		for range 50 {
			if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			pause()
		}
	}
}
