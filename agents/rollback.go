package agents

import (
	"errors"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
)

// rollBack takes back the effects of the last group that is due, with the record of
// it in the same commit.
func (rt *Runtime) rollBack(l *tracked) error {
	r := l.now()
	var last *Action
	for _, a := range r.Actions {
		if a.Rollback == rollbackDue {
			last = a
		}
	}
	k := rt.kinds[last.Step.Action]
	if k.kind.Rollback != adapter.RollbackTransaction {
		x, ok := k.adapter.(adapter.Executor)
		err := errors.New("the adapter has no rollback")
		if ok {
			t := task{Adapter: x.Manifest().ID, Request: rt.adapterRequest(r, last), Back: true, Handle: last.Output.Rollback}
			if child := inChild(last, x.Manifest()); child != nil {
				_, err = child(rt.ctx, t)
			} else {
				err = x.Rollback(rt.ctx, t.Request, t.Handle)
			}
		}
		if err != nil {
			rt.health.rollbackFailed(k, rt.d.Now())
		}
		return rt.step(l, func(c *change) error { c.rolled(c.r.action(last.ID), err); c.finish(); return nil })
	}
	txn, err := objects.ParseID(r.Txns[last.Group])
	if err != nil {
		return err
	}
	rt.execLock.Lock()
	defer rt.execLock.Unlock()
	err = rt.stepIn(l, func(c *change, tx *objects.Tx) (*objects.Tx, error) {
		if err := tx.Discard(); err != nil {
			return nil, err
		}
		for _, a := range c.r.group(last.Group) {
			if a.Rollback == rollbackDue {
				c.rolled(a, nil)
			}
		}
		c.r.Reverted[last.Group] = true
		c.finish()
		var put error
		_, err := rt.d.Store.Undo(rt.ctx, c.r.cred(), txn, last.ID, func(tx *objects.Tx) { put = c.put(rt.ctx, tx) })
		if err = errors.Join(put, err); err == nil {
			l.wasUndone(last.Group) // before anybody is told that it is over
		}
		return nil, err
	})
	if err == nil {
		return nil
	}
	if rt.d.Store.Health() != nil || rt.ctx.Err() != nil {
		return err
	}
	return rt.step(l, func(c *change) error {
		for _, a := range c.r.group(last.Group) {
			if a.Rollback == rollbackDue {
				c.rolled(a, err)
			}
		}
		c.finish()
		return nil
	})
}

// wasUndone tells the adapters of a group that it was taken back.
func (t *tracked) wasUndone(group int) {
	for _, f := range t.undone[group] {
		f()
	}
	delete(t.undone, group)
}

// rolled notes how a rollback ended (T19, T20).
func (c *change) rolled(a *Action, err error) {
	if err != nil {
		must(a.move(RollbackFailed, false))
		a.Rollback = rollbackFailed
		f := &Failure{Code: "RollbackFailed", Message: err.Error(), Details: map[string]any{"affected_resources": a.Output.Data}}
		a.Failure = f.because(a.Failure)
		a.Failure.Retryable = false // a person must look first (S0.1 §7)
		c.r.Failure = a.Failure
		c.emit(record.EmitterRuntime, record.RollbackFailedRequiresOperator, a, map[string]any{"message": err.Error(), "degraded_rollback": true})
		c.event(a, string(RollbackFailed), "")
		return
	}
	must(a.move(RolledBack, false))
	a.Rollback = rollbackDone
	c.emit(record.EmitterRuntime, record.RollbackSucceeded, a, map[string]any{"transaction_id": c.r.Txns[a.Group]})
	c.event(a, string(RolledBack), "")
}
