package objects

import (
	"encoding/binary"
	"sort"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// Keys (design §2). Inode numbers are big endian, so that scans go in order.

func inoKey(ino Ino) []byte { return binary.BigEndian.AppendUint64([]byte{'i'}, uint64(ino)) }

func dentPrefix(dir Ino) []byte { return binary.BigEndian.AppendUint64([]byte{'d'}, uint64(dir)) }

func dentKey(dir Ino, name string) []byte { return append(dentPrefix(dir), name...) }

func objKey(id ID) []byte { return append([]byte{'o'}, id.u[:]...) }

func verPrefix(obj ID) []byte { return append([]byte{'v'}, obj.u[:]...) }

func verKey(obj, ver ID) []byte { return append(verPrefix(obj), ver.u[:]...) }

func chunkKey(h blob.Hash) []byte { return append([]byte{'c'}, h[:]...) }

// badChunkKey has the place of a chunk that turned out to have other bytes.
func badChunkKey(h blob.Hash) []byte { return append([]byte{'C'}, h[:]...) }

func linkPrefix(ino Ino) []byte { return binary.BigEndian.AppendUint64([]byte{'l'}, uint64(ino)) }

func linkKey(ino, dir Ino, name string) []byte {
	return append(binary.BigEndian.AppendUint64(linkPrefix(ino), uint64(dir)), name...)
}

// draftKey and stagedKey note what the next start must look at if this run is not ended in
// order: an inode whose record has a draft, and a version that waits for its hash. That one
// is noted which needs nothing any more does no harm.
func draftKey(ino Ino) []byte { return binary.BigEndian.AppendUint64([]byte("ni"), uint64(ino)) }
func stagedKey(ver ID) []byte { return append([]byte("nv"), ver.u[:]...) }

func txnKey(id ID) []byte       { return append([]byte{'t'}, id.u[:]...) }
func orphanKey(ino Ino) []byte  { return binary.BigEndian.AppendUint64([]byte{'u'}, uint64(ino)) }
func trashKey(obj ID) []byte    { return append([]byte{'r'}, obj.u[:]...) }
func outboxKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'y'}, n) }
func recordKey(k string) []byte { return append([]byte{'q'}, k...) }
func verIndexKey(ver ID) []byte { return append([]byte{'w'}, ver.u[:]...) }

// inode is the record behind an Attr.
type inode struct {
	ino                        Ino
	gen                        uint64
	mode, nlink, uid, gid      uint32
	rdev                       uint32
	size, blocks               int64
	atime, mtime, ctime, btime time.Time
	object, version            ID
	scope                      Scope
	parent                     Ino    // of the oldest live name; a directory's only parent
	name                       string // that name
	target                     string // of a symlink
	xattrs                     map[string][]byte
	// The working draft at the time of the record, for files that are open for
	// writing: its bytes, or the staging file that was synced.
	drafted bool
	draft   []byte
	big     *largeDraft // never changed in place; nil for most
}

// largeDraft is of a draft that is in a staging file.
type largeDraft struct {
	staging string
	over    overlaid
	synced  syncedDraft
}

func (n *inode) large() largeDraft {
	if n.big == nil {
		return largeDraft{}
	}
	return *n.big
}

// syncedDraft is a large draft as it was last synced: what is left of it where the machine
// lost its power. It counts while its staging file is the draft's.
type syncedDraft struct {
	staging string
	size    int64
	over    overlaid
}

// overlaid is the part of a draft's record that says what of a staging file is the
// draft's, and which version shows through elsewhere.
type overlaid struct {
	base    ID
	baseLen int64
	written []blob.Range
}

func (n *inode) encode() []byte {
	e := encoder{make([]byte, 0, 160+len(n.draft))}
	e.uint(1, uint64(n.ino))
	e.uint(2, n.gen)
	e.uint(3, uint64(n.mode))
	e.uint(4, uint64(n.nlink))
	e.uint(5, uint64(n.uid))
	e.uint(6, uint64(n.gid))
	e.uint(7, uint64(n.rdev))
	e.uint(8, uint64(n.size))
	e.uint(9, uint64(n.blocks))
	e.time(10, n.atime)
	e.time(12, n.mtime)
	e.time(14, n.ctime)
	e.time(16, n.btime)
	e.id(18, n.object)
	e.id(19, n.version)
	e.uint(20, uint64(n.scope.Kind))
	e.str(21, n.scope.Group)
	e.str(22, n.scope.User)
	e.uint(23, uint64(n.parent))
	e.str(24, n.name)
	e.str(25, n.target)
	names := make([]string, 0, len(n.xattrs))
	for k := range n.xattrs {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		x := encoder{}
		x.str(1, k)
		x.bytes(2, n.xattrs[k])
		e.bytes(26, x.b)
	}
	if n.drafted {
		e.uint(27, 1)
	}
	e.bytes(28, n.draft)
	if n.big == nil {
		return e.b
	}
	d := n.big
	e.str(29, d.staging)
	e.id(30, d.over.base)
	e.uint(31, uint64(d.over.baseLen))
	e.bytes(32, encodeRanges(d.over.written))
	if d.staging != "" && d.synced.staging == d.staging {
		e.str(33, d.synced.staging)
		e.uint(34, uint64(d.synced.size))
		e.id(35, d.synced.over.base)
		e.uint(36, uint64(d.synced.over.baseLen))
		e.bytes(37, encodeRanges(d.synced.over.written))
	}
	return e.b
}

func encodeRanges(l []blob.Range) (b []byte) {
	for _, r := range l {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(r.Start)), uint64(r.End-r.Start))
	}
	return b
}

func decodeRanges(b []byte) (l []blob.Range) {
	for len(b) > 0 {
		start, n := binary.Uvarint(b)
		if n <= 0 {
			return l
		}
		length, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return l
		}
		l = append(l, blob.Range{Start: int64(start), End: int64(start + length)})
		b = b[n+m:]
	}
	return l
}

func decodeInode(b []byte) (*inode, error) {
	n := &inode{}
	big := func() *largeDraft {
		if n.big == nil {
			n.big = &largeDraft{}
		}
		return n.big
	}
	err := decode(b, func(f protowire.Number, v uint64) {
		switch f {
		case 1:
			n.ino = Ino(v)
		case 2:
			n.gen = v
		case 3:
			n.mode = uint32(v)
		case 4:
			n.nlink = uint32(v)
		case 5:
			n.uid = uint32(v)
		case 6:
			n.gid = uint32(v)
		case 7:
			n.rdev = uint32(v)
		case 8:
			n.size = int64(v)
		case 9:
			n.blocks = int64(v)
		case 10:
			secs(&n.atime, v)
		case 11:
			nanos(&n.atime, v)
		case 12:
			secs(&n.mtime, v)
		case 13:
			nanos(&n.mtime, v)
		case 14:
			secs(&n.ctime, v)
		case 15:
			nanos(&n.ctime, v)
		case 16:
			secs(&n.btime, v)
		case 17:
			nanos(&n.btime, v)
		case 20:
			n.scope.Kind = ScopeKind(v)
		case 23:
			n.parent = Ino(v)
		case 27:
			n.drafted = v != 0
		case 31:
			big().over.baseLen = int64(v)
		case 34:
			big().synced.size = int64(v)
		case 36:
			big().synced.over.baseLen = int64(v)
		}
	}, func(f protowire.Number, v []byte) {
		switch f {
		case 18:
			n.object = idFrom(v)
		case 19:
			n.version = idFrom(v)
		case 21:
			n.scope.Group = string(v)
		case 22:
			n.scope.User = string(v)
		case 24:
			n.name = string(v)
		case 25:
			n.target = string(v)
		case 26:
			var k string
			var x []byte
			if decode(v, func(protowire.Number, uint64) {}, func(f protowire.Number, v []byte) {
				if f == 1 {
					k = string(v)
				} else {
					x = append([]byte{}, v...)
				}
			}) == nil {
				if n.xattrs == nil {
					n.xattrs = map[string][]byte{}
				}
				if x == nil {
					x = []byte{}
				}
				n.xattrs[k] = x
			}
		case 28:
			n.draft = append([]byte{}, v...)
		case 29:
			big().staging = string(v)
		case 30:
			big().over.base = idFrom(v)
		case 32:
			big().over.written = decodeRanges(v)
		case 33:
			big().synced.staging = string(v)
		case 35:
			big().synced.over.base = idFrom(v)
		case 37:
			big().synced.over.written = decodeRanges(v)
		}
	})
	return n, err
}

func (n *inode) attr() Attr {
	return Attr{Ino: n.ino, Gen: n.gen, Mode: n.mode, Nlink: n.nlink, UID: n.uid, GID: n.gid, Rdev: n.rdev, Size: n.size, Blocks: n.blocks,
		Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime, Btime: n.btime, Object: n.object, Version: n.version, Scope: n.scope,
		ACL: string(n.xattrs[XattrACLAccess])}
}

// dent is the value of a dentry. Since is when a file that was something before came to
// the name, in Unix milliseconds rounded up: a rename, an exchange or a link, unless it
// goes on with the name's object; also of a new file, where another left the name in the
// same epoch. A listing that is read back from disk does not have it.
type dent struct {
	ino   Ino
	typ   uint32 // S_IFMT bits
	since int64  // 0 where it does not matter
}

func (d dent) encode() []byte {
	b := binary.AppendUvarint(binary.BigEndian.AppendUint64(nil, uint64(d.ino)), uint64(d.typ>>12))
	if d.since != 0 {
		b = binary.AppendUvarint(b, uint64(d.since))
	}
	return b
}

func decodeDent(b []byte) (dent, error) {
	if len(b) < 9 {
		return dent{}, errDecode
	}
	typ, n := binary.Uvarint(b[8:])
	if n <= 0 {
		return dent{}, errDecode
	}
	d := dent{ino: Ino(binary.BigEndian.Uint64(b)), typ: uint32(typ) << 12}
	if rest := b[8+n:]; len(rest) > 0 {
		since, n := binary.Uvarint(rest)
		if n <= 0 {
			return dent{}, errDecode
		}
		d.since = int64(since)
	}
	return d, nil
}

// object is the record behind an Object.
type object struct {
	id              ID
	kind            Kind
	createdAt       time.Time
	createdBy       string
	labels          []string
	privacy         Privacy
	life            Lifecycle
	retiredAt       time.Time
	absorbedBy      ID
	scope           Scope
	ino             Ino
	current, stable ID // pointers CURRENT and STABLE
	rollback        ID // pointer ROLLBACK
	name            string
	oldParent       Ino // where it was when it was retired
}

func (o *object) encode() []byte {
	e := encoder{make([]byte, 0, 128)}
	e.id(1, o.id)
	e.uint(2, uint64(o.kind))
	e.time(3, o.createdAt)
	e.str(5, o.createdBy)
	for _, l := range o.labels {
		e.str(6, l)
	}
	e.uint(7, uint64(o.privacy))
	e.uint(8, uint64(o.life))
	e.time(9, o.retiredAt)
	e.id(11, o.absorbedBy)
	e.uint(12, uint64(o.scope.Kind))
	e.str(13, o.scope.Group)
	e.str(14, o.scope.User)
	e.uint(15, uint64(o.ino))
	e.id(16, o.current)
	e.id(17, o.stable)
	e.id(18, o.rollback)
	e.str(19, o.name)
	e.uint(20, uint64(o.oldParent))
	return e.b
}

func decodeObject(b []byte) (*object, error) {
	o := &object{}
	err := decode(b, func(f protowire.Number, v uint64) {
		switch f {
		case 2:
			o.kind = Kind(v)
		case 3:
			secs(&o.createdAt, v)
		case 4:
			nanos(&o.createdAt, v)
		case 7:
			o.privacy = Privacy(v)
		case 8:
			o.life = Lifecycle(v)
		case 9:
			secs(&o.retiredAt, v)
		case 10:
			nanos(&o.retiredAt, v)
		case 12:
			o.scope.Kind = ScopeKind(v)
		case 15:
			o.ino = Ino(v)
		case 20:
			o.oldParent = Ino(v)
		}
	}, func(f protowire.Number, v []byte) {
		switch f {
		case 1:
			o.id = idFrom(v)
		case 5:
			o.createdBy = string(v)
		case 6:
			o.labels = append(o.labels, string(v))
		case 11:
			o.absorbedBy = idFrom(v)
		case 13:
			o.scope.Group = string(v)
		case 14:
			o.scope.User = string(v)
		case 16:
			o.current = idFrom(v)
		case 17:
			o.stable = idFrom(v)
		case 18:
			o.rollback = idFrom(v)
		case 19:
			o.name = string(v)
		}
	})
	return o, err
}
