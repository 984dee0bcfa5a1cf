package objects

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mkdir makes a directory; with o.Parents one that exists is no error.
func (t *Tx) Mkdir(name string, o WriteOptions) {
	t.do(func() error {
		if n, err := t.s.resolve(name); err == nil {
			if o.Parents && isDir(n.mode) {
				return nil
			}
			return fmt.Errorf("%s: %w", name, ErrExist)
		}
		dir, base, err := t.s.txParent(t, name, o)
		if err != nil {
			return err
		}
		mode := o.Mode
		if mode == 0 {
			mode = 0o755
		}
		if _, err := t.s.mkdir(Cred{UID: o.UID, GID: o.GID, Subject: t.c.Subject}, dir.ino, base, mode); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// Place makes a directory of the closed layout with a scope of its own: a group's, a
// user's, a reserved name's.
func (t *Tx) Place(name string, mode, uid, gid uint32, scope Scope) {
	t.do(func() error {
		s := t.s
		if n, err := s.resolve(name); err == nil {
			if n.scope != scope {
				return fmt.Errorf("%s: %w", name, ErrCrossScope)
			}
			return nil
		}
		dir, base, err := s.txParent(t, name, WriteOptions{})
		if err != nil {
			return err
		}
		n, err := s.mkdir(Cred{Subject: t.c.Subject}, dir.ino, base, mode)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		n.uid, n.gid, n.scope = uid, gid, scope
		n.plain(mode)
		if o := s.open.objs[n.object]; o != nil {
			o.scope = scope
		}
		return nil
	})
}

// Symlink makes a symbolic link, for imported trees.
func (t *Tx) Symlink(name, target string, o WriteOptions) {
	t.do(func() error {
		dir, base, err := t.s.txParent(t, name, o)
		if err != nil {
			return err
		}
		p, err := t.s.placeNew(dir.ino, base)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		n := t.s.newNode(Cred{UID: o.UID, GID: o.GID, Subject: t.c.Subject}, p, base, unix.S_IFLNK|0o777, 0)
		n.target, n.size = target, int64(len(target))
		t.s.bind(p, n, base)
		return nil
	})
}

// Move renames; the destination must not exist unless replace is set.
func (t *Tx) Move(from, to string, replace bool, o WriteOptions) {
	t.do(func() error {
		s := t.s
		fdir, fbase, err := s.txParent(t, from, WriteOptions{})
		if err != nil {
			return err
		}
		tdir, tbase, err := s.txParent(t, to, o)
		if err != nil {
			return err
		}
		flags := uint32(RenameNoReplace)
		if replace {
			flags = 0
		}
		if err := s.rename(t.c, fdir.ino, fbase, tdir.ino, tbase, flags); err != nil {
			return fmt.Errorf("move %s to %s: %w", from, to, err)
		}
		return nil
	})
}

// Delete removes a path; a directory that is not empty needs recursive.
func (t *Tx) Delete(name string, recursive bool, expect *ID) {
	t.do(func() error {
		s := t.s
		dir, base, err := s.txParent(t, name, WriteOptions{})
		if err != nil {
			return err
		}
		p, n, err := s.bound(dir.ino, base)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if expect != nil && n.inode.version != *expect {
			return &ConflictError{Path: name, Object: n.object, Pointer: PointerID(n.object, "CURRENT"), Current: n.inode.version, Attempted: *expect}
		}
		if err := s.remove(t.c, p, n, base, recursive); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

func (s *Store) remove(c Cred, p, n *node, name string, recursive bool) error {
	if !isDir(n.mode) {
		s.unbind(c, p, n, name)
		return nil
	}
	if !s.emptyDir(n.ino) {
		if !recursive {
			return ErrNotEmpty
		}
		h := &DirHandle{s: s, ino: n.ino}
		h.fill()
		for _, e := range h.entries {
			child, err := s.node(e.Ino)
			if err != nil {
				return err
			}
			if err := s.remove(c, n, child, e.Name, true); err != nil {
				return err
			}
		}
	}
	s.removeDir(c, p, n, name)
	return nil
}

// SetLabels adds and removes labels of what a path names.
func (t *Tx) SetLabels(name string, add, remove []string) {
	t.do(func() error {
		s := t.s
		n, err := s.resolve(name)
		if err != nil {
			return err
		}
		o, err := s.editObject(n.object)
		if err != nil {
			return err
		}
		gone := map[string]bool{}
		for _, l := range remove {
			gone[strings.TrimSpace(l)] = true
		}
		var keep []string
		for _, l := range append(append([]string{}, o.labels...), add...) {
			if !gone[strings.TrimSpace(l)] {
				keep = append(keep, l)
			}
		}
		if o.labels, err = cleanLabels(keep); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.labelled(o)
		return nil
	})
}

// Adopt makes a version that exists current again, as a new version of the file: a
// restore (contract §2). The file may have been removed meanwhile.
func (t *Tx) Adopt(name string, obj, ver ID, o WriteOptions) {
	t.propose(candidate{name, o.Expect, func(ob *object) (*version, error) {
		from, err := t.s.version(obj, ver)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		v, now := *from, t.s.o.Now()
		if v.staging != "" {
			return nil, fmt.Errorf("version %s is not sealed yet: %w", from.id, ErrBusy)
		}
		v.id, v.object, v.txn, v.action, v.state, v.loser = newID('v', now), ob.id, t.id, t.action, Staged, true
		v.createdAt, v.createdBy = now, t.c.Subject
		return &v, nil
	}})
	t.do(func() error {
		s := t.s
		v, err := s.version(obj, ver)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if v.shut() {
			return fmt.Errorf("%s: version %s is %w", name, ver, ErrQuarantined)
		}
		p := prepared{size: v.size, hash: v.hash, inline: v.inline, isInline: v.isInline, staging: v.staging}
		n, err := s.resolve(name)
		if errors.Is(err, ErrNotFound) {
			dir, base, err := s.txParent(t, name, o)
			if err != nil {
				return err
			}
			pn, err := s.placeNew(dir.ino, base)
			if err != nil {
				return err
			}
			mode := o.Mode
			if mode == 0 {
				mode = 0o644
			}
			n = s.newNode(Cred{UID: o.UID, GID: o.GID, Subject: t.c.Subject}, pn, base, unix.S_IFREG|mode&0o7777, 0)
			s.bind(pn, n, base)
			s.undelete(n, obj)
		} else if err != nil {
			return err
		}
		if n.draft != nil && n.draft.Dirty() {
			return fmt.Errorf("%s: it is being written by another program: %w", name, ErrStale)
		}
		if o.Expect != nil && n.inode.version != *o.Expect {
			return &ConflictError{Path: name, Object: n.object, Pointer: PointerID(n.object, "CURRENT"), Current: n.inode.version, Attempted: *o.Expect}
		}
		return s.txAdopt(t, n, v, p)
	})
}

// undelete lets a retired object go on under a new inode.
func (s *Store) undelete(n *node, object ID) {
	o, err := s.editObject(object)
	if err != nil || o.life != Retired || !o.absorbedBy.IsZero() || o.scope != n.scope {
		return
	}
	delete(s.open.objs, n.object)
	o.life, o.retiredAt, o.ino, o.name = Active, time.Time{}, n.ino, n.name
	s.unbury(o.id)
	n.object, n.inode.version = o.id, o.current
}

func (s *Store) txAdopt(t *Tx, n *node, from *version, p prepared) error {
	if err := s.room(n.scope, p.size-n.size, 0); err != nil {
		return err
	}
	ob, err := s.editObject(n.object)
	if err != nil {
		return err
	}
	s.touch(n)
	now := s.o.Now()
	before := ob.current
	v := *from
	v.id, v.object, v.parent, v.txn, v.action = newID('v', now), ob.id, before, t.id, t.action
	v.createdAt, v.createdBy, v.loser = now, t.c.Subject, false
	if v.staging != "" {
		return fmt.Errorf("version %s is not sealed yet: %w", from.id, ErrBusy)
	}
	s.putVersion(&v)
	ob.rollback, ob.current = before, v.id
	n.inode.version, n.size, n.blocks, n.mtime, n.ctime = v.id, p.size, (p.size+511)/512, now, now
	t.writes = append(t.writes, write{ob.id, v.id, before, hashText(&v)})
	s.open.change.Inos = append(s.open.change.Inos, n.ino)
	return nil
}
