package objects

import (
	"errors"
	"fmt"
	"io"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Quarantine puts a version in quarantine for a reason that a person gives (OM §12): who
// asks for its bytes is refused, and pointers that name it move on. One that is there
// already is ErrExist.
func (t *Tx) Quarantine(ver ID, reason string) {
	t.final = true
	t.do(func() error {
		v, err := t.s.findVersion(ver)
		if err != nil {
			return err
		}
		if v.shut() {
			return fmt.Errorf("version %s is in quarantine already, for %s: %w", ver, v.reason, ErrExist)
		}
		t.s.fence(map[ID]ID{v.id: v.object}, t.c, reason)
		return nil
	})
}

// Release ends the quarantine of a version with a person's justification, once all its
// bytes are seen to be what its hash says; damaged ones are ErrIntegrity. Pointers stay
// where they are: whoever wants the version back restores it. A version that is in no
// quarantine, or whose quarantine was over after 30 days, is ErrInvalid.
func (t *Tx) Release(ver ID, justification string) error {
	s := t.s
	held := func() (*version, error) {
		v, err := s.findVersion(ver)
		if err == nil && v.state != Quarantined {
			err = fmt.Errorf("version %s is %s, and in no quarantine: %w", ver, v.state, ErrInvalid)
		}
		return v, err
	}
	s.mu.Lock()
	v, err := held()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := s.inspect(v); err != nil {
		return fmt.Errorf("version %s stays in quarantine: %w", ver, err)
	}
	t.final = true
	t.do(func() error {
		v, err := held()
		if err != nil {
			return err
		}
		if err := s.reinstate(v); err != nil {
			return err
		}
		s.release(v, VerifiedState, t.c, justification)
		return nil
	})
	return nil
}

// inspect reads all of a version's bytes and compares them with its hash; whether somebody
// may have them is not its concern. It gives how many it has read.
func (s *Store) inspect(v *version) (int64, error) {
	c, err := s.openVersion(v)
	if err != nil {
		return 0, err
	}
	if packed, ok := c.(*chunkContent); ok {
		packed.check = true
		packed.raw = v.state == Quarantined // its chunks may be where they were found damaged
	}
	if host, ok := c.(*fileContent); ok && v.hash.IsZero() {
		// There is no hash to compare with, and it may be a hole of terabytes.
		st, err := host.f.Stat()
		if err = errors.Join(err, c.Close()); err != nil {
			return 0, err
		}
		if st.Size() < v.size {
			return 0, fmt.Errorf("%w: %d bytes of %d", ErrIntegrity, st.Size(), v.size)
		}
		return v.size, nil
	}
	h := newHasher()
	n, err := io.Copy(h, io.NewSectionReader(c, 0, c.Size()))
	if err = errors.Join(err, c.Close()); err != nil {
		return n, err
	}
	switch {
	case n != v.size:
		return n, fmt.Errorf("%w: %d bytes of %d", ErrIntegrity, n, v.size)
	case !v.hash.IsZero() && h.sum() != v.hash:
		return n, fmt.Errorf("%w: the bytes have another hash", ErrIntegrity)
	}
	return n, nil
}

// reinstate has the chunks of a version that was found whole looked for where they lie
// again, though they were found damaged there: the disk has come to its senses. s.mu is
// held.
func (s *Store) reinstate(v *version) error {
	for _, c := range v.chunks {
		if v.hot {
			break
		}
		if _, err := s.get(chunkKey(c.hash)); err == nil {
			continue
		} else if !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		place, err := s.get(badChunkKey(c.hash))
		if err != nil {
			return fmt.Errorf("chunk %s: %w", c.hash, err)
		}
		loc, err := blob.ParseLocation(place)
		if err != nil {
			return err
		}
		b, err := s.blobs.ReadDamaged(c.hash, loc)
		if err == nil && blob.Sum(b) != c.hash {
			err = ErrIntegrity
		}
		if err != nil {
			return fmt.Errorf("chunk %s: %w", c.hash, err)
		}
		s.open.puts[string(chunkKey(c.hash))] = append([]byte{}, place...)
		s.open.puts[string(badChunkKey(c.hash))] = nil
	}
	return nil
}

// watched is a version's content that ends when the version is put in quarantine: what is
// open then gives no more bytes.
type watched struct {
	content
	s    *Store
	id   ID
	seen uint64 // how many times something had been put there when this was looked at
}

func (s *Store) guard(c content, id ID) content { return &watched{c, s, id, s.fences.Load()} }

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.content.ReadAt(p, off)
	if err != nil && err != io.EOF || w.s.fences.Load() == w.seen {
		return n, err
	}
	w.s.mu.Lock()
	v, verr := w.s.findVersion(w.id)
	w.s.mu.Unlock()
	if verr == nil && v.shut() {
		return 0, fmt.Errorf("version %s is %w", w.id, ErrQuarantined)
	}
	return n, err
}
