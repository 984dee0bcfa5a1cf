package fs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
)

// The attributes that say what the object model knows of a file (contract
// §3). Those of identity are answered and not listed: what is listed, cp -a
// and rsync -X try to set on the copy (T-30).
const (
	xattrPrefix  = "user.aios."
	xattrPrivacy = "user.aios.privacy_class"
	xattrTags    = "user.xdg.tags"
)

// storedXattr tells whether an attribute of this name can exist here at all.
// Labels of security modules are not kept; EOPNOTSUPP, not "no such attribute",
// makes ls stop asking for each file (limits.md §4). Who may set what in which
// name space, and on which types of files, the kernel checks (xattr(7)).
func storedXattr(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") || name == objects.XattrCapability || isACL(name)
}

// GetXAttr reads an attribute.
func (t *tree) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !storedXattr(name) {
		return 0, fuse.Status(unix.EOPNOTSUPP)
	}
	var v []byte
	var err error
	if isVirtual(h.NodeId) {
		v, err = t.virtualXattr(cancel, h, name)
	} else {
		v, err = t.getXattr(objects.Ino(h.NodeId), name)
	}
	if err != nil {
		return 0, status(err)
	}
	return fit(v, dest)
}

func fit(v, dest []byte) (uint32, fuse.Status) {
	if len(dest) < len(v) {
		return uint32(len(v)), fuse.ERANGE
	}
	return uint32(copy(dest, v)), fuse.OK
}

func (t *tree) virtualXattr(cancel <-chan struct{}, h *fuse.InHeader, name string) ([]byte, error) {
	c, err := t.call(cancel, h)
	if err != nil {
		return nil, err
	}
	v, err := t.nodes.get(h.NodeId)
	if err != nil {
		return nil, err
	}
	if isACL(name) {
		return virtualACL(v, name)
	}
	if x, ok := v.(vxattr); ok {
		return x.getxattr(c, name)
	}
	return nil, errNoXattr
}

func (t *tree) getXattr(ino objects.Ino, name string) ([]byte, error) {
	switch {
	case name == xattrQuota || name == xattrUsage:
		return t.quotaXattr(ino, name)
	case name == xattrTags:
		o, err := t.object(ino)
		if err != nil {
			return nil, err
		}
		if len(o.Labels) == 0 {
			return nil, errNoXattr
		}
		return []byte(strings.Join(o.Labels, ",")), nil
	case strings.HasPrefix(name, xattrPrefix):
		if v, err, ok := t.modelXattr(ino, name); ok {
			return v, err
		}
	}
	return t.store.GetXattr(ino, name)
}

// modelXattr answers the attributes that are the object's and not the
// inode's; ok is false for those that are stored as given.
func (t *tree) modelXattr(ino objects.Ino, name string) (v []byte, err error, ok bool) {
	switch name {
	case "user.aios.object_id", "user.aios.version_id", "user.aios.content_hash", "user.aios.kind", "user.aios.scope", xattrPrivacy:
	default:
		return nil, nil, false
	}
	t.store.Settle(ino) // the close of what was just saved may not be worked off yet
	a, err := t.store.GetAttr(ino)
	if err != nil {
		return nil, err, true
	}
	o, err := t.store.Object(a.Object)
	if err != nil {
		return nil, errNoXattr, true // the root has no object
	}
	var s string
	switch name {
	case "user.aios.object_id":
		s = o.ID.String()
	case "user.aios.version_id":
		s = a.Version.String()
	case "user.aios.content_hash":
		if !a.Version.IsZero() {
			var ver objects.Version
			if ver, err = t.store.Version(a.Version); err == nil && ver.Hash != "" {
				s = "b3:" + ver.Hash
			}
		}
	case "user.aios.kind":
		s = o.Kind
	case "user.aios.scope":
		s = strings.Trim(strings.Join([]string{a.Scope.Kind.String(), a.Scope.Group, a.Scope.User}, ":"), ":")
	case xattrPrivacy:
		s = o.Class
	}
	if err == nil && s == "" {
		err = errNoXattr
	}
	return []byte(s), err, true
}

func (t *tree) object(ino objects.Ino) (objects.Object, error) {
	a, err := t.store.GetAttr(ino)
	if err != nil {
		return objects.Object{}, err
	}
	o, err := t.store.Object(a.Object)
	if err != nil {
		return o, errNoXattr
	}
	return o, nil
}

// ListXAttr names the attributes that may be set again.
func (t *tree) ListXAttr(cancel <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	var names []string
	var err error
	if isVirtual(h.NodeId) {
		c, cerr := t.call(cancel, h)
		if cerr != nil {
			return 0, status(cerr)
		}
		v, gerr := t.nodes.get(h.NodeId)
		if gerr != nil {
			return 0, status(gerr)
		}
		if x, ok := v.(vxattr); ok {
			names, err = x.listxattr(c)
		}
	} else {
		ino := objects.Ino(h.NodeId)
		names, err = t.store.ListXattr(ino)
		if o, oerr := t.object(ino); err == nil && oerr == nil {
			if len(o.Labels) > 0 {
				names = append(names, xattrTags)
			}
			if o.Privacy != objects.Sensitive {
				names = append(names, xattrPrivacy)
			}
		}
	}
	if err != nil {
		return 0, status(err)
	}
	var b []byte
	for _, n := range names {
		if strings.HasPrefix(n, "trusted.") && h.Uid != 0 {
			continue
		}
		b = append(append(b, n...), 0)
	}
	return fit(b, dest)
}

// SetXAttr sets an attribute.
func (t *tree) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	c, err := t.changeXattr(cancel, &in.InHeader, name)
	if err != nil {
		return status(err)
	}
	if len(name) > objects.MaxName {
		return fuse.ERANGE
	}
	if strings.HasSuffix(name, ".") && strings.Count(name, ".") == 1 {
		return fuse.EINVAL // a name space and no name
	}
	ino := objects.Ino(in.NodeId)
	switch {
	case isACL(name):
		return status(t.setACL(c, in.NodeId, name, data))
	case name == xattrTags:
		return status(t.setTags(c, ino, string(data)))
	case name == xattrQuota || name == xattrUsage:
		return status(t.setQuota(c, ino, name, string(data)))
	case name == xattrPrivacy:
		o, err := t.object(ino)
		if err != nil {
			return status(err)
		}
		p, err := objects.ParsePrivacy(string(data))
		if err != nil {
			return status(err)
		}
		return status(t.raisePrivacy(c, in.NodeId, o, p))
	case name == objects.RetentionXattr:
		if err := t.checkRetention(ino, string(data)); err != nil {
			return status(err)
		}
	case strings.HasPrefix(name, xattrPrefix):
		if old, _, ok := t.modelXattr(ino, name); ok && string(old) != string(data) {
			return fuse.EPERM
		} else if ok {
			return fuse.OK
		}
	}
	return status(t.store.SetXattr(c.cred(), ino, name, data, in.Flags&unix.XATTR_CREATE != 0, in.Flags&unix.XATTR_REPLACE != 0))
}

// raisePrivacy sets a class that is not below the one there is; a try to lower it is
// recorded (S1.3 §8.2).
func (t *tree) raisePrivacy(c *call, id uint64, o objects.Object, class objects.Privacy) error {
	err := t.store.RaisePrivacy(c.cred(), o.ID, class)
	if errors.Is(err, objects.ErrPermission) && class < o.Privacy {
		if p, err := t.place(id); err == nil {
			t.denied.add(c.Caller, OpSetXattr, p.target(), "hd.privacy_class_downgrade", fmt.Sprintf("privacy class %s is below %s, and a class never falls", class, o.Privacy))
		}
	}
	return err
}

func (t *tree) setTags(c *call, ino objects.Ino, tags string) error {
	o, err := t.object(ino)
	if err != nil {
		return err
	}
	var labels []string
	if tags != "" {
		labels = strings.Split(tags, ",")
	}
	return t.store.SetLabels(c.cred(), o.ID, labels)
}

// checkRetention checks the words of a directory's retention. On anything else the
// attribute is stored as given, like any that means nothing here (contract §3).
func (t *tree) checkRetention(ino objects.Ino, words string) error {
	a, err := t.store.GetAttr(ino)
	if err != nil || a.Mode&modeType != modeDir {
		return err
	}
	return objects.ParseRetention(words)
}

// RemoveXAttr removes an attribute.
func (t *tree) RemoveXAttr(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	c, err := t.changeXattr(cancel, h, name)
	if err != nil {
		return status(err)
	}
	ino := objects.Ino(h.NodeId)
	if isACL(name) {
		if _, err := t.store.GetXattr(ino, name); err != nil {
			return status(err)
		}
		return status(t.setACL(c, h.NodeId, name, nil))
	}
	if name == xattrQuota || name == xattrUsage {
		return status(t.setQuota(c, ino, name, ""))
	}
	if name == xattrTags {
		if _, err := t.getXattr(ino, name); err != nil {
			return status(err)
		}
		return status(t.setTags(c, ino, ""))
	}
	if strings.HasPrefix(name, xattrPrefix) {
		if _, err, ok := t.modelXattr(ino, name); ok {
			if err != nil {
				return status(err)
			}
			return fuse.EPERM
		}
	}
	return status(t.store.RemoveXattr(c.cred(), ino, name))
}

// changeXattr asks whether the caller may change attributes of the node.
func (t *tree) changeXattr(cancel <-chan struct{}, h *fuse.InHeader, name string) (*call, error) {
	c, err := t.call(cancel, h)
	if err != nil {
		return nil, err
	}
	if isVirtual(h.NodeId) {
		v, err := t.nodes.get(h.NodeId)
		if err != nil {
			return nil, err
		}
		return nil, t.refuse(c, OpSetXattr, v)
	}
	if !storedXattr(name) {
		return nil, errNotSupported
	}
	p, err := t.place(h.NodeId)
	if err == nil {
		err = t.allow(c, OpSetXattr, p)
	} else if errors.Is(err, objects.ErrNotFound) {
		err = t.healthy() // open, but its name is gone
	}
	return c, err
}
