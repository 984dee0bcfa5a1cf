package blob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"
)

// Options of a blob store. Dir holds packs and hot files, Staging the drafts' files;
// both must be on one file system, since content moves between them by rename.
type Options struct {
	Dir      string
	Staging  string
	ReadOnly bool
	// PackSize is the size at which a pack is closed; default 64 MiB (design §2).
	PackSize int64
}

// Store is an open blob store; all its methods may be used concurrently.
type Store struct {
	o Options

	mu      sync.Mutex // the open pack
	pack    *os.File
	packID  uint64
	packEnd int64
	dirty   bool // the open pack has bytes that are not synced
	newDirs bool // directory entries that are not synced

	readMu sync.Mutex
	reads  map[uint64]*os.File // packs open for reading

	enc *zstd.Encoder
	dec *zstd.Decoder
}

// maxOpenPacks bounds the descriptors that reading keeps.
const maxOpenPacks = 256

// Open opens the store, making its directories.
func Open(o Options) (*Store, error) {
	if o.PackSize == 0 {
		o.PackSize = 64 << 20
	}
	s := &Store{o: o, reads: map[uint64]*os.File{}}
	if !o.ReadOnly {
		for _, d := range []string{s.packDir(), s.hotDir(), o.Staging} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				return nil, fmt.Errorf("open blobs: %w", err)
			}
		}
	}
	var err error
	if s.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1)); err != nil {
		return nil, err
	}
	if s.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(64<<20)); err != nil {
		return nil, err
	}
	ids, err := s.Packs()
	if err != nil && !o.ReadOnly {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	for _, id := range ids {
		s.packID = max(s.packID, id)
	}
	return s, nil
}

func (s *Store) packDir() string { return filepath.Join(s.o.Dir, "packs") }
func (s *Store) hotDir() string  { return filepath.Join(s.o.Dir, "hot") }

func (s *Store) packPath(id uint64) string {
	return filepath.Join(s.packDir(), fmt.Sprintf("%016x.pack", id))
}

// Packs lists the numbers of the packs on disk.
func (s *Store) Packs() ([]uint64, error) {
	entries, err := os.ReadDir(s.packDir())
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".pack")
		if !ok {
			continue
		}
		if id, err := strconv.ParseUint(name, 16, 64); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Close syncs and closes what is open.
func (s *Store) Close() error {
	err := s.Sync(context.Background())
	s.mu.Lock()
	if s.pack != nil {
		err = errors.Join(err, s.pack.Close())
		s.pack = nil
	}
	s.mu.Unlock()
	s.readMu.Lock()
	for _, f := range s.reads {
		err = errors.Join(err, f.Close())
	}
	s.reads = map[uint64]*os.File{}
	s.readMu.Unlock()
	s.dec.Close()
	return errors.Join(err, s.enc.Close())
}

// Sync makes durable what Append and AdoptHot have brought in so far.
func (s *Store) Sync(ctx context.Context) error {
	if s.o.ReadOnly {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirty {
		if err := s.pack.Sync(); err != nil {
			return fmt.Errorf("sync pack: %w", err)
		}
		s.dirty = false
	}
	if s.newDirs {
		for _, d := range []string{s.packDir(), s.hotDir()} {
			if err := syncDir(d); err != nil {
				return err
			}
		}
		s.newDirs = false
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ---- staging files

func (s *Store) stagingPath(id string) string { return filepath.Join(s.o.Staging, id) }

// NewStaging makes an empty staging file and gives its name.
func (s *Store) NewStaging() (*os.File, string, error) {
	id := ulid.Make().String()
	f, err := os.OpenFile(s.stagingPath(id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("make staging file: %w", err)
	}
	return f, id, nil
}

// OpenStaging opens a staging file again.
func (s *Store) OpenStaging(id string) (*os.File, error) {
	f, err := os.OpenFile(s.stagingPath(id), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoStaging, id)
	}
	return f, err
}

// StagingPath is where a staging file lies, for AdoptHot.
func (s *Store) StagingPath(id string) string { return s.stagingPath(id) }

// RemoveStaging removes a staging file; one that is gone is no error.
func (s *Store) RemoveStaging(id string) error {
	if err := os.Remove(s.stagingPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// ListStaging names the staging files on disk.
func (s *Store) ListStaging() ([]string, error) {
	entries, err := os.ReadDir(s.o.Staging)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// ---- hot files

func (s *Store) hotPath(h Hash) string {
	x := h.String()
	return filepath.Join(s.hotDir(), x[:2], x)
}

// OpenHot opens the file that holds the content with this hash, or says ErrNotHot.
func (s *Store) OpenHot(h Hash) (*os.File, error) {
	f, err := os.Open(s.hotPath(h))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotHot
	}
	return f, err
}

// AdoptHot moves a finished file into its place under its hash; the file's bytes
// must be synced already. Content that is hot already is kept, the file removed.
func (s *Store) AdoptHot(path string, h Hash) error {
	to := s.hotPath(h)
	if _, err := os.Stat(to); err == nil {
		return os.Remove(path)
	}
	dir := filepath.Dir(to)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := os.Chmod(path, 0o400); err != nil {
		return err
	}
	if err := os.Rename(path, to); err != nil {
		return fmt.Errorf("adopt hot file: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	s.mu.Lock()
	s.newDirs = true
	s.mu.Unlock()
	return nil
}

// EvictHot removes the hot file of a hash. Open handles go on reading it.
func (s *Store) EvictHot(h Hash) error {
	if err := os.Remove(s.hotPath(h)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
