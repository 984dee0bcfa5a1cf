package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/views"
)

// viewSide is views/, in the mount's words.
type viewSide struct {
	v     *views.Views
	again *reindexing
}

func viewer(c mountfs.Caller) views.Caller {
	return views.Caller{UID: c.UID, GID: c.GID, Groups: c.Groups, Subject: c.Subject}
}

func viewError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, views.ErrNotFound), errors.Is(err, views.ErrHorizon):
		return fmt.Errorf("%w: %w", mountfs.ErrNotFound, err)
	case errors.Is(err, views.ErrQuery):
		return fmt.Errorf("%w: %w", mountfs.ErrInvalid, err)
	case errors.Is(err, views.ErrAgent):
		return fmt.Errorf("%w: %w", mountfs.ErrImmutable, err)
	case errors.Is(err, views.ErrTimeout):
		return fmt.Errorf("%w: %w", mountfs.ErrAgain, err)
	case errors.Is(err, views.ErrScan):
		return fmt.Errorf("%w: %w", syscall.E2BIG, err)
	case errors.Is(err, views.ErrMemory):
		return fmt.Errorf("%w: %w", syscall.ENOMEM, err)
	case errors.Is(err, views.ErrTooLarge):
		return fmt.Errorf("%w: %w", mountfs.ErrTooLarge, err)
	}
	return err
}

func viewEntry(e views.Entry) mountfs.Entry {
	x := mountfs.Entry{Name: e.Name, Link: e.Link, Mtime: e.Mtime, Mode: sIFLNK | 0o777}
	switch {
	case e.Dir:
		x.Mode = sIFDIR | 0o555
	case e.File:
		x.Mode, x.Data = sIFREG|0o644, e.Data
		if e.Fixed {
			x.Mode = sIFREG | 0o444
		}
	}
	return x
}

func (s viewSide) List(ctx context.Context, c mountfs.Caller, path []string) ([]mountfs.Entry, error) {
	list, err := s.v.List(ctx, viewer(c), path)
	out := make([]mountfs.Entry, len(list))
	for i, e := range list {
		out[i] = viewEntry(e)
	}
	return out, viewError(err)
}

func (s viewSide) Lookup(ctx context.Context, c mountfs.Caller, path []string) (mountfs.Entry, error) {
	if len(path) == 2 && path[0] == "query" && path[1] == ".error" {
		text := s.v.LastError(viewer(c))
		if text == "" {
			return mountfs.Entry{}, mountfs.ErrNotFound
		}
		return mountfs.Entry{Name: ".error", Mode: sIFREG | 0o400, Data: []byte(text + "\n"), Mtime: time.Now()}, nil
	}
	if len(path) == 2 && path[0] == "search" && path[1] == reindexFile {
		return s.again.entry(c)
	}
	e, err := s.v.Lookup(ctx, viewer(c), path)
	return viewEntry(e), viewError(err)
}

func (s viewSide) Write(ctx context.Context, c mountfs.Caller, path []string, data []byte) error {
	if len(path) == 2 && path[0] == "search" && path[1] == reindexFile {
		return s.again.begin(c)
	}
	if len(path) == 2 && path[0] == "define" {
		return viewError(s.v.Define(ctx, viewer(c), path[1], data))
	}
	return mountfs.ErrReadOnly
}

// Remove forgets a saved view.
func (s viewSide) Remove(ctx context.Context, c mountfs.Caller, path []string) error {
	if len(path) == 2 && path[0] == "define" {
		return viewError(s.v.Remove(ctx, viewer(c), path[1]))
	}
	return mountfs.ErrReadOnly
}

// querySide writes queries into the log: each that touched secrets, and the others
// summed. No type of their own exists for them (filesystem.md §12).
type querySide struct{ log *evidence.Log }

func (q querySide) record(ctx context.Context, c views.Caller, t views.Told) error {
	draft := evidence.Draft{Type: record.PolicyDecision, Emitter: string(record.EmitterPolicy), Subject: c.Subject.ID, SubjectIsAI: c.Subject.IsAI, Key: q.log.KeyFor(c.Subject.ID, c.Subject.IsAI),
		Payload: map[string]any{"detail_kind": "AIOSFS_QUERY", "decision": "ALLOW", "query_id": t.QueryID, "canonical_dsl": t.Canonical, "dsl_hash": t.Hash,
			"privacy_ceiling": t.Ceiling.String(), "as_of": stamp(t.AsOf), "intent_id": "", "translation_id": "", "row_count": t.Rows, "privacy_filtered_count": t.Filtered, "suppressed_count": t.Suppressed}}
	_, err := q.log.Append(ctx, draft)
	return err
}

// sum writes a subject's ordinary queries of one epoch into the log, as one record.
func (q querySide) sum(ctx context.Context, s views.Sum) error {
	asked := make([]map[string]any, len(s.Asked))
	for i, a := range s.Asked {
		asked[i] = map[string]any{"canonical_dsl": a.Canonical, "dsl_hash": a.Hash, "count": a.Queries, "row_count": a.Rows}
	}
	draft := evidence.Draft{Type: record.PolicyDecision, Emitter: string(record.EmitterPolicy), Subject: s.Caller.Subject.ID, SubjectIsAI: s.Caller.Subject.IsAI, Key: q.log.KeyFor(s.Caller.Subject.ID, s.Caller.Subject.IsAI),
		Payload: map[string]any{"detail_kind": "AIOSFS_QUERY", "summed": true, "decision": "ALLOW", "query_count": s.Queries, "queries": asked, "privacy_ceiling": s.Ceiling.String(),
			"since": stamp(s.Since), "until": stamp(s.Until), "row_count": s.Rows, "privacy_filtered_count": s.Filtered, "suppressed_count": s.Suppressed}}
	_, err := q.log.Append(ctx, draft)
	return err
}

// stamp is a time as records have it, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
