package fs

import (
	"sync"
	"time"
)

// denialWindow is how long repetitions of one refusal are gathered before
// they are recorded again, with their number (evidence.md §15: a loop of
// unlink calls must not fill the disk).
const denialWindow = time.Minute

// denialQueue bounds what waits for the recorder; beyond it refusals are
// only counted.
const denialQueue = 1024

// denialLog coalesces refusals by subject, path and operation and hands them
// to Denials from a goroutine of its own, so that no request waits for the
// log.
type denialLog struct {
	to   Denials
	now  func() time.Time
	mu   sync.Mutex
	open map[denialKey]*Denial // refused again since it was recorded
	q    chan Denial
	stop chan struct{}
	done chan struct{}
}

type denialKey struct {
	subject, path string
	op            Op
}

func newDenialLog(to Denials, now func() time.Time) *denialLog {
	l := &denialLog{to: to, now: now, open: map[denialKey]*Denial{}, q: make(chan Denial, denialQueue), stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

func (l *denialLog) add(c Caller, op Op, t Target, code, reason string) {
	if l.to == nil {
		return
	}
	k := denialKey{c.Subject.ID, t.Path, op}
	now := l.now()
	l.mu.Lock()
	d := l.open[k]
	if d != nil {
		d.Count++
		d.Last = now
		l.mu.Unlock()
		return
	}
	l.open[k] = &Denial{Caller: c, Op: op, Target: t, Code: code, Reason: reason, First: now, Last: now}
	l.mu.Unlock()
	select {
	case l.q <- Denial{Caller: c, Op: op, Target: t, Code: code, Reason: reason, Count: 1, First: now, Last: now}:
	default:
		l.mu.Lock()
		if d := l.open[k]; d != nil {
			d.Count++ // recorded when its window ends
		}
		l.mu.Unlock()
	}
}

// sweep takes out the windows that have ended.
func (l *denialLog) sweep(all bool) []Denial {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var ended []Denial
	for k, d := range l.open {
		if all || now.Sub(d.First) >= denialWindow {
			delete(l.open, k)
			if d.Count > 0 {
				ended = append(ended, *d)
			}
		}
	}
	return ended
}

func (l *denialLog) run() {
	defer close(l.done)
	tick := time.NewTicker(denialWindow / 4)
	defer tick.Stop()
	for {
		select {
		case d := <-l.q:
			l.to.Record(d)
		case <-tick.C:
			for _, d := range l.sweep(false) {
				l.to.Record(d)
			}
		case <-l.stop:
			for {
				select {
				case d := <-l.q:
					l.to.Record(d)
					continue
				default:
				}
				break
			}
			if l.to != nil {
				for _, d := range l.sweep(true) {
					l.to.Record(d)
				}
			}
			return
		}
	}
}

func (l *denialLog) close() { close(l.stop); <-l.done }
