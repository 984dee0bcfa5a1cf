package agents

import (
	"crypto/ed25519"
	"fmt"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// The reasons of a failed pre-dispatch (S10.1 §6.1).
const (
	bindingVoided  = "BINDING_VOIDED_ACTION_REVISED"
	bindingExpired = "BINDING_EXPIRED"
	sandboxFailed  = "SANDBOX_APPLICATION_FAILED"
	noBackend      = "REQUIRED_BACKEND_UNAVAILABLE"
	notQueued      = "LIFECYCLE_ILLEGAL_TRANSITION"
)

// preDispatch takes the eight steps of S10.1 §6.1, strictly in this order, immediately
// before the adapter; nil when the action is EXECUTING and the adapter is to be called.
// The first step that fails ends it, and nothing of the others is done: the grant is
// spent only by an action that starts, in the same commit.
func (rt *Runtime) preDispatch(c *change, a *Action) *Failure {
	steps := [...]func(c *change, a *Action) *Failure{
		rt.unrevised, rt.stillAllowed, rt.stillApproved, rt.stillCapable, rt.walled, stillQueued, rt.spendGrant, rt.start,
	}
	for i, step := range steps {
		if f := step(c, a); f != nil {
			if f.Details == nil {
				f.Details = map[string]any{}
			}
			f.Details["pre_dispatch_step"] = i + 1
			return f
		}
	}
	return nil
}

// unrevised is step 1: the action is the one that was decided on.
func (rt *Runtime) unrevised(c *change, a *Action) *Failure {
	hash, err := a.Step.Request(c.r.By.Subject.ID, c.r.Plan.Reason, environment).Hash()
	if err != nil || hash != a.RequestHash || a.Decision == nil || a.Decision.RequestHash != hash {
		return &Failure{Code: bindingVoided, Message: "the action is not the one that was decided on", Details: map[string]any{"was": a.RequestHash, "is": hash}}
	}
	return nil
}

// stillAllowed is step 2: under other rules, or another catalogue of identities, policy is
// asked again. REQUIRE_APPROVAL is good enough where there is one (policy.md O-10).
func (rt *Runtime) stillAllowed(c *change, a *Action) *Failure {
	s, f := rt.subject(c.r)
	if f != nil {
		return f
	}
	same := rt.d.Kernel.Info().BundleVersion == a.Decision.BundleVersion && s.CatalogVersion == c.r.By.Subject.CatalogVersion
	if c.r.Plan.Mode == plan.Simulate || same {
		return nil
	}
	now, run := *c, *c.r
	run.By.Subject = s
	now.r = &run
	d, f := rt.ask(rt.ctx, &now, a, rt.d.Kernel.Simulate)
	if f != nil || d.Outcome == policy.Deny || d.Outcome == policy.RequireApproval && a.Approval == nil {
		return &Failure{Code: bindingExpired, Message: "the policy changed, and does not allow this any more", Details: map[string]any{"reason_code": d.ReasonCode, "bundle_version": d.BundleVersion}}
	}
	return nil
}

// subject is the submitter as the catalogue in force has it.
func (rt *Runtime) subject(r *Run) (identity.Subject, *Failure) {
	cat := rt.d.Identity.Catalog()
	if cat.Version() == r.By.Subject.CatalogVersion {
		return r.By.Subject, nil
	}
	k := identity.Caller{UID: r.By.UID, GID: r.By.GID, Groups: r.By.Groups}
	if r.By.Subject.IsAI {
		k.AgentID = r.By.Subject.ID
	}
	s, err := cat.Resolve(k)
	if err != nil || s.ID != r.By.Subject.ID || s.IsAI != r.By.Subject.IsAI {
		return s, &Failure{Code: bindingExpired, Message: fmt.Sprintf("%s is not who asks any more", r.By.Subject.ID), Details: map[string]any{"reason_code": policy.SubjectUnauthenticated}}
	}
	return s, nil
}

// stillApproved is step 3: the grant is signed, for this hash, not spent, revoked or over.
func (rt *Runtime) stillApproved(c *change, a *Action) *Failure {
	if a.Approval == nil {
		return nil
	}
	if err := a.Approval.Check(a.RequestHash, rt.d.ApprovalKey.Public().(ed25519.PublicKey), c.now); err != nil {
		return &Failure{Code: bindingExpired, Message: err.Error(), Details: map[string]any{"approval_state": string(a.Approval.State)}}
	}
	return nil
}

// stillCapable is step 4: the vault capability that the rule asks for is held now.
func (rt *Runtime) stillCapable(c *change, a *Action) *Failure {
	need := a.Decision.Constraints.VaultCapability
	if need == "" {
		return nil
	}
	if s, f := rt.subject(c.r); f != nil || !s.Has(need) {
		return &Failure{Code: bindingExpired, Message: fmt.Sprintf("%s does not hold the capability %s", c.r.By.Subject.ID, need), Details: map[string]any{"capability": need}}
	}
	return nil
}

// walled is step 5: the sandbox can be built on the host as it is now.
func (rt *Runtime) walled(c *change, a *Action) *Failure {
	k := rt.kinds[a.Step.Action]
	if rt.health.of(k.adapter.Manifest().ID, c.now) == adapterUnhealthy {
		return &Failure{Code: "BACKEND_UNAVAILABLE", Message: "the adapter of " + a.Step.Action + " was too slow three times in five minutes and is paused", Retryable: true, Details: map[string]any{"reason": "BACKEND_UNAVAILABLE", "adapter_id": k.id}}
	}
	w, ok := k.adapter.(adapter.Walled)
	if !ok {
		return nil
	}
	if err := w.Ready(); err != nil {
		return &Failure{Code: sandboxFailed, Message: err.Error(), Details: map[string]any{"reason": sandboxFailed, "sandbox_profile_id": a.Step.SandboxProfile}}
	}
	return nil
}

// stillQueued is step 6.
func stillQueued(c *change, a *Action) *Failure {
	if a.State != Queued {
		return &Failure{Code: notQueued, Message: "it is " + string(a.State)}
	}
	return nil
}

// spendGrant is step 7.
func (rt *Runtime) spendGrant(c *change, a *Action) *Failure {
	if a.Approval == nil {
		return nil
	}
	if err := a.Approval.Consume(a.RequestHash, rt.d.ApprovalKey.Public().(ed25519.PublicKey), c.now); err != nil {
		return &Failure{Code: bindingExpired, Message: err.Error()}
	}
	c.emit(record.EmitterApproval, record.ApprovalConsumed, a, map[string]any{"approval_request_id": a.Approval.ID, "binding_id": a.Approval.Binding.ID})
	return nil
}

// start is step 8 up to the adapter's call.
func (rt *Runtime) start(c *change, a *Action) *Failure {
	must(a.move(Executing, false))
	a.Attempts++
	a.Dispatch = rt.dispatch(c.r, a)
	profile := map[string]any{"applied_sandbox_profile_id": a.Step.SandboxProfile, "dispatch_kind": a.Dispatch}
	// What is staged into the store by this process has no walls around it, and the
	// record says so; those of a child are in the record of its end.
	c.orphan(record.EmitterRuntime, "SANDBOX_PROFILE_APPLIED", a, map[string]any{"applied_sandbox_profile_id": a.Step.SandboxProfile, "enforcement": rt.enforcement(a)})
	c.emit(record.EmitterRuntime, record.ActionDispatched, a, profile)
	c.emit(record.EmitterAdapter, record.ExecutionStarted, a, map[string]any{"applied_sandbox_profile_id": a.Step.SandboxProfile, "attempt": a.Attempts})
	c.event(a, string(Executing), a.Dispatch)
	return nil
}
