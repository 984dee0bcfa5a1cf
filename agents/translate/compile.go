package translate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Compile matches a typed document with the catalogue: every action known,
// every target valid, risk and verification filled in. The error is a
// *plan.Error with line and column. Steps stand in the document's Order.
func (c *Catalog) Compile(d *plan.Document, intentID, planID string) (*plan.Plan, error) {
	if d.Kind != plan.Typed {
		return nil, &plan.Error{Code: plan.CodeInvalidRequest, Message: "words are translated, not compiled"}
	}
	p := &plan.Plan{Schema: plan.PlanSchema, PlanID: planID, IntentID: intentID, Reason: d.Reason,
		Mode: d.Mode, Atomic: d.Atomic, QueueClass: d.QueueClass, CatalogVersion: c.version}
	steps := make([]plan.Step, len(d.Actions))
	for i, a := range d.Actions { // in the order of the file, for its first fault
		ptr := fmt.Sprintf("/actions/%d", i)
		m, ok := c.byAction[a.Action]
		if !ok || m.Status == "retired" {
			what := "action " + fmt.Sprintf("%q", a.Action) + " is not in the catalogue"
			if ok {
				what = "action " + fmt.Sprintf("%q", a.Action) + " is retired"
			}
			return nil, d.Fail(plan.CodeUnknownAction, ptr+"/action", what, c.near(a.Action))
		}
		s := plan.Step{ID: a.ID, Target: a.Target, Params: a.Params, Expect: a.Expect, After: a.After, DryRun: d.Mode}
		if _, inside := a.Target["params"]; inside {
			return nil, d.Fail(plan.CodeTargetSchema, ptr+"/target/params", "`params` stands beside `target`, not in it", "")
		}
		if f := m.check(envelopeTarget(a.Target, a.Params)); f != nil {
			at, code := ptr+"/target"+f.pointer, plan.CodeTargetSchema
			if rest, ok := strings.CutPrefix(f.pointer, "/params"); ok {
				at = ptr + "/params" + rest
			}
			if f.path {
				code = plan.CodeInvalidPath
			}
			return nil, d.Fail(code, at, a.Action+": "+f.what, f.hint)
		}
		for j, v := range a.Verify {
			if f := checkVerification(v); f != nil {
				return nil, d.Fail(plan.CodeVerification, fmt.Sprintf("%s/verify/%d%s", ptr, j, f.pointer), f.what, f.hint)
			}
		}
		var err error
		if steps[i], err = c.complete(m, s, a.Verify, intentID, planID); err != nil {
			return nil, err
		}
	}
	for _, i := range d.Order {
		p.Steps = append(p.Steps, steps[i])
	}
	return p, nil
}

// near offers the actions that may have been meant: those spelt alike, else those of the
// same domain, else those of another that end alike, else the domains.
func (c *Catalog) near(action string) string {
	if names := plan.Nearest(action, c.actions, 3); len(names) > 0 {
		return "near: " + strings.Join(names, ", ")
	}
	domain, _, _ := strings.Cut(action, ".")
	var same, domains []string
	for name, m := range c.byAction {
		if m.Status == "retired" {
			continue
		}
		if m.Domain() == domain {
			same = append(same, name)
		}
		domains = append(domains, m.Domain())
	}
	if len(same) > 0 {
		slices.Sort(same)
		return "known of " + domain + ": " + strings.Join(same, ", ")
	}
	if names := c.Nearest(action, 3); len(names) > 0 {
		return "near: " + strings.Join(names, ", ")
	}
	slices.Sort(domains)
	return "actions are known of: " + strings.Join(slices.Compact(domains), ", ")
}

func envelopeTarget(target, params map[string]any) map[string]any {
	return plan.Step{Target: target, Params: params}.RequestTarget()
}

// complete fills in what the manifest knows.
func (c *Catalog) complete(m *Manifest, s plan.Step, verify []plan.Verification, intentID, planID string) (plan.Step, error) {
	s.Action, s.CapabilityID, s.AdapterFamily = m.Action, m.CapabilityID, m.AdapterFamilies[0]
	s.SandboxProfile, s.PolicyTags = m.SandboxProfile, m.PolicyTags
	s.Risk = m.Risk.Union(targetRisk(s))
	s.Verification = append(defaultVerification(m, s), verify...)
	if m.Status == "deprecated" {
		s.Warnings = append(s.Warnings, m.Action+" is deprecated")
	}
	var err error
	s.IdempotencyKey, err = plan.IdempotencyKey(intentID, planID, s.ID, s.Action, s.RequestTarget(), s.DryRun)
	return s, err
}

// targetRisk is what the target adds to the manifest's risk; it may overstate.
func targetRisk(s plan.Step) (r plan.Risk) {
	for _, v := range []any{s.Target["path"], s.Params["to"]} {
		p, _ := v.(string)
		if p == plan.Root+"/system" || strings.HasPrefix(p, plan.Root+"/system/") {
			r.Privileged = true
		}
		if recoveryPath(p) {
			r.RecoveryPathAffected = true
		}
		if strings.Contains(p, "/vault/") || strings.HasSuffix(p, "/vault") {
			r.SecretAccess = true
		}
	}
	if rec, _ := s.Params["recursive"].(bool); rec {
		r.Destructive = true
	}
	return r
}

func recoveryPath(p string) bool {
	for _, root := range []string{"/system/recovery", "/system/boot"} {
		if p == plan.Root+root || strings.HasPrefix(p, plan.Root+root+"/") {
			return true
		}
	}
	return false
}
