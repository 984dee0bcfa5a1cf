package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Letting go of a mapped file takes its pages out of the daemon's memory, those that were
// written as well, and loses none of them; another file's stay.
func TestLettingGoOfMappedFiles(t *testing.T) {
	const size = 8 << 20
	page := os.Getpagesize()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	mapFile := func(name string) (string, []byte) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(m) })
		for at := 0; at < size; at += page {
			m[at] = byte(at/page) | 1
		}
		return f.Name(), m
	}
	resident := func() int64 {
		n, err := residentFiles()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	gone, m := mapFile("a name with spaces.sst")
	_, stays := mapFile("stays.sst")
	before := resident()
	if err := letGo([]string{gone, filepath.Join(dir, "not mapped")}); err != nil {
		t.Fatal(err)
	}
	if n := before - resident(); n < size*3/4 || n > size*5/4 {
		t.Errorf("%d bytes left the memory, want %d", n, size)
	}
	for at := 0; at < size; at += page {
		if want := byte(at/page) | 1; m[at] != want || stays[at] != want {
			t.Fatalf("at %d: %d and %d, want %d", at, m[at], stays[at], want)
		}
	}
}
