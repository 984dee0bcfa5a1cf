package objects

import "strings"

// Unlink removes a name of anything but a directory.
func (s *Store) Unlink(c Cred, parent Ino, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, n, err := s.bound(parent, name)
	if err != nil {
		return err
	}
	if isDir(n.mode) {
		return ErrIsDir
	}
	s.unbind(c, p, n, name)
	return nil
}

// bound finds what a name is bound to, for its removal or renaming.
func (s *Store) bound(parent Ino, name string) (p, n *node, err error) {
	if err := s.writable(); err != nil {
		return nil, nil, err
	}
	if len(name) > MaxName {
		return nil, nil, ErrNameTooLong
	}
	if p, err = s.dir(parent); err != nil {
		return nil, nil, err
	}
	d, ok, err := s.dent(parent, name)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, ErrNotFound
	}
	n, err = s.node(d.ino)
	return p, n, err
}

// unbind takes a name away from a file; with the last one its object retires.
func (s *Store) unbind(c Cred, p, n *node, name string) {
	s.observe(n) // what the kernel has written by itself was written before this
	now := s.o.Now()
	s.setDent(p.ino, name, dent{})
	s.touch(p)
	p.mtime, p.ctime = now, now
	s.touch(n)
	n.ctime = now
	n.nlink--
	switch {
	case isDir(n.mode): // removeDir goes on
	case n.nlink > 0:
		s.dropLink(n, p.ino, name)
		s.bury(c, n, p.ino, name, false, false)
	default:
		s.retire(c, n, p.ino, name)
	}
	s.changed(p.ino, name)
}

// dropLink forgets one of several names, and picks another one to be called by.
func (s *Store) dropLink(n *node, dir Ino, name string) {
	s.open.puts[string(linkKey(n.ino, dir, name))] = nil
	if n.parent != dir || n.name != name {
		return
	}
	if l, ok := s.otherLink(n, dir, name); ok {
		n.parent, n.name = l.dir, l.name
	}
}

// otherLink finds one name of a file that has several, the next after the one that has
// just been removed if there is one: whoever removes all of them mostly goes forward, and
// would remove the first that is left next, and look past all that are gone each time.
func (s *Store) otherLink(n *node, dir Ino, name string) (link, bool) {
	prefix, gone := linkPrefix(n.ino), linkKey(n.ino, dir, name)
	removed := func(key []byte) bool {
		for _, ov := range []*overlay{s.open, s.committing} {
			if ov != nil {
				if v, ok := ov.puts[string(key)]; ok {
					return v == nil
				}
			}
		}
		return false
	}
	for _, from := range [][]byte{gone, nil} {
		for k := range s.view.ScanKeys(prefix, from) {
			if !removed(k) {
				return linkOf(k, prefix)
			}
		}
	}
	for _, ov := range []*overlay{s.open, s.committing} {
		if ov == nil {
			continue
		}
		for k := range ov.puts {
			if strings.HasPrefix(k, string(prefix)) && !removed([]byte(k)) {
				return linkOf([]byte(k), prefix)
			}
		}
	}
	return link{}, false
}

// retire ends an object's life in the tree; its versions stay (OM §3).
func (s *Store) retire(c Cred, n *node, dir Ino, name string) {
	if o, err := s.editObject(n.object); err == nil && o.ino == n.ino {
		if o.life != Retired { // else it lay in a trash can
			o.life, o.retiredAt, o.name, o.oldParent = Retired, s.o.Now(), name, dir
		}
		s.bury(c, n, dir, name, true, false)
		n.buried, n.buriedAt = n.writes, s.o.Now().UnixNano()
		if isRegular(n.mode) { // a directory or a link is not what a new file goes on with
			s.recent[recentKey{dir, name}] = recentUnlink{o.id, c.Subject, s.o.Now()}
			if len(s.recent) > s.recentMost {
				s.forgetRecent()
			}
		}
		s.workOf(c).moves++
		if !o.current.IsZero() {
			s.open.superseded = append(s.open.superseded, o.current)
		}
	}
	s.count(n)
	if s.held(n) {
		s.orphaned(n)
		return
	}
	s.reap(n)
}

// orphaned notes that an inode lives without a name, so that a crash does not leave it
// behind for good.
func (s *Store) orphaned(n *node) {
	key := string(orphanKey(n.ino))
	if v, ok := s.open.puts[key]; ok && v == nil {
		n.orphanOld = true
	}
	n.orphan = true
	s.open.puts[key] = []byte{}
}

// unorphan takes that note back. A closed epoch may hold it, unless it is of the open one.
func (s *Store) unorphan(n *node) {
	if !n.orphan {
		return
	}
	n.orphan = false
	key := string(orphanKey(n.ino))
	if v, ok := s.open.puts[key]; ok && v != nil && !n.orphanOld {
		delete(s.open.puts, key)
		return
	}
	s.open.puts[key] = nil
}

// recentLeast is how many removed names are remembered before any is looked through.
const recentLeast = 10_000

// forgetRecent drops the removed names whose time is over. The next look comes when there
// are twice as many as are left, so that removing a big tree costs no more a name.
func (s *Store) forgetRecent() {
	now := s.o.Now()
	for k, r := range s.recent {
		if now.Sub(r.at) > recreateWithin {
			delete(s.recent, k)
		}
	}
	s.recentMost = max(recentLeast, 2*len(s.recent))
}

// Rmdir removes an empty directory.
func (s *Store) Rmdir(c Cred, parent Ino, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, n, err := s.bound(parent, name)
	if err != nil {
		return err
	}
	if !isDir(n.mode) {
		return ErrNotDir
	}
	if !s.emptyDir(n.ino) {
		return ErrNotEmpty
	}
	s.removeDir(c, p, n, name)
	return nil
}

func (s *Store) removeDir(c Cred, p, n *node, name string) {
	s.unbind(c, p, n, name) // nlink 2 → 1: "." is left
	n.nlink = 0
	p.nlink--
	s.retire(c, n, p.ino, name)
}

func (s *Store) emptyDir(ino Ino) bool {
	if k := s.names.of(ino); k != nil && (k.complete || len(k.names) > 0) {
		return len(k.names) == 0
	}
	removed := map[string]bool{}
	for _, ov := range []*overlay{s.open, s.committing} {
		if ov == nil {
			continue
		}
		for name, d := range ov.dents[ino] {
			if removed[name] {
				continue
			}
			if d.ino != 0 {
				return false
			}
			removed[name] = true
		}
	}
	prefix := dentPrefix(ino)
	for k := range s.view.ScanKeys(prefix, nil) {
		if !removed[string(k[len(prefix):])] {
			return false
		}
	}
	return true
}
