package objects

import (
	"slices"
	"strings"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// Whoever reads a directory's small files in the order of its listing, as grep -r, tar and
// git status do, finds the next ones decoded: that is done on another processor while he
// looks at what he has.
const (
	// readStride is how far apart two files may be in the listing that are read one after
	// the other: directories and large files lie between.
	readStride = 16
	// readAheadFiles is how many entries are looked at ahead, and readAheadLeast with how few
	// of them left it goes on.
	readAheadFiles, readAheadLeast = 24, 8
)

// readingOn is how far a directory's files were read in order: the place of the last one, and
// up to where they are decoded. It holds while changes is dirNames.changes.
type readingOn struct {
	at, ahead int
	changes   uint64
	begun     bool
}

// next notes that the file at a place is read, and gives the entries to read ahead.
func (r *readingOn) next(k *dirNames, at int) []DirEntry {
	goesOn := r.begun && r.changes == k.changes && at > r.at && at <= r.at+readStride
	if !goesOn {
		*r = readingOn{at, at + 1, k.changes, true}
		return nil
	}
	r.at = at
	from := max(r.ahead, at+1)
	to := min(at+1+readAheadFiles, len(k.sorted))
	if from >= to || from > at+1+readAheadLeast {
		return nil
	}
	r.ahead = to
	return k.sorted[from:to]
}

// ReadOn is told that a small file is about to be read from its beginning to its end.
func (s *Store) ReadOn(ino Ino) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[ino]
	if n == nil {
		return
	}
	k := s.names.dirs[n.parent]
	if k == nil || k.sorted == nil {
		return
	}
	at, ok := slices.BinarySearchFunc(k.sorted, n.name, func(e DirEntry, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return
	}
	if next := k.read.next(k, at); len(next) > 0 {
		s.chunks.besides(func() { s.decodeSmall(k, next) })
	}
}

// decodeSmall decodes the small files of a listing. What cannot be read is told to who
// reads it.
func (s *Store) decodeSmall(k *dirNames, entries []DirEntry) {
	for _, e := range entries {
		s.mu.Lock()
		if uint64(k.read.at) >= e.Cookie-1 { // it is read already
			s.mu.Unlock()
			continue
		}
		n, err := s.node(e.Ino)
		var v *version
		if err == nil && isRegular(n.mode) && n.draft == nil && n.content == nil && n.size > 0 && n.size <= blob.MemoryLimit && !n.inode.version.IsZero() {
			v, err = s.version(n.object, n.inode.version)
		}
		s.mu.Unlock()
		if err == nil && v != nil && !v.isInline && v.staging == "" && !v.hot && !v.shut() && len(v.chunks) == 1 {
			_, _ = s.chunks.get(v.chunks[0].hash)
		}
	}
}
