package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fullWriter fills the disk through the store until it refuses, then as another user
// would, and tells of every record that it was told is durable.
func fullWriter(dir string) error {
	d, err := Open(Options{Dir: filepath.Join(dir, "kv"), MemTable: 2 << 20})
	if err != nil {
		return err
	}
	r := rand.NewChaCha8([32]byte{})
	for i := 0; ; i++ {
		b := NewBatch()
		v := make([]byte, 100<<10)
		r.Read(v)
		k := fmt.Sprintf("k%d", i)
		b.Set([]byte(k), v)
		_, err := d.CommitSync(context.Background(), b)
		if errors.Is(err, ErrNoSpace) {
			break
		}
		if err != nil {
			return err
		}
		fmt.Println("kept", k)
	}
	if !d.DiskLow() {
		return errors.New("refused while the disk is not low")
	}
	fmt.Println("refused")
	// Somebody else takes what is left while flushes are under way.
	other, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		return err
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
		return fmt.Errorf("a commit on a full disk: %w", err)
	}
	return d.Close()
}

// On a full disk Badger can be killed by SIGBUS in a compaction, whatever is kept free for
// it. The store refuses long before, and what it had accepted is there afterwards either way.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=220m"); err != nil {
		t.Skipf("a small file system to fill cannot be mounted here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KV_FULL_DIR="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var kept []string
	refused := false
	for line := range strings.Lines(string(out)) {
		if k, ok := strings.CutPrefix(strings.TrimSpace(line), "kept "); ok {
			kept = append(kept, k)
		}
		refused = refused || line == "refused\n"
	}
	if len(kept) < 50 || !refused {
		t.Fatalf("%d records, refused %v: %v: %.2000s", len(kept), refused, err, errs.String())
	}
	if err != nil {
		if !strings.Contains(errs.String(), "SIGBUS") {
			t.Fatalf("%v: %.2000s", err, errs.String())
		}
		t.Log("the writer was killed by SIGBUS once others had filled the disk")
	}
	os.Remove(filepath.Join(dir, "other"))
	d := open(t, Options{Dir: filepath.Join(dir, "kv"), MemTable: 2 << 20, ReserveBytes: 1 << 20})
	defer d.Close()
	v := d.View()
	for _, k := range kept {
		if b, err := v.Get([]byte(k)); err != nil || len(b) != 100<<10 {
			t.Fatalf("%s: %v", k, err)
		}
	}
	v.Close()
	b := NewBatch()
	b.Set([]byte("k"), []byte("v"))
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
	var sp space
	round := func(want ...string) {
		t.Helper()
		got = nil
		if err := l.sync(dir, &sp); err != nil {
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
	// While the log made beforehand waits, nothing but the one in use is looked at; as
	// soon as it is in use both count, whether the next one is there already or not.
	ahead := func(no int) {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%05d.mem", no)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		sp.ahead, sp.aheadNo = f, no
	}
	ahead(4)
	round("00003.mem")
	round("00003.mem")
	os.WriteFile(filepath.Join(dir, "00004.mem"), []byte("x"), 0o600)
	round("00003.mem", "00004.mem")
	round("00004.mem")
	ahead(5)
	round("00004.mem")
	os.WriteFile(filepath.Join(dir, "00005.mem"), []byte("x"), 0o600)
	ahead(6)
	round("00004.mem", "00005.mem")
	round("00005.mem")
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
