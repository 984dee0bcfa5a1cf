package fs

import (
	"encoding/json"
	"fmt"
)

// Named snapshots are directories of views/at that an administrator makes and removes:
// `mkdir views/at/NAME` names the tree as it is now and holds it, `rmdir` lets it go.
// They are looked up and not listed, or a find of the mount would walk the whole tree
// once for each; snapshotsName lists them, and is not listed either.
const snapshotsName = ".snapshots"

// atRoot is views/at.
type atRoot struct{ treeDir }

func (d *atRoot) mkdir(c *call, name string) (vnode, error) {
	if err := c.t.mayPin(c); err != nil {
		return nil, err
	}
	if _, err := d.lookup(c, name); err == nil {
		return nil, errExist
	}
	p, err := c.t.store.CreatePin(c.cred(), name)
	if err != nil {
		return nil, err
	}
	return d.lookup(c, p.Name)
}

func (d *atRoot) unlink(*call, string) error { return ErrReadOnly }

func (d *atRoot) rmdir(c *call, name string) error {
	if _, ok := c.t.store.PinTime(name); !ok {
		return ErrReadOnly
	}
	if err := c.t.mayPin(c); err != nil {
		return err
	}
	return c.t.store.DeletePin(name)
}

// mayPin: a snapshot holds everybody's history, so it is an administrator's to make.
func (t *tree) mayPin(c *call) error {
	if err := t.healthy(); err != nil {
		return err
	}
	if !c.Subject.Admin || c.Subject.IsAI {
		return fmt.Errorf("only an administrator makes and removes snapshots: %w", ErrDenied)
	}
	return nil
}

// pinList is what views/at/.snapshots says: one JSON object a line.
func (t *tree) pinList(*call) ([]byte, error) {
	var b []byte
	for _, p := range t.store.Pins() {
		line, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		b = append(append(b, line...), '\n')
	}
	return b, nil
}
