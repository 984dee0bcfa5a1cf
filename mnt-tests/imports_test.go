package mnttests

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/ai-os-dot-net/aios/"

// allowed says which top packages a top package may import (INV-007: correctness
// depends downward only). `cmd` wires everything and so may import all of them.
var allowed = map[string][]string{
	"evidence":  {},
	"policy":    {},
	"objects":   {"evidence"},
	"views":     {"objects", "policy", "evidence"},
	"agents":    {"views", "objects", "policy", "evidence"},
	"fs":        {"views", "objects", "policy", "evidence"},
	"cmd":       {"fs", "agents", "views", "objects", "policy", "evidence"},
	"mnt-tests": {},
}

// direct lists what the design lets a package name in its own import lines; what
// it reaches through them is bounded by allowed.
var direct = map[string][]string{
	"views": {"objects", "policy"},
	"fs":    {"views", "objects", "policy"},
}

func top(pkg string) string {
	name, ok := strings.CutPrefix(pkg, module)
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(name, "/")
	return name
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func goList(t *testing.T, format string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-f", format}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	return strings.Fields(strings.TrimSpace(string(out)))
}

func TestImportsPointDownward(t *testing.T) {
	for _, line := range goList(t, `{{$p := .ImportPath}}{{range .Deps}}{{$p}}>{{.}} {{end}}`, "./...") {
		from, to, _ := strings.Cut(line, ">")
		a, b := top(from), top(to)
		if b == "" || a == b {
			continue
		}
		if !contains(allowed[a], b) {
			t.Errorf("%s must not depend on %s", from, to)
		}
	}
	for _, line := range goList(t, `{{$p := .ImportPath}}{{range .Imports}}{{$p}}>{{.}} {{end}}`, "./...") {
		from, to, _ := strings.Cut(line, ">")
		a, b := top(from), top(to)
		if b == "" || a == b || direct[a] == nil {
			continue
		}
		if !contains(direct[a], b) {
			t.Errorf("%s must not import %s", from, to)
		}
	}
}

// A rule that lets everything through would pass on any tree, so the rule itself
// is tried on imports that it must refuse.
func TestImportRuleRefuses(t *testing.T) {
	for _, bad := range [][2]string{{"evidence", "objects"}, {"policy", "evidence"}, {"objects", "policy"}, {"fs", "agents"}, {"agents", "fs"}, {"views", "fs"}} {
		if contains(allowed[bad[0]], bad[1]) {
			t.Errorf("the rule lets %s import %s", bad[0], bad[1])
		}
	}
}
