package mnttests

import (
	"encoding/gob"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// powerFS serves a disk by FUSE.
type powerFS struct {
	fuse.RawFileSystem // answers ENOSYS to the rest
	d                  *disk
}

// powerAsk tells the process of the filesystem what to do.
type powerAsk struct {
	Op   string // mount, cut, unmount
	Dir  string
	Seed uint64
}

type powerAnswer struct {
	Err   string
	Syncs int
}

func servePower(in io.Reader, out io.Writer) error {
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	d := newDisk()
	var server *fuse.Server
	for {
		var q powerAsk
		if err := dec.Decode(&q); err != nil {
			return err
		}
		var err error
		switch q.Op {
		case "mount":
			d.mu.Lock()
			d.dead = false
			d.mu.Unlock()
			server, err = fuse.NewServer(&powerFS{fuse.NewDefaultRawFileSystem(), d}, q.Dir, &fuse.MountOptions{DirectMount: true, FsName: "powercut", Name: "powercut", MaxWrite: 1 << 20, DisableXAttrs: true, DisableReadDirPlus: true, DisabledCapabilities: fuse.CAP_PASSTHROUGH})
			if err == nil {
				go server.Serve()
				err = server.WaitMount()
			}
		case "cut":
			d.cut(rand.New(rand.NewPCG(q.Seed, 1)))
		case "unmount":
			err = unix.Unmount(q.Dir, unix.MNT_DETACH)
		default:
			err = fmt.Errorf("unknown request %q", q.Op)
		}
		a := powerAnswer{Syncs: d.syncs}
		if err != nil {
			a.Err = err.Error()
		}
		if err := enc.Encode(&a); err != nil {
			return err
		}
	}
}

// node locks the disk and finds a node; the caller unlocks it whatever comes.
func (f *powerFS) node(ino uint64) (*dnode, fuse.Status) {
	f.d.mu.Lock()
	if f.d.dead {
		return nil, fuse.EIO
	}
	n := f.d.nodes[ino]
	if n == nil {
		return nil, fuse.ENOENT
	}
	return n, fuse.OK
}

func (f *powerFS) fill(n *dnode, a *fuse.Attr) {
	a.Ino, a.Size, a.Mode, a.Blksize = n.ino, uint64(n.size), n.mode, pageSize
	a.Blocks, a.Uid, a.Gid, a.Nlink = uint64(len(n.now)*8), n.uid, n.gid, 1
	a.Mtime, a.Mtimensec = uint64(n.mtime/1e9), uint32(n.mtime%1e9)
	if n.names == nil && n.mode&0o170000 == 0o100000 {
		a.Nlink = max(f.d.links(n.ino), 1)
	}
}

func (f *powerFS) entry(n *dnode, out *fuse.EntryOut) fuse.Status {
	out.NodeId = n.ino
	out.SetEntryTimeout(time.Hour)
	out.SetAttrTimeout(time.Second)
	f.fill(n, &out.Attr)
	return fuse.OK
}

func (f *powerFS) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	n, st := f.node(h.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return st
	}
	to := f.d.nodes[n.names[name]]
	if to == nil {
		return fuse.ENOENT
	}
	return f.entry(to, out)
}

func (f *powerFS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if st.Ok() {
		f.fill(n, &out.Attr)
		out.SetTimeout(time.Second)
	}
	return st
}

func (f *powerFS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return st
	}
	if m, ok := in.GetMode(); ok {
		n.mode = n.mode&0o170000 | m&0o7777
	}
	if u, ok := in.GetUID(); ok {
		n.uid = u
	}
	if g, ok := in.GetGID(); ok {
		n.gid = g
	}
	if size, ok := in.GetSize(); ok {
		f.d.resize(n, int64(size))
	}
	if t, ok := in.GetMTime(); ok {
		n.mtime = t.UnixNano()
	}
	f.fill(n, &out.Attr)
	return fuse.OK
}

// add makes a node with a name.
func (f *powerFS) add(h *fuse.InHeader, name string, mode uint32, out *fuse.EntryOut) (*dnode, fuse.Status) {
	dir, st := f.node(h.NodeId)
	switch {
	case !st.Ok():
		return nil, st
	case dir.names[name] != 0:
		return nil, fuse.Status(syscall.EEXIST)
	}
	n := f.d.make(mode)
	n.uid, n.gid, n.mtime = h.Uid, h.Gid, time.Now().UnixNano()
	f.d.bind(rename{dir.ino, name, n.ino})
	return n, f.entry(n, out)
}

func (f *powerFS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	defer f.d.mu.Unlock()
	_, st := f.add(&in.InHeader, name, 0o40000|in.Mode&0o7777, out)
	return st
}

func (f *powerFS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	defer f.d.mu.Unlock()
	_, st := f.add(&in.InHeader, name, in.Mode, out)
	return st
}

func (f *powerFS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	defer f.d.mu.Unlock()
	_, st := f.add(&in.InHeader, name, 0o100000|in.Mode&0o7777, &out.EntryOut)
	return st
}

func (f *powerFS) Symlink(_ <-chan struct{}, h *fuse.InHeader, to, name string, out *fuse.EntryOut) fuse.Status {
	defer f.d.mu.Unlock()
	n, st := f.add(h, name, 0o120777, out)
	if st.Ok() {
		n.target = to
	}
	return st
}

func (f *powerFS) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	n, st := f.node(h.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return nil, st
	}
	return []byte(n.target), st
}

func (f *powerFS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return st
	}
	n := f.d.nodes[in.Oldnodeid]
	switch {
	case n == nil:
		return fuse.ENOENT
	case dir.names[name] != 0:
		return fuse.Status(syscall.EEXIST)
	}
	f.d.bind(rename{dir.ino, name, n.ino})
	return f.entry(n, out)
}

func (f *powerFS) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	dir, st := f.node(h.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return st
	}
	n := f.d.nodes[dir.names[name]]
	switch {
	case n == nil:
		return fuse.ENOENT
	case len(n.names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	f.d.bind(rename{dir.ino, name, 0})
	return fuse.OK
}

func (f *powerFS) Rmdir(c <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.Unlink(c, h, name)
}

func (f *powerFS) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, to string) fuse.Status {
	dir, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return st
	}
	ino, other := dir.names[name], f.d.nodes[in.Newdir]
	switch {
	case ino == 0 || other == nil:
		return fuse.ENOENT
	case in.Flags&unix.RENAME_EXCHANGE != 0:
		return fuse.EINVAL
	case in.Flags&unix.RENAME_NOREPLACE != 0 && other.names[to] != 0:
		return fuse.Status(syscall.EEXIST)
	}
	f.d.bind(rename{dir.ino, name, 0}, rename{other.ino, to, ino})
	return fuse.OK
}

func (f *powerFS) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	_, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return st
}

func (f *powerFS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return nil, st
	}
	return fuse.ReadResultData(buf[:n.read(int64(in.Offset), buf)]), st
}

func (f *powerFS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	n, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return 0, st
	}
	n.write(int64(in.Offset), data)
	n.mtime = time.Now().UnixNano()
	return uint32(len(data)), st
}

func (f *powerFS) Writev(c <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return f.Write(c, in, slices.Concat(data...))
}

func (f *powerFS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (f *powerFS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	n, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if st.Ok() {
		f.d.sync(n)
	}
	return st
}

func (f *powerFS) FsyncDir(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status { return f.Fsync(c, in) }

func (f *powerFS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	n, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return st
	}
	end := int64(in.Offset + in.Length)
	switch in.Mode &^ unix.FALLOC_FL_KEEP_SIZE {
	case 0:
	case unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE:
		n.punch(int64(in.Offset), end)
	default:
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	if in.Mode&unix.FALLOC_FL_KEEP_SIZE == 0 && end > n.size {
		f.d.resize(n, end)
	}
	return st
}

func (f *powerFS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	_, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	return st
}

func (f *powerFS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	n, st := f.node(in.NodeId)
	defer f.d.mu.Unlock()
	if !st.Ok() {
		return st
	}
	names := make([]string, 0, len(n.names))
	for name := range n.names {
		names = append(names, name)
	}
	// By number: who removes while reading must not miss one.
	slices.SortFunc(names, func(a, b string) int { return int(n.names[a]) - int(n.names[b]) })
	for _, name := range names {
		to := n.names[name]
		if to <= in.Offset {
			continue
		}
		if !out.AddDirEntry(fuse.DirEntry{Name: name, Ino: to, Mode: f.d.nodes[to].mode, Off: to}) {
			break
		}
	}
	return st
}

func (f *powerFS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, 255
	out.Blocks, out.Bfree, out.Bavail, out.Files, out.Ffree = 64<<20, 60<<20, 60<<20, 1<<30, 1<<30
	return fuse.OK
}
