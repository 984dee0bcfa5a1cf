package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// operation is a typed action of recovery. target is checked before anybody is asked.
type operation struct {
	class   policy.ActionClass
	target  func(plan.Step) (policy.Target, error)
	perform func(context.Context, *recoveryDesk, *petition) error
}

// operations are all that recovery does by action; policy changes by its signed files.
var operations = map[string]operation{
	"recovery.operator.register": {policy.Mutate, operatorTarget("uid", "SYS_RECOVERY", "system/recovery/operators"), registerOperator},
	"capability.grant":           {policy.Mutate, operatorTarget("capability", "SYS_CAPABILITIES", "system/capabilities"), grantCapability},
	"evidence.read":              {policy.Read, evidenceTarget, openEvidence},
}

// malformed is a document that is refused at the call that commits it.
func malformed(err error) error {
	return &mountfs.IntentError{Code: string(plan.CodeInvalidRequest), Message: err.Error()}
}

func readPetition(c mountfs.Caller, name string, doc []byte) (*petition, error) {
	d, err := plan.ParseDocument(doc, name)
	var bad *plan.Error
	switch {
	case errors.As(err, &bad):
		return nil, &mountfs.IntentError{Code: string(bad.Code), Message: bad.Message, Line: bad.Line, Column: bad.Column}
	case err != nil:
		return nil, err
	case d.Kind != plan.Typed || len(d.Actions) != 1 || d.Mode != plan.Live:
		return nil, malformed(errors.New("recovery takes typed intents of one action: nothing translates or plans here"))
	case d.Subject != "" && d.Subject != c.Subject.ID:
		return nil, malformed(fmt.Errorf("it says that it comes from %s, and comes from %s", d.Subject, c.Subject.ID))
	}
	a := d.Actions[0]
	op, ok := operations[a.Action]
	if !ok {
		return nil, malformed(fmt.Errorf("recovery has no action %s; it has %s", a.Action, strings.Join(slices.Sorted(maps.Keys(operations)), ", ")))
	}
	p := &petition{id: newPetitionID(), name: name, by: c, doc: doc, at: time.Now(), op: op, reason: plan.CleanReason(d.Reason),
		step: plan.Step{ID: a.ID, Action: a.Action, Target: a.Target, Params: a.Params, DryRun: plan.Live}}
	p.hash, err = p.step.Request(c.Subject.ID, d.Reason, "LOCAL").Hash()
	return p, err
}

// field is a word of a target or of params, of which nothing else may be there.
func field(m map[string]any, name string) (string, error) {
	s, ok := m[name].(string)
	if !ok || s == "" || len(m) != 1 {
		return "", fmt.Errorf("it needs {%s: …}, a word, and nothing else there", name)
	}
	return s, nil
}

func operatorTarget(param, reserved, path string) func(plan.Step) (policy.Target, error) {
	return func(s plan.Step) (policy.Target, error) {
		name, err := field(s.Target, "operator")
		if err == nil {
			err = identity.CheckID(name)
		}
		if _, ok := s.Params[param]; err == nil && (!ok || len(s.Params) != 1) {
			err = fmt.Errorf("params need %s, and nothing else", param)
		}
		return policy.Target{Scope: "SYSTEM", Reserved: reserved, Path: path}, err
	}
}

func evidenceTarget(s plan.Step) (policy.Target, error) {
	group, err := field(s.Target, "group")
	if err == nil {
		err = identity.CheckID(group)
	}
	if err == nil && len(s.Params) != 0 {
		err = errors.New("it has no params")
	}
	return policy.Target{Scope: "GROUP", Group: group, Reserved: "GRP_EVIDENCE", Path: "groups/" + group + "/evidence"}, err
}

func (p *petition) group() string { g, _ := p.step.Target["group"].(string); return g }

func registerOperator(ctx context.Context, k *recoveryDesk, p *petition) error {
	var uid uint32
	if n, err := fmt.Sscan(fmt.Sprint(p.step.Params["uid"]), &uid); n != 1 || err != nil {
		return fmt.Errorf("uid %v is no number of a login", p.step.Params["uid"])
	}
	name, _ := p.step.Target["operator"].(string) // checked before it was asked for
	c, err := k.d.ids.Catalog().WithOperator(name, uid)
	if err != nil {
		return err
	}
	p.result = map[string]any{"operator": name, "uid": uid, "identity_bundle_version": c.Version()}
	return k.use(ctx, p, c, "RECOVERY_OPERATOR_REGISTRATION")
}

func grantCapability(ctx context.Context, k *recoveryDesk, p *petition) error {
	name, _ := p.step.Target["operator"].(string)
	c, err := k.d.ids.Catalog().WithCapability(name, fmt.Sprint(p.step.Params["capability"]))
	if err != nil {
		return err
	}
	p.result = map[string]any{"operator": name, "capability": p.step.Params["capability"], "identity_bundle_version": c.Version()}
	return k.use(ctx, p, c, "CAPABILITY_CATALOG")
}

// use puts an identity catalogue in force, in one commit with the record of it.
func (k *recoveryDesk) use(ctx context.Context, p *petition, c *identity.Catalog, scope string) error {
	tx := k.d.store.Begin(objects.Cred{Subject: p.by.Subject.ID}, "")
	if err := tx.WriteFile(ctx, catalogPath, bytes.NewReader(c.Marshal(k.d.ids.key)), objects.WriteOptions{Mode: 0o644}); err != nil {
		return err
	}
	tx.Emit(k.performed(p, scope))
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("keep the identity catalogue: %w", err)
	}
	k.d.ids.cat.Store(c)
	return nil
}

// openEvidence shows the petitioner a group's records for as long as the approval is good.
func openEvidence(ctx context.Context, k *recoveryDesk, p *petition) error {
	if _, ok := k.d.ids.Catalog().Group(p.group()); !ok {
		return fmt.Errorf("group %s: %w", p.group(), identity.ErrUnknown)
	}
	p.result = map[string]any{"group": p.group(), "until": p.ask.Binding.ExpiresAt.Format(time.RFC3339)}
	if _, err := k.d.log.Append(ctx, k.performed(p, "")); err != nil {
		return fmt.Errorf("record it: %w", err)
	}
	p.shows, p.until = p.group(), p.ask.Binding.ExpiresAt
	return nil
}

// performed is the record of what was done, with whose approval.
func (k *recoveryDesk) performed(p *petition, scope string) evidence.Draft {
	told := maps.Clone(p.result)
	told["mutable_scope"], told["binding_id"], told["granting_subject_id"] = scope, p.ask.Binding.ID, p.ask.Binding.Granting
	d := k.draft(p.by, p, record.EmitterRecovery, record.RecoveryOperationPerformed, told)
	d.ID = k.d.log.Reserve(time.Now())
	return d
}
