package fs

import (
	"fmt"

	"github.com/ai-os-dot-net/aios/objects"
)

// aiCeiling is the highest privacy class of which an AI is given the bytes as a file: the
// one that files have when nobody has said anything. What somebody has marked as
// SECRET_BEARING or CLASSIFIED is above it, and it is today's class that counts, also for
// what is read in .versions or views/at (contract §8, filesystem.md T-6).
const aiCeiling = objects.Sensitive

// cleared tells whether a caller may have the bytes of an object, and records it when not.
func (t *tree) cleared(c *call, obj objects.ID, target func() Target) error {
	if !c.Subject.IsAI || obj.IsZero() {
		return nil
	}
	o, err := t.store.Object(obj)
	if err != nil {
		return err
	}
	if o.Privacy <= aiCeiling {
		return nil
	}
	err = fmt.Errorf("its privacy class is %s, and an AI reads up to %s: %w", o.Privacy, aiCeiling, errAccess)
	t.denied.add(c.Caller, OpRead, target(), "PrivacyCeiling", err.Error())
	return err
}

// clearedPast is cleared for a virtual file, which shows a version.
func (t *tree) clearedPast(c *call, obj objects.ID, v vnode) error {
	return t.cleared(c, obj, func() Target { return Target{Path: pathOf(v)} })
}
