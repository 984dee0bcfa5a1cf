package blob

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
)

// ErrNoPack says that a pack does not exist, or is the open one where a closed one is needed.
var ErrNoPack = errors.New("no such pack")

// CheckPack reads every frame of a pack, compares each chunk with its hash and calls
// fn with it. damaged is nil when the pack is sound up to its end; else it wraps
// ErrIntegrity and names the place. A torn tail, which a crash leaves of bytes that
// nobody was promised, is reported as damage as well: fsck knows what is referenced.
func (s *Store) CheckPack(ctx context.Context, id uint64, fn func(Hash, Location) error) (damaged error, err error) {
	f, err := os.Open(s.packPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoPack
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	magic := make([]byte, len(packMagic))
	if _, err := f.ReadAt(magic, 0); err != nil || string(magic) != packMagic {
		return fmt.Errorf("%w: pack %x, byte 0: not a pack", ErrIntegrity, id), nil
	}
	head := make([]byte, frameHeader)
	for off := int64(len(packMagic)); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch n, err := f.ReadAt(head, off); {
		case err == io.EOF && n == 0:
			return nil, nil
		case err == io.EOF:
			return fmt.Errorf("%w: pack %x, byte %d: torn frame", ErrIntegrity, id, off), nil
		case err != nil:
			return nil, err
		}
		l, h := parseFrame(id, off, head)
		if l.Raw > maxChunk || l.Stored > maxChunk {
			return fmt.Errorf("%w: pack %x, byte %d: frame header", ErrIntegrity, id, off), nil
		}
		if _, err := s.ReadChunk(ctx, h, l); err != nil {
			if errors.Is(err, ErrIntegrity) {
				return err, nil
			}
			return nil, err
		}
		if fn != nil {
			if err := fn(h, l); err != nil {
				return nil, err
			}
		}
		off += frameHeader + int64(l.Stored)
	}
}

// maxChunk bounds what a frame may claim: the largest chunk of Split, with room for
// content that is stored in one piece.
const maxChunk = 64 << 20

func parseFrame(id uint64, off int64, head []byte) (Location, Hash) {
	var h Hash
	copy(h[:], head)
	return Location{id, uint32(off), binary.LittleEndian.Uint32(head[36:]), binary.LittleEndian.Uint32(head[32:]), head[40]}, h
}

// frameOK says whether a frame read from disk is what the location says, by its CRC.
func frameOK(frame []byte, h Hash, l Location) bool {
	got, name := parseFrame(l.Pack, int64(l.Offset), frame)
	crc := crc32.Update(crc32.Checksum(frame[:41], castagnoli), castagnoli, frame[frameHeader:])
	return name == h && got == l && crc == binary.LittleEndian.Uint32(frame[41:])
}

// RewritePack copies the chunks of a pack that live says are needed into the open
// pack and gives their new places, in order, with moved. They are durable, and the
// old pack may be dropped, once Sync has returned and the places are committed.
func (s *Store) RewritePack(ctx context.Context, id uint64, live func(Hash, Location) bool, moved func(Hash, Location) error) error {
	s.mu.Lock()
	open := s.pack != nil && s.packID == id
	s.mu.Unlock()
	if open {
		return fmt.Errorf("rewrite pack %x: still open: %w", id, ErrNoPack)
	}
	damaged, err := s.CheckPack(ctx, id, func(h Hash, l Location) error {
		if !live(h, l) {
			return nil
		}
		b, err := s.ReadChunk(ctx, h, l)
		if err != nil {
			return err
		}
		_, to, err := s.Append(ctx, b)
		if err != nil {
			return err
		}
		return moved(h, to)
	})
	if err = errors.Join(err, damaged); err != nil {
		return fmt.Errorf("rewrite pack %x: %w", id, err)
	}
	return nil
}

// DropPack removes a pack. Reads under way on it finish or fail with ErrNoPack's
// cause; the caller has made sure that nothing refers to it.
func (s *Store) DropPack(id uint64) error {
	s.mu.Lock()
	open := s.pack != nil && s.packID == id
	s.mu.Unlock()
	if open {
		return fmt.Errorf("drop pack %x: still open: %w", id, ErrNoPack)
	}
	s.readMu.Lock()
	if f := s.reads[id]; f != nil {
		delete(s.reads, id)
		s.retired = append(s.retired, f) // a reader may hold it: closed with the store
	}
	s.readMu.Unlock()
	if err := os.Remove(s.packPath(id)); errors.Is(err, fs.ErrNotExist) {
		return ErrNoPack
	} else if err != nil {
		return err
	}
	return syncDir(s.packDir())
}
