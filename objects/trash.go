package objects

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Nothing is lost by deleting (contract §2). What loses its last name leaves its inode
// record behind, with the names that it had; Restore gives it back: the same inode, the
// same object, its attributes, links and versions. Of a directory all comes back that
// went with it in one sweep, as rm -r removes it name by name.
//
// A desktop's trash can (.Trash/<uid>) is a directory of the tree with a scope of its
// own kind. A name moved into it retires its object as well, although the inode stays.

// ScopeTrash is the scope of the directories of a trash can, which hold what belongs to
// any scope; Group and User are its owner.
const ScopeTrash ScopeKind = 4

// sweepGap is the longest pause between two removals of one rm -r: a busy disk's.
const sweepGap = 10 * time.Second

// maxGraveNames bounds the removed names that are kept of one object.
const maxGraveNames = 1000

// grave is the record of a retired object, or of removed names of a living one.
type grave struct {
	inode *inode // absent while the inode lives: in a can, or under other names
	names []graveName
	can   bool
}

// graveName is a name that was taken away.
type graveName struct {
	dir    Ino
	dirObj ID
	name   string
	at     time.Time
	by     string
	uid    uint32
}

func graveIndexKey(dir Ino, obj ID) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{'R'}, uint64(dir)), obj.u[:]...)
}

func (g *grave) encode() []byte {
	e := encoder{}
	if g.inode != nil {
		e.bytes(1, g.inode.encode())
	}
	for _, n := range g.names {
		e.bytes(2, n.encode())
	}
	if g.can {
		e.uint(3, 1)
	}
	return e.b
}

func (n graveName) encode() []byte {
	x := encoder{}
	x.uint(1, uint64(n.dir))
	x.id(2, n.dirObj)
	x.str(3, n.name)
	x.time(4, n.at)
	x.str(6, n.by)
	x.uint(7, uint64(n.uid))
	return x.b
}

// moreNames gives the record of a grave that has names alone one more, as adding it to the
// decoded one would: the names of a file that has ten thousand go one by one. own says that
// the record may be written on. It is false for any other record.
func moreNames(b []byte, own bool, n graveName) ([]byte, bool) {
	names, first := 0, 0
	for rest := b; len(rest) > 0; names++ {
		field, typ, tag := protowire.ConsumeTag(rest)
		if tag < 0 || field != 2 || typ != protowire.BytesType {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(field, typ, rest[tag:])
		if size < 0 {
			return nil, false
		}
		if names == 0 {
			first = tag + size
		}
		rest = rest[tag+size:]
	}
	if names == 0 {
		return nil, false
	}
	if !own {
		b = append(make([]byte, 0, 2*len(b)), b...)
	}
	if names >= maxGraveNames {
		b = b[first:]
	}
	e := encoder{b}
	e.bytes(2, n.encode())
	return e.b, true
}

func decodeGrave(b []byte) (*grave, error) {
	g := &grave{}
	var bad error
	err := decode(b, func(f protowire.Number, v uint64) {
		if f == 3 {
			g.can = v != 0
		}
	}, func(f protowire.Number, v []byte) {
		switch f {
		case 1:
			n, err := decodeInode(v)
			g.inode, bad = n, errors.Join(bad, err)
		case 2:
			var n graveName
			bad = errors.Join(bad, decode(v, func(f protowire.Number, v uint64) {
				switch f {
				case 1:
					n.dir = Ino(v)
				case 4:
					secs(&n.at, v)
				case 5:
					nanos(&n.at, v)
				case 7:
					n.uid = uint32(v)
				}
			}, func(f protowire.Number, v []byte) {
				switch f {
				case 2:
					n.dirObj = idFrom(v)
				case 3:
					n.name = string(v)
				case 6:
					n.by = string(v)
				}
			}))
			g.names = append(g.names, n)
		}
	})
	return g, errors.Join(err, bad)
}

// last is the newest name.
func (g *grave) last() graveName {
	if len(g.names) == 0 {
		return graveName{}
	}
	return g.names[len(g.names)-1]
}

// graveIndex is the value of an index record: enough to leave out what is not the caller's.
func graveIndex(n graveName, owner uint32) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(n.at.UnixMicro()))
	b = binary.BigEndian.AppendUint32(b, n.uid)
	b = binary.BigEndian.AppendUint32(b, owner)
	return append(b, n.name...)
}

// graveOf reads an object's grave, an empty one where there is none; s.mu is held.
func (s *Store) graveOf(obj ID) (*grave, error) {
	b, err := s.get(trashKey(obj))
	if errors.Is(err, kv.ErrNotFound) {
		return &grave{}, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeGrave(b)
}

// bury notes that a name was taken away; dead says that it was the last one, and can
// that it was moved into a trash can. s.mu is held.
func (s *Store) bury(c Cred, n *node, dir Ino, name string, dead, can bool) {
	gone := graveName{dir: dir, name: name, at: s.o.Now(), by: c.Subject, uid: c.UID}
	if p, err := s.node(dir); err == nil {
		gone.dirObj = p.object
	}
	if !dead && !can {
		key := trashKey(n.object)
		b, own := s.open.puts[string(key)]
		if !own {
			b, _ = s.get(key) // what cannot be read is told of below
		}
		if b, ok := moreNames(b, own, gone); ok {
			s.open.puts[string(graveIndexKey(dir, n.object))] = graveIndex(gone, n.uid)
			s.open.puts[string(key)] = b
			s.trashSeq++
			return
		}
	}
	g, err := s.graveOf(n.object)
	if err != nil {
		s.o.Logger.Error("a trash record cannot be read", "object", n.object, "error", err)
		g = &grave{}
	}
	if !g.can || can { // what leaves a can for good was removed where it lay before
		g.names = append(g.names, gone)
		if len(g.names) > maxGraveNames {
			g.names = g.names[1:]
		}
		s.open.puts[string(graveIndexKey(dir, n.object))] = graveIndex(g.last(), n.uid)
	}
	g.can = can
	if dead {
		rec := n.inode.clone()
		rec.clearDraft()
		g.inode = &rec
	}
	s.open.puts[string(trashKey(n.object))] = g.encode()
	s.trashSeq++
}

// unbury forgets an object's grave: it lives again, or it is purged; s.mu is held.
func (s *Store) unbury(obj ID) {
	if g, err := s.graveOf(obj); err == nil {
		for _, n := range g.names {
			s.open.puts[string(graveIndexKey(n.dir, obj))] = nil
		}
	}
	s.open.puts[string(trashKey(obj))] = nil
	s.trashSeq++
}

// TrashSeq changes whenever something comes into the trash or leaves it.
func (s *Store) TrashSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trashSeq
}

// TrashEntry is a removed name that can be brought back.
type TrashEntry struct {
	Object Object
	Attr   Attr
	Dir    Ino // where it was
	Name   string
	At     time.Time
	By     string
	ByUID  uint32
	Dead   bool // it has no inode: a file is read by its current version, a directory lists TrashIn
	Target string
	xattrs map[string][]byte
}

// died is when a dead entry lost its last name. What was thrown into a trash can counts as
// removed then, and goes, with what lies below it, when the can is emptied.
func (e TrashEntry) died() time.Time {
	if e.Attr.Ctime.After(e.At) {
		return e.Attr.Ctime
	}
	return e.At
}

// Xattrs are the extended attributes of an entry without an inode.
func (e TrashEntry) Xattrs() map[string][]byte { return e.xattrs }

func (s *Store) trashEntry(obj ID, g *grave, n graveName) (TrashEntry, error) {
	o, err := s.object(obj)
	if err != nil {
		return TrashEntry{}, err
	}
	e := TrashEntry{Object: o.public(), Dir: n.dir, Name: n.name, At: n.at, By: n.by, ByUID: n.uid}
	if g.inode != nil {
		e.Dead, e.Attr, e.Target, e.xattrs = true, g.inode.attr(), g.inode.target, g.inode.xattrs
		e.Attr.Version = o.current
		if isDir(g.inode.mode) {
			e.Attr.Nlink = 2
		} else {
			e.Attr.Nlink = 1
		}
		return e, nil
	}
	nd, err := s.node(o.ino)
	if err != nil {
		return TrashEntry{}, err
	}
	e.Attr = s.attrOf(nd)
	return e, nil
}

// Trash lists the retired things whose directory is still there, newest first, at most
// limit of them; what lay in a removed directory is found by TrashIn. want says which
// are shown, by who removed and who owns them.
func (s *Store) Trash(limit int, want func(remover, owner uint32) bool) ([]TrashEntry, error) {
	type found struct {
		obj ID
		dir Ino
		at  uint64
	}
	sn, err := s.trashView()
	if err != nil {
		return nil, err
	}
	defer sn.Close()
	var list []found
	from := []byte{'R'}
	for from != nil {
		start := from
		from = nil
		var dir Ino
		alive := false
		for k, v := range sn.v.Scan([]byte{'R'}, start) {
			if len(k) != 25 || len(v) < 16 {
				continue
			}
			if d := Ino(binary.BigEndian.Uint64(k[1:])); d != dir {
				dir = d
				n, err := sn.inode(d)
				alive = err == nil && n.nlink > 0
				if !alive { // its entries are shown below it: go on behind them
					from = binary.BigEndian.AppendUint64([]byte{'R'}, uint64(d)+1)
					break
				}
			}
			if want != nil && !want(binary.BigEndian.Uint32(v[8:]), binary.BigEndian.Uint32(v[12:])) {
				continue
			}
			id := ID{kind: 'o'}
			copy(id.u[:], k[9:])
			list = append(list, found{id, dir, binary.BigEndian.Uint64(v)})
		}
	}
	if err := sn.v.Err(); err != nil {
		return nil, err
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].at > list[j].at || list[i].at == list[j].at && list[i].obj.u.Compare(list[j].obj.u) > 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []TrashEntry
	for _, f := range list {
		if len(out) >= limit {
			break
		}
		g, err := s.graveOf(f.obj)
		if err != nil {
			return nil, err
		}
		o, err := s.object(f.obj)
		if err != nil || o.life != Retired && !g.can {
			continue // it lives on under another name
		}
		if n, ok := newestIn(g, f.dir); ok {
			if e, err := s.trashEntry(f.obj, g, n); err == nil {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

func newestIn(g *grave, dir Ino) (graveName, bool) {
	for i := len(g.names) - 1; i >= 0; i-- {
		if g.names[i].dir == dir {
			return g.names[i], true
		}
	}
	return graveName{}, false
}

// trashView is the newest epoch, with what the trash has got since.
func (s *Store) trashView() (*Snapshot, error) {
	if !s.o.ReadOnly {
		if err := s.commit(bg); err != nil {
			return nil, err
		}
	}
	return &Snapshot{s, s.db.View()}, nil
}

// TrashIn lists the names that were removed from a directory, newest first, those of
// living files too.
func (s *Store) TrashIn(dir Ino) ([]TrashEntry, error) {
	sn, err := s.trashView()
	if err != nil {
		return nil, err
	}
	var ids []ID
	prefix := binary.BigEndian.AppendUint64([]byte{'R'}, uint64(dir))
	for k := range sn.v.ScanKeys(prefix, nil) {
		if len(k) == 25 {
			id := ID{kind: 'o'}
			copy(id.u[:], k[9:])
			ids = append(ids, id)
		}
	}
	sn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []TrashEntry
	for _, id := range ids {
		g, err := s.graveOf(id)
		if err != nil {
			return nil, err
		}
		for _, n := range g.names {
			if n.dir != dir {
				continue
			}
			if e, err := s.trashEntry(id, g, n); err == nil {
				out = append(out, e)
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].At.After(out[j].At) })
	return out, nil
}

// TrashPath is the path at which a removed name was, from the root: through directories
// that are gone as well, by the names that they had.
func (s *Store) TrashPath(e TrashEntry) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.graveOf(e.Object.ID)
	if err != nil {
		return "", err
	}
	n, ok := newestIn(g, e.Dir)
	if !ok {
		return "", ErrNotFound
	}
	tail := e.Name
	for depth := 0; depth < 10_000; depth++ {
		if p, err := s.pathOf(n.dir); err == nil {
			if p == "" {
				return tail, nil
			}
			return p + "/" + tail, nil
		}
		up, err := s.graveOf(n.dirObj)
		if err != nil || len(up.names) == 0 {
			return "", fmt.Errorf("the directory of %s is not known any more: %w", e.Name, ErrNotFound)
		}
		n = up.last()
		tail = n.name + "/" + tail
	}
	return "", ErrInvalid
}

// buriedHere tells whether an inode without a name is what its object retired with;
// s.mu is held.
func (s *Store) buriedHere(n *node) bool {
	o, err := s.object(n.object)
	return err == nil && o.life == Retired && o.ino == n.ino && o.absorbedBy.IsZero()
}

// buryContent notes what was written before the last name went, once it is a version:
// the kernel tells of a close later than of the unlink that followed it. s.mu is held.
func (s *Store) buryContent(n *node) {
	g, err := s.graveOf(n.object)
	if err != nil || g.inode == nil {
		return
	}
	rec := n.inode.clone()
	rec.clearDraft()
	g.inode = &rec
	s.open.puts[string(trashKey(n.object))] = g.encode()
	s.trashSeq++
}
