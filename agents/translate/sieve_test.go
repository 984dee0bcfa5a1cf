package translate

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var sieves = map[string]sieve{"shell": shellText, "reveal": reveal, "secret": secretNoun, "bypass": bypass, "recovery": recovery}

// A guard that looks for pieces first says what its expression says: of every phrasing, of
// texts that are put together from the words of the guards themselves, and of what is one
// character away from them.
func TestSievesSayWhatTheirExpressionsSay(t *testing.T) {
	hits := map[string]int{}
	same := func(t interface{ Errorf(string, ...any) }, text string) {
		for name, s := range sieves {
			want := s.re.MatchString(text)
			if got := s.MatchString(text); got != want {
				t.Errorf("%s: %q: %v, the expression says %v", name, text, got, want)
			}
			if want {
				hits[name]++
			}
		}
	}
	b, err := os.ReadFile("testdata/phrasings.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		phrase, _, _ := strings.Cut(line, "\t")
		same(t, strings.ToLower(phrase))
	}
	split := regexp.MustCompile(`[\\()?*+|.$^{}\[\]]+`)
	var words []string
	for _, s := range sieves {
		if len(s.pieces) == 0 {
			t.Errorf("%v is tried on everything", s.re)
		}
		words = append(words, split.Split(s.re.String(), -1)...)
	}
	words = append(words, "`", "$(", "${", "&&", "||", " | ", "a|b", " > ", ">>", "<(", "rm -", "-c", "id_rsa", ".pem", "/.ssh/", "a", "", "\x00", "й", "parola")
	rapid.Check(t, func(r *rapid.T) {
		var text strings.Builder
		for _, w := range rapid.SliceOfN(rapid.SampledFrom(words), 1, 8).Draw(r, "words") {
			text.WriteString(w)
			text.WriteString(rapid.SampledFrom([]string{" ", " ", "", "-", "\n"}).Draw(r, "between"))
		}
		s := text.String()
		same(r, s)
		if at := rapid.IntRange(0, len(s)).Draw(r, "at"); at < len(s) {
			same(r, s[:at]+s[at+1:])
		}
	})
	for name := range sieves {
		if hits[name] == 0 {
			t.Errorf("nothing that %s matches was tried", name)
		}
	}
}
