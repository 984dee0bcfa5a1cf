package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
)

// trashDir is views/trash: what the caller has removed, and what was removed that is
// his, by whatever road. Moving a name out of it restores; copying makes a new thing;
// removing a name hides it, its retention unchanged (filesystem.md §8).
type trashDir struct{ t *tree }

// maxTrash bounds what is listed: the newest. Older things are found by `.versions`.
const maxTrash = 10_000

// What a name in the trash answers about its past; not listed, as all of identity.
const (
	xattrTrashPath = "user.aios.trash_path"
	xattrTrashTime = "user.aios.trash_time"
	xattrTrashBy   = "user.aios.trash_by"
)

func (d *trashDir) name() string { return "views/trash" }

// The kernel lets move out of a directory only who may write there.
func (d *trashDir) attr(c *call) (vattr, error) {
	return vattr{mode: syscall.S_IFDIR | 0o700, uid: c.UID, gid: c.GID}, nil
}

func (d *trashDir) list(c *call) ([]vent, error) {
	l, err := d.t.trashOf(c)
	return l.entries, err
}

func (d *trashDir) lookup(c *call, name string) (vnode, error) {
	l, err := d.t.trashOf(c)
	if err != nil {
		return nil, err
	}
	return l.find(name)
}

func (d *trashDir) moveOut(c *call, name string, to objects.Ino, as string) error {
	return d.t.moveOut(c, d, name, to, as)
}
func (d *trashDir) unlink(c *call, name string) error { return d.t.hideTrash(c, d, name) }
func (d *trashDir) rmdir(c *call, name string) error  { return d.t.hideTrash(c, d, name) }

// trashList is one listing, with the names that it gave.
type trashList struct {
	seq     uint64
	entries []vent
	byName  map[string]vnode
}

func (l trashList) find(name string) (vnode, error) {
	if v := l.byName[name]; v != nil {
		return v, nil
	}
	return nil, ErrNotFound
}

// trashLists keeps each caller's listing until something comes or goes: a program that
// walks ten thousand names must not have them read ten thousand times.
type trashLists struct {
	mu sync.Mutex
	m  map[uint32]trashList
}

// maxTrashLists bounds the callers whose listing is kept.
const maxTrashLists = 16

func (t *tree) trashOf(c *call) (trashList, error) {
	seq := t.store.TrashSeq()
	t.trash.mu.Lock()
	l, ok := t.trash.m[c.UID]
	t.trash.mu.Unlock()
	if ok && l.seq == seq {
		return l, nil
	}
	es, err := t.store.Trash(maxTrash, func(remover, owner uint32) bool { return remover == c.UID || owner == c.UID })
	if err != nil {
		return trashList{}, err
	}
	l = t.named(c.UID, es)
	l.seq = seq
	t.trash.mu.Lock()
	if t.trash.m == nil || len(t.trash.m) >= maxTrashLists {
		t.trash.m = map[uint32]trashList{}
	}
	t.trash.m[c.UID] = l
	t.trash.mu.Unlock()
	return l, nil
}

// named gives each entry a name of its own: the newest of a name has it, with what it
// ends in, so that programs know the type; an older one has the time in front of that,
// which it keeps.
func (t *tree) named(uid uint32, es []objects.TrashEntry) trashList {
	l := trashList{byName: map[string]vnode{}}
	for _, e := range es {
		v := t.trashNode(uid, e)
		for _, n := range []string{e.Name, datedName(e, "2006-01-02 15.04.05"), datedName(e, "2006-01-02 15.04.05.000000")} {
			if l.byName[n] == nil {
				l.byName[n] = v
				l.entries = append(l.entries, vent{n, v})
				break
			}
		}
	}
	sort.Slice(l.entries, func(i, j int) bool { return l.entries[i].name < l.entries[j].name })
	return l
}

func datedName(e objects.TrashEntry, layout string) string {
	ext := path.Ext(e.Name)
	if ext == e.Name || len(ext) > 16 {
		ext = ""
	}
	stem := strings.TrimSuffix(e.Name, ext)
	date := e.At.Local().Format(" (" + layout + ")")
	return stem[:min(len(stem), objects.MaxName-len(date)-len(ext))] + date + ext
}

// trashed is a name in the trash; trashedDir, trashedFile and trashedLink are the kinds
// that can be opened.
type trashed struct {
	t   *tree
	uid uint32 // whose trash it is shown in
	e   objects.TrashEntry
}

type (
	trashedDir  struct{ trashed }
	trashedFile struct{ trashed }
	trashedLink struct{ trashed }
)

func (t *tree) trashNode(uid uint32, e objects.TrashEntry) vnode {
	n := trashed{t, uid, e}
	switch e.Attr.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return &trashedDir{n}
	case syscall.S_IFREG:
		return &trashedFile{n}
	case syscall.S_IFLNK:
		return &trashedLink{n}
	}
	return &n
}

func (n *trashed) name() string {
	return fmt.Sprintf("views/trash\x00%d/%s/%d/%s/%d", n.uid, n.e.Object.ID, n.e.Dir, n.e.Name, n.e.At.UnixNano())
}

func (n *trashed) attr(*call) (vattr, error) {
	a := n.e.Attr
	return vattr{mode: a.Mode, size: a.Size, uid: a.UID, gid: a.GID, mtime: a.Mtime}, nil
}

// entry gives the trash entry behind a node, for who moves or hides it.
func (n *trashed) entry() objects.TrashEntry { return n.e }

func (d *trashedDir) below() (trashList, error) {
	if d.e.Dead {
		// Kept until something comes or goes, as the trash itself is.
		key := fmt.Sprintf("%d %d %d", d.uid, d.e.Attr.Ino, d.t.store.TrashSeq())
		if kept := d.t.died.of(key); len(kept) > 0 {
			return kept[0], nil
		}
		es, err := d.t.store.TrashIn(d.e.Attr.Ino)
		if err != nil {
			return trashList{}, err
		}
		l := d.t.named(d.uid, es)
		d.t.died.keep(key, []trashList{l})
		return l, nil
	}
	// It lies in a can: what is below it lives.
	h, err := d.t.store.OpenDir(d.e.Attr.Ino)
	if err != nil {
		return trashList{}, err
	}
	defer h.Close()
	l := trashList{byName: map[string]vnode{}}
	for _, e := range h.From(0) {
		a, err := d.t.store.GetAttr(e.Ino)
		if err != nil {
			continue
		}
		te := objects.TrashEntry{Dir: d.e.Attr.Ino, Name: e.Name, Attr: a, At: d.e.At, By: d.e.By, ByUID: d.e.ByUID}
		te.Object, _ = d.t.store.Object(a.Object) // a living one always has its object
		if a.Mode&syscall.S_IFMT == syscall.S_IFLNK {
			te.Target, _ = d.t.store.Readlink(e.Ino) // empty when it went meanwhile
		}
		v := d.t.trashNode(d.uid, te)
		l.byName[e.Name] = v
		l.entries = append(l.entries, vent{e.Name, v})
	}
	return l, nil
}

func (d *trashedDir) list(*call) ([]vent, error) {
	l, err := d.below()
	return l.entries, err
}

func (d *trashedDir) lookup(_ *call, name string) (vnode, error) {
	l, err := d.below()
	if err != nil {
		return nil, err
	}
	return l.find(name)
}

func (d *trashedDir) moveOut(c *call, name string, to objects.Ino, as string) error {
	if !d.e.Dead {
		return errCrossScope // mv copies it; the can gives it back by rename
	}
	return d.t.moveOut(c, d, name, to, as)
}
func (d *trashedDir) unlink(c *call, name string) error { return d.t.hideTrash(c, d, name) }
func (d *trashedDir) rmdir(c *call, name string) error  { return d.t.hideTrash(c, d, name) }

func (f *trashedFile) version() objects.ID { return f.e.Attr.Version }

func (f *trashedFile) open(c *call, flags uint32) (vhandle, error) {
	if err := f.t.clearedPast(c, f.e.Attr.Object, f); err != nil {
		return nil, err
	}
	switch {
	case writes(flags) && f.e.Dead:
		return nil, errRetired
	case writes(flags):
		return nil, ErrReadOnly
	case !f.e.Dead:
		h, err := f.t.store.OpenFile(c.cred(), f.e.Attr.Ino, unix.O_RDONLY)
		if err != nil {
			return nil, err
		}
		return &liveHandle{h}, nil
	case f.e.Attr.Version.IsZero():
		return &bytesHandle{}, nil
	}
	r, err := f.t.store.OpenVersion(f.e.Attr.Version)
	if errors.Is(err, objects.ErrPermission) {
		err = fmt.Errorf("%w: %w", errAccess, err)
	}
	if err != nil {
		return nil, err
	}
	return &readerHandle{r}, nil
}

// liveHandle reads a living file through a projection.
type liveHandle struct{ h *objects.Handle }

func (h *liveHandle) release() { _ = h.h.Close(context.Background()) } // nothing was written
func (h *liveHandle) read(_ *call, p []byte, off int64) (int, error) {
	n, err := h.h.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (l *trashedLink) readlink(*call) (string, error) { return l.e.Target, nil }

func (n *trashed) getxattr(_ *call, name string) ([]byte, error) {
	switch name {
	case xattrTrashPath:
		p, err := n.t.store.TrashPath(n.e)
		return []byte(p), err
	case xattrTrashTime:
		return []byte(n.e.At.UTC().Format(time.RFC3339Nano)), nil
	case xattrTrashBy:
		return []byte(n.e.By), nil
	case xattrPrefix + "object_id":
		return []byte(n.e.Object.ID.String()), nil
	case xattrPrivacy:
		return []byte(n.e.Object.Class), nil
	case xattrTags:
		if len(n.e.Object.Labels) > 0 {
			return []byte(strings.Join(n.e.Object.Labels, ",")), nil
		}
		return nil, errNoXattr
	}
	if !n.e.Dead {
		return n.t.store.GetXattr(n.e.Attr.Ino, name)
	}
	if v, ok := n.e.Xattrs()[name]; ok {
		return v, nil
	}
	return nil, errNoXattr
}

func (n *trashed) listxattr(*call) (names []string, err error) {
	if n.e.Dead {
		for k := range n.e.Xattrs() {
			names = append(names, k)
		}
		sort.Strings(names)
	} else if names, err = n.t.store.ListXattr(n.e.Attr.Ino); err != nil {
		return nil, err
	}
	if len(n.e.Object.Labels) > 0 {
		names = append(names, xattrTags)
	}
	if n.e.Object.Privacy != objects.Sensitive {
		names = append(names, xattrPrivacy)
	}
	return names, nil
}

// inTrash is what the nodes of the trash have in common.
type inTrash interface{ entry() objects.TrashEntry }

// vgiver is a virtual directory that things can be moved out of into the stored tree.
type vgiver interface {
	moveOut(c *call, name string, to objects.Ino, as string) error
}

// moveOut restores a name; the layout and policy were asked about its new place.
func (t *tree) moveOut(c *call, d vdir, name string, to objects.Ino, as string) error {
	v, err := d.lookup(c, name)
	if err != nil {
		return err
	}
	e, ok := v.(inTrash)
	if !ok {
		return errCrossScope
	}
	a, err := t.store.Restore(c.cred(), e.entry(), to, as)
	if err != nil {
		return err
	}
	t.inval.add(notice{ino: uint64(a.Ino)}, notice{ino: uint64(to)})
	return nil
}

func (t *tree) hideTrash(c *call, d vdir, name string) error {
	if err := t.healthy(); err != nil {
		return err
	}
	v, err := d.lookup(c, name)
	if err != nil {
		return err
	}
	e, ok := v.(inTrash)
	if !ok || c.Subject.IsAI {
		return ErrReadOnly
	}
	return t.store.HideTrash(c.cred(), e.entry())
}
