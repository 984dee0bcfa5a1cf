package fs

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/fs/namespace"
)

//go:embed readme.txt
var readme []byte

// rootDir holds what stands beside system/ and groups/ (contract §2): a fixed
// list, all of it projections.
type rootDir struct {
	node
	t    *tree
	kids map[string]vnode
}

func newRoot(t *tree) *rootDir {
	r := &rootDir{node: node{key: "", perm: 0o755}, t: t, kids: map[string]vnode{}}
	if t.o.Recovery {
		return r
	}
	r.kids["README"] = &textFile{node: node{key: "README", perm: 0o444}, text: func(*call) ([]byte, error) { return readme, nil }}
	r.kids["intents"] = t.drop
	r.kids["objects"] = t.objectsDir()
	r.kids["views"] = t.viewsDir()
	r.kids["evidence"] = t.evidenceDir("evidence", 1, "")
	r.kids["policy"] = t.projection("policy", t.o.Policy)
	r.kids["agents"] = t.projection("agents", t.o.Agents)
	r.kids["apps"] = t.projection("apps", t.o.Apps)
	return r
}

func (r *rootDir) attr(*call) (vattr, error) { return vattr{}, ErrNotFound } // the store's root answers

func (r *rootDir) lookup(c *call, name string) (vnode, error) {
	if name == "self" && !r.t.o.Recovery {
		return r.self(c)
	}
	if v := r.kids[name]; v != nil {
		return v, nil
	}
	return nil, ErrNotFound
}

func (r *rootDir) list(c *call) ([]vent, error) {
	if r.t.o.Recovery {
		return nil, nil
	}
	var es []vent
	for n, v := range r.kids {
		es = append(es, vent{n, v})
	}
	if v, err := r.self(c); err == nil {
		es = append(es, vent{"self", v})
	}
	sort.Slice(es, func(i, j int) bool { return es[i].name < es[j].name })
	return es, nil
}

// self leads to the caller's own directory, and makes it at the first
// contact.
func (r *rootDir) self(c *call) (vnode, error) {
	home := c.Subject.Home()
	if home == "" {
		return nil, ErrNotFound
	}
	if err := r.t.contact(c); err != nil {
		r.t.log.Warn("the caller's directories could not be made", "subject", c.Subject.ID, "error", err)
	}
	return newLink("self", home, time.Time{}, ErrImmutable), nil
}

// contact makes the directories of somebody who is seen for the first time.
func (t *tree) contact(c *call) error {
	if t.o.Recovery {
		return nil // nothing of anybody's is there
	}
	if c.Subject.IsAI {
		return t.ensureAgent(c, c.Subject, c.UID, c.GID)
	}
	g, u, ok := strings.Cut(c.Subject.ID, ":")
	if !ok || !namespace.ValidID(u) {
		return nil
	}
	return t.ensureUser(c, g, u, c.UID, c.GID)
}

// layoutNode finds the projection at a place of the closed layout, nil where
// the store's own directory stands.
func (t *tree) layoutNode(p place) (vnode, error) {
	switch {
	case p.path == "system/evidence":
		return t.evidenceDir("system/evidence", 2, ""), nil
	case p.path == "system/runtime/health.json":
		return &textFile{node: node{key: p.path, perm: 0o444}, text: t.health}, nil
	case p.path == "system/runtime/metrics" && t.o.Metrics != nil:
		return &textFile{node: node{key: p.path, perm: 0o444}, text: func(*call) ([]byte, error) { return t.o.Metrics(), nil }}, nil
	case p.path == recoveryHealth && t.o.Recovery:
		return &textFile{node: node{key: p.path, perm: 0o400}, text: t.health}, nil
	case p.path == recoveryIntents && t.o.Recovery && t.o.Intents != nil:
		return t.drop, nil
	case p.level == levelReserved && p.reserved.Key == "GRP_EVIDENCE":
		d := t.evidenceDir(p.path, 3, p.group)
		t.members(d, p.group)
		return d, nil
	case p.level == levelReserved && p.reserved.Key == "GRP_INBOX":
		return t.groupInbox(p), nil
	case p.level == levelReserved && p.reserved.Key == "USR_OUTBOX":
		return t.outbox(p), nil
	case p.level == levelReserved && p.reserved.Key == "USR_INBOX":
		return t.inbox(p), nil
	case p.level == levelReserved && p.reserved.Virtual:
		return &treeDir{node: node{key: p.path, perm: 0o555}}, nil
	}
	return nil, nil
}

// layoutList lists the projections directly below a place.
func (t *tree) layoutList(c *call, p place) []vent {
	if p.level == levelRoot {
		es, _ := t.root.list(c)
		return es
	}
	var names []string
	switch {
	case p.level == levelSystem:
		names = []string{"evidence"}
	case p.reserved.Key == "SYS_RECOVERY" && t.o.Recovery:
		names = []string{"health.json", "intents"}
	case p.reserved.Key == "SYS_RUNTIME":
		names = []string{"health.json", "metrics"}
	case p.level == levelGroup || p.level == levelUser:
		for _, r := range namespace.Default.Names(p.scope) {
			if r.Virtual {
				names = append(names, r.Name)
			}
		}
	}
	var es []vent
	for _, n := range names {
		if v, err := t.layoutNode(p.child(n)); err == nil && v != nil {
			es = append(es, vent{n, v})
		}
	}
	return es
}

// health is system/runtime/health.json.
func (t *tree) health(*call) ([]byte, error) {
	m := map[string]any{}
	if t.o.Status != nil {
		for k, v := range t.o.Status() {
			m[k] = v
		}
	}
	on, why := t.pass.state()
	if m["passthrough"] = on; !on {
		m["passthrough_off"] = why
	}
	m["state"], m["writable"], m["transport"] = "HEALTHY", true, t.o.transport()
	if t.o.Recovery {
		m["mode"] = "RECOVERY"
	}
	if err := t.healthy(); err != nil {
		m["state"], m["writable"], m["reason"] = "DEGRADED", false, err.Error()
		switch {
		case t.o.Recovery:
			m["state"] = "RECOVERY"
		case errors.Is(err, ErrReadOnly):
			m["state"] = "READ_ONLY"
		}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("describe health: %w", err)
	}
	return append(b, '\n'), nil
}

// projection shows a small tree that another package computes.
func (t *tree) projection(name string, p Projection) vnode {
	return t.projected(name, "", p)
}

func (t *tree) projected(key, dir string, p Projection) *treeDir {
	return &treeDir{node: node{key: key, perm: 0o555}, all: func(c *call) ([]vent, error) {
		if p == nil {
			return nil, nil
		}
		list, err := p.List(c, c.Caller, dir)
		if err != nil {
			return nil, err
		}
		var es []vent
		for _, e := range list {
			sub := strings.TrimPrefix(dir+"/"+e.Name, "/")
			es = append(es, vent{e.Name, entryNode(c, key+"/"+e.Name, strings.Count(key, "/")+1, e, func(key string) vnode { return t.projected(key, sub, p) })})
		}
		return es, nil
	}}
}

// entryNode shows what another package computed. Entries differ per caller,
// so the caller is part of the name. depth is how many directories lie
// between the mount's root and the entry.
func entryNode(c *call, key string, depth int, e Entry, dir func(key string) vnode) vnode {
	switch e.Mode & modeType {
	case modeLink:
		return newLink(key, upTo(depth)+e.Link, e.Mtime, nil)
	case modeDir:
		return dir(key)
	}
	return &textFile{node: node{key: fmt.Sprintf("%s\x00%d", key, c.UID), perm: e.Mode & 0o7777, mtime: e.Mtime, uid: c.UID, gid: c.GID},
		text: func(*call) ([]byte, error) { return e.Data, nil }}
}
