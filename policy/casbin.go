package policy

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"

	"github.com/ai-os-dot-net/aios/policy/bundle"
)

// Both stages deny over allow, and deny where nothing allows.
const effect = "some(where (p_eft == allow)) && !some(where (p_eft == deny))"

// Stage 1 has a row for each hard denial and a sentinel that always matches: a table
// that is empty or cut short then denies instead of passing silently.
const hardModel = `
[request_definition]
r = env
[policy_definition]
p = id, eft
[policy_effect]
e = ` + effect + `
[matchers]
m = hardDeny(r.env, p.id)
`

const sentinel = "hd.floor"

// Stage 2 has a row for each subject of each rule of one action. The condition is
// compiled Go, reached by reference; no text of a bundle is ever evaluated.
const scopedModel = `
[request_definition]
r = env, sub
[policy_definition]
p = sub, cond, eft
[policy_effect]
e = ` + effect + `
[matchers]
m = r.sub == p.sub && cond(r.env, p.cond)
`

type hardStage struct{ e *casbin.Enforcer }

func newEnforcer(text string) (*casbin.Enforcer, error) {
	m, err := model.NewModelFromString(text)
	if err != nil {
		return nil, err
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	e.EnableLog(false) // it would print request values
	e.EnableAutoSave(false)
	return e, nil
}

func newHardStage() (*hardStage, error) {
	e, err := newEnforcer(hardModel)
	if err != nil {
		return nil, err
	}
	byID := map[string]*hardDeny{}
	rows := [][]string{}
	for i := range hardDenies {
		byID[hardDenies[i].id] = &hardDenies[i]
		rows = append(rows, []string{hardDenies[i].id, "deny"})
	}
	rows = append(rows, []string{sentinel, "allow"})
	if _, err := e.AddPolicies(rows); err != nil {
		return nil, err
	}
	e.AddFunction("hardDeny", func(args ...any) (any, error) {
		r, ok := args[0].(*Request)
		id, isText := args[1].(string)
		if !ok || !isText {
			return nil, errors.New("hardDeny: not a request and a rule")
		}
		if id == sentinel {
			return true, nil
		}
		h := byID[id]
		if h == nil {
			return nil, fmt.Errorf("hardDeny: no rule %s", id)
		}
		return h.fires(r), nil
	})
	have, err := e.GetPolicy()
	if err != nil {
		return nil, err
	}
	if len(hardDenies) != 18 || len(have) != 19 {
		return nil, fmt.Errorf("%d hard denies are loaded in %d rows, not 18 in 19", len(hardDenies), len(have))
	}
	return &hardStage{e}, nil
}

// matches lists the hard denies that fire, in their order. The rules are asked in Go
// first, all of them; Casbin then must come to the same answer, and where it does not
// the request is denied: neither of the two can be lost without the other noticing.
func (h *hardStage) matches(r *Request) ([]*hardDeny, error) {
	var list []*hardDeny
	for i := range hardDenies {
		if hardDenies[i].fires(r) {
			list = append(list, &hardDenies[i])
		}
	}
	pass, err := h.e.Enforce(r)
	if err != nil {
		return nil, err
	}
	if pass != (len(list) == 0) {
		return nil, errors.New("the hard denies disagree with their table")
	}
	return list, nil
}

// ruleSet is a bundle made ready: one enforcer an action, since Casbin looks at every
// row it has (17 ms at 10,000 of them, measured).
type ruleSet struct {
	version  string
	count    int
	byAction map[string]*actionRules
}

type actionRules struct {
	e      *casbin.Enforcer
	rules  []*bundle.Rule
	groups map[string]map[string]bool // subject to the groups of the bundle that hold it
}

func (a *actionRules) ids() []string {
	if a == nil {
		return nil
	}
	var ids []string
	for _, r := range a.rules {
		ids = append(ids, r.ID)
	}
	return ids
}

var errBudget = errors.New("budget")

func newRuleSet(b *bundle.Bundle) (*ruleSet, error) {
	set := &ruleSet{version: b.Version, count: len(b.Rules), byAction: map[string]*actionRules{}}
	for i := range b.Rules {
		r := &b.Rules[i]
		if r.Effect != bundle.AllowEffect && r.Effect != bundle.DenyEffect {
			return nil, fmt.Errorf("rule %s: effect %q", r.ID, r.Effect)
		}
		for _, action := range r.Actions {
			a := set.byAction[action]
			if a == nil {
				a = &actionRules{}
				set.byAction[action] = a
			}
			a.rules = append(a.rules, r)
		}
	}
	for action, a := range set.byAction {
		if err := a.compile(b); err != nil {
			return nil, fmt.Errorf("rules of %s: %w", action, err)
		}
	}
	return set, nil
}

func (a *actionRules) compile(b *bundle.Bundle) error {
	e, err := newEnforcer(scopedModel)
	if err != nil {
		return err
	}
	rows, index := [][]string{}, map[string]int{}
	for i, r := range a.rules {
		ref := fmt.Sprintf("c%05d", i)
		index[ref] = i
		subjects := map[string]bool{}
		for _, s := range r.Subjects {
			subjects[s] = true
		}
		names := make([]string, 0, len(subjects))
		for s := range subjects {
			names = append(names, s)
		}
		sort.Strings(names)
		for _, s := range names {
			rows = append(rows, []string{s, ref, string(r.Effect)})
		}
	}
	if ok, err := e.AddPolicies(rows); err != nil || !ok {
		return errors.Join(err, errors.New("the rows were not taken"))
	}
	have, err := e.GetPolicy()
	if err != nil {
		return err
	}
	if len(have) != len(rows) {
		return fmt.Errorf("%d rows of %d are there", len(have), len(rows)) // a row lost is a denial lost
	}
	e.AddFunction("cond", func(args ...any) (any, error) {
		env, ok := args[0].(*environment)
		ref, isText := args[1].(string)
		if !ok || !isText {
			return nil, errors.New("cond: not a request and a rule")
		}
		i, ok := index[ref]
		if !ok {
			return nil, fmt.Errorf("cond: no rule %s", ref)
		}
		return env.holds(a.rules[i])
	})
	a.e = e
	a.groups = map[string]map[string]bool{}
	for g, members := range b.Groups {
		for _, m := range members {
			if a.groups[m] == nil {
				a.groups[m] = map[string]bool{}
			}
			a.groups[m][g] = true
		}
	}
	return nil
}

// decide gives the rule that won and whether it allows; no rule is the default
// denial. Every name that the subject answers to is asked, and a denial under any of
// them wins.
func (s *ruleSet) decide(env *environment) (*bundle.Rule, bool, error) {
	a := s.byAction[env.r.Action]
	if a == nil {
		return nil, false, nil
	}
	env.fired = map[*bundle.Rule]bool{}
	denied, allowed := false, false
	for _, name := range a.names(env.r) {
		ok, row, err := a.e.EnforceEx(env, name)
		if err != nil {
			if env.err != nil {
				err = env.err
			}
			return nil, false, err
		}
		if ok {
			allowed = true
		} else if len(row) > 0 {
			denied = true
		}
	}
	// The rules are sorted by priority; the first that fired on the winning side says why.
	for _, r := range a.rules {
		if env.fired[r] && (r.Effect == bundle.DenyEffect) == denied && (denied || allowed) {
			return r, !denied, nil
		}
	}
	return nil, false, nil
}

// names are the subjects of rules that stand for the caller.
func (a *actionRules) names(r *Request) []string {
	names := []string{r.Subject.ID}
	if r.Subject.IsAI {
		names = append(names, bundle.AnyAI)
	} else if r.Subject.Kind.Human() {
		names = append(names, bundle.AnyHuman)
		if r.Subject.Admin {
			names = append(names, bundle.Admins)
		}
	}
	seen := map[string]bool{}
	for g := range a.groups[r.Subject.ID] {
		seen[g] = true
	}
	for _, g := range r.Subject.Memberships {
		seen[g] = true
	}
	groups := make([]string, 0, len(seen))
	for g := range seen {
		groups = append(groups, "group:"+g)
	}
	sort.Strings(groups)
	return append(names, groups...)
}

// environment is what conditions see of a request, and its budget.
type environment struct {
	r       *Request
	risk    Risk
	hostID  string
	ctx     context.Context
	lookups int
	err     error
	fired   map[*bundle.Rule]bool
}

func (e *environment) holds(r *bundle.Rule) (bool, error) {
	if e.lookups++; e.lookups > maxLookups {
		e.lookups, e.err = maxLookups, errBudget
		return false, errBudget
	}
	if err := e.ctx.Err(); err != nil {
		e.err = err
		return false, err
	}
	for _, c := range r.Compiled {
		if !c.Holds(e) {
			return false, nil
		}
	}
	e.fired[r] = true
	return true, nil
}

// Field answers a condition (S2.3 §9).
func (e *environment) Field(name string) (any, bool) {
	r := e.r
	text := func(s string) (any, bool) { return s, s != "" }
	switch name {
	case "subject.canonical_subject_id":
		return text(r.Subject.ID)
	case "subject.subject_type":
		return text(r.Subject.Kind.String())
	case "subject.groups":
		return r.Subject.Memberships, true
	case "subject.capabilities":
		return r.Subject.Capabilities, true
	case "subject.session_class":
		return text(r.Subject.SessionClass)
	case "subject.recovery_mode", "time.recovery_mode":
		return r.RecoveryMode, true
	case "subject.is_ai":
		return r.Subject.IsAI, true
	case "subject.is_first_boot":
		return r.FirstBoot, true
	case "subject.primary_group_id":
		return text(r.Subject.PrimaryGroup)
	case "request.action":
		return text(r.Action)
	case "request.environment":
		return text(r.Environment)
	case "request.dry_run":
		return text(r.DryRun)
	case "request.sandbox_profile_id":
		return text(r.SandboxProfile)
	case "request.risk.destructive":
		return e.risk.Destructive, true
	case "request.risk.privileged":
		return e.risk.Privileged, true
	case "request.risk.network_exposure":
		return e.risk.NetworkExposure, true
	case "request.risk.secret_access":
		return e.risk.SecretAccess, true
	case "request.risk.recovery_path_affected":
		return e.risk.RecoveryPathAffected, true
	case "target.scope":
		return text(r.Target.Scope)
	case "target.group_id":
		return text(r.Target.Group)
	case "target.user_id":
		return text(r.Target.User)
	case "target.reserved_name":
		return text(r.Target.Reserved)
	case "target.path":
		return text(r.Target.Path)
	case "target.own":
		return r.Target.Scope == "USER" && r.Target.Group == r.Subject.PrimaryGroup && r.Target.User == r.Subject.Name(), r.Target.Scope != ""
	case "target.own_group":
		return r.Target.Group == r.Subject.PrimaryGroup, r.Target.Group != ""
	case "object.privacy_class":
		worst := ""
		for _, o := range r.Objects {
			if worst == "" || privacyRank(o.PrivacyClass) > privacyRank(worst) {
				worst = o.PrivacyClass
			}
		}
		return text(worst)
	case "object.kind", "object.lifecycle_state", "object.created_by", "object.policy_tags":
		if len(r.Objects) != 1 {
			return nil, false
		}
		switch o := r.Objects[0]; name {
		case "object.kind":
			return text(o.Kind)
		case "object.lifecycle_state":
			return text(o.LifecycleState)
		case "object.created_by":
			return text(o.CreatedBy)
		default:
			return o.Tags, true
		}
	case "time.weekday":
		return text(r.Weekday)
	case "time.hour_utc":
		return float64(r.HourUTC), true
	case "system.host_id":
		return text(e.hostID)
	}
	if len(name) > 7 && name[:7] == "target." {
		v, ok := r.Target.Fields[name[7:]]
		return v, ok
	}
	return nil, false
}
