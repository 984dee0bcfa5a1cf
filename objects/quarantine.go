package objects

import (
	"errors"
	"fmt"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// ErrQuarantined is a read of a version whose bytes nobody may take for good ones.
var ErrQuarantined = fmt.Errorf("in quarantine: %w", ErrPermission)

// chunkIntegrityFailure is why a version is in quarantine when a chunk has other bytes
// than its hash says (filesystem.md §7).
const chunkIntegrityFailure = "chunk_integrity_failure"

// quarantineDays is how long a version is in quarantine before it is RETIRED_VERSION, which
// is for good (filesystem.md §7).
const quarantineDays = 30

// quarantineNames is how many versions a record of evidence names: of a bad block that
// thousands share it tells the number.
const quarantineNames = 64

// isolate puts every version that needs a chunk in quarantine, in one epoch: pointers that
// name one move to the object's ROLLBACK target, else to STABLE, else to the newest
// verified version before it; where there is none, they stay and reads fail. The chunk is
// forgotten, so that who writes the same bytes again writes them anew; where it lay is
// kept. s.mu must be free; a reader may hold its inode's io.
func (s *Store) isolate(h blob.Hash) {
	s.isolating.Lock()
	defer s.isolating.Unlock()
	s.mu.Lock()
	place, err := s.get(chunkKey(h))
	if err != nil || s.writable() != nil {
		s.mu.Unlock()
		return // somebody was here before, or nothing may be changed
	}
	s.open.puts[string(chunkKey(h))] = nil
	s.open.puts[string(badChunkKey(h))] = append([]byte{}, place...)
	found := map[ID]ID{} // object by version
	look := func(b []byte) {
		if v, err := decodeVersion(b); err == nil && v.needs(h) {
			found[v.id] = v.object
		}
	}
	for _, ov := range []*overlay{s.committing, s.open} {
		if ov == nil {
			continue
		}
		for k, b := range ov.puts {
			if k[0] == 'v' && b != nil {
				look(b)
			}
		}
	}
	view := s.db.View()
	s.mu.Unlock()
	for _, b := range view.Scan([]byte{'v'}, nil) {
		look(b)
	}
	view.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fence(found, Cred{}, chunkIntegrityFailure)
}

// needs tells whether a version is read through a chunk. One with a plain file is not, but
// goes into packs later.
func (v *version) needs(h blob.Hash) bool {
	if v.hot || v.isInline || v.staging != "" {
		return false
	}
	for _, c := range v.chunks {
		if c.hash == h {
			return true
		}
	}
	return false
}

// fence puts versions in quarantine, in somebody's name; s.mu is held.
func (s *Store) fence(found map[ID]ID, by Cred, reason string) {
	now := s.o.Now()
	var fenced []*version
	for id, obj := range found {
		v, err := s.version(obj, id)
		if errors.Is(err, ErrNotFound) { // absorbed meanwhile
			v, err = s.findVersion(id)
		}
		if err != nil || v.shut() {
			continue
		}
		v.state, v.fencedAt, v.reason = Quarantined, now, reason
		s.putVersion(v)
		s.open.change.Fenced = append(s.open.change.Fenced, v.id)
		fenced = append(fenced, v)
	}
	if len(fenced) == 0 {
		return
	}
	list := make([]map[string]any, 0, min(len(fenced), quarantineNames))
	for _, v := range fenced {
		to := s.retreat(v, now)
		if len(list) < quarantineNames {
			e := map[string]any{"version_id": v.id.String(), "object_id": v.object.String()}
			if !to.IsZero() {
				e["current_version_id"] = to.String()
			}
			list = append(list, e)
		}
	}
	s.fences.Add(1)
	if reason == chunkIntegrityFailure { // a person's words are for the evidence alone
		s.o.Logger.Error("versions are in quarantine: their bytes are damaged", "versions", len(fenced), "first", fenced[0].id)
	}
	s.quarantineEvent(by, map[string]any{"version_id": fenced[0].id.String(), "event": "entered", "reason": reason, "versions": list, "versions_total": len(fenced)})
}

// release ends the quarantine of a version, in somebody's name: its bytes are what its hash
// says, or its time is over. s.mu is held.
func (s *Store) release(v *version, state VersionState, by Cred, why string) {
	was := v.reason
	v.state = state
	if state == VerifiedState {
		v.fencedAt, v.reason = time.Time{}, ""
	}
	s.putVersion(v)
	s.quarantineEvent(by, map[string]any{"version_id": v.id.String(), "object_id": v.object.String(), "event": "exited", "reason": was, "outcome": state.String(), "justification": why})
}

// quarantineEvent is the evidence of an entry or an exit, in the open epoch.
func (s *Store) quarantineEvent(by Cred, payload map[string]any) {
	if by.Subject == "" {
		by.Subject = "_system:service:aiosfs"
	}
	s.open.emit = append(s.open.emit, evidence.Draft{ID: s.evidenceID(), Type: record.QuarantineEvent, Emitter: string(record.EmitterStore), Subject: by.Subject, SubjectIsAI: by.IsAI,
		Session: by.Session, Scope: "_system", Payload: payload})
}

// expire retires the versions whose quarantine nobody has ended in time.
func (s *Store) expire(ids []ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if v, err := s.findVersion(id); err == nil && v.state == Quarantined {
			s.release(v, RetiredVersion, Cred{}, fmt.Sprintf("nobody ended it within %d days", quarantineDays))
		}
	}
}

// retreat takes an object's pointers from a version that is in quarantine, and shuts out
// who has its file open: what such a reader has had is no part of what comes now. It gives
// what CURRENT names instead, zero if it stays; s.mu is held.
func (s *Store) retreat(v *version, now time.Time) ID {
	o, err := s.object(v.object)
	if err != nil {
		return ID{}
	}
	to := s.refuge(o, v)
	e, err := s.editObject(v.object)
	if err != nil {
		return ID{}
	}
	if e.stable == v.id {
		e.stable = to
	}
	if e.rollback == v.id {
		e.rollback = ID{}
	}
	if o.current != v.id {
		return ID{}
	}
	n, err := s.node(o.ino)
	if err != nil || n.inode.version != v.id {
		return ID{}
	}
	n.fenced++
	n.contentOf, n.sound = ID{}, ID{}
	s.open.change.Inos = append(s.open.change.Inos, n.ino)
	if to.IsZero() || n.draft != nil {
		return ID{}
	}
	t, err := s.version(o.id, to)
	if err != nil {
		return ID{}
	}
	e.current = to
	if e.rollback == to {
		e.rollback = ID{}
	}
	s.touch(n)
	n.inode.version, n.size, n.blocks, n.mtime, n.ctime = to, t.size, (t.size+511)/512, now, now
	return to
}

// refuge is what pointers name that named a version which is in quarantine now.
func (s *Store) refuge(o *object, bad *version) ID {
	good := func(id ID) bool {
		if id == bad.id {
			return false
		}
		v, err := s.version(o.id, id)
		return err == nil && v.state == VerifiedState && !v.loser
	}
	for _, id := range []ID{o.rollback, o.stable} {
		if good(id) {
			return id
		}
	}
	vs, err := s.versions(o.id)
	if err != nil {
		return ID{}
	}
	for i := len(vs) - 1; i >= 0; i-- {
		if earlier(vs[i].since(), vs[i].id, bad.since(), bad.id) && good(vs[i].id) {
			return vs[i].id
		}
	}
	return ID{}
}

// OpenQuarantined opens a version as far as it can be read, good bytes or not: it is for
// who finds out what has happened to it. A version that is in no quarantine is opened as by
// OpenVersion.
func (s *Store) OpenQuarantined(ver ID) (Reader, error) {
	s.mu.Lock()
	v, err := s.findVersion(ver)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c, err := s.openVersion(v)
	if p, ok := c.(*chunkContent); ok && v.shut() {
		p.raw = true
	}
	return c, err
}

// rawChunk reads a chunk whatever its bytes are.
func (s *Store) rawChunk(h blob.Hash) ([]byte, error) {
	loc, err := s.placeOf(h, chunkKey(h), badChunkKey(h))
	if err != nil {
		return nil, err
	}
	return s.blobs.ReadDamaged(h, loc)
}
