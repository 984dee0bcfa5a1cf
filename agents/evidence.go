package agents

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
)

// change is one durable step of a run: its record, and the evidence of what was
// done, in one commit.
type change struct {
	r      *Run
	log    *evidence.Log
	now    time.Time
	drafts []evidence.Draft
	was    *Run     // before the step; nil when the run begins with it
	held   []func() // claims of a run that begins, to be let go when it has begun
	// envelope shows an action of either; nil when the run begins with this step.
	envelope func(*Run, *Action) envelope
}

func (c *change) release() {
	for _, f := range c.held {
		f()
	}
}

// event notes a line of events.log.
func (c *change) event(a *Action, state, detail string) {
	e := Event{At: c.now, State: state, Detail: detail}
	if a != nil {
		e.Action = a.ID
	}
	c.r.Events = append(c.r.Events, e)
}

// emit adds a record of evidence about the run or one of its actions.
func (c *change) emit(by record.Emitter, t record.Type, a *Action, payload map[string]any) {
	c.emitAs(c.r.By, by, t, a, payload)
}

// orphan adds an event that has a name and no number (S3.1 orphans).
func (c *change) orphan(by record.Emitter, name string, a *Action, payload map[string]any) {
	t, ok := record.Orphan(name)
	if !ok {
		panic("no such orphan record: " + name) // a constant of this package
	}
	payload[record.DetailKind] = name
	c.emit(by, t, a, payload)
}

// emitAs adds one about somebody else, who has spoken up about the run.
func (c *change) emitAs(who Submitter, by record.Emitter, t record.Type, a *Action, payload map[string]any) {
	d := evidence.Draft{ID: c.log.Reserve(c.now), Type: t, Subject: who.Subject.ID, SubjectIsAI: who.Subject.IsAI, Key: who.Key, Session: c.r.By.Subject.SessionClass,
		Scope: "groups", GroupID: c.r.By.Subject.PrimaryGroup, CorrelationID: c.r.Correlation, Emitter: string(by), Payload: payload,
		Simulated: c.r.mode() == "SIMULATE"}
	if c.r.By.Subject.PrimaryGroup == "" {
		d.Scope = "_system"
	}
	payload["intent_id"], payload["run"] = c.r.Intent, c.r.Name
	if a != nil {
		d.ActionID, d.VerificationID = a.ID, a.Verification
		if a.Decision != nil {
			d.PolicyDecisionID = a.Decision.ID
		}
		payload["action"], payload["request_hash"] = a.Step.Action, a.RequestHash
	}
	c.drafts = append(c.drafts, d)
	ref := evidenceRef{d.ID, t.String(), d.ActionID}
	if a != nil && c.closed(a) {
		ref.Action = "" // it is in the log, and the envelope stays as it is
	}
	c.r.Evidence = append(c.r.Evidence, ref)
}

// put writes the run and its evidence into a transaction.
func (c *change) put(ctx context.Context, tx *objects.Tx) error {
	if err := c.unchanged(); err != nil {
		return err
	}
	c.r.Changed = c.now
	b, err := c.r.encode()
	if err != nil {
		return err
	}
	for i := range c.drafts {
		d := &c.drafts[i]
		if err := c.log.Check(ctx, d); err != nil {
			return fmt.Errorf("evidence %s: %w", d.Type, err) // nothing happens that would leave none
		}
	}
	tx.PutRecord(runKey(c.r.ID), b)
	tx.Emit(c.drafts...)
	return nil
}
