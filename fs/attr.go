package fs

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/objects"
)

// fillAttr writes a stored inode's attributes.
func fillAttr(a *objects.Attr, out *fuse.Attr) {
	out.Ino = uint64(a.Ino)
	out.Size, out.Blocks = uint64(a.Size), uint64(a.Blocks)
	out.Atime, out.Atimensec = uint64(a.Atime.Unix()), uint32(a.Atime.Nanosecond())
	out.Mtime, out.Mtimensec = uint64(a.Mtime.Unix()), uint32(a.Mtime.Nanosecond())
	out.Ctime, out.Ctimensec = uint64(a.Ctime.Unix()), uint32(a.Ctime.Nanosecond())
	out.Mode, out.Nlink = a.Mode, a.Nlink
	out.Uid, out.Gid, out.Rdev = a.UID, a.GID, a.Rdev
	out.Blksize = blockSize
}

// blockSize is what st_blksize advises: programs copy in pieces of it, and a
// request of this size costs as much as a small one.
const blockSize = 128 << 10

func fillVirtual(id uint64, a *vattr, out *fuse.Attr, born time.Time) {
	m := a.mtime
	if m.IsZero() {
		m = born
	}
	out.Ino, out.Mode, out.Nlink = id, a.mode, 1
	if a.mode&syscall.S_IFMT == syscall.S_IFDIR {
		out.Nlink = 2
	}
	out.Size, out.Blocks = uint64(a.size), uint64(a.size+511)/512
	s, n := uint64(m.Unix()), uint32(m.Nanosecond())
	out.Atime, out.Atimensec, out.Mtime, out.Mtimensec, out.Ctime, out.Ctimensec = s, n, s, n, s, n
	out.Uid, out.Gid, out.Blksize = a.uid, a.gid, 4096
}

// entry answers a lookup with a stored inode and counts it.
func (t *tree) entry(a *objects.Attr, out *fuse.EntryOut) {
	t.store.Ref(a.Ino)
	t.heldEntry(a, out)
}

// heldEntry is entry for an inode whose lookup the store has counted.
func (t *tree) heldEntry(a *objects.Attr, out *fuse.EntryOut) {
	out.NodeId, out.Generation = uint64(a.Ino), a.Gen
	t.passable(a)
	fillAttr(a, &out.Attr)
	out.SetEntryTimeout(cacheTime)
	out.SetAttrTimeout(attrTime(a))
	if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		t.fresh.told(uint64(a.Ino), t.o.Now())
	}
}

// attrTime is how long the kernel may remember attributes. Not those of a
// set-id program: a write takes the bits away in the daemon, and the kernel
// forgets only size and times then (HANDLE_KILLPRIV_V2). Nor those of a large file that
// may be mapped: a write through the mapping moves the host file's times, and leaves what
// the kernel remembers of ours as it is.
func attrTime(a *objects.Attr) time.Duration {
	if a.Mapped {
		return 0
	}
	if a.Mode&syscall.S_IFMT == syscall.S_IFREG && a.Mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 {
		return 0
	}
	return cacheTime
}

// virtualEntry answers a lookup with a virtual node and counts it.
func (t *tree) virtualEntry(c *call, v vnode, out *fuse.EntryOut) error {
	a, err := v.attr(c)
	if err != nil {
		return err
	}
	id := nodeID(v.name())
	t.nodes.hold(id, v)
	out.NodeId, out.Generation = id, 1
	fillVirtual(id, &a, &out.Attr, t.born)
	out.SetEntryTimeout(a.ttl)
	out.SetAttrTimeout(a.ttl)
	return nil
}

// Forget lets go of lookups.
func (t *tree) Forget(id, n uint64) {
	if isVirtual(id) {
		t.nodes.forget(id, n)
		return
	}
	if id != uint64(objects.RootIno) {
		t.store.Forget(objects.Ino(id), n)
		t.fresh.changed(id)
		t.pass.forget(id)
	}
}

// GetAttr answers stat and fstat.
func (t *tree) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if isVirtual(in.NodeId) {
		c, _ := t.call(cancel, &in.InHeader)
		v, err := t.nodes.get(in.NodeId)
		if err != nil {
			return fuse.ENOENT
		}
		a, err := v.attr(c)
		if err != nil {
			return status(err)
		}
		fillVirtual(in.NodeId, &a, &out.Attr, t.born)
		out.SetTimeout(a.ttl)
		return fuse.OK
	}
	a, err := t.statStored(in.NodeId, in.Flags()&fuse.FUSE_GETATTR_FH != 0, in.Fh())
	if err != nil {
		return status(err)
	}
	t.passable(&a)
	fillAttr(&a, &out.Attr)
	out.SetTimeout(attrTime(&a))
	if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		t.stranger(in, &a)
		t.fresh.told(in.NodeId, t.o.Now())
	}
	return fuse.OK
}

func (t *tree) statStored(id uint64, withHandle bool, fh uint64) (objects.Attr, error) {
	if withHandle {
		if h, err := t.handles.get(fh); err == nil && h.file != nil {
			return h.file.Attr(), nil
		}
	}
	return t.store.GetAttr(objects.Ino(id))
}

// stranger records the access that the kernel has just refused by mode bits:
// it shows as a question for attributes that the kernel still has, by
// somebody whom they shut out (T-18).
func (t *tree) stranger(in *fuse.GetAttrIn, a *objects.Attr) {
	if in.Uid == 0 || in.Flags()&fuse.FUSE_GETATTR_FH != 0 || !t.fresh.valid(in.NodeId, t.o.Now()) {
		return
	}
	if in.Uid == a.UID && a.Mode>>6&1 != 0 || a.ACL == "" && a.Mode&0o011 == 0o011 {
		return
	}
	c, err := t.callers.of(&in.InHeader)
	if err != nil || a.Allows(in.Uid, c.in, 1) {
		return
	}
	p, err := t.place(in.NodeId)
	if err != nil {
		return
	}
	code := "PERMISSION_DENIED"
	if p.group != "" && c.Subject.PrimaryGroup != p.group {
		code = "CrossGroupAccessForbidden"
	}
	t.denied.add(c, OpAccess, p.target(), code, fmt.Sprintf("mode %04o of uid %d gid %d shuts uid %d out", a.Mode&0o7777, a.UID, a.GID, in.Uid))
}

// Statx answers statx with the birth time; it never follows a symlink,
// because it is asked about an inode.
func (t *tree) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	const basic = 0x7ff | 0x800 // STATX_BASIC_STATS, STATX_BTIME
	var fa fuse.Attr
	var birth time.Time
	ttl := cacheTime
	if isVirtual(in.NodeId) {
		c, _ := t.call(cancel, &in.InHeader)
		v, err := t.nodes.get(in.NodeId)
		if err != nil {
			return fuse.ENOENT
		}
		a, err := v.attr(c)
		if err != nil {
			return status(err)
		}
		fillVirtual(in.NodeId, &a, &fa, t.born)
		birth, ttl = time.Unix(int64(fa.Mtime), int64(fa.Mtimensec)), a.ttl
	} else {
		a, err := t.statStored(in.NodeId, in.GetattrFlags&fuse.FUSE_GETATTR_FH != 0, in.Fh)
		if err != nil {
			return status(err)
		}
		t.passable(&a)
		fillAttr(&a, &fa)
		birth = a.Btime
	}
	out.SetTimeout(ttl)
	out.Mask = basic
	out.Ino, out.Size, out.Blocks, out.Blksize = fa.Ino, fa.Size, fa.Blocks, fa.Blksize
	out.Mode, out.Nlink = uint16(fa.Mode), fa.Nlink
	out.Statx.Uid, out.Statx.Gid = fa.Uid, fa.Gid
	out.Atime.Sec, out.Atime.Nsec = fa.Atime, fa.Atimensec
	out.Mtime.Sec, out.Mtime.Nsec = fa.Mtime, fa.Mtimensec
	out.Ctime.Sec, out.Ctime.Nsec = fa.Ctime, fa.Ctimensec
	out.Btime.Sec, out.Btime.Nsec = uint64(birth.Unix()), uint32(birth.Nanosecond())
	out.RdevMajor, out.RdevMinor = fa.Rdev>>8&0xfff, fa.Rdev&0xff|fa.Rdev>>12&0xfff00
	return fuse.OK
}

// SetAttr answers chmod, chown, utimens, truncate.
func (t *tree) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	c, err := t.call(cancel, &in.InHeader)
	if err != nil {
		return status(err)
	}
	if isVirtual(in.NodeId) {
		return status(t.setVirtual(c, in, out))
	}
	a, err := t.setStored(c, in)
	if err != nil {
		return status(err)
	}
	fillAttr(&a, &out.Attr)
	out.SetTimeout(attrTime(&a))
	return fuse.OK
}

func (t *tree) setVirtual(c *call, in *fuse.SetAttrIn, out *fuse.AttrOut) error {
	v, err := t.nodes.get(in.NodeId)
	if err != nil {
		return err
	}
	size, resize := in.GetSize()
	done := false
	if fh, ok := in.GetFh(); ok && resize {
		if h, err := t.handles.get(fh); err == nil {
			if z, ok := h.virt.(vsizer); ok {
				if err := z.truncate(c, int64(size)); err != nil {
					return err
				}
				done = true
			}
		}
	}
	if s, ok := v.(vsetter); ok && !done {
		err = s.setattr(c, in)
	} else if !done {
		err = t.refuse(c, OpSetAttr, v)
	}
	if err != nil {
		return err
	}
	a, err := v.attr(c)
	if err != nil {
		return err
	}
	fillVirtual(in.NodeId, &a, &out.Attr, t.born)
	out.SetTimeout(a.ttl)
	return nil
}

// refuse is the answer to a change of a virtual thing; refusals that are not
// mere read-only views are denials and leave evidence.
func (t *tree) refuse(c *call, op Op, v vnode) error {
	if err := t.recoveryOnly(); err != nil {
		return err
	}
	err := refusal(v)
	if errors.Is(err, ErrImmutable) {
		t.denied.add(c.Caller, op, Target{Path: pathOf(v)}, "hd.evidence_log_mutation", err.Error())
	}
	return err
}

func (t *tree) setStored(c *call, in *fuse.SetAttrIn) (objects.Attr, error) {
	ino := objects.Ino(in.NodeId)
	p, err := t.place(in.NodeId)
	if err == nil {
		err = t.allow(c, OpSetAttr, p)
	} else if errors.Is(err, objects.ErrNotFound) {
		err = t.healthy() // open, but its name is gone
	}
	if err != nil {
		return objects.Attr{}, err
	}
	old, err := t.store.GetAttr(ino)
	if err != nil {
		return objects.Attr{}, err
	}
	var set objects.SetAttr
	if m, ok := in.GetMode(); ok {
		set.Mode = &m
	}
	if u, ok := in.GetUID(); ok {
		set.UID = &u
	}
	if g, ok := in.GetGID(); ok {
		set.GID = &g
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		n := int64(in.Size)
		if n < 0 {
			return objects.Attr{}, ErrTooLarge
		}
		set.Size = &n
	}
	now := t.o.Now()
	if in.Valid&fuse.FATTR_ATIME != 0 {
		at := now
		if in.Valid&fuse.FATTR_ATIME_NOW == 0 {
			at = time.Unix(int64(in.Atime), int64(in.Atimensec))
		}
		set.Atime = &at
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		mt := now
		if in.Valid&fuse.FATTR_MTIME_NOW == 0 {
			mt = time.Unix(int64(in.Mtime), int64(in.Mtimensec))
		}
		set.Mtime = &mt
	}
	if p.level != levelInside && p.path != "" || err == nil && p.level == levelRoot {
		if differs(set.Mode, old.Mode&0o7777) || differs(set.UID, old.UID) || differs(set.GID, old.GID) {
			return objects.Attr{}, fmt.Errorf("/%s belongs to the closed layout: %w", p.path, ErrImmutable)
		}
	}
	if err := t.setID(c, in, &old, &set); err != nil {
		return objects.Attr{}, err
	}
	if set.Size != nil {
		defer t.pass.resizing(in.NodeId)()
	}
	unread := t.store.AccessDue(ino, t.ruleOf(0, false))
	a, err := t.store.SetAttr(c.cred(), ino, set)
	if err == nil && !unread {
		t.readAgain(&a)
	}
	return a, err
}

// setID takes a file's set-id bits away from it when somebody changes its owner
// or content: the kernel leaves that to us (HANDLE_KILLPRIV_V2). A request with
// nothing to set is a chown(-1, -1), or comes before a write that the kernel
// does itself; who may do neither is refused, as where the kernel has to
// change the mode. Who has the file open for writing may go on, whatever it has
// become since; a chown of his does no more than his next write would.
func (t *tree) setID(c *call, in *fuse.SetAttrIn, old *objects.Attr, set *objects.SetAttr) error {
	nothing := in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER|fuse.FATTR_CTIME|fuse.FATTR_KILL_SUIDGID) == 0
	owner := set.UID != nil || set.GID != nil || nothing
	if old.Mode&syscall.S_IFMT == syscall.S_IFDIR || set.Mode != nil || old.Mode&(syscall.S_ISUID|syscall.S_ISGID) == 0 || !owner && in.Valid&fuse.FATTR_KILL_SUIDGID == 0 {
		return nil
	}
	m := withoutSetID(old.Mode, c.UID == 0 || c.in(old.GID))
	if m == old.Mode {
		return nil
	}
	if nothing && c.UID != 0 && c.UID != old.UID && !old.Allows(c.UID, c.in, 2) && !t.handles.writer(in.NodeId, c.UID) {
		return errNotOwner
	}
	m &= 0o7777
	set.Mode = &m
	return nil
}

func differs(v *uint32, now uint32) bool { return v != nil && *v != now }

// withoutSetID clears set-user-id, and set-group-id where the group may
// execute; without that bit it means mandatory locking and stays, for root and
// the group's members.
func withoutSetID(mode uint32, member bool) uint32 {
	mode &^= syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 || !member {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// Access is asked only without default_permissions; it decides nothing.
func (t *tree) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }

// StatFs gives the room of the disk below the store.
func (t *tree) StatFs(_ <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	ino := objects.RootIno
	if !isVirtual(h.NodeId) {
		ino = objects.Ino(h.NodeId)
	}
	s, err := t.store.StatFSAt(ino)
	if err != nil {
		return status(err)
	}
	out.Bsize, out.Frsize, out.NameLen = s.BlockSize, s.BlockSize, objects.MaxName
	out.Blocks, out.Bfree, out.Bavail = s.Blocks, s.Free, s.Available
	out.Files, out.Ffree = s.Files, s.FilesFree
	return fuse.OK
}
