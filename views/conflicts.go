package views

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ai-os-dot-net/aios/objects"
)

// conflicts is conflicts/, the open conflicts of what the caller sees, and
// conflicts/<id>/: the three versions of one, and its record (CR §9).
func (v *Views) conflicts(ctx context.Context, c Caller, args []string) ([]Entry, error) {
	e := &execution{v: v, ceiling: v.d.Ceiling(c), sight: v.sightOf(c)}
	switch len(args) {
	case 0:
		sn, err := v.d.Store.Newest(ctx)
		if err != nil {
			return nil, err
		}
		defer sn.Close()
		var list []Entry
		err = sn.Conflicts(func(k objects.Conflict) error {
			if k.Status == "OPEN" && e.sees(k.Object) != nil {
				list = append(list, Entry{Name: k.ID.String(), Dir: true, Mtime: k.DetectedAt})
			}
			return ctx.Err()
		})
		return list, err
	case 1:
		id, err := objects.ParseID(args[0])
		if err != nil || id.String() != args[0] {
			return nil, fmt.Errorf("conflicts/%s: %w", args[0], ErrNotFound)
		}
		k, err := v.d.Store.GetConflict(id)
		if errors.Is(err, objects.ErrNotFound) || err == nil && e.sees(k.Object) == nil {
			return nil, fmt.Errorf("conflicts/%s: %w", args[0], ErrNotFound)
		}
		if err != nil {
			return nil, err
		}
		return conflictEntries(k)
	}
	return nil, fmt.Errorf("conflicts/%s: %w", strings.Join(args, "/"), ErrNotFound)
}

// conflictEntries are links to the versions, which are as readable as their object is.
func conflictEntries(k objects.Conflict) ([]Entry, error) {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, x := range []struct {
		name string
		ver  objects.ID
	}{{"base", k.Base}, {"candidate", k.Candidate}, {"current", k.Current}} {
		if !x.ver.IsZero() {
			list = append(list, Entry{Name: x.name, Link: versionPath(k.Object, x.ver), Mtime: k.DetectedAt})
		}
	}
	return append(list, Entry{Name: "conflict.json", File: true, Fixed: true, Data: append(text, '\n'), Mtime: k.DetectedAt}), nil
}

// versionPath is where the mount shows a version by its id.
func versionPath(obj, ver objects.ID) string {
	return "objects/" + obj.String() + "/versions/" + ver.String()
}

// seen is an object as a caller sees it.
type seen struct {
	object objects.Object
	attr   objects.Attr
	path   string
	reads  bool // its content, too
}

// sees gives an object that the caller may know of under his ceiling, else nil.
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
	e.known[id] = s
	return s
}

func (e *execution) look(id objects.ID) (*seen, error) {
	o, err := e.v.d.Store.Object(id)
	if err != nil {
		return nil, err
	}
	a, err := e.v.d.Store.GetAttr(o.Ino)
	if err != nil {
		return nil, err
	}
	p := e.sight.path(o, a)
	if o.State != "ACTIVE" || a.Object != o.ID || p == "" || o.Privacy > e.ceiling {
		return nil, ErrNotFound
	}
	return &seen{o, a, p, e.sight.c.may(a, mayRead)}, nil
}
