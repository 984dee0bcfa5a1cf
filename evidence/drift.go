package evidence

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// maxDrift is how far the wall clock and the one that nobody sets may run
// apart before it is on record (S6.3 §3).
const maxDrift = 5 * time.Second

// drift holds the wall clock against one that only time moves. A receipt's
// times are the wall clock's; where that jumps, a TIME_DRIFT_DETECTED has the
// jump, and its tai64n is what the time would have been without it. The new
// time is then the one to measure by. Only the writer uses it.
type drift struct {
	steady func() time.Duration
	wall   time.Time     // when they were last compared by
	at     time.Duration // steady, at the same moment
}

// boottime is CLOCK_BOOTTIME: it goes on in suspend, and cannot be set.
func boottime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// start takes the present moment as the one to measure by.
func (d *drift) start(wall time.Time) {
	if d.steady != nil {
		d.wall, d.at = wall, d.steady()
	}
}

// expected is what the wall clock would show had nobody touched it.
func (d *drift) expected() time.Time { return d.wall.Add(d.steady() - d.at) }

// observe notes a jump of the wall clock in the batch, ahead of all else.
func (b *batch) observe() error {
	d := &b.l.drift
	if d.steady == nil {
		return nil
	}
	wall, expected := b.l.o.Now().UTC(), d.expected()
	off := wall.Sub(expected)
	if off.Abs() <= maxDrift {
		return nil
	}
	p, err := prepare(Draft{Type: record.TimeDriftDetected, Subject: selfSubject, Emitter: string(record.EmitterSupervisor), Scope: "_system",
		Payload: map[string]any{"emitted_at": wall.Format(timeForm), "tai64n": tai64n(expected), "drift_ms": off.Milliseconds(), "tolerance_ms": maxDrift.Milliseconds()}})
	if err != nil {
		return fmt.Errorf("note a jump of the clock: %w", err)
	}
	p.tai = tai64n(expected)
	if _, err := b.add(p); err != nil {
		return fmt.Errorf("note a jump of the clock: %w", err)
	}
	b.measured = wall
	b.l.o.Logger.Warn("the clock was set", "by", off)
	return nil
}
