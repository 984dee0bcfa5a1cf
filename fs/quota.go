package fs

import (
	"fmt"

	"github.com/ai-os-dot-net/aios/objects"
)

// A group's or user's directory answers what may lie below it and what does; only an
// administrator sets the limit, as `bytes=10G,files=1000000`. Neither is listed, since a
// copy of the directory elsewhere has no quota.
const (
	xattrQuota = "user.aios.quota"
	xattrUsage = "user.aios.usage"
)

// quotaScope is the scope whose quota a directory stands for.
func (t *tree) quotaScope(ino objects.Ino) (place, objects.Scope, error) {
	a, err := t.store.GetAttr(ino)
	if err != nil {
		return place{}, objects.Scope{}, err
	}
	p, err := t.place(uint64(ino))
	if err != nil || p.level != levelGroup && p.level != levelUser {
		return place{}, objects.Scope{}, errNoXattr
	}
	return p, a.Scope, nil
}

func (t *tree) quotaXattr(ino objects.Ino, name string) ([]byte, error) {
	_, scope, err := t.quotaScope(ino)
	if err != nil {
		return nil, err
	}
	q, u := t.store.QuotaOf(scope)
	if name == xattrUsage {
		return fmt.Appendf(nil, "bytes=%d,files=%d", u.Bytes, u.Files), nil
	}
	if q == (objects.Quota{}) {
		return nil, errNoXattr
	}
	return []byte(q.String()), nil
}

// setQuota sets the limit of a group or user; "" takes it away.
func (t *tree) setQuota(c *call, ino objects.Ino, name, value string) error {
	p, scope, err := t.quotaScope(ino)
	if err != nil || name == xattrUsage {
		return fmt.Errorf("only a group's or user's directory has a quota: %w", ErrImmutable)
	}
	if !c.Subject.Admin || c.Subject.IsAI {
		err := fmt.Errorf("only an administrator sets quotas: %w", ErrImmutable)
		t.denied.add(c.Caller, OpSetXattr, p.target(), "subject_lacks_capability", err.Error())
		return err
	}
	var q objects.Quota
	if value != "" {
		if q, err = objects.ParseQuota(value); err != nil {
			return err
		}
	}
	return t.store.SetQuota(c.cred(), scope, q)
}
