package aiosfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"

	"syscall"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/objects"
)

// Bounds of a tree that is taken in or out.
const (
	maxTreeFiles = 200_000
	maxTreeBytes = 4 << 30
)

// Export copies a directory of the store into dir on the host, which must not exist, as
// far as the submitter may read it; own is called for each thing made. Nothing but
// directories, regular files and symbolic links is copied. The state that it answers is
// what Merge wants to find again.
func Export(ctx context.Context, s *objects.Store, r adapter.Request, p, dir string, own func(string) error) (State, error) {
	w, err := find(&adapter.Batch{Store: s}, r, p)
	if err != nil {
		return State{}, err
	}
	if err := w.mustExist(); err != nil {
		return State{}, err
	}
	if !w.isDir() {
		return State{}, adapter.Fail("aiosfs.NotADirectory", "%s: %w", p, objects.ErrNotDir)
	}
	e := exporter{ctx: ctx, s: s, r: r, own: own, files: maxTreeFiles, bytes: maxTreeBytes, seen: State{}}
	return e.seen, e.dir(w.attr, p, dir)
}

// State is what a tree consisted of: by path, the inode, version, size and time of change.
type State map[string]string

func (s State) note(p string, a objects.Attr) {
	s[p] = fmt.Sprintf("%d %s %d %d", a.Ino, a.Version, a.Size, a.Mtime.UnixNano())
}

type exporter struct {
	ctx          context.Context
	s            *objects.Store
	r            adapter.Request
	own          func(string) error
	files, bytes int64
	seen         State
}

func (e *exporter) dir(at objects.Attr, p, to string) error {
	if !may(e.r, at, canRead|canExec) {
		return denied(p, "read it")
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	if err := e.own(to); err != nil {
		return err
	}
	d, err := e.s.OpenDir(at.Ino)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, x := range d.From(0) {
		if x.Name == "." || x.Name == ".." {
			continue
		}
		if err := e.ctx.Err(); err != nil {
			return err
		}
		if e.files--; e.files < 0 {
			return adapter.Fail("aiosfs.TooMany", "%s: more than %d things", p, maxTreeFiles)
		}
		a, err := e.s.GetAttr(x.Ino)
		if err != nil {
			return err
		}
		from, dest := p+"/"+x.Name, filepath.Join(to, x.Name)
		e.seen.note(from, a)
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFDIR:
			err = e.dir(a, from, dest)
		case syscall.S_IFLNK:
			var target string
			if target, err = e.s.Readlink(a.Ino); err == nil {
				if err = os.Symlink(target, dest); err == nil {
					err = e.own(dest)
				}
			}
		case syscall.S_IFREG:
			err = e.file(a, from, dest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) file(a objects.Attr, from, dest string) error {
	if !may(e.r, a, canRead) {
		return denied(from, "read it")
	}
	if e.bytes -= a.Size; e.bytes < 0 {
		return adapter.Fail("aiosfs.TooLarge", "%s: more than %d bytes in all", from, int64(maxTreeBytes))
	}
	in, err := OpenFile(e.s, a.Ino)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600|os.FileMode(a.Mode&0o100))
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, in.Close(), out.Close()); err != nil {
		return err
	}
	return e.own(dest)
}

// Import stages the directory dir of the host as the directory p of the tree, which must
// not exist. The host's tree may have been made by a program that nobody trusts: links in it
// are not followed, and anything but directories, files and symbolic links is refused.
func Import(ctx context.Context, b *adapter.Batch, r adapter.Request, p, dir string) (files int, size int64, err error) {
	w, err := find(b, r, p)
	if err != nil {
		return 0, 0, err
	}
	if w.exists {
		return 0, 0, adapter.Fail("aiosfs.Exists", "%s: %w", p, objects.ErrExist)
	}
	if err := w.mayBind(r); err != nil {
		return 0, 0, err
	}
	i := importer{ctx: ctx, b: b, o: w.newFile(r, 0)}
	err = i.all(dir, p)
	return i.files, i.size, err
}

type importer struct {
	ctx   context.Context
	b     *adapter.Batch
	o     objects.WriteOptions
	files int
	size  int64
}

func (i *importer) all(dir, p string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := i.ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		to := path.Join(p, rel)
		if i.files++; i.files > maxTreeFiles {
			return adapter.Fail("aiosfs.TooMany", "%s: more than %d things", p, maxTreeFiles)
		}
		return i.one(name, to, e.Type())
	})
}

func (i *importer) one(name, to string, typ fs.FileMode) error {
	o := i.o
	switch {
	case typ.IsDir():
		o.Mode, o.Parents = 0o755, true
		i.b.Tx.Mkdir(to, o)
		i.b.Pending[to] = adapter.Pending{Dir: true}
	case typ&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		i.b.Tx.Symlink(to, target, o)
	case typ.IsRegular():
		f, mode, err := openPlain(name)
		if err != nil {
			return err
		}
		o.Mode = mode
		n := counter{}
		err = i.b.Tx.WriteFile(i.ctx, to, io.TeeReader(f, &n), o)
		if err = errors.Join(err, f.Close()); err != nil {
			return storeError(err)
		}
		if i.size += n.n; i.size > maxTreeBytes {
			return adapter.Fail("aiosfs.TooLarge", "%s: more than %d bytes in all", to, int64(maxTreeBytes))
		}
		i.b.Pending[to] = adapter.Pending{Open: func() (io.ReadCloser, error) { f, _, err := openPlain(name); return f, err }}
	default:
		return adapter.Fail("aiosfs.NotAFile", "%s: neither a file nor a directory nor a link: %w", to, objects.ErrInvalid)
	}
	return nil
}

// openPlain opens a regular file and nothing that took its place, and gives the mode that
// it gets in the tree.
func openPlain(name string) (*os.File, uint32, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: no regular file: %w", name, objects.ErrInvalid)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	mode := uint32(0o644)
	if st.Mode()&0o100 != 0 {
		mode = 0o755
	}
	return f, mode, nil
}

// Merge stages what in the directory dir of the host differs from the directory p of the
// tree, which must exist: new and changed files are written, missing ones removed. Where
// the tree is no more as it was exported, somebody has worked on it: aiosfs.StaleBase.
func Merge(ctx context.Context, b *adapter.Batch, r adapter.Request, p, dir string, was State) (changed int, err error) {
	w, err := find(b, r, p)
	if err != nil {
		return 0, err
	}
	if err := w.mustExist(); err != nil {
		return 0, err
	}
	if w.staged != nil {
		return 0, adapter.Fail("aiosfs.NotYet", "%s is made by this goal and cannot be changed from outside in it", p)
	}
	m := merger{importer{ctx: ctx, b: b, o: w.newFile(r, 0)}, r, State{}, 0}
	if err := m.dir(w.attr, p, dir); err != nil {
		return 0, err
	}
	if !maps.Equal(m.is, was) {
		return 0, adapter.Fail("aiosfs.StaleBase", "%s: it was changed meanwhile: %w", p, objects.ErrStale)
	}
	return m.changed, nil
}

type merger struct {
	importer
	r       adapter.Request
	is      State
	changed int
}

// noteAll notes what lies below a directory that is not gone into.
func (m *merger) noteAll(at objects.Attr, p string) error {
	m.is.note(p, at)
	if at.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return nil
	}
	d, err := m.b.Store.OpenDir(at.Ino)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, e := range d.From(0) {
		if e.Name == "." || e.Name == ".." {
			continue
		}
		a, err := m.b.Store.GetAttr(e.Ino)
		if err == nil {
			err = m.noteAll(a, p+"/"+e.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) dir(at objects.Attr, p, dir string) error {
	if !may(m.r, at, canRead|canExec) {
		return denied(p, "read it")
	}
	there := map[string]objects.Attr{}
	d, err := m.b.Store.OpenDir(at.Ino)
	if err != nil {
		return err
	}
	for _, e := range d.From(0) {
		if e.Name != "." && e.Name != ".." {
			if there[e.Name], err = m.b.Store.GetAttr(e.Ino); err != nil {
				d.Close()
				return err
			}
		}
	}
	d.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	touch := func() error {
		m.changed++
		if !may(m.r, at, canWrite|canExec) {
			return denied(p, "change it")
		}
		return nil
	}
	for _, e := range entries {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		a, exists := there[e.Name()]
		delete(there, e.Name())
		name, to := filepath.Join(dir, e.Name()), p+"/"+e.Name()
		if exists {
			if dirs := e.IsDir() && a.Mode&syscall.S_IFMT == syscall.S_IFDIR; dirs {
				m.is.note(to, a)
			} else if err := m.noteAll(a, to); err != nil {
				return err
			}
		}
		if exists && e.IsDir() && a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			if err := m.dir(a, to, name); err != nil {
				return err
			}
			continue
		}
		if exists && e.Type().IsRegular() && a.Mode&syscall.S_IFMT == syscall.S_IFREG {
			same, err := m.same(a, name)
			if err != nil {
				return err
			}
			if same {
				continue
			}
			if !may(m.r, a, canWrite) && !may(m.r, at, canWrite) {
				return denied(to, "write it")
			}
			m.changed++
			if err := m.one(name, to, e.Type()); err != nil {
				return err
			}
			continue
		}
		if exists && e.Type()&fs.ModeSymlink != 0 && a.Mode&syscall.S_IFMT == syscall.S_IFLNK {
			was, err := m.b.Store.Readlink(a.Ino)
			is, e2 := os.Readlink(name)
			if err = errors.Join(err, e2); err != nil {
				return err
			}
			if was == is {
				continue
			}
		}
		if err := touch(); err != nil {
			return err
		}
		if exists {
			m.b.Tx.Delete(to, true, nil)
		}
		if err := m.all(name, to); err != nil {
			return err
		}
	}
	for name, a := range there {
		if err := m.noteAll(a, p+"/"+name); err != nil {
			return err
		}
		if err := touch(); err != nil {
			return err
		}
		m.b.Tx.Delete(p+"/"+name, true, nil)
		m.b.Pending[p+"/"+name] = adapter.Pending{Gone: true}
	}
	return nil
}

// same compares a stored file with one of the host by size and hash.
func (m *merger) same(a objects.Attr, name string) (bool, error) {
	f, _, err := openPlain(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() != a.Size {
		return false, err
	}
	in, err := OpenFile(m.b.Store, a.Ino)
	if err != nil {
		return false, err
	}
	defer in.Close()
	x, y := blake3.New(), blake3.New()
	_, err = io.Copy(x, f)
	_, e := io.Copy(y, in)
	return bytes.Equal(x.Sum(nil), y.Sum(nil)), errors.Join(err, e)
}
