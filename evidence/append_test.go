package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

func TestDraftRefusals(t *testing.T) {
	l := openAt(t, Options{})
	ok := received(1)
	for _, tc := range []struct {
		name string
		with func(*Draft)
		want error
	}{
		{"evidence-16 type 0", func(d *Draft) { d.Type = 0 }, record.ErrUnknownType},
		{"evidence-16 type 428", func(d *Draft) { d.Type = 428 }, record.ErrUnknownType},
		{"no subject", func(d *Draft) { d.Subject = "" }, ErrInvalidDraft},
		{"subject form", func(d *Draft) { d.Subject = "Alice" }, ErrInvalidDraft},
		{"subject length", func(d *Draft) { d.Subject = "a:" + strings.Repeat("b", 300) }, ErrInvalidDraft},
		{"id form", func(d *Draft) { d.ID = "evr_1" }, ErrInvalidDraft},
		{"id prefix", func(d *Draft) { d.ID = id("act_", 1) }, ErrInvalidDraft},
		{"action form", func(d *Draft) { d.ActionID = "act_123" }, ErrInvalidDraft},
		{"scope", func(d *Draft) { d.Scope = "users" }, ErrInvalidDraft},
		{"system with a group", func(d *Draft) { d.Scope = "_system" }, ErrInvalidDraft},
		{"groups without one", func(d *Draft) { d.Scope, d.GroupID = "groups", "" }, ErrInvalidDraft},
		{"control bytes", func(d *Draft) { d.CorrelationID = "a\nb" }, ErrInvalidDraft},
		{"quote", func(d *Draft) { d.TraceID = `a"b` }, ErrInvalidDraft},
		{"secret in a reference", func(d *Draft) { d.CorrelationID = "ghp_abcdefghijklmnopqrstuvwxyz0123456789" }, ErrInvalidDraft},
		{"evidence-17 variant", func(d *Draft) {
			d.Type, d.Emitter, d.Payload = record.PolicyDecision, "policy", map[string]any{"decision": "MAYBE"}
		}, ErrInvalidDraft},
		{"parent", func(d *Draft) { d.ParentID = id("evr_", 9) }, ErrOrphanedParent},
		{"emitter", func(d *Draft) { d.Emitter = "translator" }, ErrAuthority},
		{"emitter log", func(d *Draft) { d.Type, d.Emitter = record.TamperDetected, "log" }, ErrAuthority},
		{"redactor", func(d *Draft) { d.Payload = map[string]any{"f": func() {}} }, ErrRedaction},
	} {
		d := ok
		tc.with(&d)
		before := l.Head().Size
		if check := d.Check(); tc.want != ErrOrphanedParent && !errors.Is(check, tc.want) {
			t.Errorf("%s: check: %v, want %v", tc.name, check, tc.want)
		}
		_, err := l.Append(context.Background(), ok, d)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
		if !Refused(err) {
			t.Errorf("%s: %v should be final", tc.name, err)
		}
		for seq := before + 1; seq <= l.Head().Size; seq++ {
			if r, err := l.At(seq); err != nil || r.Emitter != "log" {
				t.Errorf("%s: a refused request left record %d behind", tc.name, seq)
			}
		}
	}
	if ok.Check() != nil || Refused(ErrDegraded) {
		t.Error("a good draft, or an error of the log, taken for a refusal")
	}
	if err := l.Health(); err != nil {
		t.Fatalf("refusals must not degrade: %v", err)
	}
	t.Log("proves: evidence-16")
}

func TestEvidence29_WrongEmitter(t *testing.T) {
	l := openAt(t, Options{})
	d := Draft{Type: record.PolicyDecision, Subject: "family:mallory", Emitter: "adapter", Payload: map[string]any{"decision": "ALLOW", "why": "mallory's payload"}}
	for range 50 {
		if _, err := l.Append(context.Background(), d); !errors.Is(err, ErrAuthority) {
			t.Fatal(err)
		}
	}
	n := 0
	for r, err := range l.Query(Query{}) {
		if err != nil || r.Type != record.ReceiptForgeryDetected || r.Retention != record.Forever {
			t.Fatal(err, r.Type)
		}
		p, err := l.Payload(r.ID)
		if err != nil || !strings.Contains(string(p), "POLICY_DECISION") || strings.Contains(string(p), "mallory's payload") {
			t.Fatalf("%s %v", p, err)
		}
		n++
	}
	if n != 1 {
		t.Fatalf("50 refusals left %d records", n)
	}
	if l.Health() != nil {
		t.Fatal(l.Health())
	}
	appendN(t, l, 1)
	t.Log("proves: evidence-29")
}

func TestEvidence22_RedactorCannotFinish(t *testing.T) {
	l := openAt(t, Options{})
	deep := map[string]any{}
	for p, i := deep, 0; i < 200; i++ {
		q := map[string]any{}
		p["x"], p["password"] = q, "hunter2hunter2"
		p = q
	}
	d := received(1)
	d.Payload = deep
	if _, err := l.Append(context.Background(), d); !errors.Is(err, ErrRedaction) {
		t.Fatal(err)
	}
	r, err := l.At(1)
	if err != nil || r.Type != record.ReceiptRedactionFailed || l.Head().Size != 1 {
		t.Fatal(err, r.Type)
	}
	p, err := l.Payload(r.ID)
	if err != nil || strings.Contains(string(p), "hunter2") || !strings.Contains(string(p), "ACTION_RECEIVED") || !strings.Contains(string(p), redactionCatalog) {
		t.Fatalf("%s %v", p, err)
	}
	t.Log("proves: evidence-22")
}

func TestEvidence21_SecretsNeverReachTheDisk(t *testing.T) {
	l := openAt(t, Options{})
	// Fixed strings in the shapes of secrets; none of them is one.
	secrets := []string{
		"hunter2-is-my-api-key", "ghp_" + strings.Repeat("aB3dE6", 6), "sk-" + strings.Repeat("Zx9", 10), "xoxb-123456789012-abcdefABCDEF",
		"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "s3cr3t-in-a-url", "qL8vN2xT5zR9wK4mB7cD1fG6hJ3pS0yU", "jwkprivatepart", "sesame-in-text",
		"9f86d081884c7d659a2feaa0c55ad015", "deeply-nested-token",
	}
	d := received(1)
	d.Payload = map[string]any{
		"api_key": secrets[0], "log": "cloning with " + secrets[1] + " failed", "model": map[string]any{"auth": secrets[2]}, "chat": []any{secrets[3]},
		"file": "x\n-----BEGIN PRIVATE KEY-----\n" + secrets[4] + "\n-----END PRIVATE KEY-----\n",
		"url":  "https://bob:" + secrets[5] + "@example.org/x.git", "blob": secrets[6],
		"jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": "public", "d": secrets[7]}, "note": "password=" + secrets[8] + " was used",
		"value": secrets[9], "list": []any{map[string]any{"Auth-Token": secrets[10]}},
	}
	r, err := l.Append(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if r[0].RedactionClass != SecretRedacted || strings.Join(r[0].RedactionProfile, ",") != "SECRET_FIELD_DROPPED,KEY_MATERIAL_HASHED" {
		t.Fatalf("%s %v", r[0].RedactionClass, r[0].RedactionProfile)
	}
	l.Close()
	filepath.WalkDir(l.o.Dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			data, _ := os.ReadFile(p)
			for _, s := range secrets {
				if strings.Contains(string(data), s) {
					t.Errorf("%s holds %s", p, s)
				}
			}
		}
		return err
	})
	t.Log("proves: evidence-21")
}

func TestRedactionLeavesOrdinaryThings(t *testing.T) {
	for key, value := range map[string]string{
		"policy_decision_id": id("poldec_", 4), "bundle": "polb_0123456789abcdef0123456789abcdef", "link": "0123456789abcdef0123456789abcdef",
		"content_hash": "b3:" + strings.Repeat("0a", 32), "merkle_root": strings.Repeat("ab", 32), "commit": strings.Repeat("c0ffee12", 5),
		"path": "/aios/groups/local/users/alice/home/projects/2026/a-rather-long-directory-name/with_many_parts/and-more.md",
		"text": "I went hiking today, and the-very-long-hyphenated-name-of-a-trail was closed.", "segment_signature": strings.Repeat("Ab3+", 21) + "Ab==",
		"parents": strings.Repeat("ab", 32), "reason": "the token bucket is empty; try again",
		"any": "b3:" + strings.Repeat("0a", 32), "unit": "nginx.service", "title": "Basic training of a puppy", "ids": id("obj_", 1) + " " + id("ver_", 2),
	} {
		var r redactor
		if got := r.text(value, key); got != value {
			t.Errorf("%s: %q became %q", key, value, got)
		}
	}
}

func TestEvidence23_Classified(t *testing.T) {
	l := openAt(t, Options{})
	d := received(1)
	d.Classified, d.Payload = true, map[string]any{"plan": "the plan"}
	r, err := l.Append(context.Background(), d)
	if err != nil || r[0].RedactionClass != FullRedacted || r[0].Subject != d.Subject {
		t.Fatal(err, r)
	}
	p, err := l.Payload(r[0].ID)
	if err != nil || !strings.HasPrefix(string(p), `{"payload":{},"salt":"`) {
		t.Fatalf("%s %v", p, err)
	}
	t.Log("proves: evidence-23")
}

func TestOutboxReplay(t *testing.T) {
	l := openAt(t, Options{})
	d := received(1)
	d.ID = l.Reserve(time.Now())
	first, err := l.Append(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	d.Payload = map[string]any{"other": true}
	for i := range 3 {
		again, err := l.Append(context.Background(), received(7), d, d)
		if err != nil || again[1].Seq != first[0].Seq || again[2].Seq != first[0].Seq || string(again[1].Bytes) != string(first[0].Bytes) {
			t.Fatalf("replay %d: %v seq %d %d, first %d", i, err, again[1].Seq, again[2].Seq, first[0].Seq)
		}
		l.Close()
		l = openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	}
	a, b := received(1), received(2)
	a.ID = l.Reserve(time.Now())
	b.ID = a.ID
	rs, err := l.Append(context.Background(), a, b)
	if err != nil || rs[0].Seq != rs[1].Seq {
		t.Fatalf("same id twice in one append: %v", err)
	}
	n := 0
	for r := range l.Query(Query{}) {
		if r.ID == d.ID || r.ID == a.ID {
			n++
		}
	}
	if n != 2 {
		t.Fatalf("%d records for two ids", n)
	}
}

func TestEvidence24_ParentWalk(t *testing.T) {
	l := openAt(t, Options{})
	var chain []string
	parent := ""
	for i := range 8 {
		d := received(i)
		d.ParentID = parent
		r, err := l.Append(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		parent = r[0].ID
		chain = append(chain, parent)
		if i == 4 {
			l.Seal(context.Background())
		}
	}
	var back []string
	for at := parent; at != ""; {
		r, err := l.Receipt(at)
		if err != nil {
			t.Fatal(err)
		}
		back = append([]string{at}, back...)
		at = r.ParentID
	}
	var forward []string
	for at := chain[0]; at != ""; {
		forward = append(forward, at)
		next := ""
		for r, err := range l.Query(Query{ParentID: at}) {
			if err != nil || next != "" {
				t.Fatal(err, "two children")
			}
			next = r.ID
		}
		at = next
	}
	if strings.Join(back, " ") != strings.Join(chain, " ") || strings.Join(forward, " ") != strings.Join(chain, " ") {
		t.Fatalf("back %v forward %v", back, forward)
	}
	l.Checkpoint()
	verified(t, l.o.Dir)
	t.Log("proves: evidence-24")
}

func TestEvidence27_ClockBack(t *testing.T) {
	c := &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	l := openAt(t, Options{Now: c.now})
	appendN(t, l, 2)
	l.Close()
	c.t = c.t.Add(-time.Hour)
	l = openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key, Now: c.now})
	if _, err := l.Append(context.Background(), received(1)); !errors.Is(err, ErrClockBackwards) || !errors.Is(l.Health(), ErrClockBackwards) {
		t.Fatal(err)
	}
	if err := l.AcknowledgeClock(context.Background(), "family:alice"); err != nil {
		t.Fatal(err)
	}
	r := appendN(t, l, 1)[0]
	before, err := l.At(r.Seq - 1)
	if err != nil || before.Type != record.RecoveryEvent || !r.RecordedAt.Equal(c.t) {
		t.Fatal(err, before.Type, r.RecordedAt)
	}
	l.Checkpoint()
	verified(t, l.o.Dir)
	l.Close()
	verified(t, l.o.Dir)
	t.Log("proves: evidence-27")
}

// A clock that is set while the log is open is on record, with the time that it would
// have been: once a jump, in either direction, and not for what is no more than a
// time daemon's step.
func TestEvidence27_ClockSet(t *testing.T) {
	c := &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var steady time.Duration
	l := openAt(t, Options{Now: c.now, Steady: func() time.Duration { return steady }})
	pass := func(wall, real time.Duration) Receipt {
		t.Helper()
		c.t, steady = c.t.Add(wall), steady+real
		return appendN(t, l, 1)[0]
	}
	drifts := func() (out []Receipt) {
		t.Helper()
		for r, err := range l.Query(Query{Types: []record.Type{record.TimeDriftDetected}}) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
		return out
	}
	pass(0, 0)
	pass(time.Hour, time.Hour)
	pass(time.Second+5*time.Second, time.Second)
	if d := drifts(); len(d) != 0 {
		t.Fatalf("%d records of five seconds", len(d))
	}
	start := c.t.Add(-5 * time.Second) // what the clock would show: five seconds are not forgotten
	r := pass(time.Second, 0)          // and the sixth is too many
	d := drifts()
	if len(d) != 1 || d[0].Seq != r.Seq-1 || d[0].Retention != record.Extended60M || d[0].TAI64N != tai64n(start) || !d[0].RecordedAt.Equal(c.t) {
		t.Fatalf("six seconds: %d records, %+v", len(d), d)
	}
	if p, err := l.Payload(d[0].ID); err != nil || jsonText(p, "emitted_at") != c.t.Format(timeForm) || jsonText(p, "tai64n") != tai64n(start) || !strings.Contains(string(p), `"drift_ms":6000`) {
		t.Fatalf("%s %v", p, err)
	}
	for range 3 {
		pass(time.Minute, time.Minute)
	}
	if n := len(drifts()); n != 1 {
		t.Fatalf("%d records of one jump", n)
	}
	before := c.t
	r = pass(-time.Hour, time.Second)
	if d = drifts(); len(d) != 2 || d[1].TAI64N != tai64n(before.Add(time.Second)) || d[1].RecordedAt.Before(before) || r.RecordedAt.Before(before) {
		t.Fatalf("an hour back: %d records, %+v, then %s", len(d), d, r.RecordedAt)
	}
	l.Checkpoint()
	verified(t, l.o.Dir)
	l.Close()
	verified(t, l.o.Dir)
	// No other record may say two times.
	for r, err := range openAt(t, Options{Dir: l.o.Dir, ReadOnly: true}).Query(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		st := segmentState{seq: r.Seq, link: r.PreviousHash, id: r.SegmentID}
		r.TAI64N = tai64n(r.RecordedAt.Add(6 * time.Second))
		if problem := st.follows(&r, false); (problem == "") != (r.Type == record.TimeDriftDetected) {
			t.Errorf("%s six seconds off: %q", r.Type, problem)
		}
	}
	t.Log("proves: evidence-27")
}

// The clock that the daemon's log is held against is the kernel's.
func TestSteadyClock(t *testing.T) {
	l := openAt(t, Options{})
	if l.o.Steady == nil || time.Until(l.drift.expected()).Abs() > maxDrift {
		t.Fatalf("expected %s", l.drift.expected())
	}
	if a, b := boottime(), boottime(); a <= 0 || b < a {
		t.Fatal(a, b)
	}
}

func TestEvidence33_Simulated(t *testing.T) {
	l := openAt(t, Options{})
	d := received(1)
	d.Simulated = true
	l.Append(context.Background(), d, received(2))
	count := func(q Query) (n int) {
		for range l.Query(q) {
			n++
		}
		return n
	}
	if a, b := count(Query{}), count(Query{IncludeSimulated: true}); a != 1 || b != 2 {
		t.Fatal(a, b)
	}
}

func TestEvidence10_DenialIsKept(t *testing.T) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	l := openAt(t, Options{Now: c.now})
	rs, err := l.Append(context.Background(),
		Draft{Type: record.PolicyDecision, Subject: "family:alice", Emitter: "policy", Payload: map[string]any{"decision": "DENY"}},
		Draft{Type: record.PolicyDecision, Subject: "family:alice", Emitter: "policy", Payload: map[string]any{"decision": "ALLOW"}})
	if err != nil || rs[0].Retention != record.Forever || rs[1].Retention != record.Standard24M {
		t.Fatal(err, rs)
	}
	if err := l.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	purge := func(id string, ref func(string) bool) error { return l.Purge(context.Background(), ref, id) }
	if err := purge(rs[1].ID, nil); !errors.Is(err, ErrRetained) {
		t.Fatalf("purge before the horizon: %v", err)
	}
	c.t = c.t.AddDate(5, 0, 0)
	if err := purge(rs[0].ID, nil); !errors.Is(err, ErrRetained) {
		t.Fatalf("purge of a denial: %v", err)
	}
	if err := purge(rs[1].ID, func(string) bool { return true }); !errors.Is(err, ErrRetained) {
		t.Fatalf("purge of a referenced record: %v", err)
	}
	if err := purge(rs[1].ID, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Payload(rs[1].ID); !errors.Is(err, ErrPurged) {
		t.Fatalf("purged payload: %v", err)
	}
	if r, err := l.Receipt(rs[1].ID); err != nil || r.Integrity != Retired || string(r.Bytes) != string(rs[1].Bytes) {
		t.Fatal(err, r.Integrity)
	}
	if _, err := l.Payload(rs[0].ID); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if rep := verified(t, l.o.Dir); rep.Retired != 1 {
		t.Fatalf("%+v", rep)
	}
	// The same erasure without a GC_PASS is found.
	off, _ := refOffset(rs[0].PayloadRef, rs[0].SegmentID)
	if err := erase(filepath.Join(segmentPath(l.o.Dir, 1), payloadsName), off); err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(context.Background(), l.o.Dir, VerifyOptions{})
	if err != nil || rep.Consistent || rep.FirstAnomalousSeq != 1 {
		t.Fatal(err, rep)
	}
	t.Log("proves: evidence-10 evidence-30")
}

func TestEvidence34_IndependentSerialisation(t *testing.T) {
	l := openAt(t, Options{})
	appendN(t, l, 20)
	l.Seal(context.Background())
	appendN(t, l, 3)
	link := zeroLink
	for r, err := range l.Query(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(r.Bytes, &m); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(m) // sorted keys, nothing to escape: JCS
		if err != nil || string(again) != string(r.Bytes) {
			t.Fatalf("re-serialised differs:\n%s\n%s", again, r.Bytes)
		}
		if m["previous_receipt_hash"] != link {
			t.Fatalf("record %d", r.Seq)
		}
		link = hex32(again)
	}
	t.Log("proves: evidence-34")
}

// An action's id is act_ and a ULID, and nothing that only looks like one; what names
// another form is refused whole.
func TestActions3_ActionIDs(t *testing.T) {
	l := openAt(t, Options{})
	const good = "act_01HZZZZZZZZZZZZZZZZZ000001"
	for _, bad := range []string{"act:01HZZZZZZZZZZZZZZZZZ000001", "act_01HZZZZZZZZZZZZZZZZZ00001", "act_01HZZZZZZZZZZZZZZZZZ0000001", "act_01hzzzzzzzzzzzzzzzzz000001",
		"act_01HZZZZZZZZZZZZZZZZZ00000U", "act_01HZZZZZZZZZZZZZZZZZ00000I", "act_81HZZZZZZZZZZZZZZZZZ000001", "ACT_01HZZZZZZZZZZZZZZZZZ000001", "act_", "01HZZZZZZZZZZZZZZZZZ000001",
		"act_01HZZZZZZZZZZZZZZZZZ000001 ", "evr_01HZZZZZZZZZZZZZZZZZ000001"} {
		d := received(1)
		d.ActionID = bad
		if _, err := l.Append(context.Background(), received(0), d); !errors.Is(err, ErrInvalidDraft) || !strings.Contains(err.Error(), "action_id") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if n := l.Head().Size; n != 0 {
		t.Errorf("%d records of refused requests", n)
	}
	d := received(1)
	d.ActionID = good
	if r, err := l.Append(context.Background(), d); err != nil || r[0].ActionID != good {
		t.Error(err)
	}
	t.Log("proves: actions-3")
}
