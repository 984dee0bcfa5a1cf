package plan

import "fmt"

// Code is the closed error vocabulary of S0.1 §7 as far as a document can
// cause it, and the refusal codes of S1.1 a typed document can meet.
type Code string

// The codes a document or a plan can be refused with.
const (
	// CodeMalformed: not readable as what it claims to be, or beyond a limit.
	CodeMalformed Code = "EnvelopeMalformed"
	// CodeMissingReason: a typed intent without a reason, or an empty one.
	CodeMissingReason Code = "MissingReason"
	// CodeInvalidActionName: not of the form domain.verb or domain.resource.verb.
	CodeInvalidActionName Code = "InvalidActionName"
	// CodeUnknownAction: well formed, but no capability of the catalogue.
	CodeUnknownAction Code = "UnknownActionRequested"
	// CodeInvalidSubject: a subject that is not of the form type:name.
	CodeInvalidSubject Code = "InvalidSubject"
	// CodeInvalidIdempotencyKey: not 1 to 128 printable characters.
	CodeInvalidIdempotencyKey Code = "InvalidIdempotencyKey"
	// CodeSchemaVersion: `schema` is missing or is not one this version reads.
	CodeSchemaVersion Code = "SchemaVersionUnsupported"
	// CodeTargetSchema: target or params do not fit the capability's schema.
	CodeTargetSchema Code = "TargetSchemaInvalid"
	// CodeVerification: no verification of that name, or with other arguments.
	CodeVerification Code = "VerificationGrammarUnsupported"
	// CodeInvalidPath: a path string outside the tree or with `..` in it.
	CodeInvalidPath Code = "InvalidTargetPath"
	// CodeInvalidRequest: words that are no text (size, encoding, NUL).
	CodeInvalidRequest Code = "InvalidTranslationRequest"
)

// Error says why a document was refused and where. Line and Column count from
// 1, the column in characters; both are 0 where the whole document is meant.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	// Hint says what to do about it, for people; may be empty.
	Hint string `json:"hint,omitempty"`
	// Field is the JSON pointer of the offending value; may be empty.
	Field string `json:"field,omitempty"`
}

// Error gives `line 3, column 7: unknown field "mod" (did you mean "mode"?)`.
func (e *Error) Error() string {
	s := e.Message
	if e.Line > 0 {
		s = fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, s)
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}
