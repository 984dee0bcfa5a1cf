package objects

import (
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// version is the record behind a Version. Content is in one of three forms: inline,
// chunks, or a staging file that the sealer has not worked on yet; a hot file of the
// same hash may stand beside chunks or alone.
type version struct {
	id, object, parent ID
	hash               blob.Hash // zero until sealed
	size               int64
	state              VersionState
	createdAt          time.Time
	taken              time.Time // when another file's name took it over, where it is older than what that held
	createdBy          string
	txn                ID
	action             string
	inline             []byte
	isInline           bool
	chunks             []chunkRef
	hot                bool
	staging            string
	loser              bool // of a conflict: it stays STAGED when it is sealed
	fencedAt           time.Time
	reason             string // why it is in quarantine, since fencedAt
}

type chunkRef struct {
	hash blob.Hash
	size uint32
}

func (v *version) encode() []byte {
	e := encoder{make([]byte, 0, 160+len(v.inline)+36*len(v.chunks))}
	e.id(1, v.id)
	e.id(2, v.object)
	e.id(3, v.parent)
	if !v.hash.IsZero() {
		e.bytes(4, v.hash[:])
	}
	e.uint(5, uint64(v.size))
	e.uint(6, uint64(v.state))
	e.time(7, v.createdAt)
	e.str(9, v.createdBy)
	e.id(10, v.txn)
	e.str(11, v.action)
	if v.isInline {
		e.uint(12, 1)
		e.bytes(13, v.inline)
	}
	for _, c := range v.chunks {
		e.bytes(14, binary.BigEndian.AppendUint32(append([]byte{}, c.hash[:]...), c.size))
	}
	if v.hot {
		e.uint(15, 1)
	}
	e.str(16, v.staging)
	if v.loser {
		e.uint(17, 1)
	}
	if !v.taken.IsZero() {
		e.time(18, v.taken)
	}
	if v.reason != "" {
		e.time(20, v.fencedAt)
		e.str(22, v.reason)
	}
	return e.b
}

// shut tells whether nobody is given the version's bytes: it is in quarantine, or was until
// nobody had looked into it for too long.
func (v *version) shut() bool { return v.state == Quarantined || v.reason != "" }

// since is when an object had the version first.
func (v *version) since() time.Time {
	if !v.taken.IsZero() {
		return v.taken
	}
	return v.createdAt
}

func decodeVersion(b []byte) (*version, error) {
	v := &version{}
	err := decode(b, func(f protowire.Number, x uint64) {
		switch f {
		case 5:
			v.size = int64(x)
		case 6:
			v.state = VersionState(x)
		case 7:
			secs(&v.createdAt, x)
		case 8:
			nanos(&v.createdAt, x)
		case 12:
			v.isInline = x != 0
		case 15:
			v.hot = x != 0
		case 17:
			v.loser = x != 0
		case 18:
			secs(&v.taken, x)
		case 19:
			nanos(&v.taken, x)
		case 20:
			secs(&v.fencedAt, x)
		case 21:
			nanos(&v.fencedAt, x)
		}
	}, func(f protowire.Number, x []byte) {
		switch f {
		case 1:
			v.id = idFrom(x)
		case 2:
			v.object = idFrom(x)
		case 3:
			v.parent = idFrom(x)
		case 4:
			copy(v.hash[:], x)
		case 9:
			v.createdBy = string(x)
		case 10:
			v.txn = idFrom(x)
		case 11:
			v.action = string(x)
		case 13:
			v.inline = append([]byte{}, x...)
		case 14:
			if len(x) == 36 {
				var c chunkRef
				copy(c.hash[:], x)
				c.size = binary.BigEndian.Uint32(x[32:])
				v.chunks = append(v.chunks, c)
			}
		case 16:
			v.staging = string(x)
		case 22:
			v.reason = string(x)
		}
	})
	return v, err
}
