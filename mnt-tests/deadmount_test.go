package mnttests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A daemon that was killed leaves a mount that nobody answers for. The next one there
// takes it away, also while somebody still uses it, and has everything that was synced.
func TestMountOverADeadMount(t *testing.T) {
	p := newPlace(t)
	name := filepath.Join(p.dir, "groups/local/shared/kept")
	for round := range 3 {
		daemon := mounted(t, p.bin, p.state, p.dir)
		if round > 0 {
			if b, err := os.ReadFile(name); err != nil || string(b) != "kept" {
				t.Errorf("round %d: %q, %v", round, b, err)
			}
		}
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }() // the dead mount stays busy
		if _, err := f.WriteString("kept"); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		if _, err := os.ReadDir(p.dir); err == nil {
			t.Fatal("the mount of a killed daemon answers")
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if n := strings.Count(string(b), " "+p.dir+" "); err != nil || n != 1 {
		t.Errorf("%d mounts lie on each other, %v", n, err)
	}
	detach(p.dir)
}

// The same in the background, as mount(8) mounts: what the kernel remembers of a dead mount
// is no daemon that answers.
func TestMountInBackgroundOverADeadMount(t *testing.T) {
	p := newPlace(t)
	mount := func() {
		t.Helper()
		c := exec.Command(p.bin, "mount", "--background", "--state", p.state, p.dir)
		c.Stderr = os.Stderr // no pipe, which the daemon would hold open
		if err := c.Run(); err != nil {
			t.Fatalf("mount: %v", err)
		}
	}
	mount()
	for range 2 {
		if _, err := os.Stat(filepath.Join(p.dir, "system")); err != nil { // remembered for an hour
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(p.dir, "system/runtime/health.json"))
		var health struct{ PID int }
		if err == nil {
			err = json.Unmarshal(b, &health)
		}
		if err != nil || health.PID == 0 {
			t.Fatalf("the daemon's number: %s, %v", b, err)
		}
		if err := syscall.Kill(health.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.ReadDir(p.dir); err != nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the mount of a killed daemon answers")
			}
		}
		mount()
		if _, err := os.ReadDir(p.dir); err != nil {
			t.Errorf("the new mount: %v", err)
		}
	}
	if code, _, stderr := run(t, p.bin, "umount", p.dir); code != 0 {
		t.Errorf("umount: %d, %s", code, stderr)
	}
}
