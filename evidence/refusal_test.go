package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// refusing appends a draft that must be refused, beside a good one, and gives
// the records that this left: only the log's own may be among them.
func refusing(t *testing.T, l *Log, d Draft, want error) (left []Receipt) {
	t.Helper()
	before := l.Head().Size
	if _, err := l.Append(context.Background(), received(0), d); !errors.Is(err, want) || !Refused(err) {
		t.Fatalf("%s: %v, want %v, for good", d.Type, err, want)
	}
	for r, err := range l.Query(Query{FromSeq: before + 1, IncludeSimulated: true}) {
		if err != nil || r.Emitter != "log" {
			t.Fatalf("a refused append left %s of %s: %v", r.Type, r.Emitter, err)
		}
		left = append(left, r)
	}
	if err := l.Health(); err != nil {
		t.Fatalf("a refusal degraded the log: %v", err)
	}
	return left
}

// What only the log sets, no emitter sets: a receipt id comes from Reserve or
// not at all, and a draft that was kept has no place, time or link.
func TestEvidence15_LogSetFields(t *testing.T) {
	l := openAt(t, Options{})
	d := received(1)
	other := openAt(t, Options{})
	for _, made := range []string{id("evr_", 7), other.Reserve(time.Now()), idPrefix + "7ZZZZZZZZZ0000000000000000"} {
		d.ID = made
		refusing(t, l, d, ErrIllegalAuthority)
		if err := l.Check(context.Background(), &d); !errors.Is(err, ErrIllegalAuthority) {
			t.Errorf("check of %s: %v", made, err)
		}
	}
	for _, f := range []string{"receipt_id", "segment_id", "sequence_number", "tai64n", "recorded_at", "previous_receipt_hash"} {
		d := received(1)
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDraft(b); err != nil {
			t.Fatalf("a draft as it was kept: %v", err)
		}
		kept := strings.Replace(string(b), "{", `{"`+f+`":"x",`, 1)
		if _, err := ParseDraft([]byte(kept)); !errors.Is(err, ErrIllegalAuthority) || !strings.Contains(err.Error(), f) {
			t.Errorf("%s: %v", f, err)
		}
	}
	if _, err := ParseDraft([]byte(`{"Type":1,"Grade":6}`)); !errors.Is(err, ErrInvalidDraft) {
		t.Errorf("a field that no draft has: %v", err)
	}
	// Reserved ids are taken, rise, are all different, and are known again after a restart.
	at := time.Now()
	last, seen := "", map[string]bool{}
	for range 70_000 { // more than one millisecond can count
		next := l.Reserve(at)
		if next <= last || seen[next] {
			t.Fatalf("%s after %s", next, last)
		}
		last, seen[next] = next, true
	}
	l.Close()
	l = openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	d.ID = last
	if r, err := l.Append(context.Background(), d); err != nil || r[0].ID != last {
		t.Fatal(err)
	}
	t.Log("proves: evidence-15")
}

type catalogue map[string]bool

func (c catalogue) Known(subject string) (isAI, known bool) { isAI, known = c[subject]; return }

// Four things that a draft may say wrongly have a refusal each.
func TestEvidence17_NamedRefusals(t *testing.T) {
	l := openAt(t, Options{})
	l.UseSubjects(catalogue{"family:alice": false, "family:bot": true})
	act := id("act_", 1)
	first := received(1)
	first.ActionID = act
	if _, err := l.Append(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	denial := Draft{Type: record.PolicyDecision, Subject: "family:alice", Emitter: "policy", GroupID: "family", Payload: map[string]any{"decision": "DENY"}}
	for _, tc := range []struct {
		name string
		from Draft
		with func(*Draft)
		want error
	}{
		{"a shorter class", received(1), func(d *Draft) { d.Retention = record.Standard24M + 1 }, ErrRetentionClass},
		{"a denial kept for two years", denial, func(d *Draft) { d.Retention = record.Standard24M }, ErrRetentionClass},
		{"an allowance kept for ever", denial, func(d *Draft) { d.Retention, d.Payload = record.Forever, map[string]any{"decision": "ALLOW"} }, ErrRetentionClass},
		{"the payload of an execution", denial, func(d *Draft) { d.Payload = map[string]any{"outcome": "SUCCEEDED", "adapter_id": "x"} }, ErrPayloadVariant},
		{"no payload", denial, func(d *Draft) { d.Payload = nil }, ErrPayloadVariant},
		{"an outcome that is none", denial, func(d *Draft) {
			d.Type, d.Emitter, d.Payload = record.ExecutionCompleted, "adapter", map[string]any{"outcome": "OK"}
		}, ErrPayloadVariant},
		{"a scope that is none", denial, func(d *Draft) { d.Scope = "users" }, ErrNamespaceScope},
		{"the system's with a group", denial, func(d *Draft) { d.Scope = "_system" }, ErrNamespaceScope},
		{"a group's without one", denial, func(d *Draft) { d.Scope, d.GroupID = "groups", "" }, ErrNamespaceScope},
		{"another group than the action's", denial, func(d *Draft) { d.ActionID, d.GroupID = act, "homelab" }, ErrNamespaceScope},
		{"a human for an AI", denial, func(d *Draft) { d.SubjectIsAI = true }, ErrIdentityBundle},
		{"an AI for a human", denial, func(d *Draft) { d.Subject = "family:bot" }, ErrIdentityBundle},
		{"the system for an AI", denial, func(d *Draft) { d.Subject, d.SubjectIsAI = "_system:service:x", true }, ErrIdentityBundle},
		{"a key of a human for an AI", denial, func(d *Draft) { d.Subject, d.SubjectIsAI, d.Key = "homelab:new", true, l.KeyFor("homelab:new", false) }, ErrIdentityBundle},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := tc.from
			tc.with(&d)
			if left := refusing(t, l, d, tc.want); len(left) != 0 {
				t.Errorf("it left %d records", len(left))
			}
			if name := strings.SplitN(tc.want.Error(), ":", 2)[0]; !strings.HasSuffix(name, "Mismatch") {
				t.Errorf("the refusal is called %s", name)
			}
		})
	}
	// The same, said rightly, is taken.
	for _, d := range []Draft{
		{Type: record.PolicyDecision, Subject: "family:alice", Emitter: "policy", GroupID: "family", ActionID: act, Retention: record.Forever, Payload: map[string]any{"decision": "DENY"}},
		{Type: record.PolicyDecision, Subject: "family:bot", SubjectIsAI: true, Emitter: "policy", ActionID: act, Retention: record.Standard24M, Payload: map[string]any{"decision": "ALLOW"}},
		{Type: record.PolicyDecision, Subject: "family:nobody-knows", Emitter: "policy", Payload: map[string]any{"decision": "ALLOW"}},
	} {
		if _, err := l.Append(context.Background(), d); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
	t.Log("proves: evidence-17")
}

// A record speaks for the subject whose key it comes with, and for no other
// (S6.3 §10.3).
func TestEvidence18_KeyOfAnotherSubject(t *testing.T) {
	l := openAt(t, Options{RequireKeys: true})
	alice, bob := l.KeyFor("family:alice", false), l.KeyFor("family:bob", false)
	good := received(1)
	good.Key = alice
	if _, err := l.Append(context.Background(), good); err != nil {
		t.Fatal(err)
	}
	elsewhere := openAt(t, Options{}).KeyFor("family:alice", false)
	for i, key := range []SubjectKey{bob, elsewhere, "", "vcap_00000000000000000000000000000000", alice + "0"} {
		d := good
		d.Key, d.Payload = key, map[string]any{"what": "said in alice's name"}
		d.Subject = "family:alice"
		if i > 0 { // refusals of one kind count as one for a minute
			d.Emitter, d.Type = []string{"translator", "approval", "override", "verification"}[i-1], []record.Type{record.TranslationCreated, record.ApprovalGranted, record.OverrideDenied, record.VerificationResult}[i-1]
		}
		before := l.Head().Size
		if _, err := l.Append(context.Background(), good, d); !errors.Is(err, ErrKeySubject) || !Refused(err) {
			t.Fatalf("key %d: %v", i, err)
		}
		if n := l.Head().Size - before; n != 1 {
			t.Fatalf("key %d left %d records", i, n)
		}
		r, err := l.At(before + 1)
		if err != nil || r.Type != record.ReceiptForgeryDetected || r.Retention != record.Forever {
			t.Fatalf("key %d: %s %s %v", i, r.Type, r.Retention, err)
		}
		p, err := l.Payload(r.ID)
		if err != nil || jsonText(p, "reason_class") != "KEY_SUBJECT_MISMATCH" || jsonText(p, "subject") != "family:alice" || strings.Contains(string(p), "said in") || strings.Contains(string(p), string(bob)) {
			t.Fatalf("key %d: %s %v", i, p, err)
		}
	}
	// A key is good for its subject after a restart, and no record shows it.
	l.Close()
	l = openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key, RequireKeys: true})
	r, err := l.Append(context.Background(), good)
	if err != nil || l.KeyFor("family:alice", false) != alice || alice == l.KeyFor("family:alice", true) {
		t.Fatal(err)
	}
	if strings.Contains(string(r[0].Bytes), keyPrefix) {
		t.Errorf("a record shows a key: %s", r[0].Bytes)
	}
	// What speaks for the system, or stands where callers are resolved, needs none.
	if _, err := l.Append(context.Background(), Draft{Type: record.PolicyDecision, Subject: "family:bob", Emitter: "policy", Payload: map[string]any{"decision": "DENY"}}); err != nil {
		t.Error(err)
	}
	t.Log("proves: evidence-18")
}

// What is said about an action that was never received is refused, and that it
// was tried is kept for five years.
func TestEvidence19_OrphanedAction(t *testing.T) {
	l := openAt(t, Options{SealBytes: 30_000})
	ctx := context.Background()
	about := func(n int) Draft {
		return Draft{Type: record.ActionValidated, Subject: "family:alice", Emitter: "runtime", GroupID: "family", ActionID: id("act_", n), Payload: map[string]any{"outcome": "PASSED"}}
	}
	began := func(n int) Draft { d := received(n); d.ActionID = id("act_", n); return d }
	left := refusing(t, l, about(1), ErrOrphanedAction)
	if len(left) != 1 || left[0].Type != record.ReceiptOrphanActionRefDetected || left[0].Retention != record.Extended60M || left[0].ActionID != "" {
		t.Fatalf("it left %+v", left)
	}
	if p, err := l.Payload(left[0].ID); err != nil || jsonText(p, "refused_record_type") != "ACTION_VALIDATED" || jsonText(p, "caller") != "runtime" {
		t.Fatalf("%s %v", p, err)
	}
	if _, err := l.Append(ctx, about(1), began(1)); !errors.Is(err, ErrOrphanedAction) {
		t.Fatalf("received after it was spoken of: %v", err)
	}
	if _, err := l.Append(ctx, began(1), about(1)); err != nil {
		t.Fatalf("received in the same append: %v", err)
	}
	// However many came after it, over segments and a restart, an action stays known.
	for i := 2; i < 2+2*recentActions+100; i += 100 {
		var ds []Draft
		for k := range 100 {
			ds = append(ds, began(i+k))
		}
		if _, err := l.Append(ctx, ds...); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 {
		if _, kept := l.actions.group(id("act_", 1)); kept != (round == 1) && round == 0 {
			t.Fatal("the first action is still among the recent ones")
		}
		for _, n := range []int{1, recentActions, 2 * recentActions} {
			if _, err := l.Append(ctx, about(n)); err != nil {
				t.Fatalf("round %d, action %d: %v", round, n, err)
			}
		}
		if _, err := l.Append(ctx, about(900_000)); !errors.Is(err, ErrOrphanedAction) {
			t.Fatalf("round %d: %v", round, err)
		}
		l.Close()
		l = openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	}
	if segs := len(l.segs); segs < 3 {
		t.Fatalf("%d segments", segs)
	}
	// Appends side by side: the one that receives it may be in the same batch.
	done := make(chan error)
	for w := range 8 {
		go func() {
			for i := range 50 {
				n := 500_000 + 1000*w + i
				if _, err := l.Append(ctx, began(n)); err != nil {
					done <- fmt.Errorf("receive %d: %w", n, err)
					return
				}
				if _, err := l.Append(ctx, about(n)); err != nil {
					done <- fmt.Errorf("about %d: %w", n, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
