package fs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
)

// inside changes a file as an intent does.
func (r *rig) inside(name, text string) {
	r.t.Helper()
	tx := r.store.Begin(objects.Cred{Subject: "local:root"}, "act_test")
	if err := tx.WriteFile(context.Background(), "groups/local/shared/"+name, strings.NewReader(text), objects.WriteOptions{}); err != nil {
		r.t.Error(err)
		return
	}
	if _, err := tx.Commit(context.Background()); err != nil {
		r.t.Error(err)
	}
}

// The first open of a small file brings its bytes, and none is read: neither by that open
// nor by the next. What changes them, by any road, shows.
func TestSmallFilesAreGiven(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Atime = objects.NoAtime }) // or the first reading is asked for
	reads := func() uint64 { return r.srv.Operations()["READ"] }
	for i, n := range []int{1, 100, 4095, 4096, 4097, 20000, 65535, 65536} {
		name := fmt.Sprint("f", i)
		want := string(bytes.Repeat([]byte{byte('a' + i)}, n))
		r.inside(name, want)
		if err := r.srv.Drain(context.Background()); err != nil { // the notice of the change drops pages
			t.Fatal(err)
		}
		before := reads()
		for range 3 {
			if got := get(t, r.shared(name)); got != want {
				t.Fatalf("%d bytes are read as %d", n, len(got))
			}
		}
		if after := reads(); after != before {
			t.Errorf("%d bytes: %d READs", n, after-before)
		}
		put(t, r.shared(name), "shorter")
		if got := get(t, r.shared(name)); got != "shorter" {
			t.Errorf("after a write: %.20q", got)
		}
		r.inside(name, want+"!")
		if err := r.srv.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := get(t, r.shared(name)); got != want+"!" {
			t.Errorf("after a change from inside: %d bytes", len(got))
		}
		if err := os.Truncate(r.shared(name), int64(n/2)); err != nil {
			t.Fatal(err)
		}
		if got := get(t, r.shared(name)); got != want[:n/2] {
			t.Errorf("after a truncation: %d bytes", len(got))
		}
	}
}

// Where the first reading moves a file's time the kernel asks for the bytes, so that an
// open alone does not count; after it nothing more is asked, nor by a kernel that has
// forgotten them. A change makes the next reading the first.
func TestOnlyTheFirstReadingIsAskedFor(t *testing.T) {
	r := newRig(t, nil)
	reads := func() uint64 { return r.srv.Operations()["READ"] }
	for i, n := range []int{1, 4096, 4097, 65536} {
		name := fmt.Sprint("f", i)
		want := strings.Repeat("x", n)
		put(t, r.shared(name), want)
		for _, first := range []string{"since it was made", "since its mode was changed"} {
			for range 3 {
				f, err := os.Open(r.shared(name))
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			for _, asked := range []bool{true, false, false} {
				before := reads()
				if got := get(t, r.shared(name)); got != want {
					t.Fatalf("%d bytes are read as %d", n, len(got))
				}
				if (reads() > before) != asked {
					t.Errorf("%d bytes, %s: %d READs, asked for %v", n, first, reads()-before, asked)
				}
			}
			if err := os.Chmod(r.shared(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A file that is opened for the first time while it is changed: whatever a reader saw,
// afterwards everybody sees what the store has; whether the kernel is given its bytes or,
// to count the reading, asks for them and drops what it has.
func TestGivenWhileChanged(t *testing.T) {
	for name, rule := range map[string]objects.AtimeRule{"given": objects.NoAtime, "counted": objects.StrictAtime} {
		t.Run(name, func(t *testing.T) { givenWhileChanged(t, rule) })
	}
}

// uncollected keeps collections away while a mapping of this mount is touched. A fault stops
// a thread without the runtime's knowledge: a collection would wait for the thread, and
// whoever is to answer the fault for the collection.
func uncollected() (again func()) {
	old := debug.SetGCPercent(-1)
	runtime.GC() // one that is under way ends
	return func() { debug.SetGCPercent(old) }
}

func givenWhileChanged(t *testing.T, rule objects.AtimeRule) {
	r := newRig(t, func(o *Options) { o.Atime = rule })
	old, now := strings.Repeat("o", 9000), strings.Repeat("n", 5000)
	changes := []func(name string) (want string, err error){
		func(name string) (string, error) { return now, os.WriteFile(r.shared(name), []byte(now), 0o644) },
		func(name string) (string, error) { return old[:700], os.Truncate(r.shared(name), 700) },
		func(name string) (string, error) {
			return old + strings.Repeat("\x00", 3000), os.Truncate(r.shared(name), 12000)
		},
		func(name string) (string, error) { r.inside(name, now); return now, nil },
		func(name string) (string, error) {
			f, err := os.OpenFile(r.shared(name), os.O_RDWR, 0)
			if err != nil {
				return "", err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("middle"), 4093)
			return old[:4093] + "middle" + old[4099:], err
		},
		func(name string) (string, error) {
			f, err := os.OpenFile(r.shared(name), os.O_RDWR, 0)
			if err != nil {
				return "", err
			}
			defer f.Close()
			defer uncollected()()
			m, err := unix.Mmap(int(f.Fd()), 0, len(old), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return "", err
			}
			copy(m[100:], "mapped")
			if err := unix.Msync(m, unix.MS_SYNC); err != nil {
				return "", err
			}
			return old[:100] + "mapped" + old[106:], unix.Munmap(m)
		},
	}
	rounds := 40
	if testing.Short() {
		rounds = 15
	}
	for i := range rounds * len(changes) {
		name := fmt.Sprint("f", i)
		r.inside(name, old)
		var want string
		var err error
		var both sync.WaitGroup
		both.Go(func() {
			for range 3 {
				if _, err := os.ReadFile(r.shared(name)); err != nil {
					t.Error(err)
				}
			}
		})
		want, err = changes[i%len(changes)](name)
		both.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.srv.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		got := get(t, r.shared(name))
		if st, err := os.Stat(r.shared(name)); got != want || err != nil || st.Size() != int64(len(want)) {
			t.Fatalf("change %d: %d bytes %.20q are read, size %d, %d were written: %v", i%len(changes), len(got), got, st.Size(), len(want), err)
		}
	}
}
