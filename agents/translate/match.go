package translate

import (
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Scores in thousandths (S1.1 §8; the scale is ours and frozen by the tests).
const (
	selectAt     = 860
	clarifyAt    = 700
	margin       = 100
	baseScore    = 900
	perLiteral   = 20 // up to four literals: the more of the words are grammar, the surer
	perTypo      = 50
	looseContent = 20  // content without quotes
	deprecatedBy = 150 // status penalty
	negativeBy   = 300
	cutShort     = 60 // the words end before the phrase does
	maxScore     = 990
	matchBudget  = 60_000 // steps of the matcher for one clause; beyond it, a timeout
	// totalBudget bounds a whole goal the same way on every machine; it is well
	// below Timeout on a slow one (measured: 10 million steps a second).
	totalBudget   = 4_000_000
	maxPlainWords = 400 // unquoted words of one clause
)

// binding is one way a phrase fits a clause.
type binding struct {
	ref
	score    int
	values   map[string][]any // slot -> values; several for {slot+}
	open     map[string]bool  // named by a vague word, or cut short
	literals int
	typos    int
	cut      bool // the words end before the phrase does
}

type matcher struct {
	t      *translation
	toks   []token
	ref    ref
	budget *int
	best   *binding
	cur    binding
	pen    int
}

// match finds the best way the phrase fits all of toks, or nil.
func (t *translation) match(r ref, toks []token, budget *int) *binding {
	m := &matcher{t: t, toks: toks, ref: r, budget: budget}
	m.cur = binding{ref: r, values: map[string][]any{}, open: map[string]bool{}}
	m.seq(r.p.root, 0, func(i int) {
		if i == len(toks) {
			m.accept(0)
		}
	})
	return m.best
}

func (m *matcher) accept(extra int) {
	s := min(baseScore+perLiteral*min(m.cur.literals, 4)-m.pen-extra-perTypo*m.cur.typos, maxScore)
	if m.best != nil && (!m.best.cut && extra > 0 || m.best.cut == (extra > 0) && m.best.score > s || m.best.cut == (extra > 0) && m.best.score == s && m.best.literals >= m.cur.literals) {
		return
	}
	b := m.cur
	b.score, b.cut = s, extra > 0
	b.values, b.open = map[string][]any{}, map[string]bool{}
	for k, v := range m.cur.values {
		b.values[k] = append([]any(nil), v...)
	}
	for k := range m.cur.open {
		b.open[k] = true
	}
	m.best = &b
}

func (m *matcher) seq(seq []element, i int, next func(int)) {
	if *m.budget--; *m.budget < 0 {
		return
	}
	if len(seq) == 0 {
		next(i)
		return
	}
	e, rest := seq[0], seq[1:]
	tail := func(j int) { m.seq(rest, j, next) }
	if e.optional {
		tail(i)
	}
	if i >= len(m.toks) { // cut short: what is missing becomes a question
		if !e.optional && m.cur.literals > 0 {
			m.accept(cutShort)
		}
		return
	}
	switch e.kind {
	case choice:
		for _, o := range e.options {
			m.seq(o, i, tail)
		}
	case word:
		j := m.skip(i, e.text)
		typo, ok := m.same(m.toks[min(j, len(m.toks)-1)], e.text, i == 0)
		if j >= len(m.toks) || !ok {
			return
		}
		m.cur.literals++
		m.cur.typos += typo
		tail(j + 1)
		m.cur.literals--
		m.cur.typos -= typo
	case slotRef:
		s := m.ref.m.slots[e.text]
		if s.format == "aios-text" {
			m.textSlot(s, i, tail)
			return
		}
		m.slot(e, s, i, tail)
	}
}

// skip passes articles, which carry nothing.
func (m *matcher) skip(i int, want string) int {
	for i < len(m.toks) && !m.toks[i].quoted && articles[m.toks[i].lower] && m.toks[i].lower != want {
		i++
	}
	return i
}

// same compares a token with a literal; verbs may be inflected or mistyped.
func (m *matcher) same(t token, want string, head bool) (typo int, ok bool) {
	if t.quoted || t.sep {
		return 0, false
	}
	if t.lower == want {
		return 0, true
	}
	if head && len(want) >= 4 && strings.HasSuffix(want, "e") && t.lower == want[:len(want)-1]+"ing" {
		return 0, true
	}
	if n := len(want); n >= 4 && strings.HasPrefix(t.lower, want[:n-1]) {
		switch strings.TrimPrefix(t.lower, want) {
		case "s", "d", "ed", "ing", "es":
			return 0, head
		}
	}
	if head && len([]rune(want)) >= 4 && !m.t.known(t.lower) && plan.Distance(t.lower, want) == 1 {
		return 1, true
	}
	return 0, false
}

func (t *translation) known(w string) bool {
	for _, l := range t.langs {
		if l.vocab[w] {
			return true
		}
	}
	return false
}

func (m *matcher) slot(e element, s slot, i int, tail func(int)) {
	j := m.skip(i, "")
	if j > i && m.toks[i].lower == "a" && (i+1 == len(m.toks) || m.toks[i+1].sep || !m.toks[i+1].quoted && afterName[m.toks[i+1].lower]) {
		j = i // a thing called "a"
	}
	if j >= len(m.toks) {
		return
	}
	v, f, open := m.t.fit(s, m.toks[j])
	if f == none {
		return
	}
	if open {
		was := m.cur.open[s.name]
		m.cur.open[s.name] = true
		for k := j + 1; k <= len(m.toks) && k <= j+2; k++ { // "all files", "the service"
			tail(k)
			if k < len(m.toks) && !genericNoun[m.toks[k].lower] {
				break
			}
		}
		m.cur.open[s.name] = was
		if !was {
			delete(m.cur.open, s.name)
		}
		return
	}
	if f == weak && i > 0 && !m.toks[i-1].quoted && namesNext[m.toks[i-1].lower] {
		f = strong // "folder photos": the noun says what the bare word is
	}
	old := m.cur.values[s.name]
	m.cur.values[s.name] = append(old, v)
	m.pen += int(f)
	k := j + 1
	if (e.list || s.format == "aios-labels") && k < len(m.toks) { // a, b and c
		l := k
		for l < len(m.toks) && !m.toks[l].quoted && listGlue[m.toks[l].lower] {
			l++
		}
		if l > k && l < len(m.toks) {
			m.slot(e, s, l, tail)
		}
	}
	tail(k)
	if strings.HasPrefix(s.format, "aios-path") && k < len(m.toks) && !m.toks[k].quoted && trailingNoun[m.toks[k].lower] {
		tail(k + 1)
	}
	m.pen -= int(f)
	if old == nil {
		delete(m.cur.values, s.name)
	} else {
		m.cur.values[s.name] = old
	}
}

var (
	namesNext    = wordSet("file files folder folders directory directories note document called named datei ordner verzeichnis файл файла папка папката")
	afterName    = wordSet("to into in as then with from and or und nach и в")
	listGlue     = wordSet(", and und и &")
	trailingNoun = wordSet("file folder directory datei ordner verzeichnis")
)

// textSlot takes one quoted text, or the words up to where the rest fits.
func (m *matcher) textSlot(s slot, i int, tail func(int)) {
	if m.toks[i].quoted {
		m.cur.values[s.name] = []any{m.toks[i].text}
		tail(i + 1)
		delete(m.cur.values, s.name)
		return
	}
	if m.toks[i].sep {
		return
	}
	if vague[m.toks[i].lower] && (i+1 == len(m.toks) || !m.toks[i+1].quoted) {
		m.cur.open[s.name] = true
		tail(i + 1)
		delete(m.cur.open, s.name)
	}
	m.pen += looseContent
	for j := i + 1; j <= len(m.toks); j++ {
		if m.toks[j-1].sep && m.toks[j-1].lower != "," || m.toks[j-1].quoted || *m.budget < 0 {
			break
		}
		m.cur.values[s.name] = []any{m.t.text[m.toks[i].start:m.toks[j-1].end]}
		tail(j)
	}
	delete(m.cur.values, s.name)
	m.pen -= looseContent
}
