package translate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a word, a quoted text or a separator of an utterance.
type token struct {
	text   string // as typed, without quotes
	lower  string
	quoted bool
	sep    bool // , ; or a line's end
	start  int  // byte offsets in the utterance, quotes included
	end    int
}

// quotes gives the closing mark for each opening one.
var quotes = map[rune]rune{'"': '"', '\'': '\'', '“': '”', '„': '“', '«': '»', '»': '«', '‘': '’', '‚': '‘', '”': '”', '「': '」'}

// tokenize splits text; unclosed is the offset of a quote that never closes,
// or -1. What stands between quotes is kept byte for byte.
func tokenize(s string) (out []token, unclosed int) {
	unclosed = -1
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n' || r == ';':
			out = append(out, token{text: string(r), lower: string(r), sep: true, start: i, end: i + size})
			i += size
			continue
		case unicode.IsSpace(r):
			i += size
			continue
		case r == ',':
			out = append(out, token{text: ",", lower: ",", sep: true, start: i, end: i + 1})
			i++
			continue
		}
		if strings.HasPrefix(s[i:], `"""`) {
			if end := strings.Index(s[i+3:], `"""`); end >= 0 {
				body := s[i+3 : i+3+end]
				out = append(out, token{text: body, lower: strings.ToLower(body), quoted: true, start: i, end: i + end + 6})
				i += end + 6
				continue
			}
		}
		if closing, ok := quotes[r]; ok {
			if end := closeQuote(s[i+size:], r, closing); end >= 0 {
				body := s[i+size : i+size+end]
				_, width := utf8.DecodeRuneInString(s[i+size+end:])
				stop := i + size + end + width
				out = append(out, token{text: body, lower: strings.ToLower(body), quoted: true, start: i, end: stop})
				i = stop
				continue
			}
			if unclosed < 0 && r != '\'' && r != '‘' {
				unclosed = i
			}
		}
		j := i
		for j < len(s) {
			r, size := utf8.DecodeRuneInString(s[j:])
			if unicode.IsSpace(r) || r == ';' || r == ',' && (j+1 >= len(s) || s[j+1] == ' ' || s[j+1] == '\n') {
				break
			}
			if r == '"' && j > i && s[j-1] == '=' { // field="text"
				break
			}
			j += size
		}
		if j == i { // a lone comma glued to nothing
			j = i + size
		}
		t := s[i:j]
		trimmed := strings.TrimRight(t, ".!?:…")
		if trimmed == "" {
			trimmed = t
		}
		out = append(out, token{text: trimmed, lower: strings.ToLower(trimmed), start: i, end: i + len(trimmed)})
		i = j
	}
	return out, unclosed
}

// closeQuote gives the offset of the closing mark: for marks that also stand
// inside words (" and ') the first one followed by a boundary.
func closeQuote(s string, opening, closing rune) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == closing || opening == '„' && r == '”' || opening == '„' && r == '"' {
			after, _ := utf8.DecodeRuneInString(s[i+size:])
			if opening != closing && opening != '‘' || i+size == len(s) || unicode.IsSpace(after) || strings.ContainsRune(",;.!?:)", after) {
				return i
			}
		}
		i += size
	}
	return -1
}
