// Package bundle reads policy bundles: signed sets of scoped rules (S2.3 §9–12).
//
// A bundle is a directory: manifest.json, rules/*.yaml (one rule a file),
// hard_denies.yaml (a mirror of the compiled list, which must equal it) and
// signatures/. Loading is strict: what is not understood is refused, with the file,
// the line and the reason, and the bundle that was active stays.
package bundle

import (
	"errors"
	"fmt"
)

// Error is why a bundle was refused. Code is the reference's name.
type Error struct {
	Code   string // InvalidPolicyBundle, SignatureInvalid, InvariantLooseningAttempted, InvalidApprovalTtl
	File   string
	Line   int
	Reason string
}

// Error says it in one line.
func (e *Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	if at != "" {
		at += ": "
	}
	return fmt.Sprintf("%s: %s%s", e.Code, at, e.Reason)
}

// CodeOf gives the code of a refusal, "" for another error.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func invalid(file string, line int, format string, args ...any) error {
	return &Error{"InvalidPolicyBundle", file, line, fmt.Sprintf(format, args...)}
}

// Effect is a rule's effect.
type Effect string

// The effects, spelt exactly so: Casbin would take another spelling for no effect at
// all, and a denial would vanish.
const (
	AllowEffect Effect = "allow"
	DenyEffect  Effect = "deny"
)

// Rule is one scoped rule.
type Rule struct {
	ID          string       `yaml:"rule_id"`
	Effect      Effect       `yaml:"effect"`
	Priority    int32        `yaml:"priority"`
	Subjects    []string     `yaml:"subjects"` // canonical ids, group:<name>, or one of the classes below
	Actions     []string     `yaml:"actions"`
	Conditions  []string     `yaml:"conditions"`
	Constraints Constraints  `yaml:"constraints"`
	Approval    *Approval    `yaml:"approval"`
	Metadata    *Metadata    `yaml:"metadata"`
	Compiled    []*Condition `yaml:"-"`
	File        string       `yaml:"-"`
}

// Classes of subjects that a rule may name instead of ids: everybody of a kind. They
// are group names that no group can have.
const (
	AnyHuman = "class:human"
	AnyAI    = "class:ai"
	Admins   = "class:system_admin"
)

// Metadata is for people.
type Metadata struct {
	Description  string   `yaml:"description"`
	Authors      []string `yaml:"authors"`
	PolicyPack   string   `yaml:"policy_pack"`
	CreatedAt    string   `yaml:"created_at"`
	LastModified string   `yaml:"last_modified_at"`
}

// Constraints are the closed set of what a decision may attach (S2.3 §4).
type Constraints struct {
	SandboxProfile       string `json:"sandbox_profile_id,omitempty" yaml:"sandbox_profile_id"`
	MaxRuntimeSeconds    int    `json:"max_runtime_seconds,omitempty" yaml:"max_runtime_seconds"`
	VerificationRequired bool   `json:"verification_required,omitempty" yaml:"verification_required"`
	DryRunOnly           bool   `json:"dry_run_only,omitempty" yaml:"dry_run_only"`
	EvidenceGrade        string `json:"require_evidence_grade,omitempty" yaml:"require_evidence_grade"`
	HumanCoSigner        bool   `json:"require_human_co_signer,omitempty" yaml:"require_human_co_signer"`
	NetworkPolicy        string `json:"network_policy,omitempty" yaml:"network_policy"`
	MaxConcurrent        int    `json:"max_concurrent_per_subject,omitempty" yaml:"max_concurrent_per_subject"`
	MinSessionClass      string `json:"min_subject_session_class,omitempty" yaml:"min_subject_session_class"`
	VaultCapability      string `json:"vault_capability_required,omitempty" yaml:"vault_capability_required"`
	TTLSeconds           int    `json:"ttl_seconds,omitempty" yaml:"ttl_seconds"`
}

// Approval says who must approve, and how.
type Approval struct {
	Required        bool     `json:"required" yaml:"required"`
	Scope           string   `json:"approval_scope,omitempty" yaml:"approval_scope"`
	TTLSeconds      int      `json:"ttl_seconds,omitempty" yaml:"ttl_seconds"`
	ApproverClasses []string `json:"approver_classes,omitempty" yaml:"approver_classes"`
	Strength        string   `json:"strength,omitempty" yaml:"strength"`
	CoSigner        bool     `json:"require_human_co_signer,omitempty" yaml:"require_human_co_signer"`
}

// Bundle is a loaded and checked bundle.
type Bundle struct {
	Version string // polb_ and 32 hex digits of its canonical bytes
	Groups  map[string][]string
	Rules   []Rule // highest priority first, then by id
}

// Limits of S2.3 §6 and §9.
const (
	maxRules       = 10_000
	maxPredicates  = 50
	maxInValues    = 100
	maxApprovalTTL = 4 * 3600
)
