package aiosfs

import (
	"context"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/objects"
)

// quarantine and release put a version of a file in quarantine and end that, each with the
// words of a person (filesystem.md §7).
func quarantine(_ context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	id, why, err := reviewed(b, r, w, "reason")
	if err != nil {
		return adapter.Output{}, err
	}
	b.Tx.Quarantine(id, why)
	return adapter.Output{Data: map[string]any{"version": id.String(), "version_state": objects.Quarantined.String()}}, nil
}

func release(_ context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	id, why, err := reviewed(b, r, w, "justification")
	if err != nil {
		return adapter.Output{}, err
	}
	if err := b.Tx.Release(id, why); err != nil {
		return adapter.Output{}, storeError(err)
	}
	return adapter.Output{Data: map[string]any{"version": id.String(), "version_state": objects.VerifiedState.String()}}, nil
}

// reviewed finds the version that is spoken of, which must be one of the file's.
func reviewed(b *adapter.Batch, r adapter.Request, w walk, word string) (objects.ID, string, error) {
	if err := w.mustExist(); err != nil {
		return objects.ID{}, "", err
	}
	if w.staged != nil {
		return objects.ID{}, "", adapter.Fail("aiosfs.NotYet", "%s is made by this goal, and has no version yet", w.path)
	}
	if !may(r, w.attr, canWrite) {
		return objects.ID{}, "", denied(w.path, "decide on its versions")
	}
	name, why := text(r.Step.Params, "version"), strings.TrimSpace(text(r.Step.Params, word))
	if why == "" {
		return objects.ID{}, "", adapter.Fail("aiosfs.NoReason", "%s: %s must say why", w.path, word)
	}
	id, err := objects.ParseID(name)
	if err != nil {
		return objects.ID{}, "", adapter.Fail("aiosfs.InvalidVersion", "%s: %w", name, err)
	}
	v, err := b.Store.Version(id)
	if err != nil || v.Object != w.attr.Object {
		return objects.ID{}, "", adapter.Fail("aiosfs.NoVersion", "%s: no such version of it: %s: %w", w.path, name, objects.ErrNotFound)
	}
	return id, why, nil
}
