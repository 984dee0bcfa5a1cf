package kv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"
)

// TS is a commit timestamp: microseconds since 1970 (UTC), strictly increasing.
type TS uint64

// Time is the moment that the timestamp stands for.
func (t TS) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// At is the timestamp of a moment.
func At(t time.Time) TS {
	if us := t.UnixMicro(); us > 0 {
		return TS(us)
	}
	return 0
}

// Errors of the package.
var (
	ErrNotFound = errors.New("no such record")
	ErrHorizon  = errors.New("the time lies before the history that is kept")
	ErrNoSpace  = errors.New("the disk under the store is nearly full")
	ErrReadOnly = errors.New("the store is open for reading only")
)

// Keys of the package itself start with a NUL; those of its users must not.
var (
	sealKey    = []byte("\x00seal")
	horizonKey = []byte("\x00horizon")
)

// Sizes of the Badger instance. A memtable bounds a Badger transaction to 15 % of
// itself, so 32 MiB lets an epoch of about 4.8 MiB go in one; three of them and the
// caches are what the metadata of an idle daemon costs at the most.
const (
	memTableSize = 32 << 20
	blockCache   = 32 << 20
	indexCache   = 16 << 20
	valueLogFile = 64 << 20
	valueInLSM   = 512 << 10 // records up to this size stay in the tree; larger ones go to Badger's value log
	defaultSpare = 192 << 20 // twice the memtable files that can be open: Badger dies by SIGBUS on a full disk
)

// Options of a database. Dir is required.
type Options struct {
	Dir      string
	ReadOnly bool
	// MemTable overrides the memtable size, in bytes; tests make it small so that
	// epochs split and tables rotate.
	MemTable int64
	// ReserveBytes is the free space below which commits are refused; 0 takes the default.
	ReserveBytes int64
	Logger       *slog.Logger
	Now          func() time.Time
}

// DB is an open database. One goroutine at a time commits; any number read.
type DB struct {
	b      *badger.DB
	o      Options
	commit sync.Mutex // one epoch at a time
	sealed atomic.Uint64

	horizon atomic.Uint64
	pinMu   sync.Mutex
	pins    map[TS]int

	syncMu  sync.Mutex
	pending *syncRound
	active  bool

	// failpoint, if set by a test, is called at the named step of a commit; an error
	// stops the commit there, as a crash would.
	failpoint func(step string) error
}

// Open opens the database in o.Dir, making it if it is not there, and mends what a
// crash left of an unsealed epoch.
func Open(o Options) (*DB, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MemTable == 0 {
		o.MemTable = memTableSize
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = defaultSpare
	}
	if !o.ReadOnly {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("open metadata: %w", err)
		}
	}
	inTree := min(int64(valueInLSM), o.MemTable/16)
	bo := badger.DefaultOptions(o.Dir).
		WithReadOnly(o.ReadOnly).
		WithLogger(badgerLog{o.Logger}).
		WithNumVersionsToKeep(1). // with SetDiscardTs: everything above the horizon, one version at it (T-1)
		WithDetectConflicts(false).
		WithSyncWrites(false).
		WithMemTableSize(o.MemTable).
		WithNumMemtables(3).
		WithNumCompactors(2).
		WithBlockCacheSize(blockCache).
		WithIndexCacheSize(indexCache).
		WithValueThreshold(inTree).
		WithValueLogFileSize(valueLogFile).
		WithCompression(options.Snappy).
		WithCompactL0OnClose(false).
		WithMetricsEnabled(false)
	b, err := badger.OpenManaged(bo)
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	d := &DB{b: b, o: o, pins: map[TS]int{}}
	if err := d.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open metadata: %w", err), b.Close())
	}
	return d, nil
}

// Close syncs and closes the database.
func (d *DB) Close() error {
	var err error
	if !d.o.ReadOnly {
		err = d.Sync(context.Background())
	}
	return errors.Join(err, d.b.Close())
}

// recover finds the last sealed epoch, and writes over what stands above it the
// values that were sealed, at a new timestamp (T-5). Reads never land in between,
// since they are clamped to seals.
func (d *DB) recover() error {
	newest := d.b.NewTransactionAt(^uint64(0), false)
	defer newest.Discard()
	var sealed uint64
	switch item, err := newest.Get(sealKey); {
	case err == nil:
		sealed = item.Version()
	case !errors.Is(err, badger.ErrKeyNotFound):
		return err
	}
	switch item, err := newest.Get(horizonKey); {
	case err == nil:
		if err := item.Value(func(v []byte) error { d.horizon.Store(binary.BigEndian.Uint64(v)); return nil }); err != nil {
			return err
		}
	case !errors.Is(err, badger.ErrKeyNotFound):
		return err
	}
	d.sealed.Store(sealed)
	d.b.SetDiscardTs(d.horizon.Load())
	if d.o.ReadOnly {
		return nil
	}
	if d.b.MaxVersion() <= sealed {
		return nil
	}
	it := newest.NewIterator(badger.IteratorOptions{SinceTs: sealed, AllVersions: true, PrefetchValues: false})
	torn := map[string]bool{}
	for it.Rewind(); it.Valid(); it.Next() {
		if item := it.Item(); item.Version() > sealed {
			torn[string(item.Key())] = true
		}
	}
	it.Close()
	if len(torn) == 0 {
		return nil
	}
	before := d.b.NewTransactionAt(sealed, false)
	defer before.Discard()
	undo := NewBatch()
	for k := range torn {
		item, err := before.Get([]byte(k))
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			undo.Delete([]byte(k))
		case err != nil:
			return err
		default:
			v, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			undo.Set([]byte(k), v)
		}
	}
	d.o.Logger.Warn("an epoch was torn by a crash; it never happened", "after", TS(sealed).Time(), "records", len(torn))
	_, err := d.CommitSync(context.Background(), undo)
	return err
}

// LastSealed is the newest epoch that readers see; 0 before the first.
func (d *DB) LastSealed() TS { return TS(d.sealed.Load()) }

// Horizon is the oldest time that can be read.
func (d *DB) Horizon() TS { return TS(d.horizon.Load()) }

// SetHorizon moves the horizon up to ts, or to the oldest pin; it never goes back.
func (d *DB) SetHorizon(ctx context.Context, ts TS) error {
	d.pinMu.Lock()
	for p := range d.pins {
		ts = min(ts, p)
	}
	d.pinMu.Unlock()
	if ts <= d.Horizon() {
		return nil
	}
	b := NewBatch()
	b.Set(horizonKey, binary.BigEndian.AppendUint64(nil, uint64(ts)))
	if _, err := d.CommitSync(ctx, b); err != nil {
		return err
	}
	d.horizon.Store(uint64(ts))
	d.b.SetDiscardTs(uint64(ts))
	return nil
}

// Pin keeps history from ts on until unpin is called. It holds for this process;
// whoever needs it longer pins again after Open.
func (d *DB) Pin(ts TS) (unpin func()) {
	d.pinMu.Lock()
	d.pins[ts]++
	d.pinMu.Unlock()
	var once sync.Once
	return func() {
		once.Do(func() {
			d.pinMu.Lock()
			if d.pins[ts]--; d.pins[ts] == 0 {
				delete(d.pins, ts)
			}
			d.pinMu.Unlock()
		})
	}
}

// DiskLow says whether the free space under the database is below its reserve.
func (d *DB) DiskLow() bool {
	var st unix.Statfs_t
	if err := unix.Statfs(d.o.Dir, &st); err != nil {
		return false
	}
	return int64(st.Bavail)*st.Bsize < d.o.ReserveBytes
}

// Size is what the database takes on disk, in bytes.
func (d *DB) Size() int64 {
	lsm, vlog := d.b.Size()
	return lsm + vlog
}

// memFiles are Badger's memtable logs, the rotated ones too.
func (d *DB) memFiles() ([]string, error) { return filepath.Glob(filepath.Join(d.o.Dir, "*.mem")) }

// badgerLog passes Badger's warnings and errors on and keeps its chatter for debugging.
type badgerLog struct{ l *slog.Logger }

func (b badgerLog) Errorf(f string, a ...any)   { b.l.Error("badger: " + fmt.Sprintf(f, a...)) }
func (b badgerLog) Warningf(f string, a ...any) { b.l.Warn("badger: " + fmt.Sprintf(f, a...)) }
func (b badgerLog) Infof(f string, a ...any)    { b.l.Debug("badger: " + fmt.Sprintf(f, a...)) }
func (b badgerLog) Debugf(f string, a ...any)   {}
