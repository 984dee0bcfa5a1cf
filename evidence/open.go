package evidence

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// Defaults of Options; sizes and ages are S3.1 §7.1's.
const (
	DefaultOrigin          = "aios/evidence"
	DefaultSealBytes       = 64 << 20
	DefaultSealAge         = time.Hour
	DefaultCheckpointEvery = 100 * time.Millisecond
)

// clockTolerance is how far the clock may be behind the newest record at open
// without being acknowledged: time daemons step by less. Within it, times
// stand still until the clock has caught up.
const clockTolerance = time.Second

// ErrKey is returned by Open for a log that was signed with another key.
var ErrKey = errors.New("log belongs to another key")

// Open opens or creates the log in o.Dir. It looks at the newest checkpoint
// and at every record the checkpoint does not cover in a sealed segment:
// records beyond it whose links hold are adopted, a torn tail beyond it is
// cut and a RECOVERY_EVENT written. Damage below it opens the log degraded:
// Health says what was found, reads work, appends are refused, and the
// finding is recorded in a findings segment (spec/evidence.md §9). The error
// is for a directory that cannot be opened at all.
func Open(ctx context.Context, o Options) (*Log, error) {
	for try := 1; ; try++ {
		l, err := newLog(o)
		if err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
		before, _ := os.ReadFile(filepath.Join(o.Dir, logDir, "checkpoint")) // open tells what is wrong with it
		if err := l.open(ctx); err != nil {
			l.release()
			return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
		}
		if !o.ReadOnly || l.broken == nil || try == openTries {
			return l, nil
		}
		// A running writer removes what an earlier checkpoint names after a while: a slow
		// reader may miss it. What is wrong with a log that stands still is wrong.
		after, err := os.ReadFile(filepath.Join(o.Dir, logDir, "checkpoint"))
		if err != nil || bytes.Equal(before, after) {
			return l, nil
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
		}
	}
}

// openTries is how often a log that a writer goes on with is opened to be read.
const openTries = 5

func newLog(o Options) (*Log, error) {
	if o.Dir == "" {
		return nil, errors.New("no directory")
	}
	if o.Origin == "" {
		o.Origin = DefaultOrigin
	}
	if o.SealBytes <= 0 {
		o.SealBytes = DefaultSealBytes
	}
	if o.SealAge <= 0 {
		o.SealAge = DefaultSealAge
	}
	if o.CheckpointEvery <= 0 {
		o.CheckpointEvery = DefaultCheckpointEvery
	}
	if o.Now == nil {
		o.Now = time.Now
		if o.Steady == nil {
			o.Steady = boottime
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	l := &Log{
		o: o, tree: &tile.Tree{}, pending: map[tile.ID][]tile.Hash{}, lastLink: zeroLink, prevSeal: zeroLink,
		changed: make(chan struct{}), requests: make(chan *request, maxBatch), ops: make(chan *operation),
		stop: make(chan struct{}), dirty: make(chan struct{}, 1),
	}
	if o.ReadOnly && o.Key == nil {
		return l, nil
	}
	if len(o.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("no signing key")
	}
	l.secrets = deriveSecrets(o.Key)
	var err error
	if l.signer, err = tile.Signer(o.Origin, o.Key); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	fresh, err := l.prepareDir()
	if err != nil {
		return err
	}
	if err := l.loadKey(); err != nil {
		return err
	}
	if err := l.findings.load(l.o.Dir); err != nil {
		return err
	}
	if fresh {
		if err := l.publish(true); err != nil {
			return err
		}
	}
	rec, err := l.recover(ctx)
	var found *damage
	if errors.As(err, &found) {
		l.loadAnyway()
		l.broken = fmt.Errorf("%w: %w", ErrDegraded, found)
	} else if err != nil {
		return err
	}
	if found == nil {
		if f := l.findings.open(); f != "" {
			l.broken = fmt.Errorf("%w: unresolved finding: %s", ErrDegraded, f)
		}
	}
	if found == nil {
		if err := l.loadFences(); err != nil {
			return fmt.Errorf("read what was fenced: %w", err)
		}
	}
	if l.o.ReadOnly {
		return nil
	}
	if found != nil {
		l.quarantine(found)
		if err := l.record(found, "RECOVERY_ON_OPEN"); err != nil {
			l.o.Logger.Error("finding could not be recorded", "finding", found.Error(), "err", err)
		}
	}
	l.drift.steady = l.o.Steady
	l.drift.start(l.o.Now().UTC())
	l.done.Add(2)
	go l.write()
	go l.publisher()
	if l.broken == nil {
		if err := l.resume(ctx, rec); err != nil {
			close(l.stop)
			l.done.Wait()
			return err
		}
	}
	return nil
}

// prepareDir makes and locks the directory. It reports a directory without a
// log in it.
func (l *Log) prepareDir() (fresh bool, err error) {
	if l.o.ReadOnly {
		_, err := os.Stat(l.o.Dir)
		return false, err
	}
	if err := os.MkdirAll(l.o.Dir, 0o755); err != nil {
		return false, err
	}
	l.lock, err = os.OpenFile(filepath.Join(l.o.Dir, LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	if err := unix.Flock(int(l.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, ErrLocked
	}
	_, cpErr := os.Stat(filepath.Join(l.o.Dir, logDir, "checkpoint"))
	_, segErr := os.Stat(segmentPath(l.o.Dir, 1))
	fresh = errors.Is(cpErr, os.ErrNotExist) && errors.Is(segErr, os.ErrNotExist)
	for _, d := range []string{logDir, segmentsDir} {
		if err := os.MkdirAll(filepath.Join(l.o.Dir, d), 0o755); err != nil {
			return false, err
		}
	}
	return fresh, syncDir(l.o.Dir)
}

// loadKey compares the stored verifier key with ours, or stores ours.
func (l *Log) loadKey() error {
	path := filepath.Join(l.o.Dir, keyFile)
	stored, err := os.ReadFile(path)
	text := strings.TrimSpace(string(stored))
	if l.o.Key != nil {
		ours, err2 := tile.VerifierKey(l.o.Origin, l.o.Key.Public().(ed25519.PublicKey))
		if err2 != nil {
			return err2
		}
		if errors.Is(err, os.ErrNotExist) && !l.o.ReadOnly {
			if err := writeDurable(path, []byte(ours+"\n"), 0o644); err != nil {
				return err
			}
			text, err = ours, syncDir(l.o.Dir)
		}
		if err == nil && text != ours {
			return fmt.Errorf("%w: %s", ErrKey, path)
		}
	}
	if err != nil {
		return err
	}
	if l.verifier, err = note.NewVerifier(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	l.o.Origin = l.verifier.Name()
	l.keyID = fmt.Sprintf("%s+%08x", l.verifier.Name(), l.verifier.KeyHash())
	l.public, err = publicKey(text)
	return err
}
