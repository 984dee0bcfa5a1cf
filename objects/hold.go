package objects

import (
	"maps"

	"golang.org/x/sys/unix"
)

// lookups counts how often the kernel was given an inode and has not let go of it. The
// kernel of a machine with much memory holds every file that was ever looked at, so what
// is counted here need not be remembered: an inode that has a name is read in again.
type lookups struct {
	m    map[Ino]uint64
	most int // that there were since the table was made: a map never shrinks
}

func newLookups() lookups { return lookups{m: map[Ino]uint64{}} }

func (l *lookups) add(ino Ino) {
	l.m[ino]++
	l.most = max(l.most, len(l.m))
}

func (l *lookups) drop(ino Ino, n uint64) {
	if had := l.m[ino]; had > n {
		l.m[ino] = had - n
	} else {
		delete(l.m, ino)
	}
}

// shrink gives back the room of what the kernel has let go of.
func (l *lookups) shrink() {
	if l.most > 1024 && len(l.m) < l.most/4 {
		m := make(map[Ino]uint64, len(l.m))
		maps.Copy(m, l.m)
		l.m, l.most = m, len(m)
	}
}

// held tells whether anybody holds an inode; s.mu is held.
func (s *Store) held(n *node) bool { return n.refs > 0 || s.lookups.m[n.ino] > 0 }

// evict forgets clean inodes that nobody has open, the least recently used first.
func (s *Store) evict() { s.evictTo(s.o.CacheNodes, evictStep) }

// evictStep bounds what one eviction looks at: all inodes that are remembered may be open,
// or changed in an epoch that is not on disk yet.
const evictStep = 16

// evictTo looks at up to most inodes, while more than keep are remembered.
func (s *Store) evictTo(keep, most int) {
	for e := s.idle.Back(); s.idle.Len() > keep && e != nil && most > 0; most-- {
		n := e.Value.(*node)
		prev := e.Prev()
		if (n.nlink > 0 && n.refs == 0 || !s.held(n)) && n.dirty == nil && n.draft == nil && n.content == nil && (s.committing == nil || s.committing.inodes[n.ino] == nil) {
			s.idle.Remove(e)
			n.element = nil
			delete(s.nodes, n.ino)
		} else {
			s.idle.MoveToFront(e)
		}
		e = prev
	}
}

// The inodes that a store at rest remembers, and how many are looked at in one go, so that
// a request waits no longer than a tenth of a millisecond.
const (
	restNodes = 1024
	restStep  = 512
)

// Rest gives up what is only remembered, for a store that nobody uses: it can all be read
// again (measured: 1 KiB for each of the last 100,000 files).
func (s *Store) Rest() {
	s.mu.Lock()
	s.records.clear()
	s.lookups.shrink()
	s.mu.Unlock()
	for {
		s.mu.Lock()
		before := s.idle.Len()
		s.evictTo(restNodes, restStep)
		after := s.idle.Len()
		s.mu.Unlock()
		if after == before { // the rest of them are held
			return
		}
	}
}

// Mapped calls fn with files that the store has mapped into memory, and that stay mapped
// until fn returns.
func (s *Store) Mapped(fn func(files []string)) error { return s.db.Mapped(fn) }

// Ref tells the store that the kernel holds the inode; Forget lets n such holds go. An
// inode that is unlinked lives as long as it is held.
func (s *Store) Ref(ino Ino) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.node(ino); err == nil {
		s.lookups.add(ino)
	}
}

// Held gives the attributes of a directory's entries and a hold of each, as Ref does. An
// entry that has gone since it was listed has the inode number 0 and no hold.
func (s *Store) Held(entries []DirEntry, attrs []Attr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range entries {
		n, err := s.node(e.Ino)
		if err != nil || n.nlink == 0 {
			attrs[i] = Attr{}
			continue
		}
		s.lookups.add(n.ino)
		attrs[i] = s.attrOf(n)
	}
}

// Forget is described at Ref.
func (s *Store) Forget(ino Ino, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups.drop(ino, n)
	if nd := s.nodes[ino]; nd != nil {
		s.reap(nd)
	}
}

// unref takes one of the node's refs back.
func (s *Store) unref(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.refs--
	s.reap(n)
}

// reapAll removes all inodes without a name, for a store that is about to be closed: nobody
// holds them then. s.mu is held.
func (s *Store) reapAll() {
	var lost []*node
	for _, n := range s.nodes {
		if n.nlink == 0 {
			lost = append(lost, n)
		}
	}
	for _, n := range lost {
		n.refs = 0
		delete(s.lookups.m, n.ino)
		s.reap(n)
	}
}

// reap removes an inode that has neither a name nor a holder.
func (s *Store) reap(n *node) {
	if n.nlink != 0 || s.held(n) {
		return
	}
	if s.writable() != nil {
		return
	}
	s.count(n)
	if n.kept || s.committing != nil && s.committing.inodes[n.ino] != nil {
		s.open.puts[string(inoKey(n.ino))] = nil
	}
	if n.noted {
		s.open.puts[string(draftKey(n.ino))] = nil
	}
	s.unorphan(n)
	delete(s.open.inodes, n.ino)
	if isDir(n.mode) {
		s.names.drop(n.ino)
	}
	if n.element != nil {
		s.idle.Remove(n.element)
		n.element = nil
	}
	delete(s.nodes, n.ino)
	if n.content != nil {
		n.content.Close()
		n.content = nil
	}
	if n.draft != nil {
		delete(s.drafts, n)
		// An earlier epoch may name the staging file: it goes when this one is durable.
		if id := n.draft.Staging(); id != "" {
			s.open.gone = append(s.open.gone, id)
		}
		if err := n.draft.Release(); err != nil {
			s.o.Logger.Warn("a draft could not be closed", "error", err)
		}
		n.draft = nil
	}
}

// StatFS is the file system's room, of the disk below.
type StatFS struct {
	BlockSize               uint32
	Blocks, Free, Available uint64
	Files, FilesFree        uint64
}

// StatFS reports the disk under the store; files are bounded by it as well.
func (s *Store) StatFS() (StatFS, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.o.Dir, &st); err != nil {
		return StatFS{}, err
	}
	s.mu.Lock()
	used := uint64(s.nextIno)
	s.mu.Unlock()
	return StatFS{uint32(st.Bsize), st.Blocks, st.Bfree, st.Bavail, used + st.Ffree, st.Ffree}, nil
}
