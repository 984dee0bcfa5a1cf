package objects

import (
	"context"
	"fmt"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

var bg = context.Background()

// revival is a name that is brought back, with what lay below it.
type revival struct {
	entry TrashEntry
	below []revival
}

// Restore brings a removed name back as `name` in a directory of the same scope: the
// object becomes ACTIVE again with all that it had (filesystem.md §3). A directory comes
// with what was removed in one sweep with it.
func (s *Store) Restore(c Cred, e TrashEntry, parent Ino, name string) (Attr, error) {
	r := revival{entry: e}
	if e.Dead && isDir(e.Attr.Mode) {
		var err error
		if r.below, _, err = s.sweep(e.Attr.Ino, e.died()); err != nil {
			return Attr{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.place(parent, name)
	if err != nil {
		return Attr{}, err
	}
	if e.Object.Scope != p.scope {
		return Attr{}, ErrCrossScope
	}
	if bytes, files := r.takes(); files > 0 {
		if err := s.room(p.scope, bytes, files); err != nil {
			return Attr{}, err
		}
	}
	n, err := s.revive(c, r, p, name)
	if err != nil {
		return Attr{}, err
	}
	return s.attrOf(n), nil
}

// takes is what a revival adds to the usage of its scope.
func (r revival) takes() (bytes, files int64) {
	if r.entry.Dead {
		files = 1
		if isRegular(r.entry.Attr.Mode) {
			bytes = r.entry.Attr.Size
		}
	}
	for _, b := range r.below {
		x, n := b.takes()
		bytes, files = bytes+x, files+n
	}
	return bytes, files
}

// sweep gathers what was removed with a directory: its names back to the first pause
// that is longer than sweepGap; began is when the removal started.
func (s *Store) sweep(dir Ino, at time.Time) (list []revival, began time.Time, err error) {
	entries, err := s.TrashIn(dir)
	if err != nil {
		return nil, at, err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if e.At.After(at) {
			continue
		}
		if at.Sub(e.At) > sweepGap {
			break
		}
		r := revival{entry: e}
		at = e.At
		if e.Dead && isDir(e.Attr.Mode) {
			if r.below, at, err = s.sweep(e.Attr.Ino, e.died()); err != nil {
				return nil, at, err
			}
		}
		if seen[e.Name] {
			continue // an editor replaced it shortly before
		}
		seen[e.Name] = true
		list = append(list, r)
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].entry.At.Before(list[j].entry.At) })
	return list, at, nil
}

// revive binds a removed name again; s.mu is held.
func (s *Store) revive(c Cred, r revival, p *node, name string) (*node, error) {
	obj := r.entry.Object.ID
	g, err := s.graveOf(obj)
	if err != nil {
		return nil, err
	}
	o, err := s.editObject(obj)
	if err != nil {
		return nil, err
	}
	if o.life == Purged {
		return nil, fmt.Errorf("%s: its retention is over: %w", name, ErrNotFound)
	}
	var n *node
	switch {
	case g.can: // it lies in a trash can, under another name perhaps
		if n, err = s.node(o.ino); err != nil {
			return nil, err
		}
		from, err := s.node(n.parent)
		if err != nil {
			return nil, err
		}
		s.move(from, p, n, n.name, name, s.named(n))
		s.unbury(obj)
	case g.inode != nil:
		n = s.exhume(g.inode, p, name)
		if isDir(n.mode) {
			p.nlink++ // bind touches it
		}
		s.bind(p, n, name)
		s.forgetName(obj, g, r.entry)
	default: // a further name of a living file
		if n, err = s.node(o.ino); err != nil {
			return nil, err
		}
		if n.nlink >= maxLinks {
			return nil, ErrTooManyLinks
		}
		s.addName(n, p, name)
		s.forgetName(obj, g, r.entry)
		return n, nil
	}
	o.life, o.retiredAt, o.oldParent, o.ino, o.name = Active, time.Time{}, 0, n.ino, name
	s.workOf(c).moves++
	s.open.change.Inos = append(s.open.change.Inos, n.ino)
	for _, b := range r.below {
		if _, taken, err := s.dent(n.ino, b.entry.Name); err != nil || taken {
			continue
		}
		if _, err := s.revive(c, b, n, b.entry.Name); err != nil {
			s.o.Logger.Warn("a name of a restored directory stays in the trash", "name", b.entry.Name, "error", err)
		}
	}
	return n, nil
}

// exhume gives an inode its life back, the same number included: who still holds it open
// goes on with it.
func (s *Store) exhume(rec *inode, p *node, name string) *node {
	n := s.nodes[rec.ino]
	if n == nil {
		n = &node{inode: rec.clone(), kept: true}
		s.nodes[n.ino] = n
		n.element = s.idle.PushFront(n)
	}
	delete(s.open.puts, string(inoKey(n.ino)))
	n.orphan = true
	s.unorphan(n)
	s.touch(n)
	n.nlink, n.parent, n.name, n.ctime, n.path = 1, p.ino, name, s.o.Now(), ""
	if isDir(n.mode) {
		// The kernel may have the removed directory marked as dead: it is another one now.
		n.nlink, n.gen = 2, n.gen+1
	}
	s.count(n)
	return n
}

// addName gives a file that has one a further name.
func (s *Store) addName(n, p *node, name string) {
	s.touch(n)
	s.open.puts[string(linkKey(n.ino, n.parent, n.name))] = []byte{}
	s.open.puts[string(linkKey(n.ino, p.ino, name))] = []byte{}
	n.nlink++
	n.ctime = s.o.Now()
	s.bind(p, n, name)
}

// forgetName takes a name that is back out of the grave; the others stay, for they may
// belong to another directory that is restored next.
func (s *Store) forgetName(obj ID, g *grave, e TrashEntry) {
	left := &grave{}
	index := graveIndexKey(e.Dir, obj)
	s.open.puts[string(index)] = nil
	for _, n := range g.names {
		if n.dir == e.Dir && n.name == e.Name {
			continue
		}
		left.names = append(left.names, n)
		if n.dir == e.Dir {
			s.open.puts[string(index)] = graveIndex(n, e.Attr.UID)
		}
	}
	s.open.puts[string(trashKey(obj))] = nil
	if len(left.names) > 0 {
		s.open.puts[string(trashKey(obj))] = left.encode()
	}
	s.trashSeq++
}

// EnsureCan makes a subject's trash can, .Trash/<uid>, of its owner alone.
func (s *Store) EnsureCan(ctx context.Context, c Cred, group, user string) (Attr, error) {
	scope := Scope{Kind: ScopeTrash}
	if _, err := s.EnsureDir(ctx, CanName, unix.S_ISVTX|0o777, 0, 0, scope); err != nil {
		return Attr{}, err
	}
	scope.Group, scope.User = group, user
	return s.EnsureDir(ctx, fmt.Sprintf("%s/%d", CanName, c.UID), 0o700, c.UID, c.GID, scope)
}

// CanName is the directory of the trash cans, in the root.
const CanName = ".Trash"

// crossing tells how a rename stands to the scopes: whether it may be, and whether it
// goes into a trash can or out of one. What lies in a can goes back to its own scope only.
func crossing(from, to, n Scope) (in, out bool, err error) {
	fromCan, toCan := from.Kind == ScopeTrash, to.Kind == ScopeTrash
	switch {
	case from == to && (fromCan || n == to):
		return false, false, nil
	case toCan && !fromCan && n.Kind != ScopeTrash && to.User+to.Group != "":
		return true, false, nil
	case fromCan && !toCan && n == to:
		return false, true, nil
	}
	return false, false, ErrCrossScope
}

// HideTrash takes a name out of what Trash and TrashIn show. Nothing else changes: its
// versions are kept as long as its retention lasts.
func (s *Store) HideTrash(c Cred, e TrashEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	s.open.puts[string(graveIndexKey(e.Dir, e.Object.ID))] = nil
	s.trashSeq++
	return nil
}
