package evidence

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// Sentinel errors.
var (
	// ErrNotFound: no record or payload by that id or number.
	ErrNotFound = errors.New("no such record")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrLocked: another process has the log open for writing.
	ErrLocked = errors.New("log is in use by another process")
	// ErrReadOnly: opened with ReadOnly.
	ErrReadOnly = errors.New("log is open read-only")
	// ErrDegraded: damage was found or the disk failed; reads work, appends
	// are refused.
	ErrDegraded = errors.New("log is degraded")
	// ErrClockBackwards: the clock is behind the newest record; appends are
	// refused until AcknowledgeClock (S3.1 §11.2).
	ErrClockBackwards = errors.New("clock is behind the log")
	// ErrInvalidDraft: a field is malformed or missing.
	ErrInvalidDraft = errors.New("invalid draft")
	// ErrAuthority: the emitter may not emit this type.
	ErrAuthority = errors.New("emitter has no authority over this record type")
	// ErrOrphanedParent: the parent receipt does not exist.
	ErrOrphanedParent = errors.New("parent receipt does not exist")
	// ErrQuarantinedParent: the parent lies in a segment with a finding.
	ErrQuarantinedParent = errors.New("parent receipt is quarantined")
	// ErrRedaction: the redactor could not finish; nothing was stored.
	ErrRedaction = errors.New("payload could not be redacted")
	// ErrTooLarge: a record over 65,535 bytes or a payload over 16 MiB.
	ErrTooLarge = errors.New("record or payload too large")
	// ErrIntegrity: stored bytes fail their own digest.
	ErrIntegrity = errors.New("stored bytes fail their digest")
	// ErrPurged: the payload was purged; the record remains.
	ErrPurged = errors.New("payload was purged")
)

// Log is an open evidence log. Its methods may be called concurrently.
type Log struct {
	o        Options
	verifier note.Verifier
	signer   note.Signer
	keyID    string
	public   ed25519.PublicKey
	lock     *os.File

	mu        sync.RWMutex
	segs      []*segment // in chain order; the last may be active
	size      uint64
	lastID    string
	lastLink  string
	lastTime  int64
	tree      *tile.Tree
	pending   map[tile.ID][]tile.Hash // full tiles not yet published
	prevSeal  string
	cp        []byte
	cpSize    uint64
	broken    error // damage or a failed disk; for good
	pubErr    error // the last publication failed; retried
	clockBack bool
	changed   chan struct{} // closed and replaced at every commit
	closed    bool

	held heldTypes

	requests chan *request
	ops      chan *operation
	stop     chan struct{}
	done     sync.WaitGroup

	pubMu    sync.Mutex // one publication at a time
	dirty    chan struct{}
	partials [][]tile.ID // by publication, newest last
	anchor   anchorState

	secrets  secrets
	reserved reservations
	subjects Subjects // guarded by mu
	actions  actions  // the writer's
	drift    drift
	subs     subscribers
	refusals refusals
	findings findings
}

// Health returns nil, or why appends are refused.
func (l *Log) Health() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.healthLocked()
}

func (l *Log) healthLocked() error {
	switch {
	case l.closed:
		return ErrClosed
	case l.broken != nil:
		return l.broken
	case l.pubErr != nil:
		return l.pubErr
	case l.clockBack:
		return ErrClockBackwards
	}
	return nil
}

// Head is the present end of the log.
type Head struct {
	Size       uint64 // records; also the highest sequence number
	LastID     string
	LinkHash   string // hex32 of the last record; 32 zeros for an empty log
	Segment    string // id of the active segment; empty between segments
	Checkpoint []byte // newest signed checkpoint; may cover fewer records
}

// Head returns the present end of the log.
func (l *Log) Head() Head {
	l.mu.RLock()
	defer l.mu.RUnlock()
	h := Head{Size: l.size, LastID: l.lastID, LinkHash: l.lastLink, Checkpoint: l.cp}
	if s := l.active(); s != nil {
		h.Segment = s.id
	}
	return h
}

// active returns the segment being written, or nil. Callers hold mu or are
// the writer.
func (l *Log) active() *segment {
	if n := len(l.segs); n > 0 && !l.segs[n-1].sealed.Load() {
		return l.segs[n-1]
	}
	return nil
}

// wake tells watchers that the log has grown. Callers hold mu.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close seals the active segment, signs the last checkpoint and releases the
// directory. Later calls return ErrClosed.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	degraded := l.broken
	l.mu.Unlock()
	var err error
	if !l.o.ReadOnly && degraded == nil {
		err = l.do(context.Background(), func() error { return l.sealActive(sealRestart) })
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closed = true
	l.wake()
	l.mu.Unlock()
	close(l.stop)
	l.done.Wait()
	if !l.o.ReadOnly && degraded == nil && err == nil {
		err = l.publish(true)
	}
	l.endSubscriptions()
	l.release()
	return err
}

func (l *Log) release() {
	for _, s := range l.segs {
		s.closeFiles()
	}
	l.anchor.close()
	if l.lock != nil {
		l.lock.Close()
	}
}

// now is the clock, never behind the newest record.
func (l *Log) now() time.Time {
	t := l.o.Now().UTC()
	if t.UnixNano() < l.lastTime {
		t = time.Unix(0, l.lastTime).UTC()
	}
	return t
}
