package agents

import (
	"cmp"
	"slices"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/approval"
)

// envelopeSchema names the form of intent.json (S0.1 §2).
const envelopeSchema = "aios.action.v1alpha1"

// envelope is one action as S0.1 §2-§5 describes it: what was asked for, which never
// changes, and what became of it, which only the runtime writes.
type envelope struct {
	Schema    string            `json:"schema_version"`
	Identity  envelopeIdentity  `json:"identity"`
	Request   plan.Request      `json:"request"`
	Execution envelopeExecution `json:"execution"`
	Trace     envelopeTrace     `json:"trace"`
}

type envelopeIdentity struct {
	ActionID       string    `json:"action_id"`
	IdempotencyKey string    `json:"idempotency_key"`
	CreatedAt      time.Time `json:"created_at"`
	IntentID       string    `json:"intent_id"`
	PlanID         string    `json:"plan_id"`
	ParentActionID string    `json:"parent_action_id,omitempty"`
	CorrelationID  string    `json:"correlation_id"`
	RequestHash    string    `json:"request_hash"`
}

type envelopeExecution struct {
	ReceivedAt       time.Time        `json:"received_at"`
	Runtime          string           `json:"capability_runtime_id"`
	Phase            string           `json:"phase"`
	State            State            `json:"lifecycle_state"` // of S10.1
	PhaseChangedAt   time.Time        `json:"phase_changed_at"`
	Conditions       []Condition      `json:"conditions"`
	DecisionID       string           `json:"policy_decision_id,omitempty"`
	ApprovalID       string           `json:"approval_request_id,omitempty"`
	AdapterID        string           `json:"adapter_id,omitempty"`
	Attempts         int              `json:"attempts"`
	SandboxProfile   string           `json:"applied_sandbox_profile_id,omitempty"`
	DispatchKind     string           `json:"dispatch_kind,omitempty"`
	QueueClass       Class            `json:"queue_class"`
	RollbackOutcome  string           `json:"rollback_outcome"`
	CrashSeen        bool             `json:"crash_recovery_observed,omitempty"`
	Result           *envelopeResult  `json:"result,omitempty"`
	Error            *Failure         `json:"error,omitempty"`
	Verification     []envelopeVerify `json:"verification_results,omitempty"`
	EvidenceReceipts []string         `json:"evidence_receipt_ids"`
}

type envelopeResult struct {
	Summary string         `json:"summary"`
	Output  map[string]any `json:"output,omitempty"`
	Changed bool           `json:"changed"`
}

type envelopeVerify struct {
	Intent   plan.Verification `json:"intent"`
	Status   string            `json:"status"`
	Observed string            `json:"observed,omitempty"`
}

type envelopeTrace struct {
	TraceID string            `json:"trace_id"`
	Baggage map[string]string `json:"baggage,omitempty"`
}

// Condition is one fact about an action (S0.1 §5.3).
type Condition struct {
	Type   string    `json:"type"`
	Status string    `json:"status"` // TRUE FALSE UNKNOWN
	At     time.Time `json:"last_transition_time"`
	Reason string    `json:"reason,omitempty"`
}

// envelope shows an action of a run.
func (rt *Runtime) envelope(r *Run, a *Action) envelope {
	e := envelope{Schema: envelopeSchema,
		Identity: envelopeIdentity{ActionID: a.ID, IdempotencyKey: a.Step.IdempotencyKey, CreatedAt: r.Accepted, IntentID: r.Intent, PlanID: r.PlanID,
			ParentActionID: cmp.Or(a.Parent, r.Cause), CorrelationID: r.Correlation, RequestHash: a.RequestHash},
		Execution: envelopeExecution{ReceivedAt: r.Accepted, Runtime: rt.id, Phase: a.Phase(), State: a.State, PhaseChangedAt: phaseChanged(r, a),
			Conditions: rt.conditions(r, a), Attempts: a.Attempts, DispatchKind: a.Dispatch, QueueClass: r.class(), RollbackOutcome: a.Rollback, CrashSeen: a.CrashSeen,
			EvidenceReceipts: receipts(r, a)},
		Trace: envelopeTrace{TraceID: traceID(r.Correlation)},
	}
	if r.Plan != nil {
		e.Request = a.Step.Request(r.By.Subject.ID, r.Plan.Reason, environment)
	}
	if r.mode() == plan.Simulate {
		e.Trace.Baggage = map[string]string{"aios.simulated": "true"}
	}
	x := &e.Execution
	if a.Decision != nil {
		x.DecisionID = a.Decision.ID
	}
	if a.Approval != nil {
		x.ApprovalID = a.Approval.ID
	}
	if a.Attempts > 0 {
		x.SandboxProfile, x.AdapterID = a.Step.SandboxProfile, rt.kinds[a.Step.Action].id
	}
	if a.State.Terminal() && a.Rollback != rollbackDue {
		x.result(a)
	}
	for _, k := range a.Checks {
		x.Verification = append(x.Verification, envelopeVerify{plan.Verification{Type: k.Type, Args: k.Args}, "VERIFICATION_" + k.Outcome, k.Detail})
	}
	return e
}

// result fills in how an action ended: a result where it succeeded, an error where it
// failed, both where it was taken back (S0.1 §5.4).
func (x *envelopeExecution) result(a *Action) {
	switch a.State {
	case Succeeded:
		x.Result = &envelopeResult{"done: " + a.Step.Action, a.Output.Data, a.Output.Changed}
	case RolledBack:
		x.Result = &envelopeResult{"its effects were taken back", nil, false}
		x.Error = a.Failure
	default:
		x.Error = a.Failure
	}
}

func receipts(r *Run, a *Action) []string {
	ids := []string{}
	for _, e := range r.Evidence {
		if e.Action == a.ID {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// phaseChanged is when the action came into its present public phase.
func phaseChanged(r *Run, a *Action) time.Time {
	at, phase := r.Accepted, Created.Phase()
	for _, e := range r.Events {
		if e.Action != a.ID {
			continue
		}
		p := State(e.State).Phase()
		if e.State == string(Failed) && (a.Rollback == rollbackDue || a.Rollback == rollbackDone || a.Rollback == rollbackFailed) {
			p = phase // what follows it is the end
		}
		if p != phase {
			at, phase = e.At, p
		}
	}
	return at
}

// conditions are the facts of S0.1 §5.3 and §7.7 that hold of an action now. They follow
// from its record, so that phase and conditions cannot disagree.
func (rt *Runtime) conditions(r *Run, a *Action) []Condition {
	list := []Condition{}
	when := map[State]time.Time{}
	for _, e := range r.Events {
		// Later ones tell what else happened while it was there, or after its end.
		if _, ok := when[State(e.State)]; !ok && e.Action == a.ID {
			when[State(e.State)] = e.At
		}
	}
	add := func(typ, status string, at time.Time, reason string) {
		if at.IsZero() {
			at = r.Accepted
		}
		list = append(list, Condition{typ, status, at, reason})
	}
	if r.mode() == plan.Simulate {
		add("Simulated", "TRUE", r.Accepted, "")
	}
	if repeated(r) {
		add("Idempotent", "TRUE", r.Accepted, "")
	}
	d := a.Decision
	if d == nil {
		if a.State == Failed {
			add("PolicyEvaluated", "UNKNOWN", when[Failed], "")
		}
		return list
	}
	add("PolicyEvaluated", "TRUE", d.EvaluatedAt, d.ReasonCode)
	q := a.Approval
	switch {
	case d.Outcome != policy.Allow && d.Outcome != policy.RequireApproval:
		add("PolicyAccepted", "FALSE", d.EvaluatedAt, d.ReasonCode)
	case q == nil || q.Binding != nil:
		add("PolicyAccepted", "TRUE", when[Queued], d.ReasonCode)
	}
	if q != nil {
		add("ApprovalRequired", "TRUE", q.DeliveredAt, d.ReasonCode)
		switch q.State {
		case approval.Granted, approval.Consumed:
			add("ApprovalGranted", "TRUE", q.Binding.GrantedAt, "")
		case approval.Denied, approval.Revoked:
			add("ApprovalGranted", "FALSE", when[Failed], string(q.DenialReason))
		case approval.Expired:
			add("ApprovalExpired", "TRUE", q.ExpiresAt, string(q.DenialReason))
		}
	}
	return append(list, rt.progress(r, a, when)...)
}

// progress are the conditions of what happens behind the queue.
func (rt *Runtime) progress(r *Run, a *Action, when map[State]time.Time) []Condition {
	if a.Attempts == 0 {
		return nil
	}
	list := []Condition{{"Sandboxed", "TRUE", when[Executing], a.Dispatch}}
	switch at, executed := when[Verifying]; {
	case executed:
		list = append(list, Condition{"Executed", "TRUE", at, ""})
	case a.State.Terminal():
		return append(list, Condition{"Executed", "FALSE", when[Failed], code(a.Failure)})
	default:
		return list
	}
	possible := "TRUE"
	if rt.kinds[a.Step.Action].kind.Rollback == adapter.RollbackNone {
		possible = "FALSE"
	}
	list = append(list, Condition{"RollbackPossible", possible, when[Verifying], ""})
	switch {
	case a.State == Succeeded && r.mode() != plan.Simulate:
		list = append(list, Condition{"Verified", "TRUE", when[Succeeded], ""})
	case a.Verification != "" && a.State != Succeeded && a.State != Verifying:
		list = append(list, Condition{"Verified", "FALSE", when[Failed], code(a.Failure)})
	}
	switch a.State {
	case RolledBack:
		list = append(list, Condition{"RolledBack", "TRUE", when[RolledBack], ""})
	case RollbackFailed:
		list = append(list, Condition{"RolledBack", "UNKNOWN", when[RollbackFailed], ""})
	}
	return list
}

// repeated says whether the same goal was dropped again before it was over: afterwards
// nothing of it changes, and a repetition only reads it.
func repeated(r *Run) bool {
	return slices.ContainsFunc(r.Events, func(e Event) bool { return e.Detail == droppedAgain && (r.Done.IsZero() || e.At.Before(r.Done)) })
}

func code(f *Failure) string {
	if f == nil {
		return ""
	}
	return f.Code
}

// maxCauses bounds a chain of causes (S0.1 §7).
const maxCauses = 8

// because gives a failure its cause: the chain is cut to eight, the root kept, and whether
// it may be tried again is what the root says.
func (f *Failure) because(cause *Failure) *Failure {
	if cause == nil {
		return f
	}
	chain := []*Failure{f}
	for c := cause; c != nil; c = c.Cause {
		chain = append(chain, c)
	}
	if n := len(chain); n > maxCauses {
		chain = append(chain[:maxCauses-1:maxCauses-1], chain[n-1])
	}
	root := chain[len(chain)-1]
	var out *Failure
	for i := len(chain) - 1; i >= 0; i-- {
		c := *chain[i]
		c.Cause, c.Retryable = out, root.Retryable
		out = &c
	}
	return out
}
