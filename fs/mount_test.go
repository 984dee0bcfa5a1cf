package fs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// rig is a real mount over a real store.
type rig struct {
	t     testing.TB
	mnt   string
	state string
	store *objects.Store
	srv   *Server
	cat   *identity.Catalog
	deny  *denials
	// family is the gid of the group family, of which alice is a member.
	family uint32
}

type denials struct {
	mu  sync.Mutex
	all []Denial
}

func (d *denials) Record(x Denial) { d.mu.Lock(); d.all = append(d.all, x); d.mu.Unlock() }

func (d *denials) list() []Denial {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Denial(nil), d.all...)
}

// underTest is the transport that rigs mount with, the default when empty.
var underTest = os.Getenv("AIOS_TRANSPORT")

const aliceUID, bobUID = 4001, 4002

func newRig(t testing.TB, edit func(*Options)) *rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: two users and allow_other")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("/dev/fuse is missing")
	}
	dir := t.TempDir()
	for p := dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			break
		}
	}
	r := &rig{t: t, mnt: filepath.Join(dir, "aios"), state: filepath.Join(dir, "state"), deny: &denials{}}
	for _, d := range []string{r.mnt, r.state} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	st, err := objects.Open(context.Background(), objects.Options{Dir: r.state, EpochInterval: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r.store = st
	cat, err := identity.New(62000, false).WithGroup("family", "TEAM")
	if err == nil {
		cat, err = cat.WithMember("family", "alice", aliceUID)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.cat = cat
	g, _ := cat.Group("family")
	r.family = g.GID
	o := Options{Mountpoint: r.mnt, Store: st, Identity: func() *identity.Catalog { return r.cat }, Denials: r.deny, Transport: underTest, Debug: os.Getenv("AIOS_FUSE_DEBUG") != ""}
	if edit != nil {
		edit(&o)
	}
	srv, err := Mount(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.srv = srv
	t.Cleanup(func() {
		if err := srv.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return r
}

// shared is a place where everybody may work.
func (r *rig) shared(p ...string) string {
	return filepath.Join(append([]string{r.mnt, "groups/local/shared"}, p...)...)
}

// as runs a shell command as a user and gives what it printed.
func (r *rig) as(uid, gid uint32, script string, groups ...uint32) (string, error) {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "MNT="+r.mnt, "HOME=/tmp", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

func (r *rig) ok(uid, gid uint32, script string, groups ...uint32) string {
	r.t.Helper()
	out, err := r.as(uid, gid, script, groups...)
	if err != nil {
		r.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return out
}

func wantErrno(t testing.TB, what string, err error, want syscall.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func put(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
