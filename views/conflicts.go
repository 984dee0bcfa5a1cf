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
			if k.Status == "OPEN" && e.shows(k.Object) {
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
		if errors.Is(err, objects.ErrNotFound) || err == nil && !e.shows(k.Object) {
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

// shows tells whether the caller may know of an object under his ceiling.
func (e *execution) shows(id objects.ID) bool {
	s := e.sees(id)
	return s != nil && s.object.Privacy <= e.ceiling
}
