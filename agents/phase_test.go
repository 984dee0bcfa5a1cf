package agents

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
)

// told counts the refused attempts of a kind in the log.
func (m *machine) told(kind string) (n int) {
	m.t.Helper()
	for r, err := range m.log.Query(evidence.Query{Types: []record.Type{record.FailureObserved}}) {
		if err != nil {
			m.t.Fatal(err)
		}
		if b, err := m.log.Payload(r.ID); err != nil {
			m.t.Fatal(err)
		} else if strings.Contains(string(b), `"`+kind+`"`) {
			n++
		}
	}
	return n
}

// From every public phase there is a way only to those that S0.1 §6 names, whatever the
// fourteen states behind it are; what is refused leaves a record and changes nothing.
func TestActions16_Phases(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "ok", `write "x" to a.md`)
	live := m.rt.change(m.rt.named(alice.Subject.ID, "ok").now())
	live.r.ID, live.r.Done = "run_of_phases", time.Time{}
	table := map[[2]string]bool{{"PENDING", "RUNNING"}: true, {"PENDING", "FAILED"}: true, {"RUNNING", "SUCCEEDED"}: true, {"RUNNING", "FAILED"}: true, {"RUNNING", "ROLLED_BACK"}: true}
	passed, refused := map[[2]string]int{}, 0
	try := func(from State, due bool, to State, validate bool) error {
		run := *live.r
		a := *run.Actions[0]
		a.State, a.Rollback = from, rollbackNone
		if due {
			a.Rollback = rollbackDue
		}
		run.Actions = []*Action{&a}
		l := &tracked{run: &run, changed: make(chan struct{})}
		err := m.rt.step(l, func(c *change) error {
			must(c.r.Actions[0].move(to, validate))
			return nil
		})
		if got := l.now().Actions[0].State; err == nil && got != to || err != nil && got != from {
			t.Errorf("%s to %s: %v, and it is %s", from, to, err, got)
		}
		return err
	}
	for _, from := range States {
		for _, to := range States {
			for _, due := range []bool{false, true} {
				if due && from != Failed {
					continue
				}
				pair := [2]string{(&Action{State: from, Rollback: map[bool]string{true: rollbackDue}[due]}).Phase(), to.Phase()}
				err := try(from, due, to, false)
				switch {
				case errors.Is(err, ErrIllegalTransition):
					refused++
				case err != nil:
					t.Errorf("%s to %s: %v", from, to, err)
				case pair[0] != pair[1] && !table[pair]:
					t.Errorf("%s to %s leads from %s to %s", from, to, pair[0], pair[1])
				case pair[0] == pair[1] && pair[0] != "PENDING" && pair[0] != "RUNNING":
					t.Errorf("%s to %s happened after the end", from, to)
				default:
					passed[pair]++
				}
			}
		}
	}
	for pair := range table {
		if passed[pair] == 0 {
			t.Errorf("there is no way from %s to %s", pair[0], pair[1])
		}
	}
	if err := try(Created, false, Succeeded, true); err != nil {
		t.Errorf("a VALIDATE cannot succeed: %v", err)
	}
	if n := m.told("LIFECYCLE_ILLEGAL_TRANSITION"); n != refused || refused < 150 {
		t.Errorf("%d attempts were refused, %d are recorded", refused, n)
	}
	m.frozenAfterItsEnd(t)
	t.Log("proves: actions-16")
}

// frozenAfterItsEnd shows that the envelope of an action that is over never changes, but
// for receipts, and for those only within the hour.
func (m *machine) frozenAfterItsEnd(t *testing.T) {
	var ahead atomic.Int64
	m.stop()
	m.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	m.start()
	ai, bob := m.who(agentUID), m.who(bobUID)
	keyed := strings.Replace(proposal, `"reason"`, `"idempotency_key":"once","reason"`, 1)
	run, hash := m.asks(ai, bob, "p.json", keyed)
	if err := m.rt.Write(t.Context(), bob, run, "approval", []byte("grant "+hash)); err != nil {
		t.Fatal(err)
	}
	if s := m.wait(ai, "p.json"); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	look := func() (string, []string) {
		e := m.envelopes(ai, "p.json")[0]
		s, err := frozen(e, m.rt.named(ai.Subject.ID, "p.json").now().Actions[0])
		if err != nil {
			t.Fatal(err)
		}
		return s, e.Execution.EvidenceReceipts
	}
	before, receipts := look()
	for _, c := range []struct {
		after time.Duration
		joins int
	}{{59 * time.Minute, 1}, {61 * time.Minute, 0}} {
		ahead.Store(int64(c.after))
		logged := len(m.of(t, "APPROVAL_REVOKED"))
		if err := m.rt.Write(t.Context(), bob, run, "approval", []byte("revoke too late")); err != nil {
			t.Fatal(err)
		}
		is, now := look()
		if is != before {
			t.Errorf("after %v the envelope was\n%s\nand is\n%s", c.after, before, is)
		}
		if len(now) != len(receipts)+c.joins || !slices.Equal(now[:len(receipts)], receipts) {
			t.Errorf("after %v the receipts were %v and are %v", c.after, receipts, now)
		}
		receipts = now
		if n := len(m.of(t, "APPROVAL_REVOKED")); n != logged+1 {
			t.Errorf("after %v: %d records of it, want %d", c.after, n, logged+1)
		}
	}
	m.drop(ai, "again.json", keyed)
	for _, spoil := range []func(a *Action){
		func(a *Action) { a.Output.Changed = !a.Output.Changed },
		func(a *Action) { a.Failure = &Failure{Code: "Invented"} },
		func(a *Action) { a.Checks = nil },
		func(a *Action) { a.Attempts++ },
		func(a *Action) { a.Step.Target = map[string]any{"path": "elsewhere"} },
	} {
		err := m.rt.step(m.rt.named(ai.Subject.ID, "p.json"), func(c *change) error { spoil(c.r.Actions[0]); return nil })
		if !errors.Is(err, ErrTerminal) {
			t.Errorf("a change of what is over: %v", err)
		}
	}
	if n := m.told("LIFECYCLE_TERMINAL"); n != 5 {
		t.Errorf("%d of 5 attempts are recorded", n)
	}
	m.stop()
	m.start()
	if is, now := look(); is != before || !slices.Equal(now, receipts) {
		t.Errorf("the envelope was\n%s %v\nand is\n%s %v", before, receipts, is, now)
	}
}

// stuck is an adapter whose rollback takes its time.
type stuck struct {
	odd
	began, goOn chan struct{}
}

func (s *stuck) Rollback(context.Context, adapter.Request, map[string]any) error {
	close(s.began)
	<-s.goOn
	return nil
}

// Nobody is told FAILED before it is known how the rollback ends.
func TestFailedIsNotToldBeforeTheRollback(t *testing.T) {
	s := &stuck{began: make(chan struct{}), goOn: make(chan struct{}), odd: odd{rollback: adapter.RollbackAdapter, actions: []string{"process.list"},
		execute: func(context.Context) (adapter.Output, error) {
			return adapter.Output{Changed: true, Rollback: map[string]any{"was": "off"}}, nil
		}}}
	m := newMachine(t)
	m.stop()
	m.extra = []adapter.Adapter{s}
	m.start()
	alice := m.who(aliceUID)
	doc := strings.Replace(listDoc, "%s", `,"verify":[{"type":"file.exists","args":{"path":"never"}}]`, 1)
	if err := m.rt.Submit(t.Context(), alice, "r.json", []byte(doc)); err != nil {
		t.Fatal(err)
	}
	<-s.began
	x := m.envelopes(alice, "r.json")[0].Execution
	if x.Phase != "RUNNING" || x.Result != nil || x.Error != nil {
		t.Errorf("while it is taken back: %+v", x)
	}
	at := x.PhaseChangedAt
	close(s.goOn)
	if s := m.wait(alice, "r.json"); s != "ROLLED_BACK" {
		t.Error(s)
	}
	if x = m.envelopes(alice, "r.json")[0].Execution; x.Phase != "ROLLED_BACK" || x.Result == nil || x.Error == nil || !x.PhaseChangedAt.After(at) {
		t.Errorf("afterwards: %+v", x)
	}
}
