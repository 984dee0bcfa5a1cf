package translate

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// sieve is an expression that is tried only on text that holds one of the pieces without
// which it cannot match. A guard looks through up to 64 KiB for what is hardly ever there,
// and to look for a piece costs a fiftieth of trying the expression at every place.
type sieve struct {
	re     *regexp.Regexp
	pieces []string // none: it is always tried
}

func sieved(expr string) sieve {
	s := sieve{re: regexp.MustCompile(expr)}
	if tree, err := syntax.Parse(expr, syntax.Perl); err == nil { // it has just been compiled
		s.pieces = pieces(tree)
	}
	return s
}

// MatchString is that of the expression.
func (s sieve) MatchString(text string) bool {
	if len(s.pieces) > 0 && !slices.ContainsFunc(s.pieces, func(p string) bool { return strings.Contains(text, p) }) {
		return false
	}
	return s.re.MatchString(text)
}

// pieces gives texts of which at least one is in whatever an expression matches; none where
// nothing can be said.
func pieces(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return []string{string(re.Rune)}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return pieces(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return pieces(re.Sub[0])
		}
	case syntax.OpConcat: // all of it is in a match: the part that says most
		var best []string
		for _, sub := range re.Sub {
			if p := pieces(sub); len(p) > 0 && (best == nil || shortest(p) > shortest(best)) {
				best = p
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			p := pieces(sub)
			if len(p) == 0 {
				return nil
			}
			all = append(all, p...)
		}
		return all
	}
	return nil
}

func shortest(pieces []string) int {
	n := len(pieces[0])
	for _, p := range pieces {
		n = min(n, len(p))
	}
	return n
}
