package translate

import (
	"fmt"
	"strings"
)

// pattern is a compiled phrase.
type pattern struct {
	source string
	root   []element
	consts map[string]string
	first  []string // words it may begin with; nil when it may begin with a slot
	count  int      // elements in all, for the budget
}

type elementKind int

const (
	word elementKind = iota
	choice
	slotRef
)

type element struct {
	kind     elementKind
	text     string // the word, lower case; or the slot's name
	list     bool   // {slot+}
	optional bool
	options  [][]element
}

// compilePattern reads the phrase language; m may be nil for a recipe, which
// has no slots.
func compilePattern(src string, m *Manifest) (*pattern, error) {
	p := &pattern{source: src}
	body, consts, has := strings.Cut(src, " => ")
	if has {
		p.consts = map[string]string{}
		for _, c := range strings.Fields(consts) {
			k, v, ok := strings.Cut(c, "=")
			if !ok || m == nil || m.slots[k].name == "" {
				return nil, fmt.Errorf("phrase %q: constant %q", src, c)
			}
			p.consts[k] = v
		}
	}
	r := &patternReader{s: body, m: m}
	var err error
	if p.root, err = r.sequence(); err != nil {
		return nil, fmt.Errorf("phrase %q: %w", src, err)
	}
	if r.i < len(r.s) {
		return nil, fmt.Errorf("phrase %q: unexpected %q", src, r.s[r.i:])
	}
	p.count = r.count
	first, empty := firsts(p.root)
	if !empty && !containsSlot(first) {
		p.first = first
	}
	return p, nil
}

func containsSlot(words []string) bool {
	for _, w := range words {
		if w == "{" {
			return true
		}
	}
	return false
}

// firsts gives the words a sequence may begin with ("{" for a slot) and
// whether it may be empty.
func firsts(seq []element) (out []string, empty bool) {
	for _, e := range seq {
		may := e.optional
		switch e.kind {
		case word:
			out = append(out, e.text)
		case slotRef:
			out = append(out, "{")
		case choice:
			for _, o := range e.options {
				f, emp := firsts(o)
				out = append(out, f...)
				may = may || emp
			}
		}
		if !may {
			return out, false
		}
	}
	return out, true
}

type patternReader struct {
	s     string
	i     int
	m     *Manifest
	count int
}

func (r *patternReader) sequence() ([]element, error) {
	var seq []element
	for r.i < len(r.s) {
		switch c := r.s[r.i]; c {
		case ' ':
			r.i++
		case '|', ']', ')':
			return seq, nil
		case '[', '(':
			r.i++
			e := element{kind: choice, optional: c == '['}
			end := map[byte]byte{'[': ']', '(': ')'}[c]
			for {
				o, err := r.sequence()
				if err != nil {
					return nil, err
				}
				e.options = append(e.options, o)
				if r.i >= len(r.s) {
					return nil, fmt.Errorf("%c is not closed", c)
				}
				r.i++
				if r.s[r.i-1] == '|' {
					continue
				}
				if r.s[r.i-1] != end {
					return nil, fmt.Errorf("%c closed by %c", c, r.s[r.i-1])
				}
				break
			}
			seq = append(seq, e)
			r.count++
		case '{':
			end := strings.IndexByte(r.s[r.i:], '}')
			if end < 0 {
				return nil, fmt.Errorf("{ is not closed")
			}
			name := r.s[r.i+1 : r.i+end]
			r.i += end + 1
			e := element{kind: slotRef, text: strings.TrimSuffix(name, "+"), list: strings.HasSuffix(name, "+")}
			if r.m == nil || r.m.slots[e.text].name == "" {
				return nil, fmt.Errorf("the target has no field %q", e.text)
			}
			seq = append(seq, e)
			r.count++
		default:
			end := strings.IndexAny(r.s[r.i:], " |[](){}")
			if end < 0 {
				end = len(r.s) - r.i
			}
			seq = append(seq, element{kind: word, text: strings.ToLower(r.s[r.i : r.i+end])})
			r.i += end
			r.count++
		}
	}
	return seq, nil
}

// words calls f for every literal word of the pattern.
func (p *pattern) words(f func(string)) { eachWord(p.root, f) }

func eachWord(seq []element, f func(string)) {
	for _, e := range seq {
		switch e.kind {
		case word:
			f(e.text)
		case choice:
			for _, o := range e.options {
				eachWord(o, f)
			}
		}
	}
}
