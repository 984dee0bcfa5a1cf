package agents

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Rate bounds the actions of one subject: so many a minute, so many at once.
type Rate struct{ PerMinute, Burst int }

// The rates of S10.1 §11.4.
var (
	ReferenceHuman = Rate{60, 30}
	ReferenceAI    = Rate{30, 15}
)

// ParseRate reads PER_MINUTE/BURST, as in 60/30; "off" is the zero rate.
func ParseRate(text string) (Rate, error) {
	if text == "off" {
		return Rate{}, nil
	}
	minute, burst, _ := strings.Cut(text, "/")
	r := Rate{}
	var err1, err2 error
	r.PerMinute, err1 = strconv.Atoi(minute)
	r.Burst, err2 = strconv.Atoi(burst)
	if err1 != nil || err2 != nil || r.PerMinute < 1 || r.Burst < 1 {
		return Rate{}, fmt.Errorf("%q is no rate: write PER_MINUTE/BURST, as in %v, or off", text, ReferenceHuman)
	}
	return r, nil
}

// String is what ParseRate reads.
func (r Rate) String() string {
	if r == (Rate{}) {
		return "off"
	}
	return fmt.Sprintf("%d/%d", r.PerMinute, r.Burst)
}

func (r Rate) says(s identity.Subject) string {
	who := "one person"
	if s.IsAI {
		who = "an agent"
	}
	return fmt.Sprintf("%s may ask for %d actions a minute, %d of them at once", who, r.PerMinute, r.Burst)
}

// strictest is the rate of AIs: the reference's where none is set, and none that is wider.
func strictest(r Rate) (Rate, error) {
	if r == (Rate{}) {
		return ReferenceAI, nil
	}
	if r.PerMinute > ReferenceAI.PerMinute || r.Burst > ReferenceAI.Burst {
		return r, fmt.Errorf("an AI's rate is at most %v, and %v is wider", ReferenceAI, r)
	}
	return r, nil
}

// rate is what holds for a submitter.
func (rt *Runtime) rate(by Submitter) Rate {
	if by.Subject.IsAI {
		return rt.d.AIRate
	}
	return rt.d.HumanRate
}

// budget is the token bucket of one subject.
type budget struct {
	rate   Rate
	tokens float64
	at     time.Time
}

func (b *budget) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(float64(b.rate.Burst), b.tokens+d.Minutes()*float64(b.rate.PerMinute))
		b.at = now
	}
}

// maxBudgets is when the budgets that are full again are let go: a new one says the same.
const maxBudgets = 10_000

// spend takes one action from the subject's budget; false when it is used up.
func (rt *Runtime) spend(run *Run, now time.Time) bool {
	r := rt.rate(run.By)
	if r == (Rate{}) {
		return true
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	b := rt.budgets[run.By.Subject.ID]
	if b == nil {
		if len(rt.budgets) >= maxBudgets {
			for id, o := range rt.budgets {
				if o.fill(now); o.tokens >= float64(o.rate.Burst) {
					delete(rt.budgets, id)
				}
			}
		}
		b = &budget{rate: r, tokens: float64(r.Burst), at: now}
		rt.budgets[run.By.Subject.ID] = b
	}
	b.fill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
