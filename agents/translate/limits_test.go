package translate

import (
	"context"
	"strings"
	"testing"
)

// Nothing of 64 KiB may take longer than the wall limit, whatever it says.
func TestHostileLengths(t *testing.T) {
	tr := testTranslator(t)
	for name, words := range map[string]string{
		"and":     strings.Repeat("write a and delete b and ", 2600),
		"verbs":   strings.Repeat("delete delete and ", 20),
		"to":      "write " + strings.Repeat("to ", 395) + "a.md",
		"lines":   strings.Repeat("copy a to\n", 6000),
		"commas":  "tag a.md as " + strings.Repeat("x, ", 190) + "y",
		"quotes":  strings.Repeat(`"a" `, 16000),
		"content": `write "` + strings.Repeat("x", 64000) + `" to a.md`,
		"mixed":   strings.Repeat("copy a, b and delete c and write d to ", 30),
	} {
		var res Result
		var err error
		if d := onCPU(func() { res, err = tr.Translate(context.Background(), ask(words)) }); err != nil || d > Timeout {
			t.Errorf("%s: %v after %v", name, err, d)
		} else {
			t.Logf("%-8s %s %v", name, res.Status, d)
		}
	}
	res := must(t, tr, ask(`write "`+strings.Repeat("x", 64000)+`" to a.md`))
	if res.Status != Ready || len(res.Drafts[0].Step.Params["content"].(string)) != 64000 {
		t.Error("64,000 bytes of content are lost")
	}
}
