package translate

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// fitness tells how well a token fills a slot; the values are penalties in
// thousandths of a score.
type fitness int

const (
	strong fitness = 0
	weak   fitness = 60  // a bare word where a path is wanted
	poor   fitness = 120 // a word of the grammar itself, or a quoted name
	none   fitness = -1
)

var (
	hasExtension = regexp.MustCompile(`\.[A-Za-z][A-Za-z0-9]{0,9}$`)
	// fileName: what is a file's name rather than a package's or a service's.
	fileName = regexp.MustCompile(`(?i)\.(txt|md|log|csv|json|ya?ml|ini|conf|cfg|pdf|docx?|odt|tex|png|jpe?g|gif|svg|html?|css|js|go|py|sh|c|h|rs|xml|toml|bak|tmp|mp[34]|zip|tar|gz|old|org|db)$`)
	looksURL = regexp.MustCompile(`^([a-z][a-z0-9+.-]*://\S+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:\S+)$`)
	// vague words name nothing; a slot that meets one stays open (S1.1 §9.2).
	vague = wordSet("it this that them these those everything all anything something stuff things here there es das dies alles това всичко го")
	// nouns of the grammar that may stand after an article but are no names.
	genericNoun = wordSet("file files folder directory service daemon package program process group user repo repository app application site document note label tag agent server key " +
		"datei dateien ordner verzeichnis dienst paket prozess gruppe файл файла файловете папка папката услуга услугата пакет пакета процес процеса група групата хранилище хранилището")
	articles = wordSet("the a an my our your some der die das den dem des einen eine ein einem einer mein meine meinen")
)

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// fit gives the value a token has in a slot and how well it fits. open means
// the token is vague: the slot is named but not filled.
func (t *translation) fit(s slot, tok token) (value any, f fitness, open bool) {
	if tok.sep {
		return nil, none, false
	}
	if !tok.quoted && (vague[tok.lower] || genericNoun[tok.lower]) && s.format != "aios-text" {
		return nil, strong, true
	}
	switch s.format {
	case "aios-path", "aios-file":
		if s.format == "aios-file" && strings.HasSuffix(tok.text, "/") && len(tok.text) > 1 {
			return nil, none, false // a directory has no content
		}
		if tok.text == "" {
			return nil, none, false
		}
		if !tok.quoted && strings.ContainsAny(tok.text, "*?") {
			return nil, strong, true // a pattern is no target
		}
		if looksURL.MatchString(tok.text) {
			return nil, none, false
		}
		switch {
		case tok.quoted, strings.Contains(tok.text, "/"), hasExtension.MatchString(tok.text), strings.HasPrefix(tok.text, ".") && len(tok.text) > 1:
			return tok.text, strong, false
		case t.req.Facts.Exists != nil && t.req.Facts.Exists(tok.text):
			return tok.text, strong, false
		case t.isNoun(tok.lower) || versionForm.MatchString(tok.text):
			return tok.text, poor, false
		}
		return tok.text, weak, false
	case "aios-text":
		return tok.text, strong, false
	case "aios-url":
		if looksURL.MatchString(tok.text) || strings.HasPrefix(tok.text, plan.Root+"/") {
			return tok.text, strong, false
		}
		return nil, none, false
	case "aios-labels":
		l := strings.TrimPrefix(tok.text, "#")
		if l == "" || strings.ContainsAny(l, "\n\x00") {
			return nil, none, false
		}
		if !tok.quoted && (tok.lower == "label" || tok.lower == "tag" || tok.lower == "as" || tok.lower == "with") {
			return l, poor, false
		}
		return l, strong, false
	case "date-time":
		v, ok := t.when(tok.lower)
		if !ok {
			return nil, none, false
		}
		return v, strong, false
	case "aios-enum":
		for _, e := range s.enum {
			if strings.TrimPrefix(strings.ToUpper(tok.text), "SIG") == e {
				return e, strong, false
			}
		}
		return nil, none, false
	case "aios-service":
		text := strings.TrimSuffix(tok.text, ".service")
		if !s.pattern.MatchString(text) || fileName.MatchString(text) || isDigits(text) {
			return nil, none, false
		}
		return text, t.nameFit(tok), false
	case "aios-package":
		if fileName.MatchString(tok.text) || isDigits(tok.text) {
			return nil, none, false
		}
	}
	if s.typ == "integer" {
		n, err := strconv.ParseInt(strings.TrimPrefix(tok.text, "#"), 10, 64)
		if err != nil || n < 0 {
			return nil, none, false
		}
		return n, strong, false
	}
	text := tok.text
	if s.format == "aios-package" || s.format == "aios-name" && !tok.quoted {
		text = strings.ToLower(text)
	}
	if s.pattern != nil && !s.pattern.MatchString(text) || s.typ != "string" {
		return nil, none, false
	}
	if s.format == "aios-name" || s.format == "aios-package" || s.format == "aios-process" {
		return text, t.nameFit(tok), false
	}
	return text, strong, false
}

var versionForm = regexp.MustCompile(`^ver_[0-9A-HJKMNP-TV-Z]{26}$`)

func (t *translation) nameFit(tok token) fitness {
	if tok.quoted || t.isNoun(tok.lower) {
		return poor
	}
	return strong
}

func (t *translation) isNoun(w string) bool {
	for _, l := range t.langs {
		if l.nouns[w] {
			return true
		}
	}
	return false
}

func isDigits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

var (
	dateForm     = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	durationForm = regexp.MustCompile(`^(\d{1,6})(s|m|min|h|d|w)$`)
)

// when reads an absolute or relative time as RFC 3339 in UTC. A date that is
// none gives its own text, which the schema then refuses by name.
func (t *translation) when(w string) (string, bool) {
	now := t.req.Now.UTC()
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	switch w {
	case "yesterday", "gestern", "вчера":
		if now.IsZero() {
			return "", false
		}
		return day.AddDate(0, 0, -1).Format(time.RFC3339), true
	case "today", "heute", "днес":
		if now.IsZero() {
			return "", false
		}
		return day.Format(time.RFC3339), true
	}
	if dateForm.MatchString(w) {
		d, err := time.Parse("2006-01-02", w)
		if err != nil {
			return w, true
		}
		return d.Format(time.RFC3339), true
	}
	if d, err := time.Parse(time.RFC3339, strings.ToUpper(w)); err == nil {
		return d.UTC().Format(time.RFC3339Nano), true
	}
	if strings.Contains(w, "t") && len(w) >= 16 && w[4] == '-' {
		return w, true // has the form of a time and is none
	}
	if m := durationForm.FindStringSubmatch(w); m != nil && !now.IsZero() {
		n, _ := strconv.Atoi(m[1])
		unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[m[2]]
		return now.Add(-time.Duration(n) * unit).Truncate(time.Second).Format(time.RFC3339), true
	}
	return "", false
}

// within is a destination directory's entry for a source: a copy of several
// things, or to a place written with a slash, goes into it.
func within(dir, source string) string {
	return strings.TrimSuffix(dir, "/") + "/" + path.Base(strings.TrimSuffix(source, "/"))
}
