package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Tx is an intent's transaction: changes of the tree by path, records of the action
// runtime and evidence, that happen together in one epoch of their own or not at all.
// Nothing of it is visible before Commit. A Tx is used by one goroutine.
type Tx struct {
	s       *Store
	c       Cred
	action  string
	id      ID
	ops     []func() error
	records map[string][]byte
	emit    []evidence.Draft
	staged  []string   // staging files that belong to the transaction until it commits
	stored  []prepared // what it has put into packs, and nobody had there before
	writes  []write
	done    bool
	final   bool // a review, which another review takes back and no undo
	pending pending
	// candidates are the versions that are to become current, for the case that one
	// of them is put forward in vain.
	candidates []candidate
}

// CommitResult says what a transaction did.
type CommitResult struct {
	Transaction ID
	TS          time.Time
	Versions    []VersionChange
}

// VersionChange is one content that changed: Before is zero for a new file.
type VersionChange struct {
	Object, Before, After ID
	Hash                  string
}

// WriteOptions say how WriteFile treats what is there.
type WriteOptions struct {
	// Expect is the version that must be current (compare-and-swap); nil does not
	// look, a zero ID wants the file not to exist.
	Expect *ID
	// Mode, UID and GID are of a file that is made; one that exists keeps its own.
	Mode     uint32
	UID, GID uint32
	// Parents makes missing directories above it.
	Parents bool
}

// Begin starts a transaction for a subject; action is the act_… id that it carries
// out, and stands in every version that it makes.
func (s *Store) Begin(c Cred, action string) *Tx {
	return &Tx{s: s, c: c, action: action, id: newID('t', s.o.Now()), records: map[string][]byte{}}
}

// ID is the transaction's id, fixed from the beginning.
func (t *Tx) ID() ID { return t.id }

// Emit adds evidence that is written with the commit.
func (t *Tx) Emit(d ...evidence.Draft) {
	for _, x := range d {
		if x.ID == "" {
			x.ID = t.s.evidenceID()
		}
		t.emit = append(t.emit, x)
	}
}

// PutRecord sets a record of the action runtime; DeleteRecord removes one.
func (t *Tx) PutRecord(key string, value []byte) { t.records[key] = append([]byte{}, value...) }

// DeleteRecord is described at PutRecord.
func (t *Tx) DeleteRecord(key string) { t.records[key] = nil }

// read stores what r gives, ready to be named by a version.
func (t *Tx) read(ctx context.Context, r io.Reader) (prepared, error) {
	var head bytes.Buffer
	n, err := head.ReadFrom(io.LimitReader(r, blob.MemoryLimit+1))
	if err != nil {
		return prepared{}, err
	}
	if n <= blob.MemoryLimit {
		p, err := t.s.prepareBytes(ctx, head.Bytes())
		if err == nil && p.place != nil {
			t.stored = append(t.stored, p)
		}
		return p, err
	}
	f, id, err := t.s.blobs.NewStaging()
	if err != nil {
		return prepared{}, err
	}
	defer f.Close()
	if err := t.stage(id); err != nil {
		return prepared{}, err
	}
	h := newHasher()
	w := io.MultiWriter(f, h)
	if _, err := w.Write(head.Bytes()); err != nil {
		return prepared{}, err
	}
	rest, err := io.Copy(w, r)
	if err != nil {
		return prepared{}, err
	}
	return prepared{size: n + rest, hash: h.sum(), staging: id}, nil
}

// WriteFile makes content the file's, making the file if it is not there. The bytes
// are stored and hashed now; that they are the file's happens at Commit.
func (t *Tx) WriteFile(ctx context.Context, name string, r io.Reader, o WriteOptions) error {
	p, err := t.read(ctx, r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	t.do(func() error { return t.s.txWrite(t, name, p, o) })
	t.propose(candidate{name, o.Expect, func(ob *object) (*version, error) {
		v := t.s.makeVersion(ob, p, t.c, t.id, t.action)
		v.state, v.loser = Staged, true
		return v, nil
	}})
	return nil
}

func (s *Store) txWrite(t *Tx, name string, p prepared, o WriteOptions) error {
	n, err := s.resolve(name)
	if errors.Is(err, ErrNotFound) {
		if o.Expect != nil && !o.Expect.IsZero() {
			return fmt.Errorf("%s: expected version %s, and it does not exist: %w", name, o.Expect, ErrStale)
		}
		dir, base, err := s.txParent(t, name, o)
		if err != nil {
			return err
		}
		pn, err := s.placeNew(dir.ino, base)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		mode := o.Mode
		if mode == 0 {
			mode = 0o644
		}
		n = s.newNode(Cred{UID: o.UID, GID: o.GID, Subject: t.c.Subject, IsAI: t.c.IsAI}, pn, base, unix.S_IFREG|mode&0o7777, 0)
		s.bind(pn, n, base)
	} else if err != nil {
		return err
	} else {
		if !isRegular(n.mode) {
			return fmt.Errorf("%s: %w", name, ErrIsDir)
		}
		if o.Expect != nil && n.inode.version != *o.Expect {
			return &ConflictError{Path: name, Object: n.object, Pointer: PointerID(n.object, "CURRENT"), Current: n.inode.version, Attempted: *o.Expect}
		}
		if n.draft != nil && n.draft.Dirty() {
			return fmt.Errorf("%s: it is being written by another program: %w", name, ErrStale)
		}
	}
	return s.txContent(t, n, p)
}

func orNone(id ID) string {
	if id.IsZero() {
		return "none"
	}
	return id.String()
}

// txContent gives a file its new content within the transaction.
func (s *Store) txContent(t *Tx, n *node, p prepared) error {
	if err := s.room(n.scope, p.size-n.size, 0); err != nil {
		return err
	}
	ob, err := s.editObject(n.object)
	if err != nil {
		return err
	}
	s.touch(n)
	now := s.o.Now()
	n.size, n.blocks, n.mtime, n.ctime = p.size, (p.size+511)/512, now, now
	n.inode.clearDraft()
	if old, err := s.version(ob.id, ob.current); err == nil && old.hash == p.hash && !p.hash.IsZero() {
		n.inode.version = old.id
		return nil
	}
	before := ob.current
	v := s.addVersion(ob, p, t.c, t.id, t.action)
	n.inode.version = v.id
	t.writes = append(t.writes, write{ob.id, v.id, before, hashText(v)})
	s.open.change.Inos = append(s.open.change.Inos, n.ino)
	return nil
}

// txParent finds the directory of a path, making what is missing where that is wanted.
func (s *Store) txParent(t *Tx, name string, o WriteOptions) (*node, string, error) {
	dir, base := path.Split(strings.Trim(name, "/"))
	if base == "" {
		return nil, "", fmt.Errorf("%q: %w", name, ErrInvalid)
	}
	d, err := s.resolve(dir)
	if errors.Is(err, ErrNotFound) && o.Parents {
		d, err = s.txMkdirAll(t, dir, o)
	}
	if err != nil {
		return nil, "", err
	}
	if !isDir(d.mode) {
		return nil, "", fmt.Errorf("%s: %w", dir, ErrNotDir)
	}
	return d, base, nil
}

func (s *Store) txMkdirAll(t *Tx, dir string, o WriteOptions) (*node, error) {
	n, err := s.node(RootIno)
	if err != nil {
		return nil, err
	}
	for _, part := range splitPath(dir) {
		if !isDir(n.mode) {
			return nil, fmt.Errorf("%s: %w", dir, ErrNotDir)
		}
		d, ok, err := s.dent(n.ino, part)
		if err != nil {
			return nil, err
		}
		if ok {
			n, err = s.node(d.ino)
		} else {
			n, err = s.mkdir(Cred{UID: o.UID, GID: o.GID, Subject: t.c.Subject}, n.ino, part, 0o755)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return n, nil
}

// Commit makes the transaction happen, durably, in one epoch, or not at all; then
// nothing has changed and the error says why. A lost compare-and-swap is a
// *ConflictError; what was to be written is kept beside it (conflict.go).
func (t *Tx) Commit(ctx context.Context) (CommitResult, error) {
	if t.done {
		return CommitResult{}, fmt.Errorf("the transaction is over: %w", ErrInvalid)
	}
	t.done = true
	if err := t.settle(ctx); err != nil {
		return CommitResult{}, errors.Join(err, t.drop())
	}
	// A draft that the log would refuse must not be committed: its change would be
	// without evidence for ever.
	for i := range t.emit {
		if err := t.s.checkEvidence(ctx, &t.emit[i]); err != nil {
			return CommitResult{}, errors.Join(fmt.Errorf("evidence of the transaction: %w", err), t.drop())
		}
	}
	if len(t.ops) == 0 {
		return t.commitRecords(ctx)
	}
	s := t.s
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	s.mu.Lock()
	// What is in the open epoch must not share the transaction's.
	for s.broken != nil || s.delayed != nil || !s.open.untouched() {
		s.mu.Unlock()
		if err := s.commitOpen(ctx); err != nil {
			return CommitResult{}, errors.Join(err, t.drop())
		}
		s.mu.Lock()
	}
	s.open.saved, s.open.made = map[*node]inode{}, map[*node]bool{}
	s.open.change.Internal = true
	for _, op := range t.ops {
		if err := op(); err != nil {
			s.abort()
			var stale *ConflictError
			if errors.As(err, &stale) {
				if e := s.lost(ctx, t, stale); e != nil {
					err = errors.Join(err, fmt.Errorf("keep what lost: %w", e))
				}
			} else {
				s.mu.Unlock()
			}
			return CommitResult{}, errors.Join(err, t.drop())
		}
	}
	rec := txnRecord{ID: t.id, Subject: t.c.Subject, Action: t.action, At: s.o.Now(), Writes: t.writes, Root: workRoot(t.writes), Final: t.final}
	s.open.work = map[string]*work{} // it is the transaction's, not plain file work
	for k, v := range t.records {
		s.open.puts[string(recordKey(k))] = v
	}
	s.open.emit = append(s.open.emit, t.emit...)
	if err := s.keepUndo(&rec); err != nil {
		s.abort()
		s.mu.Unlock()
		return CommitResult{}, errors.Join(err, t.drop())
	}
	s.open.puts[string(txnKey(t.id))] = encodeTxn(rec)
	s.at("transaction: about to be closed")
	if err := s.db.Room(s.open.weight()); err != nil { // later it could not be taken back
		s.abort()
		s.mu.Unlock()
		return CommitResult{}, errors.Join(noSpace(err), t.drop())
	}
	ov := s.close()
	s.mu.Unlock()
	if err := s.write(ctx, ov); err != nil {
		return CommitResult{}, err
	}
	s.outbox.push()
	res := CommitResult{Transaction: t.id, TS: ov.change.TS}
	for _, w := range t.writes {
		res.Versions = append(res.Versions, VersionChange{w.object, w.before, w.version, w.hash})
	}
	return res, nil
}

// commitRecords is the short way for a transaction that changes no file.
func (t *Tx) commitRecords(ctx context.Context) (CommitResult, error) {
	s := t.s
	if err := s.Health(); err != nil {
		return CommitResult{}, fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	batch := kv.NewBatch()
	for k, v := range t.records {
		if v == nil {
			batch.Delete(recordKey(k))
		} else {
			batch.Set(recordKey(k), v)
		}
	}
	entries, err := s.outbox.prepare(batch, t.emit)
	if err != nil {
		return CommitResult{}, err
	}
	ts, err := s.db.CommitSync(context.WithoutCancel(ctx), batch)
	if err != nil {
		s.outbox.drop(entries)
		return CommitResult{}, noSpace(err)
	}
	s.outbox.add(entries...)
	s.outbox.push()
	return CommitResult{Transaction: t.id, TS: ts.Time()}, nil
}

// noSpace gives a full disk the store's own error.
func noSpace(err error) error {
	if errors.Is(err, kv.ErrNoSpace) {
		return fmt.Errorf("commit: %w", ErrNoSpace)
	}
	return err
}

// Discard forgets a transaction that will not be committed.
func (t *Tx) Discard() error {
	if t.done {
		return nil
	}
	t.done = true
	t.leave()
	return t.drop()
}

// drop removes the staging files of a transaction that did not happen, and notes what else
// is left of it.
func (t *Tx) drop() error {
	var err error
	t.s.mu.Lock()
	t.s.leave(t)
	t.s.mu.Unlock()
	for _, id := range t.staged {
		err = errors.Join(err, t.s.blobs.RemoveStaging(id))
	}
	return err
}

// abort puts memory back to what it was before the transaction; s.mu is held.
func (s *Store) abort() {
	for n, rec := range s.open.saved {
		if s.nodes[n.ino] == n {
			n.inode = rec
			s.count(n)
		}
		n.dirty = nil
	}
	for dir := range s.open.dents {
		s.names.drop(dir)
	}
	s.missed = recentKey{}
	s.moves++
	for n := range s.open.made {
		s.names.drop(n.ino)
		if n.element != nil {
			s.idle.Remove(n.element)
			n.element = nil
		}
		delete(s.nodes, n.ino)
		s.countAs(n, counted{})
	}
	s.startOver()
}

// weight is about how many bytes the epoch will have, rather more than less.
func (ov *overlay) weight() int64 {
	const record = 1 << 10 // of an inode, an object, a name or a draft of evidence
	n := int64(len(ov.inodes)+len(ov.objs)+len(ov.emit)+len(ov.told)) * record
	for _, names := range ov.dents {
		n += int64(len(names)) * record
	}
	for k, v := range ov.puts {
		n += int64(len(k) + len(v))
	}
	for node := range ov.saved {
		n += int64(len(node.inode.draft))
	}
	return n
}

// startOver forgets what the open epoch changes; s.mu is held.
func (s *Store) startOver() {
	told := s.open.told
	s.open = newOverlay()
	s.open.told = told
}

// GetRecord reads a record of the action runtime; ErrNotFound where there is none.
func (s *Store) GetRecord(key string) ([]byte, error) {
	v := s.db.View()
	defer v.Close()
	b, err := v.Get(recordKey(key))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, ErrNotFound
	}
	return b, err
}

// ScanRecords walks the records whose key starts with prefix, in key order.
func (s *Store) ScanRecords(prefix string, fn func(key string, value []byte) error) error {
	v := s.db.View()
	defer v.Close()
	for k, val := range v.Scan(recordKey(prefix), nil) {
		if err := fn(string(k[1:]), append([]byte{}, val...)); err != nil {
			return err
		}
	}
	return nil
}
