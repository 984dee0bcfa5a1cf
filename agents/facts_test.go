package agents

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/policy"
)

// frozenPlaces is a resolver that does not come back for one path.
type frozenPlaces struct {
	places
	stalls string
	gate   chan struct{}
}

func (f frozenPlaces) Resolve(p string) (policy.Target, error) {
	if strings.HasSuffix(p, f.stalls) {
		<-f.gate
	}
	return f.places.Resolve(p)
}

// Facts that do not come in time are no facts: the action is denied with a decision of its
// own, nothing of it happens, and others are served. What is denied whatever the facts
// are keeps its reason.
func TestP21_StalledFacts(t *testing.T) {
	m := newMachine(t)
	alice, ai := m.who(aliceUID), m.who(agentUID)
	gate := make(chan struct{})
	defer close(gate)
	m.rt.d.Resolver = frozenPlaces{stalls: "late.md", gate: gate}
	if m.rt.d.EnrichTime != 200*time.Millisecond {
		t.Errorf("without a setting the facts may take %v", m.rt.d.EnrichTime)
	}
	began := time.Now()
	if s := m.drop(alice, "late", `write "x" to late.md`); s != "POLICY_DENIED" {
		t.Fatal(s)
	}
	if d := time.Since(began); d < 190*time.Millisecond || d > 30*time.Second {
		t.Errorf("it was denied after %v", d)
	}
	if e := m.read(alice, "late", "error.json"); !strings.Contains(e, policy.EvaluationTimeout) || !strings.Contains(e, `"retryable": true`) {
		t.Error(e)
	}
	if d := m.read(alice, "late", "decision.json"); !strings.Contains(d, `"DENY"`) || !strings.Contains(d, `"PolicyEvaluationTimeout"`) {
		t.Error(d)
	}
	if list := m.records(alice, "late"); !slices.Contains(list, "POLICY_DECISION") || slices.Contains(list, "EXECUTION_STARTED") {
		t.Error(list)
	}
	if _, ok := m.file("groups/family/users/alice/home/late.md"); ok {
		t.Error("it was written without its facts")
	}
	if s := m.drop(alice, "now", `write "x" to now.md`); s != "SUCCEEDED" {
		t.Errorf("another goal: %s", s)
	}
	install := `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"package.install","target":{"package":"hello","path":"/aios/groups/family/shared/late.md"}}]}`
	if s, e := m.drop(ai, "i.json", install), m.read(ai, "i.json", "error.json"); s != "POLICY_DENIED" || !strings.Contains(e, "AIInstallInitiationBlocked") {
		t.Errorf("what is denied for good: %s, %s", s, e)
	}
	t.Log("proves: P-21")
}
