package views

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-os-dot-net/aios/views/dsl"
)

func mimeQuery(t string) *dsl.Query {
	return &dsl.Query{Source: "objects", Limit: -1, Where: []dsl.Predicate{{Field: "metadata.mime", Op: dsl.Eq, Values: []dsl.Value{{Type: dsl.String, Text: t}}}}}
}

var errEnough = errors.New("one is enough")

// ofType is mime/, mime/<type>/ and mime/<type>/<subtype>/. A type is listed where the
// caller sees something of it.
func (v *Views) ofType(ctx context.Context, c Caller, args []string) ([]Entry, error) {
	if v.d.Index == nil || len(args) > 2 {
		return nil, fmt.Errorf("mime/%s: %w", strings.Join(args, "/"), ErrNotFound)
	}
	if len(args) == 2 {
		r, err := v.find(ctx, c, mimeQuery(strings.Join(args, "/")))
		if err == nil && len(r.Rows) == 0 {
			err = fmt.Errorf("mime/%s: %w", strings.Join(args, "/"), ErrNotFound)
		}
		return v.entries(r.Rows, nil), err
	}
	all, err := v.d.Index.MIMEs()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, ErrTimeout)
	defer cancel()
	sight := v.sightOf(c)
	now := v.d.Now()
	whole := &execution{v: v, ceiling: v.d.Ceiling(c), sight: sight}
	var names []string
	for _, t := range all {
		name, sub, ok := strings.Cut(t, "/")
		if len(args) == 1 {
			if name != args[0] {
				continue
			}
			name = sub
		}
		if !ok || slices.Contains(names, name) {
			continue
		}
		e := &execution{v: v, q: mimeQuery(t), ceiling: v.d.Ceiling(c), sight: sight, mime: []string{t}, enough: true}
		if err := e.search(ctx); err != nil && !errors.Is(err, errEnough) {
			return nil, err
		}
		whole.highest, whole.filtered = max(whole.highest, e.highest), whole.filtered+e.filtered
		if len(e.rows) > 0 {
			names = append(names, name)
		}
	}
	if err := whole.tell(ctx, &Result{ID: newQueryID(now), Canonical: "from objects group by metadata.mime", At: now}, len(names)); err != nil {
		return nil, err
	}
	if len(names) == 0 && len(args) > 0 {
		return nil, fmt.Errorf("mime/%s: %w", args[0], ErrNotFound)
	}
	return v.dirs(names), nil
}
