package objects

import (
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The records are protocol buffer messages; FORMAT.md has their fields. They are
// written and read with protowire directly: no reflection, no allocation a field.

type encoder struct{ b []byte }

func (e *encoder) uint(field protowire.Number, v uint64) {
	if v != 0 {
		e.b = protowire.AppendTag(e.b, field, protowire.VarintType)
		e.b = protowire.AppendVarint(e.b, v)
	}
}

func (e *encoder) bytes(field protowire.Number, v []byte) {
	if len(v) != 0 {
		e.b = protowire.AppendTag(e.b, field, protowire.BytesType)
		e.b = protowire.AppendBytes(e.b, v)
	}
}

func (e *encoder) str(field protowire.Number, v string) {
	if v != "" {
		e.b = protowire.AppendTag(e.b, field, protowire.BytesType)
		e.b = protowire.AppendString(e.b, v)
	}
}

func (e *encoder) time(field protowire.Number, t time.Time) {
	if !t.IsZero() {
		e.b = protowire.AppendTag(e.b, field, protowire.VarintType)
		e.b = protowire.AppendVarint(e.b, protowire.EncodeZigZag(t.Unix()))
		e.uint(field+1, uint64(t.Nanosecond()))
	}
}

func (e *encoder) id(field protowire.Number, id ID) {
	if !id.IsZero() {
		e.bytes(field, append([]byte{id.kind}, id.u[:]...))
	}
}

var errDecode = errors.New("a record of the store cannot be read")

// decode calls num or raw for each field of a message; a field that the callback
// does not know is from a newer version, and the state version refuses those before.
func decode(b []byte, num func(protowire.Number, uint64), raw func(protowire.Number, []byte)) error {
	for len(b) > 0 {
		field, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errDecode
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return errDecode
			}
			num(field, v)
			b = b[n:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errDecode
			}
			raw(field, v)
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(field, typ, b)
			if n < 0 {
				return errDecode
			}
			b = b[n:]
		}
	}
	return nil
}

func idFrom(b []byte) ID {
	var id ID
	if len(b) == 17 {
		id.kind = b[0]
		copy(id.u[:], b[1:])
	}
	return id
}

func secs(t *time.Time, v uint64)  { *t = time.Unix(protowire.DecodeZigZag(v), int64(t.Nanosecond())) }
func nanos(t *time.Time, v uint64) { *t = time.Unix(t.Unix(), int64(v)) }
