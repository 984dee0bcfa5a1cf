package fs

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
)

// passRig is a mount with passthrough, or a skipped test.
func passRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, nil)
	if on, why := r.srv.Passthrough(); !on {
		t.Skip("no passthrough here: " + why)
	}
	return r
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// passed counts the open handles of a file that the kernel serves itself.
func (r *rig) passed(name string) int {
	r.t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		r.t.Fatal(err)
	}
	p := &r.srv.t.pass
	p.mu.Lock()
	m := p.modes[st.Ino]
	p.mu.Unlock()
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.passed
}

// settle waits until the kernel's RELEASE of every stored file has been worked off.
func (r *rig) settle() {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		p := &r.srv.t.pass
		p.mu.Lock()
		n := len(p.modes)
		p.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("%d files are still open", n)
		}
	}
}

// big makes a sealed file of n random bytes.
func (r *rig) big(name string, n int) []byte {
	r.t.Helper()
	b := random(r.t.(*testing.T), n)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.settle()
	r.sync()
	return b
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		t.Fatalf("%s: %d bytes, want %d; the first difference is at %d", what, len(got), len(want), i)
	}
}

func open(t *testing.T, name string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func pread(t *testing.T, f *os.File, n int, off int64) []byte {
	t.Helper()
	b := make([]byte, n)
	m, err := f.ReadAt(b, off)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b[:m]
}

func pwrite(t *testing.T, f *os.File, b []byte, off int64) {
	t.Helper()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) versions(name string) []objects.Version {
	r.t.Helper()
	r.settle()
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		r.t.Fatal(err)
	}
	a, err := r.store.GetAttr(objects.Ino(st.Ino))
	if err != nil {
		r.t.Fatal(err)
	}
	vs, err := r.store.Versions(a.Object)
	if err != nil {
		r.t.Fatal(err)
	}
	return vs
}

func (r *rig) content(v objects.Version) []byte {
	r.t.Helper()
	rd, err := r.store.OpenVersion(v.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	b, err := io.ReadAll(io.NewSectionReader(rd, 0, rd.Size()))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func TestPassthroughWritesAndReads(t *testing.T) {
	r := passRig(t)
	p := r.shared("big")
	b := random(t, 3<<20)
	f := open(t, p, os.O_RDWR|os.O_CREATE)
	if r.passed(p) != 1 {
		t.Error("a lone new file is not passed through")
	}
	pwrite(t, f, b[:1<<20], 0)
	if st, err := f.Stat(); err != nil || st.Size() != 1<<20 || st.Sys().(*syscall.Stat_t).Blocks < 2048 {
		t.Errorf("while it is written: %v, %v", st, err)
	}
	pwrite(t, f, b[1<<20:], 1<<20)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	vs := r.versions(p)
	if len(vs) != 1 || vs[0].Size != 3<<20 {
		t.Fatalf("versions: %+v", vs)
	}
	same(t, "the version", r.content(vs[0]), b)
	rd := open(t, p, os.O_RDONLY)
	if r.passed(p) != 1 {
		t.Error("a large file is not read by passthrough")
	}
	same(t, "read", pread(t, rd, 4<<20, 0), b)
}

// fio and databases make their files first, and open them to work.
func TestPassthroughOfAnEmptyFile(t *testing.T) {
	r := passRig(t)
	p := r.shared("db")
	open(t, p, os.O_WRONLY|os.O_CREATE).Close()
	r.settle()
	f := open(t, p, os.O_RDWR|os.O_CREATE)
	if r.passed(p) != 1 {
		t.Error("a new file that is opened again is not passed through")
	}
	b := random(t, 200<<10)
	pwrite(t, f, b, 0)
	f.Close()
	same(t, "it", []byte(get(t, p)), b)
	// not each file of many
	before := time.Now()
	for i := range 10 {
		p, began := r.shared("many"+strconv.Itoa(i)), time.Now()
		f := open(t, p, os.O_RDWR|os.O_CREATE)
		if i > 0 && time.Since(before) < loneCreate && r.passed(p) != 0 {
			t.Errorf("file %d of many has a host file", i)
		}
		before = began
		f.Close()
	}
}

// A small file leaves no host file behind, though it began as one.
func TestPassthroughSmallFilesEndInline(t *testing.T) {
	r := passRig(t)
	p := r.shared("small")
	f := open(t, p, os.O_RDWR|os.O_CREATE)
	if r.passed(p) != 1 {
		t.Error("a lone new file is not passed through")
	}
	pwrite(t, f, []byte("hello"), 0)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	pwrite(t, f, []byte(" world"), 5)
	f.Close()
	vs := r.versions(p)
	if len(vs) != 1 || vs[0].Hash == "" {
		t.Fatalf("versions: %+v", vs)
	}
	if got := get(t, p); got != "hello world" {
		t.Errorf("it reads %q", got)
	}
	r.settle()
	r.sync()
	r.sync()
	es, err := os.ReadDir(r.state + "/staging")
	if err != nil || len(es) != 0 {
		t.Errorf("staging files are left: %v, %v", es, err)
	}
}

// Writers and readers of a file that was opened for reading first see each other, and
// the version that was there stays.
func TestPassthroughReaderThenWriter(t *testing.T) {
	r := passRig(t)
	p := r.shared("log")
	old := r.big(p, 1<<20)
	rd := open(t, p, os.O_RDONLY)
	same(t, "before", pread(t, rd, 2<<20, 0), old)
	past, err := r.store.OpenVersion(r.versionsNow(p)[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer past.Close()
	want := append([]byte(nil), old...)
	for round := range 3 {
		w := open(t, p, os.O_WRONLY|os.O_APPEND)
		if n := r.passed(p); n != 2 {
			t.Errorf("%d handles pass through", n)
		}
		add := bytes.Repeat([]byte{byte('a' + round)}, 1000)
		if _, err := w.Write(add); err != nil {
			t.Fatal(err)
		}
		want = append(want, add...)
		same(t, "the reader while it is written", pread(t, rd, 2<<20, 0), want)
		w.Close()
		same(t, "the reader after the close", pread(t, rd, 2<<20, 0), want)
		if err := os.Truncate(p, int64(len(want)-500)); err != nil {
			t.Fatal(err)
		}
		want = want[:len(want)-500]
		same(t, "the reader after a truncation", pread(t, rd, 2<<20, 0), want)
	}
	b := make([]byte, len(old))
	if _, err := past.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	same(t, "an open version", b, old)
	rd.Close()
	vs := r.versions(p)
	same(t, "the first version", r.content(vs[0]), old)
	same(t, "the last version", r.content(vs[len(vs)-1]), want)
	same(t, "the file", []byte(get(t, p)), want)
}

// versionsNow lists the versions of a file that is open.
func (r *rig) versionsNow(name string) []objects.Version {
	r.t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		r.t.Fatal(err)
	}
	a, err := r.store.GetAttr(objects.Ino(st.Ino))
	if err != nil {
		r.t.Fatal(err)
	}
	vs, err := r.store.Versions(a.Object)
	if err != nil {
		r.t.Fatal(err)
	}
	return vs
}

// limits.md §8: a RELEASE that comes late must not undo the times that were set.
func TestPassthroughTimesSurviveLateRelease(t *testing.T) {
	r := passRig(t)
	p := r.shared("f")
	r.big(p, 200<<10)
	for i := range 60 {
		want := time.Unix(1_000_000_000+int64(i), int64(i)*1_000_003)
		f := open(t, p, os.O_RDWR)
		pwrite(t, f, []byte{byte(i)}, int64(i))
		dup, err := unix.Dup(int(f.Fd())) // RELEASE waits for it
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := os.Chtimes(p, want, want); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := r.store.SyncAll(context.Background()); err != nil { // an epoch looks at the file meanwhile
				t.Fatal(err)
			}
		}
		unix.Close(dup)
		r.settle()
		st, err := os.Stat(p)
		if err != nil || !st.ModTime().Equal(want) {
			t.Fatalf("round %d: mtime %v, want %v; %v", i, st.ModTime(), want, err)
		}
		rd := open(t, p, os.O_RDONLY)
		if got := pread(t, rd, 1, int64(i)); got[0] != byte(i) {
			t.Fatalf("round %d: the write is lost", i)
		}
		rd.Close()
	}
}

func TestPassthroughUnchangedMakesNoVersion(t *testing.T) {
	r := passRig(t)
	p := r.shared("f")
	b := r.big(p, 300<<10)
	st, err := os.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, p, os.O_RDWR)
	same(t, "read", pread(t, f, 1<<20, 0), b)
	f.Close()
	if vs := r.versions(p); len(vs) != 1 {
		t.Errorf("%d versions of a file that was only opened", len(vs))
	}
	if now, err := os.Stat(p); err != nil || !now.ModTime().Equal(st.ModTime()) {
		t.Errorf("mtime went from %v to %v, %v", st.ModTime(), now.ModTime(), err)
	}
	r.sync()
	same(t, "the file", []byte(get(t, p)), b)
}

func TestPassthroughMmapIsCoherent(t *testing.T) {
	r := passRig(t)
	p := r.shared("m")
	b := r.big(p, 256<<10)
	rd := open(t, p, os.O_RDONLY)
	rm, err := unix.Mmap(int(rd.Fd()), 0, len(b), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(rm)
	same(t, "mapped", rm, b)
	f := open(t, p, os.O_RDWR)
	wm, err := unix.Mmap(int(f.Fd()), 0, len(b), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	w := open(t, p, os.O_WRONLY)
	want := append([]byte(nil), b...)
	set := func(off int, c byte) { want[off] = c }
	wm[5], wm[100_000] = 1, 2
	set(5, 1)
	set(100_000, 2)
	pwrite(t, w, []byte{3}, 77_777)
	set(77_777, 3)
	pwrite(t, f, []byte{4}, 200_000)
	set(200_000, 4)
	same(t, "read", pread(t, rd, 1<<20, 0), want)
	same(t, "the reader's mapping", rm, want)
	same(t, "the writer's mapping", wm, want)
	w.Close()
	f.Close() // the mapping keeps the file open
	wm[9] = 9
	set(9, 9)
	if err := unix.Msync(wm, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	unix.Munmap(wm)
	same(t, "after munmap", pread(t, rd, 1<<20, 0), want)
	rd.Close()
	unix.Munmap(rm)
	rm = nil
	vs := r.versions(p)
	same(t, "the first version", r.content(vs[0]), b)
	same(t, "the last version", r.content(vs[len(vs)-1]), want)
}

func TestPassthroughTruncatePunchSeek(t *testing.T) {
	r := passRig(t)
	p := r.shared("f")
	want := r.big(p, 1<<20)
	f := open(t, p, os.O_RDWR)
	fd := int(f.Fd())
	if r.passed(p) != 1 {
		t.Fatal("not passed through")
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 256<<10, 128<<10); err != nil {
		t.Fatal(err)
	}
	clear(want[256<<10 : 384<<10])
	same(t, "punched", pread(t, f, 2<<20, 0), want)
	if off, err := unix.Seek(fd, 0, unix.SEEK_HOLE); err != nil || off != 256<<10 {
		t.Errorf("SEEK_HOLE: %d, %v", off, err)
	}
	if off, err := unix.Seek(fd, 300<<10, unix.SEEK_DATA); err != nil || off != 384<<10 {
		t.Errorf("SEEK_DATA: %d, %v", off, err)
	}
	if err := os.Truncate(p, 500<<10); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(700 << 10); err != nil {
		t.Fatal(err)
	}
	want = append(want[:500<<10], make([]byte, 200<<10)...)
	same(t, "truncated", pread(t, f, 2<<20, 0), want)
	pwrite(t, f, []byte("end"), 900<<10)
	want = append(append(want, make([]byte, 200<<10)...), "end"...)
	same(t, "extended", pread(t, f, 2<<20, 0), want)
	tr := open(t, p, os.O_RDWR|os.O_TRUNC)
	if st, err := f.Stat(); err != nil || st.Size() != 0 {
		t.Errorf("after O_TRUNC elsewhere: %v, %v", st, err)
	}
	pwrite(t, tr, []byte("new"), 0)
	same(t, "after O_TRUNC", pread(t, f, 100, 0), []byte("new"))
	tr.Close()
	f.Close()
	r.settle()
	if got := get(t, p); got != "new" {
		t.Errorf("it reads %q", got)
	}
}

func TestPassthroughLivesThroughUnlinkAndRename(t *testing.T) {
	r := passRig(t)
	p, q := r.shared("a"), r.shared("b")
	b := r.big(p, 200<<10)
	r.big(q, 200<<10)
	f := open(t, p, os.O_RDWR)
	if err := os.Rename(q, p); err != nil {
		t.Fatal(err)
	}
	pwrite(t, f, []byte("x"), 0)
	b[0] = 'x'
	same(t, "replaced", pread(t, f, 1<<20, 0), b)
	f.Close()
	g := open(t, p, os.O_RDWR)
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	pwrite(t, g, []byte("y"), 300<<10)
	if got := pread(t, g, 10, 300<<10); string(got) != "y" {
		t.Errorf("unlinked: %q", got)
	}
	again, err := os.OpenFile("/proc/self/fd/"+itoa(int(g.Fd())), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	pwrite(t, again, []byte("z"), 1)
	if got := pread(t, g, 1, 1); string(got) != "z" {
		t.Errorf("opened again: %q", got)
	}
	again.Close()
	g.Close()
	r.settle()
	r.sync()
}

func itoa(n int) string { return strconv.Itoa(n) }

// A program's set-id bits go when an ordinary user writes to it, passthrough or not.
func TestPassthroughWriteClearsSetID(t *testing.T) {
	r := passRig(t)
	p := r.shared("prog")
	r.big(p, 200<<10)
	if err := os.Chmod(p, 0o666|os.ModeSetuid|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, 0o777|os.ModeSetuid|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	r.ok(bobUID, bobUID, `printf x | dd of=$MNT/groups/local/shared/prog conv=notrunc status=none`)
	if st, err := os.Stat(p); err != nil || st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		t.Errorf("opened and written: %v, %v", st.Mode(), err)
	}
	// set while it is open already
	r.settle()
	out := r.ok(bobUID, bobUID, `exec 3<>$MNT/groups/local/shared/prog; echo a >&3; cat /proc/self/fd/3 >/dev/null; echo ok`)
	if out != "ok" {
		t.Errorf("%q", out)
	}
}

func TestPassthroughFileSizeLimit(t *testing.T) {
	r := passRig(t)
	r.ok(bobUID, bobUID, `cd $MNT/groups/local/shared; trap '' XFSZ; ulimit -f 200
dd if=/dev/zero of=limited bs=64k count=10 2>/dev/null && exit 1; test $(stat -c %s limited) -eq 204800 -o $(stat -c %s limited) -eq 102400`)
}

// Two files that share a stored content do not share what is written later.
func TestPassthroughSharedContentStaysApart(t *testing.T) {
	r := passRig(t)
	p, q := r.shared("one"), r.shared("two")
	b := r.big(p, 200<<10)
	if err := os.WriteFile(q, b, 0o644); err != nil {
		t.Fatal(err)
	}
	r.settle()
	r.sync()
	ra, rb := open(t, p, os.O_RDONLY), open(t, q, os.O_RDONLY)
	same(t, "one", pread(t, ra, 1<<20, 0), b)
	same(t, "two", pread(t, rb, 1<<20, 0), b)
	w := open(t, p, os.O_RDWR)
	pwrite(t, w, []byte("changed"), 0)
	same(t, "two after a write to one", pread(t, rb, 1<<20, 0), b)
	if got := pread(t, ra, 7, 0); string(got) != "changed" {
		t.Errorf("one reads %q", got)
	}
}

// copy_file_range of a whole stored file shares its bytes; of a part, it copies.
func TestCopyFileRangeShares(t *testing.T) {
	r := newRig(t, nil)
	p, q := r.shared("from"), r.shared("to")
	b := r.big(p, 3<<20)
	r.wait(func() bool { r.sync(); return r.versions(p)[0].Hash != "" })
	from := open(t, p, os.O_RDONLY)
	to := open(t, q, os.O_WRONLY|os.O_CREATE)
	var done int
	for done < len(b) { // in two steps, as a file beyond 4 GiB is copied
		n, err := unix.CopyFileRange(int(from.Fd()), nil, int(to.Fd()), nil, 2<<20, 0)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		done += n
	}
	same(t, "the copy while it is open", []byte(get(t, q)), b)
	to.Close()
	vp, vq := r.versionsNow(p), r.versions2(q)
	if len(vq) != 1 || vq[0].Hash != vp[0].Hash || vq[0].Object == vp[0].Object || len(vq[0].Chunks) != len(vp[0].Chunks) {
		t.Errorf("the copy's versions: %+v", vq)
	}
	same(t, "the copy", []byte(get(t, q)), b)
	w := open(t, q, os.O_RDWR)
	pwrite(t, w, []byte("mine"), 0)
	if n, err := unix.CopyFileRange(int(from.Fd()), off(100), int(w.Fd()), off(1<<20), 1000, 0); n != 1000 || err != nil {
		t.Errorf("a part: %d, %v", n, err)
	}
	if n, err := unix.CopyFileRange(int(w.Fd()), off(0), int(w.Fd()), off(2<<20), 4, 0); n != 4 || err != nil {
		t.Errorf("within a file: %d, %v", n, err)
	}
	if _, err := unix.CopyFileRange(int(w.Fd()), off(0), int(w.Fd()), off(10), 100, 0); err != unix.EINVAL {
		t.Errorf("overlapping: %v", err)
	}
	w.Close()
	want := append([]byte(nil), b...)
	copy(want, "mine")
	copy(want[1<<20:], b[100:1100])
	copy(want[2<<20:], "mine")
	same(t, "the copy, changed", []byte(get(t, q)), want)
	same(t, "the original", []byte(get(t, p)), b)
	// FICLONE does not reach a FUSE file system: the kernel has no such request.
	if err := unix.IoctlFileClone(int(open(t, q, os.O_WRONLY).Fd()), int(from.Fd())); err != unix.EOPNOTSUPP {
		t.Errorf("FICLONE: %v", err)
	}
}

func off(n int64) *int64 { return &n }

// versions2 lists a file's versions once its own writers are gone.
func (r *rig) versions2(name string) []objects.Version {
	r.t.Helper()
	r.wait(func() bool { vs := r.versionsNow(name); return len(vs) > 0 })
	return r.versionsNow(name)
}

// Holes are where they were left, also once the version is sealed; du counts none of them.
// What shifts content is refused by the kernel, before any FUSE file system is asked.
func TestHolesSurviveSealing(t *testing.T) {
	r := newRig(t, nil)
	p := r.shared("sparse")
	f := open(t, p, os.O_RDWR|os.O_CREATE)
	size := int64(1 << 30)
	if testing.Short() { // the race detector reads holes at 20 MB/s
		size = 64 << 20
	}
	middle := size / 2
	pwrite(t, f, []byte("start"), 0)
	pwrite(t, f, []byte("middle"), middle)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []uint32{unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE} {
		if err := unix.Fallocate(int(f.Fd()), mode, 0, 4096); err != unix.EOPNOTSUPP {
			t.Errorf("fallocate %#x: %v", mode, err)
		}
	}
	f.Close()
	check := func(when string) {
		t.Helper()
		f := open(t, p, os.O_RDONLY)
		defer f.Close()
		for _, x := range []struct {
			whence    int
			off, want int64
		}{{unix.SEEK_HOLE, 0, 4096}, {unix.SEEK_DATA, 4096, middle}, {unix.SEEK_HOLE, middle, middle + 4096}, {unix.SEEK_HOLE, size / 10 &^ 4095, size / 10 &^ 4095}} {
			if got, err := unix.Seek(int(f.Fd()), x.off, x.whence); err != nil || got != x.want {
				t.Errorf("%s: seek %d from %d: %d, %v; want %d", when, x.whence, x.off, got, err, x.want)
			}
		}
		if _, err := unix.Seek(int(f.Fd()), middle+size/10, unix.SEEK_DATA); err != unix.ENXIO {
			t.Errorf("%s: data after the last: %v", when, err)
		}
		if st, err := f.Stat(); err != nil || st.Size() != size || st.Sys().(*syscall.Stat_t).Blocks > 64 {
			t.Errorf("%s: %d bytes in %d blocks, %v", when, st.Size(), st.Sys().(*syscall.Stat_t).Blocks, err)
		}
		if got := pread(t, f, 6, middle); string(got) != "middle" {
			t.Errorf("%s: it reads %q", when, got)
		}
	}
	check("closed")
	r.settle()
	r.sync()
	r.wait(func() bool { return r.versionsNow(p)[0].Hash != "" })
	check("sealed")
}

// O_DIRECT, O_SYNC and the flags of pwritev2 do what they say.
func TestDirectAndSyncWrites(t *testing.T) {
	for _, off := range []bool{false, true} {
		r := newRig(t, func(o *Options) { o.NoPassthrough = off })
		p := r.shared("f")
		want := r.big(p, 1<<20)
		page, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(page)
		copy(page, bytes.Repeat([]byte("direct"), 2000))
		d := open(t, p, os.O_RDWR|unix.O_DIRECT)
		if _, err := d.WriteAt(page, 65536); err != nil {
			t.Fatal(err)
		}
		copy(want[65536:], page)
		same(t, "direct, read elsewhere", []byte(get(t, p)), want)
		if _, err := d.ReadAt(page, 131072); err != nil {
			t.Fatal(err)
		}
		same(t, "direct read", page, want[131072:131072+8192])
		m, err := unix.Mmap(int(d.Fd()), 0, 8192, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Errorf("a direct handle cannot be mapped: %v", err)
		} else {
			same(t, "mapped", m, want[:8192])
			unix.Munmap(m)
		}
		d.Close()
		s := open(t, p, os.O_WRONLY|unix.O_SYNC)
		pwrite(t, s, []byte("sync"), 7)
		copy(want[7:], "sync")
		if _, err := unix.Pwritev2(int(s.Fd()), [][]byte{[]byte("dsync")}, 20, unix.RWF_DSYNC); err != nil {
			t.Error(err)
		}
		copy(want[20:], "dsync")
		if _, err := unix.Pwritev2(int(s.Fd()), [][]byte{[]byte("tail")}, 0, unix.RWF_APPEND); err != nil {
			t.Error(err)
		}
		want = append(want, "tail"...)
		s.Close()
		same(t, "in the end", []byte(get(t, p)), want)
	}
}
