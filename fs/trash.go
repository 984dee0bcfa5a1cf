package fs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ai-os-dot-net/aios/objects"
)

// The desktops' trash can, .Trash/<uid> at the mount's root (freedesktop's trash
// specification, as GIO uses it): not listed, looked up only. Programs rename into
// .Trash/<uid>/files from any scope, which retires the object, and back, which gives it
// its life again (kde.md §3). The kernel keeps everybody out of the cans of others.

// inCan tells whether a place is the trash can's directory or lies in it.
func (p place) inCan() bool {
	return p.path == objects.CanName || strings.HasPrefix(p.path, objects.CanName+"/")
}

// allowCan asks about an operation in the caller's own can: no policy has a say in what
// a person threw away, and the record of it is the retirement's.
func (t *tree) allowCan(c *call, op Op, p place) error {
	if !op.Mutates() {
		return nil
	}
	if err := t.healthy(); err != nil {
		return err
	}
	if c.Subject.IsAI {
		err := fmt.Errorf("an AI subject has no trash can: %w", ErrImmutable)
		t.denied.add(c.Caller, op, p.target(), "AGENT_DIRECT_FS_WRITE_BLOCKED", err.Error())
		return err
	}
	return nil
}

// makeCan is mkdir .Trash/<uid>: a can is made under the maker's own number only.
func (t *tree) makeCan(c *call, name string) (objects.Attr, error) {
	p := placeOf(objects.CanName).child(name)
	if err := t.allowCan(c, OpMkdir, p); err != nil {
		return objects.Attr{}, err
	}
	if name != strconv.FormatUint(uint64(c.UID), 10) {
		return objects.Attr{}, fmt.Errorf("%s holds a directory for each uid, and %q is not yours: %w", objects.CanName, name, ErrImmutable)
	}
	if _, err := t.store.Resolve(p.path); err == nil {
		return objects.Attr{}, errExist
	}
	group, user, _ := strings.Cut(c.Subject.ID, ":")
	return t.store.EnsureCan(settled(c), c.cred(), group, user)
}
