package blob

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// SeekData gives the first position not before off that may hold data, and
// SeekHole the first that reads as a hole; the end of the file is one. Both answer
// ENXIO beyond the end.
func (d *Draft) SeekData(off int64) (int64, error) { return d.seek(off, true) }

// SeekHole is described at SeekData.
func (d *Draft) SeekHole(off int64) (int64, error) { return d.seek(off, false) }

func (d *Draft) seek(off int64, data bool) (int64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	size := d.current()
	if off < 0 || off >= size {
		return 0, unix.ENXIO
	}
	for pos := off; pos < size; {
		isData, until, err := d.segment(pos, size)
		if err != nil {
			return 0, err
		}
		if isData == data {
			return pos, nil
		}
		pos = until
	}
	if data {
		return 0, unix.ENXIO
	}
	return size, nil
}

// segment says what lies at pos, and where that ends.
func (d *Draft) segment(pos, size int64) (data bool, until int64, err error) {
	if d.file == nil && d.base == nil {
		data, until = BytesSegment(d.mem, pos, size)
		return data, until, nil
	}
	in, until := d.written.at(pos, size)
	if d.isWhole() {
		in, until = true, size
	}
	switch {
	case in:
		return HostSegment(d.file, pos, until)
	case pos < d.baseLen:
		until = min(until, d.baseLen)
		if h, ok := d.base.(Hosted); ok {
			f, done := h.Host()
			defer done()
			return HostSegment(f, pos, until)
		}
		return true, until, nil
	}
	return false, until, nil
}

// holeSize is how large a hole of a local filesystem is at least.
const holeSize = 4 << 10

// BytesSegment says what lies at pos of a file of that size that begins with b and has
// zeros after it, and where that ends. Nobody has noted what was written: a block of zeros
// is a hole, as one that was never written or was punched is on a disk.
func BytesSegment(b []byte, pos, size int64) (data bool, until int64) {
	for at := pos - pos%holeSize; at < size; at += holeSize {
		block := b[min(at, int64(len(b))):min(at+holeSize, int64(len(b)))]
		is := len(bytes.TrimLeft(block, "\x00")) > 0
		if at <= pos {
			data = is
		} else if is != data {
			return data, at
		}
	}
	return data, size
}

// HostSegment says whether data or a hole lies at pos of a host file, and where that ends,
// at until at the latest.
func HostSegment(f *os.File, pos, until int64) (data bool, end int64, err error) {
	next, err := unix.Seek(int(f.Fd()), pos, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) || err == nil && next >= until {
		return false, until, nil
	}
	if err != nil {
		return false, 0, err
	}
	if next > pos {
		return false, next, nil
	}
	hole, err := unix.Seek(int(f.Fd()), pos, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, err
	}
	return true, min(hole, until), nil
}
