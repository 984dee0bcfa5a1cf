package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// ConflictTTL is how long a conflict stays open before it may be abandoned (CR §9).
const ConflictTTL = 30 * 24 * time.Hour

// ConflictError says that a version is not the one that a transaction expected to be
// current (OM §6: ConflictDetected). It is ErrStale. Where the transaction had a version
// to put in its place, that version is kept STAGED and Conflict names the record of both.
type ConflictError struct {
	Path      string
	Object    ID
	Pointer   ID // CURRENT of the object
	Current   ID // what is current
	Attempted ID // the parent that was expected; zero: none
	Conflict  ID // zero where nothing was put forward
}

func (e *ConflictError) Error() string {
	s := fmt.Sprintf("%s: ConflictDetected: version %s is current, %s was expected", e.Path, orNone(e.Current), orNone(e.Attempted))
	if !e.Conflict.IsZero() {
		s += fmt.Sprintf("; what was to be written is kept in views/conflicts/%s", e.Conflict)
	}
	return fmt.Sprintf("%s: %v", s, ErrStale)
}

// Is makes every ConflictError an ErrStale.
func (e *ConflictError) Is(target error) bool { return target == ErrStale }

// Conflict is the record of a lost compare-and-swap (OM §2): base is what the loser
// started from, current the winner, candidate the loser.
type Conflict struct {
	ID          ID        `json:"conflict_id"`
	Object      ID        `json:"object_id"`
	Pointer     ID        `json:"pointer_id"`
	Base        ID        `json:"base_version_id"`
	Current     ID        `json:"current_version_id"`
	Candidate   ID        `json:"candidate_version_id"`
	Transaction ID        `json:"detected_by_transaction_id"`
	Action      string    `json:"action_id,omitempty"`
	Subject     string    `json:"detected_for_subject"`
	DetectedAt  time.Time `json:"detected_at"`
	Status      string    `json:"status"` // OPEN, as long as nobody resolves it
	Evidence    string    `json:"evidence_receipt_id"`
	AbandonsAt  time.Time `json:"ttl_abandons_at"`
}

// PointerID is the id of one of an object's pointers: the object's time, and bits that
// follow from the object and the kind, since a pointer is a field and no record.
func PointerID(obj ID, kind string) ID {
	sum := blake3.Sum256([]byte(obj.String() + " " + kind))
	id := ID{kind: 'p'}
	copy(id.u[:6], obj.u[:6])
	copy(id.u[6:], sum[:])
	return id
}

// candidate is a version that a transaction wants to be current: the base that it must
// find, nil for any, and the version, STAGED, once its object is known.
type candidate struct {
	name string
	base *ID
	make func(ob *object) (*version, error)
}

// propose notes a candidate; what a transaction writes twice counts as written last, over
// the base of the first.
func (t *Tx) propose(c candidate) {
	for i := range t.candidates {
		if t.candidates[i].name == c.name {
			t.candidates[i].make = c.make
			return
		}
	}
	t.candidates = append(t.candidates, c)
}

// lost keeps what a transaction that lost a compare-and-swap wanted: every version
// that it would have made stays as a STAGED sibling, and each pointer that was elsewhere
// gets a conflict. Nothing that is current changes. What was to become a new file has no
// object to stay with. commitMu and s.mu are held, the open epoch is empty; s.mu is free
// when it returns.
func (s *Store) lost(ctx context.Context, t *Tx, first *ConflictError) error {
	rec := txnRecord{ID: t.id, Subject: t.c.Subject, Action: t.action, At: s.o.Now(), State: txnAborted}
	var kept []string
	err := func() error {
		for _, c := range t.candidates {
			n, err := s.resolve(c.name)
			if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotDir) || err == nil && !isRegular(n.mode) {
				continue
			}
			if err != nil {
				return err
			}
			ob, err := s.object(n.object)
			if err != nil {
				return err
			}
			v, err := c.make(ob)
			if err != nil {
				return err
			}
			v.parent = ID{}
			if c.base == nil {
				v.parent = n.inode.version
			} else if of, err := s.findVersion(*c.base); err == nil && of.object == ob.id {
				v.parent = of.id
			}
			s.putVersion(v)
			kept = append(kept, v.staging)
			rec.Writes = append(rec.Writes, write{ob.id, v.id, v.parent, hashText(v)})
			if c.base != nil && n.inode.version != *c.base {
				if err := s.openConflict(t, first, c, n, v); err != nil {
					return err
				}
			}
		}
		return nil
	}()
	if err != nil || len(rec.Writes) == 0 {
		s.startOver()
		s.mu.Unlock()
		return err
	}
	rec.Root = workRoot(rec.Writes)
	s.open.puts[string(txnKey(t.id))] = encodeTxn(rec)
	t.keep(kept)
	ov := s.close()
	s.mu.Unlock()
	return s.write(ctx, ov)
}

func (s *Store) openConflict(t *Tx, first *ConflictError, c candidate, n *node, v *version) error {
	now := s.o.Now()
	k := Conflict{ID: newID('c', now), Object: v.object, Pointer: PointerID(v.object, "CURRENT"), Base: *c.base, Current: n.inode.version, Candidate: v.id,
		Transaction: t.id, Action: t.action, Subject: t.c.Subject, DetectedAt: now.UTC(), Status: "OPEN", Evidence: s.evidenceID(), AbandonsAt: now.UTC().Add(ConflictTTL)}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	s.open.puts[string(conflictKey(k.ID))] = b
	d := evidence.Draft{ID: k.Evidence, Type: record.ConflictEvent, Emitter: string(record.EmitterStore), Subject: t.c.Subject, SubjectIsAI: t.c.IsAI, Session: t.c.Session, Scope: "_system", ActionID: t.action,
		Payload: map[string]any{"conflict_id": k.ID.String(), "event": "opened", "object_id": k.Object.String(), "pointer_id": k.Pointer.String(), "base_version_id": k.Base.String(),
			"current_version_id": k.Current.String(), "candidate_version_id": k.Candidate.String(), "transaction_id": t.id.String()}}
	if d.Subject == "" {
		d.Subject = "_system:service:aiosfs"
	}
	if d.Check() != nil {
		d.ActionID = "" // the record is worth more than its link to what is no action's id
	}
	s.open.emit = append(s.open.emit, d)
	if c.name == first.Path {
		first.Conflict = k.ID
	}
	return nil
}

// keep leaves staging files to the versions that name them.
func (t *Tx) keep(names []string) {
	var rest []string
	for _, id := range t.staged {
		named := false
		for _, k := range names {
			named = named || k == id
		}
		if !named {
			rest = append(rest, id)
		}
	}
	t.staged = rest
}

// GetConflict gives a conflict's record.
func (s *Store) GetConflict(id ID) (Conflict, error) {
	s.mu.Lock()
	b, err := s.get(conflictKey(id))
	s.mu.Unlock()
	if errors.Is(err, kv.ErrNotFound) || id.kind != 'c' {
		return Conflict{}, fmt.Errorf("conflict %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Conflict{}, err
	}
	return decodeConflict(b)
}

func decodeConflict(b []byte) (k Conflict, err error) {
	err = json.Unmarshal(b, &k)
	return k, err
}

func conflictKey(id ID) []byte { return append([]byte{'k'}, id.u[:]...) }
