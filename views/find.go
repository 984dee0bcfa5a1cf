package views

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// Result is what a query found. Status is PARTIAL for every query that is not held
// to the caller's own places by `under`, whether or not something was kept from
// him, so that counting tells nothing (filesystem.md §12).
type Result struct {
	ID        string // qry_<ULID>
	Query     *dsl.Query
	Columns   []string
	Rows      []Row
	Canonical string // the query's canonical text
	Status    string // COMPLETE or PARTIAL
	At        time.Time
	AsOf      time.Time // of the epoch that was looked at; zero for the present
}

// Find runs a query within what the caller may see. A wrong query is ErrQuery, and
// LastError keeps its message; a budget used up is ErrTimeout, ErrScan, ErrMemory or
// ErrTooLarge, and a time before the history that is kept ErrHorizon.
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

func newQueryID(now time.Time) string {
	return "qry_" + ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
}

func (v *Views) find(ctx context.Context, c Caller, q *dsl.Query) (Result, error) {
	now := v.d.Now()
	r := Result{ID: newQueryID(now), Query: q, Columns: columns[q.Source], Canonical: q.String(), Status: "PARTIAL", At: now}
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
			if c.own(rooted(p.Values[0].Text)) {
				r.Status = "COMPLETE"
			}
		}
		if p.Field != "" && p.Op != dsl.Exists && p.Field == "lifecycle_state" {
			e.dead = true
		}
	}
	if len(q.GroupBy) > 0 {
		e.groups = &grouping{q, map[string]*group{}}
		r.Columns = grouped(q)
	}
	if err := e.open(ctx); err != nil {
		return r, err
	}
	defer e.close()
	r.AsOf = e.asOf
	if err := e.run(ctx); err != nil {
		return r, err
	}
	if e.groups != nil {
		e.rows = e.groups.rows()
	}
	e.sort()
	rows := e.rows[min(q.Offset, len(e.rows)):]
	if q.Limit >= 0 && q.Limit < len(rows) {
		rows = rows[:q.Limit]
	}
	if len(rows) > maxRows {
		return r, ErrTooLarge
	}
	if err := e.tell(ctx, &r, len(rows)); err != nil {
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
	dead    bool // retired objects are asked for, too
	// sn is the past that is looked at, or the present of the sources that are no
	// objects; asOf is zero for the present.
	sn      *objects.Snapshot
	asOf    time.Time
	known   map[objects.ID]*seen
	rows    []Row
	groups  *grouping
	scanned int
	// filtered counts what the query holds for and the ceiling hides, suppressed what is
	// in other groups' places; highest is the highest class of what it holds for, hidden
	// or not.
	filtered, suppressed int
	highest              objects.Privacy
}

// open takes the snapshot that the query looks at.
func (e *execution) open(ctx context.Context) error {
	stored := e.v.d.Store
	a := e.q.AsOf
	if a == nil && e.q.Source == "objects" {
		return nil
	}
	now, err := stored.Newest(ctx)
	if err != nil {
		return err
	}
	e.sn = now
	if a == nil {
		return nil
	}
	at, ok := a.At(e.v.d.Now())
	if !ok {
		if at, err = e.committed(a.Version); err != nil {
			e.close()
			return fmt.Errorf("%w: %w", ErrQuery, &dsl.Error{Code: dsl.InvalidQuery, Column: a.Column, Message: "no version " + a.Version})
		}
	}
	if at.After(e.v.d.Now()) {
		e.close()
		return fmt.Errorf("%w: %w", ErrQuery, &dsl.Error{Code: dsl.InvalidQuery, Column: a.Column, Message: at.UTC().Format(time.RFC3339) + " has not come yet"})
	}
	past, err := stored.At(at)
	e.close()
	if errors.Is(err, objects.ErrHorizon) {
		return ErrHorizon
	}
	if err != nil {
		return err
	}
	e.sn, e.asOf, e.sight.past = past, past.Time(), past
	return nil
}

// committed is when a version became a part of the tree, for a caller who sees its
// object.
func (e *execution) committed(ver string) (time.Time, error) {
	id, err := objects.ParseID(ver)
	if err != nil {
		return time.Time{}, err
	}
	v, err := e.v.d.Store.Version(id)
	if err != nil {
		return time.Time{}, err
	}
	if e.sees(v.Object) == nil {
		return time.Time{}, ErrNotFound
	}
	e.known = nil // that was the present
	return e.v.d.Store.Committed(id)
}

func (e *execution) close() {
	if e.sn != nil {
		e.sn.Close()
	}
	e.sn = nil
}

func (e *execution) run(ctx context.Context) error {
	switch e.q.Source {
	case "versions":
		return e.versions(ctx)
	case "pointers":
		return e.pointers(ctx)
	case "transactions":
		return e.transactions(ctx)
	case "conflicts":
		return e.conflicts(ctx)
	case "evidence":
		return e.evidence(ctx)
	case "actions":
		return e.actions(ctx)
	}
	if e.indexed() {
		return e.search(ctx)
	}
	return e.scan(ctx)
}

// step counts something that is looked at.
func (e *execution) step(ctx context.Context) error {
	if e.scanned++; e.scanned > maxScan {
		return ErrScan
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// all tells whether every predicate holds for a row.
func (e *execution) all(r *Row) bool {
	return !slices.ContainsFunc(e.q.Where, func(p dsl.Predicate) bool { return !e.holds(p, r) })
}

// keep takes a row that the query holds for and the caller may know of, or hides it
// for its class.
func (e *execution) keep(r Row, class objects.Privacy) error {
	e.highest = max(e.highest, class)
	if class > e.ceiling {
		e.filtered++
		return nil
	}
	if e.groups != nil {
		return e.groups.add(&r)
	}
	e.rows = append(e.rows, r)
	if e.enough {
		return errEnough
	}
	if len(e.rows) > maxHeld {
		return ErrMemory
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

// sort puts the rows in the query's order, then by their ids, or groups by what they
// are grouped by: the same question has the same answer.
func (e *execution) sort() {
	keys := e.q.OrderBy
	if len(keys) == 0 && e.q.Project != nil && e.q.Project.Kind == "timeline" {
		keys = []dsl.Order{{Field: when[e.q.Source]}}
	}
	for _, n := range e.q.GroupBy {
		keys = append(keys[:len(keys):len(keys)], dsl.Order{Field: n.Field})
	}
	if e.q.Source == "evidence" && e.groups == nil {
		keys = append(keys[:len(keys):len(keys)], dsl.Order{Field: "seq"}) // a record is its place in the log
	}
	sort.SliceStable(e.rows, func(i, j int) bool {
		a, b := &e.rows[i], &e.rows[j]
		for _, o := range keys {
			if c := compare(a.Value(o.Field), b.Value(o.Field)); c != 0 {
				return c < 0 != o.Desc
			}
		}
		return a.ID < b.ID
	})
}

// when is the field that a source's rows have their time in.
var when = map[string]string{"objects": "updated_at", "versions": "created_at", "pointers": "last_promoted_at", "transactions": "completed_at",
	"conflicts": "detected_at", "evidence": "occurred_at", "actions": "submitted_at"}
