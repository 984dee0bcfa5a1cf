package mnttests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fsx does random operations on two files and compares every byte that it reads with a
// model. Offsets and lengths gather at the sizes where a store changes its mind: 4 KiB
// (a version record), 64 KiB (a draft in memory), 1 MiB (one request).
type fsx struct {
	t       *testing.T
	dir     string
	rng     *rand.Rand
	max     int
	mapper  *helper
	files   [2]*fsxFile
	log     []string
	remount func()
	refused map[string]int // what the filesystem does not have, by errno
}

// fsxFile is a file, what it must hold, and its handles.
type fsxFile struct {
	path    string
	model   []byte
	handles []*os.File
	names   int // how often it got a new name
}

var fsxEdges = []int{0, 512, 4096, 8192, 64 << 10, 128 << 10, 256 << 10, 1 << 20, 2 << 20}

// TestFsx runs seeds of its own choice; AIOS_FSX_SEED runs one again, AIOS_FSX_OPS says
// how many operations.
func TestFsx(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	t.Cleanup(func() { stopMount(t, p, daemon) })
	again := func() {
		stopMount(t, p, daemon)
		daemon = mounted(t, p.bin, p.state, p.dir)
	}
	ops, until := 200, time.Now()
	if os.Getenv("AIOS_LONG") != "" {
		ops, until = 5000, time.Now().Add(5*time.Minute)
	}
	if s := os.Getenv("AIOS_FSX_OPS"); s != "" {
		ops, _ = strconv.Atoi(s)
	}
	sizes := []int{6 << 10, 80 << 10, 300 << 10, 1<<20 + 70<<10, 3 << 20}
	first, fixed := uint64(time.Now().UnixNano()), false
	if s := os.Getenv("AIOS_FSX_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, fixed = n, true
	}
	for i := uint64(0); !t.Failed() && (i < uint64(len(sizes)) || time.Now().Before(until)); i++ {
		seed := first + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			dir := filepath.Join(p.dir, "groups/local/shared", fmt.Sprint("fsx", i))
			runFsx(t, dir, seed, ops, sizes[seed%uint64(len(sizes))], again)
		})
		if fixed {
			break
		}
	}
}

// The engine itself is tried on the local disk, where nothing may differ.
func TestFsxOnTheLocalDisk(t *testing.T) {
	runFsx(t, filepath.Join(t.TempDir(), "fsx"), 7, 400, 300<<10, func() {})
}

// stopMount ends a mount as umount does.
func stopMount(t *testing.T, p place, daemon interface{ Wait() error }) {
	t.Helper()
	if code, _, stderr := run(t, p.bin, "umount", p.dir); code != 0 {
		t.Fatalf("umount: %d, %s", code, stderr)
	}
	if err := daemon.Wait(); err != nil {
		t.Fatalf("the daemon after its unmount: %v", err)
	}
}

func runFsx(t *testing.T, dir string, seed uint64, ops, maxSize int, remount func()) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	x := &fsx{t: t, dir: dir, rng: rand.New(rand.NewPCG(seed, seed)), max: maxSize, remount: remount, refused: map[string]int{}}
	x.mapper = startHelper(t, "mapper", nil)
	defer func() {
		x.dropAll()
		if t.Failed() {
			t.Logf("seed %d, %d operations, largest size %d; the last ones:\n%s", seed, len(x.log), maxSize, strings.Join(x.log[max(0, len(x.log)-60):], "\n"))
		}
	}()
	for i := range x.files {
		x.files[i] = &fsxFile{path: filepath.Join(dir, fmt.Sprint("f", i))}
	}
	for range ops {
		x.step()
		if t.Failed() {
			return
		}
	}
	x.dropAll()
	x.mapper.stop()
	x.whole("at the end")
	if !t.Failed() {
		remount()
		x.whole("after a remount")
	}
	if len(x.refused) > 0 {
		t.Log("refused:", x.refused)
	}
}

// say logs an operation before it is done.
func (x *fsx) say(format string, args ...any) {
	x.log = append(x.log, fmt.Sprintf("%4d ", len(x.log))+fmt.Sprintf(format, args...))
}

func (x *fsx) bad(format string, args ...any) {
	x.t.Helper()
	x.t.Errorf("operation %d: "+format, append([]any{len(x.log) - 1}, args...)...)
}

// at chooses an offset in [0, limit], near an edge as often as not.
func (x *fsx) at(limit int) int {
	if limit <= 0 {
		return 0
	}
	if x.rng.IntN(2) == 0 {
		e := fsxEdges[x.rng.IntN(len(fsxEdges))] + x.rng.IntN(33) - 16
		if e >= 0 && e <= limit {
			return e
		}
	}
	return x.rng.IntN(limit + 1)
}

// span chooses an offset and a length within limit; most are short.
func (x *fsx) span(limit int) (off, n int) {
	off = x.at(limit)
	n = x.at(limit - off)
	if x.rng.IntN(3) > 0 {
		n = min(n, x.rng.IntN(9000))
	}
	return off, n
}

func (x *fsx) bytes(n int) []byte {
	b := make([]byte, n)
	stamp := byte(len(x.log))
	for i := range b {
		b[i] = stamp + byte(i>>3) | 1
	}
	return b
}

// write puts data into a model, which grows by zeros as far as it must.
func (f *fsxFile) write(off int, data []byte) {
	if len(data) == 0 {
		return
	}
	f.grow(off + len(data))
	copy(f.model[off:], data)
}

func (f *fsxFile) grow(n int) {
	if n > len(f.model) {
		f.model = append(f.model, make([]byte, n-len(f.model))...)
	}
}

func (f *fsxFile) truncate(n int) {
	f.grow(n)
	f.model = f.model[:n:n]
}

// handle gives one of at most three open handles, sometimes a new one.
func (x *fsx) handle(f *fsxFile) *os.File {
	if len(f.handles) == 0 || len(f.handles) < 3 && x.rng.IntN(8) == 0 {
		h, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			x.bad("open: %v", err)
			x.t.FailNow()
		}
		f.handles = append(f.handles, h)
	}
	return f.handles[x.rng.IntN(len(f.handles))]
}

func (x *fsx) closeAll(f *fsxFile) {
	for _, h := range f.handles {
		if err := h.Close(); err != nil {
			x.bad("close: %v", err)
		}
	}
	f.handles = nil
}

func (x *fsx) dropAll() {
	for _, f := range x.files {
		if f == nil {
			continue
		}
		x.closeAll(f)
		if x.mapper.cmd != nil {
			_, _ = x.mapped(f, "drop", 0, 0, nil)
		}
	}
}

func (x *fsx) mapped(f *fsxFile, op string, off, n int, data []byte) ([]byte, error) {
	var a mapAnswer
	if err := x.mapper.ask(&mapAsk{op, f.path, off, n, data}, &a); err != nil {
		x.bad("%v", err)
		x.t.FailNow()
	}
	if a.Err != "" {
		return nil, errors.New(a.Err)
	}
	return a.Data, nil
}

// same compares what was read with the model and names the first byte that differs.
func (x *fsx) same(what string, f *fsxFile, off int, got []byte) {
	x.t.Helper()
	want := f.model[min(off, len(f.model)):]
	if len(got) < len(want) {
		want = want[:len(got)]
	}
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		x.bad("%s of %s at %d: %d bytes, want %d", what, filepath.Base(f.path), off, len(got), len(want))
		return
	}
	first, last, wrong := -1, 0, 0
	for i := range got {
		if got[i] != want[i] {
			if first < 0 {
				first = i
			}
			last, wrong = i, wrong+1
		}
	}
	x.bad("%s of %s: %d bytes differ from %d to %d: %#x there, want %#x (size %d)", what, filepath.Base(f.path), wrong, off+first, off+last, got[first], want[first], len(f.model))
}

// whole compares both files from beginning to end, by a descriptor of its own.
func (x *fsx) whole(when string) {
	for _, f := range x.files {
		got, err := os.ReadFile(f.path)
		if errors.Is(err, os.ErrNotExist) && len(f.model) == 0 {
			continue
		}
		if err != nil || len(got) != len(f.model) {
			x.bad("%s %s: %d bytes, want %d: %v", filepath.Base(f.path), when, len(got), len(f.model), err)
			continue
		}
		x.same("content "+when, f, 0, got)
	}
}

// read reads a span and wants the end where the model ends.
func (x *fsx) read(what string, r io.ReaderAt, f *fsxFile, off, n int) {
	x.t.Helper()
	b := make([]byte, n)
	got, err := r.ReadAt(b, int64(off))
	if want := max(0, min(n, len(f.model)-off)); got != want || err != nil && err != io.EOF {
		x.bad("%s of %s at %d: %d bytes, want %d: %v", what, filepath.Base(f.path), off, got, want, err)
		return
	}
	x.same(what, f, off, b[:got])
}

// sizes compares what every stat says.
func (x *fsx) sizes(f *fsxFile) {
	x.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(f.path, &st); err != nil || st.Size != int64(len(f.model)) {
		x.bad("stat %s: size %d, want %d: %v", filepath.Base(f.path), st.Size, len(f.model), err)
	}
	for _, h := range f.handles {
		if err := unix.Fstat(int(h.Fd()), &st); err != nil || st.Size != int64(len(f.model)) {
			x.bad("fstat %s: size %d, want %d: %v", filepath.Base(f.path), st.Size, len(f.model), err)
		}
	}
}

// unsupported says whether an error is one by which a filesystem says that it does not
// have an operation; anything else is a failure.
func (x *fsx) unsupported(what string, err error) bool {
	x.t.Helper()
	if err == nil {
		return false
	}
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOTTY) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EINVAL) {
		x.refused[fmt.Sprintf("%s: %v", what, err)]++
		return true
	}
	x.bad("%s: %v", what, err)
	return true
}
