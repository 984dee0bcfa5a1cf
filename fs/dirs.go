package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
)

// Lookup answers what a name in a directory is.
func (t *tree) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	c, callerErr := t.call(cancel, h)
	if isVirtual(h.NodeId) {
		if callerErr != nil {
			return status(callerErr)
		}
		return status(t.lookupVirtual(c, h.NodeId, name, out))
	}
	if len(name) > objects.MaxName {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	v, closed, err := t.virtualChild(c, h.NodeId, name)
	if err != nil {
		return status(err)
	}
	if v != nil {
		return status(t.virtualEntry(c, v, out))
	}
	a, err := t.store.Lookup(objects.Ino(h.NodeId), name)
	switch {
	case err == nil:
		t.entry(&a, out)
		return fuse.OK
	case errors.Is(err, objects.ErrNotFound) && !closed:
		// The kernel may remember that the name is free. Not in the closed
		// layout: what appears there appears from inside.
		out.NodeId = 0
		out.SetEntryTimeout(cacheTime)
		return fuse.OK
	}
	return status(err)
}

func (t *tree) lookupVirtual(c *call, id uint64, name string, out *fuse.EntryOut) error {
	v, err := t.nodes.get(id)
	if err != nil {
		return err
	}
	d, ok := v.(vdir)
	if !ok {
		return errNotDir
	}
	if len(name) > objects.MaxName {
		return errNameTooLong
	}
	child, err := d.lookup(c, name)
	if err != nil {
		return err
	}
	return t.virtualEntry(c, child, out)
}

// virtualChild finds the projection that a name in a stored directory shows,
// and tells whether the directory belongs to the closed layout.
func (t *tree) virtualChild(c *call, parent uint64, name string) (vnode, bool, error) {
	if parent == uint64(objects.RootIno) {
		v, err := t.root.lookup(c, name)
		if errors.Is(err, ErrNotFound) {
			return nil, true, nil
		}
		return v, true, err
	}
	if name == versionsName {
		v, err := t.versionsDir(parent)
		return v, false, err
	}
	// Only the layout has projections, and it is five levels deep at most;
	// the path is looked at for its directories alone.
	p, err := t.place(parent)
	if err != nil {
		return nil, false, nil
	}
	if !p.closed() && p.level != levelReserved {
		return nil, false, nil
	}
	v, err := t.layoutNode(p.child(name))
	return v, p.closed(), err
}

// dirReader is an open directory: what it shows is fixed when it is opened
// or rewound.
type dirReader struct {
	id     uint64
	stored *objects.DirHandle
	ents   []dirEnt
	loaded bool
}

type dirEnt struct {
	name string
	ino  uint64
	mode uint32
	node vnode // of a virtual one
}

func (d *dirReader) close() {
	if d.stored != nil {
		d.stored.Close()
	}
}

// OpenDir asks policy and opens a directory.
func (t *tree) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err != nil {
		return status(err)
	}
	h := &handle{ino: in.NodeId, flags: in.Flags, caller: c.Caller, dir: &dirReader{id: in.NodeId}}
	if isVirtual(in.NodeId) {
		v, err := t.nodes.get(in.NodeId)
		if err != nil {
			return status(err)
		}
		if _, ok := v.(vdir); !ok {
			return fuse.ENOTDIR
		}
		out.Fh = t.handles.add(h)
		return fuse.OK
	}
	p, err := t.place(in.NodeId)
	if err == nil {
		err = t.allow(c, OpList, p)
	} else if errors.Is(err, objects.ErrNotFound) {
		err = nil // removed, but somebody's working directory
	}
	if err == nil {
		h.dir.stored, err = t.store.OpenDir(objects.Ino(in.NodeId))
	}
	if err != nil {
		return status(err)
	}
	out.Fh = t.handles.add(h)
	if !p.closed() && p.level != levelReserved {
		// The kernel may keep the listing. Not of the layout, where callers
		// see different names (T-19).
		out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	}
	return fuse.OK
}

// load reads the directory's names.
func (t *tree) load(c *call, d *dirReader) error {
	d.ents = d.ents[:0]
	if d.stored == nil {
		v, err := t.nodes.get(d.id)
		if err != nil {
			return err
		}
		dir, ok := v.(vdir)
		if !ok {
			return errNotDir
		}
		es, err := dir.list(c)
		if err != nil {
			return err
		}
		d.ents = append(d.ents, dirEnt{".", d.id, syscall.S_IFDIR, nil}, dirEnt{"..", fuse.FUSE_UNKNOWN_INO, syscall.S_IFDIR, nil})
		for _, e := range es {
			a, err := e.node.attr(c)
			if err != nil {
				continue // gone since it was listed
			}
			d.ents = append(d.ents, dirEnt{e.name, nodeID(e.node.name()), a.mode, e.node})
		}
		d.loaded = true
		return nil
	}
	if d.loaded {
		d.stored.Rewind()
	}
	parent, err := t.store.Parent(objects.Ino(d.id))
	if err != nil {
		parent = objects.Ino(d.id)
	}
	d.ents = append(d.ents, dirEnt{".", d.id, syscall.S_IFDIR, nil}, dirEnt{"..", uint64(parent), syscall.S_IFDIR, nil})
	p, err := t.place(d.id)
	if err != nil {
		d.loaded = true
		return nil // without a name it has no entries either
	}
	shown := map[string]bool{}
	if p.closed() || p.level == levelReserved {
		for _, e := range t.layoutList(c, p) {
			a, err := e.node.attr(c)
			if err != nil {
				continue
			}
			shown[e.name] = true
			d.ents = append(d.ents, dirEnt{e.name, nodeID(e.node.name()), a.mode, e.node})
		}
	}
	for _, e := range d.stored.From(0) {
		if shown[e.Name] || p.level == levelGroups && !t.sees(c, e.Ino) {
			continue
		}
		d.ents = append(d.ents, dirEnt{e.Name, uint64(e.Ino), e.Type, nil})
	}
	d.loaded = true
	return nil
}

// sees tells whether a group belongs into the caller's listing: those whose
// directory it may enter.
func (t *tree) sees(c *call, ino objects.Ino) bool {
	a, err := t.store.GetAttr(ino)
	return err == nil && (c.UID == 0 || a.Mode&1 != 0 || c.in(a.GID) && a.Mode&0o010 != 0 || c.UID == a.UID)
}

// ReadDir lists names.
func (t *tree) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return t.readDir(cancel, in, out, false)
}

// ReadDirPlus lists names with their attributes; each is a lookup.
func (t *tree) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return t.readDir(cancel, in, out, true)
}

func (t *tree) readDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	h, err := t.handles.get(in.Fh)
	if err != nil || h.dir == nil {
		return fuse.EBADF
	}
	c := &call{Context: &fuse.Context{Caller: in.Caller, Cancel: cancel}, Caller: h.caller, t: t}
	d := h.dir
	if in.Offset == 0 || !d.loaded {
		if err := t.load(c, d); err != nil {
			return status(err)
		}
	}
	for i := in.Offset; i < uint64(len(d.ents)); i++ {
		e := d.ents[i]
		de := fuse.DirEntry{Name: e.name, Ino: e.ino, Mode: e.mode, Off: i + 1}
		if !plus {
			if !out.AddDirEntry(de) {
				break
			}
			continue
		}
		eo := out.AddDirLookupEntry(de)
		if eo == nil {
			break
		}
		if e.name == "." || e.name == ".." {
			continue
		}
		if e.node != nil {
			if err := t.virtualEntry(c, e.node, eo); err != nil {
				*eo = fuse.EntryOut{}
			}
			continue
		}
		// An entry that went away since is shown without attributes; the
		// kernel looks it up when somebody asks.
		if a, err := t.store.GetAttr(objects.Ino(e.ino)); err == nil && a.Nlink > 0 {
			t.entry(&a, eo)
		}
	}
	return fuse.OK
}

// ReleaseDir closes a directory.
func (t *tree) ReleaseDir(in *fuse.ReleaseIn) {
	if h := t.handles.take(in.Fh); h != nil {
		h.dir.close()
	}
}

// FsyncDir makes a directory's names durable, with everything before them.
func (t *tree) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.OK
	}
	return status(t.store.SyncIno(&fuse.Context{Caller: in.Caller, Cancel: cancel}, objects.Ino(in.NodeId)))
}

// bind asks whether the caller may make a name in a stored directory.
func (t *tree) bind(c *call, parent uint64, name string, op Op) error {
	p, err := t.place(parent)
	if err != nil {
		return err
	}
	if v, _, err := t.virtualChild(c, parent, name); name != versionsName && (err != nil || v != nil) {
		if err == nil {
			err = t.refuse(c, op, v)
		}
		return err
	}
	if err := p.mayBind(name); err != nil {
		t.denied.add(c.Caller, op, p.child(name).target(), "ClosedLayout", err.Error())
		return err
	}
	if err := t.allow(c, op, p.child(name)); err != nil {
		return err
	}
	t.fresh.changed(parent)
	return nil
}

// Mkdir makes a directory; at the closed levels it is a typed action.
func (t *tree) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err != nil {
		return status(err)
	}
	if isVirtual(in.NodeId) {
		return status(t.refuseIn(c, OpMkdir, in.NodeId))
	}
	p, err := t.place(in.NodeId)
	if err != nil {
		return status(err)
	}
	var a objects.Attr
	switch {
	case t.o.Actions != nil && (p.level == levelGroups || p.level == levelUsers):
		a, err = t.mkdirAction(c, p, name)
		t.fresh.changed(in.NodeId)
	default:
		if err = t.bind(c, in.NodeId, name, OpMkdir); err == nil {
			a, err = t.store.Mkdir(c.cred(), objects.Ino(in.NodeId), name, in.Mode&0o7777)
		}
	}
	if err != nil {
		return status(err)
	}
	t.entry(&a, out)
	return fuse.OK
}

// mkdirAction is `mkdir groups/<g>` and `mkdir groups/<g>/users/<u>`.
func (t *tree) mkdirAction(c *call, p place, name string) (objects.Attr, error) {
	if err := t.healthy(); err != nil {
		return objects.Attr{}, err
	}
	if c.Subject.IsAI || !c.Subject.Admin {
		err := fmt.Errorf("only an administrator makes groups and users: %w", ErrImmutable)
		t.denied.add(c.Caller, OpMkdir, p.child(name).target(), "subject_lacks_capability", err.Error())
		return objects.Attr{}, err
	}
	if namespace.IsReservedID(name) || !namespace.ValidID(name) {
		return objects.Attr{}, fmt.Errorf("%q is no id (a lower-case letter, then letters, digits, _ and -): %w", name, ErrImmutable)
	}
	var err error
	ctx := context.WithoutCancel(c) // half an action is none
	if p.level == levelGroups {
		if err = t.o.Actions.CreateGroup(ctx, c.Caller, name); err == nil {
			err = t.ensureGroup(ctx, name)
		}
	} else {
		if err = t.o.Actions.AddUser(ctx, c.Caller, p.group, name); err == nil {
			err = t.ensureMember(ctx, p.group, name)
		}
	}
	if err != nil {
		return objects.Attr{}, err
	}
	return t.store.Resolve(p.path + "/" + name)
}

// refuseIn is the answer to making something in a virtual directory.
func (t *tree) refuseIn(c *call, op Op, dir uint64) error {
	v, err := t.nodes.get(dir)
	if err != nil {
		return err
	}
	return t.refuse(c, op, v)
}

// Mknod makes a file, FIFO, socket or device node.
func (t *tree) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return t.make(cancel, &in.InHeader, name, out, func(c *call) (objects.Attr, error) {
		return t.store.Mknod(c.cred(), objects.Ino(in.NodeId), name, in.Mode, in.Rdev)
	})
}

// Symlink makes a symbolic link.
func (t *tree) Symlink(cancel <-chan struct{}, h *fuse.InHeader, to, name string, out *fuse.EntryOut) fuse.Status {
	return t.make(cancel, h, name, out, func(c *call) (objects.Attr, error) {
		return t.store.Symlink(c.cred(), objects.Ino(h.NodeId), name, to)
	})
}

func (t *tree) make(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut, fn func(*call) (objects.Attr, error)) fuse.Status {
	c, err := t.call(cancel, h)
	if err == nil && isVirtual(h.NodeId) {
		err = t.refuseIn(c, OpCreate, h.NodeId)
	}
	if err == nil {
		err = t.bind(c, h.NodeId, name, OpCreate)
	}
	if err != nil {
		return status(err)
	}
	a, err := fn(c)
	if err != nil {
		return status(err)
	}
	t.entry(&a, out)
	return fuse.OK
}

// Link gives a file a second name.
func (t *tree) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err != nil {
		return status(err)
	}
	if isVirtual(in.Oldnodeid) {
		v, err := t.nodes.get(in.Oldnodeid)
		if err != nil {
			return status(err)
		}
		if err = t.refuse(c, OpLink, v); errors.Is(err, ErrReadOnly) {
			err = errCrossScope // as for any other file system
		}
		return status(err)
	}
	if isVirtual(in.NodeId) {
		return status(t.refuseIn(c, OpLink, in.NodeId))
	}
	if err := t.bind(c, in.NodeId, name, OpLink); err != nil {
		return status(err)
	}
	a, err := t.store.Link(c.cred(), objects.Ino(in.Oldnodeid), objects.Ino(in.NodeId), name)
	if err != nil {
		return status(err)
	}
	t.entry(&a, out)
	return fuse.OK
}

// Readlink gives a link's target.
func (t *tree) Readlink(cancel <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	if isVirtual(h.NodeId) {
		c, err := t.call(cancel, h)
		if err != nil {
			return nil, status(err)
		}
		v, err := t.nodes.get(h.NodeId)
		if err != nil {
			return nil, status(err)
		}
		l, ok := v.(vlink)
		if !ok {
			return nil, fuse.EINVAL
		}
		to, err := l.readlink(c)
		return []byte(to), status(err)
	}
	to, err := t.store.Readlink(objects.Ino(h.NodeId))
	return []byte(to), status(err)
}

// Unlink removes a name.
func (t *tree) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return t.remove(cancel, h, name, OpUnlink, t.store.Unlink)
}

// Rmdir removes an empty directory.
func (t *tree) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return t.remove(cancel, h, name, OpRmdir, t.store.Rmdir)
}

func (t *tree) remove(cancel <-chan struct{}, h *fuse.InHeader, name string, op Op, fn func(objects.Cred, objects.Ino, string) error) fuse.Status {
	c, err := t.call(cancel, h)
	if err != nil {
		return status(err)
	}
	if isVirtual(h.NodeId) {
		v, err := t.nodes.get(h.NodeId)
		if err != nil {
			return status(err)
		}
		if r, ok := v.(vremover); ok && op == OpUnlink {
			return status(r.unlink(c, name))
		}
		return status(t.refuse(c, op, v))
	}
	if err := t.unbind(c, h.NodeId, name, op); err != nil {
		return status(err)
	}
	return status(fn(c.cred(), objects.Ino(h.NodeId), name))
}

// unbind asks whether the caller may take a name away.
func (t *tree) unbind(c *call, parent uint64, name string, op Op) error {
	p, err := t.place(parent)
	if err != nil {
		return err
	}
	if v, _, err := t.virtualChild(c, parent, name); name != versionsName && (err != nil || v != nil) {
		if err == nil {
			err = t.refuse(c, op, v)
			if errors.Is(err, ErrReadOnly) && p.closed() {
				err = ErrImmutable
			}
		}
		return err
	}
	if err := p.mayUnbind(name); err != nil {
		t.denied.add(c.Caller, op, p.child(name).target(), "ClosedLayout", err.Error())
		return err
	}
	if err := t.allow(c, op, p.child(name)); err != nil {
		return err
	}
	t.fresh.changed(parent)
	return nil
}

// Rename moves a name.
func (t *tree) Rename(cancel <-chan struct{}, in *fuse.RenameIn, old, name string) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err != nil {
		return status(err)
	}
	from, to := isVirtual(in.NodeId), isVirtual(in.Newdir)
	switch {
	case from && to && in.NodeId == in.Newdir:
		v, err := t.nodes.get(in.NodeId)
		if err != nil {
			return status(err)
		}
		if m, ok := v.(vmover); ok {
			return status(m.rename(c, old, name, in.Flags))
		}
		return status(t.refuse(c, OpRename, v))
	case from || to:
		// Out of or into a projection: where the projection refuses changes
		// for good it says so, otherwise mv copies, which is right.
		id := in.Newdir
		if from {
			id = in.NodeId
		}
		if err := t.refuseIn(c, OpRename, id); errors.Is(err, ErrImmutable) {
			return status(err)
		}
		return fuse.EXDEV
	}
	if err := t.unbind(c, in.NodeId, old, OpRename); err != nil {
		return status(err)
	}
	if err := t.bind(c, in.Newdir, name, OpRename); err != nil {
		return status(err)
	}
	if in.Flags&unix.RENAME_WHITEOUT != 0 {
		return fuse.EINVAL
	}
	return status(t.store.Rename(c.cred(), objects.Ino(in.NodeId), old, objects.Ino(in.Newdir), name, in.Flags))
}
