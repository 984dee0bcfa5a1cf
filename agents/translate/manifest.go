package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Manifest is one capability (S1.1 §6.1). Every field is required.
type Manifest struct {
	CapabilityID    string              `json:"capability_id"`
	Action          string              `json:"action"`
	Status          string              `json:"status"` // experimental stable deprecated retired
	AdapterFamilies []string            `json:"adapter_families"`
	TargetSchema    json.RawMessage     `json:"target_schema"`
	Semantic        Semantic            `json:"semantic"`
	Risk            plan.Risk           `json:"risk_template"`
	Verification    []plan.Verification `json:"default_verification"`
	SandboxProfile  string              `json:"default_sandbox_profile_id"`
	PolicyTags      []string            `json:"policy_tags"`

	schema   *jsonschema.Schema
	slots    map[string]slot
	required []string // slot names in schema order
	either   []string // the params of which there must be one
	patterns map[string][]*pattern
}

// Semantic is what retrieval reads. Aliases are phrases: words, [optional]
// parts, (one|of) and {slots} of the target; `=> field=value` sets a constant.
type Semantic struct {
	Title            string              `json:"title"`
	Description      string              `json:"description"`
	PositiveExamples []string            `json:"positive_examples"`
	NegativeExamples []string            `json:"negative_examples"`
	Aliases          []string            `json:"aliases,omitempty"`
	AliasesLocalized map[string][]string `json:"aliases_localized,omitempty"`
}

// slot is one scalar (or list) property of the target that words may fill.
type slot struct {
	name    string // "path", "params.content"
	format  string
	typ     string
	pattern *regexp.Regexp
	enum    []string
	def     string
}

var (
	capabilityID = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,2}\.v[0-9]+$`)
	actionForm   = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,2}$`)
	requiredKeys = []string{"capability_id", "action", "status", "adapter_families", "target_schema", "semantic",
		"risk_template", "default_verification", "default_sandbox_profile_id", "policy_tags"}
)

// parseManifest reads one manifest strictly and compiles its schema and phrases.
func parseManifest(raw []byte) (*Manifest, error) {
	var have map[string]json.RawMessage
	if err := json.Unmarshal(raw, &have); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	for _, k := range requiredKeys {
		if _, ok := have[k]; !ok {
			return nil, fmt.Errorf("read manifest %s: %s is missing", have["capability_id"], k)
		}
	}
	if string(have["status"]) == `"experimental"` {
		for k := range have { // x_ extensions are for experimental catalogues
			if strings.HasPrefix(k, "x_") {
				delete(have, k)
			}
		}
		raw, _ = json.Marshal(have)
	}
	m := &Manifest{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", have["capability_id"], err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("read manifest %s: text after its end", m.CapabilityID)
	}
	switch {
	case !capabilityID.MatchString(m.CapabilityID) || !strings.HasPrefix(m.CapabilityID, m.Action+".v"):
		return nil, fmt.Errorf("read manifest: capability id %q does not belong to action %q", m.CapabilityID, m.Action)
	case !actionForm.MatchString(m.Action):
		return nil, fmt.Errorf("read manifest: %q is no action name", m.Action)
	case m.Status != "experimental" && m.Status != "stable" && m.Status != "deprecated" && m.Status != "retired":
		return nil, fmt.Errorf("read manifest %s: status %q", m.CapabilityID, m.Status)
	case len(m.AdapterFamilies) == 0:
		return nil, fmt.Errorf("read manifest %s: no adapter family", m.CapabilityID)
	case m.Semantic.Title == "":
		return nil, fmt.Errorf("read manifest %s: no title", m.CapabilityID)
	case m.SandboxProfile == "":
		return nil, fmt.Errorf("read manifest %s: SandboxProfileUnknown: no sandbox profile", m.CapabilityID)
	}
	if err := m.compileSchema(); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", m.CapabilityID, err)
	}
	if err := m.compilePhrases(); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", m.CapabilityID, err)
	}
	return m, nil
}

func (m *Manifest) compilePhrases() error {
	m.patterns = map[string][]*pattern{}
	add := func(lang string, phrases []string) error {
		for _, p := range phrases {
			c, err := compilePattern(p, m)
			if err != nil {
				return err
			}
			m.patterns[lang] = append(m.patterns[lang], c)
		}
		return nil
	}
	if err := add("en", m.Semantic.Aliases); err != nil {
		return err
	}
	for lang, phrases := range m.Semantic.AliasesLocalized {
		if err := add(lang, phrases); err != nil {
			return err
		}
	}
	return nil
}

// Domain is the first segment of the action.
func (m *Manifest) Domain() string {
	d, _, _ := strings.Cut(m.Action, ".")
	return d
}

// profiles are the sandbox profiles that there are.
var profiles = []string{"aiosfs-transaction", "host-network-control", "host-package-control", "host-process-control", "host-read-only",
	"host-service-control", "repo-fetch", "vault-brokered-network"}

// KnownProfile says whether there is a sandbox profile of that name. What names another
// is not run (S10.1 §8): nobody would know which walls it has.
func KnownProfile(id string) bool { return slices.Contains(profiles, id) }
