package fs

import (
	"fmt"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
)

// atDir is views/at: the whole stored tree as it was at any time that is
// named. It lists the few names that everybody understands.
func (t *tree) atDir() vnode {
	find := func(name string) (vnode, error) {
		at, pinned := t.store.PinTime(name)
		if !pinned {
			var err error
			if at, err = parseTime(name, t.o.Now()); err != nil {
				return nil, noTime(name, err)
			}
		}
		sn, err := t.store.At(at)
		if err != nil {
			return nil, err
		}
		defer sn.Close()
		// The epoch's own time, so that "2h" is the same tree, with the same
		// numbers, until the next epoch comes to be two hours old.
		v, err := t.atNode(name, sn.Time(), sn, objects.RootIno)
		if root, ok := v.(*atDirNode); ok {
			root.top = true
		}
		return v, err
	}
	return &atRoot{treeDir{node: node{key: "views/at", perm: 0o555},
		find: func(_ *call, name string) (vnode, error) {
			if name == snapshotsName {
				return &textFile{node: node{key: "views/at/" + snapshotsName, perm: 0o444}, text: t.pinList}, nil
			}
			return find(name)
		},
		all: nil, // times have no end; a listing would make find(1) walk history for ever (T-24)
	}}
}

// dated is what was meant as a date, in whichever calendar.
var dated = regexp.MustCompile(`^[0-9]+-[0-9]+-[0-9]+([Tt ].*)?$`)

// noTime tells of a name that is no time. What was meant as one, or can be nothing else,
// is malformed; any other could be the name of a snapshot that is not there, which must
// be said or nobody could make it. Names with a dot in front are programs', which look
// for theirs in every directory.
func noTime(name string, err error) error {
	if dated.MatchString(name) || name[0] != '.' && !objects.ValidPinName(name) {
		return err
	}
	return ErrNotFound
}

// parseTime reads a time as people write it: RFC 3339, a day, yesterday, or
// how long ago (90s, 15m, 2h, 3d, 1w).
func parseTime(s string, now time.Time) (time.Time, error) {
	for _, f := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if at, err := time.Parse(f, s); err == nil {
			return at, nil
		}
	}
	for _, f := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if at, err := time.ParseInLocation(f, s, now.Location()); err == nil {
			return at, nil
		}
	}
	if at, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		// A day means its end: what was there when it was over.
		end := at.AddDate(0, 0, 1).Add(-time.Microsecond)
		if end.After(now) {
			end = now
		}
		return end, nil
	}
	switch s {
	case "now":
		return now, nil
	case "yesterday":
		return now.AddDate(0, 0, -1), nil
	}
	if len(s) >= 2 {
		n, err := strconv.ParseUint(s[:len(s)-1], 10, 20)
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]
		if err == nil && unit > 0 {
			return now.Add(-time.Duration(n) * unit), nil
		}
	}
	return time.Time{}, fmt.Errorf("time %q: %w", s, ErrInvalid)
}

// atNode is a stored thing as it was; name is how the time was written,
// which makes a number of its own for each.
type atNode struct {
	t    *tree
	when string
	at   time.Time
	a    objects.Attr
	top  bool // its name means another tree later on
}

// atDirNode, atFileNode and atLinkNode are the three kinds that can be
// opened; the rest of POSIX' types shows as a plain node.
type (
	atDirNode  struct{ atNode }
	atFileNode struct{ atNode }
	atLinkNode struct{ atNode }
)

func (t *tree) atNode(when string, at time.Time, sn *objects.Snapshot, ino objects.Ino) (vnode, error) {
	a, err := sn.GetAttr(ino)
	if err != nil {
		return nil, err
	}
	n := atNode{t: t, when: when, at: at, a: a}
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return &atDirNode{n}, nil
	case syscall.S_IFREG:
		return &atFileNode{n}, nil
	case syscall.S_IFLNK:
		return &atLinkNode{n}, nil
	}
	return &n, nil
}

func (n *atNode) name() string {
	return fmt.Sprintf("views/at/%s/%d/%d", n.when, n.at.UnixMicro(), n.a.Ino)
}

func (n *atNode) attr(*call) (vattr, error) {
	if n.top {
		return vattr{mode: n.a.Mode &^ 0o222, size: n.a.Size, uid: n.a.UID, gid: n.a.GID, mtime: n.a.Mtime}, nil
	}
	return vattr{mode: n.a.Mode &^ 0o222, size: n.a.Size, uid: n.a.UID, gid: n.a.GID, mtime: n.a.Mtime, ttl: pastTime}, nil
}

func (n *atNode) version() objects.ID { return n.a.Version }

func (n *atNode) acl() []byte { return n.a.ReadableACL(5, false) }

func (n *atNode) look(flags uint32, fn func(sn *objects.Snapshot) error) error {
	if writes(flags) {
		return ErrReadOnly
	}
	return n.t.past.with(n.at, fn)
}

func (d *atDirNode) lookup(_ *call, name string) (v vnode, err error) {
	err = d.look(0, func(sn *objects.Snapshot) error {
		a, err := sn.Lookup(d.a.Ino, name)
		if err == nil {
			v, err = d.t.atNode(d.when, d.at, sn, a.Ino)
		}
		return err
	})
	return v, err
}

func (d *atDirNode) list(*call) (es []vent, err error) {
	err = d.look(0, func(sn *objects.Snapshot) error {
		list, err := sn.List(d.a.Ino)
		for _, e := range list {
			if d.a.Ino == objects.RootIno && e.Name == objects.CanName {
				continue
			}
			if v, err := d.t.atNode(d.when, d.at, sn, e.Ino); err == nil {
				es = append(es, vent{e.Name, v})
			}
		}
		return err
	})
	return es, err
}

func (f *atFileNode) open(c *call, flags uint32) (h vhandle, err error) {
	if err := f.t.clearedPast(c, f.a.Object, f); err != nil {
		return nil, err
	}
	err = f.look(flags, func(sn *objects.Snapshot) error {
		r, err := sn.Open(f.a.Ino)
		h = &readerHandle{r}
		return err
	})
	return h, err
}

func (l *atLinkNode) readlink(*call) (to string, err error) {
	err = l.look(0, func(sn *objects.Snapshot) error {
		to, err = sn.Readlink(l.a.Ino)
		return err
	})
	return to, err
}

// getxattr answers, besides what was stored, what tells a program that brings the past back
// which thing this was; like those of a living file, these are not listed.
func (n *atNode) getxattr(_ *call, name string) (v []byte, err error) {
	switch name {
	case "user.aios.object_id":
		if !n.a.Object.IsZero() {
			return []byte(n.a.Object.String()), nil
		}
	case "user.aios.version_id":
		if !n.a.Version.IsZero() {
			return []byte(n.a.Version.String()), nil
		}
	case "user.aios.mode": // the listing shows it without the bits that let one write
		return fmt.Appendf(nil, "%04o", n.a.Mode&0o7777), nil
	case "user.aios.time":
		return []byte(n.at.UTC().Format(time.RFC3339Nano)), nil
	}
	err = n.look(0, func(sn *objects.Snapshot) error {
		v, err = sn.GetXattr(n.a.Ino, name)
		return err
	})
	return v, err
}

func (n *atNode) listxattr(*call) (names []string, err error) {
	err = n.look(0, func(sn *objects.Snapshot) error {
		names, err = sn.ListXattr(n.a.Ino)
		return err
	})
	return names, err
}
