package fs

import (
	"fmt"
	"path"

	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
)

// recoveryHealth is where a recovery mount says how it is: system/runtime, where a
// normal mount does, is not shown.
const recoveryHealth = "system/recovery/health.json"

// recoveryIntents is where a recovery mount takes the typed actions that are possible
// there, in the way of intents/.
const recoveryIntents = "system/recovery/intents"

// passable lets people through to recoveryIntents: in the store the directory is root's
// alone, and in it is nothing that they could list or open.
func (t *tree) passable(a *objects.Attr) {
	if t.recoveryDir != 0 && a.Ino == t.recoveryDir {
		a.Mode |= 0o011
	}
}

// absent tells whether a recovery mount leaves out a name of the closed layout: all
// beside system/, and there the names that filesystem.md §10.1 quarantines.
func (t *tree) absent(p place, name string) bool {
	if !t.o.Recovery {
		return false
	}
	switch p.level {
	case levelRoot:
		return name != "system"
	case levelSystem:
		r, ok := namespace.Default.Reserved(namespace.ScopeSystem, name)
		return !ok || r.Recovery == namespace.Quarantined || r.Recovery == namespace.Absent
	}
	return false
}

// recoveryOnly refuses every change by plain file work in recovery: what is mutable there
// changes by typed actions alone, and the log not at all (S9.1 §15.5).
func (t *tree) recoveryOnly() error {
	if !t.o.Recovery {
		return nil
	}
	return fmt.Errorf("mounted for recovery: %w", ErrReadOnly)
}

// findRecovery notes the directory that recoveryIntents stands in.
func (t *tree) findRecovery() error {
	if !t.o.Recovery || t.o.Intents == nil {
		return nil
	}
	a, err := t.store.Resolve(path.Dir(recoveryIntents))
	if err != nil {
		return fmt.Errorf("find %s: %w", path.Dir(recoveryIntents), err)
	}
	t.recoveryDir = a.Ino
	return nil
}

// ofDesk says whether a file is one of recoveryIntents, which alone are written in
// recovery.
func ofDesk(v vnode) bool {
	switch v.(type) {
	case *draft, *acceptedFile, *runFile:
		return true
	}
	return false
}
