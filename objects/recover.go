package objects

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// recoverDrafts finishes what was open when the daemon ended: files without a name
// go, drafts that an epoch or an fsync saved become versions, versions that were not
// sealed are queued again, and staging files that nothing names are removed.
func (s *Store) recoverDrafts(ctx context.Context) error {
	mark := s.openMark()
	var orphans []Ino
	if mark != closedWhole { // else there are none, and the past of a million of them
		for k := range s.view.ScanKeys([]byte{'u'}, nil) {
			orphans = append(orphans, Ino(binary.BigEndian.Uint64(k[1:])))
		}
	}
	names, err := s.blobs.ListStaging()
	if err != nil {
		return err
	}
	died := mark != 0 && mark != closedWhole
	lost := died && s.powerLost()
	left, err := s.leftBy(mark, names, lost)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, ino := range orphans {
		if n, err := s.node(ino); err == nil {
			n.orphan = true
			s.reap(n)
		}
		s.open.puts[string(orphanKey(ino))] = nil
	}
	for _, ino := range left.dropped {
		if err := s.unwrite(ino); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.mu.Unlock()
	for _, rec := range left.drafted {
		if err := s.recoverDraft(ctx, rec); err != nil {
			return err
		}
		s.at("recover: a draft")
	}
	s.mu.Lock()
	s.open.puts["m-open"] = []byte{openNoted}
	for _, v := range left.staged {
		s.open.puts[string(stagedKey(v.id))] = []byte{} // an older program has not noted it
	}
	for _, k := range left.stale {
		s.open.puts[string(k)] = nil
	}
	if died {
		s.open.emit = append(s.open.emit, s.replayed(len(left.drafted), len(left.staged), len(orphans)))
	}
	s.mu.Unlock()
	s.at("recover: before the commit")
	if err := s.commit(ctx); err != nil {
		return err
	}
	// Not before: a crash in between must find again that the power was lost.
	if err := s.noteBoot(); err != nil {
		return err
	}
	s.at("recover: before staging files go")
	s.seal.add(left.staged...)
	return s.sweepStaging(names, left.named, mark == openNoted)
}

// replayed tells of a store that nobody closed: what its log held is in force again, up to
// the epoch it names.
func (s *Store) replayed(drafts, versions, orphans int) evidence.Draft {
	const self = "_system:service:aiosfs"
	return evidence.Draft{ID: s.evidenceID(), Type: record.RecoveryEvent, Emitter: string(record.EmitterRecovery), Subject: self, Scope: "_system",
		Payload: map[string]any{"event_kind": "STORE_REPLAYED", "operator_subject": self, "detail": "the store was not closed; its log was replayed",
			"epoch": s.db.LastSealed().Time().Format(time.RFC3339Nano), "drafts_made_versions": drafts, "versions_to_hash": versions, "files_without_name": orphans}}
}

// recoverDraft makes a version of what an epoch or fsync saved of an open file.
func (s *Store) recoverDraft(ctx context.Context, rec *inode) error {
	s.mu.Lock()
	n, err := s.node(rec.ino)
	if err == nil {
		c := Cred{UID: n.uid, GID: n.gid, Subject: "_system:service:aiosfs"}
		if o, err := s.object(n.object); err == nil && o.createdBy != "" {
			c.Subject = o.createdBy
		}
		n.lastCred = s.credOf(c)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	n.io.Lock()
	defer n.io.Unlock()
	if rec.large().staging == "" {
		p, err := s.prepareBytes(ctx, rec.draft)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.install(n, p)
	}
	d, err := s.restoreDraft(rec)
	if errors.Is(err, blob.ErrNoStaging) {
		s.o.Logger.Error("a draft that was synced is not there", "inode", rec.ino)
		return ErrIntegrity
	}
	if err != nil {
		return err
	}
	if err := d.Sync(ctx); err != nil {
		return err
	}
	staging := rec.large().staging
	if f, ok := d.File(); ok && !onlyOurs(f) {
		// Whoever had it open through the mount that died still writes it, without us.
		c, id, err := s.blobs.CopyStaging(ctx, f, rec.size)
		if err != nil {
			return errors.Join(err, d.Release())
		}
		staging = id
		if err := c.Close(); err != nil {
			return errors.Join(err, d.Release())
		}
	}
	s.mu.Lock()
	err = s.install(n, prepared{size: rec.size, staging: staging})
	if old := rec.large().staging; staging != old {
		s.open.gone = append(s.open.gone, old)
	}
	s.mu.Unlock()
	return errors.Join(err, d.Release())
}

// restoreDraft opens a large draft as its record says it was.
func (s *Store) restoreDraft(rec *inode) (*blob.Draft, error) {
	var base blob.Base
	draft := rec.large()
	if draft.over.baseLen > 0 {
		s.mu.Lock()
		v, err := s.findVersion(draft.over.base)
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		c, err := s.openVersion(v)
		if err != nil {
			return nil, err
		}
		defer c.Close() // the draft is made whole before this returns
		base = c
	}
	d, err := blob.RestoreOverlay(s.blobs, base, blob.Overlay{Staging: draft.staging, Written: draft.over.written, BaseLen: draft.over.baseLen, Size: rec.size})
	if err != nil {
		return nil, err
	}
	return d, d.Flatten(context.Background())
}
