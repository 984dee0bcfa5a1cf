package views

import (
	"context"
	"errors"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/index"
)

// search takes the index's hits as candidates; each is checked against the store and
// the caller's rights like any other row. What the store no longer has is forgotten.
func (e *execution) search(ctx context.Context) error {
	var gone []objects.Ino
	err := e.v.d.Index.Search(ctx, index.Query{Words: e.words, MIME: e.mime}, func(h index.Hit) error {
		a, err := e.v.d.Store.GetAttr(h.Ino)
		var o objects.Object
		if err == nil {
			o, err = e.v.d.Store.Object(a.Object)
		}
		if errors.Is(err, objects.ErrNotFound) {
			gone = append(gone, h.Ino)
			return nil
		}
		if err != nil {
			return err
		}
		return e.consider(ctx, o, h.Score)
	})
	if len(gone) > 0 {
		e.v.d.Index.Forget(gone...)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
