package mnttests

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A backup of a stopped state makes a state that verifies, passes fsck and has the files with
// their versions; one that was damaged is refused, and so is one of a state in use.
func TestBackup(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, `set -e; cd $M/self/home; echo one > f; echo two > f; truncate -s 1G sparse; echo end >> sparse; sync .; echo 'write "x" to w' > $M/intents/i; [ $(cat $M/intents/i.d/wait) = SUCCEEDED ]`)
	backup, state := filepath.Join(p.base, "backup"), filepath.Join(p.base, "restored")
	if code, _, errs := run(t, p.bin, "backup", "--state", p.state, backup); code != 1 || !strings.Contains(errs, "in use") {
		t.Errorf("of a mounted state: %d, %s", code, errs)
	}
	if code, _, errs := run(t, p.bin, "umount", p.dir); code != 0 {
		t.Fatal(errs)
	}
	if err := p.daemon.Wait(); err != nil {
		t.Error(err)
	}
	plain := filepath.Join(p.base, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{plain, filepath.Join(p.state, "in")} {
		if code, _, errs := run(t, p.bin, "backup", "--state", p.state, to); code != 2 {
			t.Errorf("to %s: %d, %s", to, code, errs)
		}
	}
	if _, err := os.Stat(plain); err != nil {
		t.Error(err)
	}
	if code, out, errs := run(t, p.bin, "backup", "--state", p.state, backup); code != 0 || !strings.Contains(out, "files") {
		t.Fatalf("backup: %d, %s %s", code, out, errs)
	}
	if code, _, errs := run(t, p.bin, "backup", "--state", p.state, backup); code != 2 {
		t.Errorf("over another: %d, %s", code, errs)
	}
	if code, _, errs := run(t, p.bin, "restore", "--from", backup, state); code != 0 {
		t.Fatalf("restore: %d, %s", code, errs)
	}
	for _, c := range []string{"verify", "fsck"} {
		if code, out, errs := run(t, p.bin, c, "--state", state); code != 0 {
			t.Errorf("%s: %d, %s %s", c, code, out, errs)
		}
	}
	p.daemon = mounted(t, p.bin, state, p.dir)
	p.ok(aliceUID, `set -e; cd $M/self/home; [ $(cat f) = two ]; [ $(ls .versions/f | wc -l) = 2 ]; [ $(tail -c 4 sparse) = end ]; [ $(cat w) = x ]; [ $(cat $M/intents/i.d/state) = SUCCEEDED ]; echo three > f`)
	if err := p.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.daemon.Wait(); err != nil {
		t.Error(err)
	}
	// One byte of one file.
	key := filepath.Join(backup, "files", "VERSION")
	if err := os.WriteFile(key, []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(p.base, "again")
	if code, _, errs := run(t, p.bin, "restore", "--from", backup, again); code != 1 || !strings.Contains(errs, "VERSION") {
		t.Errorf("of a damaged backup: %d, %s", code, errs)
	}
	if left, err := filepath.Glob(again + "*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
