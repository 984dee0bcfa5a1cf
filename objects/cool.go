package objects

import (
	"context"
	"errors"
	"time"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// coolShare is how much longer the sealer rests than it works while it packs superseded
// versions: nobody waits for them.
const coolShare = 1

// coolVersion packs a superseded version: its chunks go into packs, those that are there
// already are shared, and its hot file goes once that is durable (design §2). A version
// that is current, or became so again, stays hot.
func (s *Store) coolVersion(id ID) error {
	v, err := s.superseded(id)
	if err != nil || v == nil {
		return err
	}
	f, err := s.blobs.OpenHot(v.hash)
	if errors.Is(err, blob.ErrNotHot) {
		return s.recordCold(id, nil, v.hash)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	places := map[blob.Hash][]byte{}
	var off int64
	for _, ref := range v.chunks {
		at := off
		off += int64(ref.size)
		if places[ref.hash] != nil {
			continue
		}
		s.mu.Lock()
		_, err := s.get(chunkKey(ref.hash))
		s.mu.Unlock()
		if err == nil {
			continue
		}
		if !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		began := time.Now()
		b := make([]byte, ref.size)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		h, loc, err := s.blobs.Append(context.Background(), b)
		if err != nil {
			return err
		}
		if h != ref.hash {
			return ErrIntegrity // the hot file has changed below us: it is left as it is
		}
		places[h] = loc.Marshal()
		select {
		case <-s.stop: // what was packed is found by nobody, and gone with the next gc
			return nil
		case <-time.After(coolShare * time.Since(began)):
		}
	}
	return s.recordCold(id, places, v.hash)
}

// superseded gives a hot version that no living object has as its current one, else nil.
func (s *Store) superseded(id ID) (*version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.findVersion(id)
	if errors.Is(err, ErrNotFound) || err == nil && (!v.hot || len(v.chunks) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if o, err := s.object(v.object); err != nil || o.current == id && o.life == Active {
		return nil, err
	}
	return v, nil
}

func (s *Store) recordCold(id ID, places map[blob.Hash][]byte, hash blob.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.findVersion(id)
	if err != nil {
		return err
	}
	for h, place := range places {
		if _, err := s.get(chunkKey(h)); errors.Is(err, kv.ErrNotFound) {
			s.open.puts[string(chunkKey(h))] = place
		}
	}
	v.hot = false
	s.putVersion(v)
	s.open.packed = true
	s.at("cool: in the epoch")
	// Another version with the same bytes is read from the packs as well then.
	s.open.cold = append(s.open.cold, hash)
	return nil
}

// GCReport is what a collection removed.
type GCReport struct {
	HotFiles int   `json:"hot_files"`
	Packs    int   `json:"packs"`
	Chunks   int   `json:"chunks"`
	Bytes    int64 `json:"bytes"`
}

// GC removes what nothing refers to: hot files of no version, which a crash can leave,
// chunks of no version, and the packs that they lay in once what is left of those is
// less than half. It must be the only user of the store: an open mount may be about to
// refer to a chunk that it finds.
func (s *Store) GC(ctx context.Context) (GCReport, error) {
	if err := s.SyncAll(ctx); err != nil {
		return GCReport{}, err
	}
	if err := errors.Join(s.sealAll(ctx), s.commit(ctx)); err != nil {
		return GCReport{}, err
	}
	c, err := s.collect(ctx)
	if err != nil {
		return GCReport{}, err
	}
	var rep GCReport
	for len(c.dead) > 0 {
		part := c.dead[:min(len(c.dead), gcListed)]
		c.dead = c.dead[len(part):]
		s.mu.Lock()
		s.tellReaped(part)
		for _, r := range part {
			if !r.file {
				s.open.puts[string(chunkKey(r.hash))] = nil
				rep.Chunks++
			}
		}
		s.mu.Unlock()
		if err := s.commit(ctx); err != nil {
			return rep, err
		}
		for _, r := range part {
			if !r.file {
				continue
			}
			if err := s.blobs.EvictHot(r.hash); err != nil {
				return rep, err
			}
			rep.HotFiles++
			rep.Bytes += r.bytes
		}
	}
	s.mu.Lock()
	for _, k := range c.over {
		s.open.puts[string(k)] = nil
	}
	s.mu.Unlock()
	if err := s.commit(ctx); err != nil {
		return rep, err
	}
	return rep, s.gcPacks(ctx, c, &rep)
}

// collection is what there is to collect, and what stays.
type collection struct {
	live   map[blob.Hash]bool // chunks of versions, and those that wait
	places map[blob.Hash]blob.Location
	kept   map[uint64]bool // packs with a chunk that was found damaged, and may be looked at
	dead   []reaped
	over   [][]byte // records of aborted work whose chunks are among the dead
}

// collect finds what nothing refers to.
func (s *Store) collect(ctx context.Context) (collection, error) {
	c := collection{live: map[blob.Hash]bool{}, places: map[blob.Hash]blob.Location{}, kept: map[uint64]bool{}}
	hot := map[blob.Hash]bool{}
	view := s.db.View()
	defer view.Close()
	for _, b := range view.Scan([]byte{'v'}, nil) {
		if ctx.Err() != nil {
			return c, ctx.Err()
		}
		v, err := decodeVersion(b)
		if err != nil {
			return c, err // what cannot be read may need what would go
		}
		if v.hot {
			hot[v.hash] = true
		}
		for _, ref := range v.chunks {
			c.live[ref.hash] = true
		}
	}
	left, err := s.leftovers(view)
	if err != nil {
		return c, err
	}
	c.over = left.over
	for k, b := range view.Scan([]byte{'c'}, nil) {
		l, err := blob.ParseLocation(b)
		if err != nil {
			return c, err
		}
		var h blob.Hash
		copy(h[:], k[1:])
		c.places[h] = l
		if !c.live[h] && left.keep[chunkID(h)] {
			c.live[h] = true
		}
		if !c.live[h] {
			c.dead = append(c.dead, reaped{hash: h, bytes: int64(l.Stored)})
		}
	}
	for _, b := range view.Scan([]byte{'C'}, nil) {
		if l, err := blob.ParseLocation(b); err == nil {
			c.kept[l.Pack] = true
		}
	}
	files, err := s.blobs.HotLRU()
	if err != nil {
		return c, err
	}
	for _, f := range files {
		if !hot[f.Hash] {
			c.dead = append(c.dead, reaped{f.Hash, f.Size, true})
		}
	}
	return c, view.Err()
}

// gcPacks rewrites and drops packs of which less than half is needed.
func (s *Store) gcPacks(ctx context.Context, c collection, rep *GCReport) error {
	used := map[uint64]int64{}
	for h, l := range c.places {
		if c.live[h] {
			used[l.Pack] += int64(l.Stored)
		}
	}
	ids, err := s.blobs.Packs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		size, err := s.blobs.PackSize(id)
		if err != nil {
			return err
		}
		if used[id] > size/2 || c.kept[id] {
			continue
		}
		moved := kv.NewBatch()
		isLive := func(h blob.Hash, l blob.Location) bool { return c.live[h] && c.places[h] == l }
		err = s.blobs.RewritePack(ctx, id, isLive, func(h blob.Hash, to blob.Location) error {
			moved.Set(chunkKey(h), to.Marshal())
			return nil
		})
		if errors.Is(err, blob.ErrNoPack) {
			continue // the open one
		}
		if errors.Is(err, blob.ErrIntegrity) && used[id] > 0 {
			s.o.Logger.Error("a damaged pack is left as it is", "pack", id, "error", err)
			continue
		}
		if err != nil && used[id] > 0 {
			return err
		}
		if moved.Len() > 0 {
			if err := s.blobs.Sync(ctx); err != nil {
				return err
			}
			if _, err := s.db.CommitSync(ctx, moved); err != nil {
				return err
			}
		}
		if err := s.blobs.DropPack(id); err != nil {
			return err
		}
		rep.Packs++
		rep.Bytes += size - used[id]
	}
	s.mu.Lock()
	s.view.Close()
	s.view = s.db.View()
	s.records.clear() // chunks lie elsewhere
	s.mu.Unlock()
	return nil
}
