package agents

import (
	"fmt"
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
)

// sayAgain is how long refusals of one subject for one reason are counted before they are
// recorded again: a flood leaves a record a minute and not one a drop.
const sayAgain = time.Minute

// refusals counts the documents that were not taken for want of room.
type refusals struct {
	mu   sync.Mutex
	seen map[string]*refusal
}

type refusal struct {
	last  time.Time
	count int // since the last record
}

// due counts one more refusal, and gives how many are to be recorded now; 0 while the last
// record is fresh.
func (r *refusals) due(key string, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]*refusal{}
	}
	x := r.seen[key]
	if x == nil {
		if len(r.seen) >= maxRefusals {
			for k, o := range r.seen {
				if now.Sub(o.last) >= sayAgain {
					delete(r.seen, k)
				}
			}
		}
		x = &refusal{}
		r.seen[key] = x
	}
	x.count++
	if d := now.Sub(x.last); d >= 0 && d < sayAgain {
		return 0
	}
	n := x.count
	x.last, x.count = now, 0
	return n
}

// maxRefusals is when the counts of subjects that have gone quiet are let go.
const maxRefusals = 10_000

// pushBack refuses a document that may be dropped again later: nothing is kept of it but,
// at most once a minute for a subject, the record that it was refused.
func (rt *Runtime) pushBack(by Submitter, code string) error {
	refused := fmt.Errorf("%s: %w", code, ErrAgain)
	n := rt.refusals.due(by.Subject.ID+"\x00"+code, rt.d.Now())
	if n == 0 {
		return refused
	}
	d := evidence.Draft{Type: record.FailureObservedRateLimited, Emitter: string(record.EmitterPolicy), Subject: by.Subject.ID, SubjectIsAI: by.Subject.IsAI,
		Session: by.Subject.SessionClass, Scope: "groups", GroupID: by.Subject.PrimaryGroup, Payload: map[string]any{"reason_code": code, "count": n, "uid": by.UID}}
	if by.Subject.PrimaryGroup == "" {
		d.Scope = "_system"
	}
	if _, err := rt.d.Log.Append(rt.ctx, d); err != nil {
		rt.d.Logger.Error("a refusal could not be recorded", "subject", by.Subject.ID, "code", code, "error", err)
	}
	return refused
}
