package objects

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// The attributes that hold access control lists (acl(5)). An inode stores one
// only where it says more than the mode; what both say is kept the same in both.
const (
	XattrACLAccess  = "system.posix_acl_access"
	XattrACLDefault = "system.posix_acl_default"
)

// XattrCapability holds the capabilities of a program. Whoever changes its content or
// owner takes them away.
const XattrCapability = "security.capability"

// The tags of entries, in the order that a valid list has them.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

const (
	aclVersion   = 2
	aclUndefined = ^uint32(0) // the id of entries that name nobody
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

type acl []aclEntry

// parseACL reads a list as the kernel writes it, and refuses what acl_valid(3) does.
// No bytes, and no entries, are no list.
func parseACL(b []byte) (acl, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 4 || (len(b)-4)%8 != 0 {
		return nil, fmt.Errorf("an ACL of %d bytes: %w", len(b), ErrInvalid)
	}
	if v := binary.LittleEndian.Uint32(b); v != aclVersion {
		return nil, fmt.Errorf("an ACL of version %d: %w", v, ErrNotSupported)
	}
	var l acl
	for b = b[4:]; len(b) > 0; b = b[8:] {
		e := aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
		if e.tag != aclUser && e.tag != aclGroup {
			e.id = aclUndefined
		}
		l = append(l, e)
	}
	return l, l.check()
}

func (l acl) check() error {
	if len(l) == 0 {
		return nil
	}
	count := map[uint16]int{}
	last := uint16(0)
	for _, e := range l {
		several := e.tag == aclUser || e.tag == aclGroup
		switch {
		case e.tag < last, e.tag == last && !several, e.perm > 7, several && e.id == aclUndefined:
			return fmt.Errorf("ACL entry %#x: %w", e.tag, ErrInvalid)
		case e.tag&(e.tag-1) != 0 || e.tag == 0 || e.tag > aclOther:
			return fmt.Errorf("ACL tag %#x: %w", e.tag, ErrInvalid)
		}
		last = e.tag
		count[e.tag]++
	}
	named := count[aclUser]+count[aclGroup] > 0
	if count[aclUserObj] == 0 || count[aclGroupObj] == 0 || count[aclOther] == 0 || named && count[aclMask] == 0 {
		return fmt.Errorf("an ACL without one of owner, group, other and mask: %w", ErrInvalid)
	}
	return nil
}

func (l acl) encode() []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+8*len(l)), aclVersion)
	for _, e := range l {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// bits is the mode that a list amounts to, and whether a mode can say all of it. The
// group class is the mask where there is one.
func (l acl) bits() (mode uint32, all bool) {
	var mask, group uint32
	masked, all := false, true
	for _, e := range l {
		switch perm := uint32(e.perm); e.tag {
		case aclUserObj:
			mode |= perm << 6
		case aclGroupObj:
			group = perm
		case aclOther:
			mode |= perm
		case aclMask:
			mask, masked, all = perm, true, false
		default:
			all = false
		}
	}
	if masked {
		group = mask
	}
	return mode | group<<3, all
}

// narrow takes from the three classes what mode does not give, as creating a file
// below a default list does; widen sets them to mode, as chmod does. The group class is
// the mask where there is one.
func (l acl) narrow(mode uint32) {
	l.classes(func(perm, bits uint16) uint16 { return perm & bits }, mode)
}
func (l acl) widen(mode uint32) { l.classes(func(_, bits uint16) uint16 { return bits }, mode) }

func (l acl) classes(fn func(perm, bits uint16) uint16, mode uint32) {
	masked := slices.ContainsFunc(l, func(e aclEntry) bool { return e.tag == aclMask })
	for i := range l {
		e := &l[i]
		switch {
		case e.tag == aclUserObj:
			e.perm = fn(e.perm, uint16(mode>>6&7))
		case e.tag == aclMask, e.tag == aclGroupObj && !masked:
			e.perm = fn(e.perm, uint16(mode>>3&7))
		case e.tag == aclOther:
			e.perm = fn(e.perm, uint16(mode&7))
		}
	}
}

// chmod sets the permission bits, and the list's with them.
func (n *inode) chmod(mode uint32) {
	n.mode = n.mode&unix.S_IFMT | mode&0o7777
	if l, err := parseACL(n.xattrs[XattrACLAccess]); err == nil && l != nil {
		l.widen(mode)
		n.xattrs[XattrACLAccess] = l.encode()
	}
}

// inherit gives a new inode the permissions that its directory's default list says,
// or takes the caller's umask away where there is none.
func (n *inode) inherit(p *inode, umask uint32) {
	if n.mode&unix.S_IFMT == unix.S_IFLNK {
		return
	}
	b := p.xattrs[XattrACLDefault]
	l, err := parseACL(b)
	if err != nil || l == nil {
		n.mode &^= umask & 0o777
		return
	}
	l.narrow(n.mode)
	bits, all := l.bits()
	n.mode = n.mode&^0o777 | bits
	if all && !isDir(n.mode) {
		return
	}
	n.xattrs = map[string][]byte{}
	if !all {
		n.xattrs[XattrACLAccess] = l.encode()
	}
	if isDir(n.mode) {
		n.xattrs[XattrACLDefault] = b
	}
}

// plain takes away what a directory of the layout inherited: its mode is given.
func (n *inode) plain(mode uint32) {
	delete(n.xattrs, XattrACLAccess)
	delete(n.xattrs, XattrACLDefault)
	n.chmod(mode)
}

// SetACL sets the access or default list of an inode; an empty one removes it, as
// does an access list that the mode can say. With killSGID the caller is not in the
// file's group, and setting its access list takes the set-group-id bit away.
func (s *Store) SetACL(c Cred, ino Ino, name string, value []byte, killSGID bool) error {
	l, err := parseACL(value)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	n, err := s.node(ino)
	if err != nil {
		return err
	}
	switch {
	case n.mode&unix.S_IFMT == unix.S_IFLNK:
		return ErrNotSupported
	case name == XattrACLDefault && !isDir(n.mode) && l != nil:
		return unix.EACCES // as setxattr(2) of every local file system
	case len(value) > maxXattr:
		return ErrNoSpace
	}
	s.touch(n)
	n.ctime = s.o.Now()
	all := false
	if name == XattrACLAccess && l != nil {
		var bits uint32
		bits, all = l.bits()
		n.mode = n.mode&^0o777 | bits
		if killSGID {
			n.mode &^= unix.S_ISGID
		}
	}
	if l == nil || all {
		delete(n.xattrs, name)
		return nil
	}
	if n.xattrs == nil {
		n.xattrs = map[string][]byte{}
	}
	n.xattrs[name] = l.encode()
	return nil
}

// dropCapability takes a program's capabilities away, as every change of its content
// or owner does.
func (n *inode) dropCapability() {
	if n.xattrs != nil {
		delete(n.xattrs, XattrCapability)
	}
}

// Allows is the permission check of POSIX for somebody who is not the superuser: of
// the owner, the named users, the groups and the others the first that fits decides.
// in tells which groups he has; want is a sum of 4, 2 and 1.
func (a *Attr) Allows(uid uint32, in func(gid uint32) bool, want uint32) bool {
	if uid == a.UID {
		return a.Mode>>6&want == want
	}
	l, err := parseACL([]byte(a.ACL))
	if err != nil || l == nil {
		if in(a.GID) {
			return a.Mode>>3&want == want
		}
		return a.Mode&want == want
	}
	mask := a.Mode >> 3 & 7
	grouped := false
	for _, e := range l {
		perm := uint32(e.perm)
		switch {
		case e.tag == aclUser && e.id == uid:
			return perm&mask&want == want
		case e.tag == aclGroupObj && in(a.GID), e.tag == aclGroup && in(e.id):
			if perm&mask&want == want {
				return true
			}
			grouped = true
		}
	}
	return !grouped && a.Mode&want == want
}

// ReadableACL is an access list as a read-only picture of the inode shows it: of each
// entry what is left of keep, and with search the right to read is also the one to
// enter. Without a list it is nil.
func (a *Attr) ReadableACL(keep uint16, search bool) []byte {
	l, err := parseACL([]byte(a.ACL))
	if err != nil || l == nil {
		return nil
	}
	for i := range l {
		l[i].perm &= keep
		if search {
			l[i].perm |= l[i].perm & 4 >> 2
		}
	}
	return l.encode()
}
