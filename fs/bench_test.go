package fs

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// direct is the tree without a kernel in front of it: what a request costs in the daemon.
type direct struct {
	*tree
	hdr fuse.InHeader
	dir uint64
}

func newDirect(b *testing.B) *direct {
	b.Helper()
	st, err := objects.Open(context.Background(), objects.Options{Dir: b.TempDir(), EpochInterval: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	cat := identity.New(62000, false)
	t, err := newTree(context.Background(), Options{Store: st, Identity: func() *identity.Catalog { return cat }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		t.close()
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	a, err := st.Resolve("groups/local/shared")
	if err != nil {
		b.Fatal(err)
	}
	d := &direct{tree: t, hdr: fuse.InHeader{NodeId: uint64(a.Ino), Caller: fuse.Caller{Owner: fuse.Owner{Uid: 0, Gid: 0}, Pid: uint32(syscall.Getpid())}}}
	var out fuse.EntryOut
	d.ok(b, d.Mkdir(nil, &fuse.MkdirIn{InHeader: d.hdr, Mode: 0o755}, "bench", &out))
	d.dir = out.NodeId
	return d
}

func (d *direct) ok(b *testing.B, s fuse.Status) {
	if s != fuse.OK {
		b.Helper()
		b.Fatal(s)
	}
}

func (d *direct) on(ino uint64) fuse.InHeader {
	h := d.hdr
	h.NodeId = ino
	return h
}

func (d *direct) create(b *testing.B, dir uint64, name string, data []byte) uint64 {
	var e fuse.EntryOut
	h := d.on(dir)
	d.ok(b, d.Lookup(nil, &h, name, &e))
	var at fuse.AttrOut
	d.ok(b, d.GetAttr(nil, &fuse.GetAttrIn{InHeader: d.on(dir)}, &at))
	var out fuse.CreateOut
	d.ok(b, d.Create(nil, &fuse.CreateIn{InHeader: d.on(dir), Flags: syscall.O_WRONLY | syscall.O_CREAT, Mode: 0o644}, name, &out))
	_, s := d.Write(nil, &fuse.WriteIn{InHeader: d.on(out.NodeId), Fh: out.Fh, Size: uint32(len(data))}, data)
	d.ok(b, s)
	d.Release(nil, &fuse.ReleaseIn{InHeader: d.on(out.NodeId), Fh: out.Fh})
	return out.NodeId
}

// cpu reports the processor time of the process per round, which other load on the machine
// does not change much; it counts the epochs' work, too.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	before := used()
	b.ReportAllocs()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkRequests measures what each request of a small file's life costs in the daemon;
// the epochs that make it durable run beside it.
func BenchmarkRequests(b *testing.B) {
	data := make([]byte, 1024)
	b.Run("create", func(b *testing.B) {
		d := newDirect(b)
		defer cpu(b)()
		i := 0
		for b.Loop() {
			data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
			d.create(b, d.dir, fmt.Sprintf("f%06d", i), data)
			i++
		}
	})
	const files = 5000
	filled := func(b *testing.B) (*direct, []uint64) {
		d := newDirect(b)
		inos := make([]uint64, files)
		for i := range inos {
			inos[i] = d.create(b, d.dir, fmt.Sprintf("f%06d", i), data)
		}
		if err := d.store.SyncAll(context.Background()); err != nil {
			b.Fatal(err)
		}
		return d, inos
	}
	b.Run("lookup", func(b *testing.B) {
		d, _ := filled(b)
		defer cpu(b)()
		h, i := d.on(d.dir), 0
		for b.Loop() {
			var e fuse.EntryOut
			d.ok(b, d.Lookup(nil, &h, fmt.Sprintf("f%06d", i%files), &e))
			i++
		}
	})
	b.Run("lookup_missing", func(b *testing.B) {
		d, _ := filled(b)
		defer cpu(b)()
		h, i := d.on(d.dir), 0
		for b.Loop() {
			var e fuse.EntryOut
			d.ok(b, d.Lookup(nil, &h, fmt.Sprintf("g%06d", i%files), &e))
			i++
		}
	})
	b.Run("getattr", func(b *testing.B) {
		d, inos := filled(b)
		defer cpu(b)()
		i := 0
		for b.Loop() {
			var at fuse.AttrOut
			d.ok(b, d.GetAttr(nil, &fuse.GetAttrIn{InHeader: d.on(inos[i%files])}, &at))
			i++
		}
	})
	b.Run("open_read", func(b *testing.B) {
		d, inos := filled(b)
		defer cpu(b)()
		i, buf := 0, make([]byte, 4096)
		for b.Loop() {
			ino := inos[i%files]
			var out fuse.OpenOut
			d.ok(b, d.Open(nil, &fuse.OpenIn{InHeader: d.on(ino)}, &out))
			_, s := d.Read(nil, &fuse.ReadIn{InHeader: d.on(ino), Fh: out.Fh, Size: 4096}, buf)
			d.ok(b, s)
			d.Release(nil, &fuse.ReleaseIn{InHeader: d.on(ino), Fh: out.Fh})
			i++
		}
	})
	b.Run("rename", func(b *testing.B) {
		d, _ := filled(b)
		defer cpu(b)()
		i := 0
		for b.Loop() {
			from, to := "f", "r"
			if i/files%2 == 1 {
				from, to = to, from
			}
			n := i % files
			d.ok(b, d.Rename(nil, &fuse.RenameIn{InHeader: d.on(d.dir), Newdir: d.dir}, fmt.Sprintf("%s%06d", from, n), fmt.Sprintf("%s%06d", to, n)))
			i++
		}
	})
	b.Run("create_unlink", func(b *testing.B) {
		d := newDirect(b)
		defer cpu(b)()
		h, i := d.on(d.dir), 0
		for b.Loop() {
			name := fmt.Sprintf("f%06d", i)
			data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
			ino := d.create(b, d.dir, name, data)
			d.ok(b, d.Unlink(nil, &h, name))
			d.Forget(ino, 1)
			i++
		}
	})
	b.Run("readdirplus_5000", func(b *testing.B) {
		d, _ := filled(b)
		defer cpu(b)()
		buf := make([]byte, 32<<10)
		for b.Loop() {
			var out fuse.OpenOut
			d.ok(b, d.OpenDir(nil, &fuse.OpenIn{InHeader: d.on(d.dir)}, &out))
			for off := uint64(0); ; {
				l := fuse.NewDirEntryList(buf, off)
				d.ok(b, d.ReadDirPlus(nil, &fuse.ReadIn{InHeader: d.on(d.dir), Fh: out.Fh, Offset: off, Size: uint32(len(buf))}, l))
				if l.Offset == off {
					break
				}
				off = l.Offset
			}
			d.ReleaseDir(&fuse.ReleaseIn{InHeader: d.on(d.dir), Fh: out.Fh})
		}
	})
}
