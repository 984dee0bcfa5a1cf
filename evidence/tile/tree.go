package tile

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the right edge of a Merkle tree: for each row of tiles the hashes
// of its last, still partial tile. That is all that is needed to add leaves
// and to compute the root. The zero Tree is empty.
type Tree struct {
	size uint64
	rows [][]Hash // rows[t] has (size >> 8t) % 256 hashes
}

// Full is a tile that became full.
type Full struct {
	ID     ID
	Hashes []Hash
}

// Leaf returns the leaf hash of an entry: SHA-256(0x00 || entry).
func Leaf(entry []byte) Hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(entry)
	var out Hash
	h.Sum(out[:0])
	return out
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Row returns the hashes of the partial tile of row level; it is valid until
// the next Add.
func (t *Tree) Row(level int) []Hash {
	if level >= len(t.rows) {
		return nil
	}
	return t.rows[level]
}

// Clone returns an independent copy.
func (t *Tree) Clone() *Tree {
	c := &Tree{size: t.size, rows: make([][]Hash, len(t.rows))}
	for i, r := range t.rows {
		c.rows[i] = append([]Hash(nil), r...)
	}
	return c
}

// Add appends a leaf and calls full, if not nil, for each tile it completes.
func (t *Tree) Add(leaf Hash, full func(Full)) {
	h := leaf
	t.size++
	for l, n := 0, t.size; ; l, n = l+1, n/Width {
		if l == len(t.rows) {
			t.rows = append(t.rows, make([]Hash, 0, Width))
		}
		t.rows[l] = append(t.rows[l], h)
		if len(t.rows[l]) < Width {
			return
		}
		h = subtree(t.rows[l])
		if full != nil {
			full(Full{ID{l, n/Width - 1, Width}, t.rows[l]})
			t.rows[l] = make([]Hash, 0, Width)
		} else {
			t.rows[l] = t.rows[l][:0]
		}
	}
}

// subtree returns the root of a complete subtree over 2^k hashes.
func subtree(row []Hash) Hash {
	if len(row) == 1 {
		return row[0]
	}
	half := len(row) / 2
	return tlog.NodeHash(subtree(row[:half]), subtree(row[half:]))
}

// Root returns the root hash; of an empty tree it is SHA-256 of nothing.
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	var acc Hash
	have := false
	for _, row := range t.rows {
		for end := len(row); end > 0; {
			w := 1 << bits.TrailingZeros(uint(end))
			h := subtree(row[end-w : end])
			if have {
				h = tlog.NodeHash(h, acc)
			}
			acc, have = h, true
			end -= w
		}
	}
	return acc
}

// Reader returns at least the first id.W hashes of a tile.
type Reader func(id ID) ([]Hash, error)

// Load reads the right edge of the tree of the given size.
func Load(size uint64, read Reader) (*Tree, error) {
	t := &Tree{size: size}
	for l, n := 0, size; n > 0; l, n = l+1, n/Width {
		row := make([]Hash, 0, Width)
		if w := int(n % Width); w > 0 {
			id := ID{l, n / Width, w}
			hashes, err := read(id)
			if err != nil {
				return nil, fmt.Errorf("load tree of %d leaves: %w", size, err)
			}
			row = append(row, hashes[:w]...)
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// ReadHashes implements tlog.HashReader over tiles.
func (r Reader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var lastID ID
	var last []byte
	for i, x := range indexes {
		tl := tlog.TileForIndex(8, x)
		id := ID{tl.L, uint64(tl.N), tl.W}
		if last == nil || lastID != id {
			hashes, err := r(id)
			if err != nil {
				return nil, err
			}
			last, lastID = Join(hashes[:id.W]), id
		}
		h, err := tlog.HashFromTile(tl, last, x)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// Join returns the bytes of a tile.
func Join(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*len(Hash{}))
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// Split returns the hashes of a tile's bytes.
func Split(data []byte) ([]Hash, error) {
	if len(data)%len(Hash{}) != 0 || len(data) > Width*len(Hash{}) {
		return nil, fmt.Errorf("tile of %d bytes", len(data))
	}
	out := make([]Hash, len(data)/len(Hash{}))
	for i := range out {
		copy(out[i][:], data[i*len(Hash{}):])
	}
	return out, nil
}
