package mnttests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run runs the program and gives its exit code and what it said.
func run(t *testing.T, bin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runCmd(t, exec.Command(bin, args...))
}

func runCmd(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// said wants an exit code and one line of error that holds each of the words.
func said(t *testing.T, what string, code int, stderr string, want int, words ...string) {
	t.Helper()
	if code != want {
		t.Errorf("%s: exit %d, want %d: %s", what, code, want, stderr)
	}
	if strings.Count(strings.TrimSpace(stderr), "\n") != 0 || !strings.HasPrefix(stderr, "aios: ") {
		t.Errorf("%s: not one line of error: %q", what, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			t.Errorf("%s: %q does not say %q", what, stderr, w)
		}
	}
}

type place struct{ bin, base, state, dir string }

func newPlace(t *testing.T) place {
	t.Helper()
	base := t.TempDir()
	p := place{aios(t), base, filepath.Join(base, "state"), filepath.Join(base, "mnt")}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(p.dir) })
	return p
}

func (p place) path(names ...string) string {
	return filepath.Join(append([]string{p.base}, names...)...)
}

// What cannot be mounted says so in one line, with an exit code that a script can read.
func TestMountErrors(t *testing.T) {
	p := newPlace(t)
	for _, d := range []string{"full/x", "empty"} {
		if err := os.MkdirAll(p.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"file": "", "bad.yaml": "epoch_interval: 1s\nbogus: 1\n"} {
		if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	daemon := mounted(t, p.bin, p.state, p.dir)
	defer func() { _ = daemon.Process.Kill() }()
	for _, c := range []struct {
		what  string
		code  int
		args  []string
		words []string
	}{
		{"a state that is in use", 1, []string{"mount", "--state", p.state, p.path("empty")}, []string{"in use", p.state}},
		{"a mountpoint that is not empty", 1, []string{"mount", "--state", p.path("s2"), p.path("full")}, []string{"not empty"}},
		{"a mountpoint that is mounted already", 1, []string{"mount", "--state", p.path("s2"), p.dir}, []string{p.dir}},
		{"no mountpoint", 1, []string{"mount", "--state", p.path("s2"), p.path("none")}, []string{"does not exist"}},
		{"a file as mountpoint", 1, []string{"mount", "--state", p.path("s2"), p.path("file")}, []string{"not a directory"}},
		{"a state that cannot be made", 1, []string{"mount", "--state", "/proc/nothing/x", p.path("empty")}, []string{"/proc/nothing"}},
		{"an unknown flag", 2, []string{"mount", "--bogus", p.path("empty")}, []string{"--bogus"}},
		{"an unknown setting", 2, []string{"mount", "--config", p.path("bad.yaml"), p.path("empty")}, []string{"bad.yaml", "line 2", `"bogus"`}},
		{"an unknown transport", 2, []string{"mount", "--state", p.path("s2"), "--transport", "pigeon", p.path("empty")}, []string{"pigeon", "loop", "go-fuse"}},
		{"an unknown command", 2, []string{"mountain"}, []string{"mountain"}},
		{"fsck of a mounted state", 1, []string{"fsck", "--state", p.state}, []string{"in use"}},
		{"gc of a mounted state", 1, []string{"gc", "--state", p.state}, []string{"in use"}},
		{"an unmount of nothing", 5, []string{"umount", p.path("empty")}, []string{"nothing"}},
	} {
		code, _, stderr := run(t, p.bin, c.args...)
		said(t, c.what, code, stderr, c.code, c.words...)
	}
	inUse, err := os.Open(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	code, _, stderr := run(t, p.bin, "umount", p.dir)
	said(t, "an unmount of what is in use", code, stderr, 1, "in use", "fuser -vm "+p.dir)
	inUse.Close()
	if code, _, stderr := run(t, p.bin, "umount", p.dir); code != 0 {
		t.Errorf("umount: %d, %s", code, stderr)
	}
	if err := daemon.Wait(); err != nil {
		t.Errorf("the daemon after its unmount: %v", err)
	}
	for _, args := range [][]string{{"status"}, {"goal", "list", "processes"}, {"intent", "ls"}, {"inbox"}, {"log"}, {"find", "from objects"}} {
		code, _, stderr := run(t, p.bin, append(args, "--mount", p.dir)...)
		said(t, strings.Join(args, " ")+" with nothing mounted", code, stderr, 5)
	}
	if err := os.WriteFile(filepath.Join(p.state, "VERSION"), []byte("999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = run(t, p.bin, "mount", "--state", p.state, p.dir)
	said(t, "a state of a newer version", code, stderr, 1, "999")
}

// Without the device, or without the helper that an ordinary user needs, the error says
// what is missing and how to get it.
func TestMountWithoutFuse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes /dev away in a mount namespace of its own: needs root")
	}
	p := newPlace(t)
	code, _, stderr := runCmd(t, exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none /dev && exec "$0" mount --state "$1" "$2"`, p.bin, p.state, p.dir))
	said(t, "no /dev/fuse", code, stderr, 1, "/dev/fuse", "modprobe fuse")
	home := p.path("home")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{p.base, filepath.Dir(p.base), filepath.Dir(p.bin), filepath.Dir(filepath.Dir(p.bin))} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{home, p.dir} {
		if err := os.Chown(d, 1001, 1001); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ what, before, word string }{
		{"no fusermount3", `mkdir "$1/bin" && cp /usr/bin/setpriv /usr/bin/env "$1/bin" && mount --bind "$1/bin" /usr/bin`, "package fuse3"},
		{"a device that is root's alone", `cp -a /dev/fuse /dev/shm/fuse-test && mount --bind /dev/shm/fuse-test /dev/fuse && chmod 600 /dev/fuse`, "0666"},
	} {
		script := c.before + `; exec setpriv --reuid=1001 --regid=1001 --clear-groups env -i HOME="$1" PATH="$1" "$0" mount --state "$1/s" "$2"`
		cmd := exec.Command("unshare", "-m", "/bin/sh", "-c", script, p.bin, home, p.dir)
		code, _, stderr = runCmd(t, cmd)
		said(t, c.what, code, stderr, 1, c.word)
	}
	os.Remove("/dev/shm/fuse-test")
}

// systemd is told when the mount answers; SIGTERM, SIGINT and umount each end it cleanly.
func TestReadinessAndSignals(t *testing.T) {
	p := newPlace(t)
	sock := p.path("notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, end := range []string{"TERM", "INT", "umount"} {
		cmd := exec.Command(p.bin, "mount", "--state", p.state, p.dir)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+sock)
		var errs strings.Builder
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil || !strings.Contains(string(b[:n]), "READY=1") {
			t.Fatalf("%q, %v: %s", b[:n], err, errs.String())
		}
		// READY means that it answers now.
		if _, err := os.ReadFile(filepath.Join(p.dir, "README")); err != nil {
			t.Error(err)
		}
		name := filepath.Join(p.dir, "groups/local/shared", end)
		if err := os.WriteFile(name, []byte(end), 0o644); err != nil {
			t.Fatal(err)
		}
		switch end {
		case "TERM":
			err = cmd.Process.Signal(syscall.SIGTERM)
		case "INT":
			err = cmd.Process.Signal(syscall.SIGINT)
		default:
			err = exec.Command("umount", p.dir).Run()
		}
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v: %s", end, err, errs.String())
			}
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			t.Fatalf("%s: the daemon goes on", end)
		}
		cancel()
		if l, err := os.ReadDir(p.dir); err != nil || len(l) > 0 {
			t.Errorf("%s: still mounted: %v, %v", end, l, err)
		}
		// Drop what else it told systemd.
		for {
			if err := l.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Read(b); err != nil {
				break
			}
		}
	}
	daemon := mounted(t, p.bin, p.state, p.dir)
	for _, end := range []string{"TERM", "INT", "umount"} {
		if b, err := os.ReadFile(filepath.Join(p.dir, "groups/local/shared", end)); err != nil || string(b) != end {
			t.Errorf("%s: %q, %v", end, b, err)
		}
	}
	_ = daemon.Process.Signal(syscall.SIGTERM)
	_ = daemon.Wait()
}

// mount(8) knows the type, and every command that prints data prints JSON on request.
func TestMountHelperAndJSON(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mount(8) needs root")
	}
	p := newPlace(t)
	helper := p.path("mount.aios")
	if err := os.Symlink(p.bin, helper); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(helper, p.state, p.dir, "-o", "rw,noatime")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_, _, _ = run(t, p.bin, "umount", p.dir)
		_ = cmd.Wait()
	}()
	deadline := time.Now().Add(patience)
	for {
		if _, err := os.Stat(filepath.Join(p.dir, "README")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("mount.aios does not mount")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "groups/local/shared/f"), []byte("words"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, p.bin, "goal", "--mount", p.dir, "--wait", "write", `"hello"`, "to", "f.txt"); code != 0 {
		t.Errorf("goal: %d, %s", code, stderr)
	}
	for _, args := range [][]string{{"status"}, {"doctor"}, {"intent", "ls"}, {"inbox"}, {"log"}, {"verify", "--state", p.state}, {"history", filepath.Join(p.dir, "groups/local/shared/f")},
		{"find", "from objects where name = \"f\""}, {"policy", "check", "process.list"}, {"agent", "ls"}} {
		full := append(append([]string{}, args...), "--json")
		if args[0] != "verify" && args[0] != "history" && args[0] != "doctor" {
			full = append(full, "--mount", p.dir)
		}
		_, stdout, stderr := run(t, p.bin, full...)
		dec := json.NewDecoder(strings.NewReader(stdout))
		n := 0
		for dec.More() {
			var v any
			if err := dec.Decode(&v); err != nil {
				t.Errorf("%v: no JSON: %v: %.200s %s", args, err, stdout, stderr)
				break
			}
			n++
		}
		if n == 0 {
			t.Errorf("%v: nothing was printed: %s", args, stderr)
		}
	}
}
