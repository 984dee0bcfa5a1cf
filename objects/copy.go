package objects

import (
	"context"
	"fmt"
	"io"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// CopyRange copies within the store; both files must be open. A file that is copied from
// its start into an empty one, wholly in the end, shares what is stored and copies no byte.
func (s *Store) CopyRange(ctx context.Context, c Cred, from *Handle, off int64, to *Handle, toOff int64, length int64) (int64, error) {
	if !to.write || !from.read {
		return 0, ErrPermission
	}
	if n, err := s.share(c, from, off, to, toOff, length); n > 0 || err != nil {
		return n, err
	}
	buf := make([]byte, min(length, 1<<20))
	var done int64
	for done < length {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, err := from.ReadAt(buf[:min(int64(len(buf)), length-done)], off+done)
		if n > 0 {
			m, err := to.WriteAt(c, buf[:n], toOff+done)
			done += int64(m)
			if err != nil {
				return done, err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// share lets the draft of one file show a stretch of another's stored version, if the one
// holds nothing else so far. 0 says that it cannot.
func (s *Store) share(c Cred, from *Handle, off int64, to *Handle, toOff int64, length int64) (int64, error) {
	if from.n == to.n || off != toOff {
		return 0, nil
	}
	v := s.sharable(from)
	if v == nil || off >= v.size || off > 0 && s.draftBaseOf(to.n) != v.id {
		return 0, nil
	}
	upto := min(v.size, off+length)
	shared := false
	err := s.change(c, to.n, upto, func(d *blob.Draft) error {
		base := to.n.content
		if off == 0 {
			var err error
			if base, err = s.openVersion(v); err != nil {
				return err
			}
		}
		if shared = d.Share(base, off, upto); !shared || off > 0 {
			if off == 0 {
				return base.Close()
			}
			return nil
		}
		s.mu.Lock()
		old := to.n.content
		to.n.content, to.n.contentOf, to.n.draftBase = base, v.id, v.id
		s.mu.Unlock()
		if old != nil {
			return old.Close()
		}
		return nil
	})
	if err != nil || !shared {
		return 0, err
	}
	return upto - off, nil
}

// sharable is the version that a reader of the handle sees, if it is a large one that is
// sealed: another version can name the same bytes then.
func (s *Store) sharable(h *Handle) *version {
	h.n.io.RLock()
	defer h.n.io.RUnlock()
	if h.n.draft != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.versionOf(h.n, h.n.inode.version)
	if err != nil || v.staging != "" || len(v.chunks) == 0 || v.size <= blob.MemoryLimit || v.shut() {
		return nil
	}
	return v
}

func (s *Store) draftBaseOf(n *node) ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.draft == nil {
		return ID{}
	}
	return n.draftBase
}

// publishShared makes the version of a draft that shows another version wholly and
// nothing else; n.io is held for writing.
func (s *Store) publishShared(n *node, d *blob.Draft) (bool, error) {
	if !d.IsShare() {
		return false, nil
	}
	s.mu.Lock()
	v, err := s.findVersion(n.draftBase)
	if err == nil && v.staging == "" && v.size == d.Size() {
		err = s.install(n, prepared{size: v.size, hash: v.hash, same: v})
	} else {
		s.mu.Unlock()
		return false, err
	}
	if err == nil {
		n.blocks = (v.size + 511) / 512
		s.spare(n, d.Staging(), n.inode.version)
		s.dropDraft(n)
	}
	s.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("close: %w", err)
	}
	return true, d.Release()
}
