package plan

import (
	"errors"
	"strings"
	"testing"
)

const head = "schema: aios.intent.v1alpha1\nreason: why\n"

// The bad input of issue 2 that a document alone can show; each has its place.
var bad = []struct {
	name, file, doc string
	code            Code
	line, column    int
	says            string
}{
	{"unclosed quote", "", head + "mode: \"LIVE\nactions: []\n", CodeMalformed, 3, 7, "YAML"},
	{"unclosed bracket", "", head + "actions: [\n", CodeMalformed, 3, 10, "YAML"},
	{"unclosed bracket, far above", "", head + "mode: [LIVE\natomic: true\nactions: []\n", CodeMalformed, 3, 7, "never closed"},
	{"a stray field", "", head + "actions:\n  - id: a\n   action: a.b\n", CodeMalformed, 5, 4, "indent it like"},
	{"after nobody", "", head + "actions:\n  - id: a\n    action: a.b\n    after: [zz]\n", CodeMalformed, 6, 13, "ids of this intent: a"},
	{"tab indentation", "", head + "actions:\n\t- action: a.b\n", CodeMalformed, 4, 1, "tabs"},
	{"colon in plain text", "", "schema: aios.intent.v1alpha1\nreason: a: b\n", CodeMalformed, 2, 10, "quotes"},
	{"json: missing comma", "", `{"schema": "aios.intent.v1alpha1" "reason": "x"}`, CodeMalformed, 1, 35, "','"},
	{"json: trailing comma", "", "{\"schema\": \"aios.intent.v1alpha1\",\n \"reason\": \"x\",\n}", CodeMalformed, 3, 1, "key"},
	{"json: unclosed", "", "{\"schema\": \"aios.intent", CodeMalformed, 1, 12, "closed"},
	{"json: bare word", "", "{\"schema\": yes}", CodeMalformed, 1, 12, "JSON value"},
	{"json: bad escape", "", `{"schema": "a\q"}`, CodeMalformed, 1, 14, "escape"},
	{"json: control character", "", "{\"schema\": \"a\nb\"}", CodeMalformed, 1, 14, "control"},
	{"json: text after", "", "{}\nx", CodeMalformed, 2, 1, "after the end"},
	{"json: ends early", "", "{\"a\": [1,", CodeMalformed, 1, 10, "too early"},
	{"json: leading zero", "", `{"a": 01}`, CodeMalformed, 1, 7, "number"},
	{"json: duplicate key", "", "{\"schema\": \"aios.intent.v1alpha1\",\n  \"schema\": \"x\"}", CodeMalformed, 2, 3, "twice"},
	{"empty yaml", "a.yaml", "", CodeMalformed, 1, 1, "empty"},
	{"empty words", "hike", "  \n", CodeInvalidRequest, 1, 1, "empty"},
	{"a list", "a.yml", "- a\n", CodeMalformed, 1, 1, "a map"},
	{"two documents", "", head + "actions: [{action: a.b}]\n---\nx: 1\n", CodeMalformed, 4, 1, "second"},
	{"unknown field", "", head + "mod: LIVE\nactions: [{action: a.b}]\n", CodeMalformed, 3, 1, `did you mean "mode"`},
	{"unknown field of an action", "", head + "actions:\n  - action: a.b\n    traget: {}\n", CodeMalformed, 5, 5, `did you mean "target"`},
	{"no subject", "", head + "subject: root\nactions: [{action: a.b}]\n", CodeInvalidSubject, 3, 10, "is no subject"},
	{"unknown field of expect", "", head + "actions:\n- action: a.b\n  expect: {version: ver_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6, hash: x}\n", CodeMalformed, 5, 53, "unknown field"},
	{"duplicate key", "", head + "mode: LIVE\nmode: SIMULATE\n", CodeMalformed, 4, 1, "twice"},
	{"duplicate key deep", "", head + "actions:\n- action: a.b\n  target: {path: a, path: b}\n", CodeMalformed, 5, 21, "twice"},
	{"wrong type: reason", "", "schema: aios.intent.v1alpha1\nreason: 5\n", CodeMalformed, 2, 9, "reason must be text, found a number"},
	{"wrong type: atomic", "", head + "atomic: \"true\"\n", CodeMalformed, 3, 9, "true/false"},
	{"wrong type: actions", "", head + "actions: {a: b}\n", CodeMalformed, 3, 10, "a list"},
	{"wrong type: target", "", head + "actions:\n  - action: a.b\n    target: x\n", CodeMalformed, 5, 13, "a map"},
	{"wrong type: after", "", head + "actions:\n  - action: a.b\n    after: x\n", CodeMalformed, 5, 12, "a list"},
	{"wrong type: key", "", head + "5: x\n", CodeMalformed, 3, 1, "key must be text"},
	{"null value", "", head + "actions:\n  - action: a.b\n    target: {path: null}\n", CodeMalformed, 5, 20, "without a value"},
	{"bad enum", "", head + "mode: LIFE\n", CodeMalformed, 3, 7, `did you mean "LIVE"`},
	{"bad enum, case", "", head + "mode: live\n", CodeMalformed, 3, 7, `did you mean "LIVE"`},
	{"missing schema", "", "reason: x\nactions: [{action: a.b}]\n", CodeSchemaVersion, 1, 1, "missing"},
	{"unknown schema", "", "schema: aios.intent.v2\n", CodeSchemaVersion, 1, 9, "not known"},
	{"missing reason", "", "schema: aios.intent.v1alpha1\nactions: [{action: a.b}]\n", CodeMissingReason, 1, 1, "missing"},
	{"empty reason", "", "schema: aios.intent.v1alpha1\nreason: \"  \"\n", CodeMissingReason, 2, 9, "empty"},
	{"long reason", "", "schema: aios.intent.v1alpha1\nreason: " + strings.Repeat("r", 1025) + "\n", CodeMalformed, 2, 9, "1025"},
	{"missing actions", "", head, CodeMalformed, 1, 1, "missing"},
	{"no actions", "", head + "actions: []\n", CodeMalformed, 3, 10, "empty"},
	{"65 actions", "", head + "actions:\n" + strings.Repeat("- action: a.b\n", 65), CodeMalformed, 68, 3, "at most 64"},
	{"action without a name", "", head + "actions:\n  - target: {}\n", CodeInvalidActionName, 4, 5, "missing"},
	{"action that is no name", "", head + "actions:\n  - action: rm -rf\n", CodeInvalidActionName, 4, 13, "domain.verb"},
	{"anchor", "", head + "actions: &x [{action: a.b}]\n", CodeMalformed, 3, 10, "anchors"},
	{"alias", "", head + "actions:\n  - action: a.b\n    target: *x\n", CodeMalformed, 5, 13, "unknown anchor"},
	{"merge key", "", head + "actions:\n  - action: a.b\n    target: {<<: {a: b}}\n", CodeMalformed, 5, 14, "merge"},
	{"tag", "", head + "actions:\n  - action: !!binary aGk=\n", CodeMalformed, 4, 13, "tags"},
	{"nesting of 9", "", head + "actions:\n  - action: a.b\n    target: {a: [[[[[[[[1]]]]]]]]}\n", CodeMalformed, 5, 24, "nested"},
	{"bracket bomb", "a.yaml", strings.Repeat("[", 5000), CodeMalformed, 1, 1001, "nested"},
	{"json bracket bomb", "a.json", "{\"a\":" + strings.Repeat("[", 5000), CodeMalformed, 1, 70, "nested"},
	{"number too large", "", head + "actions:\n  - action: a.b\n    target: {pid: 9007199254740993}\n", CodeMalformed, 5, 19, "exact"},
	{"not a number", "", head + "actions:\n  - action: a.b\n    target: {pid: .nan}\n", CodeMalformed, 5, 19, "exact"},
	{"duplicate id", "", head + "actions:\n  - {id: a, action: a.b}\n  - {id: a, action: a.b}\n", CodeMalformed, 5, 10, "line 4"},
	{"bad id", "", head + "actions:\n  - {id: a/b, action: a.b}\n", CodeMalformed, 4, 10, "not a name"},
	{"unknown after", "", head + "actions:\n  - {id: write, action: a.b}\n  - {id: b, action: a.b, after: [wirte]}\n", CodeMalformed, 5, 34, `did you mean "write"`},
	{"cycle", "", head + "actions:\n- {id: x, action: a.b}\n- {id: a, action: a.b, after: [b]}\n- {id: b, action: a.b, after: [c]}\n- {id: c, action: a.b, after: [a]}\n", CodeMalformed, 5, 31, "a → b → c → a"},
	{"own successor", "", head + "actions:\n- {id: a, action: a.b, after: [a]}\n", CodeMalformed, 4, 31, "a → a"},
	{"bad version", "", head + "actions:\n- action: a.b\n  expect: {version: 7f}\n", CodeMalformed, 5, 21, "not a version"},
	{"empty expect", "", head + "actions:\n- action: a.b\n  expect: {}\n", CodeMalformed, 5, 11, "no version"},
	{"key too long", "", head + "idempotency_key: " + strings.Repeat("k", 129) + "\n", CodeInvalidIdempotencyKey, 3, 18, "129"},
	{"key empty", "", head + "idempotency_key: \"\"\n", CodeInvalidIdempotencyKey, 3, 18, "1 to 128"},
	{"verification without type", "", head + "actions:\n- action: a.b\n  verify: [{args: {}}]\n", CodeMalformed, 5, 12, "type"},
	{"NUL in words", "", "write \"a\x00b\" to c", CodeInvalidRequest, 1, 9, "NUL"},
	{"NUL in yaml", "a.yaml", "schema: a\nreason: \x00", CodeMalformed, 2, 9, "NUL"},
	{"escaped NUL", "", head + "actions:\n- action: a.b\n  target: {path: \"a\\0b\"}\n", CodeMalformed, 5, 18, "NUL"},
	{"not UTF-8", "", "write \"ü\xff\" to c", CodeInvalidRequest, 1, 9, "UTF-8"},
	{"UTF-16", "", "\xff\xfew\x00", CodeInvalidRequest, 1, 1, "UTF-8"},
	{"65 KiB of words", "", "write " + strings.Repeat("x", 65<<10), CodeInvalidRequest, 1, 65537, "at most 65536"},
	{"over 1 MiB", "a.yaml", head + strings.Repeat("#\n", 1<<19), CodeMalformed, 0, 0, "at most 1048576"},
}

func TestParseDocumentSaysWhere(t *testing.T) {
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			d, err := ParseDocument([]byte(c.doc), c.file)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("accepted as %+v (%v)", d, err)
			}
			if e.Code != c.code || c.line > 0 && (e.Line != c.line || e.Column != c.column) || !strings.Contains(e.Error(), c.says) {
				t.Errorf("got  %s %v\nwant %s line %d, column %d … %s", e.Code, e, c.code, c.line, c.column, c.says)
			}
		})
	}
}
