package agents

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The public phases (S0.1 §6). The last three are terminal.
const (
	phasePending    = "PENDING"
	phaseRunning    = "RUNNING"
	phaseSucceeded  = "SUCCEEDED"
	phaseFailed     = "FAILED"
	phaseRolledBack = "ROLLED_BACK"
)

// phaseEdges are T2 to T10 of S0.1 §6; PENDING to SUCCEEDED is a VALIDATE alone. What
// happens within one step nobody sees, so that a step may pass through several.
var phaseEdges = map[string][]string{
	phasePending: {phaseRunning, phaseSucceeded, phaseFailed},
	phaseRunning: {phaseSucceeded, phaseFailed, phaseRolledBack},
}

// Phase is the public phase (S0.1 §6).
func (s State) Phase() string {
	switch s {
	case Executing, Verifying:
		return phaseRunning
	case Succeeded:
		return phaseSucceeded
	case RolledBack:
		return phaseRolledBack
	case PolicyDenied, OverrideDenied, Failed, RollbackFailed:
		return phaseFailed
	}
	return phasePending
}

// Phase is what others are told. An action whose effects are yet to be taken back is still
// RUNNING: a terminal phase is never left again.
func (a *Action) Phase() string {
	if a.State == Failed && a.Rollback == rollbackDue {
		return phaseRunning
	}
	return a.State.Phase()
}

// move takes the action to another state, along an edge of the lifecycle and of the
// public phases.
func (a *Action) move(to State, validateOnly bool) error {
	if !CanMove(a.State, to) || a.State == Created && to == Succeeded && !validateOnly {
		return fmt.Errorf("%w: %s to %s", ErrIllegalTransition, a.State, to)
	}
	if next, p := phaseEdges[a.shown], to.Phase(); a.shown != "" && (len(next) == 0 || a.shown != p && !slices.Contains(next, p)) {
		return fmt.Errorf("%w: %s to %s, published as %s", ErrIllegalTransition, a.State, to, a.shown)
	}
	a.State = to
	return nil
}

// receiptTime is how long after its end an action's list of receipts may grow (S0.1 §6.3).
const receiptTime = time.Hour

// ErrTerminal is a step that would change an action that is over.
var ErrTerminal = errors.New("LIFECYCLE_TERMINAL")

// closed says whether an action has been over for so long that nothing joins its receipts.
func (c *change) closed(a *Action) bool {
	return c.over(a) && c.now.Sub(phaseChanged(c.r, a)) > receiptTime
}

// over says whether others have been told that the action is over.
func (c *change) over(a *Action) bool {
	return a.shown != "" && len(phaseEdges[a.shown]) == 0
}

// unchanged fails when a step has changed the envelope of an action that was over before;
// only receipts may have joined it (S0.1 §6.3).
func (c *change) unchanged() error {
	if c.envelope == nil {
		return nil // the run begins with this step
	}
	for _, a := range c.r.Actions {
		if !c.over(a) {
			continue
		}
		before := c.was.action(a.ID)
		was, err := frozen(c.envelope(c.was, before), before)
		if err != nil {
			return err
		}
		is, err := frozen(c.envelope(c.r, a), a)
		if err != nil {
			return err
		}
		if was != is {
			return fmt.Errorf("%w: %s is over as %s and would change", ErrTerminal, a.ID, a.shown)
		}
	}
	return nil
}

// frozen is what must not change: what is shown of an action, and what is kept of it.
func frozen(e envelope, a *Action) (string, error) {
	e.Execution.EvidenceReceipts = nil
	if r := e.Execution.Result; r != nil { // its output, which may be large, is the record's
		e.Execution.Result = &envelopeResult{r.Summary, nil, r.Changed}
	}
	b, err := json.Marshal(struct {
		Envelope envelope
		Record   *Action
	}{e, a})
	return string(b), err
}
