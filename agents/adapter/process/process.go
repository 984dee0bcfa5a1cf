// Package process looks at processes of this machine and signals them.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/policy"
)

// Adapter is the adapter `process`.
type Adapter struct{}

// Process is one line of process.list.
type Process struct {
	PID  int    `json:"pid"`
	UID  uint32 `json:"uid"`
	Name string `json:"name"`
	// Started is when it started, in clock ticks since the machine did: with PID it names
	// one process for good.
	Started int64 `json:"started"`
}

const timeout = 10 * time.Second // of one look or one signal

// Manifest declares the two kinds.
func (Adapter) Manifest() adapter.Manifest {
	return adapter.Manifest{ID: "process", Version: "1", Stability: adapter.Stable, Dispatch: adapter.InProcess, Sandbox: &adapter.Sandbox{HostProcesses: true}, Kinds: []adapter.Kind{
		{Action: "process.list", Class: policy.Read, Rollback: adapter.RollbackNone, Timeout: timeout},
		{Action: "process.signal", Class: policy.Mutate, Rollback: adapter.RollbackNone, Risk: policy.Risk{Destructive: true}, Timeout: timeout},
	}}
}

// Simulate says what would be done.
func (Adapter) Simulate(_ context.Context, r adapter.Request) ([]adapter.Preview, error) {
	if r.Step.Action == "process.list" {
		return []adapter.Preview{{Path: "/proc", Note: "read"}}, nil
	}
	pid := number(r.Step.Target["pid"])
	if err := permitted(r, pid); err != nil {
		return nil, err
	}
	p, err := look(pid)
	if err != nil {
		return nil, err
	}
	return []adapter.Preview{{Path: fmt.Sprintf("/proc/%d", pid), Note: fmt.Sprintf("%s (uid %d) gets SIG%v", p.Name, p.UID, r.Step.Params["signal"])}}, nil
}

// Execute lists or signals.
func (Adapter) Execute(_ context.Context, r adapter.Request) (adapter.Output, error) {
	if r.Step.Action == "process.list" {
		ps, err := list(r)
		return adapter.Output{Data: map[string]any{"processes": ps}}, err
	}
	name, _ := r.Step.Params["signal"].(string)
	sig := unix.SignalNum("SIG" + name)
	if sig == 0 {
		return adapter.Output{}, adapter.Fail("process.UnknownSignal", "no signal %q", name)
	}
	pid := number(r.Step.Target["pid"])
	// The descriptor is of one process, whatever its number is used for later.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return adapter.Output{}, adapter.Fail("process.NotFound", "process %d: %w", pid, err)
	}
	defer unix.Close(fd) // nothing was written to it
	if err := permitted(r, pid); err != nil {
		return adapter.Output{}, err
	}
	p, err := look(pid)
	if err != nil {
		return adapter.Output{}, err
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return adapter.Output{}, adapter.Fail("process.SignalFailed", "signal process %d: %w", pid, err)
	}
	return adapter.Output{Changed: true, Data: map[string]any{"pid": pid, "started": p.Started, "name": p.Name, "signal": name}}, nil
}

// Rollback has nothing to offer: a signal cannot be taken back.
func (Adapter) Rollback(context.Context, adapter.Request, map[string]any) error {
	return errors.New("a signal cannot be taken back")
}

// permitted refuses what nobody may signal, and others' processes.
func permitted(r adapter.Request, pid int) error {
	if pid <= 1 || pid == os.Getpid() || pid == r.Daemon {
		return adapter.Fail("process.Protected", "process %d is not signalled by anybody here", pid)
	}
	if kernelThread(pid) {
		return adapter.Fail("process.Protected", "process %d is a thread of the kernel", pid)
	}
	p, err := look(pid)
	if err != nil {
		return err
	}
	if !r.Admin() && p.UID != r.UID {
		return adapter.Fail("process.PermissionDenied", "process %d is another user's: %w", pid, syscall.EPERM)
	}
	return nil
}

// kernelThread says whether a process has PF_KTHREAD, field 9 of its stat.
func kernelThread(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(string(f[6]), 10, 64)
	return err == nil && flags&0x00200000 != 0
}

func look(pid int) (Process, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return Process{}, adapter.Fail("process.NotFound", "process %d: %w", pid, err)
	}
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return Process{}, adapter.Fail("process.NotFound", "process %d: %w", pid, err)
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Process{}, adapter.Fail("process.NotFound", "process %d: %w", pid, err)
	}
	var started int64
	if f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(f) > 19 { // field 22 of proc_pid_stat(5)
		if started, err = strconv.ParseInt(f[19], 10, 64); err != nil {
			return Process{}, err
		}
	}
	return Process{pid, st.Uid, strings.TrimSpace(string(name)), started}, nil
}

func list(r adapter.Request) ([]Process, error) {
	name, _ := r.Step.Target["name"].(string)
	who, _ := r.Step.Target["user"].(string)
	var uid *uint32
	if who != "" {
		u, err := user.Lookup(who)
		if err != nil {
			return nil, adapter.Fail("process.UnknownUser", "%s: %w", who, err)
		}
		n, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		v := uint32(n)
		uid = &v
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	out := []Process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := look(pid)
		if err != nil || name != "" && p.Name != name || uid != nil && p.UID != *uid {
			continue // it ended meanwhile, or is not asked for
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Process) int { return a.PID - b.PID })
	return out, nil
}

// number reads an integer of a document, which is a float64 after JSON.
func number(v any) int {
	switch n := v.(type) {
	case int:
		return n
	case int64:
		return int(n)
	case float64:
		return int(n)
	case string:
		i, err := strconv.Atoi(n)
		if err == nil {
			return i
		}
	case fmt.Stringer: // json.Number
		i, err := strconv.Atoi(n.String())
		if err == nil {
			return i
		}
	}
	return 0
}
