package mnttests

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fsxOps are the operations with their weights.
var fsxOps = []struct {
	weight int
	do     func(x *fsx, f *fsxFile)
}{
	{14, (*fsx).doRead}, {14, (*fsx).doWrite}, {4, (*fsx).doAppend}, {7, (*fsx).doTruncate},
	{8, (*fsx).doMapRead}, {8, (*fsx).doMapWrite}, {2, (*fsx).doMapSync}, {2, (*fsx).doMapDrop},
	{3, (*fsx).doAllocate}, {5, (*fsx).doPunch}, {4, (*fsx).doZero}, {2, (*fsx).doCollapse}, {2, (*fsx).doInsert},
	{6, (*fsx).doCopy}, {2, (*fsx).doClone}, {5, (*fsx).doReopen}, {4, (*fsx).doSync}, {4, (*fsx).doSizes},
	{3, (*fsx).doHoles}, {3, (*fsx).doForget}, {3, (*fsx).doVector}, {2, (*fsx).doDirect}, {2, (*fsx).doParallel},
	{2, (*fsx).doWriteOnly}, {2, (*fsx).doRename}, {1, (*fsx).doReplace}, {1, (*fsx).doTruncOpen}, {1, (*fsx).doRestart},
}

func (x *fsx) step() {
	total := 0
	for _, o := range fsxOps {
		total += o.weight
	}
	n := x.rng.IntN(total)
	for _, o := range fsxOps {
		if n -= o.weight; n < 0 {
			f := x.files[x.rng.IntN(4)/3] // the second one now and then
			x.handle(f)                   // so that it exists
			o.do(x, f)
			return
		}
	}
}

func (x *fsx) doRead(f *fsxFile) {
	off, n := x.span(x.max)
	h := x.handle(f)
	x.say("%s read %d+%d", f, off, n)
	x.read("read", h, f, off, n)
}

func (x *fsx) doWrite(f *fsxFile) {
	off, n := x.span(x.max)
	h, b := x.handle(f), x.bytes(n)
	x.say("%s write %d+%d", f, off, n)
	if _, err := h.WriteAt(b, int64(off)); err != nil {
		x.bad("write: %v", err)
	}
	f.write(off, b)
}

func (x *fsx) doAppend(f *fsxFile) {
	n := min(x.rng.IntN(6000), x.max-len(f.model))
	if n <= 0 {
		return
	}
	x.say("%s append %d at %d", f, n, len(f.model))
	h, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		x.bad("open to append: %v", err)
		return
	}
	defer h.Close()
	b := x.bytes(n)
	for _, part := range [][]byte{b[:n/3], b[n/3:]} {
		if _, err := h.Write(part); err != nil {
			x.bad("append: %v", err)
		}
		f.write(len(f.model), part)
	}
}

func (x *fsx) doTruncate(f *fsxFile) {
	n := x.at(x.max)
	if x.rng.IntN(8) == 0 {
		n = 0
	}
	x.say("%s truncate %d to %d", f, len(f.model), n)
	var err error
	if x.rng.IntN(2) == 0 {
		err = os.Truncate(f.path, int64(n))
	} else {
		err = x.handle(f).Truncate(int64(n))
	}
	if err != nil {
		x.bad("truncate: %v", err)
	}
	f.truncate(n)
}

func (x *fsx) doMapRead(f *fsxFile) {
	off, n := x.span(len(f.model))
	x.say("%s mapped read %d+%d", f, off, n)
	b, err := x.mapped(f, "read", off, n, nil)
	if err != nil {
		x.bad("mapped read: %v", err)
		return
	}
	x.same("mapped read", f, off, b)
}

func (x *fsx) doMapWrite(f *fsxFile) {
	off, n := x.span(len(f.model))
	b := x.bytes(n)
	x.say("%s mapped write %d+%d", f, off, n)
	if _, err := x.mapped(f, "write", off, 0, b); err != nil {
		x.bad("mapped write: %v", err)
	}
	f.write(off, b)
}

func (x *fsx) doMapSync(f *fsxFile) {
	x.say("%s msync", f)
	if _, err := x.mapped(f, "sync", 0, 0, nil); err != nil {
		x.bad("msync: %v", err)
	}
}

func (x *fsx) doMapDrop(f *fsxFile) {
	x.say("%s munmap", f)
	if _, err := x.mapped(f, "drop", 0, 0, nil); err != nil {
		x.bad("munmap: %v", err)
	}
}

// fallocate does one mode; whole blocks in half of the cases.
func (x *fsx) fallocate(f *fsxFile, what string, mode uint32, off, n int) bool {
	x.t.Helper()
	if n == 0 {
		return false
	}
	h := x.handle(f)
	x.say("%s fallocate %s %d+%d", f, what, off, n)
	return !x.unsupported(what, unix.Fallocate(int(h.Fd()), mode, int64(off), int64(n)))
}

func (x *fsx) doAllocate(f *fsxFile) {
	off, n := x.span(x.max)
	if x.rng.IntN(2) == 0 {
		x.fallocate(f, "keep size", unix.FALLOC_FL_KEEP_SIZE, off, n)
	} else if x.fallocate(f, "allocate", 0, off, n) {
		f.grow(off + n)
	}
}

func (f *fsxFile) clear(off, n int) {
	if end := min(off+n, len(f.model)); off < end {
		clear(f.model[off:end])
	}
}

func (x *fsx) doPunch(f *fsxFile) {
	off, n := x.span(x.max)
	if x.fallocate(f, "punch", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n) {
		f.clear(off, n)
	}
}

func (x *fsx) doZero(f *fsxFile) {
	off, n := x.span(x.max)
	if x.rng.IntN(2) == 0 {
		if x.fallocate(f, "zero, keep size", unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n) {
			f.clear(off, n)
		}
	} else if x.fallocate(f, "zero", unix.FALLOC_FL_ZERO_RANGE, off, n) {
		f.grow(off + n)
		f.clear(off, n)
	}
}

func (x *fsx) doCollapse(f *fsxFile) {
	off, n := x.span(len(f.model))
	off, n = off&^4095, n&^4095
	if off+n >= len(f.model) {
		return
	}
	if x.fallocate(f, "collapse", unix.FALLOC_FL_COLLAPSE_RANGE, off, n) {
		f.model = append(f.model[:off:off], f.model[off+n:]...)
	}
}

func (x *fsx) doInsert(f *fsxFile) {
	off, n := x.span(len(f.model))
	off, n = off&^4095, min(n, x.max-len(f.model))&^4095
	if n <= 0 || off >= len(f.model) {
		return
	}
	if x.fallocate(f, "insert", unix.FALLOC_FL_INSERT_RANGE, off, n) {
		f.model = append(f.model[:off:off], append(make([]byte, n), f.model[off:]...)...)
	}
}

// doCopy copies a range of one file within it or to the other; ranges of one file must
// not overlap.
func (x *fsx) doCopy(f *fsxFile) {
	to := x.files[x.rng.IntN(2)]
	h, g := x.handle(f), x.handle(to)
	off, n := x.span(len(f.model))
	dst := x.at(x.max - n)
	if f == to && dst < off+n && off < dst+n {
		return
	}
	x.say("copy %s %d+%d to %s %d", f, off, n, to, dst)
	data := append([]byte(nil), f.model[off:off+n]...)
	in, out := int64(off), int64(dst)
	for n > 0 {
		c, err := unix.CopyFileRange(int(h.Fd()), &in, int(g.Fd()), &out, n, 0)
		if err != nil || c == 0 {
			x.bad("copy_file_range: %d, %d left: %v", c, n, err)
			return
		}
		n -= c
	}
	to.write(dst, data)
}

func (x *fsx) doClone(f *fsxFile) {
	to := x.files[0]
	if f == to {
		to = x.files[1]
	}
	h, g := x.handle(f), x.handle(to)
	x.say("clone %s to %s", f, to)
	if x.unsupported("clone", unix.IoctlFileClone(int(g.Fd()), int(h.Fd()))) {
		return
	}
	to.grow(len(f.model))
	copy(to.model, f.model)
}

func (x *fsx) doReopen(f *fsxFile) {
	x.say("%s close all", f)
	x.closeAll(f)
	if x.rng.IntN(2) == 0 {
		_, _ = x.mapped(f, "drop", 0, 0, nil)
	}
	x.handle(f)
	if x.rng.IntN(3) == 0 {
		x.read("read after reopening", x.handle(f), f, 0, x.max)
	}
}

func (x *fsx) doSync(f *fsxFile) {
	h := x.handle(f)
	x.say("%s sync", f)
	var err error
	switch x.rng.IntN(4) {
	case 0:
		err = h.Sync()
	case 1:
		err = unix.Fdatasync(int(h.Fd()))
	case 2:
		err = unix.Syncfs(int(h.Fd()))
	default:
		err = unix.SyncFileRange(int(h.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	}
	if err != nil {
		x.bad("sync: %v", err)
	}
}

func (x *fsx) doSizes(f *fsxFile) {
	x.say("%s stat", f)
	x.sizes(f)
}

// doHoles walks data and holes: what is called a hole must be zero, and the walk must
// come to the end of the file. FUSE's lseek does not write back what a live mapping has
// changed, and the daemon cannot know of it before: hence the msync.
func (x *fsx) doHoles(f *fsxFile) {
	x.doMapSync(f)
	fd := int(x.handle(f).Fd())
	x.say("%s data and holes", f)
	for off := int64(0); off < int64(len(f.model)); {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if err == syscall.ENXIO {
			data = int64(len(f.model))
		} else if err != nil || data < off || data >= int64(len(f.model)) {
			x.bad("SEEK_DATA from %d: %d, %v (size %d)", off, data, err, len(f.model))
			return
		}
		for i := off; i < data; i++ {
			if f.model[i] != 0 {
				x.bad("a hole from %d to %d, but byte %d is data", off, data, i)
				return
			}
		}
		if data == int64(len(f.model)) {
			return
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil || hole <= data || hole > int64(len(f.model)) {
			x.bad("SEEK_HOLE from %d: %d, %v (size %d)", data, hole, err, len(f.model))
			return
		}
		off = hole
	}
}

// doForget lets the kernel forget pages, so that the next read asks the daemon.
func (x *fsx) doForget(f *fsxFile) {
	h := x.handle(f)
	x.say("%s forget pages", f)
	if err := unix.Fadvise(int(h.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		x.bad("fadvise: %v", err)
	}
	x.read("read of forgotten pages", h, f, 0, x.max)
}

// doVector writes and reads several buffers in one call.
func (x *fsx) doVector(f *fsxFile) {
	off, n := x.span(x.max)
	fd, b := int(x.handle(f).Fd()), x.bytes(n)
	x.say("%s writev and readv %d+%d", f, off, n)
	a, c := n/3, n/2
	if w, err := unix.Pwritev(fd, [][]byte{b[:a], b[a:c], b[c:]}, int64(off)); err != nil || w != n {
		x.bad("pwritev: %d of %d, %v", w, n, err)
	}
	f.write(off, b)
	got := make([]byte, n)
	if r, err := unix.Preadv(fd, [][]byte{got[:c], got[c:]}, int64(off)); err != nil || r != n {
		x.bad("preadv: %d of %d, %v", r, n, err)
	}
	x.same("preadv", f, off, got)
}

// doDirect reads and writes whole blocks past the page cache.
func (x *fsx) doDirect(f *fsxFile) {
	h, err := os.OpenFile(f.path, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		x.unsupported("O_DIRECT", err)
		return
	}
	defer h.Close()
	buf, err := syscall.Mmap(-1, 0, 1<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		x.t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(buf) }()
	off, n := x.span(x.max)
	off, n = off&^4095, min(n&^4095+4096, len(buf))
	x.say("%s direct %d+%d", f, off, n)
	got, err := h.ReadAt(buf[:n], int64(off))
	if err != nil && err != io.EOF {
		x.bad("direct read: %v", err)
	}
	x.same("direct read", f, off, buf[:got])
	if off+n > x.max {
		return
	}
	b := x.bytes(n)
	copy(buf, b)
	if _, err := h.WriteAt(buf[:n], int64(off)); err != nil {
		x.bad("direct write: %v", err)
	}
	f.write(off, b)
}

// doParallel writes four stretches at once by handles of its own, and reads meanwhile.
func (x *fsx) doParallel(f *fsxFile) {
	part := x.max / 4
	x.say("%s four writers", f)
	var wg sync.WaitGroup
	errs := make(chan error, 5)
	for i := range 4 {
		off, n := x.span(part - 1)
		off, n = i*part+off, max(n, 1)
		b := x.bytes(n)
		f.write(off, b)
		wg.Go(func() {
			h, err := os.OpenFile(f.path, os.O_RDWR, 0)
			if err != nil {
				errs <- err
				return
			}
			defer h.Close()
			for done := 0; done < len(b); { // several requests
				m := min(len(b)-done, max(len(b)/3, 1))
				if _, err := h.WriteAt(b[done:done+m], int64(off+done)); err != nil {
					errs <- err
					return
				}
				done += m
			}
		})
	}
	h := x.handle(f)
	wg.Go(func() {
		b := make([]byte, 64<<10)
		for i := range 8 {
			if _, err := h.ReadAt(b, int64(i*part/2)); err != nil && err != io.EOF {
				errs <- err
			}
		}
	})
	wg.Wait()
	close(errs)
	for err := range errs {
		x.bad("four writers: %v", err)
	}
	x.read("read after four writers", h, f, 0, x.max)
}

// doWriteOnly writes by a handle that cannot read, which goes another way.
func (x *fsx) doWriteOnly(f *fsxFile) {
	h, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		x.bad("open to write: %v", err)
		return
	}
	defer h.Close()
	for range 3 {
		off, n := x.span(x.max)
		b := x.bytes(n)
		x.say("%s write %d+%d by a write-only handle", f, off, n)
		if _, err := h.WriteAt(b, int64(off)); err != nil {
			x.bad("write: %v", err)
		}
		f.write(off, b)
	}
	x.sizes(f)
}

// doRename gives the file another name; handles and mappings go on.
func (x *fsx) doRename(f *fsxFile) {
	f.names++
	to := filepath.Join(x.dir, fmt.Sprintf("%.2s-%d", filepath.Base(f.path), f.names))
	x.say("%s rename", f)
	_, _ = x.mapped(f, "drop", 0, 0, nil) // the mapper knows it by name
	if err := os.Rename(f.path, to); err != nil {
		x.bad("rename: %v", err)
	}
	f.path = to
}

// doReplace saves as editors do: a new file over the old one. The old one stays readable
// where it is open.
func (x *fsx) doReplace(f *fsxFile) {
	old, before := x.handle(f), append([]byte(nil), f.model...)
	b := x.bytes(x.at(x.max))
	x.say("%s replace by %d", f, len(b))
	_, _ = x.mapped(f, "drop", 0, 0, nil)
	if err := os.WriteFile(f.path+".new", b, 0o644); err != nil {
		x.bad("write of the new file: %v", err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		x.bad("rename over: %v", err)
	}
	x.read("read of the replaced file", old, &fsxFile{path: f.path, model: before}, 0, x.max)
	x.closeAll(f)
	f.model = b
}

func (x *fsx) doTruncOpen(f *fsxFile) {
	x.say("%s open with O_TRUNC", f)
	h, err := os.OpenFile(f.path, os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		x.bad("open: %v", err)
		return
	}
	f.handles = append(f.handles, h)
	f.model = nil
	x.sizes(f)
}

// doRestart unmounts and mounts again, one time in ten.
func (x *fsx) doRestart(*fsxFile) {
	if x.rng.IntN(10) > 0 {
		return
	}
	x.say("remount")
	x.dropAll()
	began := time.Now()
	x.remount()
	x.say("remounted in %v", time.Since(began).Round(time.Millisecond))
	x.whole("after a remount")
}

func (f *fsxFile) String() string { return filepath.Base(f.path) }
