package views

import (
	"slices"
	"strings"

	"github.com/ai-os-dot-net/aios/objects"
)

// sight answers what one caller may see, for the time of one query. It walks the
// tree as the kernel does with default_permissions, and keeps other groups' places
// from root, too (contract §4 and §7).
type sight struct {
	v    *Views
	c    Caller
	dirs map[string]dirSight
	past *objects.Snapshot // what is looked at instead of the present
}

type dirSight struct{ enter, list bool }

const (
	mayExec = 1
	mayRead = 4
)

func (v *Views) sightOf(c Caller) *sight { return &sight{v: v, c: c, dirs: map[string]dirSight{}} }

func (s *sight) resolve(path string) (objects.Attr, error) {
	if s.past != nil {
		return s.past.Resolve(path)
	}
	return s.v.d.Store.Resolve(path)
}

// pathsOf gives the paths of an inode that is an object's.
func (s *sight) pathsOf(o objects.Object, ino objects.Ino, single bool) ([]string, error) {
	switch {
	case s.past != nil:
		return s.past.PathsOf(ino)
	case single:
		p, err := s.v.d.Store.PathOf(ino)
		return []string{p}, err
	}
	return s.v.d.Store.PathsOf(o.ID)
}

// may is the permission check of POSIX, access control lists included.
func (c Caller) may(a objects.Attr, want uint32) bool {
	return c.UID == 0 || a.Allows(c.UID, func(gid uint32) bool { return gid == c.GID || slices.Contains(c.Groups, gid) }, want)
}

// belongs tells whether the path is in no group's place, in local's, or in one that
// the caller is a member of.
func (c Caller) belongs(path string) bool {
	rest, ok := strings.CutPrefix(path, "groups/")
	if !ok {
		return true
	}
	group, _, _ := strings.Cut(rest, "/")
	return group == "local" || group == c.Subject.PrimaryGroup || slices.Contains(c.Subject.Memberships, group)
}

// own tells whether the path lies in a scope that the caller belongs to: his home, or
// a group of his without its members' homes.
func (c Caller) own(path string) bool {
	if home := c.Subject.Home(); home != "" && strings.HasPrefix(path+"/", home+"/") {
		return true
	}
	parts := strings.SplitN(path, "/", 4)
	return len(parts) >= 3 && parts[0] == "groups" && parts[2] != "users" && c.belongs(path)
}

// dir tells what the caller may do with a directory, with all above it.
func (s *sight) dir(path string) dirSight {
	if d, ok := s.dirs[path]; ok {
		return d
	}
	var d dirSight
	above := true
	if path != "" {
		above = s.c.belongs(path) && s.dir(parentOf(path)).enter
	}
	if above {
		if a, err := s.resolve(path); err == nil {
			d = dirSight{s.c.may(a, mayExec), s.c.may(a, mayExec|mayRead)}
		}
	}
	s.dirs[path] = d
	return d
}

func parentOf(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }

// path gives the first path of an object at which the caller can list it; "" without.
func (s *sight) path(o objects.Object, a objects.Attr) string {
	paths, err := s.pathsOf(o, a.Ino, a.Nlink <= 1)
	if err != nil {
		return ""
	}
	for _, p := range paths {
		if p != "" && s.c.belongs(p) && s.dir(parentOf(p)).list {
			return p
		}
	}
	return ""
}

// grave gives the place of a retired object, and the link to its versions: where its name
// was, to those who may list that directory, as `.versions` there shows it to them. One
// whose directory is gone has its name alone, for who made it and for who looks after
// the machine. "" means that the caller may not know of it.
func (s *sight) grave(o objects.Object) (path, link string) {
	if o.Scope.Group != "" && !s.c.belongs("groups/"+o.Scope.Group) {
		return "", ""
	}
	if dirs, err := s.pathsOf(objects.Object{}, o.OldParent, true); err == nil && len(dirs) == 1 {
		if !s.c.belongs(dirs[0]) || !s.dir(dirs[0]).list {
			return "", ""
		}
		path = strings.TrimPrefix(dirs[0]+"/"+o.Name, "/")
		if !o.Current.IsZero() {
			link = strings.TrimPrefix(dirs[0]+"/.versions/"+o.Name, "/")
		}
		return path, link
	}
	if s.c.everyones(o.CreatedBy) {
		return o.Name, ""
	}
	return "", ""
}
