package fs

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A mapping lives on when its file is closed: others see what it writes, it sees what they
// write, and no version that was made before changes by it. When it is gone, what it wrote
// is a version.
func TestAMappingOutlivesItsHandle(t *testing.T) {
	r := passRig(t)
	name := r.shared("mapped.bin")
	first := random(t, 300_000)
	if err := os.WriteFile(name, first, 0o644); err != nil {
		t.Fatal(err)
	}
	r.settle()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, len(first), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.settle()
	copy(m[1000:], "by the mapping")
	b, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(b[1000:1014], []byte("by the mapping")) {
		t.Errorf("a reader sees %q, %v", b[1000:1014], err)
	}
	f, err = os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("by a writer"), 2000); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	r.settle()
	if string(m[2000:2011]) != "by a writer" {
		t.Errorf("the mapping sees %q", m[2000:2011])
	}
	copy(m[3000:], "and again")
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(first)
	copy(want[1000:], "by the mapping")
	copy(want[2000:], "by a writer")
	copy(want[3000:], "and again")
	versions := r.shared(".versions", "mapped.bin")
	var list []os.DirEntry
	for end := time.Now().Add(time.Minute); len(list) < 2 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if list, err = os.ReadDir(versions); err != nil {
			t.Fatal(err)
		}
	}
	if len(list) != 2 {
		t.Fatalf("%d versions, want 2", len(list))
	}
	for i, want := range [][]byte{first, want} {
		b, err := os.ReadFile(versions + "/" + list[i].Name())
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("version %d is not what was there then: %v", i+1, err)
		}
	}
}

// A write through a mapping moves the times of a file, a large one's too, as soon as it has
// happened, and also when somebody has asked for them before.
func TestMappedWriteMovesTimes(t *testing.T) {
	r := newRig(t, nil)
	for name, size := range map[string]int{"small": 5000, "large": 2 << 20} {
		t.Run(name, func(t *testing.T) {
			p := r.shared(name)
			if err := os.WriteFile(p, make([]byte, size), 0o644); err != nil {
				t.Fatal(err)
			}
			r.settle()
			times := func() (m, c int64) {
				var st syscall.Stat_t
				if err := syscall.Stat(p, &st); err != nil {
					t.Fatal(err)
				}
				return st.Mtim.Nano(), st.Ctim.Nano()
			}
			m0, c0 := times()
			f := open(t, p, os.O_RDWR)
			b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Munmap(b)
			if m, c := times(); m != m0 || c != c0 {
				t.Errorf("mapping alone moved the times by %v, %v", time.Duration(m-m0), time.Duration(c-c0))
			}
			time.Sleep(20 * time.Millisecond) // the host's clock goes in ticks
			b[1] = 1
			if err := unix.Msync(b, unix.MS_SYNC); err != nil {
				t.Fatal(err)
			}
			m1, c1 := times()
			if m1 <= m0 || c1 <= c0 {
				t.Errorf("while the file is open: the times moved by %v, %v", time.Duration(m1-m0), time.Duration(c1-c0))
			}
			f.Close()
			time.Sleep(20 * time.Millisecond)
			b[4999] = 1
			if err := unix.Msync(b, unix.MS_SYNC); err != nil {
				t.Fatal(err)
			}
			if m, c := times(); m <= m1 || c <= c1 {
				t.Errorf("after the close: the times moved by %v, %v", time.Duration(m-m1), time.Duration(c-c1))
			}
		})
	}
}
