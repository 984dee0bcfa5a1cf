package objects

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// EvidenceSink takes the evidence of what was committed; *evidence.Log is one.
type EvidenceSink interface {
	Append(ctx context.Context, d ...evidence.Draft) ([]evidence.Receipt, error)
	// Check gives the error with which Append would refuse a draft.
	Check(ctx context.Context, d *evidence.Draft) error
	// Reserve gives the id of a record that will be appended.
	Reserve(at time.Time) string
}

// Options of a store. Dir is required; without Log, commits make no evidence.
type Options struct {
	Dir string // the state directory: meta/, blobs/ and staging/ lie in it
	Log EvidenceSink
	// EpochInterval is the longest time that a change is not durable; default 1 s.
	EpochInterval time.Duration
	// VersionInterval is how often an fsync may make a version; default 30 s.
	VersionInterval time.Duration
	// Retention is how far back history reaches; default 90 days (OM §4).
	Retention time.Duration
	Now       func() time.Time
	ReadOnly  bool
	// CacheNodes bounds the clean inodes that are kept in memory; default 100,000.
	CacheNodes int
	Logger     *slog.Logger
	// step, if a test sets it, is called at the named steps of commit and seal.
	step func(name string)
}

func (s *Store) at(step string) {
	if s.o.step != nil {
		s.o.step(step)
	}
}

// node is an inode in memory. The embedded record is guarded by Store.mu; draft and
// content are changed only with both io and Store.mu held, and read with either.
type node struct {
	inode
	refs    int // open handles and other holders within the daemon
	writers int
	closing int           // writers whose close is under way
	element *list.Element // in the list of nodes that may be evicted
	dirty   *overlay      // the epoch that has the last change of this inode and has not encoded it yet
	kept    bool          // an epoch that was closed may hold its record
	lazy    bool          // its time of reading is newer than its record, and not durable
	orphan  bool          // an epoch may hold that it lives without a name
	noted   bool          // the last epoch that has its record notes that it has a draft
	// orphanOld says that one before the open one may, although that has a note, too.
	orphanOld bool
	path      string // of a directory, good while moves is Store.moves
	moves     uint64

	io         sync.RWMutex
	draft      *blob.Draft
	draftBase  ID     // the version that the draft started from
	draftSaved uint64 // how much of the draft the last epoch holds
	writes     uint64 // counts writes to the draft
	buried     uint64 // what writes was when the last name went
	buriedAt   int64  // nanoseconds since 1970
	counted    counted
	content    content
	contentOf  ID
	sound      ID     // the version that was opened last: it is not in quarantine
	versioned  int64  // when the last version was made, as buriedAt
	lastCred   *Cred  // of the last write, for the version's author; see credOf
	pin        *pin   // the host file that the kernel has
	fenced     uint32 // counts the times that its version was put in quarantine
}

// Store is an open store. Its methods may be used concurrently.
type Store struct {
	o     Options
	db    *kv.DB
	blobs *blob.Store

	mu         sync.Mutex
	nodes      map[Ino]*node
	idle       *list.List // evictable nodes, most recently used first
	lookups    lookups    // what the kernel holds
	names      nameCache
	moves      uint64    // counts what may change paths of directories, from 1
	missed     recentKey // the name that was looked for last and is not there, until anything is bound
	objs       map[ID]*object
	creds      map[Cred]*Cred // those that inodes name
	open       *overlay
	isolating  sync.Mutex    // one damaged chunk at a time
	fences     atomic.Uint64 // how many times versions were put in quarantine
	committing *overlay
	records    recordCache
	view       *kv.View
	nextIno    Ino
	openSeq    uint64 // number of the open epoch
	asking     asking
	recent     map[recentKey]recentUnlink
	recentMost int // how many of these are too many
	trashSeq   uint64
	quota      quotas
	pinned     pins
	purging    sync.Mutex // one retention pass at a time
	replaced   int        // versions that were superseded since one was called for
	pendings   pendings
	retainNow  chan struct{}
	drafts     map[*node]bool // nodes with a draft

	quiet  *sync.Cond // a close of a writer is over; on mu
	closes closes

	commitMu   sync.Mutex // one commit at a time
	durableSeq uint64     // epochs below this number are durable; guarded by commitMu
	delayed    *delayed   // the closed epoch that waits for room on the disk; set with mu held
	broken     error      // why the store is read-only; guarded by mu

	outbox outbox
	subs   subscribers
	seal   sealer
	lends  lends
	reads  readTable // guarded by mu
	chunks chunkCache

	stop   chan struct{}
	workMu sync.Mutex
	wg     sync.WaitGroup
	closed bool
}

type recentKey struct {
	dir  Ino
	name string
}

// recentUnlink remembers a removed name for as long as its re-creation continues its
// object (contract §3).
type recentUnlink struct {
	object  ID
	subject string
	at      time.Time
}

// recreateWithin is how long a re-created name continues the object that it had:
// KDE overwrites by unlinking and renaming (kde.md §4).
const recreateWithin = 10 * time.Second

// Open opens the store in o.Dir, makes it if it is not there, and finishes what a
// crash interrupted.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.EpochInterval == 0 {
		o.EpochInterval = time.Second
	}
	if o.VersionInterval == 0 {
		o.VersionInterval = 30 * time.Second
	}
	if o.Retention == 0 {
		o.Retention = 90 * 24 * time.Hour
	}
	if o.CacheNodes == 0 {
		o.CacheNodes = 100_000
	}
	db, err := kv.Open(kv.Options{Dir: filepath.Join(o.Dir, "meta"), ReadOnly: o.ReadOnly, Logger: o.Logger, Now: o.Now})
	if err != nil {
		return nil, err
	}
	blobs, err := blob.Open(blob.Options{Dir: filepath.Join(o.Dir, "blobs"), Staging: filepath.Join(o.Dir, "staging"), ReadOnly: o.ReadOnly})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{o: o, db: db, blobs: blobs, nodes: map[Ino]*node{}, idle: list.New(), lookups: newLookups(), names: newNameCache(), moves: 1, objs: map[ID]*object{}, creds: map[Cred]*Cred{},
		open: newOverlay(), openSeq: 1, durableSeq: 1, recent: map[recentKey]recentUnlink{}, recentMost: recentLeast, drafts: map[*node]bool{}, stop: make(chan struct{})}
	s.quiet = sync.NewCond(&s.mu)
	s.closes.open = map[*Handle]uint64{}
	s.view = db.View()
	s.retainNow = make(chan struct{}, 1)
	s.outbox.init()
	s.seal.init()
	s.lends.init()
	s.reads.init(o.Dir, o.ReadOnly, o.Logger)
	s.chunks.init(s.chunk)
	if err := s.start(ctx); err != nil {
		s.dropPins()
		s.view.Close()
		return nil, errors.Join(err, blobs.Close(), db.Close())
	}
	return s, nil
}

// start makes the root at the first start, and otherwise takes up what was left.
func (s *Store) start(ctx context.Context) error {
	if err := s.loadNextIno(); err != nil {
		return fmt.Errorf("find a free inode number: %w", err)
	}
	if err := s.loadPins(); err != nil {
		return fmt.Errorf("read the named snapshots: %w", err)
	}
	if err := s.loadQuotas(ctx); err != nil {
		return fmt.Errorf("read the quotas: %w", err)
	}
	if s.o.ReadOnly {
		return nil
	}
	// Before anything is committed: a new entry must not take the key of one that waits.
	if err := s.outbox.load(s); err != nil {
		return fmt.Errorf("recover the outbox: %w", err)
	}
	if _, err := s.view.Get(inoKey(RootIno)); errors.Is(err, kv.ErrNotFound) {
		now := s.o.Now()
		root := &node{inode: inode{ino: RootIno, gen: 1, mode: unix.S_IFDIR | 0o755, nlink: 2, atime: now, mtime: now, ctime: now, btime: now, parent: RootIno}}
		s.mu.Lock()
		s.nodes[RootIno] = root
		root.refs++
		s.touch(root)
		s.mu.Unlock()
		if err := s.commit(ctx); err != nil {
			return fmt.Errorf("make the root: %w", err)
		}
	} else if err != nil {
		return err
	}
	if err := s.recoverDrafts(ctx); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	s.goWork(s.epochLoop)
	s.goWork(s.outboxLoop)
	s.goWork(s.sealLoop)
	s.goWork(s.notifyLoop)
	s.goWork(s.retain)
	return nil
}

// loadNextIno finds the first inode number that was never used: each epoch notes it. The
// records tell of a store from before that; of inodes that were removed, only their past
// is left, which takes seconds to look through when there were a million.
func (s *Store) loadNextIno() error {
	b, err := s.view.Get([]byte("m-ino"))
	if err == nil && len(b) == 8 {
		s.nextIno = Ino(binary.BigEndian.Uint64(b))
		return nil
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	s.nextIno = RootIno + 1
	for k := range s.view.ScanKeys([]byte{'i'}, nil) {
		s.nextIno = Ino(binary.BigEndian.Uint64(k[1:])) + 1
	}
	return s.view.Err()
}

func (s *Store) goWork(fn func()) {
	s.wg.Add(1)
	go func() { defer s.wg.Done(); fn() }()
}

// epochLoop commits what is open, at the epoch interval.
func (s *Store) epochLoop() {
	tick := time.NewTicker(s.o.EpochInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			if err := s.commit(context.Background()); err != nil {
				s.o.Logger.Error("an epoch could not be committed", "error", err)
			}
			s.mu.Lock()
			s.reads.flush()
			s.mu.Unlock()
			s.advanceHorizon()
		}
	}
}

// advanceHorizon lets go of history that is older than the retention, at most once
// an hour: it is a commit of its own.
func (s *Store) advanceHorizon() {
	to := kv.At(s.o.Now().Add(-s.o.Retention))
	if to > s.db.Horizon()+kv.TS(time.Hour/time.Microsecond) && s.db.LastSealed() > to {
		if _, ok := s.db.EpochAt(to); !ok {
			return
		}
		if err := s.db.SetHorizon(context.Background(), to); err != nil {
			s.o.Logger.Error("the history horizon could not be moved", "error", err)
		}
	}
}

// Close commits and syncs everything, hands out what evidence is left, and closes.
func (s *Store) Close() error {
	s.workMu.Lock()
	if s.closed {
		s.workMu.Unlock()
		return nil
	}
	s.closed = true
	s.workMu.Unlock()
	s.chunks.close()
	var err error
	if !s.o.ReadOnly {
		close(s.stop)
		s.wg.Wait()
		err = s.closeDrafts()
		sealing, done := context.WithTimeout(context.Background(), sealAtClose)
		err = errors.Join(err, s.commit(context.Background()), s.sealAll(sealing), s.commit(context.Background()))
		done()
		s.outbox.drain(context.Background(), s)
		s.mu.Lock()
		s.reapAll()
		s.open.puts["m-open"] = []byte{closedWhole}
		s.mu.Unlock()
		err = errors.Join(err, s.commit(context.Background()), s.syncAccesses())
	}
	s.mu.Lock()
	err = errors.Join(err, s.reads.close())
	for _, n := range s.nodes {
		if n.content != nil {
			err = errors.Join(err, n.content.Close())
			n.content = nil
		}
	}
	s.dropPins()
	s.view.Close()
	s.mu.Unlock()
	return errors.Join(err, s.blobs.Close(), s.db.Close())
}

// Health says why the store refuses changes; nil while all is well.
func (s *Store) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}
