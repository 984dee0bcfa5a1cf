package agents

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/agents/translate"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
)

// Submit takes a document. When it returns nil the document is durable and will be
// carried out or refused with a reason in its directory; policy has spoken. A
// malformed one is an *IntentError, and leaves a refused run with the same reason.
func (rt *Runtime) Submit(ctx context.Context, by Submitter, name string, doc []byte) error {
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") || len(name) > 250 {
		return fmt.Errorf("%q is no name for an intent: %w", name, ErrInvalid)
	}
	if by.Subject.ID == "" {
		return fmt.Errorf("submit: nobody known: %w", ErrDenied)
	}
	rt.mu.Lock()
	closed := rt.closed
	rt.mu.Unlock()
	if closed {
		return ErrClosed
	}
	return rt.take(ctx, by, name, doc, rt.understand)
}

// take makes a run of a document with what understand makes of it.
func (rt *Runtime) take(ctx context.Context, by Submitter, name string, doc []byte, understand func(context.Context, *change, *objects.Tx) (*tracked, error)) error {
	defer rt.claims.take(by.Subject.ID + "\x00" + name)()
	old := rt.named(by.Subject.ID, name)
	if old != nil && !old.now().Terminal() {
		return ErrBusy
	}
	if by.Subject.IsAI && len(rt.living()) > depth {
		return rt.pushBack(by, "QUEUE_BACKPRESSURE_REJECTED")
	}
	leave, ok := rt.claims.admit(by.Subject.ID, name, maxLive, func() (names []string) {
		for _, l := range rt.living() {
			if r := l.now(); r.By.Subject.ID == by.Subject.ID {
				names = append(names, r.Name)
			}
		}
		return names
	})
	if !ok {
		return rt.pushBack(by, "SUBJECT_QUEUE_FULL")
	}
	defer leave()
	now := rt.d.Now().UTC()
	c := &change{now: now, log: rt.d.Log, r: &Run{ID: newID("run", now), Name: name, By: by, Doc: doc, Accepted: now, Intent: newID("int", now),
		PlanID: newID("pln", now), Correlation: newID("corr", now), Txns: map[int]string{}, Reverted: map[int]bool{}, Word: runReceived}}
	c.event(nil, runReceived, "")
	defer c.release()
	tx := rt.d.Store.Begin(c.r.cred(), "")
	first, bad := func() (*tracked, error) {
		// As many at a time as there are processors: what a decision rests on has to be had
		// within a time, and hundreds at once would be too late, and denied.
		rt.deciding <- struct{}{}
		defer func() { <-rt.deciding }()
		return understand(ctx, c, tx)
	}()
	if errors.Is(bad, ErrAgain) {
		return errors.Join(bad, tx.Discard())
	}
	if first != nil {
		defer func() { rt.add(first) }()
		return rt.step(first, func(c *change) error {
			if c.r.Name != name && !slices.Contains(c.r.Aliases, name) {
				c.r.Aliases = append(c.r.Aliases, name)
			}
			c.event(nil, c.r.State(), droppedAgain)
			return nil
		})
	}
	if old != nil {
		o := rt.change(old.now())
		rt.moves.Lock()
		defer rt.moves.Unlock()
		rt.moveAway(o.r)
		if err := o.put(ctx, tx); err != nil {
			return err
		}
		defer func() {
			if rt.tracked(c.r.ID) != nil {
				old.set(o.r)
			}
		}()
	}
	c.finish()
	if err := c.put(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("accept the intent: %w", err)
	}
	if c.r.Terminal() {
		rt.told(ctx)
	}
	l := &tracked{run: c.r, changed: make(chan struct{})}
	rt.add(l)
	if !c.r.Terminal() {
		rt.drive(l)
	}
	if bad != nil {
		return bad
	}
	return nil
}

// toldWithin is how long a refusal waits for the log to have its evidence, which is durable
// in the store already: who is refused can look at once for what it says.
const toldWithin = 5 * time.Second

func (rt *Runtime) told(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, toldWithin)
	defer cancel()
	if err := rt.d.Store.WaitEvidence(ctx); err != nil {
		rt.d.Logger.Warn("a goal is over before the log has its evidence", "err", err)
	}
}

// droppedAgain marks a repetition among the events of the first run.
const droppedAgain = "the same goal was dropped again"

func (rt *Runtime) tracked(id string) *tracked {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.runs[id]
}

// moveAway gives a run its place below .done/; rt.moves is held until the run has it.
func (rt *Runtime) moveAway(r *Run) {
	base := r.Accepted.UTC().Format("2006/01/02/") + r.Name
	r.MovedTo = base
	for n := 2; ; n++ {
		taken := false
		for _, l := range rt.all() {
			o := l.now()
			taken = taken || o.ID != r.ID && o.By.Subject.ID == r.By.Subject.ID && o.MovedTo == r.MovedTo
		}
		if !taken {
			return
		}
		r.MovedTo = fmt.Sprintf("%s~%d", base, n)
	}
}

// finish marks a run as over when all of it is.
func (c *change) finish() {
	if c.r.Terminal() {
		return
	}
	if len(c.r.Actions) == 0 {
		if c.r.Word == runRefused {
			c.r.Done = c.now
			c.event(nil, runRefused, "")
		}
		return
	}
	for _, a := range c.r.Actions {
		if !a.State.Terminal() || a.Rollback == rollbackDue {
			return
		}
	}
	c.r.Done = c.now
	c.event(nil, c.r.State(), "")
}

func (c *change) refuse(code, message string, details map[string]any) {
	c.r.Word, c.r.Failure = runRefused, &Failure{Code: code, Message: message, Details: details}
}

// understand makes a document into a plan and asks policy. It gives the run that the
// document is a repetition of, or the error for the submitter; with ErrAgain nothing is
// to be kept of it.
func (rt *Runtime) understand(ctx context.Context, c *change, tx *objects.Tx) (*tracked, error) {
	doc, err := plan.ParseDocument(c.r.Doc, c.r.Name)
	if err != nil {
		return nil, c.unreadable(err)
	}
	if doc.Kind == plan.Words {
		res, err := rt.d.Translator.Translate(ctx, rt.request(c, doc.Words))
		if err != nil {
			return nil, c.unreadable(err)
		}
		c.translated(res)
		if res.Status == translate.Ready {
			c.r.Plan = res.Plan(c.r.Intent, c.r.PlanID)
			return nil, rt.begin(ctx, c)
		}
		return nil, nil
	}
	if err := rt.origin(c, doc); err != nil {
		return nil, err
	}
	c.r.Plan, err = rt.d.Translator.Catalog().Compile(doc, c.r.Intent, c.r.PlanID)
	if err != nil {
		bad := c.malformed(err)
		for _, a := range doc.Actions {
			// A well-formed envelope with a bad body became an action (S0.3, failure 1).
			x := &Action{ID: newID("act", c.now), State: Created, Step: plan.Step{ID: a.ID, Action: a.Action, Target: a.Target}, Rollback: "NOT_APPLICABLE"}
			c.r.Actions = append(c.r.Actions, x)
			c.emit(record.EmitterRuntime, record.ActionReceived, x, map[string]any{"kind": "typed"})
			c.emit(record.EmitterRuntime, record.ActionValidated, x, map[string]any{"outcome": "FAILED", "error_code": c.r.Failure.Code})
			c.fail(x, &Failure{Code: "EnvelopeValidationFailed", Message: c.r.Failure.Message, Details: c.r.Failure.Details})
		}
		return nil, bad
	}
	if doc.IdempotencyKey != "" {
		if first, done := rt.replay(c, tx, doc.IdempotencyKey); done {
			return first, nil
		}
	}
	return nil, rt.begin(ctx, c)
}

// origin holds what a document says of where it comes from against what is known: the
// subject is the one who drops it (nobody acts for another), and the parent is an action of
// his. An action's id is made when it is accepted, so that what exists cannot have this
// goal among its parents, and no circle can close.
func (rt *Runtime) origin(c *change, doc *plan.Document) error {
	if id := c.r.By.Subject.ID; doc.Subject != "" && doc.Subject != id {
		c.refuse("SubjectUnauthorized", "the document speaks for "+doc.Subject+", and "+id+" dropped it", map[string]any{"field": "/subject"})
		c.emit(record.EmitterRuntime, record.ActionValidated, nil, map[string]any{"outcome": "FAILED", "error_code": "SubjectUnauthorized", "claimed_subject": doc.Subject})
		return fmt.Errorf("a document of %s, dropped by %s: %w", doc.Subject, id, ErrDenied)
	}
	if doc.ParentActionID == "" {
		return nil
	}
	for _, l := range rt.all() {
		r := l.now()
		if r.By.Subject.ID == c.r.By.Subject.ID && r.action(doc.ParentActionID) != nil {
			c.r.Cause, c.r.Correlation = doc.ParentActionID, r.Correlation
			return nil
		}
	}
	return c.unreadable(doc.Fail(plan.CodeMalformed, "/parent_action_id", "there is no action "+doc.ParentActionID+" of yours", ""))
}

// unreadable refuses a document that no action comes of. Who dropped it is known, so that
// the refusal stands in the log as well.
func (c *change) unreadable(err error) error {
	bad := c.malformed(err)
	c.emit(record.EmitterRuntime, record.ActionValidated, nil, map[string]any{"outcome": "FAILED", "error_code": c.r.Failure.Code})
	return bad
}

func (c *change) malformed(err error) error {
	var e *plan.Error
	if !errors.As(err, &e) {
		e = &plan.Error{Code: plan.CodeMalformed, Message: err.Error()}
	}
	details := map[string]any{}
	if e.Line > 0 {
		details["line"], details["column"] = e.Line, e.Column
	}
	if e.Hint != "" {
		details["hint"] = e.Hint
	}
	if e.Field != "" {
		details["field"] = e.Field
	}
	c.refuse(string(e.Code), e.Message, details)
	return &IntentError{string(e.Code), e.Message, e.Line, e.Column}
}

func (rt *Runtime) request(c *change, words string) translate.Request {
	s := c.r.By.Subject
	kind := func(p string) (objects.Attr, bool) {
		a, err := rt.d.Store.Resolve(aiosfs.Rooted(s, p))
		return a, err == nil
	}
	return translate.Request{Utterance: words, Subject: s.ID, Home: plan.Root + "/" + s.Home() + "/home", GroupIDs: s.Memberships,
		IntentID: c.r.Intent, PlanID: c.r.PlanID, CorrelationID: c.r.Correlation, Now: c.now, Answers: c.r.Answers,
		Facts: translate.Facts{
			Exists: func(p string) bool { _, ok := kind(p); return ok },
			IsDir:  func(p string) bool { a, ok := kind(p); return ok && a.Mode&0o170000 == 0o040000 },
		}}
}

// translated takes what the translator said.
func (c *change) translated(res translate.Result) {
	payload := map[string]any{}
	if b, err := json.Marshal(res.Evidence); err == nil {
		_ = json.Unmarshal(b, &payload) // it is an object
	}
	c.emit(record.EmitterTranslator, record.TranslationCreated, nil, payload)
	c.r.Questions = nil
	switch res.Status {
	case translate.Rejected:
		var near map[string]any
		if len(res.Refusal.Nearest) > 0 {
			near = map[string]any{"nearest": res.Refusal.Nearest}
		}
		c.refuse(string(res.Refusal.Code), res.Refusal.Message, near)
	case translate.NeedsClarification, translate.Partial:
		c.r.Word, c.r.Questions = runAsking, res.Questions
		c.event(nil, runAsking, "")
	}
}

// idempotent is the record behind an idempotency key.
type idempotent struct {
	Run  string    `json:"run_id"`
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
}

// replay looks the key up and claims it; true when this document does nothing new.
func (rt *Runtime) replay(c *change, tx *objects.Tx, key string) (*tracked, bool) {
	h := blake3.New()
	for _, s := range c.r.Plan.Steps {
		if rh, err := s.Request(c.r.By.Subject.ID, c.r.Plan.Reason, environment).Hash(); err == nil {
			_, _ = h.Write([]byte(rh)) // a hash takes everything
		}
	}
	sum := hex.EncodeToString(h.Sum(nil))
	name := "agents/idem/" + c.r.By.Subject.ID + "/" + key
	c.held = append(c.held, rt.claims.take(name))
	if b, err := rt.d.Store.GetRecord(name); err == nil {
		var old idempotent
		if json.Unmarshal(b, &old) == nil && c.now.Sub(old.At) < keyTTL {
			if first := rt.tracked(old.Run); first != nil && old.Hash == sum {
				return first, true
			}
			c.refuse("IdempotencyConflict", "another goal was dropped with this idempotency key", map[string]any{"first_run": old.Run, "runtime_code": "IDEMPOTENCY_REPLAY"})
			c.emit(record.EmitterRuntime, record.IdempotencyKeyReplayDetected, nil, map[string]any{"first_run": old.Run})
			return nil, true
		}
	}
	c.r.Key = key
	if b, err := json.Marshal(idempotent{c.r.ID, sum, c.now}); err == nil {
		tx.PutRecord(name, b)
	}
	return nil, false
}
