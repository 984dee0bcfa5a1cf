package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An administrator bounds a user and a group; every way to take room answers EDQUOT, df
// shows the bound, and what is removed can be used again (contract §3).
func TestQuotas(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, "ls $M/self/home")
	home := fmt.Sprintf("$M/groups/local/users/uid-%d", aliceUID)
	if out, err := p.as(aliceUID, "setfattr -n user.aios.quota -v bytes=1G "+home); err == nil {
		t.Errorf("alice sets her own quota: %s", out)
	}
	if out, err := p.as(0, "setfattr -n user.aios.quota -v bytes=lots "+home); err == nil || !strings.Contains(out, "Invalid") {
		t.Errorf("a quota that is none: %v, %s", err, out)
	}
	p.ok(0, "setfattr -n user.aios.quota -v bytes=4M,files=30 "+home)
	if out := p.ok(0, "getfattr --absolute-names --only-values -n user.aios.quota "+home); out != "bytes=4194304,files=30" {
		t.Error(out)
	}
	for what, script := range map[string]string{
		"write":     "head -c 5M /dev/zero > big",
		"fallocate": "fallocate -l 5M big",
		"truncate":  "truncate -s 5M big",
		"copy":      "head -c 3M /dev/urandom > one && cp one two",
		"reopened":  "head -c 2M /dev/urandom > one && cat one - < /dev/null > /dev/null && head -c 3M /dev/zero 1<> one >> one",
		"files":     "for i in $(seq 40); do mkdir d$i || exit 1; done",
	} {
		out, err := p.as(aliceUID, "cd $M/self/home && "+script)
		if err == nil || !strings.Contains(out, "quota") {
			t.Errorf("%s: %v, %s", what, err, out)
		}
		p.ok(aliceUID, "rm -rf $M/self/home/*")
	}
	if out := p.ok(aliceUID, "head -c 3M /dev/zero > $M/self/home/three; df --output=size,avail -BK $M/self/home | tail -1"); strings.Join(strings.Fields(out), " ") != "4096K 1024K" {
		t.Errorf("df shows %q", out)
	}
	p.ok(bobUID, "head -c 6M /dev/zero > $M/self/home/f") // others are not bound
	p.ok(0, "setfattr -x user.aios.quota "+home)
	p.ok(aliceUID, "head -c 6M /dev/zero > $M/self/home/f")
	if out, err := exec.Command("sync", "-f", p.dir).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command("umount", p.dir).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	_ = p.daemon.Wait()
	if exec.Command("grep", "-rqa", "AIOSFS_QUOTA_SET", filepath.Join(p.state, "evidence")).Run() != nil {
		t.Error("no evidence of the quotas")
	}
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state); code != 0 {
		t.Errorf("fsck: %s%s", out, errs)
	}
}

// When the disk under the state is full, writes answer ENOSPC, reads go on, nothing that
// was acknowledged is lost, and writing goes on once there is room.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a small file system: needs root")
	}
	p := newPlace(t)
	disk := p.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=700m"); err != nil {
		t.Skip("no tmpfs here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	state := filepath.Join(disk, "state")
	daemon := mounted(t, p.bin, state, p.dir)
	dir := filepath.Join(p.dir, "groups/local/shared")
	kept := filepath.Join(dir, "kept")
	if out, err := exec.Command("sh", "-c", "echo before > "+kept+"; head -c 1M /dev/urandom > "+kept+".big; sync "+kept+" "+kept+".big; sha256sum < "+kept+".big").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sum := func() string {
		out, err := exec.Command("sha256sum", kept+".big").Output()
		if err != nil {
			t.Error(err)
		}
		return strings.Fields(string(out))[0]
	}
	before := sum()
	// Somebody else fills the disk.
	if out, err := exec.Command("sh", "-c", "head -c 2G /dev/zero > "+filepath.Join(disk, "ballast")).CombinedOutput(); err == nil {
		t.Fatalf("the disk did not fill: %s", out)
	}
	err := os.WriteFile(filepath.Join(dir, "no"), make([]byte, 1<<20), 0o644)
	if !strings.Contains(fmt.Sprint(err), "no space left") {
		t.Errorf("a write on a full disk: %v", err)
	}
	if b, err := os.ReadFile(kept); err != nil || string(b) != "before\n" {
		t.Errorf("%q, %v", b, err)
	}
	if got := sum(); got != before {
		t.Error("the large file reads differently")
	}
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	after := filepath.Join(dir, "after")
	// What could not be written meanwhile is tried again every so often; until it is on
	// disk nothing new is taken, and the word is the same.
	var f *os.File
	until(t, "it takes files again", func() bool {
		f, err = os.Create(after)
		if err != nil && !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("while it finds that there is room: %v", err)
		}
		return err == nil
	})
	_, err = f.WriteString("there is room")
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		t.Errorf("writing with room again: %v", err)
	}
	f.Close()
	if out, err := exec.Command("umount", p.dir).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	_ = daemon.Wait()
	if code, out, errs := run(t, p.bin, "fsck", "--state", state); code != 0 {
		t.Errorf("fsck: %s%s", out, errs)
	}
	if code, out, errs := run(t, p.bin, "verify", "--state", state); code != 0 {
		t.Errorf("verify: %s%s", out, errs)
	}
	daemon = mounted(t, p.bin, state, p.dir)
	if b, err := os.ReadFile(after); err != nil || string(b) != "there is room" {
		t.Errorf("%q, %v", b, err)
	}
	_ = exec.Command("umount", p.dir).Run()
	_ = daemon.Wait()
}
