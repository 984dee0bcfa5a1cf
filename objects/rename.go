package objects

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Rename moves a name, within one scope. A file renamed over another continues the
// other's object: its history, labels and class (filesystem.md §8, atomic replace).
func (s *Store) Rename(c Cred, op Ino, oname string, np Ino, nname string, flags uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.whole(op, oname, np, nname); err != nil {
		return err
	}
	white := flags&RenameWhiteout != 0
	if white && flags&RenameExchange != 0 {
		return ErrInvalid
	}
	if err := s.rename(c, op, oname, np, nname, flags&^RenameWhiteout); err != nil || !white {
		return err
	}
	if _, there, err := s.dent(op, oname); there || err != nil {
		return err // two names of one file: nothing has happened
	}
	// What overlays take for a name that is not there: the device 0/0, whatever the mask.
	c.Umask = 0
	_, err := s.mknod(c, op, oname, unix.S_IFCHR, 0)
	return err
}

// whole waits until what is to take another file's name is all there: a power cut after
// the rename would leave the name neither with the old bytes nor the new ones. What was
// closed does so as a version; of what is still open the bytes are synced, as by other
// filesystems (ext4's auto_da_alloc). s.mu is held, and let go while it waits.
func (s *Store) whole(op Ino, oname string, np Ino, nname string) error {
	for synced := false; ; {
		_, n, err := s.bound(op, oname)
		if err != nil {
			return nil // rename says so
		}
		if n.closing > 0 {
			s.quiet.Wait()
			continue
		}
		if _, taken, err := s.dent(np, nname); synced || n.draft == nil || err != nil || !taken {
			return nil
		}
		synced = true
		n.refs++
		s.mu.Unlock()
		err = s.syncDraft(context.Background(), n, false)
		s.unref(n)
		s.mu.Lock()
		if err != nil {
			return fmt.Errorf("rename of a file that is open: %w", err)
		}
	}
}

func (s *Store) rename(c Cred, op Ino, oname string, np Ino, nname string, flags uint32) error {
	if err := checkName(nname); err != nil {
		return err
	}
	if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
		return ErrInvalid
	}
	from, n, err := s.bound(op, oname)
	if err != nil {
		return err
	}
	to, err := s.dir(np)
	if err != nil {
		return err
	}
	if to.nlink == 0 {
		return ErrNotFound
	}
	d, exists, err := s.dent(np, nname)
	if err != nil {
		return err
	}
	in, out, err := crossing(from.scope, to.scope, n.scope)
	if err != nil {
		return err
	}
	if isDir(n.mode) && s.within(to, n.ino) {
		return ErrInvalid
	}
	if !exists {
		if flags == RenameExchange {
			return ErrNotFound
		}
		d := s.named(n)
		if isRegular(n.mode) {
			if old := s.takeRecent(c, np, nname); !old.IsZero() && old != n.object && s.absorb(c, n, old) {
				d.since = 0
			}
		}
		s.move(from, to, n, oname, nname, d)
		s.carried(c, n, from.ino, oname, in, out)
		return nil
	}
	if in || out {
		return ErrExist // nothing is replaced on the way; programs take another name
	}
	t, err := s.node(d.ino)
	if err != nil {
		return err
	}
	switch {
	case flags == RenameNoReplace:
		return ErrExist
	case t == n && flags == 0:
		return nil // two names of one file: POSIX says that nothing happens
	case flags == RenameExchange:
		if t.scope != from.scope {
			return ErrCrossScope
		}
		if isDir(t.mode) && s.within(from, t.ino) {
			return ErrInvalid
		}
		s.exchange(from, to, n, t, oname, nname)
		return nil
	case isDir(t.mode) && !isDir(n.mode):
		return ErrIsDir
	case !isDir(t.mode) && isDir(n.mode):
		return ErrNotDir
	case isDir(t.mode):
		if !s.emptyDir(t.ino) {
			return ErrNotEmpty
		}
		s.removeDir(c, to, t, nname)
		s.move(from, to, n, oname, nname, s.named(n))
		return nil
	}
	lineage := isRegular(n.mode) && isRegular(t.mode) && t.nlink == 1
	object, came := t.object, s.cameNow(np, nname)
	s.unbind(c, to, t, nname)
	delete(s.recent, recentKey{np, nname})
	now := s.named(n)
	if lineage && s.absorb(c, n, object) {
		now.since = came
	}
	s.move(from, to, n, oname, nname, now)
	return nil
}

// carried retires what was moved into a trash can, and gives back what was moved out of it.
func (s *Store) carried(c Cred, n *node, from Ino, oname string, in, out bool) {
	if !in && !out {
		return
	}
	o, err := s.editObject(n.object)
	if err != nil {
		return
	}
	w := s.workOf(c)
	w.moves++
	if in {
		if n.nlink == 1 || isDir(n.mode) { // else it lives on elsewhere
			o.life, o.retiredAt, o.oldParent, o.name = Retired, s.o.Now(), from, oname
		}
		s.bury(c, n, from, oname, false, true)
		return
	}
	o.life, o.retiredAt, o.oldParent, o.name = Active, time.Time{}, 0, n.name
	s.unbury(o.id)
}

// within says whether dir lies in the directory ino, or is it.
func (s *Store) within(dir *node, ino Ino) bool {
	for dir.ino != ino {
		if dir.ino == RootIno {
			return false
		}
		p, err := s.node(dir.parent)
		if err != nil {
			return false
		}
		dir = p
	}
	return true
}

// cameNow is when a name got its file, if that was in the open epoch, which has one binding
// of a name: who goes on as that file's object has the name since then, and who had it
// before has not. It is 0 for a file that an earlier epoch has.
func (s *Store) cameNow(dir Ino, name string) int64 {
	if d, ok := s.open.dents[dir][name]; ok && d.ino != 0 {
		return d.since
	}
	return 0
}

// named is how a file is bound to a name from now on.
func (s *Store) named(n *node) dent {
	d := dent{ino: n.ino, typ: n.mode & unix.S_IFMT}
	if isRegular(n.mode) && !n.version.IsZero() {
		d.since = s.o.Now().UnixMilli() + 1
	}
	return d
}

func (s *Store) move(from, to, n *node, oname, nname string, d dent) {
	now := s.o.Now()
	s.setDent(from.ino, oname, dent{})
	s.setDent(to.ino, nname, d)
	for _, d := range []*node{from, to} {
		s.touch(d)
		d.mtime, d.ctime = now, now
	}
	s.rebind(n, from.ino, oname, to.ino, nname)
	if isDir(n.mode) && from != to {
		from.nlink--
		to.nlink++
	}
	s.changed(from.ino, oname)
	s.changed(to.ino, nname)
}

// rebind tells an inode that one of its names has moved.
func (s *Store) rebind(n *node, dir Ino, name string, newDir Ino, newName string) {
	s.touch(n)
	n.ctime = s.o.Now()
	if n.nlink > 1 && !isDir(n.mode) {
		s.open.puts[string(linkKey(n.ino, dir, name))] = nil
		s.open.puts[string(linkKey(n.ino, newDir, newName))] = []byte{}
	}
	if n.parent == dir && n.name == name {
		n.parent, n.name = newDir, newName
		if isDir(n.mode) {
			s.moves++
		}
		if o, err := s.editObject(n.object); err == nil && o.name != newName {
			o.name = newName
		}
	}
}

func (s *Store) exchange(from, to, n, t *node, oname, nname string) {
	now := s.o.Now()
	s.setDent(from.ino, oname, s.named(t))
	s.setDent(to.ino, nname, s.named(n))
	for _, d := range []*node{from, to} {
		s.touch(d)
		d.mtime, d.ctime = now, now
	}
	s.rebind(n, from.ino, oname, to.ino, nname)
	s.rebind(t, to.ino, nname, from.ino, oname)
	if from != to {
		if isDir(n.mode) {
			from.nlink--
			to.nlink++
		}
		if isDir(t.mode) {
			to.nlink--
			from.nlink++
		}
	}
	s.changed(from.ino, oname)
	s.changed(to.ino, nname)
}

// absorb lets the object `keep` go on under n: n's content becomes its next version,
// n's own object retires into it (filesystem.md §8, atomic replace). It says whether it did.
func (s *Store) absorb(c Cred, n *node, keep ID) bool {
	own, err := s.editObject(n.object)
	if err != nil {
		return false
	}
	o, err := s.editObject(keep)
	if err != nil || o.kind != own.kind {
		return false
	}
	s.touch(n)
	before := o.current
	// An object that was taken up again has a version of the file before, which stays its own.
	if v, err := s.version(own.id, n.inode.version); err == nil && own.current == v.id {
		v.parent = before
		s.open.puts[string(verKey(own.id, v.id))] = nil
		v.object = o.id
		if old, err := s.version(keep, before); err == nil && !earlier(old.since(), old.id, v.since(), v.id) {
			// The file is older than the one that it takes the place of, and what it holds is
			// the newest version all the same.
			if v.taken = s.o.Now(); v.taken.UnixMilli() <= old.since().UnixMilli() {
				v.taken = old.since().Add(time.Millisecond)
			}
		}
		s.putVersion(v)
		o.rollback, o.current = before, v.id
		w := s.workOf(c)
		w.moves++
		w.writes = append(w.writes, write{o.id, v.id, before, hashText(v)})
	}
	o.privacy = max(o.privacy, own.privacy)
	if len(own.labels) > 0 {
		o.labels = own.labels
	}
	o.life, o.retiredAt, o.ino = Active, time.Time{}, n.ino
	s.unbury(o.id)
	own.life, own.retiredAt, own.absorbedBy = Retired, s.o.Now(), o.id
	n.object = o.id
	if n.writers == 0 && n.draft == nil {
		n.lastCred = s.credOf(c)
		s.installEmpty(n)
	}
	return true
}

func hashText(v *version) string {
	if v.hash.IsZero() {
		return ""
	}
	return v.hash.String()
}

type link struct {
	dir  Ino
	name string
}

// links lists a file's names when it has several.
func (s *Store) links(n *node) []link {
	prefix := linkPrefix(n.ino)
	seen := map[string]bool{}
	var keys []string
	for _, ov := range []*overlay{s.open, s.committing} {
		if ov == nil {
			continue
		}
		for k, v := range ov.puts {
			if strings.HasPrefix(k, string(prefix)) && !seen[k] {
				seen[k] = true
				if v != nil {
					keys = append(keys, k)
				}
			}
		}
	}
	for k := range s.view.ScanKeys(prefix, nil) {
		if !seen[string(k)] {
			keys = append(keys, string(k))
		}
	}
	var list []link
	for _, k := range keys {
		if l, ok := linkOf([]byte(k), prefix); ok {
			list = append(list, l)
		}
	}
	return list
}

func linkOf(key, prefix []byte) (link, bool) {
	rest := key[len(prefix):]
	if len(rest) <= 8 {
		return link{}, false
	}
	return link{Ino(beUint64(rest)), string(rest[8:])}, true
}

func beUint64(b []byte) uint64 {
	var v uint64
	for _, x := range b[:8] {
		v = v<<8 | uint64(x)
	}
	return v
}
