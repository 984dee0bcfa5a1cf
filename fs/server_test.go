package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

func TestMountErrors(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "file"), "")
	for p, want := range map[string]error{full: ErrMountpointNotEmpty, filepath.Join(dir, "none"): ErrMountpointMissing, filepath.Join(dir, "file"): ErrMountpointNotDir} {
		if _, err := Mount(context.Background(), Options{Mountpoint: p}); !errors.Is(err, want) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// A change from inside is seen although the kernel has cached the opposite:
// a name's absence, a listing, a size, a text.
func TestInternalChangesAreSeen(t *testing.T) {
	r := newRig(t, nil)
	put(t, r.shared("f"), "old")
	r.mkdir("d")
	r.sync()
	for i := range 20 {
		name := fmt.Sprintf("new%d", i)
		if _, err := os.Stat(r.shared("d", name)); !os.IsNotExist(err) {
			t.Fatalf("before: %v", err)
		}
		if es, err := os.ReadDir(r.shared("d")); err != nil || len(es) != i {
			t.Fatalf("before: %d names, %v", len(es), err)
		}
		get(t, r.shared("f"))
		text := fmt.Sprintf("a longer text %d", i)
		tx := r.store.Begin(objects.Cred{Subject: "local:root"}, "act_test")
		for _, p := range []string{"groups/local/shared/f", "groups/local/shared/d/" + name} {
			if err := tx.WriteFile(context.Background(), p, bytes.NewReader([]byte(text)), objects.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tx.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := r.srv.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := get(t, r.shared("f")); got != text {
			t.Errorf("round %d: the file reads %q", i, got)
		}
		if got := get(t, r.shared("d", name)); got != text {
			t.Errorf("round %d: the new file reads %q", i, got)
		}
		if es, err := os.ReadDir(r.shared("d")); err != nil || len(es) != i+1 {
			t.Errorf("round %d: %d names, %v", i, len(es), err)
		}
	}
}

// testActions changes a catalogue as the typed actions do.
type testActions struct {
	cat atomic.Pointer[identity.Catalog]
}

func (a *testActions) CreateGroup(_ context.Context, _ Caller, name string) error {
	c, err := a.cat.Load().WithGroup(name, "TEAM")
	if err == nil {
		a.cat.Store(c)
	}
	return err
}

func (a *testActions) AddUser(_ context.Context, _ Caller, group, user string) error {
	c, err := a.cat.Load().WithMember(group, user, bobUID)
	if err == nil {
		a.cat.Store(c)
	}
	return err
}

func TestMkdirIsTheTypedAction(t *testing.T) {
	act := &testActions{}
	r := newRig(t, func(o *Options) {
		act.cat.Store(o.Identity())
		o.Actions, o.Identity = act, act.cat.Load
	})
	if err := os.Mkdir(r.mnt+"/groups/homelab", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.mnt+"/groups/homelab/users/bob", 0o755); err != nil {
		t.Fatal(err)
	}
	g, _ := act.cat.Load().Group("homelab")
	var st syscall.Stat_t
	if err := syscall.Stat(r.mnt+"/groups/homelab", &st); err != nil || st.Mode&0o7777 != 0o750 || st.Gid != g.GID {
		t.Errorf("groups/homelab: %o gid %d, %v", st.Mode, st.Gid, err)
	}
	if _, err := os.Stat(r.mnt + "/groups/homelab/users/bob/home"); err != nil {
		t.Error(err)
	}
	if out := r.ok(bobUID, bobUID, `cd $MNT/self/home && echo mine > f && cat f`, g.GID); out != "mine" {
		t.Errorf("the new user's home gives %q", out)
	}
	if out, err := r.as(aliceUID, aliceUID, `mkdir $MNT/groups/other`); err == nil {
		t.Errorf("an ordinary user made a group: %s", out)
	}
	wantErrno(t, "not an id", os.Mkdir(r.mnt+"/groups/Not An Id", 0o755), syscall.EPERM)
}

func TestUnhealthyIsReadOnly(t *testing.T) {
	var sick atomic.Bool
	r := newRig(t, func(o *Options) {
		o.Health = func() error {
			if sick.Load() {
				return errors.New("the log cannot be written")
			}
			return nil
		}
	})
	p := r.mk("f")
	f, err := os.OpenFile(p, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sick.Store(true)
	_, err = f.WriteString("x")
	wantErrno(t, "write", err, syscall.EIO)
	wantErrno(t, "create", os.WriteFile(r.shared("g"), nil, 0o644), syscall.EIO)
	wantErrno(t, "unlink", os.Remove(p), syscall.EIO)
	if get(t, p) != "f" {
		t.Error("it cannot be read")
	}
	if s := get(t, r.mnt+"/system/runtime/health.json"); !bytes.Contains([]byte(s), []byte("the log cannot be written")) || !bytes.Contains([]byte(s), []byte("DEGRADED")) {
		t.Errorf("health.json: %s", s)
	}
	sick.Store(false)
}

// F-65: the same inode numbers after a remount, virtual ones too; and content
// written before is there.
func TestRemount(t *testing.T) {
	r := newRig(t, nil)
	put(t, r.shared("f"), "text")
	ino := func(p string) uint64 {
		var st syscall.Stat_t
		if err := syscall.Stat(p, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	names := []string{r.shared("f"), r.mnt + "/README", r.mnt + "/intents", r.mnt, r.mnt + "/views"}
	var before []uint64
	for _, n := range names {
		before = append(before, ino(n))
	}
	if err := r.srv.Unmount(); err != nil {
		t.Fatal(err)
	}
	srv, err := Mount(context.Background(), Options{Mountpoint: r.mnt, Store: r.store, Identity: constCatalog(r.cat)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := srv.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	for i, n := range names {
		if now := ino(n); now != before[i] {
			t.Errorf("%s: inode %d, then %d", n, before[i], now)
		}
	}
	if get(t, r.shared("f")) != "text" {
		t.Error("the file is not there")
	}
}

// Two mounts of one store, as a person's and an agent's are (T-31).
func TestTwoMountsOfOneStore(t *testing.T) {
	yes := func() bool { return true }
	r := newRig(t, func(o *Options) { o.Shared = yes })
	other := t.TempDir()
	srv, err := Mount(context.Background(), Options{Mountpoint: other, Store: r.store, Identity: constCatalog(r.cat), Shared: yes})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := srv.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	put(t, r.shared("f"), "one")
	there := filepath.Join(other, "groups/local/shared")
	for i, text := range []string{"one", "a second text", "3"} {
		put(t, r.shared("f"), text)
		name := fmt.Sprintf("n%d", i)
		if _, err := os.Stat(filepath.Join(there, name)); !os.IsNotExist(err) {
			t.Fatal(err)
		}
		put(t, r.shared(name), text)
		r.sync()
		if err := srv.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"f", name} {
			if got := get(t, filepath.Join(there, n)); got != text {
				t.Errorf("%s reads %q in the other mount, want %q", n, got, text)
			}
		}
	}
}

func TestUnlinkedButOpen(t *testing.T) {
	r := newRig(t, nil)
	p := r.mk("u")
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("still"), 0); err != nil {
		t.Errorf("write: %v", err)
	}
	if err := f.Chmod(0o600); err != nil {
		t.Errorf("fchmod: %v", err)
	}
	b := make([]byte, 5)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "still" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := os.Stat(p); !os.IsNotExist(err) {
		t.Errorf("the name: %v", err)
	}
}
