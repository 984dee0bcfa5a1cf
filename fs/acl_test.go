package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
)

// aclTools skips a test that cannot set or show lists.
func aclTools(t *testing.T) {
	t.Helper()
	for _, p := range []string{"setfacl", "getfacl"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is missing (Debian: apt-get install acl)")
		}
	}
}

// Lists are what they are on a local disk, call for call.
func TestACLAsOnALocalDisk(t *testing.T) {
	aclTools(t)
	r := newRig(t, nil)
	local := filepath.Join(filepath.Dir(r.mnt), "local")
	mount := r.shared("acl")
	for _, d := range []string{local, mount} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := r.as(0, 0, `cd `+local+` && touch t && setfacl -m u:1002:rw t && rm t`); err != nil {
		t.Skipf("the local disk has no access control lists: %s", out)
	}
	for _, c := range []struct{ name, script string }{
		{"a named user", `echo x > f && chmod 640 f && setfacl -m u:1002:rw f && getfacl -cn f && ls -l f | cut -c1-11`},
		{"chmod moves the mask", `chmod 600 f && getfacl -cn f && chmod 674 f && getfacl -cn f && chmod 640 f`},
		{"what a mode can say is one", `cp -a f b && setfacl -b b && stat -c %a b && getfacl -cn b && ls -l b | cut -c1-11; getfattr -m- b`},
		{"a list of a mode alone", `touch e && chmod 600 e && setfacl --set u::rwx,g::r,o::- e && stat -c %a e && getfattr -m- e`},
		{"a mask of its own", `touch k && setfacl -m m::r k && stat -c %a k && getfacl -cn k && chmod g=w k && getfacl -cn k`},
		{"a default is inherited", `mkdir -m 750 d && setfacl -d -m u:1002:rwx,o::- d && mkdir d/s && touch d/f && getfacl -cn d/s d/f && stat -c %a d d/s d/f`},
		{"and takes the umask's place", `umask 077; touch d/u && mkfifo d/p && mkdir d/t && stat -c %a d/u d/p d/t && getfacl -cn d/u d/p d/t`},
		{"with a mode that asks for less", `mknod -m 600 d/m p && mkdir -m 700 d/q && getfacl -cn d/m d/q`},
		{"not by symbolic links", `ln -s x d/l && stat -c %a d/l; getfattr -hm- d/l; setfacl -m u:1002:r d/l 2>&1`},
		{"a plain default leaves no list", `mkdir pd && setfacl -d -m u::rwx,g::r,o::- pd && touch pd/f && mkdir pd/d && stat -c %a pd/f pd/d && ls -l pd | tail -n +2 | cut -c1-11; getfacl -cn pd/d`},
		{"removed defaults", `setfacl -k d && touch d/n && stat -c %a d/n; getfacl -cn d; getfattr -m- d`},
		{"a default of a file", `setfacl -d -m u:1002:r f 2>&1; setfacl -k f; getfacl -cn f`},
		{"cp -a keeps it", `cp -a f g && getfacl -cn g && getfattr -m- g; cp f h; getfacl -cn h`},
		{"rename and link keep it", `mv g i && ln i j && getfacl -cn i j`},
		{"set-group-id of another's group", `touch sg && chown 1002:1001 sg && chmod 2755 sg && setpriv --reuid 1002 --regid 1002 --clear-groups setfacl -m u:1003:r sg && stat -c %a sg`},
		{"set-group-id of one's own", `touch so && chown 1002:1002 so && chmod 2755 so && setpriv --reuid 1002 --regid 1002 --clear-groups setfacl -m u:1003:r so && stat -c %a so`},
		{"a stranger's", `setpriv --reuid 1002 --regid 1002 --clear-groups setfacl -m u:1003:r f 2>&1`},
		{"special files", `mkfifo p && mknod n c 1 3 && setfacl -m u:1002:r p n && getfacl -cn p n`},
		{"a set-group-id directory", `mkdir s && chgrp 1001 s && chmod 2770 s && setfacl -d -m g:1002:rwx s && mkdir s/d && touch s/f && stat -c '%a %g' s/d s/f && getfacl -cn s/d s/f`},
		{"copied by tar and rsync", `mkdir c1 c2; tar c --acls --xattrs d pd | tar x --acls --xattrs -C c1 && find c1 | sort | xargs getfacl -cn; ! command -v rsync >/dev/null || { rsync -aAX d pd c2 && find c2 | sort | xargs getfacl -cn; }`},
	} {
		got, gerr := r.as(0, 0, `umask 022; cd `+mount+` && `+c.script)
		want, werr := r.as(0, 0, `umask 022; cd `+local+` && `+c.script)
		if got != want || fmt.Sprint(gerr) != fmt.Sprint(werr) {
			t.Errorf("%s:\n%s\n%v; on a local disk\n%s\n%v", c.name, got, gerr, want, werr)
		}
	}
}

// The kernel lets in and keeps out by the list, and by its changes at once.
func TestACLIsEnforced(t *testing.T) {
	aclTools(t)
	r := newRig(t, nil)
	sh := func(script string) {
		t.Helper()
		if out, err := r.as(0, 0, `cd $MNT/groups/local/shared && `+script); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	try := func(what string, uid uint32, script string, want bool, groups ...uint32) {
		t.Helper()
		if out, err := r.as(uid, uid, `cd $MNT/groups/local/shared && `+script, groups...); (err == nil) != want {
			t.Errorf("%s: %v, %s", what, err, out)
		}
	}
	sh(`mkdir -m 700 d && echo secret > d/f && chmod 600 d/f`)
	try("before", bobUID, `cat d/f`, false)
	sh(`setfacl -m u:` + fmt.Sprint(bobUID) + `:x d && setfacl -m u:` + fmt.Sprint(bobUID) + `:r d/f`)
	try("a named user", bobUID, `cat d/f`, true)
	try("a named user writes", bobUID, `echo >> d/f`, false)
	try("a named user lists", bobUID, `ls d`, false)
	try("another", aliceUID, `cat d/f`, false)
	sh(`chmod g= d/f`)
	try("the mask shuts out", bobUID, `cat d/f`, false)
	sh(`chmod g=r d/f && setfacl -x u:` + fmt.Sprint(bobUID) + ` d/f && setfacl -m g:4711:r d/f && setfacl -m g:4711:x d`)
	try("no longer named", bobUID, `cat d/f`, false)
	try("a named group", aliceUID, `cat d/f`, true, 4711)
	sh(`echo open > o && chmod 644 o && setfacl -m u:` + fmt.Sprint(bobUID) + `:- o`)
	try("named and kept out of what others may", bobUID, `cat o`, false)
	try("the others", aliceUID, `cat o`, true)
	// History is as private as the present.
	try("its versions", aliceUID, `cat .versions/o/*`, true)
	try("its versions, kept out", bobUID, `cat .versions/o/*`, false)
	try("its object", aliceUID, `cat $MNT/objects/$(getfattr --only-values -n user.aios.object_id o)/content`, true)
	try("its object, kept out", bobUID, `cat $MNT/objects/$(getfattr --only-values -n user.aios.object_id o)/content`, false)
}

// Malformed lists are refused, by the kernel and by the store.
func TestACLStored(t *testing.T) {
	r := newRig(t, nil)
	p := r.mk("f")
	list := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 234, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
	for _, c := range []struct {
		what string
		b    []byte
		want syscall.Errno
	}{
		{"no mask", append(append([]byte{}, list[:28]...), list[36:]...), syscall.EINVAL},
		{"out of order", append(append([]byte{}, list[:4]...), append(append([]byte{}, list[12:20]...), list[4:]...)...), syscall.EINVAL},
		{"cut short", list[:30], syscall.EINVAL},
		{"another version", append([]byte{3}, list[1:]...), syscall.EOPNOTSUPP},
	} {
		wantErrno(t, c.what, unix.Setxattr(p, objects.XattrACLAccess, c.b, 0), c.want)
		a, _ := r.store.Resolve("groups/local/shared/f")
		if err := r.store.SetACL(objects.Cred{}, a.Ino, objects.XattrACLAccess, c.b, false); errnoOf(err) != c.want {
			t.Errorf("%s: the store says %v", c.what, err)
		}
	}
	wantErrno(t, "a file's default", unix.Setxattr(p, objects.XattrACLDefault, list, 0), syscall.EACCES)
	if err := unix.Setxattr(p, objects.XattrACLAccess, list, 0); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, "the layout", unix.Setxattr(r.mnt+"/groups/local", objects.XattrACLAccess, list, 0), syscall.EPERM)
	var st unix.Stat_t
	if err := unix.Stat(p, &st); err != nil || st.Mode&0o777 != 0o640 {
		t.Errorf("mode %o, %v", st.Mode, err)
	}
	b := make([]byte, 100)
	if n, err := unix.Getxattr(p, objects.XattrACLAccess, b); err != nil || string(b[:n]) != string(list) {
		t.Errorf("it reads %v, %v", b[:max(n, 0)], err)
	}
}

func TestFileCapabilities(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	r := newRig(t, nil)
	p := r.mk("prog")
	caps := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_bind_service+ep
	set := func() {
		t.Helper()
		if err := unix.Setxattr(p, objects.XattrCapability, caps, 0); err != nil {
			t.Fatal(err)
		}
	}
	has := func() bool {
		n, err := unix.Getxattr(p, objects.XattrCapability, make([]byte, 64))
		return err == nil && n > 0
	}
	set()
	if !has() {
		t.Fatal("not stored")
	}
	for what, fn := range map[string]func() error{
		"append": func() error {
			f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("x")
			return err
		},
		"truncate": func() error { return os.Truncate(p, 1) },
		"chown":    func() error { return os.Chown(p, 1001, 1001) },
		"rewrite":  func() error { return os.WriteFile(p, []byte("new"), 0o755) },
		"read and write": func() error {
			f, err := os.OpenFile(p, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("y"), 0)
			return err
		},
	} {
		set()
		if err := fn(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if has() {
			t.Errorf("%s leaves the capabilities", what)
		}
	}
	set()
	if err := os.Chmod(p, 0o700); err != nil || !has() {
		t.Errorf("chmod: %v; it has them: %v", err, has())
	}
	wantErrno(t, "another label", unix.Setxattr(p, "security.other", []byte("x"), 0), syscall.EOPNOTSUPP)
	b := make([]byte, 256)
	if n, err := unix.Listxattr(p, b); err != nil || !strings.Contains(string(b[:max(n, 0)]), objects.XattrCapability) {
		t.Errorf("listed %q, %v", b[:max(n, 0)], err)
	}
}

// A chown that changes nothing takes set-id bits away like any other, and is not for
// strangers.
func TestChownToNobody(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("perl is missing; chown(1) does not send such a call")
	}
	r := newRig(t, nil)
	const chown = `cd $MNT/groups/local/shared && perl -e 'chown(-1, -1, "p") or exit 1'`
	for _, c := range []struct {
		what string
		uid  uint32
		mode os.FileMode
		ok   bool
		left uint32
	}{
		{"a stranger", bobUID, 0o755, false, 0o4755},
		{"a stranger who may write", bobUID, 0o757, true, 0o757},
		{"its owner", aliceUID, 0o755, true, 0o755},
		{"root", 0, 0o755, true, 0o755},
	} {
		p := r.mk("p")
		if err := errors.Join(os.Chown(p, aliceUID, aliceUID), os.Chmod(p, c.mode|os.ModeSetuid)); err != nil {
			t.Fatal(err)
		}
		_, err := r.as(c.uid, c.uid, chown)
		var st unix.Stat_t
		if serr := unix.Stat(p, &st); serr != nil || (err == nil) != c.ok || st.Mode&0o7777 != c.left {
			t.Errorf("%s: %v, mode %o, want %o", c.what, err, st.Mode&0o7777, c.left)
		}
	}
}
