package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseDocumentKinds(t *testing.T) {
	typed := head + "actions:\n- {id: a, action: a.b}\n"
	for _, c := range []struct {
		name, doc string
		kind      Kind
	}{
		{"hike", `write "x" to y`, Words},
		{"hike", "schema changes are described in a.md", Words},
		{"hike", "reason: none", Words},
		{"x", typed, Typed},
		{"x", "# a comment\n---\n" + typed, Typed},
		{"x", "\ufeff" + typed, Typed},
		{"x", strings.ReplaceAll(typed, "\n", "\r\n"), Typed},
		{"x", `{"schema": "aios.intent.v1alpha1", "reason": "why", "actions": [{"id": "a", "action": "a.b"}]}`, Typed},
		{"x.yaml", `{schema: aios.intent.v1alpha1, reason: why, actions: [{action: a.b}]}`, Typed},
	} {
		d, err := ParseDocument([]byte(c.doc), c.name)
		if err != nil || d.Kind != c.kind {
			t.Errorf("%q: %v %v", c.doc, d, err)
		}
	}
}

func TestParseDocumentReadsEverything(t *testing.T) {
	d, err := ParseDocument([]byte(`schema: aios.intent.v1alpha1
reason: publish the report
mode: SIMULATE
atomic: false
idempotency_key: report-2026-47
actions:
  - id: reload
    action: service.reload
    target: {unit: nginx.service, n: 3, f: 1.5, ok: true, list: [a, 2]}
    after: [write]
    verify: [{type: service.active, args: {unit: nginx.service}}]
  - id: write
    action: aiosfs.object.write
    target: {path: a.md}
    params: {content: "x\n", day: 2026-11-23}
    expect: {version: ver_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6}
`), "")
	if err != nil {
		t.Fatal(err)
	}
	if d.Mode != Simulate || d.Atomic || d.IdempotencyKey != "report-2026-47" || !slices.Equal(d.Order, []int{1, 0}) {
		t.Errorf("%+v", d)
	}
	a, b := d.Actions[0], d.Actions[1]
	if a.Target["n"] != int64(3) || a.Target["f"] != 1.5 || a.Target["ok"] != true || fmt.Sprint(a.Target["list"]) != "[a 2]" || a.Verify[0].Args["unit"] != "nginx.service" {
		t.Errorf("%+v", a)
	}
	if b.Params["content"] != "x\n" || b.Params["day"] != "2026-11-23" || b.Expect.Version != "ver_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6" {
		t.Errorf("%+v", b)
	}
	if p := d.Position("/actions/1/params/content/deeper"); p != (Position{15, 23}) {
		t.Errorf("position %v", p)
	}
}

func TestHashesCoverParams(t *testing.T) {
	s := Step{ID: "a", Action: "aiosfs.object.write", Target: map[string]any{"path": "a"}, Params: map[string]any{"content": "x"}, DryRun: Live}
	h := func(s Step, reason string) string {
		x, err := s.Request("g:u", reason, "LOCAL").Hash()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	first := h(s, "why")
	if len(first) != 64 || first != h(s, "why") {
		t.Error("not stable")
	}
	changed := s
	changed.Params = map[string]any{"content": "y"}
	simulated := s
	simulated.DryRun = Simulate
	based := s
	based.Expect = &Expect{"ver_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6"}
	for i, other := range []string{h(changed, "why"), h(simulated, "why"), h(based, "why"), h(s, "because")} {
		if other == first {
			t.Errorf("change %d is not in the hash", i)
		}
	}
}

// The work that a document makes grows with its length, and never with its square: four
// times the document is at most twelve times the work, where a square would be sixteen.
func TestHostileDocumentsAreQuick(t *testing.T) {
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "k%d: 1\n", i)
		}
		return b.String()
	}
	for name, doc := range map[string]func(n int) string{
		"keys":     func(n int) string { return "schema: x\n" + keys(60*n) },
		"flow":     func(n int) string { return "schema: [" + strings.Repeat("a,", 500*n) + "]" },
		"brackets": func(n int) string { return strings.Repeat("[", MaxTyped/1000*n) },
		"quotes":   func(n int) string { return "schema: " + strings.Repeat("'", 500*n) },
		"colons":   func(n int) string { return "schema: " + strings.Repeat("a: ", 300*n) },
		"aliases":  func(n int) string { return "schema: &a [a,a]\n" + strings.Repeat("b: *a\n", 150*n) },
		"comments": func(n int) string { return "# " + strings.Repeat("x\n# ", 250*n) },
		"block":    func(n int) string { return "schema: |\n" + strings.Repeat("  x\n", 250*n) },
		"JSON":     func(n int) string { return `{"schema":[` + strings.Repeat("[1],", 240*n) + "1]}" },
	} {
		work := func(n int) time.Duration {
			text := []byte(doc(n))
			return onCPU(func() {
				if _, err := ParseDocument(text, "x.yaml"); err == nil {
					t.Errorf("%s accepted", name)
				}
			})
		}
		for try := 1; ; try++ { // a collection may fall into one of them
			quarter, whole := work(200), work(800)
			if whole <= 12*max(quarter, 10*time.Millisecond) {
				break
			}
			if try == 3 {
				t.Errorf("%s: %v for a quarter of it, %v for the whole", name, quarter, whole)
				break
			}
		}
	}
}
