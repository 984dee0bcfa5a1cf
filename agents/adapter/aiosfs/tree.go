package aiosfs

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/objects"
)

// maxCopy bounds how many things one copy of a directory makes.
const maxCopy = 10_000

func copyTo(ctx context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	if err := w.mustExist(); err != nil {
		return adapter.Output{}, err
	}
	to, err := destination(b, r, w)
	if err != nil {
		return adapter.Output{}, err
	}
	left := maxCopy
	out, err := copyTree(ctx, b, r, w, to, &left)
	if err != nil {
		return out, err
	}
	if out.Data == nil {
		out.Data = map[string]any{}
	}
	out.Data["to"] = "/aios/" + to.path
	return out, nil
}

func copyTree(ctx context.Context, b *adapter.Batch, r adapter.Request, from, to walk, left *int) (adapter.Output, error) {
	if *left--; *left < 0 {
		return adapter.Output{}, adapter.Fail("aiosfs.TooMany", "%s: more than %d things to copy", from.path, maxCopy)
	}
	if !from.isDir() {
		// What is copied now is what was there when it was staged.
		return put(ctx, b, r, to, func() (io.ReadCloser, error) { return from.open(b, r) })
	}
	if from.staged == nil && !may(r, from.attr, canRead|canExec) {
		return adapter.Output{}, denied(from.path, "read it")
	}
	if from.staged != nil {
		return adapter.Output{}, adapter.Fail("aiosfs.NotYet", "%s is made by this goal and cannot be copied in it", from.path)
	}
	if err := to.mayBind(r); err != nil {
		return adapter.Output{}, err
	}
	b.Tx.Mkdir(to.path, to.newFile(r, 0o755))
	b.Pending[to.path] = adapter.Pending{Dir: true}
	d, err := b.Store.OpenDir(from.attr.Ino)
	if err != nil {
		return adapter.Output{}, err
	}
	defer d.Close()
	for _, e := range d.From(0) {
		f, err := find(b, r, from.path+"/"+e.Name)
		if err != nil {
			return adapter.Output{}, err
		}
		t, err := find(b, r, to.path+"/"+e.Name)
		if err != nil {
			return adapter.Output{}, err
		}
		t.parent = to.parent
		if _, err := copyTree(ctx, b, r, f, t, left); err != nil {
			return adapter.Output{}, err
		}
	}
	return adapter.Output{}, nil
}

// destination finds params.to; a directory that exists takes the thing in.
func destination(b *adapter.Batch, r adapter.Request, from walk) (walk, error) {
	p := Rooted(r.Subject, text(r.Step.Params, "to"))
	to, err := find(b, r, p)
	if err != nil {
		return to, err
	}
	if to.isDir() {
		if to, err = find(b, r, p+"/"+path.Base(from.path)); err != nil {
			return to, err
		}
	}
	if to.path == from.path || len(to.path) > len(from.path) && to.path[:len(from.path)+1] == from.path+"/" {
		return to, adapter.Fail("aiosfs.IntoItself", "%s: cannot go into itself: %w", from.path, objects.ErrInvalid)
	}
	if to.exists {
		return to, adapter.Fail("aiosfs.Exists", "%s: %w", to.path, objects.ErrExist)
	}
	return to, to.mayBind(r)
}

func move(_ context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	if err := errors.Join(w.mustExist(), w.mayBind(r)); err != nil {
		return adapter.Output{}, err
	}
	to, err := destination(b, r, w)
	if err != nil {
		return adapter.Output{}, err
	}
	o := to.newFile(r, 0o755)
	o.Parents = true
	b.Tx.Move(w.path, to.path, false, o)
	p := adapter.Pending{Dir: w.isDir()}
	if !p.Dir {
		p.Open = func() (io.ReadCloser, error) { return w.open(b, r) }
	}
	b.Pending[to.path] = p
	b.Pending[w.path] = adapter.Pending{Gone: true}
	return adapter.Output{Data: map[string]any{"to": "/aios/" + to.path}}, nil
}

func remove(_ context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	if err := errors.Join(w.mustExist(), w.mayBind(r)); err != nil {
		return adapter.Output{}, err
	}
	expect, err := base(r)
	if err != nil {
		return adapter.Output{}, err
	}
	recursive := flag(r.Step.Params, "recursive")
	if recursive && w.isDir() && w.staged == nil {
		left := maxCopy
		if err := mayClear(b, r, w, &left); err != nil {
			return adapter.Output{}, err
		}
	}
	b.Tx.Delete(w.path, recursive, expect)
	b.Pending[w.path] = adapter.Pending{Gone: true}
	return adapter.Output{}, nil
}

// mayClear says whether the submitter could empty a directory himself.
func mayClear(b *adapter.Batch, r adapter.Request, w walk, left *int) error {
	if r.Admin() {
		return nil
	}
	d, err := b.Store.OpenDir(w.attr.Ino)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, e := range d.From(0) {
		if *left--; *left < 0 {
			return adapter.Fail("aiosfs.TooMany", "%s: more than %d things to remove", w.path, maxCopy)
		}
		c, err := find(b, r, w.path+"/"+e.Name)
		if err == nil {
			err = c.mayBind(r)
		}
		if err == nil && c.isDir() {
			err = mayClear(b, r, c, left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func mkdir(_ context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	parents := flag(r.Step.Params, "parents")
	if w.exists {
		if parents && w.isDir() {
			return adapter.Output{}, nil
		}
		return adapter.Output{}, adapter.Fail("aiosfs.Exists", "%s: %w", w.path, objects.ErrExist)
	}
	if !parents && !w.direct {
		return adapter.Output{}, adapter.Fail("aiosfs.NotFound", "%s: the directory above it does not exist: %w", w.path, objects.ErrNotFound)
	}
	if err := w.mayBind(r); err != nil {
		return adapter.Output{}, err
	}
	o := w.newFile(r, 0o755)
	o.Parents = parents
	b.Tx.Mkdir(w.path, o)
	b.Pending[w.path] = adapter.Pending{Dir: true}
	return adapter.Output{}, nil
}

func label(_ context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	if err := w.mustExist(); err != nil {
		return adapter.Output{}, err
	}
	if w.staged == nil && !may(r, w.attr, canWrite) {
		return adapter.Output{}, denied(w.path, "label it")
	}
	add, del := list(r.Step.Params, "add"), list(r.Step.Params, "remove")
	b.Tx.SetLabels(w.path, add, del)
	return adapter.Output{Data: map[string]any{"added": add, "removed": del}}, nil
}

// restore makes an earlier version current again: one that is named, the one of a
// time, or the one before; a file that is gone comes back.
func restore(_ context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	if !w.direct {
		return adapter.Output{}, adapter.Fail("aiosfs.NotFound", "%s: the directory it was in is gone: %w", w.path, objects.ErrNotFound)
	}
	history, err := b.Store.NameHistory(w.parent.Ino, path.Base(w.path))
	if err != nil {
		return adapter.Output{}, storeError(err)
	}
	i := -1
	switch want, at := text(r.Step.Params, "version"), text(r.Step.Params, "at"); {
	case want != "":
		i = slices.IndexFunc(history, func(v objects.Version) bool { return v.ID.String() == want })
	case at != "":
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return adapter.Output{}, adapter.Fail("aiosfs.InvalidTime", "%s: %w", at, err)
		}
		for j, v := range history {
			if !v.Since().After(t) {
				i = j
			}
		}
	case w.exists:
		i = len(history) - 2
	default:
		i = len(history) - 1
	}
	if i < 0 {
		return adapter.Output{}, adapter.Fail("aiosfs.NoVersion", "%s: no such version: %w", w.path, objects.ErrNotFound)
	}
	return adopt(b, r, w, history[i])
}

// point makes a version CURRENT: a promotion or a rollback of the pointer.
func point(ctx context.Context, b *adapter.Batch, r adapter.Request, w walk) (adapter.Output, error) {
	if p := text(r.Step.Target, "pointer"); p != "" && p != "CURRENT" {
		return adapter.Output{}, adapter.Fail("aiosfs.PointerUnsupported", "%s: only CURRENT is moved by an action; %s follows it", w.path, p)
	}
	if err := w.mustExist(); err != nil {
		return adapter.Output{}, err
	}
	return restore(ctx, b, r, w)
}

func adopt(b *adapter.Batch, r adapter.Request, w walk, v objects.Version) (adapter.Output, error) {
	o := w.newFile(r, 0o644)
	if w.exists {
		if w.staged == nil && !may(r, w.attr, canWrite) {
			return adapter.Output{}, denied(w.path, "write it")
		}
	} else if err := w.mayBind(r); err != nil {
		return adapter.Output{}, err
	}
	expect, err := base(r)
	if err != nil {
		return adapter.Output{}, err
	}
	o.Expect = expect
	b.Tx.Adopt(w.path, v.Object, v.ID, o)
	b.Pending[w.path] = adapter.Pending{Open: func() (io.ReadCloser, error) {
		f, err := b.Store.OpenVersion(v.ID)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(f, 0, f.Size()), f}, nil
	}}
	out := adapter.Output{Data: map[string]any{"from_version": v.ID.String()}}
	if v.Hash != "" {
		out.Data["content_hash"] = v.Hash
	}
	return out, nil
}
