package fs

import (
	"fmt"

	"github.com/ai-os-dot-net/aios/fs/namespace"
)

// recoveryHealth is where a recovery mount says how it is: system/runtime, where a
// normal mount does, is not shown.
const recoveryHealth = "system/recovery/health.json"

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
