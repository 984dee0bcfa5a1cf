package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/fs/namespace"
)

func TestF76_ClosedLayout(t *testing.T) {
	t.Log("proves: F-76 F-78")
	r := newRig(t, nil)
	r.ok(0, 0, `test -d $MNT/self/home`)
	for _, c := range []struct {
		what string
		err  error
		want syscall.Errno
	}{
		{"third top level", os.Mkdir(r.mnt+"/third", 0o755), syscall.EPERM},
		{"file at the top", os.WriteFile(r.mnt+"/file", nil, 0o644), syscall.EPERM},
		{"unknown system name", os.Mkdir(r.mnt+"/system/nothing", 0o755), syscall.EPERM},
		{"unknown group name", os.Mkdir(r.mnt+"/groups/local/nothing", 0o755), syscall.EPERM},
		{"unknown user name", os.Mkdir(r.mnt+"/groups/local/users/root/nothing", 0o755), syscall.EPERM},
		{"group without an action", os.Mkdir(r.mnt+"/groups/third", 0o755), syscall.EPERM},
		{"known name", os.Mkdir(r.mnt+"/groups/local/shared", 0o755), syscall.EEXIST},
		{"remove a reserved name", os.Remove(r.mnt + "/groups/local/shared"), syscall.EPERM},
		{"remove a scope", os.Remove(r.mnt + "/system"), syscall.EPERM},
		{"rename a reserved name", os.Rename(r.mnt+"/groups/local/shared", r.mnt+"/groups/local/projects/x"), syscall.EPERM},
		{"replace a reserved name", syscall.Rename(r.mnt+"/groups/local/projects", r.mnt+"/groups/local/shared"), syscall.EPERM},
		{"chmod a reserved name", os.Chmod(r.mnt+"/groups/local/shared", 0o700), syscall.EPERM},
		{"chmod to the same mode", os.Chmod(r.mnt+"/groups/local/shared", 0o777|os.ModeSticky), 0},
		{"bad agent id", os.Mkdir(r.mnt+"/groups/local/agents/Bad Id", 0o755), syscall.EPERM},
		{"write to the group inbox", os.WriteFile(r.mnt+"/groups/local/inbox/x", nil, 0o644), syscall.EROFS},
		{"write to the outbox", os.WriteFile(r.mnt+"/groups/local/users/root/outbox/x", nil, 0o644), syscall.EROFS},
		{"write to the group's evidence", os.WriteFile(r.mnt+"/groups/local/evidence/x", nil, 0o644), syscall.EROFS},
		{"write to audit", os.WriteFile(r.mnt+"/groups/local/audit/x", nil, 0o644), syscall.EROFS},
		{"make .versions", os.Mkdir(r.shared(".versions"), 0o755), syscall.EEXIST},
		{"rename to .versions", syscall.Rename(r.mkdir("plain"), r.shared(".versions")), syscall.EPERM},
		{"lookup of an unknown name", stat(r.mnt + "/nothing"), syscall.ENOENT},
		{"write README", os.WriteFile(r.mnt+"/README", []byte("x"), 0o644), syscall.EROFS},
		{"remove self", os.Remove(r.mnt + "/self"), syscall.EPERM},
	} {
		if c.want == 0 {
			if c.err != nil {
				t.Errorf("%s: %v", c.what, c.err)
			}
			continue
		}
		wantErrno(t, c.what, c.err, c.want)
	}
}

func (r *rig) mk(name string) string {
	p := r.shared(name)
	put(r.t, p, name)
	return p
}

func (r *rig) mkdir(name string) string {
	p := r.shared(name)
	if err := os.Mkdir(p, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return p
}

func stat(p string) error { _, err := os.Stat(p); return err }

func TestF77_RecoveryOnlyNames(t *testing.T) {
	r := newRig(t, nil)
	n := 0
	for _, res := range namespace.Default.Names(namespace.ScopeSystem) {
		if res.Mutation != namespace.RecoveryOnly {
			continue
		}
		n++
		wantErrno(t, "root writes into "+res.Name, os.WriteFile(filepath.Join(r.mnt, "system", res.Name, "x"), nil, 0o644), syscall.EPERM)
	}
	if n != 10 {
		t.Errorf("%d RECOVERY_ONLY names", n)
	}
	if err := os.Mkdir(r.mnt+"/system/apps/viewer", 0o755); err != nil {
		t.Errorf("an administrator in system/apps: %v", err)
	}
	r.wait(func() bool { return len(r.deny.list()) >= 11 })
	for _, d := range r.deny.list() {
		want := "RecoveryModeRequired"
		if strings.HasPrefix(d.Target.Path, "/aios/system/apps") {
			want = SystemAdminOperation
		}
		if d.Code != want {
			t.Errorf("denial %+v", d)
		}
	}
}

func (r *rig) wait(fn func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !fn(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatal("it did not happen within a minute")
		}
	}
}

func TestF10_CrossScope(t *testing.T) {
	r := newRig(t, nil)
	r.ok(0, 0, `test -d $MNT/self/home`)
	a := r.mk("a")
	home := r.mnt + "/groups/local/users/root/home"
	wantErrno(t, "rename to another scope", os.Rename(a, home+"/a"), syscall.EXDEV)
	wantErrno(t, "link to another scope", os.Link(a, home+"/a"), syscall.EXDEV)
	if out := r.ok(0, 0, `mv $MNT/groups/local/shared/a $MNT/self/home/a && cat $MNT/self/home/a`); out != "a" {
		t.Errorf("mv copied %q", out)
	}
}

func TestF103_EachHisOwn(t *testing.T) {
	r := newRig(t, nil)
	for range 3 {
		for _, u := range []struct {
			uid    uint32
			self   string
			groups string
		}{
			{aliceUID, "groups/family/users/alice", "family\nlocal"},
			{bobUID, fmt.Sprintf("groups/local/users/uid-%d", bobUID), "local"},
		} {
			gid := u.uid
			var extra []uint32
			if u.uid == aliceUID {
				extra = []uint32{r.family}
			}
			if out := r.ok(u.uid, gid, `readlink $MNT/self`, extra...); out != u.self {
				t.Errorf("uid %d: self is %q", u.uid, out)
			}
			if out := r.ok(u.uid, gid, `ls $MNT/groups`, extra...); out != u.groups {
				t.Errorf("uid %d: groups are %q", u.uid, out)
			}
			if out := r.ok(u.uid, gid, `cd $MNT/self/home && id -u > who && cat who && stat -c %a .`, extra...); out != fmt.Sprintf("%d\n700", u.uid) {
				t.Errorf("uid %d: home gives %q", u.uid, out)
			}
		}
	}
}

// What one user's lookups have put into the kernel's caches must not help
// another one in.
func TestF102_ForeignGroup(t *testing.T) {
	r := newRig(t, nil)
	r.ok(aliceUID, aliceUID, `cd $MNT/groups/family/shared && echo secret > plan && cat plan && ls -la . .. ../users && cat $MNT/groups/family/shared/plan`, r.family)
	for _, script := range []string{
		`ls $MNT/groups/family`, `ls $MNT/groups/family/shared`, `cat $MNT/groups/family/shared/plan`, `stat $MNT/groups/family/shared/plan`,
		`echo x > $MNT/groups/family/shared/mine`, `cat $MNT/groups/family/shared/.versions/plan/*`, `ls $MNT/groups/family/users/alice/home`,
		`ls $MNT/groups/family/evidence`,
	} {
		out, err := r.as(bobUID, bobUID, script)
		if err == nil || strings.Contains(out, "secret") {
			t.Errorf("%s: succeeded: %s", script, out)
		}
		if err != nil && !strings.Contains(out, "Permission denied") {
			t.Errorf("%s: %s", script, out)
		}
	}
	r.wait(func() bool { return len(r.deny.list()) > 0 })
	before := len(r.deny.list())
	if _, err := r.as(bobUID, bobUID, `for i in $(seq 1000); do : < $MNT/groups/family/shared/plan; done`); err == nil {
		t.Error("a stranger opened the file")
	}
	if after := len(r.deny.list()); after > before+1 {
		t.Errorf("1000 refusals made %d records", after-before)
	}
	d := r.deny.list()[0]
	if d.Code != "CrossGroupAccessForbidden" || d.Target.Group != "family" || d.Caller.UID != bobUID || d.Op != OpAccess {
		t.Errorf("denial %+v", d)
	}
}

func TestVersionsAndTimeTravel(t *testing.T) {
	t.Log("proves: F-100")
	r := newRig(t, nil)
	p := r.shared("note.md")
	put(t, p, "one")
	r.sync()
	before := time.Now()
	time.Sleep(20 * time.Millisecond)
	if err := syscall.Setxattr(p, "user.xdg.tags", []byte("trip"), 0); err != nil {
		t.Fatal(err)
	}
	wasID, wasIno := r.attrs(p)
	if err := syscall.Setxattr(p, "user.aios.privacy_class", []byte("CLASSIFIED"), 0); err != nil {
		t.Fatal(err)
	}
	put(t, p+".tmp", "two")
	r.sync()
	if err := os.Rename(p+".tmp", p); err != nil {
		t.Fatal(err)
	}
	r.sync()
	if id, ino := r.attrs(p); id != wasID || ino == wasIno {
		t.Errorf("a save by rename: object %s, then %s; inode %d, then %d", wasID, id, wasIno, ino)
	}
	es, err := os.ReadDir(r.shared(".versions/note.md"))
	if err != nil || len(es) != 2 {
		t.Fatalf("versions: %v, %v", es, err)
	}
	var texts []string
	for _, e := range es {
		if filepath.Ext(e.Name()) != ".md" || !strings.Contains(e.Name(), "_ver_") {
			t.Errorf("version named %q", e.Name())
		}
		name := r.shared(".versions/note.md", e.Name())
		texts = append(texts, get(t, name))
		wantErrno(t, "write a version", os.WriteFile(name, nil, 0o644), syscall.EROFS)
	}
	if texts[0] != "one" || texts[len(texts)-1] != "two" {
		t.Errorf("versions read %q", texts)
	}
	b := make([]byte, 64)
	if n, err := syscall.Getxattr(p, "user.aios.privacy_class", b); err != nil || string(b[:n]) != "CLASSIFIED" {
		t.Errorf("class after a save by rename: %q, %v", b[:max(n, 0)], err)
	}
	if n, err := syscall.Getxattr(p, "user.xdg.tags", b); err != nil || string(b[:n]) != "trip" {
		t.Errorf("tags after a save by rename: %q, %v", b[:max(n, 0)], err)
	}
	at := r.mnt + "/views/at/" + before.UTC().Format(time.RFC3339Nano)
	if got := get(t, at+"/groups/local/shared/note.md"); got != "one" {
		t.Errorf("as it was: %q", got)
	}
	wantErrno(t, "write the past", os.WriteFile(at+"/groups/local/shared/note.md", nil, 0o644), syscall.EROFS)
	wantErrno(t, "make something in the past", os.Mkdir(at+"/groups/local/shared/d", 0o755), syscall.EROFS)
	wantErrno(t, "no time", stat(r.mnt+"/views/at/whenever"), syscall.ENOENT)
	for _, name := range []string{"2026-13-45", "2026-02-30T10:00:00Z", "2026-1-5", "23-11-2026", "3 days ago", strings.Repeat("x", 101)} {
		wantErrno(t, "no date: "+name, stat(r.mnt+"/views/at/"+name), syscall.EINVAL)
		wantErrno(t, "below no date: "+name, stat(r.mnt+"/views/at/"+name+"/groups"), syscall.EINVAL)
	}
	for _, name := range []string{".hidden", ".directory", ".Trash-1000", ".git", ". ", "desktop.ini", "Thumbs.db", "2026-11-before-upgrade"} {
		wantErrno(t, "a name that programs look for: "+name, stat(r.mnt+"/views/at/"+name), syscall.ENOENT)
	}
	wantErrno(t, "before everything", stat(r.mnt+"/views/at/1999-01-01"), syscall.ENOENT)
	n := make([]byte, 64)
	c, err := syscall.Getxattr(p, "user.aios.object_id", n)
	if err != nil {
		t.Fatal(err)
	}
	dir := r.mnt + "/objects/" + string(n[:c])
	if get(t, dir+"/content") != "two" || get(t, dir+"/path") != "groups/local/shared/note.md\n" || !strings.Contains(get(t, dir+"/meta.json"), "CLASSIFIED") {
		t.Errorf("objects/ shows %q", get(t, dir+"/path"))
	}
	if _, err := os.Readlink(dir + "/pointers/CURRENT"); err != nil {
		t.Error(err)
	}
	if _, err := os.ReadDir(r.shared()); err != nil {
		t.Error(err)
	}
}

// attrs gives a file's object id and inode number.
func (r *rig) attrs(p string) (object string, ino uint64) {
	r.t.Helper()
	b := make([]byte, 64)
	n, err := syscall.Getxattr(p, "user.aios.object_id", b)
	if err != nil {
		r.t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(p, &st); err != nil {
		r.t.Fatal(err)
	}
	return string(b[:n]), st.Ino
}

func (r *rig) sync() {
	r.t.Helper()
	// RELEASE is not awaited by close(2): what it does is done once the handles
	// are gone.
	r.wait(func() bool {
		r.srv.t.handles.mu.RLock()
		defer r.srv.t.handles.mu.RUnlock()
		return len(r.srv.t.handles.m) == 0
	})
	if err := r.store.SyncAll(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// Nothing that is listed may block, be slow or lie about its size.
func TestWalkEverythingListed(t *testing.T) {
	in := &memIntents{t: t}
	r := newRig(t, func(o *Options) { o.Intents = in; o.Evidence = newMemLog(20) })
	put(t, r.mnt+"/intents/walk", "do something")
	r.mk("file.txt")
	n := 0
	done := make(chan error, 1)
	go func() {
		done <- filepath.WalkDir(r.mnt, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			n++
			if !d.Type().IsRegular() {
				return nil
			}
			f, err := os.Open(p)
			if err != nil {
				if errors.Is(err, fs.ErrPermission) {
					return nil
				}
				return err
			}
			defer f.Close()
			st, err := d.Info()
			if err != nil {
				return err
			}
			b := make([]byte, 16<<10)
			m, _ := f.Read(b)
			if int64(m) != min(st.Size(), 16<<10) {
				t.Errorf("%s: size %d, read %d", p, st.Size(), m)
			}
			return nil
		})
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the walk blocks")
	}
	t.Logf("%d names", n)
	if n < 100 {
		t.Errorf("only %d names", n)
	}
}

func TestAgentsWriteOnlyTheirOwn(t *testing.T) {
	r := newRig(t, func(o *Options) {
		cat, err := o.Identity().WithAgent("family:helper", "family:alice", 4100)
		if err != nil {
			t.Fatal(err)
		}
		id := o.Identity
		_ = id
		o.Identity = constCatalog(cat)
	})
	r.mk("f")
	if err := os.Chmod(r.shared("f"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{`echo x > $MNT/groups/local/shared/new`, `echo x >> $MNT/groups/local/shared/f`, `mkdir $MNT/groups/local/shared/d`} {
		if out, err := r.as(4100, 4100, script, r.family); err == nil || !strings.Contains(out, "not permitted") {
			t.Errorf("%s: %v %s", script, err, out)
		}
	}
	if out := r.ok(4100, 4100, `cat $MNT/groups/local/shared/f`, r.family); out != "f" {
		t.Errorf("read %q", out)
	}
	r.wait(func() bool { return len(r.deny.list()) >= 3 })
	if d := r.deny.list()[0]; d.Code != "AGENT_DIRECT_FS_WRITE_BLOCKED" || !d.Caller.Subject.IsAI {
		t.Errorf("denial %+v", d)
	}
}
