package objects

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Snapshot is the whole tree as it was at one sealed epoch, read-only. It must be
// closed. What was purged or quarantined since is not shown (T-6).
type Snapshot struct {
	s *Store
	v *kv.View
}

// At opens the tree as it was at t: the newest sealed epoch that is not later.
func (s *Store) At(t time.Time) (*Snapshot, error) {
	if limit := s.o.Now().Add(-s.o.Retention); t.Before(limit) && !s.isPinned(t) {
		return nil, ErrHorizon
	}
	v, err := s.db.ViewAt(kv.At(t))
	if errors.Is(err, kv.ErrHorizon) {
		return nil, ErrHorizon
	}
	if err != nil {
		return nil, err
	}
	return &Snapshot{s, v}, nil
}

// Time is the moment of the epoch that the snapshot shows.
func (sn *Snapshot) Time() time.Time { return sn.v.Time() }

// Close lets go of the snapshot.
func (sn *Snapshot) Close() { sn.v.Close() }

func (sn *Snapshot) inode(ino Ino) (*inode, error) {
	b, err := sn.v.Get(inoKey(ino))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	n, err := decodeInode(b)
	if err != nil || !n.drafted || n.large().staging == "" {
		return n, err
	}
	// A large file was being written: its staging file has gone on since, so the past
	// shows the version below.
	n.size, n.blocks = 0, 0
	if v, err := sn.version(n); err == nil {
		n.size, n.blocks = v.size, (v.size+511)/512
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return n, nil
}

// version reads the version that an inode named.
func (sn *Snapshot) version(n *inode) (*version, error) {
	if n.version.IsZero() {
		return nil, ErrNotFound
	}
	b, err := sn.v.Get(verKey(n.object, n.version))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("version %s: %w", n.version, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return decodeVersion(b)
}

// GetAttr gives an inode's attributes as they were. A file whose bytes of that time nobody
// may have today is not there (T-6).
func (sn *Snapshot) GetAttr(ino Ino) (Attr, error) {
	n, err := sn.inode(ino)
	if err == nil {
		err = sn.shown(n)
	}
	if err != nil {
		return Attr{}, err
	}
	return n.attr(), nil
}

// shown looks at what is known today of a file of the past: whether the version that it
// had was purged or put in quarantine since.
func (sn *Snapshot) shown(n *inode) error {
	if !isRegular(n.mode) || n.drafted || n.version.IsZero() {
		return nil
	}
	sn.s.mu.Lock()
	v, err := sn.s.findVersion(n.version)
	sn.s.mu.Unlock()
	if err == nil && v.shut() {
		err = fmt.Errorf("version %s is in quarantine: %w", v.id, ErrNotFound)
	}
	return err
}

// Lookup finds a name as it was bound.
func (sn *Snapshot) Lookup(parent Ino, name string) (Attr, error) {
	b, err := sn.v.Get(dentKey(parent, name))
	if errors.Is(err, kv.ErrNotFound) {
		return Attr{}, ErrNotFound
	}
	if err != nil {
		return Attr{}, err
	}
	d, err := decodeDent(b)
	if err != nil {
		return Attr{}, err
	}
	return sn.GetAttr(d.ino)
}

// Resolve finds what a path named.
func (sn *Snapshot) Resolve(path string) (Attr, error) {
	a, err := sn.GetAttr(RootIno)
	for _, name := range splitPath(path) {
		if err != nil {
			return Attr{}, err
		}
		a, err = sn.Lookup(a.Ino, name)
	}
	if err != nil {
		return Attr{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// List gives a directory's entries as they were.
func (sn *Snapshot) List(dir Ino) ([]DirEntry, error) {
	n, err := sn.inode(dir)
	if err != nil {
		return nil, err
	}
	if !isDir(n.mode) {
		return nil, ErrNotDir
	}
	var list []DirEntry
	prefix := dentPrefix(dir)
	for k, v := range sn.v.Scan(prefix, nil) {
		if d, err := decodeDent(bytes.Clone(v)); err == nil {
			list = append(list, DirEntry{Name: string(k[len(prefix):]), Ino: d.ino, Type: d.typ, Cookie: uint64(len(list)) + 1})
		}
	}
	return list, nil
}

// Readlink gives a symbolic link's target.
func (sn *Snapshot) Readlink(ino Ino) (string, error) {
	n, err := sn.inode(ino)
	if err != nil {
		return "", err
	}
	if n.mode&unix.S_IFMT != unix.S_IFLNK {
		return "", ErrInvalid
	}
	return n.target, nil
}

// GetXattr and ListXattr give the extended attributes as they were.
func (sn *Snapshot) GetXattr(ino Ino, name string) ([]byte, error) {
	n, err := sn.inode(ino)
	if err != nil {
		return nil, err
	}
	v, ok := n.xattrs[name]
	if !ok {
		return nil, ErrNoXattr
	}
	return v, nil
}

// ListXattr is described at GetXattr.
func (sn *Snapshot) ListXattr(ino Ino) ([]string, error) {
	n, err := sn.inode(ino)
	if err != nil {
		return nil, err
	}
	var names []string
	for k := range n.xattrs {
		names = append(names, k)
	}
	sort.Strings(names)
	return names, nil
}

// Open opens a file's content as it was.
func (sn *Snapshot) Open(ino Ino) (Reader, error) {
	n, err := sn.inode(ino)
	if err != nil {
		return nil, err
	}
	if !isRegular(n.mode) {
		return nil, ErrInvalid
	}
	if n.drafted && n.large().staging == "" {
		return memContent{bytes.NewReader(n.draft)}, nil
	}
	if n.version.IsZero() {
		return memContent{bytes.NewReader(nil)}, nil
	}
	v, err := sn.version(n)
	if err != nil {
		return nil, err
	}
	return sn.s.openToday(v)
}

// openToday opens an old version's bytes, after a look at what is known of it today.
func (s *Store) openToday(v *version) (Reader, error) {
	s.mu.Lock()
	now, err := s.findVersion(v.id)
	s.mu.Unlock()
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("version %s: its retention is over: %w", v.id, ErrNotFound)
	}
	if err == nil {
		if now.shut() {
			return nil, fmt.Errorf("version %s is %w", v.id, ErrQuarantined)
		}
		v = now // sealed since, perhaps
	}
	c, err := s.openVersion(v)
	if err != nil {
		return nil, err
	}
	return s.guard(c, v.id), nil
}
