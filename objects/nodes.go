package objects

import (
	"errors"
	"fmt"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Inodes and objects, in memory and on disk. All of this is called with s.mu held.

// node finds an inode, in memory or on disk.
func (s *Store) node(ino Ino) (*node, error) {
	if n := s.nodes[ino]; n != nil {
		if n.element != nil {
			s.idle.MoveToFront(n.element)
		}
		return n, nil
	}
	b, err := s.get(inoKey(ino)) // an epoch that is not on disk yet may have removed it
	if errors.Is(err, kv.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	rec, err := decodeInode(b)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	if at, ok := s.reads.get(ino, rec.ctime); ok {
		rec.atime = at
	}
	n := &node{inode: *rec, kept: true, noted: rec.drafted, counted: countOf(rec)}
	if n.counted.live {
		n.scope = n.counted.scope.Value() // one copy of its names for all
	}
	s.evict() // before it is in the list: nobody holds it yet
	s.nodes[ino] = n
	n.element = s.idle.PushFront(n)
	return n, nil
}

// touch marks a node changed in the open epoch. Inside a transaction its record is
// kept first, so that an abort can put it back.
func (s *Store) touch(n *node) {
	if n.dirty == s.open {
		return
	}
	if s.open.saved != nil {
		s.open.saved[n] = n.inode.clone()
	}
	if n.dirty != nil && n.dirty == s.committing {
		// The epoch before is being encoded and has not come to this one yet.
		s.committing.before[n] = n.encode()
	}
	n.dirty, n.lazy = s.open, false
	s.open.inodes[n.ino] = n
}

// mostCreds is when the credentials that nobody may name any more are let go.
const mostCreds = 1000

// credOf gives the one copy of a credential: a million files that one program wrote name it.
func (s *Store) credOf(c Cred) *Cred {
	p := s.creds[c]
	if p == nil {
		if len(s.creds) >= mostCreds {
			clear(s.creds)
		}
		kept := c // c itself stays off the heap
		p = &kept
		s.creds[c] = p
	}
	return p
}

// author is who wrote last; nobody for a file that was not written since it was read in.
func (n *node) author() Cred {
	if n.lastCred == nil {
		return Cred{}
	}
	return *n.lastCred
}

func (n *inode) clone() inode {
	c := *n
	if n.xattrs != nil {
		c.xattrs = make(map[string][]byte, len(n.xattrs))
		for k, v := range n.xattrs {
			c.xattrs[k] = v
		}
	}
	return c
}

// dent finds what a name is bound to.
func (s *Store) dent(dir Ino, name string) (dent, bool, error) {
	k := s.names.of(dir)
	if k != nil {
		if d, ok := k.names[name]; ok {
			return d, true, nil
		}
		if k.complete {
			return dent{}, false, nil
		}
	}
	for _, ov := range []*overlay{s.open, s.committing} {
		if ov == nil {
			continue
		}
		if d, ok := ov.dents[dir][name]; ok {
			return d.dent, d.ino != 0, nil
		}
	}
	key := recentKey{dir, name}
	if s.missed == key {
		return dent{}, false, nil
	}
	b, err := s.view.Get(dentKey(dir, name))
	if errors.Is(err, kv.ErrNotFound) {
		s.missed = key
		return dent{}, false, nil
	}
	if err != nil {
		return dent{}, false, err
	}
	d, err := decodeDent(b)
	if err == nil {
		s.names.learn(dir, name, d)
	}
	return d, err == nil, err
}

// setDent binds a name in the open epoch; the zero dent unbinds it. A name that was bound
// in this epoch for the first time leaves no trace when it is unbound in it.
func (s *Store) setDent(dir Ino, name string, d dent) {
	m := s.open.dents[dir]
	old, ok := m[name]
	fresh := old.fresh
	if !ok {
		_, bound, err := s.dent(dir, name)
		fresh = err == nil && !bound
	}
	s.names.set(dir, name, d)
	s.missed = recentKey{}
	if d.ino == 0 && fresh {
		delete(m, name)
		if m != nil && len(m) == 0 {
			delete(s.open.dents, dir)
		}
		return
	}
	if m == nil {
		m = map[string]pendingDent{}
		s.open.dents[dir] = m
	}
	m[name] = pendingDent{d, fresh}
}

// get reads any other record through the epochs that are not on disk yet.
func (s *Store) get(key []byte) ([]byte, error) {
	for _, ov := range []*overlay{s.open, s.committing} {
		if ov == nil {
			continue
		}
		if v, ok := ov.puts[string(key)]; ok {
			if v == nil {
				return nil, kv.ErrNotFound
			}
			return v, nil
		}
	}
	if b := s.records.get(key); b != nil {
		return b, nil
	}
	b, err := s.view.Get(key)
	if err == nil && cachedRecord(string(key[:1])) {
		s.records.set(string(key), b)
	}
	return b, err
}

// object gives the object's record for reading; change it with editObject.
func (s *Store) object(id ID) (*object, error) {
	if id.IsZero() {
		return nil, ErrNotFound
	}
	for _, ov := range []*overlay{s.open, s.committing} {
		if ov != nil && ov.objs[id] != nil {
			return ov.objs[id], nil
		}
	}
	b, err := s.view.Get(objKey(id))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("object %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return decodeObject(b)
}

// editObject gives the object's record for a change in the open epoch.
func (s *Store) editObject(id ID) (*object, error) {
	if o := s.open.objs[id]; o != nil {
		return o, nil
	}
	o, err := s.object(id)
	if err != nil {
		return nil, err
	}
	c := *o
	c.labels = append([]string{}, o.labels...)
	s.open.objs[id] = &c
	return &c, nil
}

func (s *Store) putVersion(v *version) {
	s.open.puts[string(verKey(v.object, v.id))] = v.encode()
	s.open.puts[string(verIndexKey(v.id))] = append([]byte{}, v.object.u[:]...)
	if v.staging != "" {
		s.open.puts[string(stagedKey(v.id))] = []byte{}
	}
}

func (s *Store) version(obj, ver ID) (*version, error) {
	if ver.IsZero() {
		return nil, ErrNotFound
	}
	b, err := s.get(verKey(obj, ver))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("version %s: %w", ver, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return decodeVersion(b)
}

// versionOf reads a version that a file shows or showed. Another file may have gone on as
// the object of one that has lost its name, and have taken the version along to another.
func (s *Store) versionOf(n *node, ver ID) (*version, error) {
	v, err := s.version(n.object, ver)
	if errors.Is(err, ErrNotFound) && n.nlink == 0 {
		return s.findVersion(ver)
	}
	return v, err
}

// writable refuses changes of a store that is read-only or broken.
func (s *Store) writable() error {
	if s.o.ReadOnly {
		return ErrReadOnly
	}
	if s.broken != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, s.broken)
	}
	if s.delayed != nil {
		return ErrNoSpace
	}
	return nil
}
