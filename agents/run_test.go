package agents

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// A step has the same types before a restart as after it, and its manifest keeps its own.
func TestAStepIsAsItIsReadBack(t *testing.T) {
	args := map[string]any{"n": int64(7), "list": []any{1, "x", []string{"y"}}, "deep": map[string]any{"k": uint64(9), "f": 0.5, "b": true, "nil": nil}}
	s := plan.Step{Params: args, Verification: []plan.Verification{{Type: "file.hash", Args: args}}}
	plainStep(&s)
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var read plan.Step
	if err := json.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(read.Params, s.Params); d != "" {
		t.Errorf("params (-read +made): %s", d)
	}
	if d := cmp.Diff(read.Verification[0].Args, s.Verification[0].Args); d != "" {
		t.Errorf("arguments of a verification (-read +made): %s", d)
	}
	if args["n"] != int64(7) {
		t.Error("what the manifest has was changed")
	}
}
