package views

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// Row is one thing that a query found.
type Row struct {
	Object objects.Object
	Attr   objects.Attr
	Path   string // from the mount's root
	Score  float64
}

// Result is what a query found. Status is PARTIAL for every query that is not held
// to the caller's own places by `under`, whether or not something was kept from
// him, so that counting tells nothing (filesystem.md §12).
type Result struct {
	Rows      []Row
	Canonical string // the query's canonical text
	Status    string // COMPLETE or PARTIAL
}

// Find runs a query within what the caller may see. A wrong query is ErrQuery, and
// LastError keeps its message; a budget used up is ErrTimeout, ErrScan or ErrTooLarge.
func (v *Views) Find(ctx context.Context, c Caller, query string) (Result, error) {
	q, err := parse([]string{query})
	if err == nil {
		var r Result
		if r, err = v.find(ctx, c, q); err == nil {
			return r, nil
		}
	}
	v.remember(c, err)
	return Result{}, err
}

// served are the fields that the store can answer for today.
var served = map[string]bool{"object_id": true, "kind": true, "metadata.name": true, "metadata.labels": true, "created_at": true,
	"created_by": true, "privacy_class": true, "lifecycle_state": true, "updated_at": true, "mtime": true, "size": true, "path": true,
	"uid": true, "gid": true, "mode": true, "target.scope": true, "target.group_id": true, "target.user_id": true, "score": true}

// servable refuses what the language has and the executor has not yet, rather than
// to answer it wrongly.
func (v *Views) servable(q *dsl.Query) error {
	no := func(col int, what string) error {
		return fmt.Errorf("%w: %w", ErrQuery, &dsl.Error{Code: dsl.NotServed, Column: max(col, 1), Message: what + " is not answered yet"})
	}
	switch {
	case q.Source != "objects":
		return no(6, "from "+q.Source)
	case len(q.GroupBy) > 0:
		return no(q.GroupBy[0].Column, "group by")
	case q.AsOf != nil:
		return no(q.AsOf.Column, "as of (see views/at/)")
	case q.Project != nil && q.Project.Kind != "object_list":
		return no(1, "project "+q.Project.Kind)
	}
	matches, mimes := 0, 0
	for _, p := range q.Where {
		if p.Op == dsl.Match {
			if matches++; v.d.Index == nil || matches > 1 {
				return no(p.Column, "a second match, or one without an index,")
			}
		}
		if p.Field == "metadata.mime" {
			if mimes++; v.d.Index == nil || mimes > 1 || p.Op != dsl.Eq && p.Op != dsl.In {
				return no(p.Column, "a second mime, or anything but = and in of it,")
			}
			continue
		}
		if p.Op == dsl.Pointer && p.Values[0].Text != "CURRENT" && p.Values[0].Text != "STABLE" && p.Values[0].Text != "ROLLBACK" {
			return no(p.Column, "pointer("+p.Values[0].Text+")")
		}
		if p.Field != "" && !served[p.Field] {
			return no(p.Column, p.Field)
		}
		if p.Field == "lifecycle_state" && (p.Op != dsl.Eq || p.Values[0].Text != "ACTIVE") {
			return no(p.Column, "anything but lifecycle_state = ACTIVE")
		}
	}
	for _, o := range q.OrderBy {
		if !served[o.Field] {
			return no(o.Column, "order by "+o.Field)
		}
	}
	return nil
}

func (v *Views) find(ctx context.Context, c Caller, q *dsl.Query) (Result, error) {
	r := Result{Canonical: q.String(), Status: "PARTIAL"}
	if err := v.servable(q); err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, ErrTimeout)
	defer cancel()
	e := &execution{v: v, q: q, ceiling: v.d.Ceiling(c), sight: v.sightOf(c)}
	for _, p := range q.Where {
		switch p.Op {
		case dsl.Match:
			e.words = p.Values[0].Text
		case dsl.Eq, dsl.In:
			if p.Field == "metadata.mime" {
				for _, m := range p.Values {
					e.mime = append(e.mime, m.Text)
				}
			}
		case dsl.Under:
			if c.own(strings.Trim(p.Values[0].Text, "/")) {
				r.Status = "COMPLETE"
			}
		}
	}
	var err error
	if e.indexed() {
		err = e.search(ctx)
	} else {
		err = e.scan(ctx)
	}
	if err != nil {
		return r, err
	}
	e.sort()
	rows := e.rows[min(q.Offset, len(e.rows)):]
	if q.Limit >= 0 && q.Limit < len(rows) {
		rows = rows[:q.Limit]
	}
	if len(rows) > maxRows {
		return r, ErrTooLarge
	}
	if err := e.tell(ctx, r.Canonical, len(rows)); err != nil {
		return r, err
	}
	r.Rows = rows
	return r, nil
}

// execution is one run of a query.
type execution struct {
	v       *Views
	q       *dsl.Query
	ceiling objects.Privacy
	sight   *sight
	words   string
	mime    []string
	enough  bool // one row will do
	known   map[objects.ID]*seen
	rows    []Row
	scanned int
	// filtered counts what the query holds for and the ceiling hides; highest is the
	// highest class of what it holds for, hidden or not.
	filtered int
	highest  objects.Privacy
}

// indexed tells whether the candidates come from the index.
func (e *execution) indexed() bool { return e.words != "" || len(e.mime) > 0 }

func (e *execution) scan(ctx context.Context) error {
	var failed error
	err := e.v.d.Store.Objects(func(o objects.Object) bool {
		failed = e.consider(ctx, o, 0)
		return failed == nil
	})
	return errors.Join(failed, err)
}

// consider takes an object into the rows if the query and the caller's rights let it.
func (e *execution) consider(ctx context.Context, o objects.Object, score float64) error {
	if e.scanned++; e.scanned > maxScan {
		return ErrScan
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if o.State != "ACTIVE" {
		return nil
	}
	a, err := e.v.d.Store.GetAttr(o.Ino)
	if errors.Is(err, objects.ErrNotFound) || err == nil && a.Object != o.ID {
		return nil // gone meanwhile
	}
	if err != nil {
		return err
	}
	row := Row{Object: o, Attr: a, Score: score}
	needPath := false
	for _, p := range e.q.Where {
		if p.Op == dsl.Under || p.Field == "path" || p.Field == "metadata.name" {
			needPath = true
			continue
		}
		if !e.holds(p, &row) {
			return nil
		}
	}
	if row.Path = e.sight.path(o, a); row.Path == "" {
		return nil
	}
	if needPath {
		for _, p := range e.q.Where {
			if !e.holds(p, &row) {
				return nil
			}
		}
	}
	// What the text says is told only to those who may read it.
	if e.indexed() && a.Mode&unix.S_IFMT == unix.S_IFREG && !e.sight.c.may(a, mayRead) {
		return nil
	}
	e.highest = max(e.highest, o.Privacy)
	if o.Privacy > e.ceiling {
		e.filtered++
		return nil
	}
	e.rows = append(e.rows, row)
	if e.enough {
		return errEnough
	}
	// Of many rows only those that can be among the first are held.
	if keep := e.q.Offset + e.q.Limit; e.q.Limit >= 0 && len(e.rows) >= 2*keep+1024 {
		e.sort()
		clear(e.rows[keep:])
		e.rows = e.rows[:keep]
	}
	if e.q.Limit < 0 && len(e.rows) > maxRows+e.q.Offset {
		return ErrTooLarge
	}
	return nil
}

func (e *execution) holds(p dsl.Predicate, r *Row) bool {
	if p.Field == "metadata.mime" {
		return true // the index said so
	}
	switch p.Op {
	case dsl.Match:
		return true // likewise
	case dsl.Privacy:
		class, err := objects.ParsePrivacy(p.Values[0].Text)
		return err == nil && r.Object.Privacy <= class
	case dsl.Under:
		under := strings.Trim(p.Values[0].Text, "/")
		return under == "" || strings.HasPrefix(r.Path, under+"/")
	case dsl.Pointer:
		switch p.Values[0].Text {
		case "CURRENT":
			return !r.Object.Current.IsZero()
		case "STABLE":
			return !r.Object.Stable.IsZero()
		}
		return !r.Object.Rollback.IsZero()
	}
	got := r.value(p.Field)
	if p.Op == dsl.Exists {
		list, ok := got.([]string)
		return got != "" && (!ok || len(list) > 0)
	}
	for _, want := range p.Values {
		if compare(got, p.Op, want) {
			return true
		}
	}
	return false
}

// value gives a served field of the row: a string, a []string, a float64 or a time.
func (r *Row) value(field string) any {
	o, a := r.Object, r.Attr
	switch field {
	case "object_id":
		return o.ID.String()
	case "kind":
		return o.Kind
	case "metadata.name":
		return r.Path[strings.LastIndexByte(r.Path, '/')+1:]
	case "metadata.labels":
		return o.Labels
	case "created_at":
		return o.CreatedAt
	case "created_by":
		return o.CreatedBy
	case "privacy_class":
		return o.Class
	case "lifecycle_state":
		return o.State
	case "updated_at", "mtime":
		return a.Mtime
	case "size":
		return float64(a.Size)
	case "path":
		return r.Path
	case "uid":
		return float64(a.UID)
	case "gid":
		return float64(a.GID)
	case "mode":
		return float64(a.Mode & 0o7777)
	case "target.scope":
		return o.ScopeKind
	case "target.group_id":
		return o.Scope.Group
	case "target.user_id":
		return o.Scope.User
	case "score":
		return r.Score
	}
	return ""
}

func compare(got any, op dsl.Op, want dsl.Value) bool {
	c := 0
	switch g := got.(type) {
	case []string:
		for _, s := range g {
			if s == want.Text {
				return true
			}
		}
		return false
	case string:
		if op == dsl.Contains {
			return strings.Contains(g, want.Text)
		}
		c = strings.Compare(g, want.Text)
	case float64:
		c = order(g, want.Number)
	case time.Time:
		c = g.Compare(want.Time)
	}
	switch op {
	case dsl.Eq, dsl.In:
		return c == 0
	case dsl.Ne:
		return c != 0
	case dsl.Lt:
		return c < 0
	case dsl.Le:
		return c <= 0
	case dsl.Gt:
		return c > 0
	}
	return op == dsl.Ge && c >= 0
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// sort puts the rows in the query's order, then by object id: the same question has
// the same answer.
func (e *execution) sort() {
	sort.SliceStable(e.rows, func(i, j int) bool {
		a, b := &e.rows[i], &e.rows[j]
		for _, o := range e.q.OrderBy {
			c := 0
			switch x := a.value(o.Field).(type) {
			case string:
				c = strings.Compare(x, b.value(o.Field).(string))
			case []string:
				c = strings.Compare(strings.Join(x, ","), strings.Join(b.value(o.Field).([]string), ","))
			case float64:
				c = order(x, b.value(o.Field).(float64))
			case time.Time:
				c = x.Compare(b.value(o.Field).(time.Time))
			}
			if c != 0 {
				return c < 0 != o.Desc
			}
		}
		return a.Object.ID.String() < b.Object.ID.String()
	})
}
