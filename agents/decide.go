package agents

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/agents/translate"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/approval"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// environment is where actions happen (S0.1 §4).
const environment = "local"

// The outcomes of a rollback (S10.1 §7), and the mark of one that is still due.
const (
	rollbackNone   = "NOT_ATTEMPTED"
	rollbackNA     = "NOT_APPLICABLE"
	rollbackDone   = "SUCCEEDED"
	rollbackFailed = "FAILED"
	rollbackDue    = "DUE"
)

// begin makes the plan's steps into actions and asks policy about each. It fails, with
// ErrAgain and nothing done, when the subject has asked policy too often.
func (rt *Runtime) begin(ctx context.Context, c *change) error {
	if c.r.Plan.Mode != plan.Validate {
		if err := rt.d.Kernel.Admit(c.r.By.Subject, len(c.r.Plan.Steps)); err != nil {
			return rt.pushBack(c.r.By, "RESOURCE_EXHAUSTED")
		}
	}
	c.r.Word = ""
	for i := range c.r.Plan.Steps {
		plainStep(&c.r.Plan.Steps[i])
	}
	group := -1
	for i, s := range c.r.Plan.Steps {
		sv, known := rt.kinds[s.Action]
		_, stages := sv.adapter.(adapter.Stager)
		if prev := i - 1; i == 0 || !c.r.Plan.Atomic || !stages || !rt.stages(c.r.Plan.Steps[prev]) {
			group++
		}
		a := &Action{ID: newID("act", c.now), Step: s, State: Created, Rollback: rollbackNone, Group: group}
		a.Parent, _ = s.Target["parent_action_id"].(string) // no document can say it: see takeBack
		c.r.Actions = append(c.r.Actions, a)
		var err error
		if a.RequestHash, err = s.Request(c.r.By.Subject.ID, c.r.Plan.Reason, environment).Hash(); err != nil {
			c.emit(record.EmitterRuntime, record.ActionReceived, a, map[string]any{"kind": string(c.r.Plan.Mode)})
			c.invalid(a, "EnvelopeMalformed", err.Error())
			continue
		}
		if c.r.Plan.Mode == plan.Validate && known {
			must(a.move(Succeeded, true)) // no policy, no adapter, no evidence (S10.1 §9)
			continue
		}
		c.emit(record.EmitterRuntime, record.ActionReceived, a, map[string]any{"kind": string(c.r.Plan.Mode)})
		if !known && !rt.forbidden(ctx, c, a) {
			c.invalid(a, "UnknownAdapter", "no adapter carries out "+s.Action+" here")
			continue
		}
		if known && !translate.KnownProfile(s.SandboxProfile) {
			c.invalid(a, "SandboxProfileUnknown", fmt.Sprintf("there is no sandbox profile %q, and without one %s is not run", s.SandboxProfile, s.Action))
			continue
		}
		if from, to := rt.rescopes(c.r.By, s); from != to {
			c.invalid(a, "InvalidScopeBindingChange", fmt.Sprintf("what belongs to %s stays there and cannot be moved to %s: copy it, then delete the original", from, to))
			continue
		}
		c.emit(record.EmitterRuntime, record.ActionValidated, a, map[string]any{"outcome": "PASSED"})
		c.event(a, string(Created), "")
		if !rt.spend(c.r, c.now) {
			c.fail(a, &Failure{Code: "RESOURCE_BUDGET_EXCEEDED", Message: rt.rate(c.r.By).says(c.r.By.Subject), Retryable: true})
			continue
		}
		must(a.move(PolicyPending, false))
		rt.decide(ctx, c, a)
	}
	for _, a := range c.r.Actions {
		if a.State.Terminal() && a.State != Succeeded {
			c.dropRest(a)
			break
		}
	}
	rt.describe(ctx, c)
	return nil
}

// forbidden says whether an action that nothing here carries out is denied for good all the
// same: who must not even ask for it is told so, and it is recorded.
func (rt *Runtime) forbidden(ctx context.Context, c *change, a *Action) bool {
	d, f := rt.ask(ctx, c, a, rt.d.Kernel.Simulate)
	return f == nil && d.HardDeny
}

// rescopes names the scopes that a move goes between: an object keeps the one that it was
// made in (S1.3 §6; filesystem.md §1).
func (rt *Runtime) rescopes(by Submitter, s plan.Step) (from, to string) {
	places := paths(s, by)
	if s.Action != "aiosfs.object.move" || len(places) != 2 {
		return "", ""
	}
	var named [2]string
	for i, p := range places {
		t, err := rt.d.Resolver.Resolve(p)
		if err != nil {
			return "", "" // the answer to the place itself says more
		}
		named[i] = strings.TrimSuffix(strings.Join([]string{strings.ToLower(t.Scope), t.Group, t.User}, " "), " ")
	}
	return strings.TrimSpace(named[0]), strings.TrimSpace(named[1])
}

func (rt *Runtime) stages(s plan.Step) bool {
	_, ok := rt.kinds[s.Action].adapter.(adapter.Stager)
	return ok
}

// must breaks a step off at a transition that the lifecycle does not have: stepIn leaves
// the run as it was, and a record.
func must(err error) {
	if err != nil {
		panic(illegal{err})
	}
}

// illegal is what must panics with.
type illegal struct{ error }

func (c *change) invalid(a *Action, code, message string) {
	c.emit(record.EmitterRuntime, record.ActionValidated, a, map[string]any{"outcome": "FAILED", "error_code": code})
	c.fail(a, &Failure{Code: code, Message: message})
}

// fail moves an action to FAILED with its reason.
func (c *change) fail(a *Action, f *Failure) {
	must(a.move(Failed, false))
	a.Failure = f
	if c.r.Failure == nil {
		c.r.Failure = f
	}
	c.emit(record.EmitterRuntime, record.ExecutionFailed, a, map[string]any{"error_code": f.Code, "message": f.Message})
	c.event(a, string(Failed), f.Code)
}

// dropRest ends what waits, in an atomic run, when one of its actions came to
// nothing; otherwise what depends on that action.
func (c *change) dropRest(failed *Action) {
	gone := map[string]bool{failed.Step.ID: true}
	for _, a := range c.r.Actions {
		if a == failed || a.State.Terminal() {
			continue
		}
		depends := c.r.Plan.Atomic
		for _, id := range a.Step.After {
			depends = depends || gone[id]
		}
		if !depends {
			continue
		}
		gone[a.Step.ID] = true
		switch a.State {
		case PolicyPending:
			continue // it is being decided
		case Approved:
			must(a.move(Queued, false))
		}
		if a.Approval != nil && a.Approval.State == approval.Awaiting {
			a.Approval.State, a.Approval.DenialReason = approval.Denied, approval.Superseded
		}
		c.fail(a, &Failure{Code: "DEPENDENCY_UNREADY", Message: "another action of this goal came to nothing: " + failed.Step.ID})
	}
}

// paths are the places in the tree that a step is about, the target first.
func paths(s plan.Step, by Submitter) []string {
	var out []string
	if p, ok := s.Target["path"].(string); ok {
		out = append(out, aiosfs.Rooted(by.Subject, p))
	}
	if p, ok := s.Params["to"].(string); ok {
		out = append(out, aiosfs.Rooted(by.Subject, p))
	}
	if more, ok := s.Target["paths"].([]any); ok { // of what is taken back
		for _, p := range more {
			if p, ok := p.(string); ok && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	if g, ok := s.Target["group"].(string); ok && len(out) == 0 {
		out = append(out, "groups/"+g)
	}
	return out
}

// ask asks policy about every place of an action; the strictest answer counts.
func (rt *Runtime) ask(ctx context.Context, c *change, a *Action, one func(context.Context, policy.Request) policy.Decision) (policy.Decision, *Failure) {
	sv := rt.kinds[a.Step.Action]
	risk := policy.Risk(a.Step.Risk)
	if sv.adapter == nil {
		sv.kind.Class = policy.Mutate // nobody has said that it only looks
	}
	q := policy.Request{ActionID: a.ID, RequestHash: a.RequestHash, Action: a.Step.Action, Class: sv.kind.Class, Subject: c.r.By.Subject,
		Claimed: risk, Template: sv.kind.Risk.Or(risk), Environment: environment, DryRun: string(c.r.Plan.Mode), SandboxProfile: a.Step.SandboxProfile,
		HourUTC: c.now.Hour(), Weekday: c.now.Weekday().String()}
	q.Recursive, _ = a.Step.Params["recursive"].(bool)
	places := paths(a.Step, c.r.By)
	if len(places) == 0 || a.Step.Target["path"] == nil {
		q.Target = policy.Target{Fields: a.Step.Target}
		return one(ctx, q), nil
	}
	var worst policy.Decision
	found, f, in := rt.facts(places)
	if !in {
		late, cancel := expired(ctx)
		defer cancel()
		q.Target = policy.Target{Fields: a.Step.Target}
		return one(late, q), nil
	}
	for i, x := range found {
		q.Target, q.Objects = x.target, x.objects
		if q.Target.Fields == nil {
			q.Target.Fields = a.Step.Target
		}
		if i > 0 {
			// The kernel keeps answers by hash; another place is another question.
			q.RequestHash = ""
		}
		d := one(ctx, q)
		d.RequestHash = a.RequestHash
		if i == 0 || d.Outcome > worst.Outcome || d.Outcome < policy.Allow {
			worst = d
		}
	}
	return worst, f
}

// gates are the components whose refusals happen here, before anything of theirs is asked:
// the gate of installations stands in this runtime, not in an app runtime behind it.
var gates = []record.Emitter{record.EmitterPolicy, record.EmitterApps, record.EmitterPackages, record.EmitterCognition, record.EmitterIdentity,
	record.EmitterStore, record.EmitterRecovery, record.EmitterNetwork, record.EmitterVault}

// decide asks policy and moves the action on (T4 to T6, T12).
func (rt *Runtime) decide(ctx context.Context, c *change, a *Action) {
	questions := map[string]policy.Request{} // by the decision's id
	d, f := rt.ask(ctx, c, a, func(ctx context.Context, q policy.Request) policy.Decision {
		one := rt.d.Kernel.Evaluate
		if c.r.Plan.Mode == plan.Simulate {
			one = rt.d.Kernel.Simulate
		}
		d := one(ctx, q)
		questions[d.ID] = q
		return d
	})
	if f != nil {
		// The place does not exist in the lattice: nothing that could be allowed.
		d = policy.Decision{ID: newID("poldec", c.now), ActionID: a.ID, RequestHash: a.RequestHash, Outcome: policy.Deny,
			ReasonCode: policy.EnrichmentUnavailable, ReasonMessage: f.Message, BundleVersion: rt.d.Kernel.Info().BundleVersion, EvaluatedAt: c.now}
	}
	a.Decision = &d
	told := map[string]any{"decision": d.Outcome.String(), "reason_code": d.ReasonCode, "rule_id": d.RuleID, "bundle_version": d.BundleVersion, "snapshot_id": d.SnapshotID}
	if q, ok := questions[d.ID]; ok {
		// All that the decision depends on: with the bundle, the log alone tells why it
		// was made, and whether it is made again.
		told["request"], told["evaluated_at"] = q, d.EvaluatedAt
	}
	c.emit(record.EmitterPolicy, record.PolicyDecision, a, told)
	for _, name := range d.ExtraRecords {
		t, err := record.Parse(name)
		i := slices.IndexFunc(gates, func(e record.Emitter) bool { return err == nil && t.MayEmit(e) })
		if i < 0 {
			rt.d.Logger.Warn("policy asks for a record that no gate here may make", "type", name)
			continue
		}
		c.emit(gates[i], t, a, map[string]any{"reason_code": d.ReasonCode, "path": path.Join(paths(a.Step, c.r.By)...)})
	}
	c.emit(record.EmitterRuntime, record.ActionPolicyDecision, a, map[string]any{"decision": d.Outcome.String(), "reason_code": d.ReasonCode})
	switch {
	case d.Outcome == policy.Allow:
		must(a.move(Approved, false))
		c.enqueue(a, d.ReasonCode)
	case d.Outcome == policy.RequireApproval:
		rt.askApproval(c, a)
	default:
		must(a.move(PolicyDenied, false))
		a.Failure = &Failure{Code: "PolicyDenied", Message: d.ReasonMessage, Details: map[string]any{"reason_code": d.ReasonCode, "rule_id": d.RuleID, "hard_deny": d.HardDeny}}
		if f != nil {
			a.Failure = f
		}
		a.Failure.Retryable = a.Failure.Retryable || d.ReasonCode == policy.EvaluationTimeout
		if c.r.Failure == nil {
			c.r.Failure = a.Failure
		}
		c.event(a, string(PolicyDenied), d.ReasonCode)
	}
}

// askApproval puts the question to people.
func (rt *Runtime) askApproval(c *change, a *Action) {
	d, s := a.Decision, c.r.By.Subject
	ttl := d.Approval.TTLSeconds
	if ttl == 0 {
		ttl = 300
	}
	q, err := approval.New(approval.Request{ActionID: a.ID, DecisionID: d.ID, RequestHash: a.RequestHash, BundleVersion: d.BundleVersion,
		Proposer: s.ID, ProposerUID: c.r.By.UID, ProposerAI: s.IsAI, ProposerGroup: s.PrimaryGroup, Addressed: rt.addressees(c.r, a),
		Classes: d.Approval.ApproverClasses, Strength: d.Approval.Strength, TTLSeconds: ttl}, d.HardDeny, c.now)
	must(a.move(ApprovalPending, false))
	if err != nil {
		c.fail(a, &Failure{Code: "ApprovalDenied", Message: err.Error()})
		return
	}
	a.Approval = q
	if !rt.reaches(q) {
		rt.undeliverable(c, a)
		return
	}
	must(q.Deliver(c.now))
	c.emit(record.EmitterApproval, record.ApprovalRequested, a, map[string]any{"approval_request_id": q.ID, "strength": q.Strength, "ttl_seconds": q.TTLSeconds})
	c.emit(record.EmitterApproval, record.ApprovalDelivered, a, map[string]any{"approval_request_id": q.ID, "expires_at": q.ExpiresAt})
	c.event(a, string(ApprovalPending), q.ID)
}

// reaches says whether there is a channel to somebody who may approve: the inbox of a
// mount is open to everybody, or to its owner alone.
func (rt *Runtime) reaches(q *approval.Request) bool {
	if rt.d.OnlyFor == nil {
		return true
	}
	s, err := rt.d.Identity.Catalog().Resolve(identity.Caller{UID: *rt.d.OnlyFor, GID: *rt.d.OnlyFor})
	return err == nil && q.Strength != "DUAL" && q.Eligible(s) == nil
}

// undeliverable ends an approval for which there is nobody to ask (S5.3 §4).
func (rt *Runtime) undeliverable(c *change, a *Action) {
	q := a.Approval
	must(q.Undeliverable())
	told := map[string]any{"approval_request_id": q.ID, "strength": q.Strength, "reason": string(q.DenialReason)}
	c.emit(record.EmitterApproval, record.ApprovalRequested, a, maps.Clone(told))
	c.emit(record.EmitterApproval, record.ApprovalDeliveryFailed, a, told)
	c.fail(a, &Failure{Code: "ApprovalDenied", Message: "it needs an approval, and this mount lets nobody in who could give it: mount with allow_other, or with single_operator where one person approves for himself",
		Details: map[string]any{"reason": string(q.DenialReason), "approval_state": string(q.State)}})
}
