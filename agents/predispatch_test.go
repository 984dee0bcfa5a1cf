package agents

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// counted is an adapter that says how often it was called, and whether its walls stand.
type counted struct {
	calls atomic.Int32
	walls error
}

func (*counted) Manifest() adapter.Manifest {
	return adapter.Manifest{ID: "counted", Version: "1", Stability: adapter.Stable, Dispatch: adapter.InProcess, Kinds: []adapter.Kind{{Action: "repo.clone", Class: policy.Mutate, Rollback: adapter.RollbackNone, Timeout: time.Minute}}}
}
func (*counted) Simulate(context.Context, adapter.Request) ([]adapter.Preview, error) {
	return nil, nil
}
func (x *counted) Execute(context.Context, adapter.Request) (adapter.Output, error) {
	x.calls.Add(1)
	return adapter.Output{}, nil
}
func (*counted) Rollback(context.Context, adapter.Request, map[string]any) error { return nil }
func (x *counted) Ready() error                                                  { return x.walls }

const (
	tokenRule   = "rule_id: tokens\neffect: allow\npriority: 900\nsubjects: [\"class:human\"]\nactions: [repo.clone]\nconstraints: {vault_capability_required: git.token}\napproval: {required: true, ttl_seconds: 60, approver_classes: [human], strength: WEAK}\n"
	noCloneRule = "rule_id: no_clone\neffect: deny\npriority: 900\nsubjects: [\"class:human\"]\nactions: [repo.clone]\n"
)

// Each of the eight steps of S10.1 §6.1 stops an action that was approved and waits in the
// queue, by itself and before the steps behind it; the adapter is never called.
func TestPreDispatchSteps(t *testing.T) {
	t.Log("proves: actions-28 actions-29 actions-31")
	m := newMachine(t)
	m.stop()
	x := &counted{}
	m.extra = []adapter.Adapter{x}
	var ahead atomic.Int64
	m.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	plain, strict := m.bundle(map[string]string{"rules/tokens.yaml": tokenRule}), m.bundle(map[string]string{"rules/no.yaml": noCloneRule})
	trusted := *m.ids.c
	trusted.Bindings = slices.Clone(trusted.Bindings)
	for i, b := range trusted.Bindings {
		if b.UID == aliceUID {
			trusted.Bindings[i].Capabilities = []string{"git.token"}
		}
	}
	holds, err := identity.Parse(trusted.Marshal(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	lacks := m.ids.c
	elsewhere := identity.New(62000, false) // alice's uid speaks for nobody of the family there
	m.start()
	alice := m.who(aliceUID)

	revise := func(r *Run) { r.Actions[0].Step.Params["url"] = "https://example.org/evil.git" }
	loadStrict := func(*Run) {
		if err := m.kern.Load(strict); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		tamper []func(r *Run)
		step   int
		code   string
	}{
		{"nothing", nil, 0, ""},
		{"1 the request", []func(*Run){revise}, 1, bindingVoided},
		{"2 the rules", []func(*Run){loadStrict}, 2, bindingExpired},
		{"2 who it is", []func(*Run){func(*Run) { m.ids.c = elsewhere }}, 2, bindingExpired},
		{"3 its time", []func(*Run){func(*Run) { ahead.Store(int64(2 * time.Minute)) }}, 3, bindingExpired},
		{"3 revoked", []func(*Run){func(r *Run) {
			if err := r.Actions[0].Approval.Revoke(m.who(bobUID).Subject); err != nil {
				t.Fatal(err)
			}
		}}, 3, bindingExpired},
		{"3 forged", []func(*Run){func(r *Run) { r.Actions[0].Approval.Binding.Granting = "family:assistant" }}, 3, bindingExpired},
		{"4 the capability", []func(*Run){func(*Run) { m.ids.c = lacks }}, 4, bindingExpired},
		{"5 the walls", []func(*Run){func(*Run) { x.walls = errors.New("no landlock here") }}, 5, sandboxFailed},
		{"1 before 2", []func(*Run){revise, loadStrict}, 1, bindingVoided},
		{"2 before 3", []func(*Run){loadStrict, func(*Run) { ahead.Store(int64(2 * time.Minute)) }}, 2, bindingExpired},
		{"3 before 4", []func(*Run){func(*Run) { ahead.Store(int64(2 * time.Minute)); m.ids.c = lacks }}, 3, bindingExpired},
		{"4 before 5", []func(*Run){func(*Run) { x.walls = errors.New("no landlock here"); m.ids.c = lacks }}, 4, bindingExpired},
	} {
		if err := m.kern.Load(plain); err != nil {
			t.Fatal(err)
		}
		m.ids.c, x.walls = holds, nil
		x.calls.Store(0)
		ahead.Store(0)
		var held []func()
		for range workers {
			release, err := m.rt.queue.acquire(t.Context(), Interactive)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, release)
		}
		name := strings.ReplaceAll(c.name, " ", "-") + ".json"
		doc := `{"schema":"aios.intent.v1alpha1","reason":"need it","actions":[{"id":"c","action":"repo.clone","target":{"path":"work/x"},"params":{"url":"https://example.org/good.git"}}]}`
		if err := m.rt.Submit(t.Context(), m.who(aliceUID), name, []byte(doc)); err != nil {
			t.Fatal(err)
		}
		m.approveAll()
		l, _ := m.rt.visible(alice, name)
		if s := l.now().Actions[0].State; s != Queued {
			t.Fatalf("%s: %s after the grant", c.name, s)
		}
		for _, f := range c.tamper {
			l.step.Lock()
			f(l.now())
			l.step.Unlock()
		}
		for _, f := range held {
			f()
		}
		s := m.wait(alice, name)
		a := l.now().Actions[0]
		if c.step == 0 {
			if x.calls.Load() != 1 || a.Attempts != 1 {
				t.Errorf("untouched: %d calls, %s %+v", x.calls.Load(), s, a.Failure)
			}
			continue
		}
		got := 0
		if a.Failure != nil {
			b, _ := json.Marshal(a.Failure.Details["pre_dispatch_step"])
			_ = json.Unmarshal(b, &got)
		}
		if s != string(Failed) || a.Failure == nil || a.Failure.Code != c.code || got != c.step {
			t.Errorf("%s: %s %+v, want step %d %s", c.name, s, a.Failure, c.step, c.code)
		}
		if n := x.calls.Load(); n != 0 || a.Attempts != 0 {
			t.Errorf("%s: the adapter was called %d times", c.name, n)
		}
		recs := m.records(alice, name)
		if slices.Contains(recs, "APPROVAL_CONSUMED") || slices.Contains(recs, "ACTION_DISPATCHED") {
			t.Errorf("%s: %v", c.name, recs)
		}
		if slices.Contains(recs, "BINDING_VOIDED_ACTION_REVISED") != (c.code == bindingVoided) {
			t.Errorf("%s: %v", c.name, recs)
		}
		if c.code == bindingVoided && a.Approval.State == "GRANTED" {
			t.Errorf("%s: the grant is still good", c.name)
		}
	}
	for _, r := range m.of(t, "BINDING_VOIDED_ACTION_REVISED") {
		if r.Retention.String() != "FOREVER" {
			t.Errorf("kept for %s", r.Retention)
		}
	}

	// 6 and 7, which no way through the runtime leads to but a race.
	a := &Action{State: Executing}
	if f := stillQueued(nil, a); f == nil || f.Code != notQueued {
		t.Errorf("step 6: %+v", f)
	}
	l, _ := m.rt.visible(alice, "nothing.json")
	c := m.rt.change(l.now())
	if f := m.rt.spendGrant(c, c.r.Actions[0]); f == nil || f.Code != bindingExpired || len(c.drafts) != 0 {
		t.Errorf("step 7, a grant spent twice: %+v", f)
	}
}

// of are the log's records of a type.
func (m *machine) of(t *testing.T, name string) []evidence.Receipt {
	t.Helper()
	var out []evidence.Receipt
	for r, err := range m.log.Query(evidence.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type.String() == name {
			out = append(out, r)
		}
	}
	return out
}
