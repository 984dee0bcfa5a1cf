package fs

import (
	"errors"
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
)

// bind asks whether the caller may make a name in a stored directory.
func (t *tree) bind(c *call, parent uint64, name string, op Op) error {
	if err := t.recoveryOnly(); err != nil {
		return err
	}
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
		if v, err := t.nodes.get(in.NodeId); err == nil {
			if m, ok := v.(interface {
				mkdir(c *call, name string) (vnode, error)
			}); ok {
				made, err := m.mkdir(c, name)
				if err != nil {
					return status(err)
				}
				return status(t.virtualEntry(c, made, out))
			}
		}
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
	case p.path == objects.CanName:
		a, err = t.makeCan(c, name)
	default:
		if err = t.bind(c, in.NodeId, name, OpMkdir); err == nil {
			a, err = t.store.Mkdir(c.masked(in.Umask), objects.Ino(in.NodeId), name, in.Mode&0o7777)
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
	ctx := settled(c)
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
		return t.store.Mknod(c.masked(in.Umask), objects.Ino(in.NodeId), name, in.Mode, in.Rdev)
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
	if err := t.recoveryOnly(); err != nil {
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
	t.readAgain(&a)
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
	if err == nil {
		t.store.Accessed(objects.Ino(h.NodeId), t.ruleOf(0, false))
	}
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
		if r, ok := v.(interface {
			rmdir(c *call, name string) error
		}); ok && op == OpRmdir {
			return status(r.rmdir(c, name))
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
	if err := t.recoveryOnly(); err != nil {
		return err
	}
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
	if in.NodeId != in.Newdir { // within the directory of recoveryIntents it is a way to commit
		if err := t.recoveryOnly(); err != nil {
			return status(err)
		}
	}
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
	case from && !to && in.Flags&unix.RENAME_EXCHANGE == 0:
		v, err := t.nodes.get(in.NodeId)
		if err != nil {
			return status(err)
		}
		if g, ok := v.(vgiver); ok {
			if err := t.bind(c, in.Newdir, name, OpRename); err != nil {
				return status(err)
			}
			return status(g.moveOut(c, old, objects.Ino(in.Newdir), name))
		}
		if err := t.refuseIn(c, OpRename, in.NodeId); errors.Is(err, ErrImmutable) {
			return status(err)
		}
		return fuse.EXDEV
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
	if err := t.store.Rename(c.cred(), objects.Ino(in.NodeId), old, objects.Ino(in.Newdir), name, in.Flags); err != nil {
		return status(err)
	}
	if a, err := t.store.Lookup(objects.Ino(in.Newdir), name); err == nil {
		t.readAgain(&a)
	}
	if in.Flags&unix.RENAME_EXCHANGE != 0 {
		if a, err := t.store.Lookup(objects.Ino(in.NodeId), old); err == nil {
			t.readAgain(&a)
		}
	}
	return fuse.OK
}
