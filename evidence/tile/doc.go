// Package tile keeps a Merkle tree of log entries in the static form of the
// C2SP specifications tlog-tiles, tlog-checkpoint and signed-note.
//
// A leaf is SHA-256(0x00 || entry), a node SHA-256(0x01 || left || right)
// (RFC 6962). A tile is up to 256 hashes of one row of the tree, every eighth
// row having tiles: row t of tiles holds the hashes of complete subtrees of
// 256^t leaves. A bundle is the entries under one tile of row 0. A checkpoint
// is origin, size and root, signed as a note.
//
// Hashing and proofs are golang.org/x/mod/sumdb/tlog's; paths and checkpoint
// text differ from that package's and are here.
package tile

import "golang.org/x/mod/sumdb/tlog"

// Width is the number of hashes in a full tile and of entries in a full
// bundle (tlog-tiles).
const Width = 256

// MaxEntry is the largest entry: a bundle prefixes each with a uint16.
const MaxEntry = 1<<16 - 1

// Hash is a node or leaf of the tree.
type Hash = tlog.Hash
