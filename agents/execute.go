package agents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
)

// advance makes the next durable step of a run; false when it waits or is over.
// Which step that is follows from the record alone, so that a restart goes on where
// the last commit left it.
func (rt *Runtime) advance(l *tracked) (bool, error) {
	r := l.now()
	if r.Terminal() || len(r.Actions) == 0 {
		return false, nil
	}
	has := func(s State) *Action {
		for _, a := range r.Actions {
			if a.State == s {
				return a
			}
		}
		return nil
	}
	for _, a := range r.Actions {
		if a.Rollback == rollbackDue {
			return true, rt.rollBack(l)
		}
	}
	if a := has(Executing); a != nil {
		return true, rt.step(l, func(c *change) error {
			x := c.r.action(a.ID)
			x.CrashSeen = true
			rt.failExecution(c, x, &Failure{Code: "AdapterCrashed", Message: "the runtime stopped while this was under way", Retryable: true,
				Details: map[string]any{"reason": "ADAPTER_PANIC", "crash_recovery_observed": true}})
			return nil
		})
	}
	if has(ApprovalPending) != nil || has(OverridePending) != nil {
		return false, nil
	}
	verifying, queued := has(Verifying), has(Queued)
	switch {
	case verifying != nil && (queued == nil || !r.Plan.Atomic):
		return true, rt.verify(l, verifying.Group)
	case queued != nil:
		return true, rt.execute(l, queued.Group)
	}
	// Everything is over, and only the mark is missing.
	return true, rt.step(l, func(c *change) error { c.finish(); return nil })
}

func (r *Run) action(id string) *Action {
	for _, a := range r.Actions {
		if a.ID == id {
			return a
		}
	}
	return nil
}

func (r *Run) group(n int) []*Action {
	return slices.DeleteFunc(slices.Clone(r.Actions), func(a *Action) bool { return a.Group != n })
}

// adapterRequest is all that an adapter gets to know.
func (rt *Runtime) adapterRequest(r *Run, a *Action) adapter.Request {
	q := adapter.Request{ActionID: a.ID, Step: a.Step, Subject: r.By.Subject, UID: r.By.UID, GID: r.By.GID, Groups: slices.Clone(r.By.Groups), Daemon: os.Getpid()}
	cat := rt.d.Identity.Catalog()
	for _, id := range r.By.Subject.Memberships {
		if g, ok := cat.Group(id); ok && g.GID != 0 {
			q.Groups = append(q.Groups, g.GID)
		}
	}
	return q
}

// dispatch chooses the dispatch kind. What is staged into a store transaction runs no
// code of anybody's and stays in process.
func (rt *Runtime) dispatch(r *Run, a *Action) string {
	m := rt.kinds[a.Step.Action].adapter.Manifest()
	return string(m.Place(r.Plan.Mode == plan.Simulate, r.By.Subject.IsAI, a.Decision.Risk.Privileged))
}

// enforcement says who keeps an action within its profile: the kernel around a child, or
// nothing but the adapter's own code in this process.
func (rt *Runtime) enforcement(a *Action) string {
	if _, ok := rt.kinds[a.Step.Action].adapter.(adapter.Preparer); ok {
		return "CONFINED_CHILD"
	}
	_, runs := rt.kinds[a.Step.Action].adapter.(adapter.Executor)
	switch {
	case runs && a.Dispatch == string(adapter.Subprocess):
		return "CHILD"
	case runs && a.Dispatch == string(adapter.Isolated):
		return "CONFINED_CHILD"
	}
	return "IN_PROCESS"
}

// execute runs the actions of a group that are queued.
func (rt *Runtime) execute(l *tracked, group int) error {
	first := l.now().group(group)[0]
	if l.now().Plan.Mode == plan.Simulate {
		return rt.step(l, func(c *change) error { return rt.simulate(rt.ctx, c, group) })
	}
	if first.Parent != "" {
		return rt.executeUndo(l, group)
	}
	if _, ok := rt.kinds[first.Step.Action].adapter.(adapter.Stager); ok {
		ready, goOn, err := rt.prepareGroup(l, group)
		if err != nil || !goOn {
			return err
		}
		defer rt.letGo(ready)
		rt.execLock.Lock()
		defer rt.execLock.Unlock()
		return rt.executeStaged(l, group, ready)
	}
	return rt.executeOutside(l, first.ID)
}

// executeStaged puts a group's changes of objects, the run's record and the evidence
// into one commit.
func (rt *Runtime) executeStaged(l *tracked, group int, ready map[string]adapter.Prepared) error {
	var failed *Action
	var why *Failure
	var after, undone []func()
	err := rt.stepIn(l, func(c *change, tx *objects.Tx) (*objects.Tx, error) {
		todo := c.r.group(group)
		mine := func(a *Action) bool { return a.State == Queued || a.State == Executing && ready != nil }
		if !slices.ContainsFunc(todo, mine) {
			return tx, errNothing // it was cancelled meanwhile
		}
		if err := tx.Discard(); err != nil {
			return nil, err
		}
		tx = rt.d.Store.Begin(c.r.cred(), todo[0].ID)
		b := &adapter.Batch{Store: rt.d.Store, Tx: tx, Pending: map[string]adapter.Pending{}, Prepared: map[string]any{}}
		for id, p := range ready {
			b.Prepared[id] = p.Data
		}
		for _, a := range todo {
			if !mine(a) {
				continue
			}
			if a.State == Queued {
				if f := rt.preDispatch(c, a); f != nil {
					failed, why = a, f
					break
				}
			}
			ctx, cancel := context.WithTimeout(rt.ctx, rt.kinds[a.Step.Action].kind.Timeout)
			out, err := rt.stage(ctx, b, c.r, a)
			cancel()
			if err == nil {
				out, err = plain(out)
			}
			if err != nil {
				failed, why = a, executionFailure(err)
				break
			}
			a.Output = out
			must(a.move(Verifying, false))
			c.orphan(record.EmitterAdapter, "AIOSFS_TRANSACTION_COMMITTED", a, map[string]any{"outcome": "SUCCEEDED", "transaction_id": tx.ID().String(), "output": out.Data, "walls": ready[a.ID].Walls})
			c.event(a, string(Verifying), tx.ID().String())
		}
		if failed != nil {
			return nil, errors.Join(errExecution, tx.Discard())
		}
		c.r.Txns[group] = tx.ID().String()
		after, undone = b.After, b.Undone
		if err := rt.at("commit"); err != nil {
			return nil, errors.Join(err, tx.Discard())
		}
		if err := c.put(rt.ctx, tx); err != nil {
			return nil, errors.Join(err, tx.Discard())
		}
		if _, err := tx.Commit(rt.ctx); err != nil {
			if rt.d.Store.Health() != nil || rt.ctx.Err() != nil {
				return nil, err
			}
			failed, why = todo[0], executionFailure(err)
			return nil, errExecution
		}
		return nil, nil
	})
	if errors.Is(err, errExecution) {
		// Nothing happened: the queued run is as it was, and fails with the reason.
		id := failed.ID
		return rt.step(l, func(c *change) error {
			rt.failExecution(c, c.r.action(id), why)
			return nil
		})
	}
	if err != nil {
		return err
	}
	for _, f := range after {
		f()
	}
	if len(undone) > 0 {
		if l.undone == nil {
			l.undone = map[int][]func(){}
		}
		l.undone[group] = undone
	}
	return rt.at("executed")
}

var errExecution = errors.New("the execution failed")

// stage calls the adapter; a panic of it is a failure of the action.
func (rt *Runtime) stage(ctx context.Context, b *adapter.Batch, r *Run, a *Action) (out adapter.Output, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &adapter.Error{Code: crashed, Retryable: true, Err: fmt.Errorf("the adapter panicked: %v", p)}
		}
	}()
	return rt.kinds[a.Step.Action].adapter.(adapter.Stager).Stage(ctx, b, rt.adapterRequest(r, a))
}

// executeOutside runs one action that reaches outside the store: that it started is
// durable before it does.
func (rt *Runtime) executeOutside(l *tracked, id string) error {
	var why *Failure
	err := rt.step(l, func(c *change) error {
		a := c.r.action(id)
		if a.State != Queued {
			return errNothing // it was cancelled meanwhile
		}
		if f := rt.preDispatch(c, a); f != nil {
			why = f
			rt.failExecution(c, a, f)
		}
		return nil
	})
	if err != nil || why != nil {
		return err
	}
	if err := rt.at("executing"); err != nil {
		return err
	}
	a := l.now().action(id)
	if a.State != Executing {
		return nil
	}
	ctx, cancel := context.WithTimeout(rt.ctx, rt.kinds[a.Step.Action].kind.Timeout)
	defer cancel()
	out, failure := rt.run(ctx, l.now(), a)
	if failure == nil {
		out, failure = plain(out)
	}
	return rt.step(l, func(c *change) error {
		a := c.r.action(id)
		if failure != nil {
			rt.failExecution(c, a, executionFailure(failure))
			return nil
		}
		a.Output = out
		must(a.move(Verifying, false))
		c.emit(record.EmitterAdapter, record.ExecutionCompleted, a, map[string]any{"outcome": "SUCCEEDED", "changed": out.Changed})
		c.event(a, string(Verifying), "")
		return nil
	})
}

func (rt *Runtime) run(ctx context.Context, r *Run, a *Action) (out adapter.Output, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &adapter.Error{Code: crashed, Retryable: true, Err: fmt.Errorf("the adapter panicked: %v", p)}
		}
	}()
	x, ok := rt.kinds[a.Step.Action].adapter.(adapter.Executor)
	if !ok {
		return out, adapter.Fail("ADAPTER_NOT_DISPATCHABLE", "the adapter of %s cannot execute", a.Step.Action)
	}
	t := task{Adapter: x.Manifest().ID, Request: rt.adapterRequest(r, a)}
	if child := inChild(a, x.Manifest()); child != nil {
		return child(ctx, t)
	}
	return x.Execute(ctx, t.Request)
}

func executionFailure(err error) *Failure {
	f := failureOf(err)
	var outer, inner *adapter.Error
	if errors.As(err, &outer) && errors.As(outer.Err, &inner) {
		return f.because(executionFailure(outer.Err))
	}
	return f
}

func failureOf(err error) *Failure {
	f := &Failure{Code: "AdapterFailure", Message: err.Error(), Details: map[string]any{"reason": "ADAPTER_REFUSED"}}
	var e *adapter.Error
	var lost *objects.ConflictError
	if errors.As(err, &lost) && !lost.Conflict.IsZero() {
		f.Details["conflict_id"] = lost.Conflict.String()
	}
	switch {
	case errors.As(err, &e):
		f.Code, f.Retryable = e.Code, e.Retryable
		if e.Code == crashed {
			f.Details["reason"] = "ADAPTER_PANIC"
		}
	case errors.Is(err, adapter.ErrNoSimulation):
		f.Code = "AdapterDoesNotSupportSimulate"
	case errors.Is(err, objects.ErrStale):
		f.Code = "aiosfs.StaleBase"
	case errors.Is(err, context.DeadlineExceeded):
		f.Code, f.Retryable, f.Details["reason"] = "AdapterTimeout", true, "ADAPTER_TIMEOUT"
	}
	if len(f.Message) > maxMessage {
		f.Message = strings.ToValidUTF8(f.Message[:maxMessage], "")
	}
	return f
}

// maxMessage bounds the text of an error, in bytes (S0.1 §7).
const maxMessage = 512

// crashed is the code of an adapter that panicked.
const crashed = "AdapterCrashed"

// failExecution fails an action and, in an atomic run, everything with it: what
// waits is dropped, what had effects is marked for its rollback.
func (rt *Runtime) failExecution(c *change, a *Action, f *Failure) {
	if f.Code == bindingVoided {
		// Said here, since what a failed dispatch had written so far is discarded.
		c.emit(record.EmitterRuntime, record.BindingVoidedActionRevised, a, f.Details)
		if a.Approval != nil && a.Approval.Void() != nil {
			a.Approval.Binding = nil // it was spent or ended before; it is no grant in any case
		}
	}
	c.fail(a, f)
	rt.health.failed(rt.kinds[a.Step.Action], f, c.now)
	a.Rollback = rt.wayBack(c.r, a)
	if rt.kinds[a.Step.Action].kind.Rollback == adapter.RollbackExternal && a.Output.Changed {
		if f.Details == nil {
			f.Details = map[string]any{}
		}
		f.Details["rollback"] = string(adapter.RollbackExternal)
		c.emit(record.EmitterRuntime, record.RollbackAttempted, a, map[string]any{"strategy": string(adapter.RollbackExternal), "outcome": rollbackNA, "affected_resources": a.Output.Data})
	}
	for _, o := range c.r.Actions {
		if o.State == Verifying && (c.r.Plan.Atomic || o.Group == a.Group) {
			c.fail(o, &Failure{Code: "DEPENDENCY_UNREADY", Message: fmt.Sprintf("taken back with %s", a.Step.ID)})
			o.Rollback = rt.wayBack(c.r, o)
		}
	}
	c.dropRest(a)
	for _, o := range c.r.Actions {
		if o.Rollback == rollbackDue {
			c.emit(record.EmitterRuntime, record.RollbackAttempted, o, map[string]any{"strategy": string(rt.kinds[o.Step.Action].kind.Rollback)})
		}
	}
	c.finish()
}

// wayBack says what is to be done about an action's effects.
func (rt *Runtime) wayBack(r *Run, a *Action) string {
	switch k := rt.kinds[a.Step.Action].kind; {
	case a.Attempts == 0 || k.Rollback == adapter.RollbackNone || k.Rollback == adapter.RollbackExternal:
		return rollbackNA
	case k.Rollback == adapter.RollbackTransaction && r.Txns[a.Group] == "":
		return rollbackNA
	case k.Rollback == adapter.RollbackAdapter && a.Output.Rollback == nil:
		return rollbackNA
	}
	return rollbackDue
}
