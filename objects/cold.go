package objects

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// chunkContent reads a version that lies in packs. A reader that goes from chunk to chunk
// finds the next ones decoded: that is done ahead, on other processors.
type chunkContent struct {
	s       *Store
	version ID
	refs    []chunkRef
	ends    []int64
	size    int64
	last    atomic.Int64 // the chunk that was read last, plus one
	run     atomic.Int64 // how many were read in sequence
	check   bool         // it is looked at: damage is told, and changes nothing
	raw     bool         // of one in quarantine its reader wants what is there
}

// aheadChunks is how far decoding runs ahead of a sequential reader: with chunks of 256 KiB
// to 1 MiB enough to keep two processors busy between two requests of 1 MiB.
const aheadChunks = 6

func (c *chunkContent) Size() int64  { return c.size }
func (c *chunkContent) Close() error { return nil }

func (c *chunkContent) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, ErrInvalid
	}
	if !c.raw && len(c.refs) == 1 && off == 0 && int64(len(p)) >= c.size {
		return c.whole(p)
	}
	done := 0
	for done < len(p) {
		pos := off + int64(done)
		if pos >= c.size {
			return done, io.EOF
		}
		i := sort.Search(len(c.ends), func(i int) bool { return c.ends[i] > pos })
		b, err := c.chunk(i)
		if err != nil {
			return done, err
		}
		done += copy(p[done:], b[pos-(c.ends[i]-int64(len(b))):])
	}
	return done, nil
}

func (c *chunkContent) chunk(i int) ([]byte, error) {
	h := c.refs[i].hash
	if c.raw {
		b, err := c.s.rawChunk(h)
		if err == nil && len(b) != int(c.refs[i].size) {
			err = fmt.Errorf("%w: %d bytes of %d", ErrIntegrity, len(b), c.refs[i].size)
		}
		return b, err
	}
	c.ahead(i)
	b, err := c.s.chunks.get(h)
	if err != nil {
		return nil, c.damaged(h, err)
	}
	return b, nil
}

// damaged has the versions that need a chunk put in quarantine, where the chunk is not what
// its hash says.
func (c *chunkContent) damaged(h blob.Hash, err error) error {
	switch {
	case c.check:
		return err
	case errors.Is(err, ErrIntegrity):
		c.s.isolate(h)
	case errors.Is(err, kv.ErrNotFound): // another reader has found out, and this one was open before
		c.s.mu.Lock()
		v, verr := c.s.findVersion(c.version)
		c.s.mu.Unlock()
		if verr != nil || !v.shut() {
			return err
		}
	default:
		return err
	}
	return fmt.Errorf("version %s is %w: %w", c.version, ErrQuarantined, err)
}

// whole reads a file of one chunk past the cache: who reads all of it at once keeps it. It
// takes what was decoded ahead of him.
func (c *chunkContent) whole(p []byte) (int, error) {
	c.ahead(0)
	var b []byte
	ok := false
	if !c.check {
		b, ok = c.s.chunks.take(c.refs[0].hash)
	}
	if !ok {
		var err error
		if b, err = c.s.chunkInto(c.refs[0].hash, p); err != nil {
			return 0, c.damaged(c.refs[0].hash, err)
		}
	}
	n := len(b)
	if n > 0 && &b[0] != &p[0] {
		n = copy(p, b)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// ahead notes that chunk i is being read, and has the next ones decoded if that goes on a
// sequence. A reader that came to the end in sequence has shown that the file is in use.
func (c *chunkContent) ahead(i int) {
	before := c.last.Swap(int64(i) + 1)
	switch {
	case before == int64(i)+1:
		return
	case before == int64(i):
		if run := c.run.Add(1); run == int64(len(c.refs)) && c.size > blob.MemoryLimit {
			c.s.seal.addHeat(c.version)
		}
	case before < int64(i) || before > int64(i)+aheadChunks: // requests pass one another
		c.run.Store(0)
		return
	}
	for _, r := range c.refs[i+1 : min(len(c.refs), i+1+aheadChunks)] {
		c.s.chunks.prefetch(r.hash)
	}
}

// chunkCache holds the chunks that were decoded last, and those that are being decoded.
type chunkCache struct {
	read func(blob.Hash) ([]byte, error)

	mu     sync.Mutex
	m      map[blob.Hash]*cachedChunk
	lru    *list.List // the most recently used first
	bytes  int
	closed bool
	wg     sync.WaitGroup
	slots  chan struct{} // of decoders that run ahead
}

type cachedChunk struct {
	hash  blob.Hash
	ready chan struct{} // closed when b or err is set
	b     []byte
	err   error
	at    *list.Element
}

// chunkCacheBytes bounds the cache: eight readers' windows.
const chunkCacheBytes = 48 << 20

func (k *chunkCache) init(read func(blob.Hash) ([]byte, error)) {
	k.read, k.m, k.lru = read, map[blob.Hash]*cachedChunk{}, list.New()
	k.slots = make(chan struct{}, runtime.GOMAXPROCS(0))
}

// get gives a chunk's bytes, which nobody may change.
func (k *chunkCache) get(h blob.Hash) ([]byte, error) {
	c, mine := k.entry(h)
	if mine {
		k.load(c)
	}
	<-c.ready
	return c.b, c.err
}

func (k *chunkCache) entry(h blob.Hash) (c *cachedChunk, mine bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c = k.m[h]; c != nil {
		if c.at != nil {
			k.lru.MoveToFront(c.at)
		}
		return c, false
	}
	c = &cachedChunk{hash: h, ready: make(chan struct{})}
	k.m[h] = c
	return c, true
}

func (k *chunkCache) load(c *cachedChunk) {
	b, err := k.read(c.hash)
	k.mu.Lock()
	c.b, c.err = b, err
	if err != nil {
		delete(k.m, c.hash) // the next reader tries again
	} else {
		c.at = k.lru.PushFront(c)
		k.bytes += len(b)
		for k.bytes > chunkCacheBytes && k.lru.Len() > 1 {
			old := k.lru.Remove(k.lru.Back()).(*cachedChunk)
			k.bytes -= len(old.b)
			delete(k.m, old.hash)
		}
	}
	k.mu.Unlock()
	close(c.ready)
}

// prefetch starts to decode a chunk, if a decoder is free.
func (k *chunkCache) prefetch(h blob.Hash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m[h] != nil {
		return
	}
	c := &cachedChunk{hash: h, ready: make(chan struct{})}
	if k.free(func() { k.load(c) }) {
		k.m[h] = c
	}
}

// besides does something with the cache in another goroutine, if a decoder is free.
func (k *chunkCache) besides(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.free(do)
}

// free is besides, with k.mu held.
func (k *chunkCache) free(do func()) bool {
	if k.closed {
		return false
	}
	select {
	case k.slots <- struct{}{}:
	default:
		return false
	}
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		do()
		<-k.slots
	}()
	return true
}

// take gives a chunk that is decoded or being decoded, and keeps it no longer.
func (k *chunkCache) take(h blob.Hash) ([]byte, bool) {
	k.mu.Lock()
	c := k.m[h]
	k.mu.Unlock()
	if c == nil {
		return nil, false
	}
	<-c.ready
	if c.err != nil {
		return nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m[h] == c && c.at != nil {
		k.lru.Remove(c.at)
		k.bytes -= len(c.b)
		delete(k.m, h)
	}
	return c.b, true
}

func (k *chunkCache) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.wg.Wait()
}

// ---- back to one plain file

// heatLimit bounds what one reader brings back as a plain file: larger ones are read as
// fast as they are decoded, and would take the disk's time from others.
const heatLimit = 1 << 30

// addHeat queues a version that was read from its chunks from end to end.
func (q *sealer) addHeat(id ID) {
	q.mu.Lock()
	if len(q.heat) < 64 { // whoever reads it again asks again
		q.heat = append(q.heat, id)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *sealer) takeHeat() ID {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) > 0 || len(q.heat) == 0 {
		return ID{}
	}
	id := q.heat[0]
	q.heat = q.heat[1:]
	return id
}

// heatVersion makes a cold version a plain file again, so that the kernel reads it itself,
// if it is the current one of something and a quarter of the disk is free (design §2).
func (s *Store) heatVersion(id ID) error {
	s.mu.Lock()
	v, err := s.findVersion(id)
	var o *object
	if err == nil {
		o, err = s.object(v.object)
	}
	s.mu.Unlock()
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || v.staging != "" || len(v.chunks) == 0 || v.size <= blob.MemoryLimit || v.size > heatLimit || o.current != id || o.life != Active {
		return err
	}
	if st, err := s.StatFS(); err != nil || st.Available*uint64(st.BlockSize) < uint64(v.size) || st.Available < st.Blocks/4 {
		return err
	}
	if f, err := s.blobs.OpenHot(v.hash); err == nil {
		f.Close()
		return s.recordHot(v)
	}
	f, name, err := s.blobs.NewStaging()
	if err != nil {
		return err
	}
	defer f.Close()
	for _, r := range v.chunks {
		var b []byte
		if b, err = s.chunks.get(r.hash); err == nil {
			_, err = f.Write(b)
		}
		if err != nil {
			return errors.Join(err, s.blobs.RemoveStaging(name))
		}
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, s.blobs.RemoveStaging(name))
	}
	if err := s.blobs.AdoptHot(s.blobs.StagingPath(name), v.hash); err != nil {
		return err
	}
	if err := s.blobs.Sync(context.Background()); err != nil {
		return err
	}
	return s.recordHot(v)
}

func (s *Store) recordHot(v *version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.findVersion(v.id)
	if err != nil || now.hot {
		return err
	}
	o, err := s.object(now.object)
	if err != nil {
		return err
	}
	if o.current != v.id || o.life != Active {
		s.open.superseded = append(s.open.superseded, v.id) // and the file goes again
	}
	now.hot = true
	s.putVersion(now)
	return nil
}
