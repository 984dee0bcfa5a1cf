package fs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// The mount of an ordinary user goes through fusermount3. The test runs
// itself again as one.
func TestUnprivilegedMount(t *testing.T) {
	if dir := os.Getenv("AIOS_TEST_UNPRIVILEGED"); dir != "" {
		unprivileged(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		t.Skip("fusermount3 is missing")
	}
	if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode().Perm()&0o006 != 0o006 {
		t.Skip("/dev/fuse is not open to ordinary users on this machine (mode 0666 elsewhere)")
	}
	dir := t.TempDir()
	for _, p := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	bin, home := filepath.Join(dir, "fs.test"), filepath.Join(dir, "home")
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, aliceUID, aliceUID); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-test.run", "^TestUnprivilegedMount$", "-test.v")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "AIOS_TEST_UNPRIVILEGED="+home, "HOME="+home, "TMPDIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: aliceUID, Gid: aliceUID}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v: %s", err, out)
	}
}

func unprivileged(t *testing.T, dir string) {
	mnt, state := filepath.Join(dir, "aios"), filepath.Join(dir, "state")
	for _, d := range []string{mnt, state} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	st, err := objects.Open(context.Background(), objects.Options{Dir: state})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	cat := identity.New(62000, true)
	srv, err := Mount(context.Background(), Options{Mountpoint: mnt, Store: st, Identity: constCatalog(cat)})
	if err != nil {
		t.Fatal(err)
	}
	put(t, mnt+"/self/home/f", "mine")
	put(t, mnt+"/groups/local/shared/g", "ours")
	if get(t, mnt+"/self/home/f") != "mine" || get(t, mnt+"/groups/local/shared/g") != "ours" {
		t.Error("what was written is not there")
	}
	if err := srv.Unmount(); err != nil {
		t.Error(err)
	}
}
