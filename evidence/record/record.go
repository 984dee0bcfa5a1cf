// Package record names what an evidence record may be about: the closed list
// of 427 record types of the evidence log (S3.1 App. A), the retention class
// each of them has, and who may emit it.
//
// A Type is the wire number of a record type. A Retention says how long a
// record's payload is kept. An Emitter is the component of this program that
// speaks; authority over a type is a set of emitters. An orphan is a record
// name that other sections of the reference use without ever numbering it;
// such an event is written as its nearest closed type, with the orphan's name
// in the payload field DetailKind.
//
// The tables are generated from record_types.tsv and record_type_orphans.tsv;
// run go generate after changing either.
package record

import (
	"errors"
	"fmt"
)

//go:generate go run ./gen -out types_gen.go

// Type is the number of a record type, 1..427. The zero value is
// UNSPECIFIED and is refused everywhere.
type Type uint16

// Unspecified is the zero Type; it is never stored.
const Unspecified Type = 0

// ErrUnknownType is returned for a name or number outside the closed list
// (InvalidRecordType, S6.3 §10.1).
var ErrUnknownType = errors.New("unknown record type")

// DetailKind is the payload field that carries an orphan's own name.
const DetailKind = "detail_kind"

// Valid reports whether t is one of the 427 closed types.
func (t Type) Valid() bool { return t >= 1 && t <= Last }

// String returns the name as the reference writes it, such as
// ACTION_RECEIVED; for a number outside the list it returns
// RECORD_TYPE_<number>.
func (t Type) String() string {
	if t == 0 {
		return "UNSPECIFIED"
	}
	if !t.Valid() {
		return fmt.Sprintf("RECORD_TYPE_%d", uint16(t))
	}
	return typeNames[t]
}

// Parse returns the type with the given name, such as ACTION_RECEIVED. It
// returns ErrUnknownType for any other text, UNSPECIFIED included.
func Parse(name string) (Type, error) {
	if t, ok := typeByName[name]; ok {
		return t, nil
	}
	return 0, fmt.Errorf("parse record type %q: %w", name, ErrUnknownType)
}

// All returns every type in the order of its number.
func All() []Type {
	all := make([]Type, 0, int(Last))
	for t := Type(1); t <= Last; t++ {
		all = append(all, t)
	}
	return all
}

var typeByName = func() map[string]Type {
	m := make(map[string]Type, int(Last))
	for t := Type(1); t <= Last; t++ {
		m[typeNames[t]] = t
	}
	return m
}()

// Orphan returns the closed type as which the event with the given unnumbered
// name is written. ok is false for a name that is not an orphan, and for an
// orphan to which the reference gives no nearest type (Orphans tells the two
// apart).
func Orphan(name string) (t Type, ok bool) {
	for _, o := range orphans {
		if o.Name == name {
			return o.Nearest, o.Nearest != Unspecified
		}
	}
	return 0, false
}

// OrphanName is one of the 57 names without a number.
type OrphanName struct {
	// Name is the event's own name.
	Name string
	// Nearest is the closed type to write, or Unspecified where the
	// reference knows none.
	Nearest Type
	// Note is the reference's own wording of the mapping.
	Note string
}

// Orphans returns the 57 names in the order of record_type_orphans.tsv.
func Orphans() []OrphanName { return append([]OrphanName(nil), orphans...) }
