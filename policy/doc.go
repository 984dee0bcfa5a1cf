// Package policy decides what may be done (S2.3).
//
// A Request is a typed action by a subject on a resolved target; a Decision is
// ALLOW, REQUIRE_APPROVAL or DENY with the code and the rule that made it. The
// eighteen constitutional hard denies are Go code that runs before anything that a
// policy file can say; scoped rules come from a signed bundle and are evaluated with
// Casbin; what no rule allows is denied. The kernel reads no store and no clock of
// its own: all that a rule can see is in the request, so equal requests give equal
// decisions, for ever.
package policy

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gowebpki/jcs"
	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/policy/bundle"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// ActionClass says whether an action changes anything. It comes from the adapter's
// registry, never from the envelope.
type ActionClass uint8

// The action classes.
const (
	Read   ActionClass = 1
	Mutate ActionClass = 2
)

// Outcome is what a decision says (S2.3 §4).
type Outcome uint8

// The outcomes; the zero value is none and counts as a denial.
const (
	Allow           Outcome = 1
	RequireApproval Outcome = 2
	Deny            Outcome = 3
)

// String gives the reference's name.
func (o Outcome) String() string {
	return [...]string{"DENY", "ALLOW", "REQUIRE_APPROVAL", "DENY"}[min(o, 3)]
}

// MarshalText writes the reference's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the reference's name.
func (o *Outcome) UnmarshalText(b []byte) error {
	for _, x := range []Outcome{Allow, RequireApproval, Deny} {
		if x.String() == string(b) {
			*o = x
			return nil
		}
	}
	return fmt.Errorf("%q is no outcome", b)
}

// Risk is the five flags of S0.1 §4.7.
type Risk struct {
	Destructive          bool `json:"destructive"`
	Privileged           bool `json:"privileged"`
	NetworkExposure      bool `json:"network_exposure"`
	SecretAccess         bool `json:"secret_access"`
	RecoveryPathAffected bool `json:"recovery_path_affected"`
}

// Or joins two risks: a flag counts when either has it.
func (r Risk) Or(x Risk) Risk {
	return Risk{r.Destructive || x.Destructive, r.Privileged || x.Privileged, r.NetworkExposure || x.NetworkExposure,
		r.SecretAccess || x.SecretAccess, r.RecoveryPathAffected || x.RecoveryPathAffected}
}

// Any says whether a flag is set.
func (r Risk) Any() bool {
	return r.Destructive || r.Privileged || r.NetworkExposure || r.SecretAccess || r.RecoveryPathAffected
}

// Target is what an action is done to, as the resolver found it.
type Target struct {
	Scope    string         `json:"scope"` // SYSTEM, GROUP, USER, or "" where the target is no path
	Group    string         `json:"group_id"`
	User     string         `json:"user_id"`
	Reserved string         `json:"reserved_name"` // SYS_POLICY, GRP_SHARED, USR_HOME …
	Path     string         `json:"path"`          // from the tree's root, without a leading slash; or a host path with one
	Fields   map[string]any `json:"fields,omitempty"`
}

// ObjectFacts are what the store knows of an object that the action touches.
type ObjectFacts struct {
	ID             string   `json:"object_id"`
	PrivacyClass   string   `json:"privacy_class"`
	NewClass       string   `json:"new_class,omitempty"` // of an action that would set it
	Kind           string   `json:"kind"`
	LifecycleState string   `json:"lifecycle_state"`
	CreatedBy      string   `json:"created_by"`
	Tags           []string `json:"policy_tags,omitempty"`
}

// Request is everything that a decision depends on.
type Request struct {
	ActionID       string           `json:"-"` // names the decision, does not make it
	RequestHash    string           `json:"request_hash"`
	Action         string           `json:"action"`
	Class          ActionClass      `json:"class"`
	Subject        identity.Subject `json:"subject"`
	Target         Target           `json:"target"`
	Objects        []ObjectFacts    `json:"objects,omitempty"`
	Claimed        Risk             `json:"claimed_risk"`
	Template       Risk             `json:"risk_template"`
	Environment    string           `json:"environment"`
	DryRun         string           `json:"dry_run"`
	SandboxProfile string           `json:"sandbox_profile_id"`
	Recursive      bool             `json:"recursive"`
	RawSecretRead  bool             `json:"raw_secret_read"`
	UntypedShell   bool             `json:"untyped_shell"`
	RecoveryMode   bool             `json:"recovery_mode"`
	FirstBoot      bool             `json:"is_first_boot"`
	HourUTC        int              `json:"hour_utc"`
	Weekday        string           `json:"weekday"`
}

// Constraints and ApprovalRequirement are what a rule of the bundle may attach.
type (
	Constraints         = bundle.Constraints
	ApprovalRequirement = bundle.Approval
)

// Decision is what the kernel answers (S2.3 §4).
type Decision struct {
	ID             string              `json:"policy_decision_id"`
	ActionID       string              `json:"action_id"`
	RequestHash    string              `json:"request_hash"`
	BundleVersion  string              `json:"bundle_version"`
	SnapshotID     string              `json:"enrichment_snapshot_id"`
	Outcome        Outcome             `json:"decision"`
	ReasonCode     string              `json:"reason_code"`
	ReasonMessage  string              `json:"reason_message"`
	RuleID         string              `json:"rule_id"`
	HardDeny       bool                `json:"hard_deny,omitempty"`
	AlsoMatched    []string            `json:"also_matched,omitempty"`
	ExtraRecords   []string            `json:"extra_records,omitempty"` // record types that must be written besides
	BypassAttempt  bool                `json:"bypass_attempt_logged,omitempty"`
	Constraints    Constraints         `json:"constraints"`
	Approval       ApprovalRequirement `json:"approval"`
	Risk           Risk                `json:"effective_risk"`
	RiskMismatch   []string            `json:"risk_mismatch,omitempty"` // flags that the caller did not claim
	RulesConsulted int                 `json:"rules_consulted"`
	Simulated      bool                `json:"simulated,omitempty"`
	EvaluatedAt    time.Time           `json:"evaluated_at"`
}

// snapshot names all that a rule can see: equal snapshots, equal decisions.
func (r *Request) snapshot() (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	if b, err = jcs.Transform(b); err != nil {
		return "", err
	}
	h := blake3.Sum256(b)
	return fmt.Sprintf("%x", h[:16]), nil
}

// privacyRank orders the classes; an unknown or empty one counts as SENSITIVE, the
// default of S1.3.
func privacyRank(class string) int {
	switch class {
	case "PUBLIC":
		return 1
	case "INTERNAL":
		return 2
	case "SECRET_BEARING":
		return 4
	case "CLASSIFIED":
		return 5
	}
	return 3
}
