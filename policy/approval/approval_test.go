package approval

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

var (
	alice = identity.Subject{ID: "family:alice", Kind: identity.HumanUser, UID: 1, Memberships: []string{"family"}}
	bob   = identity.Subject{ID: "family:bob", Kind: identity.HumanUser, UID: 2, Memberships: []string{"family"}}
	carol = identity.Subject{ID: "homelab:carol", Kind: identity.HumanUser, UID: 3, Memberships: []string{"homelab"}}
	bot   = identity.Subject{ID: "family:bot", Kind: identity.AIAgent, IsAI: true, UID: 4, Memberships: []string{"family"}}
	start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
)

func asked(t *testing.T, strength string) *Request {
	t.Helper()
	r, err := New(Request{ActionID: "act_1", RequestHash: "h1", Proposer: bot.ID, ProposerUID: 4, ProposerAI: true, ProposerGroup: "family",
		Classes: []string{"human"}, Strength: strength, TTLSeconds: 300}, false, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Deliver(start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLifeOfAnApproval(t *testing.T) {
	t.Log("proves: A-2 A-4 A-5 A-6 A-9 A-10")
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := start.Add(2 * time.Minute)
	r := asked(t, "STRONG")
	if got := r.ExpiresAt.Sub(start); got != 6*time.Minute {
		t.Errorf("the clock starts at delivery: it ends after %v", got)
	}
	if err := r.Grant(bob, "h2", key, now); !errors.Is(err, ErrHash) {
		t.Errorf("another hash: %v", err)
	}
	if err := r.Grant(bob, "h1", key, now); err != nil {
		t.Fatal(err)
	}
	if err := r.Check("h1 ", pub, now); !errors.Is(err, ErrHash) {
		t.Errorf("a byte more: %v", err)
	}
	forged := *r.Binding
	forged.Granting = alice.ID
	r2 := *r
	r2.Binding = &forged
	if err := r2.Check("h1", pub, now); !errors.Is(err, ErrSignature) {
		t.Errorf("a forged binding: %v", err)
	}
	if err := r.Consume("h1", pub, now); err != nil {
		t.Fatal(err)
	}
	if err := r.Consume("h1", pub, now); !errors.Is(err, ErrConsumed) {
		t.Errorf("consumed twice: %v", err)
	}
	if err := r.Revoke(bob); !errors.Is(err, ErrTransition) {
		t.Errorf("revoked after use: %v", err)
	}
	late := asked(t, "STRONG")
	if late.Expire(start.Add(time.Minute)) || !late.Expire(start.Add(7*time.Minute)) || late.State != Expired {
		t.Errorf("expiry: %s", late.State)
	}
	if err := late.Grant(bob, "h1", key, start.Add(8*time.Minute)); !errors.Is(err, ErrTransition) {
		t.Errorf("granted after expiry: %v", err)
	}
	revoked := asked(t, "STRONG")
	if err := revoked.Grant(bob, "h1", key, now); err != nil {
		t.Fatal(err)
	}
	if err := revoked.Revoke(bob); err != nil {
		t.Fatal(err)
	}
	if err := revoked.Consume("h1", pub, now); err == nil {
		t.Error("a revoked grant was consumed")
	}
	for _, ttl := range []int{0, -1, 4*3600 + 1} {
		if _, err := New(Request{TTLSeconds: ttl, Strength: "STRONG"}, false, start); !errors.Is(err, ErrTTL) {
			t.Errorf("ttl %d: %v", ttl, err)
		}
	}
	if _, err := New(Request{TTLSeconds: 60}, true, start); !errors.Is(err, ErrHardDenied) {
		t.Errorf("a hard denial: %v", err)
	}
}

func TestWhoMayApprove(t *testing.T) {
	t.Log("proves: A-3")
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := start.Add(2 * time.Minute)
	own := func() *Request {
		r := asked(t, "STRONG")
		r.Proposer, r.ProposerUID, r.ProposerAI = alice.ID, alice.UID, false
		return r
	}
	twin := bob
	twin.UID = alice.UID
	single := alice
	single.SingleOperator = true
	for _, c := range []struct {
		name string
		r    *Request
		s    identity.Subject
		want error
	}{
		{"an AI", asked(t, "STRONG"), bot, ErrAIApproval}, {"an AI for a human", own(), bot, ErrAIApproval},
		{"the proposer", own(), alice, ErrSelfApproval}, {"the proposer's uid under another name", own(), twin, ErrSelfApproval},
		{"the only operator", own(), single, nil}, {"somebody of another group", own(), carol, ErrNotEligible}, {"a colleague", own(), bob, nil},
	} {
		if err := c.r.Grant(c.s, "h1", key, now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	r := asked(t, "DUAL")
	if err := r.Grant(alice, "h1", key, now); err != nil || r.State != Awaiting {
		t.Fatalf("%v, %s", err, r.State)
	}
	if err := r.Grant(alice, "h1", key, now); !errors.Is(err, ErrSameApprover) {
		t.Errorf("the same twice: %v", err)
	}
	if err := r.Grant(bob, "h1", key, now); err != nil || r.State != Granted || r.Binding.CoSigner != bob.ID {
		t.Errorf("%v, %+v", err, r.Binding)
	}
	operator := bob
	operator.ID, operator.Kind = "_system:local:op", identity.LocalOperator
	if err := asked(t, "DUAL").Grant(operator, "h1", key, now); !errors.Is(err, ErrNotEligible) {
		t.Errorf("an operator is no second person: %v", err)
	}
	half := asked(t, "DUAL")
	if err := half.Grant(alice, "h1", key, now); err != nil {
		t.Fatal(err)
	}
	if !half.Expire(start.Add(time.Hour)) || half.State != Expired {
		t.Errorf("a half grant outlives its time: %s", half.State)
	}
}

func TestEveryOtherEdgeIsRefused(t *testing.T) {
	all := []State{Draft, Awaiting, Granted, Denied, Expired, Revoked, Consumed, FailedDelivery}
	for _, from := range all {
		for _, to := range all {
			ok := false
			for _, e := range edges[from] {
				ok = ok || e == to
			}
			r := &Request{State: from}
			if err := r.move(to); (err == nil) != ok {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
}
