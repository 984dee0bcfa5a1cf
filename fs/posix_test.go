package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

func TestPosix(t *testing.T) {
	r := newRig(t, nil)
	for name, fn := range posixtest.All {
		if name == "FcntlFlockLocksFile" {
			// It wants two POSIX locks of one process to conflict, as they do
			// where a daemon holds them; ours are the kernel's, and by POSIX a
			// process' own locks never conflict.
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := r.shared("posix-" + name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			fn(t, dir)
		})
	}
}

func TestShellWork(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct{ name, script, want string }{
		{"mkdir -p, cp -r, mv", `cd $MNT/groups/local/shared && mkdir -p a/b/c && echo hi > a/b/c/f && cp -r a z && mv z y && cat y/b/c/f`, "hi"},
		{"save by rename", `cd $MNT/groups/local/shared && echo 1 > s && echo 2 > s.tmp && mv s.tmp s && cat s`, "2"},
		{"save as vim does", `cd $MNT/groups/local/shared && echo 1 > v && mv v v~ && echo 2 > v && rm v~ && cat v`, "2"},
		{"save as KDE does", `cd $MNT/groups/local/shared && echo 1 > k && echo 2 > k.part && rm k && mv k.part k && cat k`, "2"},
		{"append", `cd $MNT/groups/local/shared && echo 1 > p && echo 2 >> p && cat p`, "1\n2"},
		{"tar round trip", `cd $MNT/groups/local/shared && mkdir t && echo x > t/x && ln -s x t/l && ln t/x t/h && chmod 600 t/x && tar c t | (mkdir u && cd u && tar x) && diff -r t u/t && stat -c %a%h u/t/x && readlink u/t/l`, "6002\nx"},
		{"cp -a keeps all", `cd $MNT/groups/local/shared && echo q > q && touch -d 2020-01-01T00:00:00.123456789 q && chmod 640 q && cp -a q q2 && stat -c '%a %y' q2`, "640 2020-01-01 00:00:00.123456789 +0000"},
		{"rm -rf", `cd $MNT/groups/local/shared && mkdir -p d/e/f/g && touch d/e/1 d/e/f/2 && rm -rf d && test ! -e d && echo gone`, "gone"},
		{"sparse", `cd $MNT/groups/local/shared && truncate -s 1G big && stat -c %s big && test $(stat -c %b big) -lt 1000 && echo sparse`, "1073741824\nsparse"},
		{"fifo", `cd $MNT/groups/local/shared && mkfifo ff && (echo through > ff &) && cat ff`, "through"},
		{"umask", `cd $MNT/groups/local/shared && umask 027 && touch um && mkdir umd && stat -c %a um umd`, "640\n750"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := r.ok(aliceUID, aliceUID, c.script); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestGitAndSqlite(t *testing.T) {
	r := newRig(t, nil)
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is missing")
	}
	out := r.ok(aliceUID, aliceUID, `set -e
		export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
		cd $MNT/groups/local/shared && git init -q src && cd src
		for i in 1 2 3 4 5; do mkdir -p d$i; seq 1000 > d$i/f; done; git add . && git commit -qm one
		cd .. && git clone -q src dst && cd dst && git status --porcelain && git fsck --strict 2>/dev/null && git log --format=%s`)
	if out != "one" {
		t.Errorf("git: %q", out)
	}
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("sqlite3 is missing")
	}
	out = r.ok(aliceUID, aliceUID, `cd $MNT/groups/local/shared && sqlite3 t.db 'pragma journal_mode=wal; create table t(a); insert into t values(1),(2); select sum(a) from t; pragma integrity_check'`)
	if out != "wal\n3\nok" {
		t.Errorf("sqlite: %q", out)
	}
}

// A page fault stops a thread without the runtime's knowledge, so a mapping of this mount
// must be touched by another process than the one that serves it: a collection that waits
// for the thread would wait for ever.
func writeMapped(t *testing.T, name string) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	copy(m[4096:], "mapped")
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Munmap(m); err != nil {
		t.Fatal(err)
	}
}

func TestMmapAndSetID(t *testing.T) {
	if name := os.Getenv("AIOS_TEST_MMAP"); name != "" {
		writeMapped(t, name)
		return
	}
	r := newRig(t, nil)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestMmapAndSetID$")
	cmd.Env = append(os.Environ(), "AIOS_TEST_MMAP="+r.shared("m"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := os.Open(r.shared("m"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 6)
	if _, err := f.ReadAt(b, 4096); err != nil || string(b) != "mapped" {
		t.Errorf("read back %q, %v", b, err)
	}
	got := r.ok(aliceUID, aliceUID, `cd $MNT/groups/local/shared && echo x > sid && chmod 6755 sid && stat -c %a sid && echo y >> sid && stat -c %a sid`)
	if got != "6755\n755" {
		t.Errorf("set-id bits after a write: %q", got)
	}
}

func TestXattr(t *testing.T) {
	r := newRig(t, nil)
	p := r.shared("x")
	put(t, p, "text")
	attr := func(name string) string {
		b := make([]byte, 256)
		n, err := unix.Getxattr(p, name, b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return ""
		}
		return string(b[:n])
	}
	for name, prefix := range map[string]string{"user.aios.object_id": "obj_", "user.aios.version_id": "ver_", "user.aios.content_hash": "b3:", "user.aios.kind": "FILE", "user.aios.scope": "GROUP:local", "user.aios.privacy_class": "SENSITIVE"} {
		if v := attr(name); !strings.HasPrefix(v, prefix) {
			t.Errorf("%s = %q", name, v)
		}
	}
	b := make([]byte, 1024)
	if n, err := unix.Listxattr(p, b); err != nil || n != 0 {
		t.Errorf("listed %q, %v", b[:max(n, 0)], err)
	}
	if err := unix.Setxattr(p, "user.aios.privacy_class", []byte("CLASSIFIED"), 0); err != nil {
		t.Errorf("raise: %v", err)
	}
	wantErrno(t, "lower", unix.Setxattr(p, "user.aios.privacy_class", []byte("PUBLIC"), 0), syscall.EPERM)
	wantErrno(t, "no class", unix.Setxattr(p, "user.aios.privacy_class", []byte("NOTHING"), 0), syscall.EINVAL)
	wantErrno(t, "object_id", unix.Setxattr(p, "user.aios.object_id", []byte("obj_x"), 0), syscall.EPERM)
	if err := unix.Setxattr(p, "user.xdg.tags", []byte("hike,alps"), 0); err != nil {
		t.Error(err)
	}
	if v := attr("user.xdg.tags"); v != "alps,hike" {
		t.Errorf("tags %q", v)
	}
	n, err := unix.Listxattr(p, b)
	if got := string(b[:max(n, 0)]); err != nil || got != "user.xdg.tags\x00user.aios.privacy_class\x00" {
		t.Errorf("listed %q, %v", got, err)
	}
	wantErrno(t, "retention", unix.Setxattr(r.shared(), "user.aios.retention", []byte("some"), 0), syscall.EINVAL)
}

func TestStatxDoesNotFollow(t *testing.T) {
	r := newRig(t, nil)
	for name, to := range map[string]string{"dangling": "nowhere", "loop": "loop", "dir": "."} {
		p := r.shared(name)
		if err := os.Symlink(to, p); err != nil {
			t.Fatal(err)
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if st.Mode&unix.S_IFMT != unix.S_IFLNK || st.Btime.Sec == 0 {
			t.Errorf("%s: mode %o, born %d", name, st.Mode, st.Btime.Sec)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(r.mnt, &fs); err != nil || fs.Blocks == 0 || fs.Bfree == 0 || fs.Namelen != 255 {
		t.Errorf("statfs %+v, %v", fs, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || !strings.Contains(string(mounts), filepath.Clean(r.mnt)+" ") || !strings.Contains(string(mounts), "- fuse.aios aios ") {
		t.Errorf("mountinfo does not show fuse.aios aios: %v", err)
	}
}
