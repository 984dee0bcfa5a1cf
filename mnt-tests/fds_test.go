package mnttests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A file that nobody has open holds no file of the host's open, though the kernel remembers
// it: a daemon may have so many open and no more, and a tree may have more files.
func TestClosedFilesHoldNothingOpen(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	defer stopMount(t, p, daemon)
	open := func() int {
		t.Helper()
		l, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", daemon.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	before := open()
	const files = 300
	large := make([]byte, 70_000)
	name := func(i int) string {
		return filepath.Join(p.dir, "groups/local/shared", fmt.Sprint("large", i))
	}
	for i := range files {
		copy(large, fmt.Sprintf("%08d", i))
		if err := os.WriteFile(name(i), large, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "what was written is put away", func() bool { return open() < before+files/4 })
	for range 2 {
		for i := range files {
			if _, err := os.ReadFile(name(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := open(); n > before+files/4 {
		t.Errorf("%d files of the host's were open before, %d after %d files were read", before, n, files)
	}
}
