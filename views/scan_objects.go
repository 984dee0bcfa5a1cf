package views

import (
	"context"
	"errors"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// indexed tells whether the candidates come from the index.
func (e *execution) indexed() bool { return e.words != "" || len(e.mime) > 0 }

func (e *execution) scan(ctx context.Context) error {
	if e.sn != nil {
		return e.sn.Objects(func(o objects.Object) error { return e.consider(ctx, o, 0) })
	}
	var failed error
	err := e.v.d.Store.Objects(func(o objects.Object) bool {
		failed = e.consider(ctx, o, 0)
		return failed == nil
	})
	return errors.Join(failed, err)
}

// attr gives an object's inode, now or then.
func (e *execution) attr(ino objects.Ino) (objects.Attr, error) {
	if e.sn != nil && !e.asOf.IsZero() {
		return e.sn.GetAttr(ino)
	}
	return e.v.d.Store.GetAttr(ino)
}

// consider takes an object into the rows if the query and the caller's rights let it.
func (e *execution) consider(ctx context.Context, o objects.Object, score float64) error {
	if err := e.step(ctx); err != nil {
		return err
	}
	if o.State != "ACTIVE" && !e.dead {
		return nil
	}
	if !e.asOf.IsZero() {
		// What was purged since is gone from the past, too, and a class that was raised
		// holds for it (T-6).
		today, err := e.v.d.Store.Object(o.ID)
		if errors.Is(err, objects.ErrNotFound) || err == nil && today.State == "PURGED" {
			return nil
		}
		if err != nil {
			return err
		}
		o.Privacy = max(o.Privacy, today.Privacy)
	}
	row := Row{ID: o.ID.String(), Object: o, Score: score}
	var err error
	if o.State == "ACTIVE" {
		if row.Attr, err = e.attr(o.Ino); errors.Is(err, objects.ErrNotFound) || err == nil && row.Attr.Object != o.ID {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		row.Mtime = row.Attr.Mtime
	} else {
		row.Mtime, row.Attr.Mtime = o.RetiredAt, o.RetiredAt
	}
	// What needs no path is asked first: paths are dear.
	for _, p := range e.q.Where {
		if !pathed(p) && !e.holds(p, &row) {
			return nil
		}
	}
	if o.State == "ACTIVE" {
		row.Path = e.sight.path(o, row.Attr)
		row.Link = row.Path
	} else {
		row.Path, row.Link = e.sight.grave(o)
	}
	if row.Path == "" {
		if o.Scope.Group != "" && !e.sight.c.belongs("groups/"+o.Scope.Group) {
			e.suppressed++
		}
		return nil
	}
	// What the content says is told only to those who may read it.
	readable := !regular(row.Attr) || e.sight.c.may(row.Attr, mayRead)
	if e.indexed() && !readable {
		return nil
	}
	if err := e.enrich(&row, readable); err != nil {
		return err
	}
	if !e.all(&row) {
		return nil
	}
	if !e.asOf.IsZero() && row.Link != "" {
		row.Link = "views/at/" + e.asOf.UTC().Format(time.RFC3339Nano) + "/" + row.Link
	}
	return e.keep(row, o.Privacy)
}

// pathed are the predicates that need the path, or what is known of readable things
// only.
func pathed(p dsl.Predicate) bool {
	switch p.Field {
	case "path", "metadata.name", "target.reserved_name", "content_hash", "comment", "rating":
		return true
	}
	return p.Op == dsl.Under
}

// enrich adds the fields that cost more to get, where the query asks for them.
func (e *execution) enrich(r *Row, readable bool) error {
	set := func(field string, v any) {
		if r.fields == nil {
			r.fields = map[string]any{}
		}
		r.fields[field] = v
	}
	if mentions(e.q, "content_hash") {
		hash := ""
		if readable && !r.Object.Current.IsZero() {
			v, err := e.v.d.Store.Version(r.Object.Current)
			if err != nil && !errors.Is(err, objects.ErrNotFound) {
				return err
			}
			hash = v.Hash
		}
		set("content_hash", hash)
	}
	for field, attr := range map[string]string{"comment": "user.xdg.comment", "rating": "user.baloo.rating"} {
		if !mentions(e.q, field) {
			continue
		}
		text, err := e.xattr(r.Attr.Ino, attr)
		if err != nil {
			return err
		}
		if !readable {
			text = ""
		}
		if field == "comment" {
			set(field, text)
		} else if n, ok := number(text); ok {
			set(field, n)
		} else {
			set(field, nil)
		}
	}
	return nil
}

func (e *execution) xattr(ino objects.Ino, name string) (string, error) {
	get := e.v.d.Store.GetXattr
	if !e.asOf.IsZero() {
		get = e.sn.GetXattr
	}
	b, err := get(ino, name)
	if errors.Is(err, objects.ErrNoXattr) || errors.Is(err, objects.ErrNotFound) {
		return "", nil
	}
	return string(b), err
}
