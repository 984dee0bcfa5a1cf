package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
)

// How often a daemon verifies its own log: once a day, and every ten minutes in recovery
// (S3.1 §11); the first time when a start has long been over.
const (
	auditAfter    = 10 * time.Minute
	auditEvery    = 24 * time.Hour
	auditRecovery = 10 * time.Minute
)

// audit verifies the log now and then until the daemon closes. What it finds, the log
// itself answers: damage ends every change, a circle in the lineage fences its segments.
func (d *daemon) audit(ctx context.Context, first, every time.Duration) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	d.onClose(func() error { stop(); <-done; return nil })
	go func() {
		defer close(done)
		next := time.NewTimer(first)
		defer next.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			rep, err := d.log.Audit(ctx, evidence.VerifyOptions{Workers: 1})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				d.logger.Error("the evidence log could not be verified", "error", err)
			case !rep.Consistent:
				d.logger.Error("the evidence log does not verify", "problem", rep.Problem, "file", rep.File, "record", rep.FirstAnomalousSeq)
			}
			next.Reset(every)
		}
	}()
}

// checkClock lets the log go on with a clock that is behind its newest record, when an
// operator in recovery has said so; otherwise the daemon does not start (S3.1 §11.2).
func (d *daemon) checkClock(ctx context.Context, accepted bool) error {
	if !errors.Is(d.log.Health(), evidence.ErrClockBackwards) {
		return nil
	}
	if !accepted {
		newest := ""
		if r, err := d.log.At(d.log.Head().Size); err == nil {
			newest = r.RecordedAt.Format(time.RFC3339)
		}
		return fmt.Errorf("%w: the newest record is of %s, and it is %s now; set the clock, or, if it is right, start once with `aios mount --recovery --accept-clock`",
			evidence.ErrClockBackwards, newest, time.Now().UTC().Format(time.RFC3339))
	}
	if err := d.log.AcknowledgeClock(ctx, operatorName()); err != nil {
		return fmt.Errorf("accept the clock: %w", err)
	}
	return nil
}

// operatorName is the subject of who started the daemon, before any catalogue is open.
func operatorName() string {
	uid := os.Geteuid()
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return fmt.Sprintf("local:uid-%d", uid)
	}
	return "local:" + u.Username
}
