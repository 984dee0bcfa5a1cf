package fs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// level is how deep in the closed layout a directory stands; what may be made
// directly below it depends on nothing else.
type level uint8

const (
	levelInside   level = iota // below a reserved name: a plain POSIX tree
	levelRoot                  // /aios
	levelSystem                // system/
	levelGroups                // groups/
	levelGroup                 // groups/<g>
	levelUsers                 // groups/<g>/users
	levelUser                  // groups/<g>/users/<u>
	levelReserved              // a reserved name itself
)

// place is where a path of the store stands.
type place struct {
	shown    string // /aios/ and the path: what a target says, made once
	path     string // from the root, without a leading slash
	level    level
	scope    namespace.ScopeKind
	group    string
	user     string
	reserved namespace.Reserved
	sub      string // below the reserved name
}

const shownRoot = "/aios/"

// placeOf reads a path of the store. Paths come from the store, whose layout
// is closed, so anything that does not fit is inside something unknown. It
// is part of every request: one allocation.
func placeOf(path string) place { return readPlace(shownRoot + path) }

func readPlace(shown string) place {
	p := place{shown: shown, path: shown[len(shownRoot):]}
	if p.path == "" {
		p.level = levelRoot
		return p
	}
	first, rest, more := strings.Cut(p.path, "/")
	switch first {
	case "system":
		p.scope, p.level = namespace.ScopeSystem, levelSystem
	case "groups":
		p.level = levelGroups
		if !more {
			return p
		}
		p.scope, p.level = namespace.ScopeGroup, levelGroup
		p.group, rest, more = strings.Cut(rest, "/")
		if below, ok := strings.CutPrefix(rest, "users/"); more && ok {
			p.scope, p.level = namespace.ScopeUser, levelUser
			p.user, rest, more = strings.Cut(below, "/")
		}
	default:
		return p
	}
	if !more {
		return p
	}
	name, sub, below := strings.Cut(rest, "/")
	r, ok := namespace.Default.Reserved(p.scope, name)
	p.level = levelInside
	if !ok {
		return p
	}
	p.reserved, p.sub = r, sub
	if !below {
		p.level = levelReserved
		if r.Key == "GRP_USERS" {
			p.level = levelUsers
		}
	}
	return p
}

// child is the place of a name in a directory.
func (p place) child(name string) place {
	if p.path == "" {
		return placeOf(name)
	}
	return readPlace(p.shown + "/" + name)
}

func (p place) target() Target {
	return Target{Path: p.shown, Scope: p.scope, Group: p.group, User: p.user, Reserved: p.reserved.Key, Sub: p.sub}
}

// closed tells whether the names directly below are fixed by the layout.
func (p place) closed() bool { return p.level != levelInside && p.level != levelReserved }

// Names that stand in every stored directory without being stored.
const versionsName = ".versions"

// mayBind says whether a new name may be made in a directory by plain file
// work. The kernel has asked before whether the name exists.
func (p place) mayBind(name string) error {
	if p.closed() {
		return fmt.Errorf("make %q in the closed layout at /%s: %w", name, p.path, ErrImmutable)
	}
	if p.path == objects.CanName {
		return fmt.Errorf("make %q in %s, which holds trash cans alone: %w", name, p.path, ErrImmutable)
	}
	if name == versionsName {
		return fmt.Errorf("%s is the history of this directory: %w", versionsName, ErrImmutable)
	}
	if p.level == levelReserved {
		if code := namespace.CheckChild(p.reserved.Key, name); code != 0 {
			return fmt.Errorf("make %q in /%s: %s: %w", name, p.path, code, ErrImmutable)
		}
	}
	return nil
}

// mayUnbind says whether a name may be taken away or given to something else.
func (p place) mayUnbind(name string) error {
	if p.closed() || name == versionsName {
		return fmt.Errorf("remove %q from the closed layout at /%s: %w", name, p.path, ErrImmutable)
	}
	return nil
}

// mayChange says whether the caller may change what lies at or below a place
// by plain file work, as far as the layout's classes alone decide it
// (filesystem.md §10.1). The code names the rule for the record.
func (t *tree) mayChange(c Caller, p place) (code string, err error) {
	if c.Subject.IsAI && !t.ownAgentPlace(c, p) {
		if p.scope == namespace.ScopeSystem && p.reserved.Mutation == namespace.RecoveryOrSysAdmin {
			return "AISystemAdminBlocked", fmt.Errorf("an AI subject cannot change the system: %w", ErrImmutable)
		}
		return "AGENT_DIRECT_FS_WRITE_BLOCKED", fmt.Errorf("an AI subject writes only in its own agent directory and through intents/: %w", ErrImmutable)
	}
	if p.scope != namespace.ScopeSystem {
		return "", nil
	}
	switch p.reserved.Mutation {
	case namespace.RecoveryOrSysAdmin:
		if c.Subject.Admin {
			return "", nil
		}
		return "subject_lacks_capability", fmt.Errorf("only a system administrator may change /%s: %w", p.path, ErrDenied)
	case namespace.RecoveryOnly:
		return "RecoveryModeRequired", fmt.Errorf("/%s changes only in recovery, by a typed action: %w", p.path, ErrImmutable)
	}
	return "SystemStateIsKernelInternal", fmt.Errorf("/%s is kept by the system itself: %w", p.path, ErrImmutable)
}

// ownAgentPlace tells whether a place lies in the directory of the agent that
// asks: g:agent in groups/g/agents, g:user:agent in the user's agents.
func (t *tree) ownAgentPlace(c Caller, p place) bool {
	if p.sub == "" {
		return false
	}
	home := c.Subject.Home()
	if home == "" || p.path != home && !strings.HasPrefix(p.path, home+"/") {
		return false
	}
	// Its memory it writes by typed actions only (S13.1 C1).
	first, _, _ := strings.Cut(strings.TrimPrefix(p.path, home+"/"), "/")
	return first != "memory"
}

// localGroup is everyone on this machine (contract §7).
const localGroup = "local"

// ensureLayout makes the directories that every mount has, before the kernel
// can remember that one of them is missing.
func (t *tree) ensureLayout(ctx context.Context) error {
	if t.o.ReadOnly {
		return nil
	}
	sys := objects.Scope{Kind: objects.ScopeSystem}
	err := t.ensure(ctx, "system", 0o755, 0, 0, sys)
	for _, r := range namespace.Default.Names(namespace.ScopeSystem) {
		mode := uint32(0o755)
		switch r.Read {
		case namespace.SystemAuditRead, namespace.RecoverySubjectOnly, namespace.BrokerIntermediated:
			mode = 0o700
		}
		if err == nil {
			err = t.ensure(ctx, "system/"+r.Name, mode, 0, 0, sys)
		}
	}
	if err == nil {
		err = t.ensure(ctx, "groups", 0o755, 0, 0, objects.Scope{})
	}
	if err == nil {
		err = t.ensureGroup(ctx, localGroup)
	}
	if err == nil {
		err = t.ensure(ctx, objects.CanName, 0o1777, 0, 0, objects.Scope{Kind: objects.ScopeTrash})
	}
	for _, g := range t.groupNames() {
		if err == nil {
			err = t.ensureGroup(ctx, g)
		}
	}
	if err != nil {
		return fmt.Errorf("make the layout: %w", err)
	}
	return nil
}

func (t *tree) groupNames() []string {
	return t.o.Identity().GroupIDs()
}

func (t *tree) gidOf(group string) uint32 {
	g, _ := t.o.Identity().Group(group)
	return g.GID
}

// ensureGroup makes a group's directories. Everybody is in local, so it is
// open; every other group's is closed to strangers by its gid and mode.
func (t *tree) ensureGroup(ctx context.Context, g string) error {
	if !namespace.ValidID(g) {
		return fmt.Errorf("group %q: %w", g, ErrInvalid)
	}
	scope := objects.Scope{Kind: objects.ScopeGroup, Group: g}
	gid := t.gidOf(g)
	dir, shared, vault := uint32(0o750), uint32(0o2770), uint32(0o700)
	if g == localGroup {
		dir, shared, gid = 0o755, 0o1777, 0
	}
	if err := t.ensure(ctx, "groups/"+g, dir, 0, gid, scope); err != nil {
		return err
	}
	for _, r := range namespace.Default.Names(namespace.ScopeGroup) {
		mode := dir
		switch r.Key {
		case "GRP_SHARED":
			mode = shared
		case "GRP_VAULT", "GRP_POLICY", "GRP_SYSTEM":
			mode = vault
		}
		if r.Virtual {
			continue
		}
		if err := t.ensure(ctx, "groups/"+g+"/"+r.Name, mode, 0, gid, scope); err != nil {
			return err
		}
	}
	return nil
}

// ensureUser makes a user's directories at the first contact; the caller's
// ids own them.
func (t *tree) ensureUser(ctx context.Context, group, user string, uid, gid uint32) error {
	key := group + ":" + user
	t.usersMu.Lock()
	defer t.usersMu.Unlock()
	if t.users[key] || t.o.ReadOnly {
		return nil
	}
	if !namespace.ValidID(group) || !namespace.ValidID(user) {
		return fmt.Errorf("user %q: %w", key, ErrInvalid)
	}
	base := "groups/" + group + "/users/" + user
	mode, dirGID := uint32(0o750), t.gidOf(group)
	if group == localGroup {
		mode, dirGID = 0o755, 0
	}
	scope := objects.Scope{Kind: objects.ScopeUser, Group: group, User: user}
	if _, err := t.store.Resolve("groups/" + group + "/users"); err != nil {
		return err
	}
	if err := t.ensure(ctx, base, mode, 0, dirGID, scope); err != nil {
		return err
	}
	for _, r := range namespace.Default.Names(namespace.ScopeUser) {
		if r.Virtual {
			continue
		}
		if err := t.ensure(ctx, base+"/"+r.Name, 0o700, uid, gid, scope); err != nil {
			return err
		}
	}
	t.users[key] = true
	return nil
}

// ensureMember makes the directories of a user whom the catalogue binds to a
// uid; without a uid they come at the first contact.
func (t *tree) ensureMember(ctx context.Context, group, user string) error {
	uid, ok := t.o.Identity().UIDOf(group + ":" + user)
	if !ok {
		scope := objects.Scope{Kind: objects.ScopeUser, Group: group, User: user}
		return t.ensure(ctx, "groups/"+group+"/users/"+user, 0o750, 0, t.gidOf(group), scope)
	}
	return t.ensureUser(ctx, group, user, uid, t.gidOf(group))
}

// ensureAgent makes a registered agent's own directory: its work is what it likes there,
// its memory changes by typed actions (S13.1 C1).
func (t *tree) ensureAgent(ctx context.Context, s identity.Subject, uid, gid uint32) error {
	home := s.Home()
	p := placeOf(home)
	t.usersMu.Lock()
	defer t.usersMu.Unlock()
	if s.Kind != identity.AIAgent || p.sub == "" || t.users[s.ID] || t.o.ReadOnly {
		return nil
	}
	scope := objects.Scope{Kind: objects.ScopeGroup, Group: p.group}
	if p.user != "" {
		scope = objects.Scope{Kind: objects.ScopeUser, Group: p.group, User: p.user}
	}
	if p.group != localGroup {
		gid = t.gidOf(p.group)
	}
	err := t.ensure(ctx, home, 0o750, uid, gid, scope)
	if err == nil {
		err = t.ensure(ctx, home+"/memory", 0o750, uid, gid, scope)
	}
	if err == nil {
		t.users[s.ID] = true
	}
	return err
}

// ensure makes one directory of the layout and tells the kernel, which may
// remember that it was missing. One that exists is left as it is.
func (t *tree) ensure(ctx context.Context, path string, mode, uid, gid uint32, scope objects.Scope) error {
	a, err := t.store.Resolve(path)
	// A person's group may differ from process to process (newgrp); it is the
	// one of the first contact that stays.
	if err == nil && a.Mode&0o7777 == mode && a.UID == uid && (a.GID == gid || uid != 0) {
		return nil
	}
	if err != nil && !errors.Is(err, objects.ErrNotFound) {
		return err
	}
	a, err = t.store.EnsureDir(ctx, path, mode, uid, gid, scope)
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if t.inval != nil {
		dir, name := "", path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			dir, name = path[:i], path[i+1:]
		}
		if p, err := t.store.Resolve(dir); err == nil {
			t.inval.add(notice{ino: uint64(p.Ino), name: name}, notice{ino: uint64(p.Ino)}, notice{ino: uint64(a.Ino)})
		}
	}
	return nil
}
