package views

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
)

func number(s string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return n, err == nil
}

// seen is an object as a caller sees it.
type seen struct {
	object objects.Object
	attr   objects.Attr
	path   string
	reads  bool // its content, too
}

// sees gives an object that the caller may know of, else nil; its class is another
// matter.
func (e *execution) sees(id objects.ID) *seen {
	if s, ok := e.known[id]; ok {
		return s
	}
	s, err := e.look(id)
	if err != nil {
		s = nil
	}
	if e.known == nil {
		e.known = map[objects.ID]*seen{}
	}
	if len(e.known) >= maxHeld {
		clear(e.known)
	}
	e.known[id] = s
	return s
}

func (e *execution) look(id objects.ID) (*seen, error) {
	today, err := e.v.d.Store.Object(id)
	if err != nil || today.State == "PURGED" {
		return nil, errors.Join(ErrNotFound, err)
	}
	o := today
	if !e.asOf.IsZero() {
		if o, err = e.sn.Object(id); err != nil {
			return nil, err
		}
		o.Privacy = max(o.Privacy, today.Privacy)
	}
	s := &seen{object: o}
	if o.State != "ACTIVE" {
		s.path, _ = e.sight.grave(o)
		// Whose it was may look into it, and who looks after the machine.
		s.reads = o.CreatedBy == e.sight.c.Subject.ID || e.sight.c.UID == 0
	} else {
		if s.attr, err = e.attr(o.Ino); err != nil {
			return nil, err
		}
		if s.attr.Object != o.ID {
			return nil, ErrNotFound
		}
		s.path, s.reads = e.sight.path(o, s.attr), e.sight.c.may(s.attr, mayRead)
	}
	if s.path == "" {
		return nil, ErrNotFound
	}
	return s, nil
}

// about is a row that belongs to an object: nil where the caller may not know of it.
func (e *execution) about(obj objects.ID) (*Row, *seen) {
	s := e.sees(obj)
	if s == nil {
		return nil, nil
	}
	return &Row{Object: s.object, Attr: s.attr, Path: s.path}, s
}

func (e *execution) take(r *Row, class objects.Privacy) error {
	if !e.all(r) {
		return nil
	}
	return e.keep(*r, class)
}

// versions are known to those who may read the file: a hash tells what is in it.
func (e *execution) versions(ctx context.Context) error {
	return e.sn.Versions(func(v objects.Version) error {
		if err := e.step(ctx); err != nil {
			return err
		}
		r, s := e.about(v.Object)
		if s == nil || !s.reads {
			return nil
		}
		if !e.asOf.IsZero() { // what was quarantined since does not come back by looking backwards
			if today, err := e.v.d.Store.Version(v.ID); err != nil || today.State == "QUARANTINED" {
				return nil
			}
		}
		r.ID, r.Mtime, r.Link = v.ID.String(), v.CreatedAt, versionPath(v.Object, v.ID)
		parents := []string{}
		if !v.Parent.IsZero() {
			parents = append(parents, v.Parent.String())
			r.edges = append(r.edges, Edge{r.ID, v.Parent.String(), "parent"})
		}
		r.edges = append(r.edges, Edge{r.ID, v.Object.String(), "of"})
		r.fields = map[string]any{"version_id": r.ID, "object_id": v.Object.String(), "parent_version_ids": parents, "content_hash": v.Hash, "state": v.State,
			"created_at": v.CreatedAt, "created_by_action_id": v.Action, "created_by_transaction_id": v.Transaction.String()}
		return e.take(r, s.object.Privacy)
	})
}

// pointers are fields of their objects here; one that names nothing is none.
func (e *execution) pointers(ctx context.Context) error {
	return e.sn.Objects(func(o objects.Object) error {
		if err := e.step(ctx); err != nil {
			return err
		}
		if o.State != "ACTIVE" || o.Current.IsZero() {
			return nil
		}
		_, s := e.about(o.ID)
		if s == nil {
			return nil
		}
		for kind, ver := range pointers(o) {
			if ver.IsZero() {
				continue
			}
			r, _ := e.about(o.ID)
			r.ID, r.Link = objects.PointerID(o.ID, kind).String(), "objects/"+o.ID.String()+"/pointers/"+kind
			r.fields = map[string]any{"pointer_id": r.ID, "object_id": o.ID.String(), "kind": kind, "current_version_id": ver.String()}
			// CURRENT is promoted by who makes the version that it names; when the others
			// were is not kept.
			if v, err := e.sn.Version(o.ID, ver); err == nil && kind == "CURRENT" {
				r.fields["last_promoted_at"], r.fields["last_promoted_by_transaction_id"], r.Mtime = v.CreatedAt, v.Transaction.String(), v.CreatedAt
			}
			r.edges = []Edge{{r.ID, o.ID.String(), "of"}, {r.ID, ver.String(), "names"}}
			if err := e.take(r, s.object.Privacy); err != nil {
				return err
			}
		}
		return nil
	})
}

// everyones tells whether a caller sees what a subject did: his own, and all for who
// looks after the machine.
func (c Caller) everyones(subject string) bool {
	return subject == c.Subject.ID || c.Subject.Admin && !c.Subject.IsAI
}

func (e *execution) transactions(ctx context.Context) error {
	return e.sn.Transactions(func(t objects.Transaction) error {
		if err := e.step(ctx); err != nil {
			return err
		}
		if !e.sight.c.everyones(t.Subject) {
			return nil
		}
		r := &Row{ID: t.ID.String(), Mtime: t.CompletedAt}
		r.fields = bySubject(t.Subject, map[string]any{"transaction_id": r.ID, "subject": t.Subject, "action_id": t.Action, "started_at": t.StartedAt, "completed_at": t.CompletedAt, "state": t.State})
		for _, w := range t.Writes {
			if s := e.sees(w.Object); s != nil && s.object.Privacy <= e.ceiling {
				r.edges = append(r.edges, Edge{r.ID, w.Version.String(), "wrote"})
			}
		}
		return e.take(r, objects.Public)
	})
}

// bySubject adds the fields of the subject that something is of.
func bySubject(subject string, f map[string]any) map[string]any {
	group, _, _ := strings.Cut(subject, ":")
	f["subject.canonical_subject_id"], f["subject.primary_group_id"] = subject, group
	return f
}

func (e *execution) conflicts(ctx context.Context) error {
	return e.sn.Conflicts(func(k objects.Conflict) error {
		if err := e.step(ctx); err != nil {
			return err
		}
		r, s := e.about(k.Object)
		if s == nil {
			return nil
		}
		r.ID, r.Mtime, r.Link = k.ID.String(), k.DetectedAt, "views/conflicts/"+k.ID.String()
		r.fields = map[string]any{"conflict_id": r.ID, "object_id": k.Object.String(), "pointer_id": k.Pointer.String(), "status": k.Status, "detected_at": k.DetectedAt,
			"resolved_at": time.Time{}, "resolved_by_subject": ""}
		for kind, ver := range map[string]objects.ID{"base": k.Base, "current": k.Current, "candidate": k.Candidate} {
			if !ver.IsZero() {
				r.edges = append(r.edges, Edge{r.ID, ver.String(), kind})
			}
		}
		return e.take(r, s.object.Privacy)
	})
}
