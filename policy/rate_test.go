package policy

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

// P-25: beyond its budget a subject is refused until time has filled it again, and no
// other subject pays for it.
func TestRates(t *testing.T) {
	k, now := kernel(t, nil), time.Now()
	k.o.Now = func() time.Time { return now }
	for _, c := range []struct {
		s    identity.Subject
		most int
	}{{agent, 1000}, {human, 60_000}} {
		for i := range c.most + 1 {
			if err := k.Admit(c.s, 1); errors.Is(err, ErrRate) != (i == c.most) {
				t.Fatalf("%s, evaluation %d: %v", c.s.ID, i+1, err)
			}
		}
	}
	if err := k.Admit(admin, 1); err != nil {
		t.Errorf("another subject: %v", err)
	}
	now = now.Add(6 * time.Second) // a tenth of a minute, a tenth of the budget
	if err := k.Admit(agent, 100); err != nil {
		t.Error(err)
	}
	if err := k.Admit(agent, 1); !errors.Is(err, ErrRate) {
		t.Errorf("more than was filled: %v", err)
	}
	now = now.Add(-time.Hour) // a clock that goes back gives nothing
	if err := k.Admit(agent, 1); !errors.Is(err, ErrRate) {
		t.Errorf("after the clock went back: %v", err)
	}
	now = now.Add(2 * time.Hour)
	if err := k.Admit(agent, 5000); err != nil {
		t.Errorf("more than a whole budget, which is full: %v", err)
	}
	if err := k.Admit(agent, 1); !errors.Is(err, ErrRate) {
		t.Error("and it is used up then")
	}
}

// However many subjects ask, only so many budgets are kept, and none is lost that is used up.
func TestRatesAreBounded(t *testing.T) {
	k, now := kernel(t, nil), time.Now()
	k.o.Now = func() time.Time { return now }
	for k.Admit(agent, 100) == nil {
	}
	for i := range 2 * maxRates {
		now = now.Add(time.Microsecond * 500)
		if err := k.Admit(identity.Subject{ID: fmt.Sprint("local:u", i), Kind: identity.HumanUser}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.rates.buckets); n > maxRates+1 {
		t.Errorf("%d budgets are kept", n)
	}
}

// A changed bundle or catalogue gives no remembered answer.
func TestRememberedAnswersEndWithTheirRevision(t *testing.T) {
	rule := func(effect string) map[string]string {
		return map[string]string{"rules/a.yaml": "rule_id: aaa\neffect: " + effect + "\nsubjects: [\"class:human\"]\nactions: [x.do]\n"}
	}
	k := kernel(t, rule("allow"))
	hash := func(r *Request) { r.RequestHash = "0123456789abcdef0123456789abcdef" }
	first, again := ask(k, human, "x.do", home, hash), ask(k, human, "x.do", home, hash)
	if first.Outcome != Allow || again.Outcome != Allow || first.ID == again.ID || !again.EvaluatedAt.After(first.EvaluatedAt) || len(k.cache) != 1 {
		t.Fatalf("%+v\n%+v, %d kept", first, again, len(k.cache))
	}
	// The same person by another catalogue: what was remembered is not even looked at.
	key := func(s identity.Subject) string {
		r := Request{Action: "x.do", Class: Mutate, Subject: s, Target: home}
		c, err := r.cacheKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(c)
	}
	other := human
	other.CatalogVersion = "idbundle_other"
	if key(human) == key(other) {
		t.Error("another catalogue, and the same key")
	}
	if d := ask(k, agent, "x.do", home, hash); d.Outcome != Deny {
		t.Errorf("another subject with the same hash: %s", d.Outcome)
	}
	if d := ask(k, human, "x.do", shared, hash); d.SnapshotID == first.SnapshotID {
		t.Error("another place with the same hash got the remembered answer")
	}
	b, err := loadBundle(t, rule("deny"))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Load(b); err != nil {
		t.Fatal(err)
	}
	if d := ask(k, human, "x.do", home, hash); d.Outcome != Deny || d.BundleVersion != b.Version {
		t.Errorf("after the reload: %s under %s", d.Outcome, d.BundleVersion)
	}
}
