package plan

// Schema is the only schema of a typed intent this version reads.
const Schema = "aios.intent.v1alpha1"

// Limits of a document (contract §4; S1.1 for depth and steps).
const (
	MaxWords     = 64 << 10 // bytes of a goal in words
	MaxTyped     = 1 << 20  // bytes of a typed intent
	MaxSteps     = 64       // actions in one intent
	MaxDepth     = 8        // nesting of maps and lists inside target, params, args
	MaxReason    = 1024     // characters (S0.1 §4.4)
	MaxKey       = 128      // characters of an idempotency key (S0.1 §3.3)
	MaxSubject   = 256      // bytes of a subject (S6.3 §3)
	MaxActionID  = 64       // characters of an action's id
	MaxVerify    = 32       // verification intents of one action
	MaxPath      = 4096     // bytes of a path string (S4.1 §5)
	MaxPathDepth = 32       // segments of a path string (S4.1 §5)
	maxNodes     = 100_000  // YAML nodes; 1 MiB of `[[[…` must not cost more
)

// Kind tells a goal in words from a typed intent.
type Kind int

// The two kinds of document.
const (
	Words Kind = iota + 1
	Typed
)

// String gives "words" or "typed".
func (k Kind) String() string {
	switch k {
	case Words:
		return "words"
	case Typed:
		return "typed"
	}
	return "unspecified"
}

// Mode is the DryRunMode of S0.1 §9.
type Mode string

// The three modes. Live has effects, Simulate says what would happen, Validate
// only checks.
const (
	Live     Mode = "LIVE"
	Simulate Mode = "SIMULATE"
	Validate Mode = "VALIDATE"
)

// Verification is one verification intent: a primitive and its arguments.
type Verification struct {
	Type string         `json:"type"`
	Args map[string]any `json:"args,omitempty"`
}

// Expect names the base an action was computed against; an adapter that finds
// another current version fails with ESTALE and changes nothing.
type Expect struct {
	Version string `json:"version"` // ver_<ULID>
}

// Position is a place in a document, both counted from 1; zero is unknown.
type Position struct{ Line, Column int }

// Action is one entry of a typed intent as written: syntactically sound, not
// yet matched with a capability.
type Action struct {
	ID     string         `json:"id"`
	Action string         `json:"action"`
	Target map[string]any `json:"target,omitempty"`
	Params map[string]any `json:"params,omitempty"`
	Expect *Expect        `json:"expect,omitempty"`
	After  []string       `json:"after,omitempty"`
	Verify []Verification `json:"verify,omitempty"`
}

// Document is a dropped document after ParseDocument. Words is set for a goal
// in words; everything below it for a typed intent.
type Document struct {
	Kind Kind
	Name string // the file's name, used in messages only
	Hash string // BLAKE3-256 of the bytes as dropped, hex
	Size int

	Words string

	Schema         string
	Reason         string
	Mode           Mode // Live when not written
	Atomic         bool // true when not written
	IdempotencyKey string
	// Subject is whom the document says it comes from, "" where it does not say. It makes
	// nobody that: a document of somebody else's is refused.
	Subject string
	// ParentActionID is the action that this goal follows from, "" for none.
	ParentActionID string
	// QueueClass is the queue that is asked for, "" for the submitter's own. Whose run
	// it is decides, and this only among what that allows (S10.1 §11).
	QueueClass string
	Actions    []Action // as written
	// Order is the topological order of Actions (indexes): an action stands
	// after everything it names in `after`; ties keep the written order.
	Order []int

	positions map[string]Position
}

// Position gives the place of the value at a JSON pointer ("/actions/0/target/path"),
// or of its nearest enclosing value.
func (d *Document) Position(pointer string) Position {
	for {
		if p, ok := d.positions[pointer]; ok {
			return p
		}
		i := len(pointer) - 1
		for i >= 0 && pointer[i] != '/' {
			i--
		}
		if i < 0 {
			return Position{}
		}
		pointer = pointer[:i]
	}
}

// Fail makes an *Error at the place of a JSON pointer.
func (d *Document) Fail(code Code, pointer, message, hint string) *Error {
	p := d.Position(pointer)
	return &Error{Code: code, Message: message, Line: p.Line, Column: p.Column, Hint: hint, Field: pointer}
}
