package agents

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/policy"
)

// Every decision can be made again from what the log says of it, with nothing of the store
// or of the runs at hand, and comes out the same.
func TestP24_DecisionsFromTheLogAlone(t *testing.T) {
	t.Log("proves: P-24")
	m := newMachine(t)
	alice, ai := m.who(aliceUID), m.who(agentUID)
	m.drop(alice, "own", `write "x" to a.md`)
	m.drop(alice, "again", `write "y" to a.md`) // an object whose facts are asked
	m.drop(alice, "two", `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"aiosfs.object.move","target":{"path":"a.md"},"params":{"to":"b.md"}}]}`)
	m.drop(alice, "bobs", from("/aios/groups/family/users/bob/home/x", ""))
	m.drop(alice, "system", from("/aios/system/policy/x", ""))
	m.drop(ai, "agents", from("/aios/groups/family/users/alice/home/x", ""))
	m.drop(ai, "install", `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"package.install","target":{"package":"hello"}}]}`)
	if err := m.rt.Submit(t.Context(), ai, "risky", []byte(from("/aios/groups/family/shared/x.md", ""))); err != nil {
		t.Fatal(err)
	}
	if err := m.store.WaitEvidence(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for rec, err := range m.log.Query(evidence.Query{Types: []record.Type{record.PolicyDecision}}) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.log.Payload(rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		var p struct {
			Payload struct {
				Decision string          `json:"decision"`
				Reason   string          `json:"reason_code"`
				Rule     string          `json:"rule_id"`
				Bundle   string          `json:"bundle_version"`
				Snapshot string          `json:"snapshot_id"`
				Request  *policy.Request `json:"request"`
				At       time.Time       `json:"evaluated_at"`
			} `json:"payload"`
		}
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		was := p.Payload
		if was.Request == nil {
			t.Errorf("%s does not say what was asked: %s", rec.ID, b)
			continue
		}
		k, err := policy.New(policy.Options{Bundle: m.bundle(nil), Now: func() time.Time { return was.At }})
		if err != nil {
			t.Fatal(err)
		}
		d := k.Evaluate(t.Context(), *was.Request)
		if d.Outcome.String() != was.Decision || d.ReasonCode != was.Reason || d.RuleID != was.Rule || d.BundleVersion != was.Bundle || d.SnapshotID != was.Snapshot {
			t.Errorf("decided again: %s %s %s %s %s\n%s", d.Outcome, d.ReasonCode, d.RuleID, d.BundleVersion, d.SnapshotID, b)
		}
		// And the record's facts are what decides: another subject is another question.
		was.Request.Subject.ID = "family:mallory"
		if x := k.Evaluate(t.Context(), *was.Request); x.SnapshotID == was.Snapshot {
			t.Error("the subject is not part of the question")
		}
		seen[was.Decision]++
	}
	if seen["ALLOW"] < 3 || seen["DENY"] < 4 || seen["REQUIRE_APPROVAL"] < 1 {
		t.Errorf("decisions: %v", seen)
	}
}
