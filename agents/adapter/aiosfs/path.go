package aiosfs

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Rooted gives the path from the tree's root that a document's path means for a
// subject: absolute below /aios, or relative to his home.
func Rooted(s identity.Subject, p string) string {
	p = strings.TrimSuffix(p, "/")
	if p == plan.Root {
		return ""
	}
	rest, absolute := strings.CutPrefix(p, plan.Root+"/")
	switch {
	case !absolute:
		return s.Home() + "/home/" + p
	case rest == "self":
		return s.Home()
	case strings.HasPrefix(rest, "self/"):
		return s.Home() + strings.TrimPrefix(rest, "self")
	}
	return rest
}

// Permission bits of access(2).
const (
	canExec  = 1
	canWrite = 2
	canRead  = 4
)

func denied(p, what string) error {
	return adapter.Fail("aiosfs.PermissionDenied", "%s: not allowed to %s: %w", p, what, objects.ErrPermission)
}

// may says what the kernel would say of the submitter and an inode.
func may(r adapter.Request, a objects.Attr, want uint32) bool {
	if r.Admin() {
		return true
	}
	bits := a.Mode & 7
	switch {
	case a.UID == r.UID:
		bits = a.Mode >> 6 & 7
	case a.GID == r.GID || slices.Contains(r.Groups, a.GID):
		bits = a.Mode >> 3 & 7
	}
	return bits&want == want
}

// walk is what lies at a path, with the directory that it is or would be in.
type walk struct {
	path   string
	parent objects.Attr // the deepest directory that exists
	direct bool         // parent is the one directly above
	attr   objects.Attr
	exists bool
	staged *adapter.Pending // what this batch made of it
}

func (w walk) isDir() bool {
	if w.staged != nil {
		return w.staged.Dir
	}
	return w.exists && w.attr.Mode&syscall.S_IFMT == syscall.S_IFDIR
}

// find walks to a path as the submitter: every directory on the way must let him
// search it. Symbolic links are not followed; one on the way is an error.
func find(b *adapter.Batch, r adapter.Request, p string) (walk, error) {
	w := walk{path: p}
	if p == "" {
		return w, denied("/", "change the root")
	}
	at, err := b.Store.GetAttr(objects.RootIno)
	if err != nil {
		return w, err
	}
	segments := strings.Split(p, "/")
	for i, name := range segments {
		last := i == len(segments)-1
		prefix := strings.Join(segments[:i+1], "/")
		if at.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			return w, adapter.Fail("aiosfs.NotADirectory", "%s: %w", strings.Join(segments[:i], "/"), objects.ErrNotDir)
		}
		if !may(r, at, canExec) {
			return w, denied(strings.Join(segments[:i], "/"), "search it")
		}
		w.parent, w.direct = at, last
		if s, ok := b.Pending[prefix]; ok {
			if last {
				w.staged, w.exists = &s, !s.Gone
				if !s.Gone {
					w.attr, err = b.Store.Lookup(at.Ino, name)
					if err != nil && !errors.Is(err, objects.ErrNotFound) {
						return w, err
					}
				}
				return w, nil
			}
			if s.Gone || !s.Dir {
				return w, adapter.Fail("aiosfs.NotFound", "%s: %w", prefix, objects.ErrNotFound)
			}
		}
		next, err := b.Store.Lookup(at.Ino, name)
		if errors.Is(err, objects.ErrNotFound) {
			full := strings.Join(segments, "/")
			if s, ok := b.Pending[full]; ok {
				w.staged, w.exists = &s, !s.Gone
			}
			// A directory that this batch makes belongs to the submitter.
			if up := strings.Join(segments[:len(segments)-1], "/"); !last {
				d, ok := b.Pending[up]
				w.direct = ok && d.Dir
			}
			return w, nil
		}
		if err != nil {
			return w, err
		}
		at = next
	}
	w.attr, w.exists = at, true
	return w, nil
}

// mayBind says whether the submitter may make, replace or remove the name.
func (w walk) mayBind(r adapter.Request) error {
	if !may(r, w.parent, canWrite|canExec) {
		return denied(w.path, "change the directory it is in")
	}
	if w.exists && w.parent.Mode&syscall.S_ISVTX != 0 && !r.Admin() && w.attr.Ino != 0 && w.attr.UID != r.UID && w.parent.UID != r.UID {
		return denied(w.path, "replace what is another's in a sticky directory")
	}
	return nil
}

func (w walk) mustExist() error {
	if !w.exists {
		return adapter.Fail("aiosfs.NotFound", "%s: %w", w.path, objects.ErrNotFound)
	}
	return nil
}

// newFile is who a new thing belongs to: the submitter, with the directory's group
// where the directory hands it on.
func (w walk) newFile(r adapter.Request, mode uint32) objects.WriteOptions {
	o := objects.WriteOptions{Mode: mode, UID: r.UID, GID: r.GID}
	if w.parent.Mode&syscall.S_ISGID != 0 {
		o.GID = w.parent.GID
	}
	return o
}

// open opens what is at the path now, in the batch or in the store.
func (w walk) open(b *adapter.Batch, r adapter.Request) (io.ReadCloser, error) {
	if w.staged != nil {
		if w.staged.Open == nil {
			return nil, adapter.Fail("aiosfs.IsADirectory", "%s: %w", w.path, objects.ErrIsDir)
		}
		return w.staged.Open()
	}
	if w.isDir() {
		return nil, adapter.Fail("aiosfs.IsADirectory", "%s: %w", w.path, objects.ErrIsDir)
	}
	if !may(r, w.attr, canRead) {
		return nil, denied(w.path, "read it")
	}
	return OpenFile(b.Store, w.attr.Ino)
}

// OpenFile reads a file of the store from its beginning.
func OpenFile(s *objects.Store, ino objects.Ino) (io.ReadCloser, error) {
	h, err := s.OpenFile(objects.Cred{}, ino, 0)
	if err != nil {
		return nil, err
	}
	return &reader{h: h}, nil
}

type reader struct {
	h   *objects.Handle
	off int64
}

func (f *reader) Read(p []byte) (int, error) {
	n, err := f.h.ReadAt(p, f.off)
	f.off += int64(n)
	return n, err
}

func (f *reader) Close() error { return f.h.Close(context.Background()) }
