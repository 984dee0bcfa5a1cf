package mnttests

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// exposition reads the metrics: the value of each series, and what labels say.
func (p *people) exposition() (series map[string]float64, labels map[string][]string) {
	p.t.Helper()
	code, out, errs := run(p.t, p.bin, "status", "--metrics", "--mount", p.dir)
	if code != 0 {
		p.t.Fatalf("status --metrics: %d %s", code, errs)
	}
	series, labels = map[string]float64{}, map[string][]string{}
	line := regexp.MustCompile(`^([a-z_]+)(?:\{([^}]*)\})? +(\S+)$`)
	pair := regexp.MustCompile(`^([a-z_]+)="([^"]*)"$`)
	typed := ""
	for text := range strings.Lines(out) {
		text = strings.TrimSuffix(text, "\n")
		if rest, ok := strings.CutPrefix(text, "# TYPE "); ok {
			typed, _, _ = strings.Cut(rest, " ")
			continue
		}
		if strings.HasPrefix(text, "# HELP ") || strings.Trim(text, "# ") == "" {
			continue
		}
		m := line.FindStringSubmatch(text)
		if m == nil || m[1] != typed {
			p.t.Fatalf("no line of the format: %q", text)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if _, twice := series[m[1]+"{"+m[2]+"}"]; err != nil || twice {
			p.t.Fatalf("%q: %v, twice %v", text, err, twice)
		}
		series[m[1]+"{"+m[2]+"}"] = v
		if m[2] == "" {
			continue
		}
		for _, l := range strings.Split(m[2], ",") {
			x := pair.FindStringSubmatch(l)
			if x == nil {
				p.t.Fatalf("no label: %q of %q", l, text)
			}
			if !slices.Contains(labels[x[1]], x[2]) {
				labels[x[1]] = append(labels[x[1]], x[2])
			}
		}
	}
	return series, labels
}

// The metrics count what happens, and no label of them says who did it, to what, or where:
// each has a closed vocabulary, and with more people, places and goals there are not more
// of them.
func TestMetricsNameNobody(t *testing.T) {
	p := newPeople(t)
	p.agent(t)
	if code, _, errs := run(t, p.bin, "goal", "--mount", p.dir, "--wait", "create group family"); code != 0 {
		t.Fatalf("create group: %d, %s", code, errs)
	}
	live := func(uid int, word string) {
		p.ok(uid, fmt.Sprintf(`ls $M/self/ > /dev/null; echo %[1]s > $M/self/home/%[1]s.txt; cat $M/self/home/%[1]s.txt
			echo 'write "%[1]s" to %[1]s.md' > $M/intents/%[1]s; cat $M/intents/%[1]s.d/wait
			echo 'flibber the %[1]s' > $M/intents/no-%[1]s; cat $M/intents/no-%[1]s.d/wait
			echo 'delete /aios/groups/local/shared/%[1]s' > $M/intents/rm-%[1]s; settled rm-%[1]s
			echo 'write "x" to /aios/groups/family/shared/%[1]s' > $M/intents/in-%[1]s; cat $M/intents/in-%[1]s.d/wait
			echo 'write "x" to /aios/system/policy/%[1]s' > $M/intents/sys-%[1]s; cat $M/intents/sys-%[1]s.d/wait
			cat $M/groups/family/shared/%[1]s 2>/dev/null; mkdir $M/%[1]s 2>/dev/null; true`, word))
	}
	live(aliceUID, "walnut")
	live(bobUID, "hazelnut")
	before, _ := p.exposition()
	words := []string{"walnut", "hazelnut", "family", "assistant", "local", "home", "shared"}
	for i := range 8 {
		word := fmt.Sprintf("acorn%c", 'a'+i)
		live(60310+i, word)
		words = append(words, word, fmt.Sprint(60310+i))
	}
	after, labels := p.exposition()
	vocabulary := map[string]string{
		"operation": `^[A-Z][A-Z0-9_]*$`, "refused": `^[a-z_]+$`, "decision": `^(ALLOW|REQUIRE_APPROVAL|DENY)$`,
		"state":       `^(RECEIVED|NEEDS_CLARIFICATION|APPROVAL_PENDING|QUEUED|EXECUTING|VERIFYING|SUCCEEDED|FAILED|ROLLED_BACK|ROLLBACK_FAILED|POLICY_DENIED|REFUSED)$`,
		"reason_code": `^(hd\.[a-z_]+|[A-Z][A-Za-z]+)$`, "policy_id": `^(hd\.[a-z_]+|[A-Z][A-Za-z]+)$`,
	}
	bounds := map[string]int{"operation": 53, "refused": 12, "decision": 3, "state": 12, "reason_code": 30, "policy_id": 18} // policy.md §4, §7
	for name, values := range labels {
		if vocabulary[name] == "" || len(values) > bounds[name] {
			t.Errorf("the label %s with %d values", name, len(values))
			continue
		}
		for _, v := range values {
			if !regexp.MustCompile(vocabulary[name]).MatchString(v) {
				t.Errorf("%s says %q", name, v)
			}
		}
	}
	id := regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{32}|act_|run_|obj_|ver_|evr_|uid|/|:`)
	for s := range after {
		if id.MatchString(strings.TrimPrefix(s, "aios_")) || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) }) {
			t.Errorf("%s names something", s)
		}
	}
	// Of the kernel's requests others may come by; all else was there before.
	for s := range maps.Keys(after) {
		if _, ok := before[s]; !ok && !strings.HasPrefix(s, "aiosfs_operations_total") && !strings.HasPrefix(s, "aiosfs_refused_total") {
			t.Errorf("with more people there is %s", s)
		}
	}
	for s, more := range map[string]float64{`aios_intents{state="SUCCEEDED"}`: 8, `aios_intents{state="REFUSED"}`: 8, `aios_intents{state="POLICY_DENIED"}`: 16, `aios_intents{state="APPROVAL_PENDING"}`: 8,
		`policy_evaluations_total{decision="ALLOW",reason_code="ScopedAllow"}`: 8, `policy_evaluations_total{decision="REQUIRE_APPROVAL",reason_code="ScopedApprovalRequired"}`: 8,
		`policy_hard_deny_total{policy_id="CrossGroupAccessForbidden"}`: 8, `policy_hard_deny_total{policy_id="RecoveryRequiredForSystemMutation"}`: 8, `evidence_records_total{}`: 80, `aiosfs_operations_total{operation="CREATE"}`: 8} {
		if n := after[s] - before[s]; n < more || strings.HasPrefix(s, "aios_intents") && n != more {
			t.Errorf("%s went from %v to %v, by %v are expected", s, before[s], after[s], more)
		}
	}
	until(t, "refusals are counted", func() bool {
		x, _ := p.exposition()
		return x[`aiosfs_refused_total{refused="mkdir"}`]+x[`aiosfs_refused_total{refused="open"}`]+x[`aiosfs_refused_total{refused="access"}`] > 0
	})
	if b, err := os.ReadFile(filepath.Join(p.dir, "system/runtime/metrics")); err != nil || !strings.Contains(string(b), "# TYPE aios_intents gauge") {
		t.Errorf("as a file: %v, %.100s", err, b)
	}
	t.Log("proves: P-28 F-81")
}
