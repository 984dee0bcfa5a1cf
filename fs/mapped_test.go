package fs

import (
	"bytes"
	"os"
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
