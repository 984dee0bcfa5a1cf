package agents

import (
	"errors"
	"strings"
	"testing"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
)

// types counts the records of the log by type.
func (m *machine) types() map[record.Type]int {
	m.t.Helper()
	if err := m.store.WaitEvidence(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	n := map[record.Type]int{}
	for r, err := range m.log.Query(evidence.Query{IncludeSimulated: true}) {
		if err != nil {
			m.t.Fatal(err)
		}
		n[r.Type]++
	}
	return n
}

// A goal that comes with the key of somebody else than its subject is nobody's: it is not
// accepted, the tree is as before, and the log has the forgery and nothing else of it. The
// same for an approval in another's name.
func TestEvidence18_NobodySpeaksForAnother(t *testing.T) {
	m := newMachine(t)
	alice, bob := m.who(aliceUID), m.who(bobUID)
	forged := alice
	forged.Key = bob.Key
	const doc = `write "x" to x.md`
	before := m.types()
	if err := m.rt.Submit(t.Context(), forged, "forged", []byte(doc)); !errors.Is(err, evidence.ErrKeySubject) {
		t.Fatalf("a goal in alice's name with bob's key: %v", err)
	}
	after := m.types()
	if n := after[record.ReceiptForgeryDetected] - before[record.ReceiptForgeryDetected]; n != 1 {
		t.Errorf("%d forgeries on record", n)
	}
	delete(after, record.ReceiptForgeryDetected)
	for typ, n := range after {
		if n != before[typ] {
			t.Errorf("%d records of %s were appended", n-before[typ], typ)
		}
	}
	if runs := m.rt.Runs(alice); len(runs) != 0 {
		t.Errorf("there is a run: %v", runs)
	}
	if _, ok := m.file("groups/family/users/alice/home/x.md"); ok {
		t.Error("it was carried out")
	}
	if s := m.drop(alice, "good", doc); s != "SUCCEEDED" {
		t.Fatalf("the same with her own key: %s", s)
	}

	asked := m.who(agentUID)
	if err := m.rt.Submit(t.Context(), asked, "p", []byte(`write "p" to /aios/groups/family/shared/p.md`)); err != nil {
		t.Fatal(err)
	}
	in := m.waiting(alice)
	if len(in) != 1 {
		t.Fatalf("alice's inbox: %v", in)
	}
	_, hash, _ := strings.Cut(m.read(alice, in[0].ID, "approval"), "hash: ")
	hash, _, _ = strings.Cut(hash, "\n")
	if err := m.rt.Write(t.Context(), forged, in[0].ID, "approval", []byte("grant "+hash)); !errors.Is(err, evidence.ErrKeySubject) {
		t.Errorf("a grant in alice's name with bob's key: %v", err)
	}
	if s := strings.TrimSpace(m.read(alice, in[0].ID, "state")); s != "APPROVAL_PENDING" {
		t.Errorf("after a forged grant: %s", s)
	}
	if err := m.rt.Write(t.Context(), alice, in[0].ID, "approval", []byte("grant "+hash)); err != nil {
		t.Fatal(err)
	}
	if s := m.wait(alice, in[0].ID); s != "SUCCEEDED" {
		t.Errorf("granted with her own key: %s", s)
	}
	t.Log("proves: evidence-18")
}

// A caller whose key says human cannot be an AI in the evidence, nor an AI a human.
func TestEvidence17_AnAIIsOne(t *testing.T) {
	m := newMachine(t)
	ai, alice := m.who(agentUID), m.who(aliceUID)
	ai.Subject.IsAI, alice.Subject.IsAI = false, true
	for _, by := range []Submitter{ai, alice} {
		before := m.types()
		if err := m.rt.Submit(t.Context(), by, "g", []byte("list processes")); !errors.Is(err, evidence.ErrIdentityBundle) {
			t.Errorf("%s with is_ai %t: %v", by.Subject.ID, by.Subject.IsAI, err)
		}
		if after := m.types(); len(after) != len(before) {
			t.Errorf("%s: records were left: %v, before %v", by.Subject.ID, after, before)
		}
	}
	t.Log("proves: evidence-17")
}
