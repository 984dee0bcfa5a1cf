package translate

import (
	"fmt"
	"sort"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

var prompts = map[string]string{
	"path": "Which file or directory?", "params.to": "Where to?", "params.content": "Which content?", "service": "Which service?",
	"package": "Which package?", "group": "Which group?", "user": "Which user?", "agent": "Under which name?", "pid": "Which process id?",
	"params.signal": "Which signal?", "params.url": "Which repository (URL)?", "repo": "Which repository (URL)?", "params.version": "Which version (ver_…)?",
	"pointer": "Which pointer?", "params.add": "Which label?", "app": "Which application?", "endpoint": "At which endpoint (host:port)?",
}

// build makes the steps of a chosen candidate, or asks for what it lacks.
func (w *translation) build(n int, c candidate, before []string, others []candidate) []string {
	if c.m == nil {
		return w.recipe(n, c.r, before, c.score)
	}
	m, asked := c.m, false
	lacks := w.missing(m, c.binding)
	for _, name := range sortedKeys(c.open) {
		if c.values[name] == nil && w.req.Facts.Selected[name] == "" && !contains(lacks, name) {
			lacks = append(lacks, name)
		}
	}
	for _, name := range lacks {
		field := "target." + name
		if a, ok := w.req.Answers[fmt.Sprintf("q%d.%s", n, field)]; ok {
			a = strings.TrimSuffix(strings.TrimSuffix(a, "\n"), "\r")
			if v, f, open := w.fit(m.slots[name], token{text: a, lower: strings.ToLower(a), quoted: strings.HasPrefix(m.slots[name].format, "aios-path") || m.slots[name].format == "aios-file" || m.slots[name].format == "aios-text"}); f != none && !open {
				c.values[name] = []any{v}
				continue
			}
		}
		prompt := prompts[name]
		if prompt == "" {
			prompt = "Which " + strings.TrimPrefix(name, "params.") + "?"
		}
		w.ask(n, field, prompt+" ("+m.Semantic.Title+")", m.slots[name].enum)
		asked = true
	}
	if asked {
		return nil
	}
	sources := c.values["path"]
	if len(sources) == 0 {
		sources = []any{nil}
	}
	var ids []string
	for _, src := range sources {
		target, params := map[string]any{}, map[string]any{}
		for name, s := range m.slots {
			v, ok := w.value(m, c, s, name)
			if name == "path" && src != nil {
				v, ok = src, true
			}
			if !ok {
				continue
			}
			if p, in := strings.CutPrefix(name, "params."); in {
				params[p] = v
			} else {
				target[name] = v
			}
		}
		if to, ok := params["to"].(string); ok && (len(sources) > 1 || strings.HasSuffix(to, "/") || w.req.Facts.IsDir != nil && w.req.Facts.IsDir(to)) {
			if p, ok := target["path"].(string); ok {
				params["to"] = within(to, p)
			}
		}
		id := w.step(m, target, params, before, c.score, others)
		if id == "" {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// value is what a slot gets: the words, then the phrase's constant, then a
// selection, then the manifest's default (S1.1 §9).
func (w *translation) value(m *Manifest, c candidate, s slot, name string) (any, bool) {
	vs := c.values[name]
	if s.format == "aios-labels" && vs != nil {
		return vs, true
	}
	if len(vs) > 0 {
		return vs[0], true
	}
	if v, ok := c.p.constant(name); ok && !c.cut {
		if s.typ == "boolean" {
			return v == "true", true
		}
		return v, true
	}
	if !contains(m.required, name) {
		return nil, false
	}
	if v := w.req.Facts.Selected[name]; v != "" {
		return v, true
	}
	if s.def != "" {
		return s.def, true
	}
	return nil, false
}

// step validates and adds one draft; "" after a refusal.
func (w *translation) step(m *Manifest, target, params map[string]any, before []string, score int, others []candidate) string {
	if len(params) == 0 {
		params = nil
	}
	if f := m.check(envelopeTarget(target, params)); f != nil {
		w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: m.Action + " " + strings.TrimPrefix(f.pointer, "/") + ": " + w.clipText(f.what)})
		return ""
	}
	to, _ := params["to"].(string)
	from, _ := target["path"].(string)
	if contains(m.PolicyTags, "mutate") && (recoveryPath(from) || recoveryPath(to)) {
		w.refuse(&Refusal{Code: RecoveryPathUnsafe, Message: "what recovery needs is changed in recovery mode only"})
		return ""
	}
	if reads := m.Action == "aiosfs.object.copy" || m.Action == "aiosfs.object.move"; reads && secretPath.MatchString(from) {
		w.refuse(&Refusal{Code: SecretExfiltrationRequest, Message: "key files and vault content are not copied"})
		return ""
	}
	s := plan.Step{ID: fmt.Sprintf("s%d", len(w.result.Drafts)+1), Target: target, Params: params, After: before, DryRun: w.mode}
	s, err := w.cat.complete(m, s, nil, w.req.IntentID, w.req.PlanID)
	if err != nil {
		w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: "the target cannot be hashed"})
		return ""
	}
	d := Draft{Step: s, Confidence: float64(score) / 1000, Alternatives: []Alternative{}, Assumptions: []string{}, Warnings: append([]string{}, s.Warnings...)}
	if m.Status == "experimental" {
		d.Warnings = append(d.Warnings, m.Action+" is experimental")
	}
	for _, o := range others {
		if o.m != nil {
			d.Alternatives = append(d.Alternatives, Alternative{o.m.CapabilityID, o.m.Action, float64(o.score) / 1000, "lower score"})
		}
	}
	if from != "" && !strings.HasPrefix(from, "/") && w.req.Home != "" {
		d.Assumptions = append(d.Assumptions, "relative to "+w.req.Home)
	}
	w.result.Drafts = append(w.result.Drafts, d)
	return s.ID
}

func (w *translation) recipe(n int, r *Recipe, before []string, score int) []string {
	if w.req.Mode == SingleAction {
		var names []string
		for _, s := range r.Steps {
			names = append(names, s.Action)
		}
		w.ask(n, "action", "This takes several actions; which one?", names)
		return nil
	}
	var ids []string
	for _, rs := range r.Steps {
		after := before
		if rs.After != nil {
			after = nil
			for _, i := range rs.After {
				after = append(after, ids[i])
			}
		}
		target := map[string]any{}
		for k, v := range rs.Target {
			target[k] = v
		}
		id := w.step(w.cat.byAction[rs.Action], target, nil, after, score, nil)
		if id == "" {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

func sortedKeys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
