package objects

import (
	"bytes"
	"context"

	"fmt"
	"sort"
	"strings"
	"time"
)

// DirEntry is one name of a directory.
type DirEntry struct {
	Name   string
	Ino    Ino
	Type   uint32 // S_IFMT bits
	Cookie uint64 // where a reading goes on after this entry
}

// DirHandle is an open directory. What it lists is fixed when it is first read or
// rewound, so that positions stay good while entries come and go.
type DirHandle struct {
	s       *Store
	n       *node
	ino     Ino
	read    bool
	entries []DirEntry
}

// OpenDir opens a directory for listing.
func (s *Store) OpenDir(ino Ino) (*DirHandle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.dir(ino)
	if err != nil {
		return nil, err
	}
	n.refs++
	return &DirHandle{s: s, n: n, ino: ino}, nil
}

// fill lists the directory. One that cannot be read shows no names, and says so in the log.
func (h *DirHandle) fill() {
	entries, err := h.s.list(h.ino)
	if err != nil {
		h.s.o.Logger.Error("a directory could not be read", "inode", h.ino, "error", err)
	}
	h.entries, h.read = entries, true
}

// Rewind lists the directory anew, as rewinddir(3) wants.
func (h *DirHandle) Rewind() { h.fill() }

// From gives the entries after a cookie; 0 stands for the beginning. They belong to all
// readers and are not to be changed.
func (h *DirHandle) From(cookie uint64) []DirEntry {
	if !h.read {
		h.fill()
	}
	if cookie >= uint64(len(h.entries)) {
		return nil
	}
	return h.entries[cookie:]
}

// Close lets go of the directory.
func (h *DirHandle) Close() { h.s.unref(h.n) }

// Parent is the directory that a directory lies in; the root's is itself.
func (s *Store) Parent(ino Ino) (Ino, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	if err != nil {
		return 0, err
	}
	return n.parent, nil
}

// Resolve finds what a slash-separated path from the root names; symbolic links are
// not followed. The empty path is the root.
func (s *Store) Resolve(path string) (Attr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.resolve(path)
	if err != nil {
		return Attr{}, err
	}
	return s.attrOf(n), nil
}

func splitPath(path string) []string {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func (s *Store) resolve(path string) (*node, error) {
	n, err := s.node(RootIno)
	if err != nil {
		return nil, err
	}
	for _, name := range splitPath(path) {
		if !isDir(n.mode) {
			return nil, fmt.Errorf("%s: %w", path, ErrNotDir)
		}
		d, ok, err := s.dent(n.ino, name)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%s: %w", path, ErrNotFound)
		}
		if n, err = s.node(d.ino); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// PathOf gives the path of an inode's oldest live name, from the root, without a
// leading slash; ErrNotFound for one without a name.
func (s *Store) PathOf(ino Ino) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pathOf(ino)
}

func (s *Store) pathOf(ino Ino) (string, error) {
	if ino == RootIno {
		return "", nil
	}
	n, err := s.node(ino)
	switch {
	case err != nil:
		return "", err
	case n.nlink == 0:
		return "", ErrNotFound
	case n.path != "" && n.moves == s.moves:
		return n.path, nil
	}
	path, err := s.pathOf(n.parent)
	if err != nil {
		return "", err
	}
	if path == "" {
		path = n.name
	} else {
		path += "/" + n.name
	}
	if isDir(n.mode) { // every request asks for its directory's
		n.path, n.moves = path, s.moves
	}
	return path, nil
}

// PathsOf gives all paths of an object; a retired one has none.
func (s *Store) PathsOf(obj ID) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.object(obj)
	if err != nil {
		return nil, err
	}
	if o.life != Active {
		return nil, nil
	}
	n, err := s.node(o.ino)
	if err != nil {
		return nil, err
	}
	if n.nlink <= 1 || isDir(n.mode) {
		p, err := s.pathOf(n.ino)
		if err != nil {
			return nil, err
		}
		return []string{p}, nil
	}
	var paths []string
	for _, l := range s.links(n) {
		dir, err := s.pathOf(l.dir)
		if err != nil {
			return nil, err
		}
		paths = append(paths, strings.TrimPrefix(dir+"/"+l.name, "/"))
	}
	sort.Strings(paths)
	return paths, nil
}

// EnsureDir makes a directory of the closed layout with its owner, mode and scope,
// with the directories above it; one that exists keeps its content and takes these
// attributes. The change is durable after the next commit.
func (s *Store) EnsureDir(ctx context.Context, path string, mode, uid, gid uint32, scope Scope) (Attr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return Attr{}, err
	}
	n, err := s.node(RootIno)
	if err != nil {
		return Attr{}, err
	}
	parts := splitPath(path)
	for i, name := range parts {
		d, ok, err := s.dent(n.ino, name)
		if err != nil {
			return Attr{}, err
		}
		last := i == len(parts)-1
		if ok {
			if n, err = s.node(d.ino); err != nil {
				return Attr{}, err
			}
			if !isDir(n.mode) {
				return Attr{}, fmt.Errorf("%s: %w", path, ErrNotDir)
			}
		} else {
			m := uint32(0o755)
			if last {
				m = mode
			}
			child, err := s.mkdir(Cred{Subject: "_system:service:aiosfs"}, n.ino, name, m)
			if err != nil {
				return Attr{}, err
			}
			n = child
			n.scope = scope
			if o := s.open.objs[n.object]; o != nil {
				o.scope = scope
			}
		}
		if last && (n.mode&0o7777 != mode&0o7777 || n.uid != uid || n.gid != gid) {
			s.touch(n)
			n.plain(mode)
			n.uid, n.gid, n.ctime = uid, gid, s.o.Now()
		}
	}
	return s.attrOf(n), nil
}

// ---- extended attributes

// GetXattr gives the value of an attribute, ErrNoXattr where there is none.
func (s *Store) GetXattr(ino Ino, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	if err != nil {
		return nil, err
	}
	v, ok := n.xattrs[name]
	if !ok {
		return nil, ErrNoXattr
	}
	return bytes.Clone(v), nil
}

// SetXattr sets an attribute. With create it must not exist, with replace it must.
func (s *Store) SetXattr(c Cred, ino Ino, name string, value []byte, create, replace bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	n, err := s.node(ino)
	if err != nil {
		return err
	}
	old, ok := n.xattrs[name]
	switch {
	case ok && create:
		return ErrExist
	case !ok && replace:
		return ErrNoXattr
	case len(value) > maxXattr:
		return fmt.Errorf("%w: an attribute has at most %d bytes", ErrRange, maxXattr)
	}
	names, total := len(name)+1, len(name)+len(value)
	for k, v := range n.xattrs {
		if k != name {
			names += len(k) + 1
			total += len(k) + len(v)
		}
	}
	if total > maxXattrs || names > maxXattr {
		return ErrNoSpace
	}
	if ok && bytes.Equal(old, value) {
		return nil
	}
	s.touch(n)
	if n.xattrs == nil {
		n.xattrs = map[string][]byte{}
	}
	if value == nil {
		value = []byte{}
	}
	n.xattrs[name] = bytes.Clone(value)
	n.ctime = s.o.Now()
	return nil
}

// ListXattr names the attributes, sorted.
func (s *Store) ListXattr(ino Ino) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(n.xattrs))
	for k := range n.xattrs {
		names = append(names, k)
	}
	sort.Strings(names)
	return names, nil
}

// RemoveXattr removes an attribute.
func (s *Store) RemoveXattr(c Cred, ino Ino, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	n, err := s.node(ino)
	if err != nil {
		return err
	}
	if _, ok := n.xattrs[name]; !ok {
		return ErrNoXattr
	}
	s.touch(n)
	delete(n.xattrs, name)
	n.ctime = s.o.Now()
	return nil
}

// ---- what a person says about an object

// Object is what is known of an object (OM §2).
type Object struct {
	ID        ID        `json:"object_id"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Labels    []string  `json:"labels"`
	Privacy   Privacy   `json:"-"`
	Class     string    `json:"privacy_class"`
	State     string    `json:"lifecycle_state"`
	RetiredAt time.Time `json:"retired_at,omitzero"`
	Absorbed  ID        `json:"absorbed_by,omitzero"`
	ScopeKind string    `json:"scope"`
	Scope     Scope     `json:"-"`
	Ino       Ino       `json:"-"`
	OldParent Ino       `json:"-"` // where a retired one was
	Current   ID        `json:"current_version_id"`
	Stable    ID        `json:"stable_version_id,omitzero"`
	Rollback  ID        `json:"rollback_version_id,omitzero"`
}

// Object finds an object by its id.
func (s *Store) Object(id ID) (Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.object(id)
	if err != nil {
		return Object{}, err
	}
	return o.public(), nil
}

func (o *object) public() Object {
	return Object{ID: o.id, Kind: o.kind.String(), Name: o.name, CreatedAt: o.createdAt, CreatedBy: o.createdBy, Labels: append([]string{}, o.labels...),
		Privacy: o.privacy, Class: o.privacy.String(), State: o.life.String(), RetiredAt: o.retiredAt, Absorbed: o.absorbedBy,
		ScopeKind: o.scope.Kind.String(), Scope: o.scope, Ino: o.ino, OldParent: o.oldParent, Current: o.current, Stable: o.stable, Rollback: o.rollback}
}

// SetLabels replaces an object's labels: sorted, without doubles, at most 64 of at
// most 128 bytes, no commas or control characters (KDE keeps tags comma-separated).
func (s *Store) SetLabels(c Cred, id ID, labels []string) error {
	clean, err := cleanLabels(labels)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	o, err := s.editObject(id)
	if err != nil {
		return err
	}
	o.labels = clean
	s.labelled(o)
	return nil
}

// labelled tells the views that an object's labels changed.
func (s *Store) labelled(o *object) {
	if n, err := s.node(o.ino); err == nil && n.object == o.id {
		s.touch(n)
		n.ctime = s.o.Now()
		s.open.change.Inos = append(s.open.change.Inos, n.ino)
	}
}

func cleanLabels(labels []string) ([]string, error) {
	seen := map[string]bool{}
	var clean []string
	for _, l := range labels {
		l = strings.TrimSpace(l)
		if l == "" || seen[l] {
			continue
		}
		if len(l) > 128 || strings.ContainsFunc(l, func(r rune) bool { return r == ',' || r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("label %q: %w", l, ErrInvalid)
		}
		seen[l] = true
		clean = append(clean, l)
	}
	if len(clean) > 64 {
		return nil, fmt.Errorf("%d labels, at most 64: %w", len(clean), ErrInvalid)
	}
	sort.Strings(clean)
	return clean, nil
}

// RaisePrivacy raises an object's class; a lower one is ErrPermission
// (privacy_class_downgrade_forbidden, OM §4).
func (s *Store) RaisePrivacy(c Cred, id ID, p Privacy) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	o, err := s.editObject(id)
	if err != nil {
		return err
	}
	if p < o.privacy {
		return fmt.Errorf("privacy class %s is below %s, and a class never falls: %w", p, o.privacy, ErrPermission)
	}
	o.privacy = p
	return nil
}
