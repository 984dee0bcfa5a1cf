package views

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

const (
	// maxNamed bounds the views that one subject saves.
	maxNamed = 256
	// namedPrefix starts the keys of saved views: then the subject, then the name.
	namedPrefix = "views/named/"
)

// ErrAgent: AI subjects change nothing directly, saved views included (contract §7).
var ErrAgent = errors.New("an AI subject saves no views")

func namedKey(c Caller, name string) string { return namedPrefix + c.Subject.ID + "/" + name }

// saved lists the caller's saved views as files that hold their queries.
func (v *Views) saved(c Caller) ([]Entry, error) {
	var list []Entry
	prefix := namedKey(c, "")
	err := v.d.Store.ScanRecords(prefix, func(key string, text []byte) error {
		list = append(list, Entry{Name: strings.TrimPrefix(key, prefix), File: true, Data: text, Mtime: v.d.Now()})
		return nil
	})
	return list, err
}

// named is named/ and named/<name>/.
func (v *Views) ofName(ctx context.Context, c Caller, args []string) ([]Entry, error) {
	if len(args) == 0 {
		list, err := v.saved(c)
		names := make([]string, len(list))
		for i, e := range list {
			names[i] = e.Name
		}
		return v.dirs(names), err
	}
	q, err := v.definition(c, args[0])
	if err != nil {
		return nil, err
	}
	r, err := v.find(ctx, c, q)
	if err != nil {
		v.remember(c, err)
		return nil, err
	}
	return v.show(r, args[1:])
}

// definition is the query of a saved view.
func (v *Views) definition(c Caller, name string) (*dsl.Query, error) {
	text, err := v.d.Store.GetRecord(namedKey(c, name))
	if errors.Is(err, objects.ErrNotFound) {
		return nil, fmt.Errorf("named/%s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return parse([]string{strings.TrimSpace(string(text))})
}

// Define saves a query under a name for the caller, durably: named/<name>/ shows it
// from then on. A wrong query is ErrQuery, kept for LastError, and changes nothing.
func (v *Views) Define(ctx context.Context, c Caller, name string, text []byte) error {
	err := v.definable(c, name, string(text))
	if err != nil {
		v.remember(c, err)
		return err
	}
	return v.store(ctx, c, func(tx *objects.Tx) { tx.PutRecord(namedKey(c, name), text) })
}

func (v *Views) definable(c Caller, name, text string) error {
	wrong := func(why string) error {
		return fmt.Errorf("%w: %w", ErrQuery, &dsl.Error{Code: dsl.NotServed, Column: 1, Message: why})
	}
	if c.Subject.IsAI {
		return ErrAgent
	}
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\x00") || len(name) > 255 {
		return wrong("a view's name has at most 255 bytes, no slash and no dot at its beginning")
	}
	q, err := parse([]string{strings.TrimSpace(text)})
	if err != nil {
		return err
	}
	if err := v.servable(q); err != nil {
		return err
	}
	list, err := v.saved(c)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name == name {
			return nil
		}
	}
	if len(list) >= maxNamed {
		return wrong(fmt.Sprintf("%d views are saved already; remove one", maxNamed))
	}
	return nil
}

// Remove forgets a saved view; what it showed stays where it is.
func (v *Views) Remove(ctx context.Context, c Caller, name string) error {
	if c.Subject.IsAI {
		return ErrAgent
	}
	if _, err := v.d.Store.GetRecord(namedKey(c, name)); err != nil {
		if errors.Is(err, objects.ErrNotFound) {
			err = fmt.Errorf("define/%s: %w", name, ErrNotFound)
		}
		return err
	}
	return v.store(ctx, c, func(tx *objects.Tx) { tx.DeleteRecord(namedKey(c, name)) })
}

func (v *Views) store(ctx context.Context, c Caller, change func(*objects.Tx)) error {
	tx := v.d.Store.Begin(objects.Cred{UID: c.UID, GID: c.GID, Subject: c.Subject.ID}, "")
	change(tx)
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("save the view: %w", err)
	}
	v.mu.Lock()
	clear(v.listings)
	v.mu.Unlock()
	return nil
}
