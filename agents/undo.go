package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
)

// undoAction is the action that taking back what succeeded is, to policy and in the log
// (S0.1 §6.5).
const undoAction = "aiosfs.pointer.rollback"

// takeBack undoes a run that succeeded, by a run of its own whose parent it is, with all
// that a run has: policy, perhaps an approval, evidence, a verification. The earlier one
// stays what it was, for SUCCEEDED is final (S0.1 §6). It returns when the new run is over
// or waits for a person.
func (rt *Runtime) takeBack(ctx context.Context, l *tracked, by Submitter) error {
	r := l.now()
	steps, err := undoSteps(r)
	if err != nil {
		return err
	}
	name := undoName(r.Name)
	begin := func(ctx context.Context, c *change, _ *objects.Tx) (*tracked, error) {
		c.r.Parent, c.r.Correlation = r.ID, r.Correlation
		c.r.Plan = &plan.Plan{Schema: plan.PlanSchema, PlanID: c.r.PlanID, IntentID: c.r.Intent, Reason: "take back " + r.Name, Mode: plan.Live, CatalogVersion: r.Plan.CatalogVersion, Steps: steps}
		for i := range c.r.Plan.Steps {
			s := &c.r.Plan.Steps[i]
			if s.IdempotencyKey, err = plan.IdempotencyKey(c.r.Intent, c.r.PlanID, s.ID, s.Action, s.Target, plan.Live); err != nil {
				return nil, err
			}
		}
		return nil, rt.begin(ctx, c)
	}
	if err := rt.take(ctx, by, name, []byte("take back "+r.Name+" ("+r.ID+")\n"), begin); err != nil {
		return err
	}
	return rt.took(ctx, rt.named(by.Subject.ID, name))
}

// took waits for a run that takes back, and says why it did not come to that.
func (rt *Runtime) took(ctx context.Context, l *tracked) error {
	for {
		r, changed := l.get()
		switch {
		case r.State() == string(PolicyDenied):
			return fmt.Errorf("%w: policy does not allow the rollback (%s): see %s.d", ErrDenied, r.Failure.Message, r.Name)
		case r.Terminal() && r.State() != string(Succeeded):
			return fmt.Errorf("%w: %s: see %s.d", ErrInvalid, r.Failure.Message, r.Name)
		case r.Terminal() || r.State() == string(ApprovalPending):
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil // it goes on by itself
		case <-rt.ctx.Done():
			return ErrClosed
		}
	}
}

// undoName is the name in intents/ under which a run is taken back.
func undoName(name string) string {
	const room = 250 - len("undo-")
	return "undo-" + name[:min(len(name), room)]
}

// undoSteps are what takes a run's transactions back, the last one first.
func undoSteps(r *Run) ([]plan.Step, error) {
	if r.State() != string(Succeeded) || len(r.Txns) == 0 {
		return nil, fmt.Errorf("there is nothing to take back: %w", ErrInvalid)
	}
	var groups []int
	for g := range r.Txns {
		if r.Reverted[g] {
			return nil, fmt.Errorf("it was taken back before: %w", ErrInvalid)
		}
		groups = append(groups, g)
	}
	slices.Sort(groups)
	slices.Reverse(groups)
	var steps []plan.Step
	for i, g := range groups {
		acts := r.group(g)
		target := map[string]any{"transaction_id": r.Txns[g], "parent_action_id": acts[0].ID}
		var all []any
		risk := plan.Risk{Destructive: true}
		for _, a := range acts {
			risk = risk.Union(a.Step.Risk)
			for _, p := range paths(a.Step, r.By) {
				all = append(all, p)
			}
		}
		if len(all) > 0 {
			target["path"], target["paths"] = all[0], all
		}
		s := plan.Step{ID: "undo" + strconv.Itoa(g), Action: undoAction, CapabilityID: undoAction + ".v1", AdapterFamily: "aiosfs", Target: target, Risk: risk,
			SandboxProfile: acts[0].Step.SandboxProfile, DryRun: plan.Live, Verification: []plan.Verification{{Type: "aiosfs.transaction_undone", Args: map[string]any{"transaction_id": r.Txns[g]}}}}
		if i > 0 {
			s.After = []string{steps[i-1].ID}
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// executeUndo takes a transaction back; both runs' records and the evidence are in the
// same commit.
func (rt *Runtime) executeUndo(l *tracked, group int) error {
	parent := rt.tracked(l.now().Parent)
	if parent == nil {
		return fmt.Errorf("the run %s is gone: %w", l.now().Parent, ErrNotFound)
	}
	var why *Failure
	rt.execLock.Lock()
	defer rt.execLock.Unlock()
	err := rt.stepIn(parent, func(pc *change, ptx *objects.Tx) (*objects.Tx, error) {
		if err := ptx.Discard(); err != nil {
			return nil, err
		}
		return nil, rt.stepIn(l, func(c *change, tx *objects.Tx) (*objects.Tx, error) {
			if err := tx.Discard(); err != nil {
				return nil, err
			}
			a := c.r.group(group)[0]
			if a.State != Queued {
				return nil, errNothing // it was cancelled meanwhile
			}
			id, g, f := owed(pc.r, a)
			if why = f; f == nil {
				why = rt.preDispatch(c, a)
			}
			if why != nil {
				return nil, errExecution
			}
			a.Output.Changed, a.Output.Data = true, map[string]any{"undone_transaction_id": id.String()}
			must(a.move(Verifying, false))
			c.orphan(record.EmitterAdapter, "AIOSFS_TRANSACTION_COMMITTED", a, map[string]any{"outcome": "SUCCEEDED", "undone_transaction_id": id.String(), "parent_action_id": a.Parent})
			c.emit(record.EmitterRuntime, record.RollbackCompleted, a, map[string]any{"transaction_id": id.String(), "parent_action_id": a.Parent})
			c.event(a, string(Verifying), id.String())
			pc.r.Reverted[g] = true
			pc.event(nil, pc.r.State(), "its effects were taken back by "+a.ID)
			var put error
			_, err := rt.d.Store.Undo(rt.ctx, c.r.cred(), id, a.ID, func(tx *objects.Tx) {
				c.r.Txns[group] = tx.ID().String()
				put = errors.Join(c.put(rt.ctx, tx), pc.put(rt.ctx, tx))
			})
			if err = errors.Join(put, err); err == nil {
				parent.wasUndone(g) // before anybody is told that it is over
				return nil, nil
			}
			if rt.d.Store.Health() != nil || rt.ctx.Err() != nil {
				return nil, err
			}
			why = executionFailure(err)
			return nil, errExecution
		})
	})
	if errors.Is(err, errExecution) {
		return rt.step(l, func(c *change) error {
			rt.failExecution(c, c.r.group(group)[0], why)
			return nil
		})
	}
	return err
}

// owed finds the transaction that an action takes back, and its group in the run that made
// it.
func owed(parent *Run, a *Action) (objects.ID, int, *Failure) {
	txn, _ := a.Step.Target["transaction_id"].(string)
	for g, id := range parent.Txns {
		if id != txn || parent.Reverted[g] {
			continue
		}
		id, err := objects.ParseID(txn)
		if err != nil {
			return id, g, &Failure{Code: "RollbackNotPossible", Message: err.Error()}
		}
		return id, g, nil
	}
	return objects.ID{}, 0, &Failure{Code: "RollbackNotPossible", Message: "it was taken back before"}
}

// probeUndone looks at the store for what a transaction had changed.
func (rt *Runtime) probeUndone(k *Check) {
	id, err := objects.ParseID(arg(k.Args, "transaction_id"))
	if err != nil {
		k.Outcome, k.Detail = probeError, err.Error()
		return
	}
	switch same, err := rt.d.Store.Undone(id); {
	case err != nil:
		k.Outcome, k.Detail = probeError, err.Error()
	case same:
		k.Outcome = passed
	default:
		k.Detail = "something that it changed is not as it was"
	}
}
