// Package identity carries out the changes of the identity catalogue: groups, their
// users, and agents. The catalogue is an object like any other, and is written in
// the same transaction as the directories that belong to it.
package identity

import (
	"bytes"
	"context"
	"os/user"
	"strconv"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// CatalogPath is where the catalogue lies in the tree.
const CatalogPath = "system/identity/catalog.json"

// Dir is a directory of the closed layout that a change brings with it.
type Dir struct {
	Path      string
	Mode      uint32
	UID, GID  uint32
	ScopeKind objects.ScopeKind
	Group     string
	User      string
}

// Book is the identity catalogue in force. cmd has it: it knows the key and the
// layout.
type Book interface {
	Catalog() *identity.Catalog
	// Encode signs a catalogue.
	Encode(c *identity.Catalog) []byte
	// Use puts a catalogue in force, after it is durable.
	Use(c *identity.Catalog)
	// GroupDirs, UserDirs and AgentDirs are the directories of the closed layout, the
	// ones above first.
	GroupDirs(c *identity.Catalog, group string) []Dir
	UserDirs(c *identity.Catalog, group, user string, uid uint32) []Dir
	AgentDirs(c *identity.Catalog, id string) []Dir
}

// Adapter is the adapter `identity`.
type Adapter struct{ book Book }

// New makes the adapter over a catalogue.
func New(b Book) *Adapter { return &Adapter{b} }

const timeout = 10 * time.Second // of one change of the catalogue

// Manifest declares the three kinds.
func (a *Adapter) Manifest() adapter.Manifest {
	m := adapter.Manifest{ID: "identity", Version: "1", Stability: adapter.Stable, Dispatch: adapter.InProcess}
	for _, name := range []string{"group.create", "group.add_user", "agent.register"} {
		m.Kinds = append(m.Kinds, adapter.Kind{Action: name, Class: policy.Mutate, Rollback: adapter.RollbackTransaction, Risk: policy.Risk{Privileged: true}, Timeout: timeout})
	}
	return m
}

// next computes the catalogue after the action, and its directories.
func (a *Adapter) next(r adapter.Request) (*identity.Catalog, []Dir, map[string]any, error) {
	c := a.book.Catalog()
	str := func(m map[string]any, k string) string { s, _ := m[k].(string); return s }
	group := str(r.Step.Target, "group")
	switch r.Step.Action {
	case "group.create":
		n, err := c.WithGroup(group, "")
		if err != nil {
			return nil, nil, nil, adapter.Fail("identity.Refused", "group %s: %w", group, err)
		}
		return n, a.book.GroupDirs(n, group), map[string]any{"group": group}, nil
	case "group.add_user":
		login := str(r.Step.Target, "user")
		u, err := user.Lookup(login)
		if err != nil {
			return nil, nil, nil, adapter.Fail("identity.UnknownLogin", "%s: %w", login, err)
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, nil, nil, adapter.Fail("identity.UnknownLogin", "%s: %w", login, err)
		}
		n, err := c.WithMember(group, login, uint32(uid))
		if err != nil {
			return nil, nil, nil, adapter.Fail("identity.Refused", "user %s of %s: %w", login, group, err)
		}
		return n, a.book.UserDirs(n, group, login, uint32(uid)), map[string]any{"subject": group + ":" + login}, nil
	case "agent.register":
		if g := str(r.Step.Params, "group"); g != "" {
			group = g
		} else {
			group = r.Subject.PrimaryGroup
		}
		id := group + ":" + str(r.Step.Target, "agent")
		uid, err := number(r.Step.Params["uid"])
		if err != nil {
			return nil, nil, nil, err
		}
		// Who binds a uid decides what somebody else's programs are taken for.
		if uid != 0 && !r.Admin() {
			return nil, nil, nil, adapter.Fail("identity.Refused", "agent %s: only an administrator binds an agent to a uid", id)
		}
		n, err := c.WithAgent(id, r.Subject.ID, uid)
		if err != nil {
			return nil, nil, nil, adapter.Fail("identity.Refused", "agent %s: %w", id, err)
		}
		return n, a.book.AgentDirs(n, id), map[string]any{"subject": id}, nil
	}
	return nil, nil, nil, adapter.Fail("identity.UnknownAction", "no action %s", r.Step.Action)
}

// Simulate names what would be made.
func (a *Adapter) Simulate(_ context.Context, r adapter.Request) ([]adapter.Preview, error) {
	_, dirs, _, err := a.next(r)
	ps := []adapter.Preview{{Path: "/aios/" + CatalogPath, Note: r.Step.Action}}
	for _, d := range dirs {
		ps = append(ps, adapter.Preview{Path: "/aios/" + d.Path, Note: "directory"})
	}
	return ps, err
}

// Stage writes the catalogue and places the directories. One action of a goal may
// change the catalogue: the next one would not see it yet.
func (a *Adapter) Stage(ctx context.Context, b *adapter.Batch, r adapter.Request) (adapter.Output, error) {
	if _, twice := b.Pending[CatalogPath]; twice {
		return adapter.Output{}, adapter.Fail("identity.OneAtATime", "an atomic goal changes the catalogue once; write `atomic: false` for several")
	}
	n, dirs, data, err := a.next(r)
	if err != nil {
		return adapter.Output{}, err
	}
	if err := b.Tx.WriteFile(ctx, CatalogPath, bytes.NewReader(a.book.Encode(n)), objects.WriteOptions{Mode: 0o644, Parents: true}); err != nil {
		return adapter.Output{}, err
	}
	b.Pending[CatalogPath] = adapter.Pending{}
	for _, d := range dirs {
		b.Tx.Place(d.Path, d.Mode, d.UID, d.GID, objects.Scope{Kind: d.ScopeKind, Group: d.Group, User: d.User})
	}
	old := a.book.Catalog()
	b.After = append(b.After, func() { a.book.Use(n) })
	b.Undone = append(b.Undone, func() { a.book.Use(old) }) // the store undoes nothing that was changed since
	return adapter.Output{Changed: true, Data: data}, nil
}

// number reads a uid of a document; 0 where there is none.
func number(v any) (uint32, error) {
	var n int64
	switch v := v.(type) {
	case nil:
		return 0, nil
	case int:
		n = int64(v)
	case int64:
		n = v
	case float64:
		n = int64(v)
	default:
		return 0, adapter.Fail("identity.InvalidUID", "uid %v is no number", v)
	}
	if n < 1 || n > 4294967294 {
		return 0, adapter.Fail("identity.InvalidUID", "uid %d is none", n)
	}
	return uint32(n), nil
}
