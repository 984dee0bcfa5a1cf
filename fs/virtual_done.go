package fs

import (
	"path"
	"slices"
	"strings"
)

// done is intents/.done or a directory of it: the caller's runs that were moved away,
// by day.
func (b *dropBox) done(c *call, dir string) vnode {
	own := node{key: b.key(c, path.Join(".done", dir)), perm: 0o500, uid: c.UID, gid: c.GID, no: ErrImmutable}
	return &treeDir{node: own, all: func(c *call) ([]vent, error) {
		if b.t.o.Intents == nil {
			return nil, nil
		}
		list := b.t.o.Intents.Done(c.Caller)
		b.old.keep(c.Subject.ID, list)
		var es []vent
		last := ""
		for _, p := range list {
			rest, ok := below(p, dir)
			first, _, deeper := strings.Cut(rest, "/")
			if !ok || first == last {
				continue
			}
			last = first
			if deeper {
				es = append(es, vent{first, b.done(c, path.Join(dir, first))})
				continue
			}
			if doc, err := b.t.o.Intents.Document(c.Caller, p); err == nil {
				es = append(es, vent{first, b.doneDocument(c, p, doc)}, vent{first + ".d", b.runDir(c, p, p, "", b.t.born)})
			}
		}
		return es, nil
	}, find: func(c *call, name string) (vnode, error) {
		if b.t.o.Intents == nil {
			return nil, ErrNotFound
		}
		p := path.Join(dir, name)
		if b.anyDone(c, p+"/") {
			return b.done(c, p), nil
		}
		if !strings.Contains(dir, "/") { // runs have a day
			return nil, ErrNotFound
		}
		if doc, err := b.t.o.Intents.Document(c.Caller, p); err == nil {
			return b.doneDocument(c, p, doc), nil
		}
		if run, ok := strings.CutSuffix(p, ".d"); ok {
			if _, err := b.t.o.Intents.Document(c.Caller, run); err == nil {
				return b.runDir(c, run, run, "", b.t.born), nil
			}
		}
		return nil, ErrNotFound
	}}
}

func below(p, dir string) (string, bool) {
	if dir == "" {
		return p, true
	}
	return strings.CutPrefix(p, dir+"/")
}

func (b *dropBox) doneDocument(c *call, p string, doc []byte) vnode {
	return b.document(c, RunInfo{Name: p, ID: p, DocSize: int64(len(doc)), Accepted: b.t.born})
}

// anyDone tells whether the caller has a run below a directory of .done.
func (b *dropBox) anyDone(c *call, prefix string) bool {
	there := func(sorted []string) bool {
		i, _ := slices.BinarySearch(sorted, prefix)
		return i < len(sorted) && strings.HasPrefix(sorted[i], prefix)
	}
	if there(b.old.of(c.Subject.ID)) {
		return true
	}
	list := b.t.o.Intents.Done(c.Caller)
	b.old.keep(c.Subject.ID, list)
	return there(list)
}
