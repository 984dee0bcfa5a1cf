package plan

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gowebpki/jcs"
	"github.com/zeebo/blake3"
)

// PlanSchema names the JSON form of a Plan.
const PlanSchema = "aios.plan.v1alpha1"

// Risk is the five booleans of S0.1 §4.7. What a plan carries is a claim; the
// policy kernel computes its own.
type Risk struct {
	Destructive          bool `json:"destructive"`
	Privileged           bool `json:"privileged"`
	NetworkExposure      bool `json:"network_exposure"`
	SecretAccess         bool `json:"secret_access"`
	RecoveryPathAffected bool `json:"recovery_path_affected"`
}

// Union gives the risk that has every flag of either.
func (r Risk) Union(o Risk) Risk {
	return Risk{
		r.Destructive || o.Destructive, r.Privileged || o.Privileged,
		r.NetworkExposure || o.NetworkExposure, r.SecretAccess || o.SecretAccess,
		r.RecoveryPathAffected || o.RecoveryPathAffected,
	}
}

// Step is an action matched with a capability of the catalogue.
type Step struct {
	ID             string         `json:"step_id"` // unique in the plan: the document's id, or s1, s2, …
	Action         string         `json:"action"`
	CapabilityID   string         `json:"capability_id"`
	AdapterFamily  string         `json:"adapter_family"`
	Target         map[string]any `json:"target"`
	Params         map[string]any `json:"params,omitempty"`
	Expect         *Expect        `json:"expect,omitempty"`
	After          []string       `json:"after,omitempty"`
	Verification   []Verification `json:"verification,omitempty"`
	Risk           Risk           `json:"risk"`
	SandboxProfile string         `json:"sandbox_profile_id"`
	DryRun         Mode           `json:"dry_run"`
	PolicyTags     []string       `json:"policy_tags,omitempty"`
	// IdempotencyKey is idem_<32 hex>, see IdempotencyKey.
	IdempotencyKey string   `json:"idempotency_key"`
	Warnings       []string `json:"warnings,omitempty"`
}

// Plan is the decomposition of one intent (S0.1 §3.4).
type Plan struct {
	Schema         string `json:"schema"`
	PlanID         string `json:"plan_id"`
	IntentID       string `json:"intent_id"`
	Reason         string `json:"reason"`
	Mode           Mode   `json:"mode"`
	Atomic         bool   `json:"atomic"`
	QueueClass     string `json:"queue_class,omitempty"` // asked for, see Document
	CatalogVersion string `json:"catalog_version"`
	Steps          []Step `json:"steps"` // in running order
}

// Canonical gives the RFC 8785 bytes of the plan.
func (p *Plan) Canonical() ([]byte, error) { return canonical(p) }

// Hash gives hex(BLAKE3-256(JCS(plan))), 64 characters.
func (p *Plan) Hash() (string, error) { return digest(p) }

// Request is the `request` section of an action envelope (S0.1 §4), the part
// that an approval binds. Params stand inside target under "params", because
// the section has no member of its own for them and must hash over them;
// likewise the compare-and-swap base under "expect".
type Request struct {
	Action         string         `json:"action"`
	Target         map[string]any `json:"target"`
	Subject        string         `json:"subject"`
	Reason         string         `json:"reason"`
	Environment    string         `json:"environment"`
	Risk           Risk           `json:"risk"`
	Verification   []Verification `json:"verification"`
	SandboxProfile string         `json:"sandbox_profile_id"`
	DryRun         Mode           `json:"dry_run"`
}

// Request gives the envelope's request section for this step.
func (s Step) Request(subject, reason, environment string) Request {
	v := s.Verification
	if v == nil {
		v = []Verification{}
	}
	return Request{
		Action: s.Action, Target: s.RequestTarget(), Subject: subject, Reason: CleanReason(reason),
		Environment: environment, Risk: s.Risk, Verification: v,
		SandboxProfile: s.SandboxProfile, DryRun: s.DryRun,
	}
}

// RequestTarget gives the target as it stands in the envelope: the target's
// fields, and "params" and "expect" when there are any.
func (s Step) RequestTarget() map[string]any {
	m := make(map[string]any, len(s.Target)+2)
	for k, v := range s.Target {
		m[k] = v
	}
	if len(s.Params) > 0 {
		m["params"] = s.Params
	}
	if s.Expect != nil {
		m["expect"] = map[string]any{"version": s.Expect.Version}
	}
	return m
}

// Canonical gives the RFC 8785 bytes of the request.
func (r Request) Canonical() ([]byte, error) { return canonical(r) }

// Hash gives hex(BLAKE3-256(JCS(request))), 64 characters; its first 32 are
// what an approval binds (S5.3 §4).
func (r Request) Hash() (string, error) { return digest(r) }

// IdempotencyKey gives idem_<32 hex> over exactly what S1.1 §11 names: the
// intent, the plan, the step, the action, its target and its mode.
func IdempotencyKey(intentID, planID, stepID, action string, target map[string]any, mode Mode) (string, error) {
	h, err := digest(map[string]any{
		"intent_id": intentID, "plan_id": planID, "plan_step_id": stepID,
		"action": action, "target": target, "dry_run": mode,
	})
	if err != nil {
		return "", err
	}
	return "idem_" + h[:32], nil
}

// CleanReason strips control characters and cuts after MaxReason characters
// (S1.1 §17.2).
func CleanReason(s string) string {
	out := make([]rune, 0, min(len(s), MaxReason))
	for _, r := range s {
		if r == '\n' || r == '\t' {
			r = ' '
		}
		if isControl(r) {
			continue
		}
		if len(out) == MaxReason {
			break
		}
		out = append(out, r)
	}
	return string(out)
}

// isControl covers C0, DEL, C1 and the directional and invisible format
// characters that make plain text show something else than it says.
func isControl(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f, r == 0xfeff, r == 0xfffd:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x2069:
		return true
	}
	return false
}

func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode for hashing: %w", err)
	}
	return jcs.Transform(b)
}

func digest(v any) (string, error) {
	b, err := canonical(v)
	if err != nil {
		return "", err
	}
	h := blake3.Sum256(b)
	return hex.EncodeToString(h[:]), nil
}
