package translate

import (
	"time"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Version names the grammar; it is part of what makes a translation
// reproducible and stands in its evidence.
const Version = "grammar/1"

// Status is the TranslationStatus of S1.1 §5.
type Status string

// The four statuses.
const (
	Ready              Status = "READY"
	NeedsClarification Status = "NEEDS_CLARIFICATION"
	Rejected           Status = "REJECTED"
	Partial            Status = "PARTIAL"
)

// Mode is the TranslationMode of S1.1 §4; the zero value is MultiAction.
type Mode string

// The translation modes.
const (
	SingleAction   Mode = "SINGLE_ACTION"
	MultiAction    Mode = "MULTI_ACTION"
	ValidationOnly Mode = "VALIDATION_ONLY" // every draft is dry_run VALIDATE
	ExplainOnly    Mode = "EXPLAIN_ONLY"    // every draft is dry_run SIMULATE
)

// RefusalCode is the closed set of S1.1 §13.
type RefusalCode string

// The refusal codes.
const (
	NoMatchingCapability      RefusalCode = "NoMatchingCapability"
	UnknownActionRequested    RefusalCode = "UnknownActionRequested"
	UntypedShellRequested     RefusalCode = "UntypedShellRequested"
	SecretExfiltrationRequest RefusalCode = "SecretExfiltrationRequest"
	PolicyBypassRequested     RefusalCode = "PolicyBypassRequested"
	RecoveryPathUnsafe        RefusalCode = "RecoveryPathUnsafe"
	TargetSchemaImpossible    RefusalCode = "TargetSchemaImpossible"
	TranslationTimeout        RefusalCode = "TranslationTimeout"
)

// Facts is what the grammar may ask about the world, through the caller's own
// rights. Both may be nil; answers must not change during one translation.
type Facts struct {
	// Exists tells whether a path (as written, relative to the home) exists.
	Exists func(path string) bool
	// IsDir tells whether it exists and is a directory.
	IsDir func(path string) bool
	// Selected are resources the person has marked as selected, by target
	// field ("service" -> "nginx"). Recently used ones do not belong here.
	Selected map[string]string
}

// Request is what is to be translated.
type Request struct {
	Utterance     string
	Subject       string   // "family:alice"
	Home          string   // "/aios/groups/family/users/alice/home"
	GroupIDs      []string // groups the subject belongs to
	Locale        string   // "bg", "de_DE.UTF-8", "" = English only plus what the words show
	Mode          Mode
	IntentID      string
	PlanID        string
	CorrelationID string
	Facts         Facts
	Now           time.Time // for "yesterday"; the zero time makes relative dates a question
	// Answers are by question id; see Continue.
	Answers map[string]string
}

// Question asks for one thing (S1.1 §5.4).
type Question struct {
	ID            string   `json:"question_id"` // stable for the same words: q1.target.path
	Prompt        string   `json:"prompt"`
	AllowedValues []string `json:"allowed_values"` // empty: free text
	Required      bool     `json:"required"`
	BlocksField   string   `json:"blocks_field"` // request.target.path, request.action
}

// Refusal is structural: no action can be made of these words. A policy denial
// is something else and never comes from here.
type Refusal struct {
	Code    RefusalCode `json:"code"`
	Message string      `json:"message"`
	Nearest []string    `json:"nearest,omitempty"` // action names close to what was asked
}

// Alternative is a capability that was considered and not chosen.
type Alternative struct {
	CapabilityID string  `json:"capability_id"`
	Action       string  `json:"action"`
	Score        float64 `json:"score"`
	Reason       string  `json:"reason_not_selected"`
}

// Draft is one step ready for policy. Request is its envelope body.
type Draft struct {
	Step         plan.Step     `json:"step"`
	Request      plan.Request  `json:"request"`
	Confidence   float64       `json:"confidence"` // computed from retrieval, advisory
	Alternatives []Alternative `json:"alternatives"`
	Assumptions  []string      `json:"assumptions"`
	Warnings     []string      `json:"warnings"`
}

// Evidence is what TRANSLATION_CREATED may say: ids, scores and redacted text,
// never a secret.
type Evidence struct {
	CatalogVersion    string      `json:"catalog_version"`
	TranslatorVersion string      `json:"translator_version"`
	Subject           string      `json:"subject"`
	IntentID          string      `json:"intent_id"`
	PlanID            string      `json:"plan_id"`
	CorrelationID     string      `json:"correlation_id"`
	Status            Status      `json:"status"`
	Retrieved         []string    `json:"retrieved_capability_ids"`
	Selected          []string    `json:"selected_capability_ids"`
	Confidence        string      `json:"confidence"`
	RefusalCode       RefusalCode `json:"refusal_code,omitempty"`
	QuestionIDs       []string    `json:"question_ids,omitempty"`
	UtteranceRedacted string      `json:"utterance_redacted"`
	ModelIDs          []string    `json:"model_ids"` // always empty here
	Redactions        int         `json:"redactions"`
}

// Result is a translation. READY has drafts and nothing else; NEEDS_CLARIFICATION
// has questions; REJECTED a refusal; PARTIAL drafts for some clauses and
// questions for the others, and nothing of it may run before it is answered.
type Result struct {
	Status       Status        `json:"status"`
	Drafts       []Draft       `json:"drafts"`
	Questions    []Question    `json:"questions"`
	Refusal      *Refusal      `json:"refusal,omitempty"`
	Confidence   float64       `json:"confidence"`
	Alternatives []Alternative `json:"alternatives"`
	Warnings     []string      `json:"warnings"`
	Reason       string        `json:"reason"`
	DryRun       plan.Mode     `json:"dry_run"`
	Evidence     Evidence      `json:"evidence"`
}

// Plan gives the drafts as a plan; nil unless the status is READY.
func (r *Result) Plan(intentID, planID string) *plan.Plan {
	if r.Status != Ready {
		return nil
	}
	p := &plan.Plan{
		Schema: plan.PlanSchema, PlanID: planID, IntentID: intentID, Reason: r.Reason,
		Mode: r.DryRun, Atomic: true, CatalogVersion: r.Evidence.CatalogVersion,
	}
	for _, d := range r.Drafts {
		p.Steps = append(p.Steps, d.Step)
	}
	return p
}
