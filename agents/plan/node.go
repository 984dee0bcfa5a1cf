package plan

// node is a parsed value with its place, the same for YAML and JSON, so that
// one strict decoder serves both.
type node struct {
	kind  nodeKind
	pos   Position
	text  string // string value, or the literal of a number
	num   any    // int64 or float64
	truth bool
	keys  []key
	items []*node // map values beside keys, or list items
	at    map[string]int
}

type key struct {
	name string
	pos  Position
}

type nodeKind int

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	textNode
	listNode
	mapNode
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "true/false", "a number", "text", "a list", "a map"}[k]
}

// maxExactInt is 2^53: beyond it RFC 8785 numbers lose digits, and two
// different requests would hash alike.
const maxExactInt = 1 << 53

func (n *node) get(name string) (*node, bool) {
	if i, ok := n.at[name]; ok {
		return n.items[i], true
	}
	return nil, false
}

// add appends a map entry and refuses a key that is already there.
func (n *node) add(k key, v *node) *Error {
	if _, dup := n.get(k.name); dup {
		return &Error{Code: CodeMalformed, Message: "key " + quoted(k.name) + " stands here twice",
			Line: k.pos.Line, Column: k.pos.Column, Hint: "keep one of them"}
	}
	if n.at == nil {
		n.at = map[string]int{}
	}
	n.at[k.name] = len(n.keys)
	n.keys = append(n.keys, k)
	n.items = append(n.items, v)
	return nil
}

func fail(p Position, code Code, message, hint string) *Error {
	return &Error{Code: code, Message: message, Line: p.Line, Column: p.Column, Hint: hint}
}
