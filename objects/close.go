package objects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// Closing says that the handle is about to be closed: whoever opens the file for writing
// from now on waits until that is done. Close says it too.
func (h *Handle) Closing() {
	if h.write && !h.begun.Swap(true) {
		h.s.mu.Lock()
		h.n.closing++
		h.s.closes.begin(h)
		h.s.mu.Unlock()
	}
}

// closes are the closes that are under way, in the order in which they began; guarded by
// Store.mu.
type closes struct {
	begun uint64
	open  map[*Handle]uint64
}

func (c *closes) begin(h *Handle) {
	c.begun++
	c.open[h] = c.begun
}

// before tells whether a close is under way that began as this number or earlier.
func (c *closes) before(number uint64) bool {
	for _, n := range c.open {
		if n <= number {
			return true
		}
	}
	return false
}

// settleCloses waits until every close that has begun is over: what was closed before a
// directory is synced is durable with it. A mapping holds it up no longer than the doubt
// about it lasts.
func (s *Store) settleCloses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for until := s.closes.begun; s.closes.before(until); {
		s.quiet.Wait()
	}
}

// stays takes back that the handle is about to be closed.
func (h *Handle) stays() {
	if h.begun.Swap(false) {
		h.s.mu.Lock()
		h.n.closing--
		delete(h.s.closes.open, h)
		h.s.quiet.Broadcast()
		h.s.mu.Unlock()
	}
}

// settleName waits until the closes that have begun are over of the file that a name is bound
// to, and of those that had it last: they become versions of the name, too. s.mu is held.
func (s *Store) settleName(dir Ino, name string, bound Ino) {
	for until := s.closes.begun; ; s.quiet.Wait() {
		busy := false
		for h, number := range s.closes.open {
			n := h.n
			busy = busy || number <= until && (n.ino == bound || n.parent == dir && n.name == name)
		}
		if !busy {
			return
		}
	}
}

// Settle waits until the closes of a file that have begun are over, so that what was saved
// before the call is a version.
func (s *Store) Settle(ino Ino) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := s.nodes[ino]; n != nil && n.closing > 0; {
		s.quiet.Wait()
	}
}

// Close closes the handle; the last writer's makes a version of what was written.
func (h *Handle) Close(ctx context.Context) error {
	if h.closed.Swap(true) {
		return nil
	}
	s, n := h.s, h.n
	var err error
	locked := h.write || h.lent
	h.Closing()
	if locked {
		n.io.Lock()
		s.linger(h)
		err = s.giveBack(h)
	}
	if h.write {
		s.mu.Lock()
		n.writers--
		last := n.writers == 0
		if last && n.draft == nil {
			s.installEmpty(n)
		}
		s.mu.Unlock()
		if last && n.draft != nil {
			err = errors.Join(err, s.publish(ctx, n))
		}
	}
	if locked {
		n.io.Unlock()
	}
	s.mu.Lock()
	if h.write {
		n.closing--
		delete(s.closes.open, h)
		s.quiet.Broadcast()
	}
	n.refs--
	if n.refs == 0 && n.content != nil && n.draft == nil {
		err = errors.Join(err, n.content.Close())
		n.content = nil
	}
	s.reap(n)
	s.mu.Unlock()
	return err
}

// publish turns a file's draft into a version; n.io is held for writing.
func (s *Store) publish(ctx context.Context, n *node) error {
	d := n.draft
	s.mu.Lock()
	s.observe(n)
	gone := n.nlink == 0
	// The kernel's own writes into a host file show in its times alone.
	kept := gone && n.writes == n.buried && (n.pin == nil || n.mtime.UnixNano() < n.buriedAt)
	s.mu.Unlock()
	if gone && !kept {
		return nil // a program's own scratch; the draft serves the readers that are left
	}
	if !d.Dirty() {
		s.mu.Lock()
		if n.inode.drafted { // an epoch has it, with its staging file
			s.touch(n)
			n.inode.clearDraft()
		}
		s.spare(n, d.Staging(), n.draftBase)
		s.dropDraft(n)
		s.mu.Unlock()
		return d.Release()
	}
	b, small, err := d.Bytes()
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if small {
		return s.publishBytes(ctx, n, b, false)
	}
	if shared, err := s.publishShared(n, d); shared || err != nil {
		return err
	}
	// The epoch that names the file syncs it; closing does not wait for the disk.
	if err := d.Flatten(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	s.at("close: flattened")
	p := prepared{size: d.Size(), staging: d.Staging()}
	s.mu.Lock()
	blocks := d.Blocks()
	err = s.install(n, p)
	n.blocks = blocks
	if err == nil {
		if n.pin != nil { // its readers have the version's file
			n.pin.version = n.inode.version
		}
		s.dropDraft(n) // with the version: no epoch may hold both
	}
	s.mu.Unlock()
	s.at("close: installed")
	if err != nil {
		return err
	}
	return d.Release()
}

// publishBytes makes a version of a small draft; keep leaves the draft open.
func (s *Store) publishBytes(ctx context.Context, n *node, b []byte, keep bool) error {
	p, err := s.prepareBytes(ctx, b)
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	d := n.draft
	s.mu.Lock()
	err = s.install(n, p)
	switch {
	case err != nil:
	case keep:
		n.draftSaved = n.writes
	default:
		s.spare(n, d.Staging(), n.inode.version)
		s.dropDraft(n)
	}
	s.mu.Unlock()
	if err != nil || keep {
		return err
	}
	return d.Release()
}

// spare lets go of a draft's staging file, which holds the bytes of a version that does
// not need it: once the epoch is durable, or when the kernel's last handle on it is closed.
// s.mu is held.
func (s *Store) spare(n *node, id string, version ID) {
	switch {
	case id == "":
	case n.pin != nil:
		n.pin.name, n.pin.version = id, version
	default:
		s.open.gone = append(s.open.gone, id)
	}
}

// install makes prepared content the current version of a file; s.mu is held. The
// same bytes as the current version's make none.
func (s *Store) install(n *node, p prepared) error {
	o, err := s.editObject(n.object)
	switch {
	case err != nil:
		return err
	case n.nlink > 0:
	case !s.buriedHere(n):
		return s.installLate(n, o, p)
	default:
		defer s.buryContent(n)
	}
	s.touch(n)
	n.size = p.size
	if p.staging == "" && p.same == nil {
		n.blocks = (p.size + 511) / 512
	}
	n.inode.clearDraft()
	n.versioned = s.o.Now().UnixNano()
	if old, err := s.version(o.id, o.current); err == nil && !p.hash.IsZero() && old.hash == p.hash {
		n.inode.version = old.id
		return nil
	}
	c := n.author()
	w := s.workOf(c)
	before := o.current
	v := s.addVersion(o, p, c, w.id, "")
	w.moves++
	w.writes = append(w.writes, write{o.id, v.id, before, hashText(v)})
	n.inode.version = v.id
	s.open.change.Inos = append(s.open.change.Inos, n.ino)
	return nil
}

// installLate adds what a file held when it lost its name, but told of later, to the history
// of an object that another file has gone on with since: a program that saves, removes and
// makes the file anew is faster than the kernel tells of its close. It stands before what the
// other file has got. s.mu is held.
func (s *Store) installLate(n *node, o *object, p prepared) error {
	if o.life == Purged { // nothing of it is kept any more
		if p.staging != "" {
			s.open.gone = append(s.open.gone, p.staging)
		}
		return nil
	}
	s.touch(n)
	n.size = p.size
	n.inode.clearDraft()
	cur, err := s.version(o.id, o.current)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if cur != nil && !p.hash.IsZero() && cur.hash == p.hash {
		n.inode.version = cur.id
		return nil
	}
	next, err := s.node(o.ino)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	w := s.workOf(n.author())
	v := s.makeVersion(o, p, n.author(), w.id, "")
	v.createdAt = time.Unix(0, n.buriedAt).UTC()
	if before := cur != nil && earlier(cur.since(), cur.id, v.createdAt, v.id); cur == nil || before && next != nil && next.inode.version != cur.id {
		o.rollback, o.current = o.current, v.id
		w.moves++
	} else { // the other file has got something already
		v.parent = cur.parent
		if before {
			v.createdAt = cur.since().Add(-time.Millisecond)
		}
	}
	s.putVersion(v)
	s.open.superseded = append(s.open.superseded, v.id)
	w.writes = append(w.writes, write{o.id, v.id, v.parent, hashText(v)})
	n.inode.version = v.id
	if next != nil && next.writers == 0 && next.draft == nil {
		s.installEmpty(next)
	}
	return nil
}

// installEmpty gives a file that was never written, but continues an object with content,
// the version that says so; s.mu is held.
func (s *Store) installEmpty(n *node) {
	if !n.inode.version.IsZero() || n.nlink == 0 || !isRegular(n.mode) || s.writable() != nil {
		return
	}
	if o, err := s.object(n.object); err != nil || o.current.IsZero() {
		return
	}
	if err := s.install(n, prepared{hash: blob.Sum(nil), inline: []byte{}, isInline: true}); err != nil {
		s.o.Logger.Error("an empty file has no version", "inode", n.ino, "error", err)
	}
}

// dropDraft forgets that a file has a draft; s.mu and n.io are held.
func (s *Store) dropDraft(n *node) {
	n.draft = nil
	delete(s.drafts, n)
}

// closeDrafts makes versions of what is still open when the store closes.
func (s *Store) closeDrafts() error {
	s.mu.Lock()
	var open []*node
	for n := range s.drafts {
		open = append(open, n)
	}
	s.mu.Unlock()
	var err error
	for _, n := range open {
		n.io.Lock()
		if n.draft != nil {
			err = errors.Join(err, s.publish(context.Background(), n))
		}
		n.io.Unlock()
	}
	return err
}
