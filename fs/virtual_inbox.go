package fs

import (
	"cmp"
	"slices"
	"strings"
)

// maxItems is how much an inbox or outbox shows (filesystem.md §12): the newest.
const maxItems = 10_000

// notAddressed is the reason code of a look into somebody else's inbox.
const notAddressed = "subject_not_addressed"

// members lets a group's members into a directory, and nobody else.
func (t *tree) members(d *treeDir, group string) {
	d.perm, d.gid = 0o550, t.gidOf(group)
	if group == localGroup {
		d.perm = 0o555
	}
}

// inbox shows what waits for a user by name as links to the drop box, to that user only.
// For anybody else it is empty, which is no error, and that he looked is recorded.
func (t *tree) inbox(p place) vnode {
	return &treeDir{node: node{key: p.path, perm: 0o555}, all: func(c *call) ([]vent, error) {
		if t.o.Intents == nil {
			return nil, nil
		}
		if c.Subject.Home() != p.home() {
			t.denied.add(c.Caller, OpList, p.target(), notAddressed, "another's inbox shows nothing")
			return nil, nil
		}
		return itemLinks(p, t.o.Intents.Inbox(c.Caller), ".d"), nil
	}}
}

// groupInbox shows what waits for somebody of a group, to each what he may see of it.
func (t *tree) groupInbox(p place) vnode {
	d := &treeDir{node: node{key: p.path}, all: func(c *call) ([]vent, error) {
		if t.o.Intents == nil {
			return nil, nil
		}
		return itemLinks(p, t.o.Intents.GroupInbox(c.Caller, p.group), ".d"), nil
	}}
	t.members(d, p.group)
	return d
}

// outbox shows a user's intents as links to the drop box, to that user only.
func (t *tree) outbox(p place) vnode {
	return &treeDir{node: node{key: p.path, perm: 0o555}, all: func(c *call) ([]vent, error) {
		if t.o.Intents == nil || c.Subject.Home() != p.home() {
			return nil, nil
		}
		runs := t.o.Intents.Runs(c.Caller)
		slices.SortStableFunc(runs, func(a, b RunInfo) int { return cmp.Or(b.Accepted.Compare(a.Accepted), cmp.Compare(a.Name, b.Name)) })
		return itemLinks(p, runs, ""), nil
	}, find: func(c *call, name string) (vnode, error) {
		if t.o.Intents != nil && c.Subject.Home() == p.home() {
			if r, ok := t.o.Intents.Find(c.Caller, name); ok {
				return itemLinks(p, []RunInfo{r}, "")[0].node, nil
			}
		}
		return nil, ErrNotFound
	}}
}

// home is the directory of the user in whose place this is.
func (p place) home() string { return "groups/" + p.group + "/users/" + p.user }

// itemLinks are the links of an inbox or outbox, newest first, to what is in intents/
// under the item's name and an ending.
func itemLinks(p place, runs []RunInfo, ending string) []vent {
	up := upTo(strings.Count(p.path, "/") + 1)
	var es []vent
	for _, r := range runs[:min(len(runs), maxItems)] {
		es = append(es, vent{r.Name, newLink(p.path+"/"+r.Name, up+"intents/"+r.Name+ending, r.Accepted, nil)})
	}
	return es
}
