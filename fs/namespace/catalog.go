package namespace

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gowebpki/jcs"
	"github.com/zeebo/blake3"
)

// descriptor is what a catalog's version is the digest of (S4.1 §13).
type descriptor struct {
	Package     string     `json:"package"`
	Revision    string     `json:"revision"`
	TopLevel    []string   `json:"top_level"`
	System      []Reserved `json:"system"`
	Group       []Reserved `json:"group"`
	User        []Reserved `json:"user"`
	ReservedIDs []string   `json:"reserved_ids"`
	MaxSegments int        `json:"max_segments"`
	MaxBytes    int        `json:"max_bytes"`
}

// Catalog is one version of the closed layouts. It does not change; all its
// methods may be called at once.
type Catalog struct {
	version string
	system  map[string]*Reserved
	group   map[string]*Reserved
	user    map[string]*Reserved
}

// Default is the catalog of this revision of the reference: 2 top-level
// names, 24 in system, 13 in a group, 11 in a user.
var Default = NewCatalog("Wave 8")

// NewCatalog builds the catalog that the given revision of the reference
// names. Two revisions never have the same version, even with equal lists:
// results of different catalogs must not be compared (F-74).
func NewCatalog(revision string) *Catalog {
	d := descriptor{
		Package: "aios.namespace.v1alpha1", Revision: revision,
		TopLevel: []string{"system", "groups"},
		System:   systemReserved, Group: groupReserved, User: userReserved,
		ReservedIDs: []string{"_", "_system", "_recovery", "_aios", "_root"},
		MaxSegments: MaxSegments, MaxBytes: MaxBytes,
	}
	raw, err := json.Marshal(d)
	if err == nil {
		raw, err = jcs.Transform(raw)
	}
	if err != nil {
		// The descriptor is made of literals; only a mistake in this file
		// gets here.
		panic(fmt.Sprintf("namespace: describe catalog: %v", err))
	}
	sum := blake3.Sum256(raw)
	return &Catalog{
		version: "nscat_" + hex.EncodeToString(sum[:])[:32],
		system:  index(systemReserved), group: index(groupReserved), user: index(userReserved),
	}
}

func index(rs []Reserved) map[string]*Reserved {
	m := make(map[string]*Reserved, len(rs))
	for i := range rs {
		m[rs[i].Name] = &rs[i]
	}
	return m
}

// Version is nscat_ and 32 hex digits of the digest of the catalog.
func (c *Catalog) Version() string { return c.version }

// Reserved finds the reserved name at a scope. Second is false for a name the
// closed layout does not have.
func (c *Catalog) Reserved(k ScopeKind, name string) (Reserved, bool) {
	var r *Reserved
	switch k {
	case ScopeSystem:
		r = c.system[name]
	case ScopeGroup:
		r = c.group[name]
	case ScopeUser:
		r = c.user[name]
	}
	if r == nil {
		return Reserved{}, false
	}
	return *r, true
}

// Names lists the reserved names of a scope in the order of the reference.
func (c *Catalog) Names(k ScopeKind) []Reserved {
	switch k {
	case ScopeSystem:
		return append([]Reserved(nil), systemReserved...)
	case ScopeGroup:
		return append([]Reserved(nil), groupReserved...)
	case ScopeUser:
		return append([]Reserved(nil), userReserved...)
	}
	return nil
}
