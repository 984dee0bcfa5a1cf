package translate

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// clause turns one clause into steps, questions or a refusal; it returns the
// ids of its steps. content is the here-document, if there is one.
func (w *translation) clause(n int, c []token, before []string, content *string) []string {
	if ids, done := w.typedWords(n, c, before); done {
		return ids
	}
	ranked := w.rank(c)
	if content != nil {
		ranked = w.withContent(c, *content)
	}
	for _, r := range ranked {
		if r.m != nil {
			w.retrieved[r.m.CapabilityID] = true
		}
	}
	if want, ok := w.req.Answers[fmt.Sprintf("q%d.action", n)]; ok {
		for _, r := range ranked {
			if r.name() == strings.TrimSpace(want) {
				return w.build(n, r, before, nil)
			}
		}
	}
	if len(ranked) == 0 || ranked[0].score < clarifyAt {
		w.refuse(w.noMatch(c))
		return nil
	}
	top := ranked[0]
	var near []string
	for _, r := range ranked {
		if top.score-r.score < margin {
			near = append(near, r.name())
		}
	}
	if len(near) > 1 {
		for _, r := range ranked[:len(near)] {
			if r.m != nil {
				w.result.Alternatives = append(w.result.Alternatives, Alternative{r.m.CapabilityID, r.m.Action, float64(r.score) / 1000, "margin below 0.10"})
			}
		}
		w.ask(n, "action", fmt.Sprintf("%q can mean several things. Which action?", w.clip(c)), near)
		return nil
	}
	if top.tier == 0 && top.score < selectAt || top.tier == 2 && top.m != nil && len(top.open) == 0 && w.missing(top.m, top.binding) == nil {
		w.ask(n, "action", fmt.Sprintf("Is %q meant as %s?", w.clip(c), top.name()), []string{top.name()})
		return nil
	}
	return w.build(n, top, before, ranked[1:])
}

// clip is a clause as typed, short enough for a prompt, without secrets.
func (w *translation) clip(c []token) string {
	s, _ := Redact(w.text[c[0].start:c[len(c)-1].end])
	s = plan.CleanReason(s)
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return s
}

// withContent matches "write to X" and gives it the here-document.
func (w *translation) withContent(c []token, content string) []candidate {
	var out []candidate
	// A quoted stand-in closes the phrase where its content would stand.
	last := c[len(c)-1]
	stand := append(append([]token{}, c...), token{text: content, lower: "\x00", quoted: true, start: last.end, end: last.end})
	for _, r := range w.rank(stand) {
		if r.m != nil && r.tier == 0 && len(r.values["params.content"]) == 1 && r.values["params.content"][0] == content {
			out = append(out, r)
		}
	}
	if out != nil {
		return out
	}
	for _, r := range w.rank(c) {
		if r.m == nil || r.m.slots["params.content"].name == "" || r.values["path"] == nil {
			continue
		}
		if v, bound := r.p.constant("params.content"); bound && v != "" || r.values["params.content"] != nil {
			continue
		}
		r.values["params.content"] = []any{content}
		r.tier = 0
		r.score = max(r.score, selectAt)
		out = append(out, r)
	}
	return out
}

func (w *translation) noMatch(c []token) *Refusal {
	r := &Refusal{Code: NoMatchingCapability, Message: fmt.Sprintf("no action of the catalogue is meant by %q", w.clip(c))}
	seen := map[string]bool{}
	for _, t := range c {
		if t.quoted || len(t.lower) < 3 || len(r.Nearest) >= 3 {
			continue
		}
		for _, a := range w.cat.actions {
			for _, s := range strings.FieldsFunc(a, func(r rune) bool { return r == '.' || r == '_' }) {
				if s == t.lower && !seen[a] && len(r.Nearest) < 3 {
					seen[a] = true
					r.Nearest = append(r.Nearest, a)
				}
			}
		}
	}
	if r.Nearest != nil {
		r.Message += "; near: " + strings.Join(r.Nearest, ", ")
	}
	return r
}

func (w *translation) ask(n int, field, prompt string, allowed []string) {
	if allowed == nil {
		allowed = []string{}
	}
	w.result.Questions = append(w.result.Questions, Question{
		ID: fmt.Sprintf("q%d.%s", n, field), Prompt: prompt, AllowedValues: allowed, Required: true, BlocksField: "request." + field,
	})
}

var knownDomain = regexp.MustCompile(`^(service|process|package|network|aiosfs|repo|container|secret|desktop|verify|action|unit|runtime|app|kernel|compat|hardware|firmware|bridge|model_router|recovery|agent|policy|net|ai|group|system|identity)\.[a-z_]+(\.[a-z_]+)?$`)

// typedWords handles a clause that begins with an action's name:
// "aiosfs.object.write path=a.md content="x"" or "service.restart nginx".
func (w *translation) typedWords(n int, c []token, before []string) ([]string, bool) {
	name := c[0].lower
	if c[0].quoted || !knownDomain.MatchString(name) || hasExtensionOnly(name, c) {
		return nil, false
	}
	m, ok := w.cat.byAction[name]
	if !ok || m.Status == "retired" {
		r := &Refusal{Code: UnknownActionRequested, Message: fmt.Sprintf("the catalogue has no action %q", name), Nearest: w.cat.Nearest(name, 3)}
		if r.Nearest != nil {
			r.Message += "; near: " + strings.Join(r.Nearest, ", ")
		}
		w.refuse(r)
		return nil, true
	}
	w.retrieved[m.CapabilityID] = true
	b := &binding{ref: ref{m: m}, score: maxScore, values: map[string][]any{}, open: map[string]bool{}}
	free := append([]string{}, m.required...)
	for i := 1; i < len(c); i++ {
		t := c[i]
		if t.sep {
			continue
		}
		slotName, text, named := "", t, false
		if k, v, has := strings.Cut(t.text, "="); has && !t.quoted {
			for _, cand := range []string{k, "params." + k} {
				if m.slots[cand].name != "" {
					slotName, named = cand, true
				}
			}
			if !named {
				w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: fmt.Sprintf("%s has no field %q", name, k)})
				return nil, true
			}
			text = token{text: strings.Trim(v, `"'`), lower: strings.ToLower(v), quoted: true}
			if v == "" && i+1 < len(c) && c[i+1].quoted {
				i++
				text = c[i]
			}
		} else if len(free) > 0 {
			slotName = free[0]
		} else {
			w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: fmt.Sprintf("%s has no place for %q", name, w.clip(c[i:i+1]))})
			return nil, true
		}
		v, f, open := w.fit(m.slots[slotName], text)
		if f == none || open {
			w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: fmt.Sprintf("%q does not fit %s of %s", w.clipText(text.text), slotName, name)})
			return nil, true
		}
		b.values[slotName] = append(b.values[slotName], v)
		for j, x := range free {
			if x == slotName {
				free = append(free[:j], free[j+1:]...)
				break
			}
		}
	}
	return w.build(n, candidate{binding: b}, before, nil), true
}

func (w *translation) clipText(s string) string {
	s, _ = Redact(s)
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return plan.CleanReason(s)
}

// hasExtensionOnly: "app.md should say …" is a file, not an action.
func hasExtensionOnly(name string, c []token) bool {
	return len(c) > 1 && (c[1].lower == "should" || c[1].lower == "must")
}
