package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/approval"
)

// envelopes are what intent.json says of a run.
func (m *machine) envelopes(by Submitter, name string) []envelope {
	m.t.Helper()
	var list []envelope
	if err := json.Unmarshal([]byte(m.read(by, name, "intent.json")), &list); err != nil {
		m.t.Fatal(err)
	}
	return list
}

func facts(e envelope) map[string]string {
	m := map[string]string{}
	for _, c := range e.Execution.Conditions {
		m[c.Type] = c.Status
	}
	return m
}

const twoSteps = `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[
 {"id":"a","action":"aiosfs.object.write","target":{"path":"a.md"},"params":{"content":"after"}},
 {"id":"b","action":"aiosfs.object.mkdir","target":{"path":"new"},"after":["a"],"verify":[{"type":"file.exists","args":{"path":"never"}}]}]}`

// The envelope is what the reference says: received before policy is asked, its conditions
// and its phase agree, and a result or an error as it ended.
func TestEnvelope(t *testing.T) {
	t.Log("proves: actions-1 actions-17")
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "ok", `write "x" to a.md`)
	e := m.envelopes(alice, "ok")[0]
	x := e.Execution
	if e.Schema != envelopeSchema || x.ReceivedAt.IsZero() || !strings.HasPrefix(x.Runtime, "runtime:") || x.Phase != "SUCCEEDED" || x.Attempts != 1 || len(e.Trace.TraceID) != 32 {
		t.Errorf("%+v", e)
	}
	if x.PhaseChangedAt.Before(x.ReceivedAt) || x.AdapterID != "adapter:aios:aiosfs:"+aiosfsVersion(m) {
		t.Errorf("%+v", x)
	}
	recs := m.records(alice, "ok")
	if slices.Index(recs, "ACTION_RECEIVED") < 0 || slices.Index(recs, "ACTION_RECEIVED") > slices.Index(recs, "POLICY_DECISION") {
		t.Errorf("received after policy: %v", recs)
	}
	if len(x.EvidenceReceipts) != len(recs)-1 { // the translation has no action
		t.Errorf("%d receipts for %v", len(x.EvidenceReceipts), recs)
	}
	for name, want := range map[string]map[string]string{
		"ok":   {"PolicyEvaluated": "TRUE", "PolicyAccepted": "TRUE", "Sandboxed": "TRUE", "Executed": "TRUE", "RollbackPossible": "TRUE", "Verified": "TRUE"},
		"bad":  {"PolicyEvaluated": "TRUE", "PolicyAccepted": "TRUE"},
		"back": {"PolicyEvaluated": "TRUE", "PolicyAccepted": "TRUE", "Sandboxed": "TRUE", "Executed": "TRUE", "RollbackPossible": "TRUE", "Verified": "FALSE", "RolledBack": "TRUE"},
		"no":   {"PolicyEvaluated": "TRUE", "PolicyAccepted": "FALSE"},
	} {
		switch name {
		case "bad":
			m.drop(alice, name, `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"a.md"},"params":{"content":"y"},"expect":{"version":"ver_01J00000000000000000000000"}}]}`)
		case "back":
			m.drop(alice, name, twoSteps)
		case "no":
			m.drop(alice, name, `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"/aios/groups/family/users/bob/home/x"},"params":{"content":"y"}}]}`)
		}
		list := m.envelopes(alice, name)
		e := list[len(list)-1]
		if got := facts(e); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n%v, want\n%v", name, got, want)
		}
		res, bad := e.Execution.Result != nil, e.Execution.Error != nil
		if want := map[string][2]bool{"ok": {true, false}, "bad": {false, true}, "back": {true, true}, "no": {false, true}}[name]; [2]bool{res, bad} != want {
			t.Errorf("%s: result %v, error %v", name, res, bad)
		}
	}
}

func aiosfsVersion(m *machine) string {
	return m.rt.kinds["aiosfs.object.write"].adapter.Manifest().Version
}

// Taking back what succeeded is a run of its own, with its own evidence, under the same
// correlation; the earlier envelope stays what it was, byte for byte.
func TestUndoIsARunOfItsOwn(t *testing.T) {
	t.Log("proves: actions-19")
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "one", `write "one" to a.md`)
	m.drop(alice, "two", `write "two" to a.md`)
	before := m.read(alice, "two", "intent.json")
	if err := m.rt.Write(t.Context(), alice, "two", "rollback", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if got, _ := m.file("groups/family/users/alice/home/a.md"); got != "one" {
		t.Errorf("a.md says %q", got)
	}
	if after := m.read(alice, "two", "intent.json"); after != before {
		t.Errorf("the envelope changed:\n%s\n%s", before, after)
	}
	old, e := m.envelopes(alice, "two")[0], m.envelopes(alice, "undo-two")[0]
	if e.Identity.ParentActionID != old.Identity.ActionID || e.Identity.CorrelationID != old.Identity.CorrelationID || e.Trace.TraceID != old.Trace.TraceID || e.Identity.ActionID == old.Identity.ActionID {
		t.Errorf("%+v\n%+v", old.Identity, e.Identity)
	}
	if s := m.read(alice, "undo-two", "state"); s != "SUCCEEDED\n" {
		t.Error(s)
	}
	if v := m.read(alice, "undo-two", "verification.json"); !strings.Contains(v, "aiosfs.transaction_undone") || !strings.Contains(v, "VERIFICATION_PASSED") {
		t.Error(v)
	}
	if err := m.rt.Write(t.Context(), alice, "two", "rollback", []byte("1")); !errors.Is(err, ErrInvalid) {
		t.Errorf("taken back twice: %v", err)
	}
	// It can be undone itself, and a later change is not run over.
	if err := m.rt.Write(t.Context(), alice, "undo-two", "rollback", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if got, _ := m.file("groups/family/users/alice/home/a.md"); got != "two" {
		t.Errorf("after undoing the undo: %q", got)
	}
	m.drop(alice, "three", `write "three" to a.md`)
	if err := m.rt.Write(t.Context(), alice, "one", "rollback", []byte("1")); !errors.Is(err, ErrInvalid) {
		t.Errorf("what was changed since is taken back: %v", err)
	}
	if got, _ := m.file("groups/family/users/alice/home/a.md"); got != "three" {
		t.Errorf("%q", got)
	}
	if v, err := m.store.Fsck(t.Context()); err != nil || len(v.Problems) > 0 {
		t.Errorf("%v %v", v.Problems, err)
	}
}

// Nothing that a run shows of an action changes once it is over, and no record joins it.
func TestTerminalIsFinal(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "ok", `write "x" to a.md`)
	m.drop(alice, "back", twoSteps)
	for _, name := range []string{"ok", "back"} {
		before := m.read(alice, name, "intent.json")
		for _, c := range []struct{ file, text string }{{"cancel", "1"}, {"answer", "x"}, {"approval", "grant " + strings.Repeat("0", 64)}, {"approval", "deny no"}} {
			if err := m.rt.Write(t.Context(), alice, name, c.file, []byte(c.text)); err == nil {
				t.Errorf("%s: %s was taken", name, c.file)
			}
		}
		if after := m.read(alice, name, "intent.json"); after != before {
			t.Errorf("%s changed:\n%s\n%s", name, before, after)
		}
	}
	m.stop()
	m.start()
	for _, name := range []string{"ok", "back"} {
		if err := m.rt.Write(t.Context(), alice, name, "cancel", []byte("1")); err == nil {
			t.Errorf("%s: cancelled after a restart", name)
		}
	}
}

// Every edge that the lifecycle does not have is refused at the one place where steps are
// made: the run stays as it was, in memory and on disk, and the attempt is recorded.
func TestIllegalTransitionsLeaveEvidence(t *testing.T) {
	t.Log("proves: actions-27")
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "ok", `write "x" to a.md`)
	l := m.rt.named(alice.Subject.ID, "ok")
	tried := 0
	for _, from := range States {
		for _, to := range States {
			if CanMove(from, to) && (from != Created || to != Succeeded) {
				continue
			}
			tried++
			err := m.rt.step(l, func(c *change) error {
				c.r.Actions[0].State = from // as if it had come there
				must(c.r.Actions[0].move(to, false))
				return nil
			})
			if !errors.Is(err, ErrIllegalTransition) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
	if s := l.now().Actions[0].State; s != Succeeded {
		t.Errorf("the run is %s", s)
	}
	told := 0
	for r, err := range m.log.Query(evidence.Query{Types: []record.Type{record.FailureObserved}}) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.log.Payload(r.ID)
		if err != nil || !strings.Contains(string(b), "LIFECYCLE_ILLEGAL_TRANSITION") {
			t.Errorf("%s %v", b, err)
		}
		told++
	}
	if told != tried || tried < 150 {
		t.Errorf("%d attempts, %d records", tried, told)
	}
}

// odd is an adapter that does what it is told wrongly.
type odd struct {
	actions  []string
	rollback adapter.Rollback
	simulate error
	execute  func(ctx context.Context) (adapter.Output, error)
	back     error
	backs    int
}

func (o *odd) Manifest() adapter.Manifest {
	var kinds []adapter.Kind
	for _, a := range o.actions {
		kinds = append(kinds, adapter.Kind{Action: a, Class: policy.Read, Rollback: o.rollback, Timeout: 200 * time.Millisecond})
	}
	return adapter.Manifest{ID: "odd", Version: "1.0.0", Stability: adapter.Stable, Dispatch: adapter.InProcess, Kinds: kinds}
}
func (o *odd) Simulate(context.Context, adapter.Request) ([]adapter.Preview, error) {
	return nil, o.simulate
}
func (o *odd) Execute(ctx context.Context, _ adapter.Request) (adapter.Output, error) {
	return o.execute(ctx)
}
func (o *odd) Rollback(context.Context, adapter.Request, map[string]any) error {
	o.backs++
	return o.back
}

func withOdd(t *testing.T, o *odd) *machine {
	t.Helper()
	m := newMachine(t)
	m.stop()
	o.actions = []string{"process.list"}
	m.extra = []adapter.Adapter{o}
	m.start()
	return m
}

const listDoc = `{"schema":"aios.intent.v1alpha1","reason":"look","mode":"LIVE","actions":[{"id":"a","action":"process.list","target":{}%s}]}`

func TestSimulateNeedsAnAdapterThatCan(t *testing.T) {
	t.Log("proves: actions-23")
	m := withOdd(t, &odd{rollback: adapter.RollbackNone, simulate: adapter.ErrNoSimulation})
	alice := m.who(aliceUID)
	if s := m.drop(alice, "s.json", strings.Replace(fmt.Sprintf(listDoc, ""), "LIVE", "SIMULATE", 1)); s != "FAILED" {
		t.Fatal(s)
	}
	if e := m.read(alice, "s.json", "error.json"); !strings.Contains(e, `"AdapterDoesNotSupportSimulate"`) {
		t.Error(e)
	}
}

// A chain of causes is kept eight deep with its root, whose word about trying again counts.
func TestCausesAreBounded(t *testing.T) {
	t.Log("proves: actions-24")
	for _, again := range []bool{true, false} {
		var err error = &adapter.Error{Code: "odd.Root", Retryable: again, Err: errors.New("the root")}
		for i := range 9 {
			err = &adapter.Error{Code: fmt.Sprintf("odd.Wrap%d", i), Retryable: !again, Err: fmt.Errorf("because: %w", err)}
		}
		m := withOdd(t, &odd{rollback: adapter.RollbackNone, execute: func(context.Context) (adapter.Output, error) { return adapter.Output{}, err }})
		alice := m.who(aliceUID)
		if s := m.drop(alice, "c.json", fmt.Sprintf(listDoc, "")); s != "FAILED" {
			t.Fatal(s)
		}
		var f Failure
		if err := json.Unmarshal([]byte(m.read(alice, "c.json", "error.json")), &f); err != nil {
			t.Fatal(err)
		}
		n, last := 0, &f
		for c := &f; c != nil; c = c.Cause {
			n, last = n+1, c
			if c.Retryable != again {
				t.Errorf("%s says retryable %v", c.Code, c.Retryable)
			}
			if len(c.Message) > 512 {
				t.Errorf("%d bytes of message", len(c.Message))
			}
		}
		if n != 8 || f.Code != "odd.Wrap8" || last.Code != "odd.Root" {
			t.Errorf("%d deep, from %s to %s", n, f.Code, last.Code)
		}
	}
}

// What has no way back stays FAILED; what has one that fails is ROLLBACK_FAILED for good,
// kept for ever, with what is affected, and is not tried again.
func TestWaysBack(t *testing.T) {
	t.Log("proves: actions-44")
	never := `,"verify":[{"type":"file.exists","args":{"path":"never"}}]`
	done := func(context.Context) (adapter.Output, error) {
		return adapter.Output{Changed: true, Data: map[string]any{"touched": "lamp"}, Rollback: map[string]any{"was": "off"}}, nil
	}
	o := &odd{rollback: adapter.RollbackNone, execute: done}
	m := withOdd(t, o)
	alice := m.who(aliceUID)
	if s := m.drop(alice, "n.json", fmt.Sprintf(listDoc, never)); s != "FAILED" || o.backs != 0 {
		t.Errorf("no way back: %s, %d attempts", s, o.backs)
	}
	if x := m.envelopes(alice, "n.json")[0].Execution; x.RollbackOutcome != "NOT_APPLICABLE" {
		t.Errorf("%+v", x)
	}
	x := &odd{rollback: adapter.RollbackExternal, execute: done}
	m = withOdd(t, x)
	alice = m.who(aliceUID)
	if s := m.drop(alice, "x.json", fmt.Sprintf(listDoc, never)); s != "FAILED" || x.backs != 0 {
		t.Errorf("an operator must act: %s, %d attempts", s, x.backs)
	}
	if got := m.records(alice, "x.json"); !slices.Contains(got, "ROLLBACK_ATTEMPTED") {
		t.Errorf("the need of an operator is not noted: %v", got)
	}
	if e := m.read(alice, "x.json", "error.json"); !strings.Contains(e, "EXTERNAL_REQUIRED") {
		t.Error(e)
	}
}

func TestFailedRollbackIsFinal(t *testing.T) {
	t.Log("proves: actions-42")
	o := &odd{rollback: adapter.RollbackAdapter, back: errors.New("the lamp is stuck"), execute: func(context.Context) (adapter.Output, error) {
		return adapter.Output{Changed: true, Data: map[string]any{"touched": "lamp"}, Rollback: map[string]any{"was": "off"}}, nil
	}}
	m := withOdd(t, o)
	alice := m.who(aliceUID)
	if s := m.drop(alice, "r.json", fmt.Sprintf(listDoc, `,"verify":[{"type":"file.exists","args":{"path":"never"}}]`)); s != "ROLLBACK_FAILED" {
		t.Fatal(s)
	}
	if e := m.read(alice, "r.json", "error.json"); !strings.Contains(e, `"RollbackFailed"`) || !strings.Contains(e, "lamp") || !strings.Contains(e, `"VerificationFailed"`) {
		t.Error(e)
	}
	found := false
	for r, err := range m.log.Query(evidence.Query{Types: []record.Type{record.RollbackFailedRequiresOperator}}) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || strings.Contains(string(r.Bytes), `"FOREVER"`)
	}
	if !found {
		t.Error("no record of it that is kept for ever")
	}
	if h := m.rt.AdapterHealth(); h["odd"] != "ADAPTER_DEGRADED" {
		t.Errorf("the adapter's health: %v", h)
	}
	m.stop()
	m.start()
	if s := m.read(alice, "r.json", "state"); s != "ROLLBACK_FAILED\n" || o.backs != 1 {
		t.Errorf("%s after %d attempts", s, o.backs)
	}
}

// In LIVE nothing succeeds that a probe could not see.
func TestOnlyPassedProbesSucceed(t *testing.T) {
	t.Log("proves: actions-43")
	m := newMachine(t)
	alice := m.who(aliceUID)
	for i, v := range []string{
		`{"type":"http.ok","args":{"url":"http://127.0.0.1:1/"}}`,                             // no probe for it here
		`{"type":"repo.clean","args":{"path":"nowhere"}}`,                                     // cannot look
		`{"type":"aiosfs.pointer","args":{"path":"a.md","expected_version":"ver_not-an-id"}}`, // cannot be read
	} {
		name := fmt.Sprintf("p%d.json", i)
		doc := fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"a.md"},"params":{"content":"x"},"verify":[%s]}]}`, v)
		s := m.drop(alice, name, doc)
		if s == "SUCCEEDED" {
			t.Errorf("%s: %s", v, s)
		}
		if _, ok := m.file("groups/family/users/alice/home/a.md"); ok {
			t.Errorf("%s: the file stayed", v)
		}
	}
}

// A grant is good once: consumed, it starts nothing a second time.
func TestActions30_GrantIsSpentOnce(t *testing.T) {
	t.Log("proves: actions-30")
	m := newMachine(t)
	ai, bob := m.who(agentUID), m.who(bobUID)
	if err := m.rt.Submit(t.Context(), ai, "p.json", []byte(proposal)); err != nil {
		t.Fatal(err)
	}
	in := m.waiting(bob)
	_, hash, _ := strings.Cut(m.read(bob, in[0].ID, "approval"), "hash: ")
	hash, _, _ = strings.Cut(hash, "\n")
	if err := m.rt.Write(t.Context(), bob, in[0].ID, "approval", []byte("grant "+hash)); err != nil {
		t.Fatal(err)
	}
	if s := m.wait(ai, "p.json"); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	spent := *m.rt.named(ai.Subject.ID, "p.json").now().Actions[0].Approval
	if spent.State != approval.Consumed {
		t.Fatal(spent.State)
	}
	before := m.records(ai, "p.json")
	if err := m.rt.Write(t.Context(), bob, in[0].ID, "approval", []byte("grant "+hash)); !errors.Is(err, ErrInvalid) {
		t.Errorf("granted again: %v", err)
	}
	if got := m.records(ai, "p.json"); !slices.Equal(got, before) {
		t.Errorf("it left %v", got[len(before):])
	}
	// The same binding put under the same request once more starts nothing.
	if err := m.rt.Submit(t.Context(), ai, "q.json", []byte(strings.Replace(proposal, "shared\"}", "again\"}", 1))); err != nil {
		t.Fatal(err)
	}
	l := m.rt.named(ai.Subject.ID, "q.json")
	if err := m.rt.step(l, func(c *change) error {
		a := c.r.Actions[0]
		a.Approval = &spent
		must(a.move(Approved, false))
		c.enqueue(a, "with a grant that was spent")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	m.rt.drive(l)
	if s := m.wait(ai, "q.json"); s != "FAILED" {
		t.Error(s)
	}
	if e := m.read(ai, "q.json", "error.json"); !strings.Contains(e, bindingExpired) && !strings.Contains(e, bindingVoided) {
		t.Error(e)
	}
	if got, _ := m.file("groups/family/shared/notes.md"); got != "shared" {
		t.Errorf("%q", got)
	}
}

// A simulation changes nothing: the store's files and every name in it are the same, and
// what is asked of people for it is asked all the same.
func TestActions22_SimulationChangesNothing(t *testing.T) {
	t.Log("proves: actions-22")
	m := newMachine(t)
	ai, alice := m.who(agentUID), m.who(aliceUID)
	m.drop(alice, "w", `write "x" to a.md`)
	before := treeOf(t, m.store, objects.RootIno, "")
	for i, doc := range []string{
		`{"id":"a","action":"aiosfs.object.write","target":{"path":"a.md"},"params":{"content":"y"}}`,
		`{"id":"a","action":"aiosfs.object.delete","target":{"path":"a.md"}}`,
		`{"id":"a","action":"aiosfs.object.move","target":{"path":"a.md"},"params":{"to":"b.md"}}`,
		`{"id":"a","action":"aiosfs.object.mkdir","target":{"path":"d"}}`,
	} {
		name := fmt.Sprintf("s%d.json", i)
		if s := m.drop(alice, name, `{"schema":"aios.intent.v1alpha1","reason":"x","mode":"SIMULATE","actions":[`+doc+`]}`); s != "SUCCEEDED" {
			t.Errorf("%s: %s %s", doc, s, m.read(alice, name, "error.json"))
		}
		if r := m.read(alice, name, "result.json"); !strings.Contains(r, `"changed": false`) {
			t.Error(r)
		}
		for r, err := range m.log.Query(evidence.Query{CorrelationID: m.rt.named(alice.Subject.ID, name).now().Correlation, IncludeSimulated: true}) {
			if err != nil || !r.Simulated {
				t.Errorf("%s: %v %v", name, r.Type, err)
			}
		}
	}
	if after := treeOf(t, m.store, objects.RootIno, ""); after != before {
		t.Errorf("the tree was\n%s\nis\n%s", before, after)
	}
	if err := m.rt.Submit(t.Context(), ai, "p.json", []byte(strings.Replace(proposal, `"reason"`, `"mode":"SIMULATE","reason"`, 1))); err != nil {
		t.Fatal(err)
	}
	if s := m.read(ai, "p.json", "state"); s != "APPROVAL_PENDING\n" {
		t.Errorf("a simulation that needs an approval is %s", s)
	}
}

func treeOf(t *testing.T, s *objects.Store, dir objects.Ino, path string) string {
	t.Helper()
	h, err := s.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var b strings.Builder
	for _, e := range h.From(0) {
		a, err := s.GetAttr(e.Ino)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s/%s %o %d %d %s %s\n", path, e.Name, a.Mode, a.Size, a.Nlink, a.Version, a.Mtime)
		if a.Mode&0o170000 == 0o040000 {
			b.WriteString(treeOf(t, s, e.Ino, path+"/"+e.Name))
		}
	}
	return b.String()
}

// With the log unwritable nothing succeeds, the reason can be read, and it goes on when
// there is a log again.
func TestActions47_NoEvidenceNoSuccess(t *testing.T) {
	t.Log("proves: actions-47")
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.stop()
	gate := make(chan struct{})
	reached := make(chan struct{}, 1)
	m.fail = func(p string) error {
		if p == "verify" {
			select {
			case reached <- struct{}{}:
				<-gate
			default:
			}
		}
		return nil
	}
	m.start()
	if err := m.rt.Submit(t.Context(), alice, "g", []byte(`write "x" to a.md`)); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := m.log.Close(); err != nil { // in the middle of the run
		t.Fatal(err)
	}
	close(gate)
	// It gets to its end, which nobody is told: the log does not take the evidence.
	time.Sleep(300 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if s, err := m.rt.Wait(ctx, alice, "g"); err == nil {
		t.Errorf("without evidence it is %s", s)
	}
	if s := m.read(alice, "g", "state"); s == "SUCCEEDED\n" {
		t.Error("it succeeded without evidence")
	}
	if err := m.log.Health(); err == nil {
		t.Error("the log says nothing of it")
	}
	_ = errors.Join(m.rt.Close(), m.store.Close(), m.log.Close()) // the log is closed already
	m.fail = nil
	m.start()
	if s := m.wait(alice, "g"); s != "SUCCEEDED" {
		t.Error(s)
	}
	if got := m.records(alice, "g"); !slices.Equal(got, golden) {
		t.Errorf("%v", got)
	}
}
