package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// content is the immutable bytes of a version.
type content interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

type memContent struct{ *bytes.Reader }

func (memContent) Close() error { return nil }

// chunk reads a chunk from its pack.
func (s *Store) chunk(h blob.Hash) ([]byte, error) { return s.chunkInto(h, nil) }

// chunkInto reads a chunk into the caller's memory, if it is not longer than that.
func (s *Store) chunkInto(h blob.Hash, room []byte) ([]byte, error) {
	loc, err := s.placeOf(h, chunkKey(h))
	if err != nil {
		return nil, err
	}
	b, err := s.blobs.ReadChunkInto(context.Background(), h, loc, room)
	if errors.Is(err, blob.ErrIntegrity) { // once more: what a cable or a memory does wrong passes
		b, err = s.blobs.ReadChunkInto(context.Background(), h, loc, room)
	}
	if errors.Is(err, blob.ErrIntegrity) {
		return nil, fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	return b, err
}

// placeOf finds where a chunk lies, by the first of the keys that is there.
func (s *Store) placeOf(h blob.Hash, keys ...[]byte) (blob.Location, error) {
	var b []byte
	var err error
	s.mu.Lock()
	for _, k := range keys {
		if b, err = s.get(k); err == nil {
			break
		}
	}
	s.mu.Unlock()
	if err != nil {
		return blob.Location{}, fmt.Errorf("chunk %s: %w", h, err)
	}
	return blob.ParseLocation(b)
}

// openVersion opens a version's bytes; s.mu must be free.
func (s *Store) openVersion(v *version) (content, error) {
	switch {
	case v.isInline:
		return memContent{bytes.NewReader(v.inline)}, nil
	case v.size == 0:
		return memContent{bytes.NewReader(nil)}, nil
	case v.staging != "":
		c, err := s.fileContent(v.size, func() (*os.File, error) { return s.blobs.OpenStaging(v.staging) })
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, blob.ErrNoStaging) {
			return nil, err
		}
		// The sealer has moved it since the record was read: read the record again.
		s.mu.Lock()
		now, err := s.findVersion(v.id)
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if now.staging != "" {
			return nil, fmt.Errorf("version %s: %w", v.id, blob.ErrNoStaging)
		}
		return s.openVersion(now)
	}
	if v.hot {
		c, err := s.fileContent(v.size, func() (*os.File, error) { return s.blobs.OpenHot(v.hash) })
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, blob.ErrNotHot) {
			return nil, err
		}
	}
	c := &chunkContent{s: s, version: v.id, refs: v.chunks, size: v.size}
	var end int64
	for _, r := range v.chunks {
		end += int64(r.size)
		c.ends = append(c.ends, end)
	}
	if end != v.size {
		return nil, fmt.Errorf("%w: version %s has chunks for %d of %d bytes", ErrIntegrity, v.id, end, v.size)
	}
	return c, nil
}

// current opens the bytes of the inode's current version; n.io is held for writing,
// s.mu is free.
func (s *Store) current(n *node) (content, error) {
	s.mu.Lock()
	ver, kept, of, fenced := n.inode.version, n.content, n.contentOf, n.fenced
	if kept != nil && of == ver {
		s.mu.Unlock()
		return kept, nil
	}
	var v *version
	var err error
	if !ver.IsZero() {
		v, err = s.versionOf(n, ver)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var c content = memContent{bytes.NewReader(nil)}
	if v != nil {
		if v.shut() {
			return nil, fmt.Errorf("version %s is %w", v.id, ErrQuarantined)
		}
		if c, err = s.openVersion(v); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	if n.fenced != fenced { // meanwhile
		s.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("version %s is %w", ver, ErrQuarantined), c.Close())
	}
	old := n.content
	n.content, n.contentOf = c, ver
	n.sound = ver
	s.mu.Unlock()
	if old != nil {
		return c, old.Close()
	}
	return c, nil
}

// prepared is content that is stored already and waits for a version to name it.
type prepared struct {
	size     int64
	hash     blob.Hash
	inline   []byte
	isInline bool
	chunk    *chunkRef
	place    []byte // the chunk's location, for its key; nil when it is known already
	staging  string
	same     *version // a version of any object with the same content, which is shared
}

// inlineLimit is the size up to which content lives in its version record (design §2).
const inlineLimit = 4 << 10

// prepareBytes stores content that is held in memory. The chunk it may append is
// durable with the epoch that names it.
func (s *Store) prepareBytes(ctx context.Context, b []byte) (prepared, error) {
	p := prepared{size: int64(len(b)), hash: blob.Sum(b)}
	if len(b) <= inlineLimit {
		p.inline, p.isInline = b, true
		return p, nil
	}
	p.chunk = &chunkRef{p.hash, uint32(len(b))}
	s.mu.Lock()
	_, err := s.get(chunkKey(p.hash))
	s.mu.Unlock()
	switch {
	case err == nil:
		return p, nil
	case !errors.Is(err, kv.ErrNotFound):
		return p, err
	}
	_, loc, err := s.blobs.Append(ctx, b)
	if err != nil {
		return p, err
	}
	p.place = loc.Marshal()
	return p, nil
}

// makeVersion makes the version of prepared content for an object; s.mu is held. The
// caller puts it into the epoch.
func (s *Store) makeVersion(o *object, p prepared, c Cred, txn ID, action string) *version {
	v := &version{id: newID('v', s.o.Now()), object: o.id, parent: o.current, hash: p.hash, size: p.size, state: VerifiedState,
		createdAt: s.o.Now(), createdBy: c.Subject, txn: txn, action: action, inline: p.inline, isInline: p.isInline, staging: p.staging}
	if p.chunk != nil {
		v.chunks = []chunkRef{*p.chunk}
		if p.place != nil {
			s.open.puts[string(chunkKey(p.hash))] = p.place
			s.open.packed = true
		}
	}
	if p.same != nil {
		v.chunks, v.hot = p.same.chunks, p.same.hot
	}
	if p.staging != "" {
		v.state = Staged
		s.open.syncs[p.staging] = true
		s.open.seals = append(s.open.seals, v)
	}
	return v
}

// addVersion makes prepared content the object's current version; s.mu is held.
func (s *Store) addVersion(o *object, p prepared, c Cred, txn ID, action string) *version {
	v := s.makeVersion(o, p, c, txn, action)
	s.putVersion(v)
	if !o.current.IsZero() {
		o.rollback = o.current
		s.open.superseded = append(s.open.superseded, o.current)
		s.noteSuperseded()
	}
	o.current = v.id
	return v
}
