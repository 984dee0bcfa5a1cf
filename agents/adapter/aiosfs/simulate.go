package aiosfs

import (
	"context"
	"errors"
	"io"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/objects"
)

// maxPreview bounds what a preview holds of a file.
const maxPreview = 256 << 10

// Simulate stages the action into a transaction that is never committed, and shows
// what each path would become.
func (a *Adapter) Simulate(ctx context.Context, r adapter.Request) ([]adapter.Preview, error) {
	b := &adapter.Batch{Store: a.s, Tx: a.s.Begin(objects.Cred{Subject: r.Subject.ID}, r.ActionID), Pending: map[string]adapter.Pending{}}
	out, err := a.stage(ctx, b, r, false)
	if err = errors.Join(err, b.Tx.Discard()); err != nil {
		return nil, err
	}
	var ps []adapter.Preview
	for p, staged := range b.Pending {
		v := adapter.Preview{Path: "/aios/" + p}
		if w, err := find(&adapter.Batch{Store: a.s}, r, p); err == nil && w.exists && !w.isDir() {
			v.Before = head(w.open(b2(a.s), r))
		}
		switch {
		case staged.Dir:
			v.Note = "directory"
		case staged.Gone && v.Before == nil:
			v.Note = "removed"
		case staged.Open != nil:
			v.After = head(staged.Open())
		}
		ps = append(ps, v)
	}
	if len(ps) == 0 {
		path, _ := out.Data["path"].(string)
		ps = append(ps, adapter.Preview{Path: path, Note: r.Step.Action})
	}
	return ps, nil
}

func b2(s *objects.Store) *adapter.Batch { return &adapter.Batch{Store: s} }

// head reads the beginning of a file for people to look at; nil when it cannot.
func head(f io.ReadCloser, err error) []byte {
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPreview))
	if errors.Join(err, f.Close()) != nil {
		return nil
	}
	if b == nil {
		b = []byte{}
	}
	return b
}
