package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ai-os-dot-net/aios/policy/bundle"
)

// The reason codes that are not names of hard denies (S2.3 §4 names the first eight;
// the last four complete the closed set of thirty).
const (
	ScopedAllow            = "ScopedAllow"
	AISelfApproval         = "AISelfApprovalPrevented"
	SubjectUnauthenticated = "SubjectUnauthenticated"
	EnrichmentUnavailable  = "EnrichmentUnavailable"
	EvaluationTimeout      = "PolicyEvaluationTimeout"
	EngineInternal         = "PolicyEngineInternal"
	EngineDegraded         = "PolicyEngineDegraded"
	BudgetExceeded         = "PolicyEvaluationBudgetExceeded"
	DefaultDeny            = "DefaultDeny"
	ScopedDeny             = "ScopedDeny"
	ScopedApprovalRequired = "ScopedApprovalRequired"
	EmergencyOverride      = "EmergencyOverrideApplied"
)

// Budgets of one evaluation (S2.3 §7).
const (
	maxObjects  = 16
	maxLookups  = 1000
	defaultTTL  = 300 // seconds that a decision is good for
	maxCache    = 4096
	maxExplain  = 4096
	approvalTTL = 300
)

// Options of a kernel. Without a bundle it is degraded: hard denies keep their
// codes, everything else is denied.
type Options struct {
	Bundle *bundle.Bundle
	Now    func() time.Time
	HostID string
}

// Kernel evaluates requests. It is safe for concurrent use; a bundle is swapped
// whole, so that no evaluation mixes two.
type Kernel struct {
	o      Options
	rules  atomic.Pointer[ruleSet]
	hard   *hardStage
	mu     sync.Mutex
	cache  map[string]*cached
	given  []Explanation // the last maxExplain decisions; next is the oldest once all places are taken
	next   int
	rates  rates
	since  time.Time
	counts [4]atomic.Uint64
	tally  map[Tally]uint64
	hits   uint64
	misses uint64
}

// cached is a decision under the rules that made it; other rules do not give it.
type cached struct {
	rules *ruleSet
	d     Decision
	until time.Time
}

// New makes a kernel. It fails when the compiled hard denies are not all loaded.
func New(o Options) (*Kernel, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	hard, err := newHardStage()
	if err != nil {
		return nil, err
	}
	k := &Kernel{o: o, hard: hard, cache: map[string]*cached{}, tally: map[Tally]uint64{}, since: o.Now()}
	if o.Bundle != nil {
		if err := k.Load(o.Bundle); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Load makes a bundle the active one. Decisions of the old one are not served again;
// evaluations that run finish on it.
func (k *Kernel) Load(b *bundle.Bundle) error {
	set, err := newRuleSet(b)
	if err != nil {
		return fmt.Errorf("load policy: %w", err)
	}
	k.rules.Store(set)
	k.mu.Lock()
	k.cache = map[string]*cached{}
	k.mu.Unlock()
	return nil
}

// Info tells what the kernel runs on.
type Info struct {
	BundleVersion string    `json:"active_bundle_version"`
	Rules         int       `json:"rules_in_active_bundle"`
	HardDenies    int       `json:"hard_denies"`
	Degraded      bool      `json:"degraded"`
	StartedAt     time.Time `json:"started_at"`
	Allowed       uint64    `json:"allowed"`
	Approvals     uint64    `json:"approval_required"`
	Denied        uint64    `json:"denied"`
}

// Info gives a picture of the kernel.
func (k *Kernel) Info() Info {
	i := Info{HardDenies: len(hardDenies), StartedAt: k.since, Degraded: true,
		Allowed: k.counts[Allow].Load(), Approvals: k.counts[RequireApproval].Load(), Denied: k.counts[Deny].Load()}
	if set := k.rules.Load(); set != nil {
		i.BundleVersion, i.Rules, i.Degraded = set.version, set.count, false
	}
	return i
}

// Evaluate decides. It never fails: what goes wrong is a denial with its own code.
func (k *Kernel) Evaluate(ctx context.Context, r Request) Decision { return k.evaluate(ctx, r, false) }

// Simulate decides without leaving a trace: nothing is cached, and the decision is
// marked and cannot be redeemed.
func (k *Kernel) Simulate(ctx context.Context, r Request) Decision { return k.evaluate(ctx, r, true) }

func (k *Kernel) evaluate(ctx context.Context, r Request, simulate bool) (d Decision) {
	set := k.rules.Load()
	now := k.o.Now().UTC()
	r.HourUTC, r.Weekday = now.Hour(), now.Weekday().String()
	d = Decision{ID: "poldec_" + ulid.Make().String(), ActionID: r.ActionID, RequestHash: r.RequestHash, EvaluatedAt: now, Simulated: simulate, Outcome: Deny}
	if set != nil {
		d.BundleVersion = set.version
	}
	defer func() {
		if p := recover(); p != nil {
			d.Outcome, d.ReasonCode, d.ReasonMessage, d.Constraints, d.Approval = Deny, EngineInternal, "the evaluation broke off", Constraints{}, ApprovalRequirement{}
		}
		k.counts[d.Outcome].Add(1)
		k.remember(&d, &r)
	}()
	var room [512]byte
	key, err := r.cacheKey(room[:0])
	if err != nil {
		d.ReasonCode, d.ReasonMessage = EngineInternal, "the request cannot be digested"
		return d
	}
	// Hard denies are asked every time, before the cache: no remembered answer may stand
	// before them. For the same facts Casbin has agreed to this answer when it was kept.
	may := r.RequestHash != "" && !simulate && ctx.Err() == nil
	if may && !anyHardDeny(&r) {
		if c, ok := k.cached(key, set, now); ok {
			c.ID, c.ActionID, c.EvaluatedAt = d.ID, d.ActionID, d.EvaluatedAt
			return c
		}
	}
	snapshot, err := r.snapshot()
	if err != nil {
		d.ReasonCode, d.ReasonMessage = EngineInternal, "the request cannot be digested"
		return d
	}
	d.SnapshotID = "snap_" + snapshot
	if k.hardDeny(&r, &d) {
		return d
	}
	if ctx.Err() != nil {
		d.ReasonCode, d.ReasonMessage = EvaluationTimeout, "the facts for the decision could not be had in time"
		return d
	}
	k.decide(ctx, &r, &d, set)
	if may && d.Outcome != RequireApproval && ctx.Err() == nil {
		k.keep(key, set, d, now)
	}
	return d
}

func anyHardDeny(r *Request) bool {
	if r.Subject.ID == "" {
		return true
	}
	for i := range hardDenies {
		if hardDenies[i].fires(r) {
			return true
		}
	}
	return false
}

// hardDeny runs stage 1; all eighteen are asked, the first that fires is the reason.
func (k *Kernel) hardDeny(r *Request, d *Decision) bool {
	if r.Subject.ID == "" {
		d.ReasonCode, d.ReasonMessage = SubjectUnauthenticated, "nobody known asks"
		return true
	}
	matched, err := k.hard.matches(r)
	if err != nil {
		d.ReasonCode, d.ReasonMessage = EngineInternal, "the hard denies could not be asked"
		return true
	}
	if len(matched) == 0 {
		return false
	}
	first := matched[0]
	d.Outcome, d.HardDeny, d.BypassAttempt = Deny, true, true
	d.ReasonCode, d.RuleID, d.ReasonMessage = first.code, first.id, first.says
	for i, h := range matched {
		if i > 0 {
			d.AlsoMatched = append(d.AlsoMatched, h.code)
		}
		d.ExtraRecords = append(d.ExtraRecords, h.records...)
	}
	return true
}

// decide runs the scoped rules and the filters behind them.
func (k *Kernel) decide(ctx context.Context, r *Request, d *Decision, set *ruleSet) {
	d.Risk = r.Claimed.Or(r.Template)
	d.RiskMismatch = mismatch(r.Claimed, d.Risk)
	switch {
	case set == nil:
		d.ReasonCode, d.ReasonMessage = EngineDegraded, "there is no policy bundle that holds"
		return
	case len(r.Objects) > maxObjects:
		d.ReasonCode, d.ReasonMessage = BudgetExceeded, fmt.Sprintf("%d objects, at most %d are looked at", len(r.Objects), maxObjects)
		return
	}
	for _, o := range r.Objects {
		if o.LifecycleState == "" {
			d.ReasonCode, d.ReasonMessage = EnrichmentUnavailable, "the facts of an object are not known"
			return
		}
	}
	env := &environment{r: r, risk: d.Risk, hostID: k.o.HostID, ctx: ctx}
	rule, allowed, err := set.decide(env)
	d.RulesConsulted = env.lookups
	switch {
	case errors.Is(err, errBudget):
		d.ReasonCode, d.ReasonMessage = BudgetExceeded, fmt.Sprintf("%d rules were looked at", env.lookups)
		return
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		d.ReasonCode, d.ReasonMessage = EvaluationTimeout, "the time for the evaluation is over"
		return
	case err != nil:
		d.ReasonCode, d.ReasonMessage = EngineInternal, "the rules could not be evaluated"
		return
	case rule == nil:
		d.ReasonCode, d.ReasonMessage = DefaultDeny, fmt.Sprintf("no rule allows %s to %s here", r.Action, r.Subject.ID)
		return
	case !allowed:
		d.RuleID, d.ReasonCode, d.ReasonMessage = rule.ID, ScopedDeny, describe(rule, "denied by rule "+rule.ID)
		return
	}
	d.RuleID, d.Constraints = rule.ID, rule.Constraints
	if d.Constraints.TTLSeconds == 0 {
		d.Constraints.TTLSeconds = defaultTTL
	}
	d.Outcome, d.ReasonCode, d.ReasonMessage = Allow, ScopedAllow, describe(rule, "allowed by rule "+rule.ID)
	if rule.Approval != nil && rule.Approval.Required {
		d.requireApproval(ScopedApprovalRequired, describe(rule, "rule "+rule.ID+" wants an approval"), rule.Approval)
	}
	if d.Constraints.HumanCoSigner {
		d.requireApproval(ScopedApprovalRequired, "a human co-signer is required", rule.Approval)
		d.Approval.CoSigner = true
		d.Approval.Strength = "DUAL"
	}
	// The AI filter (S2.3 §17) and the recovery filter (§15) are compiled in; they
	// only ever raise.
	if r.Subject.IsAI && d.Risk.Any() {
		if d.Outcome == Allow {
			d.requireApproval(AISelfApproval, "an AI does not clear its own risk; a human must", rule.Approval)
		}
		d.Approval.ApproverClasses = []string{"human"}
	}
	if r.RecoveryMode && r.Class == Mutate && !r.FirstBoot && d.Outcome == Allow {
		d.requireApproval(ScopedApprovalRequired, "changes in recovery need a human's approval", rule.Approval)
	}
	if foreign(r) && audits(r) && d.Outcome == Allow {
		d.requireApproval(ScopedApprovalRequired, "another group's things are shown with a human's approval", rule.Approval)
	}
	if d.Constraints.DryRunOnly && r.DryRun == "LIVE" {
		*d = Decision{ID: d.ID, ActionID: d.ActionID, RequestHash: d.RequestHash, BundleVersion: d.BundleVersion, SnapshotID: d.SnapshotID, EvaluatedAt: d.EvaluatedAt, Simulated: d.Simulated,
			Outcome: Deny, RuleID: rule.ID, ReasonCode: ScopedDeny, ReasonMessage: "rule " + rule.ID + " allows a dry run only", Risk: d.Risk, RulesConsulted: d.RulesConsulted}
	}
}

func describe(r *bundle.Rule, otherwise string) string {
	if r.Metadata != nil && r.Metadata.Description != "" {
		return r.Metadata.Description
	}
	return otherwise
}

func (d *Decision) requireApproval(code, says string, a *bundle.Approval) {
	d.Outcome, d.ReasonCode, d.ReasonMessage = RequireApproval, code, says
	if a != nil {
		d.Approval = *a
	}
	d.Approval.Required, d.Approval.Scope = true, "exact_request_hash"
	if d.Approval.TTLSeconds == 0 {
		d.Approval.TTLSeconds = approvalTTL
	}
	if len(d.Approval.ApproverClasses) == 0 {
		d.Approval.ApproverClasses = []string{"human"}
	}
	switch {
	case d.Approval.CoSigner: // two people sign (S5.3 §7)
		d.Approval.Strength = "DUAL"
	case d.Approval.Strength == "":
		d.Approval.Strength = "WEAK"
	}
}

func mismatch(claimed, effective Risk) []string {
	var list []string
	for _, f := range []struct {
		name string
		a, b bool
	}{
		{"destructive", claimed.Destructive, effective.Destructive}, {"privileged", claimed.Privileged, effective.Privileged},
		{"network_exposure", claimed.NetworkExposure, effective.NetworkExposure}, {"secret_access", claimed.SecretAccess, effective.SecretAccess},
		{"recovery_path_affected", claimed.RecoveryPathAffected, effective.RecoveryPathAffected},
	} {
		if f.a != f.b {
			list = append(list, f.name)
		}
	}
	return list
}

func (k *Kernel) cached(key []byte, set *ruleSet, now time.Time) (Decision, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.cache[string(key)]
	if c == nil || c.rules != set || now.After(c.until) {
		k.misses++
		return Decision{}, false
	}
	k.hits++
	return c.d, true
}

func (k *Kernel) keep(key []byte, set *ruleSet, d Decision, now time.Time) {
	ttl := time.Duration(max(d.Constraints.TTLSeconds, 1)) * time.Second
	if d.Outcome != Allow {
		ttl = time.Second * defaultTTL
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cache) >= maxCache {
		k.cache = map[string]*cached{}
	}
	k.cache[string(key)] = &cached{set, d, now.Add(ttl)}
}

// Explanation tells how a decision came about (S2.3 ExplainDecision).
type Explanation struct {
	Decision  Decision `json:"decision"`
	RuleChain []string `json:"rule_chain"` // what was asked, in order
	Narrative string   `json:"narrative"`
	Action    string   `json:"action"`
	Subject   string   `json:"subject"`
	Path      string   `json:"path"`
}

func (k *Kernel) remember(d *Decision, r *Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := Tally{Outcome: d.Outcome, ReasonCode: d.ReasonCode, Simulated: d.Simulated}
	if d.HardDeny {
		t.HardDeny = d.RuleID
	}
	k.tally[t]++
	e := Explanation{Decision: *d, Action: r.Action, Subject: r.Subject.ID, Path: r.Target.Path}
	if len(k.given) < maxExplain {
		k.given = append(k.given, e)
	} else {
		k.given[k.next] = e
		k.next = (k.next + 1) % maxExplain
	}
}

// Explain tells how one of the last decisions came about.
func (k *Kernel) Explain(id string) (Explanation, bool) {
	k.mu.Lock()
	i := slices.IndexFunc(k.given, func(e Explanation) bool { return e.Decision.ID == id })
	if i < 0 {
		k.mu.Unlock()
		return Explanation{}, false
	}
	e := k.given[i]
	k.mu.Unlock()
	e.RuleChain = append(e.RuleChain, "hard denies")
	e.Narrative = fmt.Sprintf("%s asked for %s: %s (%s).", e.Subject, e.Action, e.Decision.Outcome, e.Decision.ReasonMessage)
	if !e.Decision.HardDeny {
		if set := k.rules.Load(); set != nil {
			e.RuleChain = append(e.RuleChain, set.byAction[e.Action].ids()...)
		}
	}
	return e, true
}

// HardDenied asks the constitutional denials alone, without a scoped rule and without
// a record: what plain file work is held to, besides owner and mode.
func (k *Kernel) HardDenied(r Request) (Decision, bool) {
	for i := range hardDenies {
		if h := &hardDenies[i]; h.fires(&r) {
			return Decision{Outcome: Deny, HardDeny: true, ReasonCode: h.code, RuleID: h.id, ReasonMessage: h.says, ExtraRecords: h.records}, true
		}
	}
	return Decision{}, false
}
