package objects

import (
	"golang.org/x/sys/unix"
)

// evict forgets clean inodes that nobody holds, the least recently used first.
func (s *Store) evict() { s.evictTo(s.o.CacheNodes, evictStep) }

// evictStep bounds what one eviction looks at: the kernel may hold all inodes that are
// remembered, and a walk of a large tree adds to them one by one.
const evictStep = 16

// evictTo looks at up to most inodes, while more than keep are remembered.
func (s *Store) evictTo(keep, most int) {
	for e := s.idle.Back(); s.idle.Len() > keep && e != nil && most > 0; most-- {
		n := e.Value.(*node)
		prev := e.Prev()
		if n.refs == 0 && n.dirty == nil && n.draft == nil && n.content == nil && (s.committing == nil || s.committing.inodes[n.ino] == nil) {
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

// Ref tells the store that the kernel (or anybody) holds the inode; Forget lets n
// such holds go. An inode that is unlinked lives as long as it is held.
func (s *Store) Ref(ino Ino) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := s.node(ino); err == nil {
		n.refs++
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
		n.refs++
		attrs[i] = s.attrOf(n)
	}
}

// Forget is described at Ref.
func (s *Store) Forget(ino Ino, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if nd := s.nodes[ino]; nd != nil {
		nd.refs -= int(min(n, uint64(nd.refs)))
		s.reap(nd)
	}
}

// reap removes an inode that has neither a name nor a holder.
func (s *Store) reap(n *node) {
	if n.nlink != 0 || n.refs != 0 {
		return
	}
	if s.writable() != nil {
		return
	}
	s.count(n)
	if n.kept || s.committing != nil && s.committing.inodes[n.ino] != nil {
		s.open.puts[string(inoKey(n.ino))] = nil
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
