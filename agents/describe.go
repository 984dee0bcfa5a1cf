package agents

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/plan"
)

// describe writes the plan for people, with what every file would become. It is
// what the adapters say about the tree as it is now.
func (rt *Runtime) describe(ctx context.Context, c *change) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s, %d step(s)\n", c.r.Plan.Reason, c.r.Plan.Mode, len(c.r.Plan.Steps))
	for i, a := range c.r.Actions {
		fmt.Fprintf(&b, "\n%d. %s\n", i+1, a.Step.Action)
		for _, p := range paths(a.Step, c.r.By) {
			fmt.Fprintf(&b, "   /aios/%s\n", p)
		}
		for _, k := range slices.Sorted(mapKeys(a.Step.Target)) {
			if k != "path" {
				fmt.Fprintf(&b, "   %s: %v\n", k, a.Step.Target[k])
			}
		}
		for _, w := range a.Step.Warnings {
			fmt.Fprintf(&b, "   note: %s\n", w)
		}
		if a.State == PolicyDenied || a.State == Failed || c.r.Plan.Mode == plan.Validate {
			continue
		}
		ps, err := rt.kinds[a.Step.Action].adapter.Simulate(ctx, rt.adapterRequest(c.r, a))
		if err != nil {
			fmt.Fprintf(&b, "   cannot be shown beforehand: %v\n", err)
			continue
		}
		slices.SortFunc(ps, func(x, y adapter.Preview) int { return strings.Compare(x.Path, y.Path) })
		for _, p := range ps {
			b.WriteString(diff(p))
		}
	}
	c.r.Diff = b.String()
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// maxDiff bounds the lines of one file's diff.
const maxDiff = 400

// diff shows a preview as a unified diff of one hunk: the lines in common at both
// ends are left out but three.
func diff(p adapter.Preview) string {
	if p.Note != "" {
		return fmt.Sprintf("   %s: %s\n", p.Path, p.Note)
	}
	if bytes.Equal(p.Before, p.After) && p.Before != nil && p.After != nil {
		return fmt.Sprintf("   %s: unchanged\n", p.Path)
	}
	if !utf8.Valid(p.Before) || !utf8.Valid(p.After) || bytes.IndexByte(p.After, 0) >= 0 {
		return fmt.Sprintf("   %s: %d bytes become %d bytes\n", p.Path, len(p.Before), len(p.After))
	}
	from, to := p.Path, p.Path
	if p.Before == nil {
		from = "/dev/null"
	}
	if p.After == nil {
		to = "/dev/null"
	}
	old, now := lines(p.Before), lines(p.After)
	head := 0
	for head < len(old) && head < len(now) && old[head] == now[head] {
		head++
	}
	tail := 0
	for tail < len(old)-head && tail < len(now)-head && old[len(old)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	first, keep := max(0, head-3), min(3, tail)
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n@@ -%d,%d +%d,%d @@\n", from, to, first+1, len(old)-tail+keep-first, first+1, len(now)-tail+keep-first)
	left := maxDiff
	out := func(sign string, ls []string) {
		for _, l := range ls {
			if left--; left < 0 {
				return
			}
			b.WriteString(sign + l + "\n")
		}
	}
	out(" ", old[first:head])
	out("-", old[head:len(old)-tail])
	out("+", now[head:len(now)-tail])
	out(" ", old[len(old)-tail:len(old)-tail+keep])
	if left < 0 {
		b.WriteString("…\n")
	}
	return b.String()
}

func lines(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// summary says in one line what was done.
func summary(r *Run) string {
	var done []string
	for _, a := range r.Actions {
		what := a.Step.Action
		if ps := paths(a.Step, r.By); len(ps) > 0 {
			what += " /aios/" + ps[0]
		}
		done = append(done, what)
	}
	switch r.mode() {
	case plan.Validate:
		return "valid: " + strings.Join(done, ", ")
	case plan.Simulate:
		return "would do: " + strings.Join(done, ", ")
	}
	return "done: " + strings.Join(done, ", ")
}

// simulate ends a SIMULATE run: the transcript is what the plan shows.
func (rt *Runtime) simulate(ctx context.Context, c *change, group int) error {
	for _, a := range c.r.group(group) {
		if a.State != Queued {
			continue
		}
		if f := rt.preDispatch(c, a); f != nil {
			rt.failExecution(c, a, f)
			return nil
		}
		ps, err := rt.kinds[a.Step.Action].adapter.Simulate(ctx, rt.adapterRequest(c.r, a))
		if err != nil {
			rt.failExecution(c, a, executionFailure(err))
			return nil
		}
		var text strings.Builder
		for _, p := range ps {
			text.WriteString(diff(p))
		}
		a.Output = adapter.Output{Data: map[string]any{"simulation": text.String()}}
		must(a.move(Verifying, false))
		c.event(a, string(Verifying), "simulated")
	}
	return nil
}
