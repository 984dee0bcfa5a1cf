package agents

import (
	"slices"
	"strings"
	"testing"
)

var golden = []string{"TRANSLATION_CREATED", "ACTION_RECEIVED", "ACTION_VALIDATED", "POLICY_DECISION", "ACTION_POLICY_DECISION", "SANDBOX_PROFILE_APPLIED",
	"ACTION_DISPATCHED", "EXECUTION_STARTED", "AIOSFS_TRANSACTION_COMMITTED", "VERIFICATION_RESULT", "EXECUTION_SUCCEEDED"}

func TestGoldenPath(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	if s := m.drop(alice, "hike", `write "I went hiking today." to journal/2026-05-11.md`); s != "SUCCEEDED" {
		t.Fatalf("%s\n%s", s, m.read(alice, "hike", "error.json"))
	}
	if got, _ := m.file("groups/family/users/alice/home/journal/2026-05-11.md"); got != "I went hiking today." {
		t.Errorf("the file says %q", got)
	}
	if got := m.records(alice, "hike"); !slices.Equal(got, golden) {
		t.Errorf("records\n%v, want\n%v", got, golden)
	}
	links, err := m.rt.List(alice, "hike", "evidence")
	if err != nil || len(links) != len(golden) {
		t.Errorf("%d links, %v", len(links), err)
	}
	for _, want := range []string{"ScopedAllow", `"ALLOW"`, "polb_"} {
		if d := m.read(alice, "hike", "decision.json"); !strings.Contains(d, want) {
			t.Errorf("decision.json lacks %s: %s", want, d)
		}
	}
	if v := m.read(alice, "hike", "verification.json"); !strings.Contains(v, "VERIFICATION_PASSED") || !strings.Contains(v, "file.hash") {
		t.Error(v)
	}
	if p := m.read(alice, "hike", "plan"); !strings.Contains(p, "+I went hiking today.") {
		t.Error(p)
	}
}

func TestDenied(t *testing.T) {
	m := newMachine(t)
	ai := m.who(agentUID)
	if !ai.Subject.IsAI {
		t.Fatal("not an AI")
	}
	doc := `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"/aios/groups/family/users/alice/home/x.md"},"params":{"content":"no"}}]}`
	if s := m.drop(ai, "no.json", doc); s != "POLICY_DENIED" {
		t.Fatal(s)
	}
	if _, ok := m.file("groups/family/users/alice/home/x.md"); ok {
		t.Error("it was written")
	}
	want := []string{"ACTION_RECEIVED", "ACTION_VALIDATED", "POLICY_DECISION", "ACTION_POLICY_DECISION"}
	if got := m.records(ai, "no.json"); !slices.Equal(got, want) {
		t.Errorf("records %v, want %v", got, want)
	}
	if e := m.read(ai, "no.json", "error.json"); !strings.Contains(e, "PolicyDenied") {
		t.Error(e)
	}
}
