package objects

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// breakOff makes the host file that readers have of a version the file's draft, and
// gives the version another: it is on disk before the first write to the old one can be.
// n.io is held for writing, s.mu is free. It gives nil where the version does not need
// that file, and the draft must be made the ordinary way.
func (s *Store) breakOff(n *node) (*blob.Draft, error) {
	p := n.pin
	s.mu.Lock()
	current, name := n.inode.version, p.name
	s.mu.Unlock()
	if p.version != current {
		return nil, nil
	}
	if name == "" {
		var err error
		if name, err = s.moveVersion(n, p); err != nil || name == "" {
			return nil, err
		}
	}
	f, err := s.blobs.OpenStaging(name)
	if err != nil {
		return nil, fmt.Errorf("open for writing: %w", err)
	}
	d, err := blob.Adopted(s.blobs, f, name)
	if err == nil {
		s.mu.Lock()
		mtime := n.mtime
		s.mu.Unlock()
		err = d.Lend(mtime)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.mu.Lock()
	p.name, p.version = "", ID{}
	s.mu.Unlock()
	return d, nil
}

// moveVersion gives the version that a lent file holds a file of its own, under the name
// that it is found by, and the lent one a name in staging/.
func (s *Store) moveVersion(n *node, p *pin) (string, error) {
	ctx := context.Background()
	for {
		s.lends.breaking.Lock()
		s.mu.Lock()
		v, err := s.versionOf(n, p.version)
		s.mu.Unlock()
		if err != nil {
			s.lends.breaking.Unlock()
			return "", err
		}
		_, links, err := hostInode(p.file)
		if err == nil && v.staging == "" && links > 1 {
			// The last epoch on disk may know it by the name it had before it was sealed.
			s.lends.breaking.Unlock()
			if err := s.commit(ctx); err != nil {
				return "", err
			}
			if _, now, err := hostInode(p.file); err != nil || now >= links {
				return "", err
			}
			continue
		}
		name := ""
		if err == nil {
			name, err = s.moveLocked(ctx, v, p)
		}
		s.lends.breaking.Unlock()
		return name, err
	}
}

func (s *Store) moveLocked(ctx context.Context, v *version, p *pin) (string, error) {
	path := s.blobs.StagingPath(v.staging)
	if v.staging == "" {
		path = s.blobs.HotPath(v.hash)
	}
	at, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if st, err := p.file.Stat(); err != nil || !os.SameFile(st, at) {
		return "", err
	}
	c, id, err := s.blobs.CopyStaging(ctx, p.file, v.size)
	if err != nil {
		return "", fmt.Errorf("keep the version that readers have: %w", err)
	}
	defer c.Close()
	if err := c.Chmod(at.Mode().Perm()); err != nil {
		return "", err
	}
	name := id + ".lent"
	if err := os.Link(path, s.blobs.StagingPath(name)); err != nil {
		return "", err
	}
	if err := os.Rename(s.blobs.StagingPath(id), path); err != nil {
		return "", err
	}
	if err := s.blobs.SyncDir(filepath.Dir(path)); err != nil {
		return "", err
	}
	return name, s.lends.swap(p.host, path)
}

// swap lets every content that is open on a host file go on with the one at path.
func (l *lends) swap(host uint64, path string) error {
	l.mu.Lock()
	held := l.files[host]
	delete(l.files, host)
	l.mu.Unlock()
	for c := range held {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		ino, _, err := hostInode(f)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		c.mu.Lock()
		old := c.f
		if c.closed {
			old = f
		} else {
			c.f = f
			l.mu.Lock()
			c.host = ino
			l.add(c)
			l.mu.Unlock()
		}
		c.mu.Unlock()
		old.Close()
	}
	return nil
}
