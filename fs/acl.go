package fs

import (
	"fmt"

	"github.com/ai-os-dot-net/aios/objects"
)

// Access control lists (acl(5)). The kernel enforces them under
// default_permissions, and checks who may set one; the store keeps them and the
// mode alike. The kernel caches the lists until attributes change, so whatever
// changes one from inside is told as a change of the inode.

func isACL(name string) bool {
	return name == objects.XattrACLAccess || name == objects.XattrACLDefault
}

// vacl is a virtual node that shows a stored thing: what the thing's list keeps
// from somebody, the picture of it keeps, too.
type vacl interface {
	acl() []byte
}

// virtualACL answers for a virtual node. "None" and not "not supported": the
// kernel takes the latter for a refusal when it checks permissions.
func virtualACL(v vnode, name string) ([]byte, error) {
	if a, ok := v.(vacl); ok && name == objects.XattrACLAccess {
		if b := a.acl(); b != nil {
			return b, nil
		}
	}
	return nil, errNoXattr
}

// setACL sets a list, or removes it with no data. The mode of a directory of the
// closed layout cannot be changed (layout.go), so neither can its access list.
func (t *tree) setACL(c *call, id uint64, name string, data []byte) error {
	p, err := t.place(id)
	if err == nil && p.level != levelInside && (name == objects.XattrACLAccess || p.level != levelReserved) {
		return fmt.Errorf("/%s belongs to the closed layout: %w", p.path, ErrImmutable)
	}
	a, err := t.store.GetAttr(objects.Ino(id))
	if err != nil {
		return err
	}
	return t.store.SetACL(c.cred(), a.Ino, name, data, c.UID != 0 && !c.in(a.GID))
}
