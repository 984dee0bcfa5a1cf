package mnttests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// One key is one execution, also for processes that come in the same moment; another key
// is another, though the document says the same.
func TestActions8And10_Keys(t *testing.T) {
	t.Log("proves: actions-8 actions-10")
	p := newPeople(t)
	p.ok(aliceUID, "ls $M/self/ >/dev/null")
	doc := func(key string) string {
		return intent("r", "id: a\naction: aiosfs.object.append\ntarget: {path: log}\nparams: {content: x}") + "\nidempotency_key: " + key
	}
	for i, key := range []string{"first", "second"} {
		if s := p.drop(aliceUID, fmt.Sprint("k", i), doc(key)); s != "SUCCEEDED" {
			t.Fatal(s)
		}
	}
	if s := p.ok(aliceUID, "cat $M/self/home/log"); s != "xx" {
		t.Errorf("two keys: %q", s)
	}
	for round := range 5 {
		out := p.ok(aliceUID, fmt.Sprintf(`for i in 1 2 3 4 5 6 7 8; do (cat > $M/intents/r%d-$i <<'EOF_DOC'
%s
EOF_DOC
read -r s < $M/intents/r%d-$i.d/wait; [ "$s" = SUCCEEDED ] || echo $i $s) & done; wait`, round, strings.ReplaceAll(doc(fmt.Sprint("same", round)), "content: x", fmt.Sprint("content: r", round)), round))
		if s := p.ok(aliceUID, "cat $M/self/home/log"); out != "" || strings.Count(s, fmt.Sprint("r", round)) != 1 {
			t.Errorf("round %d: %q: %s", round, s, out)
		}
	}
}

// A goal that waits can be cancelled, one that is over cannot.
func TestActions18_Cancel(t *testing.T) {
	t.Log("proves: actions-18")
	p := newPeople(t)
	p.ok(aliceUID, "echo 'clone https://example.invalid/a.git into src/a' > $M/intents/c; settled c")
	if s := p.ok(aliceUID, "cat $M/intents/c.d/state"); s != "APPROVAL_PENDING" {
		t.Fatal(s)
	}
	if out, err := p.as(bobUID, "echo 1 > $M/intents/c.d/cancel"); err == nil {
		t.Errorf("bob cancelled alice's goal: %s", out)
	}
	p.ok(aliceUID, "echo 1 > $M/intents/c.d/cancel")
	if s := p.ok(aliceUID, "cat $M/intents/c.d/wait; cat $M/intents/c.d/error.json"); !strings.HasPrefix(s, "FAILED") || !strings.Contains(s, "Cancelled") {
		t.Errorf("%s", s)
	}
	if out, err := p.as(aliceUID, "echo 1 > $M/intents/c.d/cancel"); err == nil {
		t.Errorf("what is over was cancelled: %s", out)
	}
}

// Who drops a goal may die in the next moment: the goal goes on.
func TestActions20_SubmitterKilled(t *testing.T) {
	t.Log("proves: actions-20")
	p := newPeople(t)
	for i := range 5 {
		_, _ = p.as(aliceUID, fmt.Sprintf(`echo 'write "%d" to k%d.md' > $M/intents/k%d; kill -9 $$`, i, i, i))
		if s := p.ok(aliceUID, fmt.Sprintf("cat $M/intents/k%d.d/wait $M/self/home/k%d.md", i, i)); s != fmt.Sprintf("SUCCEEDED\n%d", i) {
			t.Errorf("%q", s)
		}
	}
}

// VALIDATE checks and does nothing at all: no policy is asked, nothing is recorded.
func TestActions21_Validate(t *testing.T) {
	t.Log("proves: actions-21")
	p := newPeople(t)
	p.ok(aliceUID, "ls $M/self/ >/dev/null")
	doc := intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: v}\nparams: {content: x}") + "\nmode: VALIDATE"
	if s := p.drop(aliceUID, "v", doc); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(aliceUID, "cat $M/intents/v.d/error.json"))
	}
	if recs := p.records(aliceUID, "v"); len(recs) != 0 {
		t.Errorf("records %v", recs)
	}
	if out := p.ok(aliceUID, "ls $M/self/home $M/intents/v.d; cat $M/intents/v.d/events.log"); strings.Contains(out, "v\n") && strings.Contains(out, "EXECUTING") || strings.Contains(out, "decision.json") {
		t.Errorf("something was decided or done: %s", out)
	}
	bad := strings.Replace(doc, "content: x", "contents: x", 1)
	if _, err := p.as(aliceUID, "cat > $M/intents/w <<'EOF_DOC'\n"+bad+"\nEOF_DOC"); err == nil {
		if s := p.ok(aliceUID, "cat $M/intents/w.d/wait"); s != "FAILED" && s != "REFUSED" {
			t.Errorf("a bad one: %s", s)
		}
	}
}

// Who follows a goal's events sees each change once, in order, from the beginning, and is
// let go at its end.
func TestActions25_Watch(t *testing.T) {
	t.Log("proves: actions-25")
	p := newPeople(t)
	out := strings.Split(p.ok(aliceUID, "echo 'clone https://example.invalid/a.git into src/a' > $M/intents/c; settled c; (sleep 0.5; echo 1 > $M/intents/c.d/cancel) & timeout 200 cat $M/intents/c.d/events; echo $?; wait"), "\n")
	if end := out[len(out)-1]; end != "0" {
		t.Fatalf("the stream did not end by itself: %s", end)
	}
	seen, last := out[:len(out)-1], ""
	for _, line := range seen {
		var e struct {
			At    time.Time `json:"at"`
			State string    `json:"state"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		last = e.State
	}
	if log := strings.Split(p.ok(aliceUID, "cat $M/intents/c.d/events.log"), "\n"); !slices.Equal(log, seen) {
		t.Errorf("followed\n%v\nthe log says\n%v", seen, log)
	}
	if last != "FAILED" || len(seen) < 4 {
		t.Errorf("the last of %d is %s", len(seen), last)
	}
	if again := p.ok(aliceUID, "timeout 60 cat $M/intents/c.d/events | wc -l"); again != fmt.Sprint(len(seen)) {
		t.Errorf("replayed after the end: %s lines, want %d", again, len(seen))
	}
}

// What does not validate never gets to the policy kernel.
func TestActions26_InvalidIsNotAsked(t *testing.T) {
	t.Log("proves: actions-26")
	p := newPeople(t)
	for i, doc := range []string{
		intent("r", "id: a\naction: aiosfs.object.write\nparams: {content: x}"),
		intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: 5}\nparams: {content: x}"),
		intent("r", "id: a\naction: process.signal\ntarget: {pid: 1}\nparams: {signal: NONE}"),
	} {
		name := fmt.Sprint("i", i)
		_, _ = p.as(aliceUID, "cat > $M/intents/"+name+" <<'EOF_DOC'\n"+doc+"\nEOF_DOC\ncat $M/intents/"+name+".d/wait")
		recs := p.records(aliceUID, name)
		if slices.Contains(recs, "POLICY_DECISION") || !slices.Contains(recs, "ACTION_VALIDATED") {
			t.Errorf("%s: %v", doc, recs)
		}
	}
}

// An agent that writes to the tree with its own hands is refused and recorded; the same as
// a goal is a proposal.
func TestActions96_AgentsPropose(t *testing.T) {
	t.Log("proves: actions-96 G-5")
	p := newPeople(t)
	p.agent(t)
	p.ok(aliceUID, "echo mine > $M/groups/local/shared/f; chmod 666 $M/groups/local/shared/f")
	for _, try := range []string{"echo x > $M/groups/local/shared/f", "echo x >> $M/groups/local/shared/f", "touch $M/groups/local/shared/new", "mkdir $M/groups/local/shared/d",
		"rm -f $M/groups/local/shared/f", "mv $M/groups/local/shared/f $M/groups/local/shared/g", "ln $M/groups/local/shared/f $M/groups/local/shared/g"} {
		if out, err := p.as(agentUID, try); err == nil || !strings.Contains(out, "ermi") {
			t.Errorf("%s: %v, %s", try, err, out)
		}
	}
	if s := p.ok(aliceUID, "cat $M/groups/local/shared/f; ls $M/groups/local/shared"); s != "mine\nf" {
		t.Errorf("the tree has changed: %s", s)
	}
	blocked := 0
	for deadline := time.Now().Add(patience); blocked == 0; time.Sleep(100 * time.Millisecond) {
		_, out, _ := run(t, p.bin, "log", "--mount", p.dir, "--type", "AGENT_DIRECT_FS_WRITE_BLOCKED", "--json")
		if blocked = strings.Count(out, "AGENT_DIRECT_FS_WRITE_BLOCKED"); time.Now().After(deadline) {
			t.Fatal("it was not recorded")
		}
	}
	p.ok(agentUID, `echo 'write "x" to /aios/groups/local/shared/f' > $M/intents/p; settled p`)
	if s := p.ok(agentUID, "cat $M/intents/p.d/state"); s != "APPROVAL_PENDING" {
		t.Errorf("the same as a goal: %s", s)
	}
}

// The closed codes of what is wrong with an envelope; policy is not asked, nothing happens.
func TestActions2To5_Envelopes(t *testing.T) {
	p := newPeople(t)
	good := intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: x}\nparams: {content: c}")
	for i, c := range []struct{ item, code, doc string }{
		{"actions-2", "MissingReason", strings.Replace(good, "reason: r", `reason: ""`, 1)},
		{"actions-2", "EnvelopeMalformed", strings.Replace(good, "reason: r", "reason: "+strings.Repeat("r", 1025), 1)},
		{"actions-4", "SchemaVersionUnsupported", strings.Replace(good, "v1alpha1", "v2", 1)},
		{"actions-4", "EnvelopeMalformed", good + "\nbogus: 1"},
		{"actions-4", "EnvelopeMalformed", good + "\nmode: MAYBE"},
		{"actions-5", "InvalidIdempotencyKey", good + "\nidempotency_key: \"\""},
		{"actions-5", "InvalidIdempotencyKey", good + "\nidempotency_key: " + strings.Repeat("k", 129)},
	} {
		name := fmt.Sprint("e", i)
		_, _ = p.as(aliceUID, "cat > $M/intents/"+name+" <<'EOF_DOC'\n"+c.doc+"\nEOF_DOC")
		e := p.ok(aliceUID, "cat $M/intents/"+name+".d/error.json; ls $M/intents/"+name+".d/evidence 2>/dev/null; true")
		if !strings.Contains(e, `"`+c.code+`"`) || strings.Contains(e, "POLICY_DECISION") {
			t.Errorf("%s: want %s: %s", c.item, c.code, e)
		}
	}
	if out := p.ok(aliceUID, "ls $M/self/home"); out != "" {
		t.Errorf("something happened: %s", out)
	}
	t.Log("proves: actions-2 actions-4 actions-5")
}

// By kind and label, the newest five: at most five, in order (S2.1).
func TestF40_NewestFive(t *testing.T) {
	t.Log("proves: F-40")
	p := newPeople(t)
	p.ok(aliceUID, `ls $M/self/ > /dev/null; for i in 1 2 3 4 5 6 7 8; do echo $i > $M/self/home/n$i; sleep 0.02
		[ $i = 4 ] || python3 -c 'import os,sys; os.setxattr(sys.argv[1],"user.xdg.tags",b"hike")' $M/self/home/n$i; done`)
	want := []string{"n8", "n7", "n6", "n5", "n3"}
	var names []string
	var out string
	for end := time.Now().Add(patience); !slices.Equal(names, want) && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		out = p.ok(aliceUID, p.bin+` find --mount $M --json 'from objects where kind = "FILE" and labels contains "hike" order by created_at desc limit 5'`)
		names = nil
		for _, part := range strings.Split(out, `"path": "`)[1:] {
			path, _, _ := strings.Cut(part, `"`)
			names = append(names, path[strings.LastIndexByte(path, '/')+1:])
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("%v, want %v: %s", names, want, out)
	}
}
