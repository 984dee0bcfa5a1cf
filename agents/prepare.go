package agents

import (
	"context"

	"github.com/ai-os-dot-net/aios/agents/adapter"
)

// prepareGroup lets those adapters of a group work that need time before they stage, git
// above all. It holds no lock meanwhile. That the actions have started is durable before;
// a restart finds them EXECUTING, fails them, and nothing of them is in the tree. goOn is
// false when the run has gone another way.
func (rt *Runtime) prepareGroup(l *tracked, group int) (ready map[string]adapter.Prepared, goOn bool, err error) {
	if !rt.needsPreparing(l.now(), group) {
		return nil, true, nil
	}
	began := false
	err = rt.step(l, func(c *change) error {
		if !rt.needsPreparing(c.r, group) {
			return errNothing // it was cancelled meanwhile
		}
		for _, a := range c.r.group(group) {
			if a.State != Queued {
				continue
			}
			if f := rt.preDispatch(c, a); f != nil {
				rt.failExecution(c, a, f)
				return nil
			}
		}
		began = true
		return nil
	})
	if err != nil || !began {
		return nil, false, err
	}
	if err := rt.at("executing"); err != nil {
		return nil, false, err
	}
	ready = map[string]adapter.Prepared{}
	ctx, abort := context.WithCancel(rt.ctx)
	defer abort()
	l.mu.Lock()
	l.abort = abort
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.abort = nil
		l.mu.Unlock()
	}()
	r := l.now()
	for _, a := range r.group(group) {
		x, ok := rt.kinds[a.Step.Action].adapter.(adapter.Preparer)
		if !ok || a.State != Executing {
			continue
		}
		p, failure := rt.prepare(ctx, x, r, a)
		if failure != nil {
			rt.letGo(ready)
			f := executionFailure(failure)
			if rt.ctx.Err() != nil {
				return nil, false, rt.ctx.Err() // the runtime stops: the next start finds it EXECUTING
			}
			if ctx.Err() != nil {
				f = &Failure{Code: "Cancelled", Message: "cancelled by its submitter"}
			}
			return nil, false, rt.step(l, func(c *change) error {
				rt.failExecution(c, c.r.action(a.ID), f)
				return nil
			})
		}
		ready[a.ID] = p
	}
	if err := rt.at("prepared"); err != nil {
		rt.letGo(ready)
		return nil, false, err
	}
	return ready, true, nil
}

func (rt *Runtime) needsPreparing(r *Run, group int) bool {
	for _, a := range r.group(group) {
		if _, ok := rt.kinds[a.Step.Action].adapter.(adapter.Preparer); ok && a.State == Queued {
			return true
		}
	}
	return false
}

// prepare calls the adapter; a panic of it is a failure of the action.
func (rt *Runtime) prepare(ctx context.Context, x adapter.Preparer, r *Run, a *Action) (p adapter.Prepared, err error) {
	defer func() {
		if e := recover(); e != nil {
			err = adapter.Fail("AdapterCrashed", "the adapter panicked: %v", e)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, rt.kinds[a.Step.Action].kind.Timeout)
	defer cancel()
	return x.Prepare(ctx, rt.adapterRequest(r, a))
}

func (rt *Runtime) letGo(ready map[string]adapter.Prepared) {
	for _, p := range ready {
		if err := p.Close(); err != nil {
			rt.d.Logger.Warn("scratch of an action stays behind", "error", err)
		}
	}
}
