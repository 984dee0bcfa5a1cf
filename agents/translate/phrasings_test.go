package translate

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

func testKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32))) }

func testTranslator(t testing.TB) *Translator {
	t.Helper()
	key := testKey()
	b, err := DefaultBundle(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(b, Trust{Root: key.Public().(ed25519.PublicKey)})
	if err != nil {
		t.Fatal(err)
	}
	return New(c)
}

func ask(words string) Request {
	return Request{Utterance: words, Subject: "family:alice", Home: "/aios/groups/family/users/alice/home",
		GroupIDs: []string{"family"}, IntentID: "intent_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6", PlanID: "plan_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6",
		Now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
}

// short writes a result on one line: the mode unless LIVE, then each action
// with its target as canonical JSON; "ask <ids>"; or "refuse <code>".
func short(r Result) string {
	switch r.Status {
	case Rejected:
		return "refuse " + string(r.Refusal.Code)
	case NeedsClarification, Partial:
		var ids []string
		for _, q := range r.Questions {
			ids = append(ids, q.ID)
		}
		return "ask " + strings.Join(ids, " ")
	}
	var out []string
	if r.DryRun != plan.Live {
		out = append(out, string(r.DryRun))
	}
	for _, d := range r.Drafts {
		b, _ := json.Marshal(d.Step.RequestTarget())
		out = append(out, d.Step.Action+" "+string(b))
	}
	return strings.Join(out, " ; ")
}

// testdata/phrasings.tsv: phrase (\n and \t escaped), a tab, what comes of it.
func TestPhrasings(t *testing.T) {
	raw, err := os.ReadFile("testdata/phrasings.tsv")
	if err != nil {
		t.Fatal(err)
	}
	tr := testTranslator(t)
	total, stopped := 0, 0
	for n, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		phrase, want, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("line %d has no tab", n+1)
		}
		phrase = strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(phrase)
		total++
		if strings.HasPrefix(want, "ask ") || strings.HasPrefix(want, "refuse ") {
			stopped++
		}
		r, err := tr.Translate(context.Background(), ask(phrase))
		if err != nil {
			t.Errorf("line %d %q: %v", n+1, phrase, err)
			continue
		}
		if got := short(r); got != want {
			t.Errorf("line %d %q\n got  %s\n want %s", n+1, phrase, got, want)
		}
	}
	if total < 320 || stopped*10 < total {
		t.Errorf("%d phrasings, %d refused or asked back; at least 320 and a tenth are wanted", total, stopped)
	}
}
