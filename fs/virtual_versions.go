package fs

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/ai-os-dot-net/aios/objects"
)

// Kinds of an entry.
const (
	modeType = syscall.S_IFMT
	modeDir  = syscall.S_IFDIR
	modeLink = syscall.S_IFLNK
)

// versionTime is how a version's time is written in its name: RFC 3339 with
// milliseconds, so that names sort by time.
const versionTime = "2006-01-02T15:04:05.000Z"

// versionsDir is .versions of a stored directory: the names that it has had,
// each a directory of that name's versions. It has the mode and owner of the
// directory itself, so that history is as private as the present.
func (t *tree) versionsDir(dir uint64) (vnode, error) {
	a, err := t.store.GetAttr(objects.Ino(dir))
	if err != nil {
		return nil, err
	}
	key := fmt.Sprintf("versions/%d", dir)
	own := node{key: key, perm: a.Mode & 0o555, uid: a.UID, gid: a.GID, mtime: a.Mtime, list: a.ReadableACL(5, false)}
	// What is in it cannot be written (EROFS); the name itself cannot be given
	// to anything else (mayBind: EPERM).
	return &treeDir{node: own,
		all: func(*call) ([]vent, error) {
			names, err := t.store.NamesEver(objects.Ino(dir))
			var es []vent
			for _, n := range names {
				es = append(es, vent{n, t.nameVersions(own, dir, n)})
			}
			return es, err
		},
		find: func(_ *call, name string) (vnode, error) {
			vs, err := t.store.NameHistory(objects.Ino(dir), name)
			if err == nil && len(vs) == 0 {
				err = ErrNotFound
			}
			if err != nil {
				return nil, err
			}
			return t.nameVersions(own, dir, name), nil
		},
	}, nil
}

func (t *tree) nameVersions(own node, dir uint64, name string) vnode {
	own.key += "/" + name
	called := func(v objects.Version) string {
		return v.Since().UTC().Format(versionTime) + "_" + v.ID.String() + path.Ext(name)
	}
	entry := func(file node, v objects.Version) vent {
		n := called(v)
		return vent{n, t.versionFile(own.key+"/"+n, file, v)}
	}
	history := func() ([]objects.Version, error) {
		vs, err := t.store.NameHistory(objects.Ino(dir), name)
		if err == nil {
			t.hists.keep(own.key, vs)
		}
		return vs, err
	}
	return &treeDir{node: own, all: func(*call) ([]vent, error) {
		vs, err := history()
		if err != nil {
			return nil, err
		}
		file := t.versionLike(own, dir, name)
		var es []vent
		for _, v := range vs {
			es = append(es, entry(file, v))
		}
		return es, nil
	}, find: func(_ *call, n string) (vnode, error) {
		id, err := objects.ParseID(strings.TrimSuffix(n[strings.IndexByte(n, '_')+1:], path.Ext(name)))
		if err != nil {
			return nil, ErrNotFound
		}
		is := func(v objects.Version) bool { return v.ID == id && called(v) == n }
		if !slices.ContainsFunc(t.hists.of(own.key), is) {
			vs, err := history()
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(vs, is) {
				return nil, ErrNotFound
			}
		}
		v, err := t.store.Version(id) // its hash may be known by now
		if err != nil {
			return nil, err
		}
		return t.versionFile(own.key+"/"+n, t.versionLike(own, dir, name), v), nil
	}}
}

// versionLike gives owner and mode of a name's versions: each is as readable as the file
// was, or as its directory lets others be when the file is gone.
func (t *tree) versionLike(own node, dir uint64, name string) node {
	file := own
	file.perm, file.list = own.perm&0o444, nil
	if own.list != nil {
		file.perm &^= 0o077 // what the list lets others do with the directory says nothing of its files
	}
	if a, err := t.store.Lookup(objects.Ino(dir), name); err == nil {
		file.perm, file.uid, file.gid, file.list = a.Mode&0o444, a.UID, a.GID, a.ReadableACL(4, false)
	}
	return file
}

// versionNode is the content of one version, which never changes.
type versionNode struct {
	node
	t       *tree
	v       objects.Version
	damaged bool // an administrator is given one in quarantine, too, as far as it can be read
}

func (t *tree) versionFile(key string, own node, v objects.Version) vnode {
	own.key, own.mtime = key, v.CreatedAt
	return &versionNode{node: own, t: t, v: v}
}

func (f *versionNode) version() objects.ID { return f.v.ID }

func (f *versionNode) attr(*call) (vattr, error) {
	return vattr{mode: syscall.S_IFREG | f.perm, size: f.v.Size, uid: f.uid, gid: f.gid, mtime: f.mtime}, nil
}

func (f *versionNode) open(c *call, flags uint32) (vhandle, error) {
	if writes(flags) {
		return nil, f.refusal()
	}
	if err := f.t.clearedPast(c, f.v.Object, f); err != nil {
		return nil, err
	}
	get := f.t.store.OpenVersion
	if f.damaged && c.UID == 0 {
		get = f.t.store.OpenQuarantined
	}
	r, err := get(f.v.ID)
	if errors.Is(err, objects.ErrPermission) {
		err = fmt.Errorf("%w: %w", errAccess, err)
	}
	if err != nil {
		return nil, err
	}
	return &readerHandle{r}, nil
}

func (f *versionNode) getxattr(_ *call, name string) ([]byte, error) {
	s := ""
	switch name {
	case "user.aios.object_id":
		s = f.v.Object.String()
	case "user.aios.version_id":
		s = f.v.ID.String()
	case "user.aios.content_hash":
		if f.v.Hash != "" {
			s = "b3:" + f.v.Hash
		}
	case "user.aios.state":
		s = f.v.State
	}
	if s == "" {
		return nil, errNoXattr
	}
	return []byte(s), nil
}
func (f *versionNode) listxattr(*call) ([]string, error) { return nil, nil }

// readerHandle reads something immutable of the store.
type readerHandle struct{ r objects.Reader }

func (h *readerHandle) cached() bool { return true }
func (h *readerHandle) release()     { h.r.Close() }
func (h *readerHandle) read(_ *call, p []byte, off int64) (int, error) {
	n, err := h.r.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// objectsDir is objects/: every object by its id. It lists nothing, since
// there may be millions.
func (t *tree) objectsDir() vnode {
	return &treeDir{node: node{key: "objects", perm: 0o555}, find: func(c *call, name string) (vnode, error) {
		id, err := objects.ParseID(name)
		if err != nil || !strings.HasPrefix(name, "obj_") {
			return nil, ErrNotFound
		}
		o, err := t.store.Object(id)
		if err != nil {
			return nil, err
		}
		if !t.reaches(c, o) {
			return nil, ErrNotFound
		}
		return t.objectDir(o), nil
	}}
}

// reaches tells whether a caller could come to an object by its path: every
// directory on one of its paths lets him through. A retired object has no
// path; it is shown to who may administer the machine.
func (t *tree) reaches(c *call, o objects.Object) bool {
	if c.UID == 0 {
		return true
	}
	paths, err := t.store.PathsOf(o.ID)
	if err != nil {
		return false
	}
	for _, p := range paths {
		ok := true
		for dir := path.Dir(p); ok && dir != "."; dir = path.Dir(dir) {
			a, err := t.store.Resolve(dir)
			ok = err == nil && mayEnter(c.Caller, &a)
		}
		if ok {
			return true
		}
	}
	return false
}

// mayEnter reads a directory's mode and list as the kernel would.
func mayEnter(c Caller, a *objects.Attr) bool {
	if c.UID == 0 {
		return a.Mode&0o111 != 0
	}
	return a.Allows(c.UID, c.in, 1)
}

// objectDir shows one object; what its path's owner and mode keep from the
// caller, this keeps too.
func (t *tree) objectDir(o objects.Object) vnode {
	key := "objects/" + o.ID.String()
	own := node{key: key, perm: 0o500, mtime: o.CreatedAt}
	if o.State != objects.Active.String() {
		own.no = errRetired
	}
	file := own
	file.perm = 0o400
	if a, err := t.store.GetAttr(o.Ino); err == nil {
		own.uid, own.gid, own.perm, own.list = a.UID, a.GID, a.Mode&0o444|a.Mode&0o444>>2, a.ReadableACL(4, true)
		file.uid, file.gid, file.perm, file.list = a.UID, a.GID, a.Mode&0o444, a.ReadableACL(4, false)
	}
	text := func(name string, fn func() ([]byte, error)) vent {
		n := file
		n.key = key + "/" + name
		return vent{name, &textFile{node: n, text: func(*call) ([]byte, error) { return fn() }}}
	}
	d := &treeDir{node: own}
	d.all = func(c *call) ([]vent, error) {
		es := []vent{
			text("meta.json", func() ([]byte, error) { return indent(t.store.Object(o.ID)) }),
			text("path", func() ([]byte, error) {
				ps, err := t.store.PathsOf(o.ID)
				var b []byte
				for _, p := range ps {
					b = append(append(b, p...), '\n')
				}
				return b, err
			}),
		}
		vs, err := t.store.Versions(o.ID)
		if err != nil {
			return nil, err
		}
		sub := own
		sub.key = key + "/versions"
		es = append(es, vent{"versions", &treeDir{node: sub, all: func(*call) ([]vent, error) {
			var ves []vent
			for _, v := range vs {
				n := file
				n.key, n.mtime = sub.key+"/"+v.ID.String(), v.CreatedAt
				ves = append(ves, vent{v.ID.String(), &versionNode{n, t, v, true}})
			}
			return ves, nil
		}}})
		ptr := own
		ptr.key = key + "/pointers"
		es = append(es, vent{"pointers", &treeDir{node: ptr, all: func(*call) ([]vent, error) {
			var pes []vent
			for _, p := range []struct {
				name string
				id   objects.ID
			}{{"CURRENT", o.Current}, {"STABLE", o.Stable}, {"ROLLBACK", o.Rollback}} {
				if !p.id.IsZero() {
					pes = append(pes, vent{p.name, newLink(ptr.key+"/"+p.name, "../versions/"+p.id.String(), o.CreatedAt, nil)})
				}
			}
			return pes, nil
		}}})
		for _, v := range vs {
			if v.ID == o.Current {
				es = append(es, vent{"content", t.versionFile(key+"/content/"+v.ID.String(), file, v)})
			}
		}
		return es, nil
	}
	return d
}
