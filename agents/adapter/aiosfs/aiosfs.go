// Package aiosfs carries out actions on AIOS objects: files, directories, labels
// and version pointers (OM §8, S10.1 §10).
//
// Everything is staged into the transaction of the run. Policy has spoken before;
// what the submitter could not do with his own hands, owner and mode of every
// directory on the way considered, this adapter does not do for him either.
package aiosfs

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
)

// Adapter is the adapter `aiosfs`.
type Adapter struct{ s *objects.Store }

// New makes the adapter over a store.
func New(s *objects.Store) *Adapter { return &Adapter{s} }

type operation func(ctx context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error)

var operations = map[string]operation{
	"aiosfs.object.write":     write,
	"aiosfs.object.append":    appendTo,
	"aiosfs.object.copy":      copyTo,
	"aiosfs.object.move":      move,
	"aiosfs.object.delete":    remove,
	"aiosfs.object.mkdir":     mkdir,
	"aiosfs.object.label":     label,
	"aiosfs.object.restore":   restore,
	"aiosfs.pointer.promote":  point,
	"aiosfs.pointer.rollback": point,

	"aiosfs.version.quarantine": quarantine,
	"aiosfs.version.release":    release,
}

// timeout is how long one action on objects may take (S10.1 §14).
const timeout = 60 * time.Second

// Manifest declares the kinds.
func (a *Adapter) Manifest() adapter.Manifest {
	m := adapter.Manifest{ID: "aiosfs", Version: "1", Stability: adapter.Stable, Dispatch: adapter.InProcess}
	for name := range operations {
		k := adapter.Kind{Action: name, Class: policy.Mutate, Rollback: adapter.RollbackTransaction, Timeout: timeout}
		switch name {
		case "aiosfs.object.delete", "aiosfs.pointer.rollback":
			k.Risk.Destructive = true
		case "aiosfs.version.quarantine":
			k.Risk.Destructive, k.Rollback = true, adapter.RollbackExternal // a review takes it back
		case "aiosfs.version.release":
			k.Rollback = adapter.RollbackExternal
		}
		m.Kinds = append(m.Kinds, k)
	}
	return m
}

// swaps are the actions that give a file a version. Where their base is stale it is the
// commit that finds it, and keeps what would have been written as a conflict (CR §9).
var swaps = map[string]bool{"aiosfs.object.write": true, "aiosfs.object.restore": true, "aiosfs.pointer.promote": true, "aiosfs.pointer.rollback": true}

// Stage puts the action into the batch.
func (a *Adapter) Stage(ctx context.Context, b *adapter.Batch, r adapter.Request) (adapter.Output, error) {
	return a.stage(ctx, b, r, true)
}

// stage is Stage; what is not to be committed must know that its base is stale now.
func (a *Adapter) stage(ctx context.Context, b *adapter.Batch, r adapter.Request, commits bool) (adapter.Output, error) {
	op := operations[r.Step.Action]
	if op == nil {
		return adapter.Output{}, adapter.Fail("aiosfs.UnknownAction", "no action %s", r.Step.Action)
	}
	p := Rooted(r.Subject, text(r.Step.Target, "path"))
	w, err := find(b, r, p)
	if err != nil {
		return adapter.Output{}, err
	}
	if err := expected(r, w); err != nil && !(commits && w.exists && swaps[r.Step.Action] && errors.Is(err, objects.ErrStale)) {
		return adapter.Output{}, err
	}
	out, err := op(ctx, b, r, w)
	if err != nil {
		return out, err
	}
	out.Changed = true
	if out.Data == nil {
		out.Data = map[string]any{}
	}
	out.Data["path"] = "/aios/" + p
	return out, nil
}

// expected holds the compare-and-swap base against what is current; the
// transaction does so again when it commits.
func expected(r adapter.Request, w walk) error {
	base, err := base(r)
	if err != nil || base == nil {
		return err
	}
	if w.attr.Version != *base {
		is := "version " + w.attr.Version.String() + " is current"
		if w.attr.Version.IsZero() {
			is = "it has no version, or is not there"
		}
		return adapter.Fail("aiosfs.StaleBase", "/aios/%s: %s, and %s was expected: %w", w.path, is, base, objects.ErrStale)
	}
	return nil
}

func base(r adapter.Request) (*objects.ID, error) {
	if r.Step.Expect == nil || r.Step.Expect.Version == "" {
		return nil, nil
	}
	id, err := objects.ParseID(r.Step.Expect.Version)
	if err != nil {
		return nil, adapter.Fail("aiosfs.InvalidVersion", "%s: %w", r.Step.Expect.Version, err)
	}
	return &id, nil
}

// text reads a string field.
func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func flag(m map[string]any, key string) bool {
	b, _ := m[key].(bool)
	return b
}

func list(m map[string]any, key string) []string {
	var out []string
	switch v := m[key].(type) {
	case []string:
		return v
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// source opens what a write or an append puts in.
func source(b *adapter.Batch, r adapter.Request) (func() (io.ReadCloser, error), error) {
	if c, ok := r.Step.Params["content"].(string); ok {
		return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(c))), nil }, nil
	}
	from, ok := r.Step.Params["content_from"].(string)
	if !ok {
		return nil, adapter.Fail("aiosfs.ContentUnsupported", "content_from must be a path here")
	}
	w, err := find(b, r, Rooted(r.Subject, from))
	if err != nil {
		return nil, err
	}
	if err := w.mustExist(); err != nil {
		return nil, err
	}
	return func() (io.ReadCloser, error) { return w.open(b, r) }, nil
}

func write(ctx context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	src, err := source(b, r)
	if err != nil {
		return adapter.Output{}, err
	}
	return put(ctx, b, r, w, src)
}

func appendTo(ctx context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	src, err := source(b, r)
	if err != nil {
		return adapter.Output{}, err
	}
	if !w.exists {
		return put(ctx, b, r, w, src)
	}
	return put(ctx, b, r, w, func() (io.ReadCloser, error) {
		old, err := w.open(b, r)
		if err != nil {
			return nil, err
		}
		more, err := src()
		if err != nil {
			return nil, errors.Join(err, old.Close())
		}
		return both{io.MultiReader(old, more), old, more}, nil
	})
}

type both struct {
	io.Reader
	a, b io.Closer
}

func (x both) Close() error { return errors.Join(x.a.Close(), x.b.Close()) }

// put makes src the content of the file at w.
func put(ctx context.Context, b *adapter.Batch, r adapter.Request, w walk, src func() (io.ReadCloser, error)) (adapter.Output, error) {
	if w.isDir() {
		return adapter.Output{}, adapter.Fail("aiosfs.IsADirectory", "%s: %w", w.path, objects.ErrIsDir)
	}
	o := w.newFile(r, 0o644)
	o.Parents = true // a goal names a file; that its directory is new is part of it
	if w.exists {
		if w.staged == nil && !may(r, w.attr, canWrite) {
			return adapter.Output{}, denied(w.path, "write it")
		}
		if w.staged == nil && w.attr.Mode&syscall.S_IFMT != syscall.S_IFREG {
			return adapter.Output{}, adapter.Fail("aiosfs.NotAFile", "%s: not a regular file: %w", w.path, objects.ErrInvalid)
		}
	} else if err := w.mayBind(r); err != nil {
		return adapter.Output{}, err
	}
	expect, err := base(r)
	if err != nil {
		return adapter.Output{}, err
	}
	if expect == nil && w.staged == nil {
		// What was looked at is what is changed: a lost race fails, and nothing is lost.
		v := w.attr.Version
		if !w.exists || !v.IsZero() {
			expect = &v
		}
	}
	o.Expect = expect
	in, err := src()
	if err != nil {
		return adapter.Output{}, err
	}
	h := blake3.New()
	n := counter{}
	err = b.Tx.WriteFile(ctx, w.path, io.TeeReader(in, io.MultiWriter(h, &n)), o)
	if err = errors.Join(err, in.Close()); err != nil {
		return adapter.Output{}, storeError(err)
	}
	b.Pending[w.path] = adapter.Pending{Open: src}
	return adapter.Output{Data: map[string]any{"content_hash": hex.EncodeToString(h.Sum(nil)), "size": n.n}}, nil
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// storeError gives a store's error its code.
func storeError(err error) error {
	for _, x := range []struct {
		err  error
		code string
	}{{objects.ErrStale, "aiosfs.StaleBase"}, {objects.ErrNoSpace, "aiosfs.NoSpace"}, {objects.ErrPermission, "aiosfs.PermissionDenied"},
		{objects.ErrExist, "aiosfs.Exists"}, {objects.ErrNotFound, "aiosfs.NotFound"}, {objects.ErrNotEmpty, "aiosfs.NotEmpty"},
		{objects.ErrCrossScope, "aiosfs.CrossScope"}, {objects.ErrReadOnly, "aiosfs.ReadOnly"}} {
		if errors.Is(err, x.err) {
			return &adapter.Error{Code: x.code, Retryable: errors.Is(err, objects.ErrNoSpace), Err: err}
		}
	}
	return fmt.Errorf("store: %w", err)
}
