package blob

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"sync"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers "fastcdc"
)

// A pack is the magic, then frames: hash (32 bytes), plain length, stored length
// (4 bytes each, little endian), codec (1), CRC-32C of the header before it and of
// the stored bytes (4), the stored bytes. A frame is never rewritten.
const (
	packMagic   = "AIOSPAK1"
	frameHeader = 32 + 4 + 4 + 1 + 4
)

// Codecs of stored bytes.
const (
	codecPlain byte = 0
	codecZstd  byte = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Location says where a chunk lies.
type Location struct {
	Pack   uint64
	Offset uint32 // of the frame
	Stored uint32 // bytes on disk, without the frame's header
	Raw    uint32 // plain bytes
	Codec  byte
}

// Marshal gives the 21 bytes that stand under a chunk's key.
func (l Location) Marshal() []byte {
	b := binary.LittleEndian.AppendUint64(nil, l.Pack)
	b = binary.LittleEndian.AppendUint32(b, l.Offset)
	b = binary.LittleEndian.AppendUint32(b, l.Stored)
	b = binary.LittleEndian.AppendUint32(b, l.Raw)
	return append(b, l.Codec)
}

// ParseLocation reads what Marshal wrote.
func ParseLocation(b []byte) (Location, error) {
	if len(b) != 21 {
		return Location{}, fmt.Errorf("a chunk's place has 21 bytes, not %d", len(b))
	}
	return Location{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:]), b[20]}, nil
}

// FastCDC with the sizes of OM §7.
var chunkSizes = chunkers.ChunkerOpts{MinSize: 64 << 10, NormalSize: 256 << 10, MaxSize: 1 << 20}

// splitters are chunkers to be used again: each has 2 MiB for what it reads, and clearing
// them would take longer than cutting a file of 200 KiB.
var splitters sync.Pool

func splitter(r io.Reader) (*chunkers.Chunker, error) {
	if c, ok := splitters.Get().(*chunkers.Chunker); ok {
		c.Reset(r)
		return c, nil
	}
	return chunkers.NewChunker("fastcdc", r, &chunkSizes)
}

// Split cuts what r gives into content-defined chunks and calls fn with each; the
// slice is valid during the call only. Equal bytes give equal cuts, always.
func Split(r io.Reader, fn func(chunk []byte) error) error {
	c, err := splitter(r)
	if err != nil {
		return err
	}
	defer func() {
		c.Reset(nil) // it holds on to the file otherwise
		splitters.Put(c)
	}()
	for {
		b, err := c.Next()
		if err != nil && err != io.EOF {
			return err
		}
		if len(b) > 0 {
			if e := fn(b); e != nil {
				return e
			}
		}
		if err == io.EOF || len(b) == 0 {
			return nil
		}
	}
}

// PackSize is how long a pack is, in bytes.
func (s *Store) PackSize(id uint64) (int64, error) {
	st, err := os.Stat(s.packPath(id))
	if err != nil {
		return 0, fmt.Errorf("pack %x: %w", id, err)
	}
	return st.Size(), nil
}

// Append puts a chunk into the open pack. It is durable after the next Sync.
func (s *Store) Append(ctx context.Context, chunk []byte) (Hash, Location, error) {
	h := Sum(chunk)
	loc, err := s.append(h, chunk)
	if err != nil {
		return h, loc, fmt.Errorf("append chunk: %w", err)
	}
	return h, loc, nil
}

func (s *Store) append(h Hash, chunk []byte) (Location, error) {
	stored, codec := chunk, codecPlain
	// Below a few hundred bytes zstd's own frame eats the gain.
	if len(chunk) > 256 {
		if z := s.enc.EncodeAll(chunk, nil); len(z) < len(chunk)-len(chunk)/16 {
			stored, codec = z, codecZstd
		}
	}
	frame := make([]byte, frameHeader, frameHeader+len(stored))
	copy(frame, h[:])
	binary.LittleEndian.PutUint32(frame[32:], uint32(len(chunk)))
	binary.LittleEndian.PutUint32(frame[36:], uint32(len(stored)))
	frame[40] = codec
	crc := crc32.Update(crc32.Checksum(frame[:41], castagnoli), castagnoli, stored)
	binary.LittleEndian.PutUint32(frame[41:], crc)
	frame = append(frame, stored...)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pack != nil && s.packEnd+int64(len(frame)) > s.o.PackSize {
		s.full = append(s.full, s.pack) // Sync closes it
		s.pack, s.dirty = nil, false
	}
	if s.pack == nil {
		// Every start opens a pack of its own: a torn tail is never written behind.
		s.packID++
		f, err := os.OpenFile(s.packPath(s.packID), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return Location{}, err
		}
		if _, err := f.WriteAt([]byte(packMagic), 0); err != nil {
			f.Close()
			return Location{}, err
		}
		s.pack, s.packEnd, s.newDirs = f, int64(len(packMagic)), true
	}
	loc := Location{s.packID, uint32(s.packEnd), uint32(len(stored)), uint32(len(chunk)), codec}
	if _, err := s.pack.WriteAt(frame, s.packEnd); err != nil {
		return Location{}, err // what was written lies beyond packEnd and is written over
	}
	s.packEnd += int64(len(frame))
	s.dirty = true
	return loc, nil
}

// reader gives a descriptor of a pack. The first maxOpenPacks packs that are read
// keep theirs; beyond that one is opened for the read and closed after it.
func (s *Store) reader(id uint64) (f *os.File, done func(), err error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if f := s.reads[id]; f != nil {
		return f, func() {}, nil
	}
	if f, err = os.Open(s.packPath(id)); err != nil {
		return nil, nil, err
	}
	if len(s.reads) >= maxOpenPacks {
		return f, func() { f.Close() }, nil
	}
	s.reads[id] = f
	return f, func() {}, nil
}

// readerOf is reader for a chunk, whose place must make sense.
func (s *Store) readerOf(h Hash, l Location) (*os.File, func(), error) {
	if l.Stored > maxChunk || l.Raw > maxChunk {
		return nil, nil, fmt.Errorf("%w: pack %x, byte %d: no chunk is that long", ErrIntegrity, l.Pack, l.Offset)
	}
	f, done, err := s.reader(l.Pack)
	if err != nil {
		return nil, nil, fmt.Errorf("read chunk %s: %w", h, err)
	}
	return f, done, nil
}

// frames are buffers for compressed frames, which live until they are decoded: fresh
// memory costs more than decoding does.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// ReadChunk reads a chunk back and checks it against its hash; ErrIntegrity names
// the pack and the place.
func (s *Store) ReadChunk(ctx context.Context, h Hash, l Location) ([]byte, error) {
	return s.ReadChunkInto(ctx, h, l, nil)
}

// ReadChunkInto is ReadChunk into the caller's memory, if the chunk is not longer than that.
func (s *Store) ReadChunkInto(ctx context.Context, h Hash, l Location, room []byte) ([]byte, error) {
	f, done, err := s.readerOf(h, l)
	if err != nil {
		return nil, err
	}
	defer done()
	n := frameHeader + int(l.Stored)
	var buf []byte
	into := len(room) >= int(l.Raw)
	if l.Codec == codecPlain && !into {
		buf = make([]byte, n) // it is what the caller gets
	} else {
		spare := frames.Get().(*[]byte)
		defer frames.Put(spare)
		if cap(*spare) < n {
			*spare = make([]byte, max(n, 512<<10))
		}
		buf = (*spare)[:n]
	}
	if _, err := f.ReadAt(buf, int64(l.Offset)); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("%w: pack %x ends before byte %d", ErrIntegrity, l.Pack, int64(l.Offset)+int64(len(buf)))
		}
		return nil, fmt.Errorf("read chunk %s: %w", h, err)
	}
	if !frameOK(buf, h, l) {
		return nil, fmt.Errorf("%w: pack %x, byte %d, chunk %s: frame", ErrIntegrity, l.Pack, l.Offset, h)
	}
	b := buf[frameHeader:]
	if l.Codec != codecPlain || into {
		if !into {
			room = make([]byte, l.Raw+decodeSlack)
		}
		if b, err = s.decode(buf, l, room); err != nil {
			return nil, err
		}
	}
	if Sum(b) != h {
		return nil, fmt.Errorf("%w: pack %x, byte %d, chunk %s", ErrIntegrity, l.Pack, l.Offset, h)
	}
	return b, nil
}

// ReadDamaged reads what there is of a chunk, whether it is right or not: for who has to
// find out what happened to it. What cannot be decoded is ErrIntegrity.
func (s *Store) ReadDamaged(h Hash, l Location) ([]byte, error) {
	f, done, err := s.readerOf(h, l)
	if err != nil {
		return nil, err
	}
	defer done()
	buf := make([]byte, frameHeader+int(l.Stored))
	if n, err := f.ReadAt(buf, int64(l.Offset)); n < len(buf) && err != io.EOF {
		return nil, fmt.Errorf("read chunk %s: %w", h, err)
	}
	buf[40] = l.Codec // as it was written
	return s.decode(buf, l, make([]byte, l.Raw+decodeSlack))
}

// decodeSlack is what the decoder writes beyond the end where it is let to, and is faster then.
const decodeSlack = 32

func (s *Store) decode(frame []byte, l Location, room []byte) ([]byte, error) {
	stored := frame[frameHeader:]
	if frame[40] == codecPlain {
		return room[:copy(room, stored)], nil
	}
	b, err := s.dec.DecodeAll(stored, room[:0:len(room)])
	if err != nil {
		return nil, fmt.Errorf("%w: pack %x, byte %d: %w", ErrIntegrity, l.Pack, l.Offset, err)
	}
	return b, nil
}

// ScanPack walks the whole frames of a pack, in order, up to the first that is torn.
func (s *Store) ScanPack(id uint64) iter.Seq2[Hash, Location] {
	return func(yield func(Hash, Location) bool) {
		f, err := os.Open(s.packPath(id))
		if err != nil {
			return
		}
		defer f.Close()
		head := make([]byte, frameHeader)
		for off := int64(len(packMagic)); ; {
			if _, err := f.ReadAt(head, off); err != nil {
				return
			}
			l, h := parseFrame(id, off, head)
			if l.Stored > maxChunk {
				return
			}
			stored := make([]byte, l.Stored)
			if _, err := f.ReadAt(stored, off+frameHeader); err != nil {
				return
			}
			if crc32.Update(crc32.Checksum(head[:41], castagnoli), castagnoli, stored) != binary.LittleEndian.Uint32(head[41:]) {
				return
			}
			if !yield(h, l) {
				return
			}
			off += frameHeader + int64(l.Stored)
		}
	}
}
