package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Bounds of the issue ("How good"), for 100,000 objects on two cores.
const (
	maxStart   = 2 * time.Second
	maxIdleMiB = 100
)

// A daemon with many small files starts soon and needs little while nobody asks.
func TestStartAndIdleMemoryWithManyFiles(t *testing.T) {
	files := 5_000
	if os.Getenv("AIOS_LONG") != "" {
		files = 100_000
	}
	bin := aios(t)
	base := t.TempDir()
	state, dir := filepath.Join(base, "state"), filepath.Join(base, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(dir) })
	cmd := mounted(t, bin, state, dir)
	for i := range files {
		at := filepath.Join(dir, "groups/local/shared", fmt.Sprintf("d%d", i/1000))
		if i%1000 == 0 {
			if err := os.Mkdir(at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("note-%d.txt", i)), fmt.Appendf(nil, "note %d about walnut %d\n", i, i%997), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Whoever searches hurries the index. A catching up goes back some seconds behind what
	// was indexed last: after one more file much later, the next start finds little to do.
	find(t, dir, fmt.Sprint(files-1))
	idle(t, cmd)
	if err := os.WriteFile(filepath.Join(dir, "groups/local/shared/later.txt"), []byte("hazel\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	find(t, dir, "hazel")
	rss, _ := resident(t, cmd)
	t.Logf("%d files made: %d MiB", files, rss)
	if out, err := exec.Command(bin, "umount", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cmd = mounted(t, bin, state, dir)
	defer func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() }()
	start, work := time.Since(began), spent(t, cmd)
	if b, err := os.ReadFile(filepath.Join(dir, "groups/local/shared/d0/note-7.txt")); err != nil || !strings.HasPrefix(string(b), "note 7 ") {
		t.Fatalf("%q %v", b, err)
	}
	idle(t, cmd)
	rss, anon := resident(t, cmd)
	t.Logf("start %v, %v of it on the processor; idle after it %d MiB, %d of it its own", start, work, rss, anon)
	if work > maxStart || os.Getenv("AIOS_LONG") != "" && start > maxStart {
		t.Errorf("start takes %v, %v of it on the processor", start, work)
	}
	if rss > maxIdleMiB {
		t.Errorf("idle with %d MiB", rss)
	}
}

// find waits until a word is found in one file.
func find(t *testing.T, dir, word string) {
	t.Helper()
	name := filepath.Join(dir, "views/search", word)
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		found, err := os.ReadDir(name)
		if err != nil || time.Now().After(end) {
			t.Fatalf("%s: %d entries, %v", name, len(found), err)
		}
		if len(found) == 1 {
			return
		}
	}
}

// idle waits until a daemon has nothing to do, and has had two rounds of giving memory back.
func idle(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; {
		before := spent(t, cmd)
		time.Sleep(12 * time.Second)
		if spent(t, cmd)-before < 120*time.Millisecond { // a hundredth of a processor
			return
		}
		if time.Now().After(end) {
			t.Fatal("the daemon is never idle")
		}
	}
}

// spent is the time that a process has had of the processor.
func spent(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11]) // proc(5): utime is field 14, in hundredths of a second
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is the memory of a process, and what of it is not files, in MiB.
func resident(t *testing.T, cmd *exec.Cmd) (all, anon int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1]) // other lines are no numbers, and not asked for
		switch f[0] {
		case "VmRSS:":
			all = n >> 10
		case "RssAnon:":
			anon = n >> 10
		}
	}
	return all, anon
}
