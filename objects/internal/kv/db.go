package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
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
	ErrBadKey   = errors.New("a key is empty, longer than 4096 bytes, or starts with NUL")
)

// Sizes of the Badger instance, as shares of Options.MemoryBytes. A memtable bounds a
// Badger transaction to 15 % of itself: 8 MiB lets an epoch of about 1.2 MiB go in one.
// At most four memtables exist (one active, three to be flushed); their arenas are
// touched as they fill, so an idle database costs its cache fill and little else.
const (
	defaultMemory = 64 << 20
	minMemTable   = 1 << 20
	numMemtables  = 3
	valueLogFile  = 64 << 20
	valueInLSM    = 512 << 10 // records up to this size stay in the tree; larger ones go to Badger's value log
	maxKey        = 4096
)

// tableSize is how large a table is, on every level. A compaction has up to 13 of them in
// the making, which take two to six times their size in memory, and there are two: at
// 2 MiB, 230 MiB while 300,000 small files were made. Badger would double the size with each
// level that a growing store gets.
const tableSize = 1 << 20

// Options of a database. Dir is required.
type Options struct {
	Dir      string
	ReadOnly bool // no writes and no mending; the database must have been closed cleanly
	// MemoryBytes is the budget of caches and memtables together; 0 means 64 MiB.
	MemoryBytes int64
	// MemTable overrides the memtable size, in bytes; tests make it small so that
	// epochs split and tables rotate.
	MemTable int64
	// ReserveBytes is the free space below which commits are refused; 0 takes the
	// default, 24 memtables and 32 MiB (224 MiB with the default memory): four memtable
	// logs of twice a memtable each, and a compaction of a full level zero.
	ReserveBytes int64
	Logger       *slog.Logger
	Now          func() time.Time
}

// DB is an open database. One epoch at a time is committed; any number of goroutines read.
type DB struct {
	b      *badger.DB
	o      Options
	inTree int64
	commit sync.Mutex // one epoch at a time; guards last, broken
	last   TS         // highest timestamp ever written, sealed or not
	broken error      // a failed commit could not be undone: nothing is written any more
	sealed atomic.Uint64

	collecting sync.Mutex // value logs are looked through, and may go

	pinMu   sync.Mutex // guards horizon moves, pins, torn, discard
	horizon atomic.Uint64
	pins    map[TS]int
	discard TS
	torn    []interval

	syncMu  sync.Mutex
	pending *syncRound
	active  bool
	synced  atomic.Uint64
	logs    logFiles

	space space

	journal    *journal
	unlogged   TS // the newest epoch that is not in the journal; under commit
	groupMu    sync.Mutex
	gathering  *group // that others may join; under groupMu
	background sync.WaitGroup

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
	if o.MemoryBytes == 0 {
		o.MemoryBytes = defaultMemory
	}
	if o.MemTable == 0 {
		o.MemTable = max(minMemTable, o.MemoryBytes/8)
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 24*o.MemTable + 32<<20
	}
	d := &DB{o: o, pins: map[TS]int{}, inTree: min(int64(valueInLSM), o.MemTable/16)}
	if !o.ReadOnly {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("open metadata: %w", err)
		}
		if err := dropEmptyLogs(o.Dir); err != nil {
			return nil, fmt.Errorf("open metadata: %w", err)
		}
	}
	bo := badger.DefaultOptions(o.Dir).
		WithReadOnly(o.ReadOnly).
		WithLogger(badgerLog{o.Logger}).
		WithNumVersionsToKeep(1). // with SetDiscardTs: everything above the horizon, one version at it (T-1)
		WithDetectConflicts(false).
		WithSyncWrites(false).
		WithMemTableSize(o.MemTable).
		WithNumMemtables(numMemtables).
		WithNumCompactors(2).
		WithBaseTableSize(tableSize).
		WithBlockCacheSize(max(1<<20, o.MemoryBytes/4)).
		WithIndexCacheSize(max(1<<20, o.MemoryBytes/8)).
		WithValueThreshold(d.inTree).
		WithValueLogFileSize(valueLogFile).
		WithCompression(options.Snappy).
		WithCompactL0OnClose(false).
		WithMetricsEnabled(false)
	bo.TableSizeMultiplier = 1 // see tableSize
	if err := d.space.open(o, 2*o.MemTable); err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	b, err := badger.OpenManaged(bo)
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	d.b = b
	if !o.ReadOnly {
		if d.journal, err = openJournal(o.Dir); err != nil {
			return nil, errors.Join(fmt.Errorf("open metadata: %w", err), b.Close())
		}
	}
	d.last = TS(b.MaxVersion())
	if err := d.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open metadata: %w", err), b.Close(), d.journal.close())
	}
	return d, nil
}

// dropEmptyLogs removes memtable and value logs of length zero. Badger truncates a
// flushed log before it removes it, and makes a new one before it gives it its length;
// stopped in between, 4.9.6 refuses to open again.
func dropEmptyLogs(dir string) error {
	var names []string
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	lock, err := lockedElsewhere(dir)
	if err != nil || lock {
		return err // Badger's own open tells the user
	}
	for _, name := range names {
		if st, err := os.Stat(name); err == nil && st.Size() == 0 {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close syncs and closes the database. Views must be closed before.
func (d *DB) Close() error {
	var err error
	if !d.o.ReadOnly {
		err = d.Sync(context.Background())
	}
	d.background.Wait()
	d.commit.Lock()
	defer d.commit.Unlock()
	err = errors.Join(err, d.b.Close(), d.journal.close())
	d.logs.close()
	d.space.close()
	return err
}

// LastSealed is the newest epoch that readers see; 0 before the first.
func (d *DB) LastSealed() TS { return TS(d.sealed.Load()) }

// LastSynced is the newest epoch known to be on disk.
func (d *DB) LastSynced() TS { return TS(d.synced.Load()) }

// Size is what the database takes on disk, in bytes.
func (d *DB) Size() int64 {
	lsm, vlog := d.b.Size()
	return lsm + vlog
}

// Stats describes the database for status pages.
type Stats struct {
	Bytes                           int64 // tables and value log on disk
	Tables, Logs                    int   // tables, and memtable logs that a start would replay
	LastSealed, LastSynced, Horizon TS
	Pins                            int
	DiskFree                        int64 // bytes
}

// Stats gives the figures of now.
func (d *DB) Stats() Stats {
	names, _ := d.memFiles()
	free, _ := d.space.free()
	d.pinMu.Lock()
	pins := len(d.pins)
	d.pinMu.Unlock()
	return Stats{d.Size(), len(d.b.Tables()), len(names), d.LastSealed(), d.LastSynced(), d.Horizon(), pins, free}
}

// memFiles are Badger's memtable logs, the rotated ones too.
func (d *DB) memFiles() ([]string, error) { return filepath.Glob(filepath.Join(d.o.Dir, "*.mem")) }

// badgerLog passes Badger's warnings and errors on and keeps its chatter for debugging.
type badgerLog struct{ l *slog.Logger }

// cacheAdvice is what Badger says each minute of a cache, with a histogram: that it is as
// small as it was asked to be is nothing to warn a user of.
var cacheAdvice = []string{"might be too small", "Cache life expectancy"}

func (b badgerLog) Errorf(f string, a ...any) { b.l.Error("badger: " + fmt.Sprintf(f, a...)) }
func (b badgerLog) Infof(f string, a ...any)  { b.l.Debug("badger: " + fmt.Sprintf(f, a...)) }
func (b badgerLog) Debugf(f string, a ...any) {}
func (b badgerLog) Warningf(f string, a ...any) {
	if slices.ContainsFunc(cacheAdvice, func(s string) bool { return strings.Contains(f, s) }) {
		b.Infof(f, a...)
		return
	}
	b.l.Warn("badger: " + fmt.Sprintf(f, a...))
}
