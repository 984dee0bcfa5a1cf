package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// eachTransport runs a test on both; the tests of what the tree does run on the
// default alone.
func eachTransport(t *testing.T, f func(t *testing.T, transport string)) {
	for _, name := range []string{TransportLoop, TransportGoFuse} {
		t.Run(name, func(t *testing.T) { f(t, name) })
	}
}

// A part of the suite on the transport that is not the default.
func TestOtherTransport(t *testing.T) {
	def := underTest
	defer func() { underTest = def }()
	underTest = TransportGoFuse
	if o := (Options{Transport: def}); o.transport() == TransportGoFuse {
		underTest = TransportLoop
	}
	for name, f := range map[string]func(*testing.T){
		"Posix": TestPosix, "InternalChangesAreSeen": TestInternalChangesAreSeen, "UnlinkedButOpen": TestUnlinkedButOpen,
		"UnhealthyIsReadOnly": TestUnhealthyIsReadOnly, "MkdirIsTheTypedAction": TestMkdirIsTheTypedAction,
	} {
		t.Run(name, f)
	}
}

func TestUnknownTransport(t *testing.T) {
	r := newRig(t, nil)
	if err := r.srv.Unmount(); err != nil {
		t.Fatal(err)
	}
	_, err := Mount(context.Background(), Options{Mountpoint: r.mnt, Store: r.store, Identity: constCatalog(r.cat), Transport: "pigeon"})
	if err == nil || !strings.Contains(err.Error(), `no transport "pigeon"`) {
		t.Errorf("%v", err)
	}
}

// The ways in which a mount ends. None of them leaves a goroutine behind.
func TestMountEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, r *rig, srv *Server){
		"unmounted, once nobody uses it": func(t *testing.T, r *rig, srv *Server) {
			f, err := os.Open(r.shared("f"))
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Unmount(); err == nil {
				t.Error("a mount in use was taken away")
			}
			f.Close()
			if err := srv.Unmount(); err != nil {
				t.Error(err)
			}
			if err := srv.Unmount(); err != nil {
				t.Errorf("again: %v", err)
			}
		},
		"umount(8)": func(t *testing.T, r *rig, srv *Server) {
			if err := unix.Unmount(r.mnt, 0); err != nil {
				t.Fatal(err)
			}
			srv.Wait()
		},
		"umount -l": func(t *testing.T, r *rig, srv *Server) {
			f, err := os.OpenFile(r.shared("f"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Unmount(r.mnt, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4)
			if _, err := f.ReadAt(b, 0); err != nil || string(b) != "text" {
				t.Errorf("an open file of a detached mount: %q, %v", b, err)
			}
			if _, err := f.WriteAt([]byte("more"), 0); err != nil {
				t.Error(err)
			}
			f.Close()
			srv.Wait()
		},
		"the connection is aborted": func(t *testing.T, r *rig, srv *Server) {
			var st syscall.Stat_t
			if err := syscall.Stat(r.mnt, &st); err != nil {
				t.Fatal(err)
			}
			ctl := t.TempDir()
			if err := unix.Mount("fusectl", ctl, "fusectl", 0, ""); err != nil {
				t.Fatal(err)
			}
			err := os.WriteFile(fmt.Sprintf("%s/%d/abort", ctl, unix.Minor(st.Dev)), []byte("1"), 0)
			if err := errors.Join(err, unix.Unmount(ctl, 0)); err != nil {
				t.Fatal(err)
			}
			srv.Wait()
			_, err = os.Stat(r.shared("f"))
			wantErrno(t, "a file of an aborted mount", err, syscall.ENOTCONN)
			if err := unix.Unmount(r.mnt, 0); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, transport string) {
				r := newRig(t, nil)
				if err := r.srv.Unmount(); err != nil {
					t.Fatal(err)
				}
				before := goleak.IgnoreCurrent()
				srv, err := Mount(context.Background(), Options{Mountpoint: r.mnt, Store: r.store, Identity: constCatalog(r.cat), Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Unmount(r.mnt, unix.MNT_DETACH) // of a test that failed
				put(t, r.shared("f"), "text")
				if s := get(t, r.mnt+"/system/runtime/health.json"); !strings.Contains(s, `"transport": "`+transport+`"`) {
					t.Errorf("health.json does not say the transport: %s", s)
				}
				end(t, r, srv)
				if err := goleak.Find(before); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// stallGate blocks who opens a file by a name that ends in "stalled".
type stallGate struct {
	in, cancelled chan struct{}
	let           chan struct{}
}

func (g *stallGate) Check(ctx context.Context, _ Caller, op Op, target Target) error {
	if op != OpRead || !strings.HasSuffix(target.Path, "stalled") {
		return nil
	}
	g.in <- struct{}{}
	select {
	case <-g.let:
		return nil
	case <-ctx.Done():
		g.cancelled <- struct{}{}
		return ctx.Err()
	}
}

// A request that blocks, and of which nobody had said that it may, holds up no
// other; who waits for it can be killed.
func TestStalledRequest(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport string) {
		g := &stallGate{in: make(chan struct{}, 9), cancelled: make(chan struct{}, 9), let: make(chan struct{})}
		r := newRig(t, func(o *Options) { o.Gate, o.Transport = g, transport })
		put(t, r.shared("stalled"), "late")
		var cats []*exec.Cmd
		for range 3 {
			cmd := exec.Command("cat", r.shared("stalled"))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cats = append(cats, cmd)
			<-g.in
			put(t, r.shared("meanwhile"), "at once")
			if err := os.Remove(r.shared("meanwhile")); err != nil {
				t.Error(err)
			}
		}
		if err := cats[0].Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-g.cancelled
		var ee *exec.ExitError
		if err := cats[0].Wait(); !errors.As(err, &ee) {
			t.Errorf("the killed one: %v", err)
		}
		close(g.let)
		for _, cmd := range cats[1:] {
			if err := cmd.Wait(); err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}
		select {
		case <-g.cancelled:
			t.Error("a request that nobody interrupted was cancelled")
		default:
		}
	})
}
