package mnttests

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A byte of a file rots on the disk below. fsck names the version and changes nothing;
// with --repair nobody is given the damaged bytes any more, the file shows the version
// before, which can be brought back at the shell, too, and what was done is on record.
func TestRepairAtTheShell(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	name := filepath.Join(p.dir, "groups/local/shared/big.bin")
	first, second := bytes.Repeat([]byte("0123456789abcdef"), 20_000), bytes.Repeat([]byte("fedcba9876543210"), 20_000)
	for _, b := range [][]byte{first, second} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	small := filepath.Join(p.dir, "groups/local/shared/small")
	if err := os.WriteFile(small, []byte("whole"), 0o644); err != nil {
		t.Fatal(err)
	}
	stopMount(t, p, daemon)
	if !rot(t, p.state, second) {
		t.Fatal("the bytes of the version were not found below")
	}
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state); code == 0 || !strings.Contains(out, "another hash") || !strings.Contains(out, "1 problems") {
		t.Errorf("fsck: %d %s%s", code, out, errs)
	}
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state, "--repair"); code != 0 || !strings.Contains(out, "repaired: version ver_") || !strings.Contains(out, "1 in quarantine") {
		t.Errorf("fsck --repair: %d %s%s", code, out, errs)
	}
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state); code != 0 {
		t.Errorf("fsck afterwards: %d %s%s", code, out, errs)
	}
	daemon = mounted(t, p.bin, p.state, p.dir)
	if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, first) {
		t.Errorf("the version before is not shown: %d bytes, %v", len(b), err)
	}
	if b, err := os.ReadFile(small); err != nil || string(b) != "whole" {
		t.Errorf("another file: %q, %v", b, err)
	}
	vs, err := os.ReadDir(filepath.Join(p.dir, "groups/local/shared/.versions/big.bin"))
	if err != nil || len(vs) != 2 {
		t.Fatalf("versions: %v, %v", vs, err)
	}
	if b, err := os.ReadFile(filepath.Join(p.dir, "groups/local/shared/.versions/big.bin", vs[1].Name())); !errors.Is(err, syscall.EACCES) {
		t.Errorf("the damaged version is given: %d bytes, %v", len(b), err)
	}
	_, id, _ := strings.Cut(strings.TrimSuffix(vs[0].Name(), ".bin"), "_")
	if code, out, errs := run(t, p.bin, "--mount", p.dir, "restore-version", name+"@"+id); code != 0 {
		t.Fatalf("restore-version: %d %s%s", code, out, errs)
	}
	if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, first) {
		t.Errorf("brought back: %d bytes, as they were: %v, %v", len(b), bytes.Equal(b, first), err)
	}
	if out, err := exec.Command("grep", "-rl", "STORE_REPAIRED", filepath.Join(p.dir, "evidence/payloads")).CombinedOutput(); err != nil || len(bytes.Fields(out)) != 1 {
		t.Errorf("records of the repair: %q, %v", out, err)
	}
	stopMount(t, p, daemon)
	if code, out, errs := run(t, p.bin, "verify", "--state", p.state); code != 0 {
		t.Errorf("verify: %d %s%s", code, out, errs)
	}
}

// rot changes one byte of the host file that holds exactly these bytes.
func rot(t *testing.T, state string, want []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(state, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(b, want) {
			return err
		}
		found = true
		b[12345] ^= 1
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
