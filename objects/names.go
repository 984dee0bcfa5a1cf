package objects

import (
	"container/list"
	"maps"
	"slices"
	"strings"
)

// nameCache keeps in memory what names directories have: where a whole directory is
// known, a name that is not there is answered without the disk, and so is whether the
// directory is empty. The overlays and the view stay the truth; what is here may be
// dropped at any time. Store.mu guards it.
type nameCache struct {
	dirs  map[Ino]*dirNames
	lru   *list.List // of *dirNames, most recently used first
	bytes int
}

type dirNames struct {
	ino      Ino
	names    map[string]dent
	complete bool
	bytes    int
	element  *list.Element
	changes  uint64     // counts changes, so that a scan without the lock knows whether it is still right
	sorted   []DirEntry // the listing, shared by all that read it; nil after a change
	read     readingOn
}

// nameCost is what a name takes in memory beside its bytes (map slot, header, dentry, its
// share of a listing), dirCost what a directory takes.
const (
	nameCost = 112
	dirCost  = 256
)

// The names that are kept: about 200,000 in all, and 80,000 of one directory.
const (
	nameBudget = 32 << 20
	dirBudget  = 12 << 20
)

func newNameCache() nameCache { return nameCache{dirs: map[Ino]*dirNames{}, lru: list.New()} }

// of gives what is known of a directory, nil for nothing.
func (c *nameCache) of(dir Ino) *dirNames {
	d := c.dirs[dir]
	if d != nil && c.lru.Front() != d.element {
		c.lru.MoveToFront(d.element)
	}
	return d
}

// add begins to keep a directory's names.
func (c *nameCache) add(dir Ino, complete bool) *dirNames {
	d := &dirNames{ino: dir, names: map[string]dent{}, complete: complete}
	d.element = c.lru.PushFront(d)
	c.dirs[dir] = d
	c.grow(d, dirCost)
	return d
}

func (c *nameCache) drop(dir Ino) {
	if d := c.dirs[dir]; d != nil {
		c.lru.Remove(d.element)
		delete(c.dirs, dir)
		c.bytes -= d.bytes
	}
}

// grow counts bytes and lets go of what is too much: of a directory that is too large,
// or of those that were not used for the longest time.
func (c *nameCache) grow(d *dirNames, n int) {
	d.bytes += n
	c.bytes += n
	if d.bytes > dirBudget {
		c.drop(d.ino)
	}
	for c.bytes > nameBudget && c.lru.Len() > 1 {
		c.drop(c.lru.Back().Value.(*dirNames).ino)
	}
}

// learn keeps a name that was found on disk.
func (c *nameCache) learn(dir Ino, name string, d dent) {
	k := c.of(dir)
	if k == nil {
		k = c.add(dir, false)
	}
	if _, ok := k.names[name]; !ok {
		name = strings.Clone(name)
		k.names[name] = d
		c.grow(k, len(name)+nameCost)
	}
}

// set follows a change: ino 0 is a removal.
func (c *nameCache) set(dir Ino, name string, d dent) {
	k := c.of(dir)
	if k == nil {
		return
	}
	k.changes++
	k.sorted = nil
	_, known := k.names[name]
	switch {
	case d.ino == 0 && known:
		delete(k.names, name)
		c.grow(k, -len(name)-nameCost)
	case d.ino == 0:
	case known:
		k.names[name] = d
	default:
		name = strings.Clone(name)
		k.names[name] = d
		c.grow(k, len(name)+nameCost)
	}
}

// keep takes a whole directory that was read while nobody changed it.
func (c *nameCache) keep(k *dirNames, entries []DirEntry) {
	n := 0
	for _, e := range entries {
		n += len(e.Name) + nameCost
	}
	if n > dirBudget {
		c.drop(k.ino)
		return
	}
	names := make(map[string]dent, len(entries))
	for _, e := range entries {
		names[e.Name] = dent{ino: e.Ino, typ: e.Type}
	}
	k.names, k.complete, k.sorted = names, true, entries
	c.grow(k, n+dirCost-k.bytes)
}

// sortEntries puts a listing into the order of names and numbers it.
func sortEntries(list []DirEntry) {
	slices.SortFunc(list, func(a, b DirEntry) int { return strings.Compare(a.Name, b.Name) })
	for i := range list {
		list[i].Cookie = uint64(i) + 1
	}
}

// list reads a directory's names. Only what is in memory is looked at under the lock;
// sorting it, and reading what is on disk, keeps nobody waiting.
func (s *Store) list(dir Ino) ([]DirEntry, error) {
	s.mu.Lock()
	k := s.names.of(dir)
	if k != nil && k.sorted != nil {
		defer s.mu.Unlock()
		return k.sorted, nil
	}
	if k == nil {
		k = s.names.add(dir, false)
	}
	changes := k.changes
	var entries []DirEntry
	if k.complete {
		entries = make([]DirEntry, 0, len(k.names))
		for name, d := range k.names {
			entries = append(entries, DirEntry{Name: name, Ino: d.ino, Type: d.typ})
		}
		s.mu.Unlock()
	} else {
		pending := map[string]pendingDent{}
		for _, ov := range []*overlay{s.committing, s.open} {
			if ov != nil {
				maps.Copy(pending, ov.dents[dir])
			}
		}
		view := s.db.View() // with the overlays of this moment it is the state of this moment
		s.mu.Unlock()
		prefix := dentPrefix(dir)
		for key, v := range view.Scan(prefix, nil) {
			if _, ok := pending[string(key[len(prefix):])]; ok {
				continue
			}
			if d, err := decodeDent(v); err == nil {
				entries = append(entries, DirEntry{Name: string(key[len(prefix):]), Ino: d.ino, Type: d.typ})
			}
		}
		err := view.Err()
		view.Close()
		if err != nil {
			return nil, err
		}
		for name, d := range pending {
			if d.ino != 0 {
				entries = append(entries, DirEntry{Name: name, Ino: d.ino, Type: d.typ})
			}
		}
	}
	if entries == nil {
		entries = []DirEntry{}
	}
	sortEntries(entries)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names.dirs[dir] == k && k.changes == changes {
		if k.complete {
			k.sorted = entries
		} else {
			s.names.keep(k, entries)
		}
	}
	return entries, nil
}
