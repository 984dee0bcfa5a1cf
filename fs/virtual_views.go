package fs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
)

// viewDir is views/ or a directory of it: queries as directories (contract
// §5), computed by another package for each caller. views/at is the whole
// stored tree as it was, and this package's own.
type viewDir struct {
	node
	t    *tree
	path []string
}

// The name views is everybody's, and stands at the beginning of each path below it.
func (t *tree) viewsDir() vnode {
	return &viewDir{node: node{key: "views", perm: 0o555, ttl: cacheTime}, t: t}
}

func (d *viewDir) attr(*call) (vattr, error) {
	perm := d.perm
	if len(d.path) == 1 && d.path[0] == "define" {
		perm = 0o1777
	}
	return vattr{mode: syscall.S_IFDIR | perm, ttl: d.ttl}, nil
}

func (d *viewDir) lookup(c *call, name string) (vnode, error) {
	if len(d.path) == 0 && name == "at" {
		return d.t.atDir(), nil
	}
	if len(d.path) == 0 && name == "trash" {
		return &trashDir{d.t}, nil
	}
	if d.t.o.Views == nil {
		return nil, ErrNotFound
	}
	p := append(append([]string(nil), d.path...), name)
	e, err := d.t.o.Views.Lookup(c, c.Caller, p)
	if err != nil {
		return nil, err
	}
	return d.child(c, p, e), nil
}

func (d *viewDir) list(c *call) ([]vent, error) {
	var es []vent
	if len(d.path) == 0 {
		es = append(es, vent{"at", d.t.atDir()}, vent{"trash", &trashDir{d.t}})
	}
	if d.t.o.Views == nil {
		return es, nil
	}
	list, err := d.t.o.Views.List(c, c.Caller, d.path)
	for _, e := range list {
		if len(d.path) == 0 && e.Name == "at" {
			continue
		}
		es = append(es, vent{e.Name, d.child(c, append(append([]string(nil), d.path...), e.Name), e)})
	}
	return es, err
}

func (d *viewDir) child(c *call, p []string, e Entry) vnode {
	key := "views\x00" + c.Subject.ID + "/" + strings.Join(p, "/")
	switch e.Mode & modeType {
	case modeDir:
		return &viewDir{node: node{key: key, perm: 0o555}, t: d.t, path: p}
	case modeLink:
		return newLink(key, upTo(len(p))+e.Link, e.Mtime, nil)
	}
	n := node{key: key, perm: e.Mode & 0o7777, uid: c.UID, gid: c.GID, mtime: e.Mtime}
	return &viewFile{textFile{node: n, text: func(*call) ([]byte, error) { return e.Data, nil }}, d.t, p}
}

// create defines a view.
func (d *viewDir) create(c *call, name string, flags, _ uint32) (vnode, vhandle, error) {
	if d.t.o.Views == nil || len(d.path) != 1 || d.path[0] != "define" {
		return nil, nil, ErrReadOnly
	}
	p := []string{"define", name}
	f := d.child(c, p, Entry{Name: name, Mode: syscall.S_IFREG | 0o644}).(*viewFile)
	h, err := f.open(c, flags)
	return f, h, err
}

// unlink forgets a defined view.
func (d *viewDir) unlink(c *call, name string) error {
	r, ok := d.t.o.Views.(interface {
		Remove(ctx context.Context, c Caller, path []string) error
	})
	if !ok || len(d.path) != 1 || d.path[0] != "define" {
		return ErrReadOnly
	}
	return r.Remove(settled(c), c.Caller, []string{"define", name})
}

// viewFile is a file of a view; what is written to it is given on at close.
type viewFile struct {
	textFile
	t *tree
	p []string
}

func (f *viewFile) setattr(_ *call, in *setAttrIn) error {
	if f.perm&0o200 == 0 {
		return ErrReadOnly
	}
	return nil
}

func (f *viewFile) open(c *call, flags uint32) (vhandle, error) {
	if !writes(flags) {
		return f.textFile.open(c, flags)
	}
	if f.perm&0o200 == 0 {
		return nil, ErrReadOnly
	}
	return &viewWriter{f: f}, nil
}

type viewWriter struct {
	f    *viewFile
	mu   sync.Mutex
	data []byte
}

func (h *viewWriter) read(*call, []byte, int64) (int, error) { return 0, nil }
func (h *viewWriter) truncate(*call, int64) error            { return nil }

func (h *viewWriter) write(_ *call, p []byte, _ int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.data)+len(p) > maxControl {
		return 0, fmt.Errorf("a query has at most %d bytes: %w", maxControl, ErrTooLarge)
	}
	h.data = append(h.data, p...)
	return len(p), nil
}

func (h *viewWriter) flush(c *call, _ Caller) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	data := h.data
	h.data = nil
	if len(data) == 0 {
		return nil
	}
	return h.f.t.o.Views.Write(settled(c), c.Caller, h.f.p, data)
}
