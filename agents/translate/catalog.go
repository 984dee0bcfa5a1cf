package translate

import (
	"fmt"
	"sort"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Catalog is a verified set of manifests with its index; immutable.
type Catalog struct {
	version   string
	manifests []*Manifest // by action
	byAction  map[string]*Manifest
	actions   []string // not retired
	recipes   []Recipe
	lang      map[string]*langIndex
}

// langIndex finds phrases of one language by their first word.
type langIndex struct {
	byFirst map[string][]ref
	any     []ref // may begin with a slot
	vocab   map[string]bool
	nouns   map[string]bool // every literal that is no verb: not a name by accident
	verbs   []string
}

type ref struct {
	m *Manifest
	p *pattern
	r *Recipe
}

func index(version string, manifests []*Manifest, recipes []Recipe) (*Catalog, error) {
	c := &Catalog{version: version, manifests: manifests, byAction: map[string]*Manifest{}, lang: map[string]*langIndex{}}
	sort.Slice(c.manifests, func(i, j int) bool { return c.manifests[i].Action < c.manifests[j].Action })
	for _, m := range c.manifests {
		if _, dup := c.byAction[m.Action]; dup {
			return nil, fmt.Errorf("index catalogue: action %s twice", m.Action)
		}
		c.byAction[m.Action] = m
		if m.Status == "retired" {
			continue
		}
		c.actions = append(c.actions, m.Action)
		for lang, ps := range m.patterns {
			for _, p := range ps {
				c.add(lang, ref{m: m, p: p})
			}
		}
	}
	for i := range recipes {
		r := &recipes[i]
		for _, s := range r.Steps {
			m, ok := c.byAction[s.Action]
			if !ok {
				return nil, fmt.Errorf("index catalogue: recipe %s names %s, which is not in it", r.ID, s.Action)
			}
			if f := m.check(s.Target); f != nil {
				return nil, fmt.Errorf("index catalogue: recipe %s, %s%s: %s", r.ID, s.Action, f.pointer, f.what)
			}
		}
		langs := make([]string, 0, len(r.Phrases))
		for l := range r.Phrases {
			langs = append(langs, l)
		}
		sort.Strings(langs)
		for _, lang := range langs {
			for _, src := range r.Phrases[lang] {
				p, err := compilePattern(src, nil)
				if err != nil {
					return nil, fmt.Errorf("index catalogue: recipe %s: %w", r.ID, err)
				}
				c.add(lang, ref{r: r, p: p})
			}
		}
	}
	c.recipes = recipes
	for _, l := range c.lang {
		for v := range l.byFirst {
			l.verbs = append(l.verbs, v)
		}
		sort.Strings(l.verbs)
	}
	return c, nil
}

func (c *Catalog) add(lang string, r ref) {
	l := c.lang[lang]
	if l == nil {
		l = &langIndex{byFirst: map[string][]ref{}, vocab: map[string]bool{}, nouns: map[string]bool{}}
		c.lang[lang] = l
	}
	if r.p.first == nil {
		l.any = append(l.any, r)
	}
	seen := map[string]bool{}
	for _, f := range r.p.first {
		if !seen[f] {
			seen[f] = true
			l.byFirst[f] = append(l.byFirst[f], r)
		}
	}
	r.p.words(func(w string) {
		l.vocab[w] = true
		if !seen[w] && r.m != nil && !articles[w] {
			l.nouns[w] = true
		}
	})
}

// Version gives cat_<32 hex>.
func (c *Catalog) Version() string { return c.version }

// Actions gives the names of all actions that are not retired, sorted.
func (c *Catalog) Actions() []string { return append([]string(nil), c.actions...) }

// Lookup finds a capability by its action name, a retired one too.
func (c *Catalog) Lookup(action string) (*Manifest, bool) {
	m, ok := c.byAction[action]
	return m, ok
}

// Nearest gives up to n action names close to the given one: by letters, and
// those that share its last segment.
func (c *Catalog) Nearest(action string, n int) []string {
	out := plan.Nearest(action, c.actions, n)
	parts := strings.FieldsFunc(action, func(r rune) bool { return r == '.' || r == '_' })
	for _, a := range c.actions {
		if len(out) >= n {
			break
		}
		if len(parts) == 0 || contains(out, a) {
			continue
		}
		for _, s := range strings.FieldsFunc(a, func(r rune) bool { return r == '.' || r == '_' }) {
			if s == parts[len(parts)-1] {
				out = append(out, a)
				break
			}
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
