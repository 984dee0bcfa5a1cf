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
	"golang.org/x/sys/unix"
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
	full    []*os.File // full packs that are not synced yet
	dirty   bool       // the open pack has bytes that are not synced
	newDirs bool       // directory entries that are not synced

	syncMu sync.Mutex // one Sync at a time

	readMu  sync.Mutex
	reads   map[uint64]*os.File // packs open for reading
	retired []*os.File          // of packs that were dropped

	hotMu      sync.Mutex
	hotDirs    map[string]bool // directories under hot/ with entries that are not synced
	newStaging bool            // staging/ has entries that are not synced

	shareOnce sync.Once
	shares    bool // files can share blocks
	limitOnce sync.Once
	limit     int64 // how large a file can be

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
	for _, f := range s.retired {
		err = errors.Join(err, f.Close())
	}
	s.reads, s.retired = map[uint64]*os.File{}, nil
	s.readMu.Unlock()
	s.dec.Close()
	return errors.Join(err, s.enc.Close())
}

// Sync makes durable what Append, AdoptHot and NewStaging have brought in so far.
// Appending goes on meanwhile.
func (s *Store) Sync(ctx context.Context) error {
	if s.o.ReadOnly {
		return nil
	}
	s.syncMu.Lock() // callers that waited find nothing left to do
	defer s.syncMu.Unlock()
	s.mu.Lock()
	pack, full, newDirs := s.pack, s.full, s.newDirs
	if !s.dirty {
		pack = nil
	}
	s.dirty, s.newDirs, s.full = false, false, nil
	s.mu.Unlock()
	err := s.syncPacks(pack, full)
	if err != nil {
		s.mu.Lock()
		s.dirty, s.newDirs, s.full = true, true, append(full, s.full...)
		s.mu.Unlock()
		return fmt.Errorf("sync pack: %w", err)
	}
	if newDirs {
		if err := syncDir(s.packDir()); err != nil {
			s.mu.Lock()
			s.newDirs = true
			s.mu.Unlock()
			return err
		}
	}
	return errors.Join(s.syncHot(), s.syncStaging())
}

// syncPacks syncs the open pack and the full ones, which it closes when all went well.
func (s *Store) syncPacks(pack *os.File, full []*os.File) error {
	for _, f := range full {
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
	}
	if pack != nil {
		if err := unix.Fdatasync(int(pack.Fd())); err != nil {
			return err
		}
	}
	for _, f := range full {
		f.Close() // synced: nothing can be lost
	}
	return nil
}

// syncHot makes the names of adopted files durable.
func (s *Store) syncHot() error {
	s.hotMu.Lock()
	dirs := s.hotDirs
	s.hotDirs = nil
	s.hotMu.Unlock()
	if len(dirs) == 0 {
		return nil
	}
	dirs[s.hotDir()] = true
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			s.hotMu.Lock()
			s.hotDirs = dirs
			s.hotMu.Unlock()
			return err
		}
	}
	return nil
}

// syncStaging makes the names of new staging files durable.
func (s *Store) syncStaging() error {
	s.hotMu.Lock()
	todo := s.newStaging
	s.newStaging = false
	s.hotMu.Unlock()
	if !todo {
		return nil
	}
	if err := syncDir(s.o.Staging); err != nil {
		s.hotMu.Lock()
		s.newStaging = true
		s.hotMu.Unlock()
		return err
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
	f, err := os.OpenFile(s.stagingPath(id), os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOATIME, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("make staging file: %w", err)
	}
	s.hotMu.Lock()
	s.newStaging = true
	s.hotMu.Unlock()
	return f, id, nil
}

// openFile opens a file whose time of reading is to stay as it is: that shows what the
// kernel reads in a lent file, past the store. Only the owner may ask for it.
func openFile(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		f, err = os.OpenFile(path, flags, 0)
	}
	return f, err
}

// OpenStaging opens a staging file again.
func (s *Store) OpenStaging(id string) (*os.File, error) {
	f, err := openFile(s.stagingPath(id), os.O_RDWR)
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

// HotPath is where the hot file of a hash lies, if there is one.
func (s *Store) HotPath(h Hash) string { return s.hotPath(h) }

// SyncDir makes the names in a directory of the store durable.
func (s *Store) SyncDir(dir string) error { return syncDir(dir) }

func (s *Store) hotPath(h Hash) string {
	x := h.String()
	return filepath.Join(s.hotDir(), x[:2], x)
}

// OpenHot opens the file that holds the content with this hash, or says ErrNotHot.
func (s *Store) OpenHot(h Hash) (*os.File, error) {
	f, err := openFile(s.hotPath(h), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotHot
	}
	if err == nil {
		touch(f)
	}
	return f, err
}

// AdoptHot moves a finished file into its place under its hash; the file's bytes
// must be synced already, its name is durable after Sync. Content that is hot already is kept, the file removed.
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
	s.hotMu.Lock()
	if s.hotDirs == nil {
		s.hotDirs = map[string]bool{}
	}
	s.hotDirs[dir] = true
	s.hotMu.Unlock()
	return nil
}

// EvictHot removes the hot file of a hash. Open handles go on reading it.
func (s *Store) EvictHot(h Hash) error {
	if err := os.Remove(s.hotPath(h)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
