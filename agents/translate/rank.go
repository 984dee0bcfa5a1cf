package translate

import (
	"sort"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// candidate is the best binding of one capability (or recipe) for a clause.
type candidate struct {
	*binding
	tier int // 0 nothing missing, 1 a field missing, 2 the phrase is cut short
}

// rank retrieves by the first words and orders by score. Incomplete readings
// count only when there is no complete one.
func (w *translation) rank(c []token) []candidate {
	if len(c) > maxPlainWords {
		return nil
	}
	if w.ctx.Err() != nil || w.spent >= totalBudget {
		w.timedOut = true
		return nil
	}
	budget := matchBudget
	defer func() { w.spent += matchBudget - budget }()
	best := map[string]candidate{}
	seen := map[*pattern]bool{}
	try := func(r ref) {
		if seen[r.p] {
			return
		}
		seen[r.p] = true
		b := w.match(r, c, &budget)
		if b == nil {
			return
		}
		key := "recipe"
		cand := candidate{binding: b}
		if r.m != nil {
			key = r.m.Action
			switch {
			case b.cut:
				cand.tier = 2
			case w.missing(r.m, b) != nil:
				cand.tier = 1
			}
			if r.m.Status == "deprecated" {
				b.score -= deprecatedBy
			}
			if negative(r.m, c) {
				b.score -= negativeBy
			}
		}
		old, ok := best[key]
		if !ok || cand.tier < old.tier || cand.tier == old.tier && cand.score > old.score {
			best[key] = cand
		}
	}
	head := c[0].lower
	for k := 0; k < len(c) && articles[c[k].lower] && !c[k].quoted && k+1 < len(c); k++ {
		head = c[k+1].lower
	}
	for _, l := range w.langs {
		found := l.byFirst[head]
		for _, r := range found {
			try(r)
		}
		if found == nil {
			for _, v := range l.verbs { // inflected or mistyped
				if len(v) > 3 && (strings.HasPrefix(head, v[:3]) || plan.Distance(head, v) == 1) {
					for _, r := range l.byFirst[v] {
						try(r)
					}
				}
			}
		}
		for _, r := range l.any {
			try(r)
		}
	}
	if budget < 0 {
		w.timedOut = true
	}
	var out []candidate
	tier := 3
	for _, x := range best {
		tier = min(tier, x.tier)
	}
	for _, x := range best {
		if x.tier == tier {
			out = append(out, x)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].score != out[j].score {
			return out[i].score > out[j].score
		}
		return out[i].name() < out[j].name()
	})
	return out
}

func (c candidate) name() string {
	if c.m == nil {
		return c.r.ID
	}
	return c.m.Action
}

// missing gives the required slots that the words leave empty and no default
// fills, in schema order; nil when the target is whole.
func (w *translation) missing(m *Manifest, b *binding) []string {
	var out []string
	for _, n := range m.required {
		if b.values[n] != nil || m.slots[n].def != "" || w.req.Facts.Selected[n] != "" {
			continue
		}
		if _, ok := b.p.constant(n); ok && !b.cut {
			continue
		}
		if !b.open[n] && alternative(m, n, b) {
			continue
		}
		out = append(out, n)
	}
	return out
}

func (p *pattern) constant(n string) (string, bool) {
	if p == nil {
		return "", false
	}
	v, ok := p.consts[n]
	return v, ok
}

// alternative: label's `add` is not missing where `remove` is given, nor
// `content` where `content_from` is.
func alternative(m *Manifest, n string, b *binding) bool {
	other := map[string]string{"params.add": "params.remove", "params.content": "params.content_from"}[n]
	return other != "" && b.values[other] != nil
}

func negative(m *Manifest, c []token) bool {
	var s []string
	for _, t := range c {
		s = append(s, t.lower)
	}
	clause := strings.Join(s, " ")
	for _, n := range m.Semantic.NegativeExamples {
		if clause == strings.ToLower(n) {
			return true
		}
	}
	return false
}
