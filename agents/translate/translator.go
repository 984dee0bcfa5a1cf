package translate

import (
	"context"
	"crypto/ed25519"
	"sync/atomic"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Translator holds the catalogue in force. It has no other state and may be
// used by any number of goroutines.
type Translator struct {
	catalog atomic.Pointer[Catalog]
}

// New makes a translator over a verified catalogue.
func New(c *Catalog) *Translator {
	t := &Translator{}
	t.catalog.Store(c)
	return t
}

// Reload puts another verified catalogue in force at once; translations under
// way finish with the one they started with. It returns the previous one.
func (t *Translator) Reload(c *Catalog) *Catalog { return t.catalog.Swap(c) }

// Catalog gives the catalogue in force.
func (t *Translator) Catalog() *Catalog { return t.catalog.Load() }

// Translate turns words into drafts, questions or a refusal. The error is only
// for a request that is no request (InvalidTranslationRequest, a *plan.Error);
// words that mean nothing are a Result with a Refusal. It takes at most 5 s.
func (t *Translator) Translate(ctx context.Context, r Request) (Result, error) {
	return Result{}, &plan.Error{Code: plan.CodeInvalidRequest, Message: "not translated yet"}
}

// Continue translates again with the answers to an earlier result's questions,
// by question id. The translator keeps nothing, so the request is handed back.
func (t *Translator) Continue(ctx context.Context, r Request, prior Result, answers map[string]string) (Result, error) {
	return t.Translate(ctx, r)
}

// ParseAnswer reads the text written to `answer`: the bare value when one
// question is open, otherwise `question_id: value` lines or a JSON object. The
// error is a *plan.Error.
func ParseAnswer(text string, questions []Question) (map[string]string, error) {
	return nil, &plan.Error{Code: plan.CodeInvalidRequest, Message: "not read yet"}
}

// Catalog is a verified set of manifests with its index; immutable.
type Catalog struct {
	version string
}

// Version gives cat_<32 hex>.
func (c *Catalog) Version() string { return c.version }

// Manifest is one capability (S1.1 §6.1).
type Manifest struct {
	CapabilityID string `json:"capability_id"`
}

// Lookup finds a capability by its action name.
func (c *Catalog) Lookup(action string) (*Manifest, bool) { return nil, false }

// Nearest gives up to n action names close to the given one.
func (c *Catalog) Nearest(action string, n int) []string { return nil }

// Compile matches a typed document with the catalogue: every action known,
// every target valid, risk and verification filled in. The error is a
// *plan.Error with line and column. Step order is the document's Order.
func (c *Catalog) Compile(d *plan.Document, intentID, planID string) (*plan.Plan, error) {
	return nil, &plan.Error{Code: plan.CodeMalformed, Message: "not compiled yet"}
}

// Trust is who may publish what: the AIOS root key.
type Trust struct {
	Root ed25519.PublicKey
}

// DefaultBundle builds the embedded manifests into a bundle whose publisher is
// endorsed and signed under key (the root of this state directory).
func DefaultBundle(key ed25519.PrivateKey) ([]byte, error) { return nil, nil }

// Load verifies a bundle (root → publisher → manifests) and indexes it.
func Load(bundle []byte, trust Trust) (*Catalog, error) { return &Catalog{}, nil }

// Redact replaces secret-shaped substrings and says how many it replaced.
func Redact(s string) (string, int) { return s, 0 }
