package objects

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Rename flags, as of renameat2(2).
const (
	RenameNoReplace = unix.RENAME_NOREPLACE
	RenameWhiteout  = unix.RENAME_WHITEOUT
	RenameExchange  = unix.RENAME_EXCHANGE
)

func checkName(name string) error {
	switch {
	case len(name) > MaxName:
		return ErrNameTooLong
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q: %w", name, ErrInvalid)
	}
	return nil
}

func isDir(mode uint32) bool     { return mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFREG }

// dir finds a directory that still has a name.
func (s *Store) dir(ino Ino) (*node, error) {
	n, err := s.node(ino)
	if err != nil {
		return nil, err
	}
	if !isDir(n.mode) {
		return nil, ErrNotDir
	}
	return n, nil
}

// Lookup finds a name in a directory.
func (s *Store) Lookup(parent Ino, name string) (Attr, error) {
	if len(name) > MaxName {
		return Attr{}, ErrNameTooLong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "." || name == ".." {
		return s.reach(parent, name)
	}
	if _, err := s.dir(parent); err != nil {
		return Attr{}, err
	}
	d, ok, err := s.dent(parent, name)
	if err != nil {
		return Attr{}, err
	}
	if !ok {
		return Attr{}, ErrNotFound
	}
	return s.getAttr(d.ino)
}

// reach finds an inode by its number alone, of whatever type, or a directory's parent:
// that is how file handles are opened (name_to_handle_at(2), NFS).
func (s *Store) reach(ino Ino, name string) (Attr, error) {
	n, err := s.node(ino)
	switch {
	case err != nil:
		return Attr{}, err
	case n.nlink == 0:
		return Attr{}, ErrNotFound
	case name == ".":
		return s.attrOf(n), nil
	case !isDir(n.mode):
		return Attr{}, ErrNotDir
	}
	return s.getAttr(n.parent)
}

// GetAttr gives the attributes of an inode.
func (s *Store) GetAttr(ino Ino) (Attr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.getAttr(ino)
}

func (s *Store) getAttr(ino Ino) (Attr, error) {
	n, err := s.node(ino)
	if err != nil {
		return Attr{}, err
	}
	return s.attrOf(n), nil
}

func (s *Store) attrOf(n *node) Attr {
	s.observe(n)
	a := n.attr()
	a.Mapped = n.pin != nil && n.pin.mapped
	if n.draft != nil {
		// While the draft is worked on at length, the node has its last size.
		if size, blocks, ok := n.draft.TryStat(); ok {
			a.Size, a.Blocks = size, blocks
		}
	}
	return a
}

// SetAttr changes attributes; a change of the size goes through the file's draft.
func (s *Store) SetAttr(c Cred, ino Ino, set SetAttr) (Attr, error) {
	if set.Size != nil {
		if err := s.truncate(c, ino, *set.Size); err != nil {
			return Attr{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	if err != nil {
		return Attr{}, err
	}
	if err := s.writable(); err != nil {
		return Attr{}, err
	}
	nothing := set.Mode == nil && set.UID == nil && set.GID == nil && set.Atime == nil && set.Mtime == nil
	if nothing && set.Size != nil {
		return s.attrOf(n), nil // truncate has stamped it
	}
	s.observe(n)
	s.touch(n)
	if set.Mode != nil {
		n.chmod(*set.Mode)
	}
	if set.UID != nil || set.GID != nil || nothing {
		n.dropCapability()
	}
	if set.UID != nil {
		n.uid = *set.UID
	}
	if set.GID != nil {
		n.gid = *set.GID
	}
	if set.Atime != nil {
		n.atime = *set.Atime
	}
	if set.Mtime != nil {
		n.mtime = *set.Mtime
		if err := s.setMtime(n, n.mtime); err != nil {
			return Attr{}, err
		}
	}
	n.ctime = s.o.Now()
	if n.pin != nil && n.pin.watched {
		s.watch(n, n.pin.rule)
	}
	return s.attrOf(n), nil
}

// newNode makes an inode with its object; s.mu is held. The set-group-id rule of
// directories is POSIX' business of the store, since it depends on the parent alone.
func (s *Store) newNode(c Cred, p *node, name string, mode, rdev uint32) *node {
	now := s.o.Now()
	n := &node{inode: inode{ino: s.nextIno, gen: uint64(now.UnixNano()), mode: mode, nlink: 1, uid: c.UID, gid: c.GID, rdev: rdev,
		atime: now, mtime: now, ctime: now, btime: now, scope: p.scope, parent: p.ino, name: name}}
	s.nextIno++
	if p.mode&unix.S_ISGID != 0 {
		n.gid = p.gid
		if isDir(mode) {
			n.mode |= unix.S_ISGID
		}
	}
	n.inherit(&p.inode, c.Umask)
	kind := KindFile
	if isDir(mode) {
		n.nlink, kind = 2, KindDirectory
	}
	s.nodes[n.ino] = n
	s.count(n)
	n.element = s.idle.PushFront(n)
	n.dirty, s.open.inodes[n.ino] = s.open, n
	if isDir(mode) {
		s.names.add(n.ino, true)
	}
	if s.open.made != nil {
		s.open.made[n] = true
	}
	obj := &object{kind: kind, createdAt: now, createdBy: c.Subject, privacy: Sensitive, life: Active, scope: p.scope, ino: n.ino, name: name}
	if old := s.takeRecent(c, p.ino, name); !old.IsZero() && isRegular(mode) {
		if o, err := s.editObject(old); err == nil {
			o.life, o.retiredAt, o.ino, o.name = Active, time.Time{}, n.ino, name
			n.object = o.id
			s.unbury(o.id)
			return n
		}
	}
	obj.id = newID('o', now)
	n.object = obj.id
	s.open.objs[obj.id] = obj
	return n
}

// takeRecent gives the object that this subject removed under this name a moment ago.
func (s *Store) takeRecent(c Cred, dir Ino, name string) ID {
	k := recentKey{dir, name}
	r, ok := s.recent[k]
	if !ok {
		return ID{}
	}
	delete(s.recent, k)
	if r.subject != c.Subject || s.o.Now().Sub(r.at) > recreateWithin {
		return ID{}
	}
	if o, err := s.object(r.object); err != nil || o.life != Retired || !o.absorbedBy.IsZero() {
		return ID{} // it was restored meanwhile, or goes on as another
	}
	return r.object
}

// place checks that a name is free in a directory that can take it.
func (s *Store) place(parent Ino, name string) (*node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	p, err := s.dir(parent)
	if err != nil {
		return nil, err
	}
	if p.nlink == 0 {
		return nil, ErrNotFound
	}
	_, ok, err := s.dent(parent, name)
	if err != nil {
		return nil, err
	}
	if ok {
		return nil, ErrExist
	}
	return p, nil
}

// placeNew is place for what takes a new inode.
func (s *Store) placeNew(parent Ino, name string) (*node, error) {
	s.evict() // before anything is looked up: nobody holds it yet
	p, err := s.place(parent, name)
	if err == nil {
		err = s.room(p.scope, 0, 1)
	}
	return p, err
}

// bind gives a new inode its name.
func (s *Store) bind(p, n *node, name string) {
	d, now := s.named(n), s.o.Now()
	if _, again := s.open.dents[p.ino][name]; again {
		d.since = now.UnixMilli() + 1 // another file had the name in this epoch, and gets no more for it
	}
	s.setDent(p.ino, name, d)
	s.touch(p)
	p.mtime, p.ctime = now, now
	s.changed(p.ino, name)
}

// Mknod makes a regular file, FIFO, socket or device node; mode holds its type.
func (s *Store) Mknod(c Cred, parent Ino, name string, mode, rdev uint32) (Attr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.mknod(c, parent, name, mode, rdev)
	if err != nil {
		return Attr{}, err
	}
	return s.attrOf(n), nil
}

func (s *Store) mknod(c Cred, parent Ino, name string, mode, rdev uint32) (*node, error) {
	p, err := s.placeNew(parent, name)
	if err != nil {
		return nil, err
	}
	if isDir(mode) || mode&unix.S_IFMT == unix.S_IFLNK {
		return nil, ErrInvalid
	}
	n := s.newNode(c, p, name, mode, rdev)
	s.bind(p, n, name)
	n.lastCred = s.credOf(c)
	s.installEmpty(n)
	return n, nil
}

// Mkdir makes a directory.
func (s *Store) Mkdir(c Cred, parent Ino, name string, mode uint32) (Attr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.mkdir(c, parent, name, mode)
	if err != nil {
		return Attr{}, err
	}
	return s.attrOf(n), nil
}

func (s *Store) mkdir(c Cred, parent Ino, name string, mode uint32) (*node, error) {
	p, err := s.placeNew(parent, name)
	if err != nil {
		return nil, err
	}
	n := s.newNode(c, p, name, unix.S_IFDIR|mode&0o7777, 0)
	s.bind(p, n, name)
	p.nlink++
	return n, nil
}

// Symlink makes a symbolic link.
func (s *Store) Symlink(c Cred, parent Ino, name, target string) (Attr, error) {
	if target == "" || len(target) >= unix.PathMax {
		return Attr{}, ErrNameTooLong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.placeNew(parent, name)
	if err != nil {
		return Attr{}, err
	}
	n := s.newNode(c, p, name, unix.S_IFLNK|0o777, 0)
	n.target, n.size = target, int64(len(target))
	s.bind(p, n, name)
	return s.attrOf(n), nil
}

// Readlink gives a symbolic link's target.
func (s *Store) Readlink(ino Ino) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	if err != nil {
		return "", err
	}
	if n.mode&unix.S_IFMT != unix.S_IFLNK {
		return "", ErrInvalid
	}
	return n.target, nil
}

// Link gives a file another name, within its scope.
func (s *Store) Link(c Cred, ino, parent Ino, name string) (Attr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	if err != nil {
		return Attr{}, err
	}
	p, err := s.place(parent, name)
	switch {
	case err != nil:
		return Attr{}, err
	case isDir(n.mode):
		return Attr{}, ErrPermission
	case n.scope != p.scope:
		return Attr{}, ErrCrossScope
	case n.nlink >= maxLinks:
		return Attr{}, ErrTooManyLinks
	}
	if n.nlink > 0 {
		s.addName(n, p, name)
		return s.attrOf(n), nil
	}
	s.touch(n)
	s.unorphan(n) // an O_TMPFILE file gets its first name
	n.parent, n.name, n.nlink, n.ctime = p.ino, name, 1, s.o.Now()
	s.bind(p, n, name)
	return s.attrOf(n), nil
}
