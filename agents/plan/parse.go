package plan

import (
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/blake3"
)

// ParseDocument reads a dropped document. name is the file's name: .yaml, .yml
// and .json make it typed whatever it holds. Otherwise a document is typed when
// it starts with `{`, with `schema:`, or with another key of an intent while it
// has an `actions:` line; everything else is words. The error is an *Error.
func ParseDocument(doc []byte, name string) (*Document, error) {
	d, err := parseDocument(doc, name)
	if err != nil {
		return nil, err // never a typed nil
	}
	return d, nil
}

func parseDocument(doc []byte, name string) (*Document, *Error) {
	if len(doc) > MaxTyped {
		p := placeOf(doc[:MaxTyped], MaxTyped)
		return nil, fail(p, CodeMalformed, fmt.Sprintf("%d bytes; an intent has at most %d", len(doc), MaxTyped), "refer to large content with content_from")
	}
	typed := looksTyped(doc, name)
	code := CodeInvalidRequest
	if typed {
		code = CodeMalformed
	}
	if i := badText(doc); i >= 0 {
		p := placeOf(doc, i)
		if doc[i] == 0 {
			return nil, fail(p, code, "a NUL byte", "goals and intents are text")
		}
		return nil, fail(p, code, fmt.Sprintf("byte 0x%02x is not UTF-8", doc[i]), "save the file as UTF-8")
	}
	text := strings.TrimPrefix(string(doc), "\ufeff")
	sum := blake3.Sum256(doc)
	d := &Document{Name: name, Size: len(doc), Hash: hex.EncodeToString(sum[:]), positions: map[string]Position{}}
	if !typed {
		if len(doc) > MaxWords {
			return nil, fail(placeOf(doc, MaxWords), code, fmt.Sprintf("%d bytes; a goal in words has at most %d", len(doc), MaxWords), "put large content into a file and copy it")
		}
		if strings.TrimSpace(text) == "" {
			return nil, fail(Position{1, 1}, code, "the goal is empty", "")
		}
		d.Kind, d.Words, d.Mode, d.Atomic = Words, text, Live, true
		return d, nil
	}
	d.Kind = Typed
	var root *node
	var err *Error
	if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") && !isYAMLName(name) {
		root, err = parseJSON(text)
	} else {
		root, err = parseYAML(text)
	}
	if err != nil {
		return nil, err
	}
	if err := d.decode(root); err != nil {
		return nil, err
	}
	return d, nil
}

func isYAMLName(name string) bool {
	e := strings.ToLower(path.Ext(name))
	return e == ".yaml" || e == ".yml"
}

var (
	firstIsSchema = regexp.MustCompile(`^["']?schema["']?[ \t]*:`)
	firstIsKey    = regexp.MustCompile(`^["']?(reason|mode|atomic|idempotency_key|actions)["']?[ \t]*:`)
	hasActions    = regexp.MustCompile(`(?m)^["']?(actions|schema)["']?[ \t]*:`)
)

func looksTyped(doc []byte, name string) bool {
	if isYAMLName(name) || strings.EqualFold(path.Ext(name), ".json") {
		return true
	}
	rest := strings.TrimPrefix(string(doc), "\ufeff")
	for {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if strings.HasPrefix(rest, "#") || strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "%YAML") {
			_, after, found := strings.Cut(rest, "\n")
			if !found {
				return strings.HasPrefix(rest, "%YAML")
			}
			rest = after
			continue
		}
		break
	}
	if strings.HasPrefix(rest, "{") || firstIsSchema.MatchString(rest) {
		return true
	}
	return firstIsKey.MatchString(rest) && hasActions.MatchString(rest)
}

// badText gives the offset of the first NUL or non-UTF-8 byte, or -1.
func badText(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			if b[i] == 0 {
				return i
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// placeOf gives the line and column of a byte offset.
func placeOf(b []byte, offset int) Position {
	offset = min(offset, len(b))
	head := string(b[:offset])
	line := strings.Count(head, "\n") + 1
	return Position{line, utf8.RuneCountInString(head[strings.LastIndexByte(head, '\n')+1:]) + 1}
}

func quoted(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
