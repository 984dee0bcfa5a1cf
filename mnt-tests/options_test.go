package mnttests

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What mount options forbid, they forbid here; and what they allow works.
func TestMountOptions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("options for devices and set-id programs need root")
	}
	p := newPlace(t)
	for d := p.base; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(p.dir, "groups/local/shared")
	daemon := mounted(t, p.bin, p.state, p.dir)
	p.sh(t, 0, "", `cp /usr/bin/id id; chmod 4755 id; mknod -m 666 null c 1 3; echo text > f; echo text > r; touch -a -d 2001-01-01 r`)
	stopMount(t, p, daemon)
	for _, c := range []struct{ options, flags, fails, works string }{
		{"", "rw,nosuid,nodev,relatime", "echo > null", `echo more >> f; test "$(./id -u)" = 60101`},
		{"ro", "ro,nosuid,nodev,relatime", "echo > f; mkdir d; rm f; mv f g; chmod 600 f; ln f g; setfattr -n user.a -v b f; touch -c f; echo x > $M/intents/g", "grep -q text f; ls $M/views/recent .versions"},
		{"noexec", "rw,nosuid,nodev,noexec,relatime", "./id", "echo more >> f; sh f || test $? = 127"},
		{"suid", "rw,nodev,relatime", "echo > null", `test "$(./id -u)" = 0`},
		{"dev", "rw,nosuid,relatime", "mknod x c 1 3", `echo > null; test "$(./id -u)" = 60101`},
		{"noatime,,dirsync", "rw,nosuid,nodev,noatime rw,dirsync", "echo > null", `cat r; test "$(stat -c %x r | cut -c1-4)" = 2001`},
		{"nodiratime,relatime", "rw,nosuid,nodev,nodiratime,relatime", "echo > null", `cat r; test "$(stat -c %x r | cut -c1-4)" != 2001`},
		{"strictatime", "rw,nosuid,nodev", "echo > null", `cat r; old=$(stat -c %x r); cat r; test "$(stat -c %x r)" != "$old"`},
		{"ro,noexec,suid,dev", "ro,noexec,relatime", "./id; echo > f", "cat f > null"},
	} {
		t.Run("with "+c.options, func(t *testing.T) {
			daemon := mounted(t, p.bin, p.state, p.dir, "-o", c.options)
			defer stopMount(t, p, daemon)
			if out := p.sh(t, 0, "", `findmnt -n -o VFS-OPTIONS,FS-OPTIONS $M`); !strings.HasPrefix(strings.ReplaceAll(out, " ", ","), strings.ReplaceAll(c.flags, " ", ",")+",") {
				t.Errorf("mounted with %q, want %s", out, c.flags)
			}
			for _, call := range strings.Split(c.fails, "; ") {
				cmd := p.shell(60101, dir, call)
				if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "No such file") {
					t.Errorf("%s: not refused: %s", call, out)
				} else if strings.HasPrefix(c.flags, "ro") && call != "./id" && !strings.Contains(string(out), "Read-only file system") {
					t.Errorf("%s: another refusal than EROFS: %s", call, out)
				}
			}
			p.sh(t, 0, "", `chmod 666 f || findmnt -n -o OPTIONS $M | grep -q ^ro`)
			p.sh(t, 60101, dir, c.works)
		})
	}
	if code, _, stderr := run(t, p.bin, "mount", "--state", p.state, "-o", "nolock", p.dir); code != 2 || !strings.Contains(stderr, `"nolock"`) {
		t.Errorf("an option that there is not: %d %s", code, stderr)
	}
}

// shell is a script as a user, in a directory; $M is the mount, $B the program, $S the
// state, $P the place of both.
func (p place) shell(uid int, dir, script string) *exec.Cmd {
	cmd := exec.Command("timeout", "-k", "5", fmt.Sprint(int(patience.Seconds())), "setpriv", fmt.Sprint("--reuid=", uid), fmt.Sprint("--regid=", uid), "--clear-groups", "sh", "-e", "-c", script)
	if dir == "" {
		dir = filepath.Join(p.dir, "groups/local/shared")
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "M="+p.dir, "B="+p.bin, "S="+p.state, "P="+p.base)
	return cmd
}

func (p place) sh(t *testing.T, uid int, dir, script string) string {
	t.Helper()
	out, err := p.shell(uid, dir, script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v: %s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// The life of a mount by the hands of an administrator, each step in a mount namespace of
// its own: lines of fstab, a remount, umount of what is in use, a bind mount, an overlay.
func TestAdministratorsMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mount(8) needs root")
	}
	for _, name := range []string{"findmnt", "lsof", "fuser", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is missing", name)
		}
	}
	const begin = `
		cd $P; mkdir sbin; ln -s $B sbin/mount.aios; ln -s $B sbin/mount.fuse.aios; : > fstab
		mount --bind fstab /etc/fstab; mount --bind sbin $(readlink -f /sbin)
		# A daemon that nobody needs any more has let go of the state.
		free() { for i in $(seq 900); do $B gc --state $P/state > $P/gc 2>&1 && return 0; grep -q "in use" $P/gc || { cat $P/gc; return 1; }; sleep 0.2; done; return 1; }
		fails() { want=$1; shift; "$@" > $P/out 2>&1 && { echo "not refused: $*"; exit 1; }; grep -q "$want" $P/out || { cat $P/out; exit 1; }; }
		F=$M/groups/local/shared
		up() { mount -t aios $S $M; echo text > $F/f; }
	`
	for name, script := range map[string]string{
		"fstab": `
			echo "$S $M aios noauto,noatime,nosuid,noexec,nofail,x-made-up=1 0 0" > fstab
			findmnt --verify --fstab > out || { cat out; exit 1; }
			mount $M; findmnt -n -o TARGET,FSTYPE,OPTIONS $M | grep -q "^$M fuse.aios rw,nosuid,nodev,noexec,noatime,"
			echo text > $F/f; fails "mounted already" mount $M; fails "mounted already" $B mount --background --state $P/other $M
			umount $M; free; test -z "$(ls $M)"
			echo "$S $M aios ro,nofail 0 0" > fstab; mount -a; mount -a; grep -q text $F/f; fails "Read-only" touch $F/g; umount $M; free
			echo "$S $M aios noauto,bogus 0 0" > fstab; fails bogus mount $M`,
		"remount": `
			up; for o in ro rw,noexec noatime; do fails "cannot be remounted; unmount it and mount it again" mount -o remount,$o $M; done
			echo "$S $M aios defaults 0 0" > fstab; fails "cannot be remounted" mount -o remount,ro $M
			findmnt -n -o OPTIONS $M | grep -q ^rw,; echo more >> $F/f; umount $M; free`,
		"umount and mount again": `
			up; for i in $(seq 3); do mkdir $F/$i; for j in $(seq 300); do echo $j > $F/$i/$j; done; umount $M; mount -t aios $S $M; done
			umount $M; $B fsck --state $S; mount -t aios $S $M; test "$(ls $F/3 | wc -l)" = 300; umount $M; free`,
		"umount while busy": `
			up; exec 7< $F/f; fails busy umount $M; fails busy $B umount $M
			echo more >> $F/f; test "$(wc -l < $F/f)" = 2; test "$(cat <&7 | wc -l)" = 2
			(cd $F; fails busy umount $M); exec 7<&-; umount $M; free; up; $B umount $M; free`,
		"lazy umount": `
			up; exec 7<> $F/f; umount -l $M; test -z "$(ls $M)"
			fails "in use" mount -t aios $S $M; grep -q text <&7; echo late >&7; exec 7>&-; free
			mount -t aios $S $M; test "$(cat $F/f)" = "$(printf 'text\nlate')"; umount -l $M; free`,
		"what tools show": `
			up; head -c 3000000 /dev/urandom > $F/big; exec 7< $F/f; me=$$
			df -T $F | tail -1 | grep -q "^$S *fuse.aios *[1-9][0-9]* *[0-9]* *[1-9][0-9]* .* $M$"; df -i $F/f | grep -q "[1-9]%"
			test "$(du -k $F/big | cut -f1)" -ge 2900; test "$(du -k --apparent-size $F/big | cut -f1)" -eq 2930; test "$(du -sk $M/groups | cut -f1)" -ge 2900
			test "$(findmnt -n -o TARGET,SOURCE,FSTYPE -T $F/f | tr -s " ")" = "$M $S fuse.aios"
			lsof $F/f 2> /dev/null | grep -q " $me .*REG .* $F/f$"; lsof +f -- $M 2> /dev/null | grep -q " $me "
			fuser $F/f 2> /dev/null | grep -qw $me; fuser -m $M 2> /dev/null | grep -qw $me; exec 7<&-
			test -z "$(lsof $F/f 2> /dev/null)"; umount $M; free`,
		"bind mount": `
			up; mkdir b; mount --bind $F b; echo bound > b/g; grep -q bound $F/g; test "$(ls b/.versions/g)" = "$(ls $F/.versions/g)"; mv b/g b/h; test -e $F/h
			(exec 9>> b/h; flock 9; ! flock -n $F/h true); fails "Invalid cross-device" ln $F/h b/i
			mount -o remount,bind,ro b; fails Read-only touch b/x; touch $F/x; test -e b/x
			umount $M; grep -q bound b/h; fails "in use" $B gc --state $S; umount b; free`,
		"overlay": `
			up; mkdir -p $F/d/e; echo deep > $F/d/e/f; ln -s f $F/l; ln $F/f $F/hard; setfattr -n user.k -v v $F/f; chmod 640 $F/f; head -c 200000 /dev/urandom > $F/big
			mkdir up ov; mount -t tmpfs none up; mkdir up/u up/w; mount -t overlay none -o lowerdir=$F,upperdir=up/u,workdir=up/w ov
			diff -r $F ov; test "$(stat -c %a ov/f)" = 640; cmp ov/big $F/big
			echo over >> ov/f; printf x | dd of=ov/big bs=1 seek=100000 conv=notrunc status=none; rm ov/l; rm -r ov/d; echo new > ov/d; mv ov/hard ov/moved
			test "$(cat ov/f)" = "$(printf 'text\nover')"; test "$(cat $F/f $F/d/e/f $F/l | tr '\n' ,)" = text,deep,text,; test ! -e ov/l; test "$(cat ov/d)" = new; test -e $F/hard
			test "$(cmp -l ov/big $F/big | wc -l)" -le 1
			# The overlay has the tree for itself: it goes on without the mountpoint.
			umount $M; grep -q text ov/moved; fails "in use" $B gc --state $S; umount ov; free`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			cmd := exec.Command("unshare", "-m", "sh", "-ex", "-c", begin+script)
			cmd.Env = append(os.Environ(), "M="+p.dir, "B="+p.bin, "S="+p.state, "P="+p.base)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			// What its daemon inherits must not keep the test waiting for an end of the output.
			out, err := os.Create(p.path("output"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			cmd.Stdout, cmd.Stderr = out, out
			timer := time.AfterFunc(2*patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
			err = cmd.Run()
			timer.Stop()
			if err != nil {
				said, _ := os.ReadFile(p.path("output"))
				t.Errorf("%v: %s", err, said)
				for _, pid := range speaking(p.state) {
					var n int
					if _, err := fmt.Sscanf(pid, "/proc/%d", &n); err == nil {
						_ = syscall.Kill(n, syscall.SIGKILL)
					}
				}
			}
		})
	}
}

// Paths are the caller's, also where the daemon goes on in the background.
func TestBackgroundMountOfRelativePaths(t *testing.T) {
	p := newPlace(t)
	cmd := exec.Command(p.bin, "mount", "--background", "--state", "state", "mnt")
	cmd.Dir = p.base
	cmd.Stderr = nil
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "README")); err != nil {
		t.Error(err)
	}
	for _, pid := range speaking("--state\x00state") {
		if cwd, err := os.Readlink(pid + "/cwd"); err == nil && strings.HasPrefix(cwd, p.base) {
			t.Errorf("the daemon keeps %s busy", cwd)
		}
	}
	if code, _, stderr := run(t, p.bin, "umount", p.dir); code != 0 {
		t.Errorf("umount: %d, %s", code, stderr)
	}
	until(t, "the state is free", func() bool {
		code, _, _ := run(t, p.bin, "gc", "--state", p.state)
		return code == 0
	})
}

// Handles, mappings and working directories that are left of a mount whose daemon was
// killed answer with an error, at once, also when the next daemon serves there.
func TestLeftHandlesDoNotHang(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	dir := filepath.Join(p.dir, "groups/local/shared")
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait() // it was killed
	for _, when := range []string{"with no daemon", "beside the next daemon"} {
		for what, fn := range map[string]func() error{
			"write":    func() error { _, err := f.WriteAt([]byte("x"), 0); return err },
			"fsync":    f.Sync,
			"truncate": func() error { return f.Truncate(1) },
			"fchmod":   func() error { return f.Chmod(0o600) },
			"getxattr": func() error {
				_, err := unix.Fgetxattr(int(f.Fd()), "user.aios.version_id", make([]byte, 99))
				return err
			},
			"readdir":        func() error { _, err := d.ReadDir(-1); return err },
			"openat":         func() error { return closed(unix.Openat(int(d.Fd()), "g", unix.O_CREAT|unix.O_RDWR, 0o600)) },
			"fsync of a dir": d.Sync,
			"read past what the kernel has": func() error {
				_, err := f.ReadAt(make([]byte, 10), 1<<20)
				if err == io.EOF {
					return unix.ENOTCONN // the kernel knows the size, and asks nobody
				}
				return err
			},
		} {
			got := make(chan error, 1)
			go func() { got <- fn() }()
			select {
			case err := <-got:
				if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
					t.Errorf("%s %s: %v, want ENOTCONN", what, when, err)
				}
			case <-time.After(patience):
				t.Fatalf("%s %s hangs", what, when)
			}
		}
		if when == "with no daemon" {
			daemon = mounted(t, p.bin, p.state, p.dir)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	stopMount(t, p, daemon)
}

// closed closes a descriptor that was opened, and gives the error of opening it.
func closed(fd int, err error) error {
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
