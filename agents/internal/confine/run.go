package confine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// shimName is the argv[0] by which Main knows that it is the shim. A NUL-free name
// that no user would type.
const shimName = "aios-confined-start"

// order is what Run sends to the shim on descriptor 3.
type order struct {
	Profile Profile
	Program string
	Argv    []string
	UserNS  bool // the shim is in a user namespace of its own: it has no real root
}

// report is what the shim sends back on descriptor 4, once, just before it executes
// the program or gives up.
type report struct {
	Error   *startError `json:"error,omitempty"`
	Applied Applied     `json:"applied"`
}

// Run starts argv[0] (an absolute path) under the profile and waits for it.
func Run(ctx context.Context, p Profile, argv []string) (Result, error) {
	if len(argv) == 0 {
		return Result{}, fmt.Errorf("%w: no program is named", ErrApply)
	}
	return RunAs(ctx, p, argv[0], argv)
}

// RunAs starts a program (an absolute path, or Self) with its arguments, the name that it
// is called by first, under the profile, and waits for it. The error is ErrApply or
// ErrBackend when the program was never started; a program that ran and failed is a
// Result with its exit code.
func RunAs(ctx context.Context, p Profile, program string, argv []string) (Result, error) {
	switch {
	case program == "" || program[0] != '/':
		return Result{}, fmt.Errorf("%w: the program needs an absolute path", ErrApply)
	case p.HostProcesses && p.Network:
		return Result{}, fmt.Errorf("%w: a program that sees the host's processes gets no network", ErrApply)
	}
	p.Limits = p.Limits.withDefaults()
	userNS := os.Geteuid() != 0
	if userNS && p.SetUser && p.UID != uint32(os.Geteuid()) {
		return Result{}, fmt.Errorf("%w: only root can run a program as another user", ErrApply)
	}
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Timeout)
	defer cancel()

	orderR, orderW, err := os.Pipe()
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrApply, err)
	}
	defer orderW.Close()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		orderR.Close()
		return Result{}, fmt.Errorf("%w: %w", ErrApply, err)
	}
	defer reportR.Close()

	stdout, stderr := &bounded{limit: p.Limits.Output}, &bounded{limit: p.Limits.Output}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{shimName}
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{orderR, reportW}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(p.Input), stdout, stderr
	p.Input = nil
	cmd.SysProcAttr = attributes(p, userNS)
	// The shim is init of its pid namespace: with it everything inside dies.
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	cmd.WaitDelay = 2 * time.Second

	group, err := newCgroup(p.Limits)
	if err != nil {
		orderR.Close()
		reportW.Close()
		return Result{}, err
	}
	defer group.remove()

	began := time.Now()
	err = cmd.Start()
	orderR.Close()
	reportW.Close()
	if err != nil {
		return Result{}, fmt.Errorf("%w: start in new namespaces: %w", ErrApply, err)
	}
	kill := func(err error) (Result, error) {
		_ = cmd.Process.Kill() // it waits for its order, and will never get one
		_ = cmd.Wait()
		return Result{}, err
	}
	if err := group.add(cmd.Process.Pid); err != nil {
		return kill(err)
	}
	if err := json.NewEncoder(orderW).Encode(order{p, program, argv, userNS}); err != nil {
		return kill(fmt.Errorf("%w: %w", ErrApply, err))
	}
	orderW.Close()

	var rep report
	decodeErr := json.NewDecoder(reportR).Decode(&rep)
	waitErr := cmd.Wait()
	res := Result{
		Stdout: stdout.buf.Bytes(), Stderr: stderr.buf.Bytes(), Truncated: stdout.over || stderr.over,
		Duration: time.Since(began), TimedOut: errors.Is(ctx.Err(), context.DeadlineExceeded), Applied: rep.Applied,
	}
	res.Applied.Cgroup = group.kind
	switch {
	case rep.Error != nil && rep.Error.Step == "backend":
		return res, fmt.Errorf("%w: %s", ErrBackend, rep.Error.Reason)
	case rep.Error != nil:
		return res, fmt.Errorf("%w: %w", ErrApply, rep.Error)
	case decodeErr != nil && !res.TimedOut:
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		return res, fmt.Errorf("%w: the shim ended without a word (%v): %s", ErrApply, waitErr, bytes.TrimSpace(res.Stderr))
	}
	var ee *exec.ExitError
	switch {
	case waitErr == nil:
	case errors.As(waitErr, &ee):
		res.ExitCode = ee.ExitCode()
		if ws, ok := ee.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			res.ExitCode = 128 + int(ws.Signal())
		}
	case res.TimedOut:
		res.ExitCode = 128 + int(syscall.SIGKILL)
	default:
		return res, waitErr
	}
	return res, nil
}

// attributes puts the shim into its namespaces. As root the pid, mount, ipc and uts
// ones need no user namespace; else one that maps only the caller makes them possible.
func attributes(p Profile, userNS bool) *syscall.SysProcAttr {
	flags := uintptr(syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS)
	if !p.HostProcesses {
		flags |= syscall.CLONE_NEWPID
	}
	if !p.Network {
		flags |= syscall.CLONE_NEWNET
	}
	a := &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if userNS {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		// Mapped to itself the shim is no root in there, and exec would take its
		// capabilities: keep the two that it needs, to mount and to give up the rest.
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
	}
	return a
}

// bounded keeps the first bytes of a stream and swallows the rest, so that a program
// that prints without end neither blocks nor fills the memory.
type bounded struct {
	buf   bytes.Buffer
	limit int
	over  bool
}

var _ io.Writer = (*bounded)(nil)

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.buf.Len()
	if room < len(p) {
		b.over = true
		b.buf.Write(p[:max(room, 0)])
	} else {
		b.buf.Write(p)
	}
	return len(p), nil
}
