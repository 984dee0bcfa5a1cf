package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func restoreVersionCommand() *cobra.Command {
	return &cobra.Command{Use: "restore-version PATH@V", Short: "Make an earlier version current, as a new version; also of a whole directory, and of what was removed or renamed",
		Long: `Make PATH what it was. V is a version (` + "`aios history PATH`" + ` lists them; @-1 is the one
before the current one), a time (2h, yesterday, 2026-05-11, RFC 3339) or a named snapshot.

A file gets its earlier content as a new version. A directory, at a time or a snapshot, is
made as it was with all below it: files that differ get a new version, names that were
removed or renamed come back with their history, and names that were not there are removed
(they can be brought back with ` + "`aios restore`" + `). Before that a snapshot is taken where the
caller may take one; otherwise the time to go back to is printed. Nothing is lost either way.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			path, _, ok := cutVersion(a[0])
			if !ok {
				return fail(exitUsage, "name a version or a time: PATH@V (see `aios history PATH`)")
			}
			from, err := pick(c, a[0])
			if err != nil {
				return err
			}
			if path, err = filepath.Abs(path); err != nil {
				return err
			}
			t, err := treeOf(c, path)
			if err != nil {
				return err
			}
			kind, err := kindOf(from)
			if err != nil {
				return err
			}
			if kind == "" {
				return fail(exitFailed, "%s was not there then (aios diff shows what was; to remove it, remove it)", path)
			}
			r := &restorer{t: t, then: from, now: path}
			if kind == "directory" {
				if err := r.snapshot(); err != nil {
					return err
				}
			}
			if err := r.run(kind); err != nil {
				return reach(err)
			}
			if err := r.report(c); err != nil {
				return err
			}
			if len(r.failed) > 0 {
				return reach(fmt.Errorf("not all is as it was: %w", errors.Join(r.failed...)))
			}
			return nil
		}}
}

// restorer makes a path what another one, of the past, shows.
type restorer struct {
	t         tree
	then, now string

	before  string            // where the state before can be read
	living  map[string]string // object ids of what is below now, to their paths from there
	trashed map[string]string // object ids of what views/trash shows at its top
	kept    map[string]string // paths below then, to their object ids
	extra   []string
	failed  []error

	Changed, Returned, Removed []string
}

// snapshot names the tree as it is. Only an administrator may; the moment itself is as good
// until retention ends.
func (r *restorer) snapshot() error {
	name := "before-restore-" + time.Now().UTC().Format("20060102T150405.000000Z")
	err := os.Mkdir(r.t.path("views", "at", name), 0o755)
	if errors.Is(err, fs.ErrPermission) {
		name = getXattr(r.t.path("views", "at", "now"), "user.aios.time")
		err = nil
	}
	r.before = r.t.path("views", "at", name)
	return reach(err)
}

func (r *restorer) run(kind string) error {
	if _, err := os.Lstat(filepath.Dir(r.now)); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(r.now), 0o755); err != nil {
			return err
		}
	}
	if err := r.index(); err != nil {
		return err
	}
	if err := r.one(".", kind); err != nil {
		return err
	}
	// Last, for until here one of them may have gone back to its earlier name.
	for _, rel := range r.extra {
		p := filepath.Join(r.now, rel)
		if _, err := os.Lstat(p); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(p); err != nil {
			return err
		}
		r.Removed = append(r.Removed, rel)
	}
	return nil
}

// index notes which object is where, so that what was renamed is renamed back and what was
// removed comes back as itself.
func (r *restorer) index() error {
	r.living = map[string]string{}
	var err error
	if r.kept, err = objectIDs(r.then); err != nil {
		return err
	}
	if err := r.noteLiving("."); err != nil {
		return err
	}
	return r.readTrash()
}

// noteLiving notes what is below a path now.
func (r *restorer) noteLiving(below string) error {
	are, err := objectIDs(filepath.Join(r.now, below))
	for rel, id := range are {
		r.living[id] = filepath.Join(below, rel)
	}
	return err
}

// objectIDs gives the object of each path below root.
func objectIDs(root string) (map[string]string, error) {
	list, err := walkKinds(root)
	for rel := range list {
		list[rel] = getXattr(filepath.Join(root, rel), "user.aios.object_id")
		if list[rel] == "" {
			delete(list, rel)
		}
	}
	return list, err
}

func (r *restorer) readTrash() error {
	list, err := r.t.trash()
	if err != nil {
		return err
	}
	r.trashed = map[string]string{}
	for _, e := range list {
		if id := getXattr(e.File, "user.aios.object_id"); id != "" {
			r.trashed[id] = e.File
		}
	}
	return nil
}

// one makes one path, and what is below it, what it was.
func (r *restorer) one(rel, kind string) error {
	now := filepath.Join(r.now, rel)
	is, err := kindOf(now)
	if err != nil {
		return err
	}
	if is != "" && is != kind {
		if err := os.RemoveAll(now); err != nil {
			return err
		}
		r.Removed = append(r.Removed, rel)
		is = ""
	}
	if is == "" {
		back, err := r.comeBack(rel, kind)
		if err != nil {
			return err
		}
		if back {
			r.Returned = append(r.Returned, rel)
			is = kind
		}
	}
	switch kind {
	case "directory":
		return r.directory(rel, is == "")
	case "file":
		return r.file(rel, is == "")
	case "link":
		return r.link(rel, is == "")
	}
	if is == "" {
		return r.special(rel)
	}
	return nil
}

// special makes a FIFO or a socket anew; of a device, the past does not say which it was.
func (r *restorer) special(rel string) error {
	then, now := filepath.Join(r.then, rel), filepath.Join(r.now, rel)
	info, err := os.Lstat(then)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if kind := info.Mode().Type(); !ok || kind != fs.ModeNamedPipe && kind != fs.ModeSocket {
		return fmt.Errorf("%s: a device that is not in the trash cannot be brought back", now)
	}
	// Such a file has no attributes to tell its mode; the past shows all of it but who may write.
	if err := syscall.Mknod(now, st.Mode|0o200, 0); err != nil {
		return fmt.Errorf("make %s: %w", now, err)
	}
	r.Returned = append(r.Returned, rel)
	return nil
}

// comeBack brings a thing that is not at its name any more back as itself: from the name
// that it was given since, or out of the trash.
func (r *restorer) comeBack(rel, kind string) (bool, error) {
	then, now := filepath.Join(r.then, rel), filepath.Join(r.now, rel)
	id := getXattr(then, "user.aios.object_id")
	if id == "" {
		return false, nil
	}
	if from, ok := r.living[id]; ok {
		if old := filepath.Join(r.now, from); getXattr(old, "user.aios.object_id") == id && isKind(old, kind) {
			if r.kept[from] == id { // another name of it, that it had then too
				return true, os.Link(old, now)
			}
			r.living[id] = rel
			return true, os.Rename(old, now)
		}
	}
	file, ok := r.trashed[id]
	if !ok || !isKind(file, kind) {
		return false, nil
	}
	delete(r.trashed, id)
	err := os.Rename(file, now)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EXDEV) {
		return false, nil // it has come back otherwise, or is another scope's now: a copy will do
	}
	if err != nil {
		return false, err
	}
	// What it holds, and what was removed from it before it was itself, shows only now.
	if err := r.noteLiving(rel); err != nil {
		return false, err
	}
	return true, r.readTrash()
}

// isKind guards against a thing that took the object of a removed one of another kind over.
func isKind(path, kind string) bool {
	is, err := kindOf(path)
	return err == nil && is == kind
}

func (r *restorer) directory(rel string, missing bool) error {
	then, now := filepath.Join(r.then, rel), filepath.Join(r.now, rel)
	if missing {
		if err := os.Mkdir(now, 0o700); err != nil {
			return err
		}
		r.Returned = append(r.Returned, rel)
	}
	were, err := os.ReadDir(then)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, e := range were {
		names[e.Name()] = true
		kind, err := kindOf(filepath.Join(then, e.Name()))
		if err != nil {
			return err
		}
		if err := r.one(filepath.Join(rel, e.Name()), kind); err != nil {
			r.failed = append(r.failed, err) // the rest can still be what it was
		}
	}
	are, err := os.ReadDir(now)
	if err != nil {
		return err
	}
	for _, e := range are {
		if !names[e.Name()] {
			r.extra = append(r.extra, filepath.Join(rel, e.Name()))
		}
	}
	return r.mode(then, now)
}

func (r *restorer) file(rel string, missing bool) error {
	then, now := filepath.Join(r.then, rel), filepath.Join(r.now, rel)
	if missing {
		r.Returned = append(r.Returned, rel)
		if err := copyInto(then, now); err != nil {
			return err
		}
		return r.mode(then, now)
	}
	same, err := sameFile(then, now)
	if err != nil {
		return err
	}
	if !same {
		if err := copyInto(then, now); err != nil {
			return err
		}
		r.Changed = append(r.Changed, rel)
	}
	return r.mode(then, now)
}

func (r *restorer) link(rel string, missing bool) error {
	then, now := filepath.Join(r.then, rel), filepath.Join(r.now, rel)
	target, err := os.Readlink(then)
	if err != nil {
		return err
	}
	if !missing {
		if is, err := os.Readlink(now); err != nil || is == target {
			return err
		}
		if err := os.Remove(now); err != nil {
			return err
		}
		r.Changed = append(r.Changed, rel)
	} else {
		r.Returned = append(r.Returned, rel)
	}
	return os.Symlink(target, now)
}

// mode gives the permission bits of then, where the past tells them (a version does not).
func (r *restorer) mode(then, now string) error {
	bits, err := strconv.ParseUint(getXattr(then, "user.aios.mode"), 8, 32)
	if err != nil {
		return nil
	}
	info, err := os.Lstat(now)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || uint64(st.Mode&0o7777) == bits {
		return nil
	}
	return syscall.Chmod(now, uint32(bits))
}

func (r *restorer) report(c *cobra.Command) error {
	for _, l := range []*[]string{&r.Changed, &r.Returned, &r.Removed} {
		sort.Strings(*l)
		for i, rel := range *l {
			(*l)[i] = filepath.Join(r.now, rel)
		}
	}
	if wantsJSON(c) {
		none := func(l []string) []string { return append([]string{}, l...) }
		return printJSON(c.OutOrStdout(), map[string]any{"path": r.now, "from": r.then, "version": getXattr(r.now, "user.aios.version_id"), "before": r.before,
			"changed": none(r.Changed), "returned": none(r.Returned), "removed": none(r.Removed)})
	}
	var b strings.Builder
	for _, l := range []struct {
		what string
		list []string
	}{{"changed", r.Changed}, {"back", r.Returned}, {"removed", r.Removed}} {
		if r.before == "" {
			break
		}
		for _, p := range l.list {
			fmt.Fprintf(&b, "%-8s %s\n", l.what, p)
		}
	}
	at := filepath.Base(r.then)
	if rel, ok := strings.CutPrefix(r.then, r.t.path("views", "at")+"/"); ok {
		at, _, _ = strings.Cut(rel, "/")
	}
	fmt.Fprintf(&b, "%s is again as in %s\n", r.now, at)
	if r.before != "" {
		fmt.Fprintf(&b, "what it was before: %s\n", r.before)
	}
	_, err := io.WriteString(c.OutOrStdout(), b.String())
	return err
}

// sameFile compares two files' bytes.
func sameFile(a, b string) (bool, error) {
	f, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer g.Close()
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	gi, err := g.Stat()
	if err != nil || fi.Size() != gi.Size() {
		return false, err
	}
	x, y := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(f, x)
		m, err2 := io.ReadFull(g, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		for _, e := range []error{err, err2} {
			if e != nil && e != io.EOF && e != io.ErrUnexpectedEOF {
				return false, e
			}
		}
		if err != nil || err2 != nil {
			return true, nil
		}
	}
}
