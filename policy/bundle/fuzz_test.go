package bundle

import (
	"io/fs"
	"testing"
)

// Whatever a rule says, reading it gives a rule that can be judged by, or an error that
// names a code; it never panics. What is read twice is the same.
func FuzzParseRule(f *testing.F) {
	names, err := fs.Glob(Default(), "rules/*.yaml")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		b, err := fs.ReadFile(Default(), name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("rule_id: a\neffect: Deny\nsubjects: [\"class:human\"]\nactions: [x]\nconditions: ['target.own_group = ']\n"))
	f.Add([]byte("rule_id: a\nrule_id: b\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRule("rules/f.yaml", b, nil, nil)
		if err != nil {
			if CodeOf(err) == "" {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		again, err := parseRule("rules/f.yaml", b, nil, nil)
		if err != nil || again.ID != r.ID || again.Effect != r.Effect {
			t.Fatalf("%+v, %v, then %+v", r, err, again)
		}
		if r.ID == "" || r.Effect != "allow" && r.Effect != "deny" {
			t.Fatalf("a rule without a name or an effect: %+v", r)
		}
	})
}
