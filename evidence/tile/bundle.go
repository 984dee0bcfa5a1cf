package tile

import (
	"encoding/binary"
	"fmt"
)

// AppendEntry appends one entry of a bundle: big-endian uint16 length, bytes.
// It panics on an entry over MaxEntry bytes, which its callers refuse.
func AppendEntry(bundle, entry []byte) []byte {
	if len(entry) > MaxEntry {
		panic(fmt.Sprintf("entry of %d bytes", len(entry)))
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
	return append(bundle, entry...)
}

// SplitBundle returns the entries of a bundle, sharing its memory. The error
// names the offset where the bundle ends early.
func SplitBundle(bundle []byte) ([][]byte, error) {
	var out [][]byte
	for off := 0; off < len(bundle); {
		if len(bundle)-off < 2 {
			return out, fmt.Errorf("bundle: short length at byte %d", off)
		}
		n := int(binary.BigEndian.Uint16(bundle[off:]))
		if len(bundle)-off-2 < n {
			return out, fmt.Errorf("bundle: short entry at byte %d", off)
		}
		out = append(out, bundle[off+2:off+2+n:off+2+n])
		off += 2 + n
	}
	return out, nil
}
