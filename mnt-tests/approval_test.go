package mnttests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// asking is a goal that waits for an approval, and the hash of what it asks.
func (p *people) asking(uid int, name, doc string) (hash string) {
	p.t.Helper()
	p.ok(uid, "cat > $M/intents/"+name+" <<'EOF_DOC'\n"+doc+"\nEOF_DOC\nsettled "+name)
	if s := p.ok(uid, "cat $M/intents/"+name+".d/state"); s != "APPROVAL_PENDING" {
		p.t.Fatalf("%s is %s: %s", name, s, p.ok(uid, "cat $M/intents/"+name+".d/decision.json $M/intents/"+name+".d/error.json 2>/dev/null; true"))
	}
	found := regexp.MustCompile(`hash: ([0-9a-f]{64})`).FindStringSubmatch(p.ok(uid, "cat $M/intents/"+name+".d/approval"))
	if found == nil {
		p.t.Fatal("it asks for nothing")
	}
	return found[1]
}

// give writes a word to each that waits in somebody's inbox or his group's.
func (p *people) give(uid int, word string) error {
	p.t.Helper()
	_, err := p.as(uid, "runs=$(cd $M/self/ && ls -A inbox ../../inbox | grep ^run_ | sort -u); [ -n \"$runs\" ] || exit 1; for r in $runs; do echo '"+word+"' > $M/intents/$r.d/approval || exit 1; done")
	return err
}

// rules puts more rules in force.
func (p *people) rules(files map[string]string) {
	p.t.Helper()
	m := policyMount{p.t, p.bin, p.state, p.dir}
	for name, text := range files {
		m.rule("rules/"+name+".yaml", text)
	}
	m.inForce(m.sign())
}

// Where a rule wants two people, the first alone starts nothing, the same one counts once,
// the proposer and an AI not at all; the second one lets it run, and both stand in the log.
func TestTwoPeopleApprove(t *testing.T) {
	t.Log("proves: A-3")
	p := newPeople(t)
	p.agent(t)
	p.rules(map[string]string{"two": "rule_id: two\neffect: allow\npriority: 900\nsubjects: [\"class:human\"]\nactions: [aiosfs.object.delete]\n" +
		"approval: {required: true, approval_scope: exact_request_hash, ttl_seconds: 300, approver_classes: [human], strength: DUAL}\n"})
	file := filepath.Join(p.dir, "groups/local/shared/keep.md")
	p.ok(aliceUID, "echo keep > $M/groups/local/shared/keep.md")
	hash := p.asking(aliceUID, "rm", "delete /aios/groups/local/shared/keep.md")
	for _, uid := range []int{aliceUID, agentUID} {
		if out, err := p.as(uid, "echo 'grant "+hash+"' > $M/intents/rm.d/approval"); err == nil {
			t.Errorf("uid %d approved: %s", uid, out)
		}
	}
	if err := p.give(bobUID, "grant "+hash); err != nil {
		t.Fatalf("the first: %v", err)
	}
	if s := p.ok(aliceUID, "cat $M/intents/rm.d/state; grep 'a second person' $M/intents/rm.d/approval"); !strings.HasPrefix(s, "APPROVAL_PENDING\nsigned by: local:uid-") {
		t.Errorf("after the first: %s", s)
	}
	if err := p.give(bobUID, "grant "+hash); err == nil {
		t.Error("one person is two")
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatal("it was done after one approval")
	}
	if err := p.give(0, "grant "+hash); err != nil {
		t.Fatalf("the second: %v", err)
	}
	if s := p.ok(aliceUID, "cat $M/intents/rm.d/wait"); s != "SUCCEEDED" {
		t.Error(s, p.ok(aliceUID, "cat $M/intents/rm.d/error.json"))
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("it was not done")
	}
	var granted []string
	for _, typ := range p.records(aliceUID, "rm") {
		if strings.HasPrefix(typ, "APPROVAL_") {
			granted = append(granted, typ)
		}
	}
	if want := []string{"APPROVAL_REQUESTED", "APPROVAL_DELIVERED", "APPROVAL_GRANTED", "APPROVAL_GRANTED", "APPROVAL_CONSUMED"}; !slices.Equal(granted, want) {
		t.Errorf("%v, want %v", granted, want)
	}
}

// What nobody approves in time fails by that name, half approved or not at all; nothing of
// it happens, and later words come too late.
func TestActions33_ApprovalExpires(t *testing.T) {
	t.Log("proves: actions-33")
	p := newPeople(t)
	p.rules(map[string]string{"soon": "rule_id: soon\neffect: allow\npriority: 900\nsubjects: [\"class:human\"]\nactions: [aiosfs.object.delete]\n" +
		"approval: {required: true, approval_scope: exact_request_hash, ttl_seconds: 3, approver_classes: [human], strength: DUAL}\n"})
	for _, name := range []string{"half", "none"} {
		file := filepath.Join(p.dir, "groups/local/shared", name)
		p.ok(aliceUID, "echo keep > $M/groups/local/shared/"+name)
		hash := p.asking(aliceUID, name, "delete /aios/groups/local/shared/"+name)
		if name == "half" {
			_ = p.give(bobUID, "grant "+hash) // a slow machine may be too late already, which is the same to it
		}
		if s := p.ok(aliceUID, "cat $M/intents/"+name+".d/wait"); s != "FAILED" {
			t.Errorf("%s: %s", name, s)
		}
		if e := p.ok(aliceUID, "cat $M/intents/"+name+".d/error.json"); !strings.Contains(e, `"ApprovalExpired"`) || !strings.Contains(e, `"retryable": true`) {
			t.Errorf("%s: %s", name, e)
		}
		if err := p.give(0, "grant "+hash); err == nil {
			t.Errorf("%s: approved after its time", name)
		}
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: it was done", name)
		}
		if list := p.records(aliceUID, name); !slices.Contains(list, "APPROVAL_EXPIRED") || slices.Contains(list, "EXECUTION_STARTED") {
			t.Errorf("%s: %v", name, list)
		}
	}
}

// A goal waits for an approval while its submitter's uid is given to somebody else: what
// the one asked is not done for the other, approved or not.
func TestP19_WhoAskedIsNoMore(t *testing.T) {
	t.Log("proves: P-19")
	p := newPeople(t)
	p.ok(aliceUID, "echo keep > $M/groups/local/shared/keep.md")
	hash := p.asking(aliceUID, "rm", "delete /aios/groups/local/shared/keep.md")
	if code, _, errs := run(t, p.bin, "agent", "add", "taker", "--uid", fmt.Sprint(aliceUID), "--mount", p.dir); code != 0 {
		t.Fatalf("agent add: %d, %s", code, errs)
	}
	_ = p.give(bobUID, "grant "+hash) // refused at once, or void when it is to be used
	var failure string
	until(t, "the goal has failed", func() bool {
		code, out, _ := run(t, p.bin, "find", "--mount", p.dir, "--json", `from actions where action = "aiosfs.object.delete"`)
		id := regexp.MustCompile(`run_[0-9A-Z]{26}`).FindString(out)
		e, err := os.ReadFile(filepath.Join(p.dir, "intents", id+".d", "error.json"))
		failure = string(e)
		return code == 0 && id != "" && err == nil
	})
	if !strings.Contains(failure, "SubjectUnauthenticated") {
		t.Error(failure)
	}
	if s := p.ok(bobUID, "cat $M/groups/local/shared/keep.md"); s != "keep" {
		t.Errorf("it was done: %q", s)
	}
}

// Where a mount lets nobody in who could approve, the question is not left standing until
// its time is over: it could not be delivered, and that is said at once. Where somebody
// can come, or the one person approves for himself, it is asked.
func TestA8_NobodyToAsk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("asks as the owner of a mount for others: needs root")
	}
	t.Parallel()
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--allow-other=false"}, "FAILED"},
		{[]string{"--allow-other=true"}, "APPROVAL_PENDING"},
		{[]string{"--allow-other=false", "--single-operator=true"}, "APPROVAL_PENDING"},
	} {
		p := &people{place: newPlace(t), t: t}
		p.daemon = mounted(t, p.bin, p.state, p.dir, c.flags...)
		t.Cleanup(func() {
			_ = p.daemon.Process.Signal(syscall.SIGTERM)
			_ = p.daemon.Wait()
		})
		p.ok(0, "echo keep > $M/groups/local/shared/keep.md; echo 'delete /aios/groups/local/shared/keep.md' > $M/intents/rm; settled rm")
		if s := p.ok(0, "cat $M/intents/rm.d/state"); s != c.want {
			t.Fatalf("%v: %s, want %s", c.flags, s, c.want)
		}
		if s := p.ok(0, "cat $M/groups/local/shared/keep.md"); s != "keep" {
			t.Errorf("%v: %q", c.flags, s)
		}
		list := p.records(0, "rm")
		if c.want != "FAILED" {
			if !slices.Contains(list, "APPROVAL_DELIVERED") {
				t.Errorf("%v: %v", c.flags, list)
			}
			continue
		}
		e := p.ok(0, "cat $M/intents/rm.d/error.json")
		for _, w := range []string{`"ApprovalDenied"`, `"DELIVERY_FAILED"`, `"FAILED_DELIVERY"`, "allow_other"} {
			if !strings.Contains(e, w) {
				t.Errorf("the error does not say %s: %s", w, e)
			}
		}
		if !slices.Contains(list, "APPROVAL_DELIVERY_FAILED") || slices.Contains(list, "APPROVAL_DELIVERED") {
			t.Errorf("records %v", list)
		}
		if out, err := p.as(0, "ls $M/self/inbox | grep . "); err == nil {
			t.Errorf("it waits in an inbox: %s", out)
		}
		if out, err := p.as(0, "echo 'grant x' > $M/intents/rm.d/approval"); err == nil {
			t.Errorf("an approval of it is taken: %s", out)
		}
	}
	t.Log("proves: A-8")
}

// Who may not approve is told what it takes, and an interrupted command that its goal goes
// on.
func TestTheCommandSaysWhoMayApprove(t *testing.T) {
	p := newPeople(t, "--single-operator=false")
	aios := p.bin + " --mount $M "
	p.ok(aliceUID, `echo x > $M/groups/local/shared/theirs; echo 'delete /aios/groups/local/shared/theirs' > $M/intents/del; settled del; [ "$(cat $M/intents/del.d/state)" = APPROVAL_PENDING ]`)
	out, err := p.as(aliceUID, aios+`intent approve del > /dev/null; echo "code $?"`)
	if err != nil || !strings.Contains(out, "another person") || !strings.HasSuffix(out, "code 3") {
		t.Errorf("approve: %v %s", err, out)
	}
	out, err = p.as(aliceUID, aios+`goal --wait 'delete /aios/groups/local/shared/theirs' > $M/self/home/out & pid=$!
		for i in $(seq 3000); do grep -q approval $M/self/home/out && break; sleep 0.05; done; kill $pid; wait $pid; echo "code $?"`)
	if err != nil || !strings.Contains(out, "interrupted; a goal that was dropped goes on") || !strings.HasSuffix(out, "code 1") {
		t.Errorf("goal: %v %s", err, out)
	}
}
