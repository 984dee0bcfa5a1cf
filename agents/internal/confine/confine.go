// Package confine starts a program that can do what its profile names and nothing
// else, because the kernel says so (S3.2; S15.3 §8: an undeclared effect must hit a
// kernel denial, not a log line).
//
// A profile is what an adapter's manifest declares: paths to read, paths to write,
// network or none, limits. Run makes a child of the running binary itself, the shim,
// in namespaces of its own (mount, pid, ipc, uts, and net unless the network was
// declared). The shim hides every AIOS mount, gives the child a /tmp and a /proc of
// its own, drops to the submitter's uid with no capability left, sets
// no_new_privs, Landlock and a seccomp allow-list, reads back from /proc/self/status
// that they hold, and then executes the program. Every step that fails stops the
// start: nothing runs half confined.
//
// The caller's main must call Main first thing, since the shim is the same binary.
package confine

import (
	"errors"
	"fmt"
	"time"
)

// Profile says what a program may touch. Anything not named is denied.
type Profile struct {
	// ID names the profile in evidence, `prof_…` (S3.2 §5.7).
	ID string
	// Read and Write are directories or files on the host that the program may read
	// (and execute), respectively read and write. A path that does not exist fails the start.
	Read  []string
	Write []string
	// Network lets the program use the host's network. Without it the program has a
	// network namespace without interfaces, and sockets other than Unix ones are refused.
	Network bool
	// UID and GID run the program as somebody else; they need root. Zero values with
	// SetUser false keep the daemon's own.
	SetUser  bool
	UID, GID uint32
	Groups   []uint32
	// HostProcesses lets the program see the host's processes and signal those of its own
	// uid: it gets no pid namespace.
	HostProcesses bool
	// Dir is the working directory; it must lie in Read or Write.
	Dir string
	// Env is the whole environment, `KEY=value`; nothing is inherited.
	Env []string
	// Input is the program's standard input.
	Input []byte
	// Limits bound the program and everything it starts.
	Limits Limits
}

// Self as the program of Run is the running binary; argv[0] is then the name that it
// finds itself called by.
const Self = "/proc/self/exe"

// Limits are the resource bounds of a profile; a zero field takes the default, which
// is the floor that policy.md §15 proposes for adapters.
type Limits struct {
	Timeout   time.Duration // wall clock; then the whole group is killed. Default 30 s, at most 300 s (S10.1 §14.2)
	Memory    int64         // bytes; default 512 MiB
	Processes int           // default 64
	Files     int           // open descriptors; default 256
	FileSize  int64         // bytes of the largest file written; default 4 GiB
	Output    int           // bytes kept of standard output and of standard error each; default 64 KiB
}

func (l Limits) withDefaults() Limits {
	if l.Timeout <= 0 {
		l.Timeout = 30 * time.Second
	}
	if l.Timeout > 300*time.Second {
		l.Timeout = 300 * time.Second
	}
	if l.Memory <= 0 {
		l.Memory = 512 << 20
	}
	if l.Processes <= 0 {
		l.Processes = 64
	}
	if l.Files <= 0 {
		l.Files = 256
	}
	if l.FileSize <= 0 {
		l.FileSize = 4 << 30
	}
	if l.Output <= 0 {
		l.Output = 64 << 10
	}
	return l
}

// Result is what became of a program.
type Result struct {
	ExitCode int
	Stdout   []byte
	Stderr   []byte
	// Truncated says that more was printed than Limits.Output.
	Truncated bool
	Duration  time.Duration
	// TimedOut says that the program was killed because its time was over.
	TimedOut bool
	Applied  Applied
}

// Applied says which walls stood, for the evidence record of the start.
type Applied struct {
	Landlock   int    // ABI in force
	Seccomp    bool   // the allow-list is loaded
	NoNewPrivs bool   // read back from the kernel
	Namespaces string // names, space separated
	Cgroup     string // "v2", "v1", or "none": then rlimits alone bound it
	CapEff     string // the capability set read back; all zeros
}

// Errors of a start. ErrBackend is REQUIRED_BACKEND_UNAVAILABLE of S3.2: the kernel
// lacks a wall that the profile needs. ErrApply is SANDBOX_APPLICATION_FAILED.
var (
	ErrBackend = errors.New("a required sandbox backend is not available")
	ErrApply   = errors.New("the sandbox could not be applied")
)

// startError is what the shim reports when a wall did not stand.
type startError struct {
	Step   string `json:"step"`
	Reason string `json:"reason"`
}

func (e *startError) Error() string { return fmt.Sprintf("%s: %s", e.Step, e.Reason) }
