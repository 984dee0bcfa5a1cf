package agents

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/policy"
)

const lookDoc = `{"schema":"aios.intent.v1alpha1","reason":"look","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"/aios/groups/family/shared/%s"},"params":{"content":"x"}}]}`

// refused are the records of documents that were not taken.
func (m *machine) refused() []evidence.Receipt {
	m.t.Helper()
	var out []evidence.Receipt
	for r, err := range m.log.Query(evidence.Query{Types: []record.Type{record.FailureObservedRateLimited}}) {
		if err != nil {
			m.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// Who has asked policy more often than its budget allows is told to come again: nothing is
// kept of the document, one record a minute says so, and others go on.
func TestPolicyRateLimit(t *testing.T) {
	t.Log("proves: P-25")
	m := newMachine(t)
	m.stop()
	began := time.Now()
	var later atomic.Int64 // the runtime's clock goes by hand, the kernel's stands
	m.now = func() time.Time { return began.Add(time.Duration(later.Load())) }
	var err error
	if m.kern, err = policy.New(policy.Options{Bundle: m.bundle(nil), Now: func() time.Time { return began }}); err != nil {
		t.Fatal(err)
	}
	m.start()
	ai, alice := m.who(agentUID), m.who(aliceUID)
	if err := m.kern.Admit(ai.Subject, 1000); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := m.rt.Submit(t.Context(), ai, fmt.Sprintf("p%d.json", i), []byte(fmt.Sprintf(lookDoc, "p"))); !errors.Is(err, ErrAgain) {
			t.Fatalf("drop %d: %v", i, err)
		}
	}
	if r := m.rt.Runs(ai); len(r) != 0 {
		t.Errorf("%d runs are kept", len(r))
	}
	if r := m.refused(); len(r) != 1 || r[0].Subject != ai.Subject.ID || !r[0].SubjectIsAI {
		t.Errorf("records of the refusals: %+v", r)
	}
	if s := m.drop(alice, "mine.json", fmt.Sprintf(lookDoc, "mine")); s != "SUCCEEDED" {
		t.Errorf("somebody else: %s", s)
	}
	later.Store(int64(2 * time.Minute))
	if err := m.rt.Submit(t.Context(), ai, "q.json", []byte(fmt.Sprintf(lookDoc, "q"))); !errors.Is(err, ErrAgain) {
		t.Fatal(err)
	}
	if r := m.refused(); len(r) != 2 {
		t.Errorf("two minutes later: %d records", len(r))
	}
	// What needs no decision is not counted.
	if s := m.drop(ai, "v.json", `{"schema":"aios.intent.v1alpha1","reason":"look","mode":"VALIDATE","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"/aios/groups/family/shared/x"},"params":{"content":"x"}}]}`); s != "SUCCEEDED" {
		t.Errorf("a validation: %s", s)
	}
}

// One subject has so many runs open and no more.
func TestOpenRunsAreBounded(t *testing.T) {
	m := newMachine(t)
	ai, alice := m.who(agentUID), m.who(aliceUID)
	del := `{"schema":"aios.intent.v1alpha1","reason":"tidy","actions":[{"id":"a","action":"aiosfs.object.delete","target":{"path":"/aios/groups/family/shared/x"}}]}`
	if s := m.drop(alice, "w.json", fmt.Sprintf(lookDoc, "x")); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	for i := range maxLive {
		if err := m.rt.Submit(t.Context(), alice, fmt.Sprintf("d%d.json", i), []byte(del)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if err := m.rt.Submit(t.Context(), alice, "more.json", []byte(del)); !errors.Is(err, ErrAgain) {
		t.Errorf("one more than %d: %v", maxLive, err)
	}
	if r := m.refused(); len(r) != 1 {
		t.Errorf("%d records", len(r))
	}
	if err := m.rt.Submit(t.Context(), ai, "p.json", []byte(fmt.Sprintf(lookDoc, "p"))); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	if err := m.rt.Write(t.Context(), alice, "d0.json", "cancel", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := m.rt.Submit(t.Context(), alice, "more.json", []byte(del)); err != nil {
		t.Errorf("with one place free again: %v", err)
	}
}
