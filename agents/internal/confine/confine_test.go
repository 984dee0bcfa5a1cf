package confine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main()
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		probe(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

// probe is what runs inside: one attempt, its outcome on standard output.
func probe(args []string) {
	var err error
	switch args[0] {
	case "read":
		_, err = os.ReadFile(args[1])
	case "write":
		err = os.WriteFile(args[1], []byte("x"), 0o600)
	case "truncate":
		err = os.Truncate(args[1], 0)
	case "dial":
		var c net.Conn
		if c, err = net.DialTimeout("tcp", args[1], time.Second); err == nil {
			c.Close()
		}
	case "socket":
		_, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	case "packet":
		_, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	case "unshare":
		err = unix.Unshare(unix.CLONE_NEWUSER)
	case "clone-userns":
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		err = cmd.Run()
	case "mount":
		err = unix.Mount("none", "/tmp", "tmpfs", 0, "")
	case "ptrace":
		err = unix.PtraceAttach(os.Getppid())
	case "setuid":
		err = syscall.Setuid(0)
	case "kill-parent":
		err = unix.Kill(1, 0)
		if os.Getppid() > 1 {
			err = fmt.Errorf("sees pid %d", os.Getppid())
		}
	case "fork-bomb":
		for i := 0; i < 500; i++ {
			if err = exec.Command("/bin/sleep", "5").Start(); err != nil {
				break
			}
		}
	case "memory":
		var hog [][]byte
		for i := 0; i < 4096; i++ {
			b := make([]byte, 1<<20)
			for j := range b {
				b[j] = byte(j)
			}
			hog = append(hog, b)
		}
		_ = hog
	case "fds":
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/proc") && target != "/dev/null" {
				fmt.Println("inherited", target)
			}
		}
		fmt.Println("env", os.Environ())
		return
	case "signal":
		in, readErr := io.ReadAll(os.Stdin)
		pid, convErr := strconv.Atoi(args[1])
		if err = errors.Join(readErr, convErr); err == nil {
			err = unix.Kill(pid, 0)
		}
		fmt.Print(os.Args[0], " ", string(in), " ")
	case "print":
		for range 100000 {
			fmt.Println("0123456789")
		}
		return
	case "sleep":
		time.Sleep(time.Hour)
	}
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	fmt.Println("done")
}

// self is a profile that lets the test binary run as the program.
func self(t *testing.T) (Profile, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Profile{ID: "prof_test", Read: []string{exe}, Env: []string{"PATH=/usr/bin:/bin"}}, exe
}

func try(t *testing.T, p Profile, exe string, args ...string) string {
	t.Helper()
	res, err := Run(context.Background(), p, append([]string{exe, "probe"}, args...))
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if !res.Applied.NoNewPrivs || !res.Applied.Seccomp || res.Applied.Landlock == 0 {
		t.Fatalf("walls: %+v", res.Applied)
	}
	return strings.TrimSpace(string(res.Stdout)) + strings.TrimSpace(string(res.Stderr))
}

func TestProgramsWorkInside(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	p := Profile{Write: []string{dir}, Dir: dir, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}}
	for _, args := range [][]string{
		{"/usr/bin/git", "init", "-q", "r"},
		{"/usr/bin/git", "-C", "r", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "one"},
		{"/usr/bin/git", "clone", "-q", "--no-hardlinks", "file://" + dir + "/r", "c"},
	} {
		res, err := Run(context.Background(), p, args)
		if err != nil || res.ExitCode != 0 {
			t.Fatalf("%v: %v, exit %d\n%s%s", args, err, res.ExitCode, res.Stdout, res.Stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "c", ".git", "HEAD")); err != nil {
		t.Fatal(err)
	}
}

// Every escape that a program might try is refused by the kernel (S3.2 S-11; actions 61).
func TestEscapesAreRefused(t *testing.T) {
	t.Log("proves: S-11")
	p, exe := self(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		name string
		args []string
	}{
		{"read a file outside the profile", []string{"read", secret}},
		{"write a file outside the profile", []string{"write", secret}},
		{"truncate a file outside the profile", []string{"truncate", secret}},
		{"read /root", []string{"read", "/root/.bashrc"}},
		{"read the shadow file", []string{"read", "/etc/shadow"}},
		{"reach a local service", []string{"dial", l.Addr().String()}},
		{"make an internet socket", []string{"socket"}},
		{"make a packet socket", []string{"packet"}},
		{"make a user namespace", []string{"unshare"}},
		{"clone into a user namespace", []string{"clone-userns"}},
		{"mount", []string{"mount"}},
		{"trace", []string{"ptrace"}},
	} {
		if out := try(t, p, exe, c.args...); !strings.HasPrefix(out, "refused:") {
			t.Errorf("%s: %s", c.name, out)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "s" {
		t.Fatalf("the file outside was touched: %q %v", b, err)
	}
}

func TestRunsAsSubmitter(t *testing.T) {
	t.Log("proves: S-11")
	if os.Geteuid() != 0 {
		t.Skip("needs root: running a program as another user")
	}
	p := Profile{SetUser: true, UID: 12345, GID: 12345, Env: []string{"PATH=/usr/bin:/bin"}}
	res, err := Run(context.Background(), p, []string{"/usr/bin/id"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(res.Stdout); !strings.HasPrefix(got, "uid=12345 gid=12345") || strings.Contains(got, "root") {
		t.Errorf("id says %s", got)
	}
	out, err := Run(context.Background(), p, []string{"/bin/sh", "-c", "cat /proc/self/status | grep Cap; su root -c id"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out.Stdout), "uid=0") || !strings.Contains(string(out.Stdout), "CapBnd:\t0000000000000000") {
		t.Errorf("privileges are left:\n%s", out.Stdout)
	}
	_, own := self(t)
	b, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, "probe")
	for _, err := range []error{os.WriteFile(exe, b, 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mine := Profile{ID: "prof_test", Read: []string{exe}, Env: []string{"PATH=/usr/bin:/bin"}}
	mine.SetUser, mine.UID, mine.GID = true, 12345, 12345
	if out := try(t, mine, exe, "setuid"); !strings.HasPrefix(out, "refused:") {
		t.Errorf("setuid: %s", out)
	}
}

func TestNothingIsInherited(t *testing.T) {
	t.Log("proves: S-11")
	t.Setenv("AIOS_CANARY", "canary-7f3a")
	f, err := os.CreateTemp(t.TempDir(), "open")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, exe := self(t)
	out := try(t, p, exe, "fds")
	if strings.Contains(out, "inherited") || strings.Contains(out, "canary") || !strings.Contains(out, "env [PATH=/usr/bin:/bin]") {
		t.Errorf("inside there is:\n%s", out)
	}
}

func TestLimits(t *testing.T) {
	t.Log("proves: S-11")
	p, exe := self(t)
	p.Limits = Limits{Processes: 20, Memory: 128 << 20, Timeout: 20 * time.Second, Output: 1000}
	res, err := Run(context.Background(), p, []string{exe, "probe", "print"})
	if err != nil || len(res.Stdout) != 1000 || !res.Truncated {
		t.Errorf("output: %d bytes kept, truncated %v, %v", len(res.Stdout), res.Truncated, err)
	}
	if res.Applied.Cgroup == "none" {
		t.Log("no cgroup may be made here: processes and memory are bounded by rlimits only")
	} else {
		if res, err = Run(context.Background(), p, []string{exe, "probe", "fork-bomb"}); err != nil {
			t.Fatal(err)
		}
		if out := string(res.Stdout); !strings.Contains(out, "refused") && res.ExitCode == 0 {
			t.Errorf("500 processes were started under a limit of 20: %s", out)
		}
		if res, err = Run(context.Background(), p, []string{exe, "probe", "memory"}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(res.Stdout), "done") {
			t.Error("4 GiB were used under a limit of 128 MiB")
		}
	}
	p.Limits.Timeout = time.Second
	began := time.Now()
	res, err = Run(context.Background(), p, []string{exe, "probe", "sleep"})
	if err != nil || !res.TimedOut || time.Since(began) > 10*time.Minute {
		t.Errorf("timeout: %v, timed out %v after %v", err, res.TimedOut, time.Since(began))
	}
}

func TestStartFailsRatherThanRunOpen(t *testing.T) {
	p := Profile{Read: []string{"/nonexistent/path"}}
	res, err := Run(context.Background(), p, []string{"/bin/echo", "ran"})
	if err == nil || strings.Contains(string(res.Stdout), "ran") {
		t.Errorf("it ran: %q, %v", res.Stdout, err)
	}
	if _, err := Run(context.Background(), Profile{}, []string{"echo"}); err == nil {
		t.Error("a program without an absolute path was started")
	}
}

// A program that may see the host's processes signals those of its own user and no other,
// is the running binary where that is asked for, and gets its input.
func TestHostProcesses(t *testing.T) {
	mine := exec.Command("/bin/sleep", "600")
	other := exec.Command("/bin/sleep", "600")
	p := Profile{HostProcesses: true, Input: []byte("said"), Env: []string{"PATH=/usr/bin:/bin"}}
	if os.Geteuid() == 0 {
		p.SetUser, p.UID, p.GID = true, 12345, 12345
		mine.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	}
	for _, c := range []*exec.Cmd{mine, other} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	own, foreign := fmt.Sprint(mine.Process.Pid), fmt.Sprint(other.Process.Pid)
	res, err := RunAs(context.Background(), p, Self, []string{"by its name", "probe", "signal", own})
	if err != nil || strings.TrimSpace(string(res.Stdout)) != "by its name said done" {
		t.Errorf("signal to the user's own process: %q %q, %v", res.Stdout, res.Stderr, err)
	}
	if os.Geteuid() == 0 {
		res, err := RunAs(context.Background(), p, Self, []string{"by its name", "probe", "signal", foreign})
		if err != nil || !strings.Contains(string(res.Stdout), "refused: operation not permitted") {
			t.Errorf("signal to another's process: %q, %v", res.Stdout, err)
		}
	}
	p.HostProcesses = false
	if res, err := RunAs(context.Background(), p, Self, []string{"by its name", "probe", "signal", own}); err != nil || !strings.Contains(string(res.Stdout), "refused: no such process") {
		t.Errorf("without the host's processes: %q, %v", res.Stdout, err)
	}
	p.HostProcesses, p.Network = true, true
	if _, err := RunAs(context.Background(), p, Self, []string{"by its name", "probe", "signal", own}); err == nil {
		t.Error("the host's processes and the network together are let")
	}
}
