package plan

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxNesting bounds the parse itself; what an intent may nest is MaxDepth
// inside target, params and args, plus the levels around them.
const maxNesting = 64

// parseYAML reads exactly one YAML document into nodes. Anchors, aliases,
// merge keys and explicit tags are refused: a few hundred bytes of them can
// expand to gigabytes, and what is hashed must be what is written.
func parseYAML(s string) (n *node, fault *Error) {
	defer func() {
		if r := recover(); r != nil {
			n, fault = nil, fail(Position{1, 1}, CodeMalformed, fmt.Sprintf("not YAML: %v", r), "")
		}
	}()
	if e := flowTooDeep(s); e != nil {
		return nil, e
	}
	dec := yaml.NewDecoder(strings.NewReader(s))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fail(Position{1, 1}, CodeMalformed, "the document is empty", "")
		}
		return nil, yamlFault(s, err)
	}
	var more yaml.Node
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, fail(Position{max(more.Line, 1), max(more.Column, 1)}, CodeMalformed, "a second YAML document", "one document a file")
	case !errors.Is(err, io.EOF):
		return nil, yamlFault(s, err)
	}
	if len(doc.Content) != 1 {
		return nil, fail(Position{1, 1}, CodeMalformed, "the document is empty", "")
	}
	count := 0
	return fromYAML(doc.Content[0], 0, &count)
}

func fromYAML(y *yaml.Node, depth int, count *int) (*node, *Error) {
	n := &node{pos: Position{y.Line, y.Column}}
	if *count++; *count > maxNodes {
		return nil, fail(n.pos, CodeMalformed, "more values than an intent may have", "")
	}
	switch {
	case depth > maxNesting:
		return nil, fail(n.pos, CodeMalformed, "nested too deeply", "")
	case y.Kind == yaml.AliasNode:
		return nil, fail(n.pos, CodeMalformed, "aliases (*"+y.Value+") are not allowed", "write the value out")
	case y.Anchor != "":
		return nil, fail(n.pos, CodeMalformed, "anchors (&"+y.Anchor+") are not allowed", "write the value out where it is used")
	case y.Style&yaml.TaggedStyle != 0:
		return nil, fail(n.pos, CodeMalformed, "explicit tags ("+y.Tag+") are not allowed", "")
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = mapNode
		for i := 0; i+1 < len(y.Content); i += 2 {
			k := y.Content[i]
			kp := Position{k.Line, k.Column}
			if k.Kind == yaml.AliasNode || k.Anchor != "" {
				return nil, fail(kp, CodeMalformed, "anchors and aliases are not allowed", "write the key out")
			}
			if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
				hint := "put it in quotes"
				if k.ShortTag() == "!!merge" {
					hint = "merge keys are not allowed"
				}
				return nil, fail(kp, CodeMalformed, "a key must be text", hint)
			}
			v, err := fromYAML(y.Content[i+1], depth+1, count)
			if err != nil {
				return nil, err
			}
			if err := n.add(key{k.Value, kp}, v); err != nil {
				return nil, err
			}
		}
	case yaml.SequenceNode:
		n.kind = listNode
		for _, c := range y.Content {
			v, err := fromYAML(c, depth+1, count)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
	case yaml.ScalarNode:
		return n, scalar(n, y)
	default:
		return nil, fail(n.pos, CodeMalformed, "not a value", "")
	}
	return n, nil
}

func scalar(n *node, y *yaml.Node) *Error {
	n.text = y.Value
	switch y.ShortTag() {
	case "!!null":
		n.kind = nullNode
	case "!!bool":
		n.kind, n.truth = boolNode, strings.EqualFold(y.Value, "true")
	case "!!int", "!!float":
		n.kind = numberNode
		n.text = strings.ReplaceAll(y.Value, "_", "")
		return setNumber(n)
	default: // text, and timestamps, which stay as they were written
		n.kind = textNode
		if strings.ContainsRune(y.Value, 0) {
			return fail(n.pos, CodeMalformed, "text with a NUL character", "")
		}
	}
	return nil
}

var unknownAnchor = regexp.MustCompile(`unknown anchor '([^']+)'`)

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// yamlFault turns the parser's message, which knows lines only, into one with
// a column: that of the character on that line which cannot be right.
func yamlFault(s string, err error) *Error {
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		if i := strings.Index(s, "*"+m[1]); i >= 0 {
			return fail(placeOf([]byte(s), i), CodeMalformed, "not YAML: "+message, "aliases are not allowed")
		}
	}
	lines := strings.Split(s, "\n")
	line = min(max(line, 1), len(lines))
	if strings.Contains(message, "did not find expected key") || strings.Contains(message, "could not find expected ':'") {
		// The scanner counts this one from the line before.
		if line < len(lines) && strings.TrimSpace(lines[line]) != "" && !plausible(lines[line]) {
			line++
		}
	}
	switch {
	case strings.Contains(message, "expected ',' or"):
		// What the parser names is where the mapping around it began.
		if i := openBracket(s); i >= 0 {
			return fail(placeOf([]byte(s), i), CodeMalformed, "not YAML: "+message, "this is never closed")
		}
	case strings.Contains(message, "expected '-' indicator"):
		if n := strayLine(lines, line); n > 0 {
			at := len(lines[n-1]) - len(strings.TrimLeft(lines[n-1], " ")) + 1
			return fail(Position{n, at}, CodeMalformed, "not YAML: "+message, "indent it like the other fields of this entry, or begin a new entry with `- `")
		}
	}
	text := lines[line-1]
	hint := ""
	column := len(text) - len(strings.TrimLeft(text, " ")) + 1
	if i := strings.IndexByte(text, '\t'); i >= 0 && strings.TrimSpace(text[:i]) == "" {
		column, hint = utf8.RuneCountInString(text[:i])+1, "indent with spaces, not tabs"
	} else if i := unclosed(text); i >= 0 {
		column, hint = utf8.RuneCountInString(text[:i])+1, "this is never closed"
	} else if i := secondColon(text); i >= 0 && strings.Contains(message, "mapping values") {
		column, hint = utf8.RuneCountInString(text[:i])+1, "put text that contains ': ' in quotes"
	}
	return fail(Position{line, column}, CodeMalformed, "not YAML: "+message, hint)
}

// plausible tells whether a line could be an entry of a block map or list.
func plausible(line string) bool {
	t := strings.TrimSpace(line)
	return strings.Contains(t, ":") || strings.HasPrefix(t, "- ") || strings.HasPrefix(t, "#")
}

// unclosed gives the byte offset of a quote or bracket that the line opens and
// does not close, or -1.
func unclosed(line string) int {
	var open []int
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '"', '\'':
			if i > 0 && line[i-1] != ' ' && line[i-1] != '[' && line[i-1] != '{' && line[i-1] != ',' && line[i-1] != ':' {
				continue // an apostrophe inside a word
			}
			j := i + 1
			for j < len(line) && line[j] != c {
				if line[j] == '\\' && c == '"' {
					j++
				}
				j++
			}
			if j >= len(line) {
				return i
			}
			i = j
		case '[', '{':
			open = append(open, i)
		case ']', '}':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case '#':
			if i > 0 && line[i-1] == ' ' {
				i = len(line)
			}
		}
	}
	if len(open) > 0 {
		return open[0]
	}
	return -1
}

// openBracket gives the byte offset of the first bracket that nothing closes, or -1.
func openBracket(s string) int {
	var open []int
	start := 0
	for line := range strings.Lines(s) {
		for i := 0; i < len(line); i++ {
			switch c := line[i]; c {
			case '"', '\'':
				if i > 0 && !strings.ContainsRune(" [{,:", rune(line[i-1])) {
					continue // an apostrophe inside a word
				}
				if j := strings.IndexByte(line[i+1:], c); j >= 0 {
					i += j + 1
				}
			case '#':
				if i == 0 || line[i-1] == ' ' {
					i = len(line)
				}
			case '[', '{':
				open = append(open, start+i)
			case ']', '}':
				open = open[:max(0, len(open)-1)]
			}
		}
		start += len(line)
	}
	if len(open) == 0 {
		return -1
	}
	return open[0]
}

// strayLine gives the first line of a block list, which begins behind line after, that
// belongs neither to an entry nor to what holds the list; 0 when there is none.
func strayLine(lines []string, after int) int {
	dash := -1
	for n := after; n <= len(lines); n++ {
		text := lines[n-1]
		bare := strings.TrimLeft(text, " ")
		if bare == "" || bare[0] == '#' {
			continue
		}
		indent, entry := len(text)-len(bare), strings.HasPrefix(bare, "- ")
		switch {
		case dash < 0 && entry:
			dash = indent
		case dash < 0 || entry && indent == dash:
		case indent < dash+2:
			return n
		}
	}
	return 0
}

func secondColon(line string) int {
	first := strings.Index(line, ": ")
	if first < 0 {
		return -1
	}
	second := strings.Index(line[first+2:], ": ")
	if second < 0 {
		if strings.HasSuffix(line, ":") && len(line)-1 > first {
			return len(line) - 1
		}
		return -1
	}
	return first + 2 + second
}

// flowTooDeep stops `[[[[…` before the parser builds a tree of it.
func flowTooDeep(s string) *Error {
	depth, line, column := 0, 1, 0
	for _, r := range s {
		column++
		switch r {
		case '\n':
			line, column = line+1, 0
		case '[', '{':
			if depth++; depth > 1000 {
				return fail(Position{line, column}, CodeMalformed, "nested too deeply", "")
			}
		case ']', '}':
			if depth > 0 {
				depth--
			}
		}
	}
	return nil
}
