package mnttests

import (
	"os"
	"strings"
	"testing"
)

// The reference has this many numbered items in each document; a row lost or
// doubled by an edit would bend the measure.
var documents = map[string]int{
	"actions": 101, "evidence": 94, "policy": 92, "filesystem": 78, "cognition_and_recovery": 80, "system_layers": 57,
}

func TestChecklistIsWhole(t *testing.T) {
	b, err := os.ReadFile("checklist.tsv")
	if err != nil {
		t.Fatal(err)
	}
	seen, count := map[string]bool{}, map[string]int{}
	for n, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			t.Fatalf("line %d: want id, document, what, issue; have %d columns", n+1, len(f))
		}
		if n == 0 {
			continue
		}
		if seen[f[0]] {
			t.Errorf("line %d: %s stands there twice", n+1, f[0])
		}
		seen[f[0]] = true
		count[f[1]]++
		if f[2] == "" || f[3] == "" {
			t.Errorf("line %d: %s has an empty column", n+1, f[0])
		}
	}
	for d, want := range documents {
		if count[d] != want {
			t.Errorf("%s: %d items, want %d", d, count[d], want)
		}
	}
}
