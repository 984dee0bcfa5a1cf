package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Badger dies by SIGBUS on a full disk: this test would not fail but kill its process.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=220m"); err != nil {
		t.Skipf("a small file system to fill cannot be mounted here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	d := open(t, Options{Dir: filepath.Join(dir, "kv"), MemTable: 2 << 20})
	r := rand.NewChaCha8([32]byte{})
	var kept []string
	fill := func() {
		for i := 0; ; i++ {
			b := NewBatch()
			v := make([]byte, 100<<10)
			r.Read(v)
			k := fmt.Sprintf("k%d-%d", len(kept), i)
			b.Set([]byte(k), v)
			_, err := d.CommitSync(context.Background(), b)
			if errors.Is(err, ErrNoSpace) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, k)
		}
	}
	fill()
	if len(kept) < 50 || !d.DiskLow() {
		t.Fatalf("%d records, low %v", len(kept), d.DiskLow())
	}
	// Somebody else takes what is left while flushes are under way.
	other, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	for size := int64(0); ; size += 1 << 20 {
		free, _ := d.space.free()
		if free < d.space.floor*3/4 {
			break
		}
		if err := unix.Fallocate(int(other.Fd()), 0, size, 1<<20); err != nil {
			break
		}
	}
	b := NewBatch()
	b.Set([]byte("k"), []byte("v"))
	if _, err := d.Commit(context.Background(), b); !errors.Is(err, ErrNoSpace) {
		t.Errorf("%v", err)
	}
	v := d.View()
	for _, k := range kept {
		if b, err := v.Get([]byte(k)); err != nil || len(b) != 100<<10 {
			t.Fatalf("%s: %v", k, err)
		}
	}
	v.Close()
	other.Close()
	os.Remove(other.Name())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, Options{Dir: filepath.Join(dir, "kv"), MemTable: 2 << 20, ReserveBytes: 1 << 20})
	defer d.Close()
	if _, err := d.CommitSync(context.Background(), b); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

// Every log that can hold unsynced bytes is synced, a rotated one once.
func TestSyncCoversRotatedLogs(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"00001.mem": 10, "00002.mem": 10, "00003.mem": 0} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	l := logFiles{synced: func(name string) { got = append(got, filepath.Base(name)) }}
	defer l.close()
	round := func(want ...string) {
		t.Helper()
		got = nil
		if err := l.sync(dir); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("synced %v, want %v", got, want)
		}
	}
	round("00001.mem", "00002.mem")
	round("00002.mem")
	os.Remove(filepath.Join(dir, "00001.mem"))
	os.WriteFile(filepath.Join(dir, "00003.mem"), []byte("x"), 0o600)
	round("00002.mem", "00003.mem")
	round("00003.mem")
}

// With a real database: whenever two logs are in use, a Sync names both.
func TestSyncNamesTheRotatedLogOfARealStore(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{Dir: dir, MemTable: 4 << 20})
	defer d.Close()
	names := map[string]bool{}
	d.logs.synced = func(name string) { names[name] = true }
	for i := range 400 {
		b := NewBatch()
		b.Set(fmt.Appendf(nil, "k%d", i), make([]byte, 60<<10))
		if _, err := d.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		clear(names)
		if err := d.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		if len(names) > 1 {
			return
		}
	}
	t.Error("in 400 syncs over five rotations no rotated log was synced")
}

// A log that Badger had truncated but not yet removed when it was killed.
func TestOpensOverAnEmptyLog(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{Dir: dir})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00007.mem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d = open(t, Options{Dir: dir})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
