package objects

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// overlay is the change of one epoch while it is open or being committed.
type overlay struct {
	inodes     map[Ino]*node
	dents      map[Ino]map[string]pendingDent
	puts       map[string][]byte // other records; nil: removed
	objs       map[ID]*object
	work       map[string]*work // plain file work, by subject
	emit       []evidence.Draft // of an intent's transaction
	told       []uint64         // what of the outbox the log has, and is removed
	outFirst   uint64           // below which nothing is left in the outbox then
	syncs      map[string]bool  // staging files whose bytes the epoch names
	gone       []string         // staging files that nothing names once the epoch is durable
	superseded []ID             // versions that may be packed once the epoch is durable
	cold       []blob.Hash      // hot files that no version needs once the epoch is durable
	packed     bool             // chunks were appended that the epoch names
	seals      []*version       // staged versions to hash once the epoch is durable
	change     Change
	// saved holds the records before an intent's transaction, for its abort.
	saved map[*node]inode
	made  map[*node]bool
	// before holds, while the epoch is encoded, the records of inodes that the next epoch
	// has changed already.
	before  map[*node][]byte
	nextIno Ino // at its end
}

// pendingDent is a name in an epoch; ino 0 is one that was removed. A fresh one is bound
// in no epoch before.
type pendingDent struct {
	dent
	fresh bool
}

// work is what one subject changed by plain file work in one epoch: the transaction
// of S1.3 that names every version and pointer move (design §2).
type work struct {
	cred   Cred
	id     ID
	writes []write
	moves  int
}

type write struct {
	object, version, before ID
	hash                    string
}

func newOverlay() *overlay {
	return &overlay{inodes: map[Ino]*node{}, dents: map[Ino]map[string]pendingDent{}, puts: map[string][]byte{}, objs: map[ID]*object{}, work: map[string]*work{}, syncs: map[string]bool{}}
}

func (ov *overlay) empty() bool { return len(ov.told) == 0 && ov.untouched() }

// untouched tells whether the epoch changes nothing of the tree. What it removes from the
// outbox may be in a transaction's epoch: it is not undone with it.
func (ov *overlay) untouched() bool {
	return len(ov.inodes) == 0 && len(ov.dents) == 0 && len(ov.puts) == 0 && len(ov.objs) == 0 && len(ov.emit) == 0 && len(ov.gone) == 0
}

// workOf is the subject's transaction in the open epoch.
func (s *Store) workOf(c Cred) *work {
	w := s.open.work[c.Subject]
	if w == nil {
		w = &work{cred: c, id: newID('t', s.o.Now())}
		s.open.work[c.Subject] = w
	}
	return w
}

// commit makes everything that happened before the call durable. Callers that come
// while a commit runs share the next one.
func (s *Store) commit(ctx context.Context) error {
	s.mu.Lock()
	seq := s.openSeq
	empty := s.open.empty() && !s.draftsChanged()
	s.mu.Unlock()
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if s.durableSeq > seq || empty && s.durableSeq == seq {
		return nil
	}
	return s.commitOpen(ctx)
}

func (s *Store) draftsChanged() bool {
	for n := range s.drafts {
		s.observe(n)
		if n.writes != n.draftSaved {
			return true
		}
	}
	return false
}

// commitOpen seals the open epoch; commitMu is held.
func (s *Store) commitOpen(ctx context.Context) error {
	s.mu.Lock()
	if s.broken != nil {
		defer s.mu.Unlock()
		return s.broken
	}
	if w := s.delayed; w != nil {
		s.mu.Unlock()
		if err := s.put(ctx, w.ov, w.batch, true); err != nil {
			return err
		}
		s.mu.Lock()
	}
	s.saveDrafts()
	ov := s.close()
	s.mu.Unlock()
	if ov == nil {
		return nil
	}
	return s.writeOr(ctx, ov, true)
}

// close takes the open epoch out, for write to make durable; nil for an empty one. s.mu is
// held, and not for long: nothing is encoded here.
func (s *Store) close() *overlay {
	ov := s.open
	s.openSeq++
	if ov.empty() {
		return nil
	}
	s.putUsage(ov)
	if len(ov.told) > 0 {
		ov.outFirst = s.outbox.first()
	}
	ov.before, ov.nextIno = map[*node][]byte{}, s.nextIno
	s.committing, s.open = ov, newOverlay()
	return ov
}

// encodeStep is how many inodes are encoded in one go: a request waits no longer than a
// tenth of a millisecond for them.
const encodeStep = 64

// encode makes the records of a closed epoch. Requests go on meanwhile: inodes are
// encoded a few at a time, and touch encodes those that a request wants to change before
// it was their turn; all else of the epoch changes no more.
func (s *Store) encode(ov *overlay) (*kv.Batch, error) {
	batch := kv.NewBatchOf(len(ov.inodes) + len(ov.objs) + len(ov.puts) + len(ov.dents))
	nodes := slices.Collect(maps.Values(ov.inodes))
	for part := range slices.Chunk(nodes, encodeStep) {
		s.mu.Lock()
		for _, n := range part {
			drafted := n.drafted
			b, ok := ov.before[n]
			if !ok {
				b = n.encode()
			} else if rec, err := decodeInode(b); err == nil {
				drafted = rec.drafted
			}
			if drafted {
				batch.Set(draftKey(n.ino), []byte{})
			} else if n.noted {
				batch.Delete(draftKey(n.ino))
			}
			n.noted = drafted
			if n.dirty == ov {
				n.dirty = nil
			}
			n.kept = true
			batch.Set(inoKey(n.ino), b)
		}
		s.mu.Unlock()
		s.at("commit: inodes are encoded")
	}
	for dir, names := range ov.dents {
		for name, d := range names {
			if d.ino == 0 {
				batch.Delete(dentKey(dir, name))
			} else {
				batch.Set(dentKey(dir, name), d.dent.encode())
			}
		}
	}
	for _, o := range ov.objs {
		batch.Set(objKey(o.id), o.encode())
	}
	for k, v := range ov.puts {
		if v == nil {
			batch.Delete([]byte(k))
		} else {
			batch.Set([]byte(k), v)
		}
	}
	for _, n := range ov.told {
		batch.Delete(outboxKey(n))
	}
	if len(ov.told) > 0 {
		batch.Set([]byte(outboxFirst), binary.BigEndian.AppendUint64(nil, ov.outFirst))
	}
	s.describeWork(ov, batch)
	batch.Set([]byte("m-ino"), binary.BigEndian.AppendUint64(nil, uint64(ov.nextIno)))
	entries, err := s.outbox.prepare(batch, ov.emit)
	ov.change.entries = entries
	return batch, err
}

// write syncs the bytes that an epoch names, then commits and syncs its records; s.mu
// is free, commitMu held. A failure leaves the store read-only: what is in memory is
// no longer what is on disk.
func (s *Store) write(ctx context.Context, ov *overlay) error { return s.writeOr(ctx, ov, false) }

// writeOr is write; with wait, an epoch that the full disk does not take is kept for later.
// A transaction's is not: who asked for it is told that it failed.
func (s *Store) writeOr(ctx context.Context, ov *overlay, wait bool) error {
	s.at("commit: epoch is closed")
	batch, err := s.encode(ov)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = fmt.Errorf("an epoch could not be committed: %w", err)
		return err
	}
	return s.put(ctx, ov, batch, wait)
}

// delayed is an epoch that the full disk would not take. Nothing of it was written, and
// nothing changes until it is: every commit tries again.
type delayed struct {
	ov    *overlay
	batch *kv.Batch
}

// put makes an encoded epoch durable; as write.
func (s *Store) put(ctx context.Context, ov *overlay, batch *kv.Batch, wait bool) error {
	ts, err := s.writeEpoch(ctx, ov, batch)
	s.mu.Lock()
	if wait && errors.Is(err, kv.ErrNoSpace) {
		s.delayed = &delayed{ov, batch}
		s.mu.Unlock()
		return fmt.Errorf("commit: %w", ErrNoSpace)
	}
	if err != nil {
		s.broken = fmt.Errorf("an epoch could not be committed: %w", err)
		s.mu.Unlock()
		return err
	}
	s.delayed = nil
	s.view.Close()
	s.view = s.db.View()
	for k, v := range ov.puts {
		if cachedRecord(k) {
			s.records.set(k, v)
		}
	}
	s.committing = nil
	s.durableSeq = s.openSeq
	s.mu.Unlock()
	s.at("commit: records are synced")
	ov.change.TS = ts.Time()
	for _, id := range ov.gone {
		if err := s.blobs.RemoveStaging(id); err != nil {
			s.o.Logger.Warn("a staging file stays behind", "error", err)
		}
	}
	for _, h := range ov.cold {
		if err := s.lends.evict(s.blobs, h); err != nil {
			s.o.Logger.Warn("a hot file stays behind", "error", err)
		}
	}
	s.at("commit: staging files are removed")
	s.seal.add(ov.seals...)
	s.seal.addCool(ov.superseded...)
	s.outbox.add(ov.change.entries...)
	ov.change.entries = nil
	s.subs.add(ov.change)
	return nil
}

func (s *Store) writeEpoch(ctx context.Context, ov *overlay, batch *kv.Batch) (kv.TS, error) {
	for id := range ov.syncs {
		f, err := s.blobs.OpenStaging(id)
		if err != nil {
			return 0, err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return 0, err
		}
	}
	if ov.packed || len(ov.syncs) > 0 {
		if err := s.blobs.Sync(ctx); err != nil {
			return 0, err
		}
	}
	s.at("commit: bytes are synced")
	// The caller's context ends a wait, not a commit that others share.
	return s.db.CommitSync(context.WithoutCancel(ctx), batch)
}

// saveDrafts puts into the epoch what open files hold: a small draft's bytes, and of a
// large one what of its staging file is to be taken up after a crash. A process that dies
// loses none of it; a power cut loses of a large one what was not synced. s.mu is held.
func (s *Store) saveDrafts() {
	for n := range s.drafts {
		s.observe(n)
		if n.draft != nil && n.writes != n.draftSaved && n.nlink > 0 {
			s.saveDraft(n)
		}
	}
}

func (s *Store) saveDraft(n *node) {
	if b, ok, err := n.draft.Bytes(); ok && err == nil {
		s.touch(n)
		n.draftSaved = n.writes
		n.inode.setDraft(b, "", overlaid{})
		return
	}
	o, err := n.draft.Overlay()
	if err != nil { // the next epoch tries again; a close or an fsync reports it
		s.o.Logger.Warn("an open file is not in the epoch", "inode", n.ino, "error", err)
		return
	}
	s.touch(n)
	n.draftSaved = n.writes
	n.size = o.Size
	n.inode.setDraft(nil, o.Staging, overlaid{n.draftBase, o.BaseLen, o.Written})
}

func (n *inode) setDraft(b []byte, staging string, over overlaid) {
	n.drafted, n.draft = true, b
	if d := n.large(); n.big != nil || staging != "" {
		d.staging, d.over = staging, over
		n.big = &d
	}
}

func (n *inode) clearDraft() {
	n.drafted, n.draft, n.big = false, nil, nil
}

// describeWork writes the transaction record and the evidence of plain file work.
// Attribute and directory changes alone make no record of their own.
func (s *Store) describeWork(ov *overlay, batch *kv.Batch) {
	subjects := make([]string, 0, len(ov.work))
	for k := range ov.work {
		subjects = append(subjects, k)
	}
	sort.Strings(subjects)
	for _, k := range subjects {
		w := ov.work[k]
		if len(w.writes) == 0 && w.moves == 0 {
			continue
		}
		root := workRoot(w.writes)
		batch.Set(txnKey(w.id), encodeTxn(txnRecord{ID: w.id, Subject: w.cred.Subject, At: s.o.Now(), Writes: w.writes, Root: root}))
		ov.emit = append(ov.emit, evidence.Draft{
			ID: s.evidenceID(), Type: record.ExecutionCompleted, Emitter: "adapter", Subject: w.cred.Subject, SubjectIsAI: w.cred.IsAI, Session: w.cred.Session, Scope: "_system",
			Payload: map[string]any{
				"detail_kind": "AIOSFS_TRANSACTION_COMMITTED", "outcome": "SUCCEEDED", "adapter_id": "aiosfs", "transaction_id": w.id.String(),
				"writes": len(w.writes), "pointer_moves": w.moves, "merkle_root": root,
			},
		})
	}
}

// workRoot is the Merkle root over what a transaction wrote: BLAKE3 of a leaf per
// version (object, version, content hash), pairs hashed upward, an odd one carried.
func workRoot(writes []write) string {
	if len(writes) == 0 {
		return ""
	}
	level := make([][32]byte, len(writes))
	for i, w := range writes {
		level[i] = blake3.Sum256([]byte("\x00" + w.object.String() + " " + w.version.String() + " " + w.hash))
	}
	for len(level) > 1 {
		var up [][32]byte
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, blake3.Sum256(append(append([]byte{1}, level[i][:]...), level[i+1][:]...)))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		level = up
	}
	return fmt.Sprintf("b3:%x", level[0])
}

// txnRecord is the record of a transaction (OM §9).
type txnRecord struct {
	ID      ID        `json:"transaction_id"`
	Subject string    `json:"subject"`
	Action  string    `json:"action_id,omitempty"`
	At      time.Time `json:"completed_at"`
	State   string    `json:"state"`
	Writes  []write   `json:"-"`
	Lines   []txnLine `json:"writes"`
	Root    string    `json:"merkle_root,omitempty"`
	Parts   int       `json:"undo_parts,omitempty"`
	Final   bool      `json:"final,omitempty"` // it is not undone
}

type txnLine struct {
	Object  ID     `json:"object_id"`
	Version ID     `json:"version_id"`
	Before  ID     `json:"before"`
	Hash    string `json:"content_hash,omitempty"`
}

// The states that a transaction's record can have: one that is under way has none yet
// (OM §9).
const (
	txnCommitted = "COMMITTED"
	txnAborted   = "ABORTED"
)

func encodeTxn(t txnRecord) []byte {
	if t.State == "" {
		t.State = txnCommitted
	}
	for _, w := range t.Writes {
		t.Lines = append(t.Lines, txnLine{w.object, w.version, w.before, w.hash})
	}
	b, err := json.Marshal(t)
	if err != nil {
		panic("a transaction record cannot be written: " + err.Error()) // plain strings and times only
	}
	return b
}

// UnmarshalText reads an ID; an empty one is zero.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(b))
	*id = v
	return err
}

// evidenceID names a record that is in the outbox before it is in the log.
func (s *Store) evidenceID() string {
	if s.o.Log == nil {
		return ""
	}
	return s.o.Log.Reserve(s.o.Now())
}

// checkEvidence tells why the log would refuse a draft.
func (s *Store) checkEvidence(ctx context.Context, d *evidence.Draft) error {
	if s.o.Log == nil {
		return d.Check()
	}
	return s.o.Log.Check(ctx, d)
}

// SyncAll makes every change before the call durable.
func (s *Store) SyncAll(ctx context.Context) error {
	if s.o.ReadOnly {
		return nil
	}
	s.mu.Lock()
	var open []*node
	for n := range s.drafts {
		n.refs++
		open = append(open, n)
	}
	s.mu.Unlock()
	var err error
	for _, n := range open {
		if e := s.syncDraft(ctx, n, false); err == nil {
			err = e
		}
		s.unref(n)
	}
	if e := errors.Join(s.commit(ctx), s.syncAccesses()); err == nil {
		err = e
	}
	return err
}
