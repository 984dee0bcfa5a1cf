package dsl

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

type kind uint8

const (
	tEOF    kind = iota
	tIdent       // identifier or keyword
	tString      // val is the text without quotes
	tNumber      // JSON number
	tTime        // RFC 3339 time, or a date
	tSpan        // relative time: 2h, 3d
	tPunct       // ( ) [ ] , . * = != < <= > >=
)

type token struct {
	kind kind
	val  string
	col  int // characters, from 1
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// lex splits a query into tokens, the last of which is tEOF.
func lex(src string) ([]token, error) {
	if len(src) > MaxLength {
		return nil, errAt(1, InvalidQuery, "a query has at most %d bytes", MaxLength)
	}
	if !utf8.ValidString(src) {
		return nil, errAt(1, InvalidQuery, "the query is not UTF-8")
	}
	var list []token
	col, counted := 1, 0
	at := func(i int) int {
		col += utf8.RuneCountInString(src[counted:i])
		counted = i
		return col
	}
	for i := 0; i < len(src); {
		c := src[i]
		start := at(i)
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case isLetter(c):
			j := i + 1
			for j < len(src) && (isLetter(src[j]) || isDigit(src[j])) {
				j++
			}
			list = append(list, token{tIdent, src[i:j], start})
			i = j
		case c == '"':
			text, n, err := lexString(src[i:], start)
			if err != nil {
				return nil, err
			}
			list = append(list, token{tString, text, start})
			i += n
		case isDigit(c) || c == '-':
			t, n, err := lexNumber(src[i:], start)
			if err != nil {
				return nil, err
			}
			list = append(list, t)
			i += n
		case strings.IndexByte("()[],.*=", c) >= 0:
			list = append(list, token{tPunct, src[i : i+1], start})
			i++
		case c == '<' || c == '>' || c == '!':
			n := 1
			if i+1 < len(src) && src[i+1] == '=' {
				n = 2
			} else if c == '!' {
				return nil, errAt(start, InvalidQuery, "! stands only in !=")
			}
			list = append(list, token{tPunct, src[i : i+n], start})
			i += n
		default:
			r, _ := utf8.DecodeRuneInString(src[i:])
			return nil, errAt(start, InvalidQuery, "unexpected character %q", r)
		}
	}
	return append(list, token{tEOF, "", at(len(src))}), nil
}

// lexString reads a string in double quotes; \" and \\ are the only escapes.
func lexString(s string, col int) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i + 1, nil
		case '\\':
			if i++; i < len(s) && (s[i] == '"' || s[i] == '\\') {
				b.WriteByte(s[i])
				continue
			}
			if i >= len(s) {
				break
			}
			return "", 0, errAt(col+utf8.RuneCountInString(s[:i-1]), InvalidQuery, `a string knows the escapes \" and \\ only`)
		default:
			b.WriteByte(s[i])
		}
	}
	e := errAt(col, InvalidQuery, "the string that begins here has no end")
	e.Unfinished = true
	return "", 0, e
}

// lexNumber reads what begins with a digit or a minus: a number, a time, a span.
func lexNumber(s string, col int) (token, int, error) {
	n := 0
	for n < len(s) && (isDigit(s[n]) || isLetter(s[n]) || strings.IndexByte("+-:.", s[n]) >= 0) {
		n++
	}
	word := s[:n]
	if len(word) >= 10 && word[4] == '-' && word[7] == '-' {
		if _, err := parseTime(word); err != nil {
			return token{}, 0, errAt(col, InvalidQuery, "%q is no RFC 3339 time", word)
		}
		return token{tTime, word, col}, n, nil
	}
	if _, err := parseSpan(word); err == nil {
		return token{tSpan, word, col}, n, nil
	}
	if !isJSONNumber(word) {
		return token{}, 0, errAt(col, InvalidQuery, "%q is no number", word)
	}
	return token{tNumber, word, col}, n, nil
}

func isJSONNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := 0
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		s = s[n:]
		return n > 0
	}
	lead := s != "" && s[0] == '0'
	before := len(s)
	if !digits() || lead && before-len(s) > 1 {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		if s = rest; !digits() {
			return false
		}
	}
	if s != "" && s[0]|0x20 == 'e' {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// parseTime reads an RFC 3339 time or a date, which is its midnight in UTC. The year
// must be 1 to 9998, so that the time can be written in UTC again.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.Parse(time.DateOnly, s)
	}
	if err == nil && (t.UTC().Year() < 1 || t.UTC().Year() > 9998) {
		err = strconv.ErrRange
	}
	return t, err
}
