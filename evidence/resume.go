package evidence

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// cut removes everything behind the last good record and its payload.
func (s *segment) cut() error {
	if s.count == 0 {
		if err := os.RemoveAll(s.dir); err != nil {
			return err
		}
		return syncDir(filepath.Dir(s.dir))
	}
	for name, size := range map[string]int64{recordsName: s.records, payloadsName: s.payloads} {
		f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Truncate(size)
		if err == nil {
			err = f.Sync()
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("cut torn tail: %w", err)
		}
	}
	return nil
}

// reopen opens the files of a segment that a crash left active, to seal it.
func (s *segment) reopen() error {
	for i, name := range []string{recordsName, payloadsName} {
		f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		s.files[i] = f
	}
	// The tail may be in the page cache only; it is about to be vouched for.
	return syncBoth(s.files)
}

// resume continues a log after recovery: an active segment is sealed
// (restart), a cut tail is recorded.
func (l *Log) resume(ctx context.Context, rec recovery) error {
	if rec.adopted > 0 {
		l.o.Logger.Info("adopted records beyond the last checkpoint", "records", rec.adopted)
	}
	if rec.unsealed {
		if err := l.do(ctx, func() error { return l.sealActive(sealRestart) }); err != nil {
			return err
		}
	} else if rec.adopted > 0 {
		if err := l.publish(true); err != nil {
			return err
		}
	}
	for _, c := range rec.cut {
		l.o.Logger.Warn("cut a torn tail", "where", c)
		if _, err := l.appendSelf(ctx, record.RecoveryEvent, map[string]any{
			"event_kind": "TORN_TAIL_CUT", "operator_subject": selfSubject, "detail": c,
		}); err != nil {
			return err
		}
	}
	if rec.clockBack {
		l.mu.Lock()
		l.clockBack = true
		l.mu.Unlock()
	}
	return nil
}

// AcknowledgeClock records, in a RECOVERY_EVENT by the given operator, that
// the clock went backwards, and lets appends go on with the clock as it is.
// It does nothing if the clock is not behind.
func (l *Log) AcknowledgeClock(ctx context.Context, operator string) error {
	p, err := selfDraft(record.RecoveryEvent, map[string]any{
		"event_kind": "CLOCK_BACKWARDS_ACKNOWLEDGED", "operator_subject": operator,
		"detail": "the clock was behind the newest record at open",
	})
	if err != nil {
		return err
	}
	r := &request{drafts: []*prepared{p}, self: true, done: make(chan struct{})}
	return l.do(ctx, func() error {
		if l.Health() != ErrClockBackwards {
			return nil
		}
		// Times rise within a segment: the earlier clock starts a new one.
		if err := l.sealActive(sealRestart); err != nil {
			return err
		}
		last := l.lastTime
		l.mu.Lock()
		l.lastTime = 0
		l.mu.Unlock()
		l.commit([]*request{r})
		l.mu.Lock()
		defer l.mu.Unlock()
		if r.err != nil {
			l.lastTime = last
			return r.err
		}
		l.clockBack = false
		l.drift.start(l.o.Now().UTC())
		return nil
	})
}

// Seal ends the active segment at the operator's word. It does nothing if
// there is none.
func (l *Log) Seal(ctx context.Context) error {
	if l.o.ReadOnly {
		return fmt.Errorf("seal segment: %w", ErrReadOnly)
	}
	return l.do(ctx, func() error {
		if err := l.Health(); err != nil {
			return fmt.Errorf("seal segment: %w", err)
		}
		return l.sealActive(sealOperator)
	})
}
