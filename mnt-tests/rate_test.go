package mnttests

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// several is a goal of n actions, each of which stands for itself; an agent may do no more
// by itself than look.
func several(n, uid int) string {
	var b strings.Builder
	b.WriteString("schema: aios.intent.v1alpha1\nreason: several\natomic: false\nactions:\n")
	for i := range n {
		if uid == agentUID {
			fmt.Fprintf(&b, "  - {id: a%d, action: process.list, target: {}}\n", i)
		} else {
			fmt.Fprintf(&b, "  - {id: a%[1]d, action: aiosfs.object.mkdir, target: {path: d%[1]d}}\n", i)
		}
	}
	return b.String()
}

// The 31st action in a moment is one too many for a person under the reference's rate, the
// 16th for an agent under any; without the setting a person's programs are not bounded.
func TestActions38_Rates(t *testing.T) {
	p := newPeople(t, "--human-rate=60/30")
	p.agent(t)
	for _, c := range []struct {
		who  string
		uid  int
		n    int
		says string
	}{
		{"a person", aliceUID, 30, "60 actions a minute, 30 of them at once"},
		{"an agent", agentUID, 15, "30 actions a minute, 15 of them at once"},
	} {
		// All of them come in the same moment, however slow the machine is: they are of one goal.
		if s := p.drop(c.uid, "many", several(c.n+1, c.uid)); s != "FAILED" {
			t.Errorf("%s: %s", c.who, s)
		}
		states := p.ok(c.uid, "cat $M/intents/many.d/actions/*/state | sort | uniq -c | tr -s ' '")
		if want := fmt.Sprintf("1 FAILED\n %d SUCCEEDED", c.n); states != want {
			t.Errorf("%s: %q, want %q", c.who, states, want)
		}
		if e := p.ok(c.uid, "cat $M/intents/many.d/error.json"); !strings.Contains(e, `"RESOURCE_BUDGET_EXCEEDED"`) || !strings.Contains(e, c.says) || !strings.Contains(e, `"retryable": true`) {
			t.Errorf("%s: %s", c.who, e)
		}
	}
	// Each has a budget of his own.
	if s := p.drop(bobUID, "his", several(30, bobUID)); s != "SUCCEEDED" {
		t.Errorf("somebody else: %s: %s", s, p.ok(bobUID, "cat $M/intents/his.d/error.json"))
	}
	q := &people{place: newPlace(t), t: t}
	if err := os.Chmod(q.base, 0o755); err != nil {
		t.Fatal(err)
	}
	q.daemon = mounted(t, q.bin, q.state, q.dir)
	t.Cleanup(func() {
		_ = q.daemon.Process.Signal(syscall.SIGTERM)
		_ = q.daemon.Wait()
	})
	if s := q.drop(aliceUID, "many", several(40, aliceUID)); s != "SUCCEEDED" {
		t.Errorf("without the setting: %s: %s", s, q.ok(aliceUID, "cat $M/intents/many.d/error.json"))
	}
	for _, flag := range []string{"--ai-rate=60/30", "--ai-rate=off", "--human-rate=lots"} {
		if code, _, errs := run(t, p.bin, daemonArgs(t.TempDir(), t.TempDir(), flag)...); code == 0 || !strings.Contains(errs, "rate") {
			t.Errorf("%s: %d, %s", flag, code, errs)
		}
	}
	t.Log("proves: actions-38")
}
