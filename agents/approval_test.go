package agents

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// asks submits what an AI proposes and gives the run's id for an approver, and the hash.
func (m *machine) asks(ai, human Submitter, name, doc string) (run, hash string) {
	m.t.Helper()
	if err := m.rt.Submit(m.t.Context(), ai, name, []byte(doc)); err != nil {
		m.t.Fatal(err)
	}
	for _, in := range m.waiting(human) {
		if in.Name == name {
			_, hash, _ := strings.Cut(m.read(human, in.ID, "approval"), "hash: ")
			hash, _, _ = strings.Cut(hash, "\n")
			return in.ID, hash
		}
	}
	m.t.Fatalf("%s does not wait for anybody: %s", name, m.read(ai, name, "state"))
	return "", ""
}

// An approval is of one request: the same with another reason asks anew.
func TestP4_ApprovalIsOfOneRequest(t *testing.T) {
	t.Log("proves: P-4")
	m := newMachine(t)
	ai, bob := m.who(agentUID), m.who(bobUID)
	a, hashA := m.asks(ai, bob, "a.json", proposal)
	b, hashB := m.asks(ai, bob, "b.json", strings.Replace(proposal, "share the notes", "share them again", 1))
	if hashA == hashB {
		t.Fatal("another reason, the same hash")
	}
	if err := m.rt.Write(t.Context(), bob, b, "approval", []byte("grant "+hashA)); !errors.Is(err, ErrInvalid) {
		t.Errorf("A's hash for B: %v", err)
	}
	if err := m.rt.Write(t.Context(), bob, a, "approval", []byte("grant "+hashA)); err != nil {
		t.Fatal(err)
	}
	if s := m.wait(ai, "a.json"); s != "SUCCEEDED" {
		t.Error(s)
	}
	if d := m.read(ai, "a.json", "decision.json"); !strings.Contains(d, "REQUIRE_APPROVAL") {
		t.Error(d)
	}
	if s := m.read(ai, "b.json", "state"); s != "APPROVAL_PENDING\n" {
		t.Errorf("B is %s", s)
	}
}

// A grant that is taken back before it is used starts nothing; afterwards that it was is
// recorded, and nothing is unwound. An AI and a stranger take nothing back.
func TestA7_Revocation(t *testing.T) {
	t.Log("proves: A-7")
	m := newMachine(t)
	ai, alice, bob := m.who(agentUID), m.who(aliceUID), m.who(bobUID)
	var held []func()
	for range workers { // the grant waits for a worker
		release, err := m.rt.queue.acquire(t.Context(), Interactive)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, release)
	}
	run, hash := m.asks(ai, bob, "p.json", proposal)
	if err := m.rt.Write(t.Context(), bob, run, "approval", []byte("revoke too early")); !errors.Is(err, ErrInvalid) {
		t.Errorf("nothing was granted: %v", err)
	}
	if err := m.rt.Write(t.Context(), bob, run, "approval", []byte("grant "+hash)); err != nil {
		t.Fatal(err)
	}
	if err := m.rt.Write(t.Context(), ai, "p.json", "approval", []byte("revoke")); !errors.Is(err, ErrDenied) {
		t.Errorf("an AI took it back: %v", err)
	}
	if err := m.rt.Write(t.Context(), alice, run, "approval", []byte("revoke")); err == nil {
		t.Error("somebody else took it back")
	}
	if err := m.rt.Write(t.Context(), bob, run, "approval", []byte("revoke not that")); err != nil {
		t.Fatal(err)
	}
	for _, f := range held {
		f()
	}
	if s := m.wait(ai, "p.json"); s != "FAILED" {
		t.Error(s)
	}
	if e := m.read(ai, "p.json", "error.json"); !strings.Contains(e, "ApprovalDenied") || !strings.Contains(e, bindingExpired) {
		t.Error(e)
	}
	if _, ok := m.file("groups/family/shared/notes.md"); ok {
		t.Error("it was carried out")
	}
	if got := m.records(ai, "p.json"); !slices.Contains(got, "APPROVAL_REVOKED") || slices.Contains(got, "APPROVAL_CONSUMED") {
		t.Error(got)
	}
	run, hash = m.asks(ai, bob, "q.json", proposal)
	if err := m.rt.Write(t.Context(), bob, run, "approval", []byte("grant "+hash)); err != nil {
		t.Fatal(err)
	}
	if s := m.wait(ai, "q.json"); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	if err := m.rt.Write(t.Context(), bob, run, "approval", []byte("revoke too late")); err != nil {
		t.Fatal(err)
	}
	if got, _ := m.file("groups/family/shared/notes.md"); got != "shared" || m.read(ai, "q.json", "state") != "SUCCEEDED\n" {
		t.Errorf("%q, %s", got, m.read(ai, "q.json", "state"))
	}
	if err := m.store.WaitEvidence(t.Context()); err != nil {
		t.Fatal(err)
	}
	flagged := 0
	for r, err := range m.log.Query(evidence.Query{Types: []record.Type{record.ApprovalRevoked}}) {
		if err != nil {
			t.Fatal(err)
		}
		if b, err := m.log.Payload(r.ID); err == nil && strings.Contains(string(b), `"revocation_observed_after_consume":true`) {
			flagged++
		}
	}
	if flagged != 1 {
		t.Errorf("%d records say that it came too late", flagged)
	}
}

// With more than a thousand runs open AIs are told to come again, and that is recorded;
// humans are served.
func TestActions39_BackPressure(t *testing.T) {
	t.Log("proves: actions-39")
	m := newMachine(t)
	m.stop()
	c := m.ids.c
	var err error
	for i := range depth/maxLive + 1 {
		if c, err = c.WithMember("family", fmt.Sprintf("u%d", i), uint32(6000+i)); err != nil {
			t.Fatal(err)
		}
	}
	m.ids.c = c
	m.start()
	del := `{"schema":"aios.intent.v1alpha1","reason":"tidy","actions":[{"id":"a","action":"aiosfs.object.delete","target":{"path":"/aios/groups/family/shared/x"}}]}`
	for i := range depth + 1 {
		s, err := c.Resolve(identity.Caller{UID: uint32(6000 + i/maxLive)})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.rt.Submit(t.Context(), Submitter{Subject: s, UID: s.UID, Key: m.log.KeyFor(s.ID, s.IsAI)}, fmt.Sprintf("d%d.json", i), []byte(del)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	ai, alice := m.who(agentUID), m.who(aliceUID)
	if err := m.rt.Submit(t.Context(), ai, "p.json", []byte(proposal)); !errors.Is(err, ErrAgain) || !strings.Contains(err.Error(), "QUEUE_BACKPRESSURE_REJECTED") {
		t.Errorf("an AI at depth %d: %v", depth+1, err)
	}
	if r := m.refused(); len(r) != 1 || !r[0].SubjectIsAI {
		t.Errorf("%v", r)
	}
	if s := m.drop(alice, "mine", `write "x" to a.md`); s != "SUCCEEDED" {
		t.Errorf("a human at depth %d: %s", depth+1, s)
	}
}
