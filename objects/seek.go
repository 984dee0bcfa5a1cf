package objects

import (
	"io"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
)

// SeekData and SeekHole find data and holes as lseek(2) does. A version that is a plain
// file has the holes that were left when it was written, a small one has one where there
// are zeros only; a large one in packs is data throughout.
func (h *Handle) SeekData(off int64) (int64, error) { return h.seek(off, true) }

// SeekHole is described at SeekData.
func (h *Handle) SeekHole(off int64) (int64, error) { return h.seek(off, false) }

func (h *Handle) seek(off int64, data bool) (int64, error) {
	h.n.io.Lock()
	defer h.n.io.Unlock()
	switch d := h.n.draft; {
	case d != nil && data:
		return d.SeekData(off)
	case d != nil:
		return d.SeekHole(off)
	}
	c, err := h.s.current(h.n)
	if err != nil {
		return 0, err
	}
	size := c.Size()
	if off >= size || off < 0 {
		return 0, unix.ENXIO
	}
	segment, done, err := segmentsOf(c)
	if err != nil {
		return 0, err
	}
	defer done()
	for off < size {
		is, end, err := segment(off, size)
		if err != nil || is == data {
			return off, err
		}
		off = end
	}
	if data {
		return 0, unix.ENXIO
	}
	return size, nil
}

// segmentsOf gives what tells data from holes in the content of a version.
func segmentsOf(c content) (segment func(pos, until int64) (bool, int64, error), done func(), err error) {
	done = func() {}
	if f, ok := c.(*fileContent); ok {
		host, done := f.Host()
		return func(pos, until int64) (bool, int64, error) { return blob.HostSegment(host, pos, until) }, done, nil
	}
	if c.Size() > blob.MemoryLimit {
		return func(_, until int64) (bool, int64, error) { return true, until, nil }, done, nil
	}
	b := make([]byte, c.Size())
	if _, err := c.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, done, err
	}
	return func(pos, until int64) (bool, int64, error) {
		data, end := blob.BytesSegment(b, pos, until)
		return data, end, nil
	}, done, nil
}
