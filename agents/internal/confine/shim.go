package confine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var nextRun atomic.Uint64

func pause() { time.Sleep(2 * time.Millisecond) }

// Main returns at once unless the process was started as the shim; then it never
// returns. It must be the first call of main.
func Main() {
	if len(os.Args) == 1 && os.Args[0] == shimName {
		runtime.LockOSThread()
		shim()
	}
}

func init() {
	if len(os.Args) == 1 && os.Args[0] == shimName {
		// Credentials, Landlock and seccomp belong to a thread; the one that will
		// execute the program must be the one that they are set on.
		runtime.LockOSThread()
	}
}

func shim() {
	in, out := os.NewFile(3, "order"), os.NewFile(4, "report")
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	var o order
	if err := json.NewDecoder(bufio.NewReader(in)).Decode(&o); err != nil {
		os.Exit(127) // the parent is gone or gave up
	}
	applied, err := apply(o)
	rep := report{Applied: applied, Error: err}
	if e := json.NewEncoder(out).Encode(rep); e != nil || err != nil {
		os.Exit(127)
	}
	e := unix.Exec(o.Program, o.Argv, o.Profile.Env)
	fmt.Fprintf(os.Stderr, "%s: %v\n", o.Program, e)
	os.Exit(126)
}

// apply raises the walls, from those that need most privilege to those that take
// the last of it away.
func apply(o order) (Applied, *startError) {
	p := o.Profile
	a := Applied{Namespaces: "mnt pid ipc uts"}
	if p.HostProcesses {
		a.Namespaces = "mnt ipc uts"
	}
	if !p.Network {
		a.Namespaces += " net"
	}
	if o.UserNS {
		a.Namespaces = "user " + a.Namespaces
	}
	fail := func(step string, err error) (Applied, *startError) { return a, &startError{step, err.Error()} }

	if err := mounts(p); err != nil {
		return fail("mounts", err)
	}
	if err := limits(p.Limits); err != nil {
		return fail("rlimits", err)
	}
	closeInherited()
	if p.Dir != "" {
		if err := unix.Chdir(p.Dir); err != nil {
			return fail("chdir", err)
		}
	}
	if err := dropUser(p, o.UserNS); err != nil {
		return fail("drop privileges", err)
	}
	// The kernel forgets with the credentials that this process dies with its parent. If
	// the parent has died by now, the report finds no reader, and the program is not started.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fail("parent death signal", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail("no_new_privs", err)
	}
	abi, err := restrictPaths(o)
	if err != nil {
		return fail("backend", err)
	}
	a.Landlock = abi
	if err := restrictSyscalls(p.Network); err != nil {
		return fail("backend", err)
	}
	return verify(a, p)
}

// verify reads back from the kernel what it says of this thread: an answer that the
// calls succeeded is not enough (policy.md §15, "verifies").
func verify(a Applied, p Profile) (Applied, *startError) {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return a, &startError{"verify", err.Error()}
	}
	field := map[string]string{}
	for _, line := range strings.Split(string(b), "\n") {
		k, v, _ := strings.Cut(line, ":")
		field[k] = strings.TrimSpace(v)
	}
	a.NoNewPrivs = field["NoNewPrivs"] == "1"
	a.Seccomp = field["Seccomp"] == "2"
	a.CapEff = field["CapEff"]
	switch {
	case !a.NoNewPrivs:
		return a, &startError{"verify", "no_new_privs does not hold"}
	case !a.Seccomp:
		return a, &startError{"verify", "the seccomp filter does not hold"}
	case strings.Trim(a.CapEff, "0") != "" || strings.Trim(field["CapPrm"], "0") != "" || strings.Trim(field["CapBnd"], "0") != "":
		return a, &startError{"verify", "capabilities are left: " + a.CapEff}
	case p.SetUser && !strings.HasPrefix(field["Uid"], fmt.Sprint(p.UID)+"\t"):
		return a, &startError{"verify", "the uid is " + field["Uid"]}
	}
	return a, nil
}

// mounts makes the mount namespace private, hides every AIOS mount in it (an adapter's
// program must not wait for the daemon that waits for it), and gives the program a
// /proc of its own pid namespace and a /tmp that nobody shares.
func mounts(p Profile) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	slices.Reverse(lines) // what is mounted in another goes first, or its name would go with that one
	for _, line := range lines {
		left, right, ok := strings.Cut(line, " - ")
		f := strings.Fields(left)
		if ok && len(f) > 4 && strings.HasPrefix(right, "fuse.aios ") {
			dir := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(f[4])
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				// A user namespace may not take a mount away; it may cover it.
				err := unix.Mount("none", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=000")
				if err != nil && !errors.Is(err, unix.ENOENT) { // a name that leads nowhere, under another mount, hides it already
					return fmt.Errorf("hide %s: %w", dir, err)
				}
			}
		}
	}
	if p.HostProcesses {
		// the host's /proc shows them
	} else if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if !p.privateTmp() {
		return nil
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64m,mode=1777"); err != nil {
		return fmt.Errorf("mount /tmp: %w", err)
	}
	return nil
}

// privateTmp says whether the program gets an empty /tmp of its own. Where a declared
// path lies in /tmp, covering it would take that path away: then the program has the
// declared path and no other part of /tmp.
func (p Profile) privateTmp() bool {
	for _, list := range [][]string{p.Write, p.Read} {
		for _, w := range list {
			if w == "/tmp" || strings.HasPrefix(w, "/tmp/") {
				return false
			}
		}
	}
	return true
}

func limits(l Limits) error {
	for _, r := range []struct {
		what int
		max  uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NOFILE, uint64(l.Files)},
		{unix.RLIMIT_FSIZE, uint64(l.FileSize)},
		{unix.RLIMIT_CPU, uint64(l.Timeout/time.Second) + 1},
		// Address space, not resident memory: git maps packs. Eight times the memory
		// bound, and room for a Go runtime's reservations, stops a runaway where no cgroup does.
		{unix.RLIMIT_AS, max(uint64(l.Memory)*8, 4<<30)},
	} {
		if r.what == unix.RLIMIT_AS && raceDetector { // it reserves terabytes
			continue
		}
		lim := unix.Rlimit{Cur: r.max, Max: r.max}
		if err := unix.Setrlimit(r.what, &lim); err != nil {
			return fmt.Errorf("rlimit %d: %w", r.what, err)
		}
	}
	return nil
}

// closeInherited marks all descriptors but the standard three to be closed by exec.
func closeInherited() {
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) // Linux 5.11; older kernels: Go opens everything close-on-exec already
}

// dropUser leaves the thread with the program's uid and not one capability, in the
// bounding set neither.
func dropUser(p Profile, userNS bool) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	if p.SetUser && !userNS {
		groups := make([]int, len(p.Groups))
		for i, g := range p.Groups {
			groups[i] = int(g)
		}
		if err := unix.Setgroups(groups); err != nil {
			return fmt.Errorf("setgroups: %w", err)
		}
		if err := syscall.Setresgid(int(p.GID), int(p.GID), int(p.GID)); err != nil {
			return fmt.Errorf("setgid: %w", err)
		}
		if err := syscall.Setresuid(int(p.UID), int(p.UID), int(p.UID)); err != nil {
			return fmt.Errorf("setuid: %w", err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}
