package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents/translate"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/policy/approval"
)

// Write takes what was written to a control file of a run: answer, approval, cancel,
// override, rollback.
func (rt *Runtime) Write(ctx context.Context, by Submitter, run, file string, data []byte) error {
	l, own := rt.visible(by, run)
	if l == nil {
		return ErrNotFound
	}
	text := strings.TrimSpace(string(data))
	if file != "approval" && file != "override" && !own {
		return ErrDenied
	}
	var err error
	switch file {
	case "approval":
		err = rt.approve(l, by, text)
	case "override":
		err = rt.override(l, by, text)
	case "answer":
		err = rt.answer(ctx, l, text)
	case "cancel":
		if text != "1" {
			return fmt.Errorf("write 1: %w", ErrInvalid)
		}
		err = rt.cancel(l)
	case "rollback":
		if text != "1" {
			return fmt.Errorf("write 1: %w", ErrInvalid)
		}
		err = rt.takeBack(ctx, l, by)
	default:
		return ErrDenied
	}
	if err == nil && !l.now().Terminal() {
		rt.drive(l)
	}
	return err
}

// pending is the action that an approval is asked for; with several, the first.
func pending(r *Run) *Action {
	for _, a := range r.Actions {
		if a.State == ApprovalPending && a.Approval != nil {
			return a
		}
	}
	return nil
}

// approve reads `grant <hash>`, `deny <reason>` or `revoke <reason>`.
func (rt *Runtime) approve(l *tracked, by Submitter, text string) error {
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	if by.Subject.IsAI {
		return rt.aiApproval(l, by)
	}
	if word == "revoke" {
		return rt.revoke(l, by, rest)
	}
	return rt.step(l, func(c *change) error {
		a := pending(c.r)
		if word == "grant" {
			for _, x := range c.r.Actions {
				if x.State == ApprovalPending && x.Approval != nil && x.RequestHash == rest {
					a = x
				}
			}
		}
		if a == nil {
			return fmt.Errorf("nothing waits for an approval: %w", ErrInvalid)
		}
		switch word {
		case "grant":
			if err := a.Approval.Grant(by.Subject, rest, rt.d.ApprovalKey, c.now); err != nil {
				return approvalError(err)
			}
			if a.Approval.State != approval.Granted {
				c.emitAs(by, record.EmitterApproval, record.ApprovalGranted, a, map[string]any{"approval_request_id": a.Approval.ID, "signature": "first of two"})
				c.event(a, string(ApprovalPending), "approved by "+by.Subject.ID+"; a second person must, too")
				return nil
			}
			c.emitAs(by, record.EmitterApproval, record.ApprovalGranted, a, map[string]any{"approval_request_id": a.Approval.ID, "binding_id": a.Approval.Binding.ID})
			must(a.move(Approved, false))
			c.enqueue(a, "approved by "+by.Subject.ID)
		case "deny":
			if err := a.Approval.Deny(by.Subject, rest); err != nil {
				return approvalError(err)
			}
			c.emitAs(by, record.EmitterApproval, record.ApprovalDenied, a, map[string]any{"approval_request_id": a.Approval.ID, "message": rest})
			c.fail(a, &Failure{Code: "ApprovalDenied", Message: "denied by " + by.Subject.ID + ": " + rest})
			c.dropRest(a)
			c.finish()
		default:
			return fmt.Errorf("write `grant <hash>`, `deny <reason>` or `revoke <reason>`: %w", ErrInvalid)
		}
		return nil
	})
}

// revoke takes back what a person granted, as long as nothing was started with it. When that
// came first, the revocation is recorded and nothing is unwound (S5.3 §9).
func (rt *Runtime) revoke(l *tracked, by Submitter, reason string) error {
	return rt.step(l, func(c *change) error {
		err := fmt.Errorf("nothing was granted: %w", ErrInvalid)
		for _, a := range c.r.Actions {
			q := a.Approval
			if q == nil || q.Binding == nil {
				continue
			}
			told := map[string]any{"approval_request_id": q.ID, "binding_id": q.Binding.ID, "message": reason}
			if q.State == approval.Consumed && q.MayRevoke(by.Subject) {
				told["revocation_observed_after_consume"] = true
				c.emitAs(by, record.EmitterApproval, record.ApprovalRevoked, a, told)
				c.event(a, string(a.State), "revoked by "+by.Subject.ID+" after it had been used")
				return nil
			}
			if err = q.Revoke(by.Subject); err != nil {
				err = approvalError(err)
				continue
			}
			c.emitAs(by, record.EmitterApproval, record.ApprovalRevoked, a, told)
			c.fail(a, &Failure{Code: "ApprovalDenied", Message: "revoked by " + by.Subject.ID + ": " + reason, Details: map[string]any{"reason": bindingExpired}})
			c.dropRest(a)
			c.finish()
			return nil
		}
		return err
	})
}

// override answers a person who wants what was denied for good: no constitutional denial
// can be overridden, by nobody, and that it was tried stands in the log (S5.4 §6). The
// action, which is over, stays what it is.
func (rt *Runtime) override(l *tracked, by Submitter, reason string) error {
	code := "TARGET_NOT_OVERRIDABLE"
	if by.Subject.IsAI {
		code = "SUBJECT_NOT_HUMAN"
	}
	err := rt.step(l, func(c *change) error {
		a := deniedForGood(c.r)
		if a == nil {
			return fmt.Errorf("nothing was denied for good: %w", ErrInvalid)
		}
		told := map[string]any{"reason_code": code, "target_action_id": a.ID, "target_hard_deny_rule_id": a.Decision.RuleID, "message": reason}
		c.emitAs(by, record.EmitterOverride, record.OverrideDenied, nil, told)
		c.emitAs(by, record.EmitterOverride, record.OverrideReview, nil, maps.Clone(told))
		return nil
	})
	return cmp.Or(err, fmt.Errorf("%s: a constitutional denial stands: %w", code, ErrDenied))
}

// deniedForGood is the first action of a run that a hard denial has ended, or nil.
func deniedForGood(r *Run) *Action {
	for _, a := range r.Actions {
		if d := a.Decision; a.State == PolicyDenied && d != nil && d.HardDeny {
			return a
		}
	}
	return nil
}

// aiApproval refuses an AI, and leaves a record of that it tried.
func (rt *Runtime) aiApproval(l *tracked, by Submitter) error {
	err := rt.step(l, func(c *change) error {
		c.event(nil, c.r.State(), "AiSelfApprovalAttempted")
		if t, err := record.Parse("AI_SELF_APPROVAL_ATTEMPTED"); err == nil && t.MayEmit(record.EmitterApproval) {
			c.emitAs(by, record.EmitterApproval, t, pending(c.r), map[string]any{})
		}
		return nil
	})
	return errors.Join(fmt.Errorf("%w: %w", ErrDenied, approval.ErrAIApproval), err)
}

func approvalError(err error) error {
	if errors.Is(err, approval.ErrHash) || errors.Is(err, approval.ErrTransition) || errors.Is(err, approval.ErrExpired) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return fmt.Errorf("%w: %w", ErrDenied, err)
}

// expire ends approvals whose time is over (T9).
func (rt *Runtime) expire(l *tracked, now time.Time) error {
	due := false
	for _, a := range l.now().Actions {
		due = due || a.State == ApprovalPending && a.Approval != nil && !now.Before(a.Approval.ExpiresAt)
	}
	if !due {
		return nil
	}
	err := rt.step(l, func(c *change) error {
		for _, a := range c.r.Actions {
			if a.State == ApprovalPending && a.Approval.Expire(c.now) {
				c.emit(record.EmitterApproval, record.ApprovalExpired, a, map[string]any{"approval_request_id": a.Approval.ID})
				c.fail(a, &Failure{Code: "ApprovalExpired", Message: "nobody approved it in time", Retryable: true})
				c.dropRest(a)
			}
		}
		c.finish()
		return nil
	})
	if err == nil && !l.now().Terminal() {
		rt.drive(l)
	}
	return err
}

// answer goes on with a goal that was unclear.
func (rt *Runtime) answer(ctx context.Context, l *tracked, text string) error {
	return rt.step(l, func(c *change) error {
		if c.r.Word != runAsking || len(c.r.Questions) == 0 {
			return fmt.Errorf("nothing is asked: %w", ErrInvalid)
		}
		given, err := translate.ParseAnswer(text, c.r.Questions)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if c.r.Answers == nil {
			c.r.Answers = map[string]string{}
		}
		for id, v := range given {
			c.r.Answers[id] = v
		}
		q := rt.request(c, string(c.r.Doc))
		res, err := rt.d.Translator.Translate(ctx, q)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		c.r.Word = runReceived
		c.translated(res)
		if res.Status == translate.Ready {
			c.r.Plan = res.Plan(c.r.Intent, c.r.PlanID)
			if err := rt.begin(ctx, c); err != nil {
				return err
			}
		}
		c.finish()
		return nil
	})
}

// cancel ends what has not begun (S0.1 T5).
func (rt *Runtime) cancel(l *tracked) error {
	l.mu.Lock()
	abort := l.abort
	l.mu.Unlock()
	if abort != nil {
		abort() // what git does outside the tree can be broken off
		return nil
	}
	return rt.step(l, func(c *change) error {
		if c.r.Terminal() {
			return fmt.Errorf("it is over (%s): %w", c.r.State(), ErrInvalid)
		}
		f := &Failure{Code: "Cancelled", Message: "cancelled by its submitter"}
		if len(c.r.Actions) == 0 {
			c.r.Word, c.r.Failure = runRefused, f
		}
		for _, a := range c.r.Actions {
			switch a.State {
			case ApprovalPending:
				if a.Approval != nil {
					a.Approval.State, a.Approval.DenialReason = approval.Denied, approval.Superseded
				}
				c.fail(a, f)
			case Queued:
				c.fail(a, f)
			}
		}
		for _, a := range c.r.Actions {
			if a.Failure == f {
				c.dropRest(a)
				break
			}
		}
		for _, a := range c.r.Actions {
			if a.State == Verifying && c.r.Plan.Atomic && c.r.Failure == f {
				rt.failExecution(c, a, f)
				break
			}
		}
		c.finish()
		return nil
	})
}
