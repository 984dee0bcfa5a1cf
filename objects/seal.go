package objects

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// sealer hashes large versions after the epoch that names them is durable: closing a
// large file must not wait for its hash (design §2).
type sealer struct {
	mu    sync.Mutex
	queue []*version
	heat  []ID // versions that were read from packs wholly
	cool  []ID // versions to pack if they are superseded
	wake  chan struct{}

	working sync.Mutex
}

func (q *sealer) init() { q.wake = make(chan struct{}, 1) }

func (q *sealer) add(vs ...*version) {
	if len(vs) == 0 {
		return
	}
	q.mu.Lock()
	q.queue = append(q.queue, vs...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *sealer) take() *version {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		return nil
	}
	v := q.queue[0]
	q.queue = q.queue[1:]
	return v
}

// How long hashing and the packing of a superseded version wait for a quieter moment.
// While there is none, the sealer rests after each version as long as it took to hash it:
// what has to be hashed must not grow without an end.
const (
	sealLater = time.Second
	packLater = 5 * time.Second
)

func (s *Store) sealLoop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-s.stop:
			return
		case <-s.seal.wake:
		}
		s.GiveWay(s.stop, sealLater)
		if err := s.sealSome(ctx, true); err != nil {
			s.o.Logger.Error("a version could not be sealed", "error", err)
		}
		for id := s.seal.takeCool(); !id.IsZero() && ctx.Err() == nil; id = s.seal.takeCool() {
			s.GiveWay(s.stop, packLater)
			if err := s.coolVersion(id); err != nil {
				s.o.Logger.Error("a superseded version could not be packed", "version", id, "error", err)
			}
			if err := s.sealAll(ctx); err != nil {
				s.o.Logger.Error("a version could not be sealed", "error", err)
			}
		}
		for id := s.seal.takeHeat(); !id.IsZero() && ctx.Err() == nil; id = s.seal.takeHeat() {
			if err := s.heatVersion(id); err != nil {
				s.o.Logger.Error("a version stays in packs", "version", id, "error", err)
			}
		}
	}
}

func (q *sealer) addCool(ids ...ID) {
	if len(ids) == 0 {
		return
	}
	q.mu.Lock()
	q.cool = append(q.cool, ids...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// takeCool gives the next version to pack, once nothing waits to be sealed.
func (q *sealer) takeCool() ID {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) > 0 || len(q.cool) == 0 {
		return ID{}
	}
	id := q.cool[0]
	q.cool = q.cool[1:]
	return id
}

// sealAll works the queue off, or as much of it as there is time for: what is left when
// ctx ends stays STAGED and in the queue, and a later run finds it again.
func (s *Store) sealAll(ctx context.Context) error { return s.sealSome(ctx, false) }

// sealSome is sealAll; with rest, it gives way to who asks something of the store.
func (s *Store) sealSome(ctx context.Context, rest bool) error {
	s.seal.working.Lock()
	defer s.seal.working.Unlock()
	var all error
	for ctx.Err() == nil {
		v := s.seal.take()
		if v == nil {
			return all
		}
		began := time.Now()
		switch err := s.sealVersion(ctx, v); {
		case err != nil && ctx.Err() != nil:
			s.seal.add(v)
		case err != nil:
			all = errors.Join(all, err)
		}
		if rest {
			s.GiveWay(s.stop, min(time.Since(began), sealLater))
		}
	}
	return all
}

// sealAtClose is how long closing a store waits for hashes: umount(8) of a disk comes back
// within seconds, and whoever stops a service kills it after 90.
const sealAtClose = 5 * time.Second

// until is a reader that ends with its context.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u until) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

// sealVersion hashes a staged version and cuts it into chunks, gives its file the
// name of its hash, and records both: STAGED becomes VERIFIED (OM §6).
func (s *Store) sealVersion(ctx context.Context, v *version) error {
	f, err := s.blobs.OpenStaging(v.staging)
	if errors.Is(err, blob.ErrNoStaging) {
		return nil // sealed before, or its object was removed
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if hollow, err := isHollow(f, v.size); hollow || err != nil {
		return err
	}
	h := blake3.New()
	var refs []chunkRef
	in := io.TeeReader(until{ctx, io.NewSectionReader(f, 0, v.size)}, h)
	if err := blob.Split(in, func(c []byte) error {
		refs = append(refs, chunkRef{blob.Sum(c), uint32(len(c))})
		return nil
	}); err != nil {
		return err
	}
	var hash blob.Hash
	h.Sum(hash[:0])
	// Its readers may have made a draft of the file meanwhile; the version has another then.
	s.lends.breaking.Lock()
	defer s.lends.breaking.Unlock()
	if same, err := sameFile(f, s.blobs.StagingPath(v.staging)); err != nil || !same {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err == nil {
			s.seal.add(v)
		}
		return err
	}
	// A second name, not a new one: until the epoch with the hash is durable the
	// version is found under its staging name after a crash.
	second := s.blobs.StagingPath(v.staging) + ".sealed"
	if err := os.Link(s.blobs.StagingPath(v.staging), second); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	s.at("seal: hashed")
	if err := s.blobs.AdoptHot(second, hash); err != nil {
		return err
	}
	s.at("seal: adopted")
	kept, err := sameFile(f, s.blobs.HotPath(hash))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.findVersion(v.id) // another object may have it by now
	if err != nil {
		return err
	}
	rec.hash, rec.chunks, rec.hot, rec.staging = hash, refs, true, ""
	if !rec.loser {
		rec.state = VerifiedState
	}
	s.putVersion(rec)
	s.open.puts[string(stagedKey(rec.id))] = nil
	s.open.packed = true // the directory entry of the hot file must be synced
	if !kept && s.lends.keeps(f, v.staging) {
		s.o.Logger.Debug("the kernel has another file with the same bytes", "version", v.id)
	} else {
		s.open.gone = append(s.open.gone, v.staging)
	}
	s.open.emit = append(s.open.emit, evidence.Draft{
		ID: s.evidenceID(), Type: record.ExecutionCompleted, Emitter: "adapter", Subject: "_system:service:aiosfs", Scope: "_system",
		Payload: map[string]any{"detail_kind": "AIOSFS_VERSION_SEALED", "outcome": "SUCCEEDED", "adapter_id": "aiosfs", "transaction_id": rec.txn.String(),
			"version_id": rec.id.String(), "content_hash": hash.String(), "merkle_root": workRoot([]write{{rec.object, rec.id, rec.parent, hash.String()}})},
	})
	s.at("seal: in the epoch")
	if o, err := s.object(rec.object); err == nil && (o.current != rec.id || o.life != Active) {
		s.open.superseded = append(s.open.superseded, rec.id)
	}
	return nil
}

// A version that is nearly all hole is not hashed when it is larger than hollowSize: BLAKE3
// has to walk every zero of it, a minute for each 64 GiB, and nobody has written them. It
// stays STAGED, in the sparse file that it was written to.
const (
	hollowSize  = 64 << 30
	hollowShare = 16
)

func isHollow(f *os.File, size int64) (bool, error) {
	if size <= hollowSize {
		return false, nil
	}
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	return st.Sys().(*syscall.Stat_t).Blocks*512 < size/hollowShare, nil
}
