package mnttests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
