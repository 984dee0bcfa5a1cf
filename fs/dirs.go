package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

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
	if name == "." || name == ".." { // of file handles (CAP_EXPORT_SUPPORT)
		a, err := t.store.Lookup(objects.Ino(h.NodeId), name)
		if err == nil {
			t.entry(&a, out)
		}
		return status(err)
	}
	v, closed, err := t.virtualChild(c, h.NodeId, name)
	if err != nil {
		return status(err)
	}
	if v != nil {
		if t.plain(h.NodeId) { // what stands there may decide by the caller's groups
			c.Caller, _ = t.callers.of(h)
		}
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
		if t.absent(place{level: levelRoot}, name) {
			return nil, true, ErrNotFound
		}
		v, err := t.root.lookup(c, name)
		if errors.Is(err, ErrNotFound) {
			return nil, true, nil
		}
		return v, true, err
	}
	if name == versionsName {
		if p, err := t.place(parent); err == nil && t.absent(p, name) {
			return nil, false, ErrNotFound
		}
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
	if t.absent(p, name) {
		return nil, true, ErrNotFound
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
	rest   []objects.DirEntry // stored names that follow ents; shared with other readers
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
		out.OpenFlags = fuse.FOPEN_CACHE_DIR
		// Where reading moves its time, the kernel is to ask, and not to read what it has.
		if !t.store.AccessDue(objects.Ino(in.NodeId), t.ruleOf(in.Flags, true)) {
			out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
		}
	}
	return fuse.OK
}

// load reads the directory's names.
func (t *tree) load(c *call, d *dirReader) error {
	d.ents, d.rest = d.ents[:0], nil
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
			if err != nil || t.absent(p, e.name) {
				continue
			}
			shown[e.name] = true
			d.ents = append(d.ents, dirEnt{e.name, nodeID(e.node.name()), a.mode, e.node})
		}
	}
	if p.level == levelInside {
		d.rest, d.loaded = d.stored.From(0), true
		return nil
	}
	for _, e := range d.stored.From(0) {
		if shown[e.Name] || t.absent(p, e.Name) || p.level == levelRoot && e.Name == objects.CanName || p.level == levelGroups && !t.sees(c, e.Ino) {
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
	return err == nil && (c.UID == 0 || c.UID == a.UID || a.Allows(c.UID, c.in, 1))
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
	if d.stored != nil {
		t.store.Accessed(objects.Ino(h.ino), t.ruleOf(in.Flags, true))
	}
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
	t.readRest(d, in.Offset, out, plus)
	return fuse.OK
}

// readRest lists stored names of a plain directory. Their attributes are asked for a few
// at a time: each is a lookup that the store counts.
func (t *tree) readRest(d *dirReader, offset uint64, out *fuse.DirEntryList, plus bool) {
	head := uint64(len(d.ents))
	at := max(offset, head)
	if out.Offset < at { // what comes before did not fit
		return
	}
	var attrs [dirStep]objects.Attr
	for at-head < uint64(len(d.rest)) {
		part := d.rest[at-head:][:min(dirStep, uint64(len(d.rest))-(at-head))]
		if plus {
			t.store.Held(part, attrs[:len(part)])
		}
		for i, e := range part {
			at++
			de := fuse.DirEntry{Name: e.Name, Ino: uint64(e.Ino), Mode: e.Type, Off: at}
			if !plus {
				if !out.AddDirEntry(de) {
					return
				}
				continue
			}
			eo := out.AddDirLookupEntry(de)
			if eo == nil {
				for _, a := range attrs[i:len(part)] {
					if a.Ino != 0 {
						t.store.Forget(a.Ino, 1)
					}
				}
				return
			}
			if attrs[i].Ino != 0 {
				t.heldEntry(&attrs[i], eo)
			}
		}
	}
}

// dirStep is how many attributes readRest asks for at once: about what fits into a page.
const dirStep = 24

// ReleaseDir closes a directory.
func (t *tree) ReleaseDir(in *fuse.ReleaseIn) {
	if h := t.handles.take(in.Fh); h != nil {
		h.dir.close()
	}
}

// FsyncDir makes a directory's names durable, with everything before them.
func (t *tree) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isVirtual(in.NodeId) {
		return fuse.OK
	}
	return status(t.store.SyncIno(context.Background(), objects.Ino(in.NodeId)))
}
