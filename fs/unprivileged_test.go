package fs

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
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
	for _, p := range []string{"unshare", "setpriv"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + "(1) is missing")
		}
	}
	// fusermount3 wants a user that has a name; daemon is one everywhere.
	const uid = 1
	// /dev/fuse is open to everybody on ordinary machines, and shut on some
	// build machines: a private mount namespace gets one that is open.
	const script = `set -e; mkdir "$D/dev"; mount -t tmpfs -o dev,mode=755 tmpfs "$D/dev"; mknod "$D/dev/fuse" c 10 229
chmod 666 "$D/dev/fuse"; mount --bind "$D/dev/fuse" /dev/fuse; exec setpriv --reuid=1 --regid=1 --clear-groups "$@"`
	if _, err := user.LookupId("1"); err != nil {
		t.Skip("no user has uid 1 on this machine")
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
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", bin, "-test.run", "^TestUnprivilegedMount$", "-test.v")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "AIOS_TEST_UNPRIVILEGED="+home, "HOME="+home, "TMPDIR="+home, "D="+dir)
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
	for _, transport := range []string{TransportLoop, TransportGoFuse} {
		srv, err := Mount(context.Background(), Options{Mountpoint: mnt, Store: st, Identity: constCatalog(cat), Transport: transport})
		if err != nil {
			t.Fatalf("%s: %v", transport, err)
		}
		put(t, mnt+"/self/home/f", transport)
		put(t, mnt+"/groups/local/shared/g", "ours")
		if get(t, mnt+"/self/home/f") != transport || get(t, mnt+"/groups/local/shared/g") != "ours" {
			t.Errorf("%s: what was written is not there", transport)
		}
		if err := srv.Unmount(); err != nil {
			t.Errorf("%s: %v", transport, err)
		}
	}
}
