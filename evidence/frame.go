package evidence

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A frame is little-endian uint32 length, uint32 CRC-32C of the bytes, and
// the bytes. Files of frames start with eight bytes that name their kind.
const (
	frameHead    = 8
	recordMagic  = "aiosevr1"
	payloadMagic = "aiosevp1"
	magicLen     = 8
)

// maxPayload bounds a payload with its salt. The reference gives no number;
// 16 MiB bounds what one append can make the log hold in memory.
const maxPayload = 16 << 20

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// errTorn: the bytes end before the frame does, or fail its checksum.
	errTorn = errors.New("torn or damaged frame")
)

// appendFrame appends one frame around body.
func appendFrame(b, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

// nextFrame returns the body of the first frame in b and the frame's whole
// length. It fails with errTorn on anything but a complete, correct frame of
// at most limit bytes.
func nextFrame(b []byte, limit int) (body []byte, n int, err error) {
	if len(b) < frameHead {
		return nil, 0, errTorn
	}
	size := int64(binary.LittleEndian.Uint32(b))
	if size == 0 || size > int64(limit) || size > int64(len(b)-frameHead) {
		return nil, 0, errTorn
	}
	body = b[frameHead : frameHead+size]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, 0, errTorn
	}
	return body, frameHead + int(size), nil
}
