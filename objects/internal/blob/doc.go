// Package blob keeps the store's bytes as plain files beside the metadata (design §2).
//
// Three kinds of place hold bytes. A pack is an append-only file of chunks, each
// compressed with zstd where that helps and found by its place; a chunk is named by
// the BLAKE3 hash of its plain bytes and never changes. A hot file is the whole
// content of one version as one plain file named by its hash. A draft is the open,
// unversioned state of a file that is being written: in memory up to 64 KiB, then in
// a staging file, overlaying the version it started from.
package blob

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"
)

// Hash is the BLAKE3-256 of plain bytes (OM §3.2).
type Hash [32]byte

// Sum hashes b.
func Sum(b []byte) Hash { return blake3.Sum256(b) }

// String gives the 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero says that no hash was set.
func (h Hash) IsZero() bool { return h == Hash{} }

// ParseHash reads 64 hex digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("%q is not a BLAKE3 hash", s)
	}
	copy(h[:], b)
	return h, nil
}

// Errors of the package.
var (
	ErrIntegrity = errors.New("stored bytes do not match their hash")
	ErrNotHot    = errors.New("no hot file with that hash")
	ErrNoStaging = errors.New("no such staging file")
)
