package translate

import (
	"regexp"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

var hereVerb = regexp.MustCompile(`^\s*(please\s+|bitte\s+|моля\s+)?(write|save|put|append|add|store|create|make|schreib|schreibe|speichere|ergänze|запиши|напиши|добави|допиши|създай)\s`)

// Openings that say how it is meant (S1.1 §12); longest first.
var (
	simulateOpenings = phrases("what would happen if i", "what would happen if you", "what would happen if we", "what would happen if", "what happens if i", "what happens if you", "what happens if", "show me what would happen if i", "simulate that you", "simulate", "do a dry run of", "dry run of", "dry run", "dry-run", "preview", "pretend to", "was würde passieren wenn ich", "was passiert wenn ich", "simuliere", "какво ще стане ако", "симулирай", "simulate:")
	validateOpenings = phrases("can you check whether you can", "check whether you can", "check whether i can", "check whether i may", "check if i can", "check if i may", "check if you can", "check that i can", "check whether you could", "would it be possible to", "is it possible to", "am i allowed to", "may i", "can i", "could i", "would you be able to", "are you able to", "is it ok to", "is it allowed to", "validate", "check", "провери дали мога да", "мога ли да", "darf ich", "prüfe ob ich")
	requestOpenings  = phrases("can you", "could you", "would you", "will you", "kannst du", "könntest du", "можеш ли да", "бихте ли", "би ли")
	politeOpenings   = phrases("i would like you to", "i would like to", "i'd like you to", "i'd like to", "i want you to", "i want to", "i need you to", "i need to", "you should", "let's", "let us", "go ahead and", "make sure to", "be so kind and", "be so kind as to", "do me a favour and", "do me a favor and", "please", "kindly", "bitte", "моля те", "моля", "hey aios", "hi aios", "hello", "hey", "hi", "aios", "just", "now", "then", "first", "next", "finally", "afterwards", "also", "and", "и", "und", "ok", "okay", "dann", "danach", "after that", "след това", "после", "искам да", "ich möchte", "i wish to")
	closings         = phrases("please", "thanks", "thank you", "for me", "right now", "now", "right away", "immediately", "bitte", "danke", "моля", "ако обичаш", "if you would", "if you can", "if possible", "will you", "would you", "asap", "thanks a lot", "cheers", "today please")
	simulateClosings = phrases("as a dry run", "as dry run", "dry run", "(dry run)", "(simulate)", "but only simulate", "simulated", "but do not do it", "but don't do it", "without doing it", "only simulate")
)

func phrases(list ...string) [][]string {
	out := make([][]string, len(list))
	for i, p := range list {
		out[i] = strings.Fields(p)
	}
	return out
}

func opens(toks []token, list [][]string) int {
	best := 0
	for _, p := range list {
		if len(p) <= best || len(p) > len(toks) {
			continue
		}
		ok := true
		for i, w := range p {
			if toks[i].quoted || strings.TrimSuffix(strings.ReplaceAll(toks[i].lower, "’", "'"), ":") != w {
				ok = false
				break
			}
		}
		if ok {
			best = len(p)
		}
	}
	return best
}

func closes(toks []token, list [][]string) int {
	best := 0
	for _, p := range list {
		if len(p) > best && len(p) < len(toks) && opens(toks[len(toks)-len(p):], [][]string{p}) > 0 {
			best = len(p)
		}
	}
	return best
}

// takeMode reads LIVE, SIMULATE or VALIDATE from the opening and the ending
// words and takes them away.
func (w *translation) takeMode(toks []token) []token {
	toks = trimSeps(toks)
	polite := false
	for _, t := range toks {
		polite = polite || !t.quoted && (t.lower == "please" || t.lower == "bitte" || t.lower == "моля" || t.lower == "kindly")
	}
	for changed := true; changed; {
		changed = false
		for len(toks) > 0 && toks[0].sep {
			toks, changed = toks[1:], true
		}
		if n := opens(toks, simulateOpenings); n > 0 {
			w.mode, toks, changed = plan.Simulate, toks[n:], true
		} else if n := opens(toks, validateOpenings); n > 0 && (n == len(toks) || toks[n-1].lower != "check" || toks[n].lower != "out") {
			w.stricter(plan.Validate)
			toks, changed = toks[n:], true
		} else if n := opens(toks, requestOpenings); n > 0 {
			if !polite {
				w.stricter(plan.Validate)
			}
			toks, changed = toks[n:], true
		} else if n := opens(toks, politeOpenings); n > 0 && n < len(toks) {
			toks, changed = toks[n:], true
		}
	}
	if n := closes(toks, simulateClosings); n > 0 {
		w.mode, toks = plan.Simulate, trimSeps(toks[:len(toks)-n])
	}
	switch w.req.Mode {
	case ValidationOnly:
		w.stricter(plan.Validate)
	case ExplainOnly:
		w.mode = plan.Simulate
	}
	return toks
}

func (w *translation) stricter(m plan.Mode) {
	if w.mode == plan.Live {
		w.mode = m
	}
}

func trimSeps(toks []token) []token {
	for len(toks) > 0 && toks[0].sep {
		toks = toks[1:]
	}
	for len(toks) > 0 && toks[len(toks)-1].sep {
		toks = toks[:len(toks)-1]
	}
	return toks
}

// trim takes politeness and list marks off a clause.
func trim(toks []token) []token {
	for {
		n := len(toks)
		toks = trimSeps(toks)
		if len(toks) > 1 && !toks[0].quoted && listMark.MatchString(toks[0].text) {
			toks = toks[1:]
		}
		if k := opens(toks, politeOpenings); k > 0 && k < len(toks) {
			toks = toks[k:]
		}
		if k := closes(toks, closings); k > 0 {
			toks = toks[:len(toks)-k]
		}
		if len(toks) == n {
			return toks
		}
	}
}

var (
	listMark = regexp.MustCompile(`^([-*•–]|\(?\d{1,2}[.)]?|\(?[a-z]\))$`)
	thenWord = wordSet("then danach dann afterwards anschließend после")
)

// split cuts the words into clauses: always at semicolons, lines and "then";
// at "and" and commas only where a verb follows and both sides are complete
// by themselves (trap 21: "and" inside a target is no end).
func (w *translation) split(toks []token) [][]token {
	var out [][]token
	start := 0
	flush := func(end int) {
		if c := trim(toks[start:end]); len(c) > 0 && !introduction(c) {
			out = append(out, w.soft(c, 0)...)
		}
	}
	for i, t := range toks {
		switch {
		case t.sep && t.text != ",":
			flush(i)
			start = i + 1
		case !t.quoted && thenWord[t.lower] && i > start && i+1 < len(toks) && w.verb(skipPolite(toks[i+1:])):
			end := i
			if !toks[end-1].quoted && listGlue[toks[end-1].lower] {
				end--
			}
			flush(end)
			start = i + 1
		}
	}
	flush(len(toks))
	return out
}

func skipPolite(toks []token) []token {
	if n := opens(toks, politeOpenings); n > 0 && n < len(toks) {
		return toks[n:]
	}
	return toks
}

// introduction is a line that only announces a list.
func introduction(c []token) bool {
	var s []string
	for _, t := range c {
		if t.quoted {
			return false
		}
		s = append(s, strings.TrimSuffix(t.lower, ":"))
	}
	switch strings.Join(s, " ") {
	case "do the following", "do this", "the following", "steps", "todo", "do these things", "do", "folgendes", "следното", "направи следното":
		return true
	}
	return false
}

func (w *translation) soft(c []token, depth int) [][]token {
	if depth < plan.MaxSteps {
		for i := 1; i+1 < len(c); i++ {
			if c[i].quoted || !listGlue[c[i].lower] {
				continue
			}
			right := trim(c[i+1:])
			if !w.verb(right) || !w.complete(trim(c[:i])) {
				continue
			}
			rest := w.soft(right, depth+1)
			if len(rest) > 1 || w.complete(right) || w.asks(right) {
				return append([][]token{trim(c[:i])}, rest...)
			}
		}
	}
	return [][]token{c}
}

func (w *translation) verb(c []token) bool {
	if len(c) == 0 || c[0].quoted {
		return false
	}
	for _, l := range w.langs {
		if l.byFirst[c[0].lower] != nil {
			return true
		}
	}
	_, ok := w.cat.byAction[c[0].lower]
	return ok
}

// complete tells whether the words alone make a whole action.
func (w *translation) complete(c []token) bool {
	if len(c) == 0 {
		return false
	}
	r := w.rank(c)
	return len(r) > 0 && r[0].tier == 0 && r[0].score >= clarifyAt
}

// asks tells whether the words are an action that only lacks something.
func (w *translation) asks(c []token) bool {
	r := w.rank(c)
	return len(r) > 0 && r[0].tier == 1
}
