package objects

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// FsckReport is what a check of the store found.
type FsckReport struct {
	Inodes   int      `json:"inodes"`
	Objects  int      `json:"objects"`
	Versions int      `json:"versions"`
	Bytes    int64    `json:"bytes"`
	Problems []string `json:"problems"`
	// Quarantined counts versions whose bytes are known to be damaged, and which nobody is given.
	Quarantined int `json:"quarantined,omitempty"`
	// Repairs are what Repair did; Problems are then those that it could do nothing about.
	Repairs []string `json:"repairs,omitempty"`
}

// Fsck reads the whole store as it is on disk: every name leads to an inode, every
// inode has as many names as it says, every object's pointers lead to versions, and
// every version's bytes are there and match its hash. Nothing is changed.
func (s *Store) Fsck(ctx context.Context) (FsckReport, error) {
	rep, _, err := s.check(ctx)
	return rep, err
}

// check is Fsck; it also gives what would put right what it found.
func (s *Store) check(ctx context.Context) (FsckReport, repairs, error) {
	if err := s.SyncAll(ctx); err != nil {
		return FsckReport{}, repairs{}, err
	}
	v := s.db.View()
	defer v.Close()
	f := &fsck{s: s, v: v, names: map[Ino]uint32{}, dirs: map[Ino]uint32{}, home: map[Scope]Ino{}}
	for _, step := range []func(context.Context) error{f.dentries, f.inodes, f.objects, f.versions, f.usage} {
		if err := step(ctx); err != nil {
			return f.rep, repairs{}, err
		}
	}
	return f.rep, f.repairs, v.Err()
}

type fsck struct {
	s     *Store
	v     *kv.View
	rep   FsckReport
	names map[Ino]uint32 // names that lead to an inode
	dirs  map[Ino]uint32 // directories in a directory
	home  map[Scope]Ino  // the first directory of a scope
	torn  bool           // some inode cannot be read, so that nothing can be counted
	repairs
}

// problem notes what is wrong; fix is what can be done about it, or nil.
func (f *fsck) problem(fix repair, format string, args ...any) {
	f.rep.Problems = append(f.rep.Problems, fmt.Sprintf(format, args...))
	if fix != nil {
		f.records = append(f.records, fix)
	}
}

// miscount notes a number that does not agree with what was counted.
func (f *fsck) miscount(fix repair, format string, args ...any) {
	f.problem(nil, format, args...)
	f.counts = append(f.counts, fix)
}

func (f *fsck) dentries(ctx context.Context) error {
	for k, b := range f.v.Scan([]byte{'d'}, nil) {
		dir, name := Ino(binary.BigEndian.Uint64(k[1:9])), string(k[9:])
		d, err := decodeDent(b)
		if err != nil {
			f.problem(f.s.mendName(dir, name), "name %q in directory %d cannot be read", name, dir)
			continue
		}
		f.names[d.ino]++
		if isDir(d.typ) {
			f.dirs[dir]++
		}
		if ok, err := f.v.Has(inoKey(d.ino)); err != nil {
			return err
		} else if !ok {
			f.problem(f.s.mendLost(dir, name, d.ino), "name %q in directory %d leads to inode %d, which is not there", name, dir, d.ino)
		}
	}
	return ctx.Err()
}

func (f *fsck) inodes(ctx context.Context) error {
	for k, b := range f.v.Scan([]byte{'i'}, nil) {
		f.rep.Inodes++
		n, err := decodeInode(b)
		if err != nil || n.ino != Ino(binary.BigEndian.Uint64(k[1:])) {
			f.torn = true
			f.problem(f.s.mendInode(Ino(binary.BigEndian.Uint64(k[1:]))), "inode %x cannot be read", k[1:])
			continue
		}
		want := f.names[n.ino]
		if isDir(n.mode) {
			want = 2 + f.dirs[n.ino]
			if _, ok := f.home[n.scope]; !ok && n.nlink != 0 { // they come in the order of their numbers
				f.home[n.scope] = n.ino
			}
		}
		switch {
		case n.nlink == 0:
		case f.names[n.ino] == 0 && n.ino != RootIno:
			f.problem(f.s.mendNameless(n.ino, f.home[n.scope]), "inode %d has no name, and was %q in directory %d", n.ino, n.name, n.parent)
		case n.nlink != want:
			f.miscount(f.s.mendLinks(n.ino, want), "inode %d has %d links and says %d", n.ino, want, n.nlink)
		}
		if !n.version.IsZero() {
			key := verKey(n.object, n.version)
			if n.nlink == 0 { // see Store.versionOf
				key = verIndexKey(n.version)
			}
			if ok, err := f.v.Has(key); err != nil {
				return err
			} else if !ok {
				f.problem(f.s.mendVersionOf(n.ino), "inode %d names version %s, which is not there", n.ino, n.version)
			}
		}
	}
	return ctx.Err()
}

func (f *fsck) objects(ctx context.Context) error {
	for _, b := range f.v.Scan([]byte{'o'}, nil) {
		f.rep.Objects++
		o, err := decodeObject(b)
		if err != nil {
			f.problem(nil, "an object cannot be read: %v", err)
			continue
		}
		if o.current.IsZero() || !o.absorbedBy.IsZero() || o.life == Purged {
			continue
		}
		if ok, err := f.v.Has(verKey(o.id, o.current)); err != nil {
			return err
		} else if !ok {
			f.problem(f.s.mendCurrent(o.id), "object %s: its current version %s is not there", o.id, o.current)
		}
	}
	return ctx.Err()
}

func (f *fsck) versions(ctx context.Context) error {
	for _, b := range f.v.Scan([]byte{'v'}, nil) {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.rep.Versions++
		v, err := decodeVersion(append([]byte{}, b...))
		if err != nil {
			f.problem(nil, "a version cannot be read: %v", err)
			continue
		}
		if v.shut() {
			if v.state == Quarantined && v.reason == chunkIntegrityFailure && f.content(v) == nil { // what a person has put there, a person takes out
				f.records = append(f.records, f.s.mendReleased(v))
			}
			f.rep.Quarantined++
			continue
		}
		if err := f.content(v); err != nil {
			var fix repair
			if damaged(err) {
				fix = f.s.mendContent(v)
			}
			f.problem(fix, "version %s of object %s: %v", v.id, v.object, err)
		}
	}
	return nil
}

func (f *fsck) content(v *version) error {
	n, err := f.s.inspect(v)
	f.rep.Bytes += n
	return err
}

// usage compares what the scopes are said to take up with what their inodes are.
func (f *fsck) usage(context.Context) error {
	if f.torn {
		return nil
	}
	want, err := countUsage(f.v)
	if err != nil {
		return err
	}
	for k, b := range f.v.Scan([]byte("Qu"), nil) {
		sc := scopeOfKey(k)
		a, n := decodePair(b)
		if got := (Usage{a, n}); got != want[sc] {
			f.miscount(f.s.mendUsage(sc, want[sc]), "%s %s %s is said to take up %d bytes in %d files, and takes up %d in %d", sc.Kind, sc.Group, sc.User, got.Bytes, got.Files, want[sc].Bytes, want[sc].Files)
		}
		delete(want, sc)
	}
	for sc, u := range want {
		if u != (Usage{}) {
			f.miscount(f.s.mendUsage(sc, u), "%s %s %s is not said to take up anything, and takes up %d bytes in %d files", sc.Kind, sc.Group, sc.User, u.Bytes, u.Files)
		}
	}
	return f.v.Err()
}
