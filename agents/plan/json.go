package plan

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// jsonScanner reads RFC 8259 and nothing beyond it, keeping positions, which
// encoding/json does not. The input is known to be valid UTF-8.
type jsonScanner struct {
	s     string
	i     int
	pos   Position
	nodes int
}

func parseJSON(s string) (*node, *Error) {
	sc := &jsonScanner{s: s, pos: Position{1, 1}}
	n, err := sc.value(0)
	if err != nil {
		return nil, err
	}
	sc.space()
	if sc.i < len(sc.s) {
		return nil, fail(sc.pos, CodeMalformed, "text after the end of the JSON document", "one document a file")
	}
	return n, nil
}

func (sc *jsonScanner) next() {
	r, size := utf8.DecodeRuneInString(sc.s[sc.i:])
	sc.i += size
	if r == '\n' {
		sc.pos.Line++
		sc.pos.Column = 1
	} else {
		sc.pos.Column++
	}
}

func (sc *jsonScanner) peek() byte {
	if sc.i < len(sc.s) {
		return sc.s[sc.i]
	}
	return 0
}

func (sc *jsonScanner) space() {
	for sc.i < len(sc.s) {
		switch sc.s[sc.i] {
		case ' ', '\t', '\r', '\n':
			sc.next()
		default:
			return
		}
	}
}

func (sc *jsonScanner) fail(message, hint string) *Error {
	if sc.i >= len(sc.s) {
		message = "the document ends too early: " + message
	}
	return fail(sc.pos, CodeMalformed, message, hint)
}

func (sc *jsonScanner) value(depth int) (*node, *Error) {
	sc.space()
	if sc.nodes++; sc.nodes > maxNodes {
		return nil, sc.fail("more values than an intent may have", "")
	}
	if depth > maxNesting {
		return nil, sc.fail("nested too deeply", "")
	}
	n := &node{pos: sc.pos}
	switch c := sc.peek(); {
	case c == '{':
		return n, sc.object(n, depth)
	case c == '[':
		return n, sc.array(n, depth)
	case c == '"':
		n.kind = textNode
		var err *Error
		n.text, err = sc.str()
		return n, err
	case c == '-' || c >= '0' && c <= '9':
		return n, sc.number(n)
	}
	for word, set := range map[string]func(){
		"true":  func() { n.kind, n.truth = boolNode, true },
		"false": func() { n.kind = boolNode },
		"null":  func() {},
	} {
		if len(sc.s)-sc.i >= len(word) && sc.s[sc.i:sc.i+len(word)] == word {
			for range word {
				sc.next()
			}
			set()
			return n, nil
		}
	}
	return nil, sc.fail("a JSON value was expected", "text needs double quotes")
}

func (sc *jsonScanner) object(n *node, depth int) *Error {
	n.kind = mapNode
	sc.next()
	sc.space()
	if sc.peek() == '}' {
		sc.next()
		return nil
	}
	for {
		sc.space()
		k := key{pos: sc.pos}
		if sc.peek() != '"' {
			return sc.fail("a key in double quotes was expected", "")
		}
		var err *Error
		if k.name, err = sc.str(); err != nil {
			return err
		}
		sc.space()
		if sc.peek() != ':' {
			return sc.fail("':' was expected after the key "+quoted(k.name), "")
		}
		sc.next()
		v, err := sc.value(depth + 1)
		if err != nil {
			return err
		}
		if err := n.add(k, v); err != nil {
			return err
		}
		sc.space()
		switch sc.peek() {
		case ',':
			sc.next()
		case '}':
			sc.next()
			return nil
		default:
			return sc.fail("',' or '}' was expected", "")
		}
	}
}

func (sc *jsonScanner) array(n *node, depth int) *Error {
	n.kind = listNode
	sc.next()
	sc.space()
	if sc.peek() == ']' {
		sc.next()
		return nil
	}
	for {
		v, err := sc.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
		sc.space()
		switch sc.peek() {
		case ',':
			sc.next()
		case ']':
			sc.next()
			return nil
		default:
			return sc.fail("',' or ']' was expected", "")
		}
	}
}

func (sc *jsonScanner) str() (string, *Error) {
	start, from := sc.pos, sc.i
	sc.next()
	for {
		switch c := sc.peek(); {
		case sc.i >= len(sc.s):
			return "", fail(start, CodeMalformed, "this text is never closed", `a closing " is missing`)
		case c == '"':
			sc.next()
			var s string
			if err := json.Unmarshal([]byte(sc.s[from:sc.i]), &s); err != nil {
				return "", fail(start, CodeMalformed, "text with an escape that JSON does not know", "")
			}
			return s, nil
		case c == '\\':
			at := sc.pos
			sc.next()
			if !validEscape(sc.s[sc.i:]) {
				return "", fail(at, CodeMalformed, "an escape that JSON does not know", `use \\ for a backslash`)
			}
			sc.next()
		case c < 0x20:
			return "", sc.fail("a control character inside text", `write it as \n, \t or \u00XX`)
		default:
			sc.next()
		}
	}
}

func validEscape(s string) bool {
	if s == "" {
		return false
	}
	switch s[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if len(s) < 5 {
			return false
		}
		_, err := strconv.ParseUint(s[1:5], 16, 32)
		return err == nil
	}
	return false
}

func (sc *jsonScanner) number(n *node) *Error {
	from := sc.i
	for sc.i < len(sc.s) {
		c := sc.s[sc.i]
		if c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E' {
			sc.next()
			continue
		}
		break
	}
	n.kind, n.text = numberNode, sc.s[from:sc.i]
	if !json.Valid([]byte(n.text)) {
		return fail(n.pos, CodeMalformed, "not a number: "+quoted(n.text), "")
	}
	return setNumber(n)
}

// setNumber gives the node its value and refuses what cannot be hashed exactly.
func setNumber(n *node) *Error {
	if i, err := strconv.ParseInt(n.text, 0, 64); err == nil {
		if i > maxExactInt || i < -maxExactInt {
			return fail(n.pos, CodeMalformed, "the number "+n.text+" is too large to be exact", "write it as text")
		}
		n.num = i
		return nil
	}
	f, err := strconv.ParseFloat(n.text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return fail(n.pos, CodeMalformed, "the number "+n.text+" has no exact value", "write it as text")
	}
	if f == math.Trunc(f) && math.Abs(f) > maxExactInt {
		return fail(n.pos, CodeMalformed, "the number "+n.text+" is too large to be exact", "write it as text")
	}
	n.num = f
	return nil
}
