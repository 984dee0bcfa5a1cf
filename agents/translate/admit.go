package translate

import (
	"context"
	"sort"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Proposal is what somebody who is not this grammar (a model) thinks a goal
// means. Nothing in it is believed.
type Proposal struct {
	Action string
	Target map[string]any
	Params map[string]any
}

// Finding says what was dropped from a proposal, for evidence. What is the
// closed name of the finding; Detail names the action or field, redacted.
type Finding struct {
	What   string `json:"what"`
	Detail string `json:"detail"`
}

// The findings of Admit.
const (
	FabricatedAction = "TYPED_ACTION_NAME_FABRICATION"
	UndeclaredField  = "UNDECLARED_TARGET_FIELD"
)

// Admit passes proposals through the same gates as words (S1.1 §17): the
// guards read the words the person wrote; actions outside the catalogue are
// dropped; fields the schema does not declare are dropped; what is then
// missing becomes a question; ids and keys are computed here.
func (t *Translator) Admit(ctx context.Context, r Request, proposals []Proposal) (Result, []Finding, error) {
	if fault := validate(r); fault != nil {
		return Result{}, nil, fault
	}
	w := t.begin(ctx, r)
	head, _, _ := hereDocument(r.Utterance)
	toks, _ := tokenize(head)
	if refusal := guard(toks, w.cat); refusal != nil {
		w.refuse(refusal)
		return w.finish(), nil, nil
	}
	w.takeMode(toks)
	var findings []Finding
	var before []string
	for i, p := range proposals {
		m, ok := w.cat.Lookup(p.Action)
		if !ok || m.Status == "retired" {
			findings = append(findings, Finding{FabricatedAction, w.clipText(p.Action)})
			continue
		}
		w.retrieved[m.CapabilityID] = true
		b := &binding{ref: ref{m: m}, score: selectAt, values: map[string][]any{}, open: map[string]bool{}}
		take := func(prefix string, from map[string]any) {
			names := make([]string, 0, len(from))
			for k := range from {
				names = append(names, k)
			}
			sort.Strings(names)
			for _, k := range names {
				s, declared := m.slots[prefix+k]
				if !declared {
					findings = append(findings, Finding{UndeclaredField, p.Action + " " + w.clipText(prefix+k)})
					continue
				}
				if list, ok := from[k].([]any); ok && s.format == "aios-labels" {
					b.values[s.name] = list
				} else {
					b.values[s.name] = []any{from[k]}
				}
			}
		}
		take("", p.Target)
		take("params.", p.Params)
		if ids := w.build(i+1, candidate{binding: b}, before, nil); ids != nil {
			before = ids
		}
	}
	if len(w.result.Drafts)+len(w.result.Questions) == 0 {
		w.refuse(&Refusal{Code: NoMatchingCapability, Message: "no proposed action is in the catalogue"})
	}
	if len(w.result.Drafts) > plan.MaxSteps {
		w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: "more than 64 steps; split the goal"})
	}
	res := w.finish()
	res.Reason = strings.TrimSpace(res.Reason)
	return res, findings, nil
}
