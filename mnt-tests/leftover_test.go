package mnttests

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A large file that is open when the daemon is killed stays open, and the kernel goes on
// writing its host file for whoever has it (passthrough). The daemon that comes next keeps
// what was synced, and nothing that the leftover handle writes reaches a version.
func TestLeftoverHandleChangesNoVersion(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	name := filepath.Join(p.dir, "groups/local/shared/big.bin")
	first := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	if err := os.WriteFile(name, first, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	synced := bytes.Clone(first)
	copy(synced[5000:], "synced")
	if _, err := f.WriteAt([]byte("synced"), 5000); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	detach(p.dir)
	daemon = mounted(t, p.bin, p.state, p.dir)
	if _, err := f.WriteAt([]byte("by nobody's leave"), 9000); err != nil {
		t.Logf("the leftover handle cannot write: %v", err)
	}
	if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, synced) {
		t.Errorf("after the crash: %v, as synced: %v", err, bytes.Equal(b, synced))
	}
	stopMount(t, p, daemon)
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state); code != 0 {
		t.Errorf("fsck: %d %s%s", code, out, errs)
	}
}
