package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Uids without a login: two people, an agent, and a stranger.
const (
	aliceUID = 60101
	bobUID   = 60102
	agentUID = 60103
)

// people is a mount with a group `family` of alice and bob, and its agent `assistant`.
type people struct {
	place
	t      *testing.T
	daemon *exec.Cmd
}

func newPeople(t *testing.T, flags ...string) *people {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("acts as several users: needs root")
	}
	t.Parallel() // most of the time such a test waits for a daemon of its own
	return newPeopleAlone(t, flags...)
}

// newPeopleAlone is the same for a test that measures, and wants the machine for itself.
func newPeopleAlone(t *testing.T, flags ...string) *people {
	t.Helper()
	p := &people{place: newPlace(t), t: t}
	for d := p.base; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir, flags...)
	t.Cleanup(func() {
		_ = p.daemon.Process.Signal(syscall.SIGTERM)
		_ = p.daemon.Wait()
	})
	return p
}

// settling lets a script wait until a goal is over or waits for somebody.
const settling = `settled() {
	for i in $(seq 3000); do
		case "$(cat "$M/intents/$1.d/state")" in RECEIVED | QUEUED | EXECUTING | VERIFYING) sleep 0.05 ;; *) return 0 ;; esac
	done
	return 1
}
`

// as runs a script as a uid, with $M the mount and a bound on its time; `settled NAME`
// waits in it until a goal is over or waits for somebody.
func (p *people) as(uid int, script string) (string, error) {
	p.t.Helper()
	cmd := exec.Command("timeout", "300", "setpriv", fmt.Sprintf("--reuid=%d", uid), fmt.Sprintf("--regid=%d", uid), "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin", "M="+p.dir, "sh", "-c", settling+script)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (p *people) ok(uid int, script string) string {
	p.t.Helper()
	out, err := p.as(uid, script)
	if err != nil {
		p.t.Fatalf("uid %d: %s: %v: %s", uid, script, err, out)
	}
	return out
}

// drop writes a document to intents/ as a uid and gives the final state.
func (p *people) drop(uid int, name, doc string) string {
	p.t.Helper()
	return p.ok(uid, fmt.Sprintf("cat > $M/intents/%s <<'EOF_DOC'\n%s\nEOF_DOC\ncat $M/intents/%s.d/wait", name, doc, name))
}

// records are the types of a run's evidence, in order, as its directory lists them.
func (p *people) records(uid int, name string) []string {
	p.t.Helper()
	var types []string
	for _, f := range strings.Fields(p.ok(uid, "ls $M/intents/"+name+".d/evidence")) {
		_, typ, _ := strings.Cut(strings.TrimSuffix(f, ".json"), "-")
		types = append(types, typ)
	}
	return types
}

func intent(reason, action string) string {
	return "schema: aios.intent.v1alpha1\nreason: " + reason + "\nactions:\n  - " + strings.ReplaceAll(action, "\n", "\n    ")
}

// The records that an action leaves; two of them stand under the number of another
// (SANDBOX_PROFILE_APPLIED, AIOSFS_TRANSACTION_COMMITTED; evidence.md §9).
var (
	asked    = []string{"ACTION_RECEIVED", "ACTION_VALIDATED", "POLICY_DECISION", "ACTION_POLICY_DECISION"}
	approved = []string{"APPROVAL_REQUESTED", "APPROVAL_DELIVERED", "APPROVAL_GRANTED", "APPROVAL_CONSUMED"}
	carried  = []string{"ACTION_DISPATCHED", "ACTION_DISPATCHED", "EXECUTION_STARTED", "EXECUTION_COMPLETED", "VERIFICATION_RESULT", "EXECUTION_SUCCEEDED"}
)

// The 18 steps as a person at a shell, on a fresh mount (filesystem.md §15).
func TestF90_GoldenPathAtAShell(t *testing.T) {
	t.Log("proves: F-90 C-50 actions-40")
	p := newPeople(t)
	if mi, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !strings.Contains(string(mi), p.dir+" rw") || !strings.Contains(string(mi), "fuse.aios") {
		t.Errorf("not in mountinfo: %v", err)
	}
	home := p.ok(aliceUID, "readlink $M/self")
	if home != fmt.Sprintf("groups/local/users/uid-%d", aliceUID) {
		t.Errorf("self is %s", home)
	}
	began := time.Now()
	if s := p.drop(aliceUID, "hike", `write "I went hiking today." to journal/2026-05-11.md`); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(aliceUID, "cat $M/intents/hike.d/error.json"))
	}
	t.Logf("from the shell's start to its end: %s", time.Since(began))
	if got, want := p.records(aliceUID, "hike"), slices.Concat([]string{"TRANSLATION_CREATED"}, asked, carried); !slices.Equal(got, want) {
		t.Errorf("records\n%v, want\n%v", got, want)
	}
	if text := p.ok(aliceUID, "cat $M/self/home/journal/2026-05-11.md"); text != "I went hiking today." {
		t.Errorf("the journal says %q", text)
	}
	if plan := p.ok(aliceUID, "cat $M/intents/hike.d/plan"); !strings.Contains(plan, "aiosfs.object.write") || !strings.Contains(plan, "+I went hiking today.") {
		t.Errorf("the plan: %s", plan)
	}
	if d := p.ok(aliceUID, "cat $M/intents/hike.d/decision.json"); !strings.Contains(d, "ScopedAllow") || !strings.Contains(d, `"ALLOW"`) {
		t.Errorf("the decision: %s", d)
	}
	if v := p.ok(aliceUID, "cat $M/intents/hike.d/verification.json"); !strings.Contains(v, "VERIFICATION_PASSED") {
		t.Errorf("the verification: %s", v)
	}
	// One correlation for all of them, and it is the envelope's.
	ids := strings.Fields(p.ok(aliceUID, `cat $M/intents/hike.d/evidence/* | grep -o 'corr_[0-9A-Z]*' | sort -u`))
	if len(ids) != 1 || !strings.Contains(p.ok(aliceUID, "cat $M/intents/hike.d/intent.json"), ids[0]) {
		t.Fatalf("correlations: %v", ids)
	}
	// By it, a path gives the same records as the run does.
	if of, by := p.ok(aliceUID, "cat $M/intents/hike.d/evidence/* | sort"), p.ok(aliceUID, "cat $M/evidence/by-correlation/"+ids[0]+"/* | sort"); of != by {
		t.Errorf("by-correlation/%s:\n%s\nthe run has\n%s", ids[0], by, of)
	}
	object := p.ok(aliceUID, `getfattr --only-values -n user.aios.object_id $M/self/home/journal/2026-05-11.md 2>/dev/null || python3 -c 'import os,sys; print(os.getxattr(sys.argv[1],"user.aios.object_id").decode())' $M/self/home/journal/2026-05-11.md`)
	if meta := p.ok(aliceUID, "cat $M/objects/"+object+"/meta.json; cat $M/objects/"+object+"/content; ls $M/objects/"+object+"/versions"); !strings.Contains(meta, "I went hiking today.") || !strings.Contains(meta, "ver_") {
		t.Errorf("objects/%s: %s", object, meta)
	}
	if code, out, errs := run(t, p.bin, "verify", "--state", p.state); code != 0 || !strings.Contains(out, "consistent") {
		t.Errorf("verify: %d, %s %s", code, out, errs)
	}
}

func (p *people) agent(t *testing.T) {
	t.Helper()
	if code, _, errs := run(t, p.bin, "agent", "add", "assistant", "--uid", fmt.Sprint(agentUID), "--mount", p.dir); code != 0 {
		t.Fatalf("agent add: %d, %s", code, errs)
	}
}

// A: an agent proposes, a human approves; the approval is good for that one request and
// one use (filesystem.md §15).
func TestF91_ProposalOfAnAgentApproved(t *testing.T) {
	t.Log("proves: F-91")
	p := newPeople(t)
	p.agent(t)
	doc := `write "shared" to /aios/groups/local/shared/notes/2026-05-11.md`
	p.ok(agentUID, fmt.Sprintf("cat > $M/intents/p <<'EOF_DOC'\n%s\nEOF_DOC", doc))
	if s := p.ok(agentUID, "settled p; cat $M/intents/p.d/state"); s != "APPROVAL_PENDING" {
		t.Fatal(s, p.ok(agentUID, "cat $M/intents/p.d/decision.json"))
	}
	ask := p.ok(0, `cat $M/self/inbox/*/approval`)
	_, hash, _ := strings.Cut(ask, "hash: ")
	hash, _, _ = strings.Cut(hash, "\n")
	if len(hash) != 64 || !strings.Contains(ask, "aiosfs.object.write") {
		t.Fatalf("what is asked: %s", ask)
	}
	if out, err := p.as(agentUID, "echo 'grant "+hash+"' > $M/intents/p.d/approval"); err == nil {
		t.Errorf("the agent approved its own proposal: %s", out)
	}
	if out, err := p.as(0, "for f in $M/self/inbox/*/approval; do echo 'grant "+strings.Repeat("0", 64)+"' > $f; done"); err == nil {
		t.Errorf("another hash was taken: %s", out)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "groups/local/shared/notes/2026-05-11.md")); err == nil {
		t.Error("it was written before the approval")
	}
	run1 := p.ok(0, `basename $(dirname $(echo $M/self/inbox/*/approval))`)
	p.ok(0, "echo 'grant "+hash+"' > $M/self/inbox/"+run1+"/approval")
	if s := p.ok(agentUID, "cat $M/intents/p.d/wait"); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(agentUID, "cat $M/intents/p.d/error.json"))
	}
	if got, want := p.records(agentUID, "p"), slices.Concat([]string{"TRANSLATION_CREATED"}, asked, approved, carried); len(want) != 15 || !slices.Equal(got, want) {
		t.Errorf("records\n%v, want\n%v", got, want)
	}
	if out, err := p.as(0, "echo 'grant "+hash+"' > $M/intents/"+run1+".d/approval"); err == nil {
		t.Errorf("the approval was used a second time: %s", out)
	}
	if s := p.ok(0, "cat $M/groups/local/shared/notes/2026-05-11.md"); s != "shared" {
		t.Errorf("%q", s)
	}
	// The same proposal again needs an approval of its own.
	p.ok(agentUID, fmt.Sprintf("cat > $M/intents/q <<'EOF_DOC'\n%s\nEOF_DOC\nsettled q", strings.Replace(doc, "shared", "more", 1)))
	if s := p.ok(agentUID, "cat $M/intents/q.d/state"); s != "APPROVAL_PENDING" {
		t.Errorf("after the first approval: %s", s)
	}
}

// C: an agent that wants to install a package is denied for good, whoever asks after it
// (filesystem.md §15).
func TestF93_AgentInstallsNothing(t *testing.T) {
	t.Log("proves: F-93 G-2 actions-93 C-49")
	p := newPeople(t)
	p.agent(t)
	doc := intent("need a tool", "id: a\naction: package.install\ntarget: {package: hello}")
	if s := p.drop(agentUID, "i", doc); s != "POLICY_DENIED" {
		t.Fatal(s)
	}
	// Into the system's own place it is stopped for that already.
	whole := intent("need a tool", "id: a\naction: package.install\ntarget: {package: hello, path: /aios/system/apps/hello}")
	if s := p.drop(agentUID, "s", whole); s != "POLICY_DENIED" {
		t.Fatal(s)
	}
	if e := p.ok(agentUID, "cat $M/intents/s.d/error.json"); !strings.Contains(e, "AISystemAdminBlocked") || !strings.Contains(e, `"hard_deny": true`) {
		t.Errorf("into system/apps: %s", e)
	}
	if r := p.ok(agentUID, "cat $M/intents/s.d/evidence/*-POLICY_DECISION.json"); !strings.Contains(r, `"FOREVER"`) {
		t.Errorf("the decision is not kept for ever: %s", r)
	}
	// The same by a human is a question of ordinary policy.
	if s := p.drop(aliceUID, "h", doc); s == "SUCCEEDED" || strings.Contains(p.ok(aliceUID, "cat $M/intents/h.d/error.json"), "AIInstall") {
		t.Errorf("a human's: %s", s)
	}
	d := p.ok(agentUID, "cat $M/intents/i.d/decision.json $M/intents/i.d/error.json")
	if !strings.Contains(d, "AIInstallInitiationBlocked") {
		t.Errorf("denied for another reason: %s", d)
	}
	want := []string{"ACTION_RECEIVED", "ACTION_VALIDATED", "POLICY_DECISION", "APP_AI_DIRECT_INSTALL_ATTEMPTED_BLOCKED", "ACTION_POLICY_DECISION"}
	for _, name := range []string{"i", "s"} {
		if got := p.records(agentUID, name); !slices.Equal(got, want) {
			t.Errorf("%s: records %v, want %v", name, got, want)
		}
	}
	if out, err := p.as(0, "ls $M/self/inbox | grep . "); err == nil {
		t.Errorf("somebody is asked to approve it: %s", out)
	}
	// Who looks after the machine cannot override it either; that it was tried is kept.
	_, out, _ := run(t, p.bin, "find", "--mount", p.dir, "--json", `from actions where action = "package.install"`)
	tries := 0
	ids := regexp.MustCompile(`run_[0-9A-Z]{26}`).FindAllString(out, -1)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		dir := "$M/intents/" + id + ".d"
		if e, err := p.as(0, "cat "+dir+"/error.json"); err != nil || !strings.Contains(e, "AISystemAdminBlocked") {
			continue
		}
		before := p.ok(0, "cat "+dir+"/intent.json "+dir+"/state")
		if out, err := p.as(0, "echo 'the operator needs this tool at once' > "+dir+"/override"); err == nil {
			t.Errorf("the override is taken: %s", out)
		}
		if after := p.ok(0, "cat "+dir+"/intent.json "+dir+"/state"); after != before {
			t.Errorf("the override changed\n%s\nto\n%s", before, after)
		}
		if r := p.ok(0, "cat "+dir+"/evidence/*-OVERRIDE_DENIED.json"); !strings.Contains(r, `"OVERRIDE_DENIED"`) || !strings.Contains(r, `"FOREVER"`) {
			t.Errorf("the try in the log: %s", r)
		}
		p.ok(0, "ls "+dir+"/evidence/ | grep OVERRIDE_REVIEW")
		tries++
	}
	if tries != 1 { // the other one is stopped by another rule
		t.Errorf("%d overrides were tried", tries)
	}
	if out, err := p.as(agentUID, "echo 'grant x' > $M/intents/i.d/approval"); err == nil {
		t.Errorf("an approval of it is taken: %s", out)
	}
}

// Failure 2: an AI that asks for the humans' queue is served in its own, and that is
// recorded; a human who can wait says so.
func TestF95_QueueOfAnAI(t *testing.T) {
	t.Log("proves: F-95")
	p := newPeople(t)
	p.agent(t)
	doc := intent("look", "id: a\naction: process.list\ntarget: {}") + "\nqueue_class: INTERACTIVE"
	moved := func(uid int, name string) int {
		n := 0
		for _, typ := range p.records(uid, name) {
			if typ == "AI_INTERACTIVE_QUEUE_DOWNGRADE" {
				n++
			}
		}
		return n
	}
	if s := p.drop(agentUID, "q", doc); s != "SUCCEEDED" {
		t.Errorf("%s: %s", s, p.ok(agentUID, "cat $M/intents/q.d/error.json"))
	}
	if n := moved(agentUID, "q"); n != 1 {
		t.Errorf("%d records of it: %v", n, p.records(agentUID, "q"))
	}
	for i, class := range []string{"INTERACTIVE", "BACKGROUND"} {
		name := fmt.Sprint("h", i)
		if s := p.drop(aliceUID, name, strings.Replace(doc, "INTERACTIVE", class, 1)); s != "SUCCEEDED" || moved(aliceUID, name) != 0 {
			t.Errorf("a human in %s: %s, %v", class, s, p.records(aliceUID, name))
		}
	}
	if out, err := p.as(aliceUID, "cat > $M/intents/no <<'EOF_DOC'\n"+strings.Replace(doc, "INTERACTIVE", "RECOVERY_PRIORITY", 1)+"\nEOF_DOC\ncat $M/intents/no.d/error.json"); !strings.Contains(out, "INTERACTIVE, BACKGROUND") {
		t.Errorf("a queue that nobody may ask for: %v, %s", err, out)
	}
}

// Failure 1: a required field is missing; there is no object and no chunk.
func TestF94_MalformedAction(t *testing.T) {
	t.Log("proves: F-94")
	p := newPeople(t)
	p.ok(aliceUID, "ls $M/self >/dev/null")
	before := p.ok(0, "find $M/groups \\( -name outbox -o -name inbox -o -name evidence -o -name audit \\) -prune -o -printf '%p %s %m %U\\n' | sort")
	out, err := p.as(aliceUID, "printf '%s' '"+intent("no target", "id: a\naction: aiosfs.object.write\nparams: {content: x}")+"' > /tmp/aios-doc-$$ && cp /tmp/aios-doc-$$ $M/intents/bad; e=$?; rm /tmp/aios-doc-$$; exit $e")
	state := p.ok(aliceUID, "cat $M/intents/bad.d/error.json")
	if err == nil && p.ok(aliceUID, "cat $M/intents/bad.d/wait") == "SUCCEEDED" {
		t.Errorf("it was carried out: %s", out)
	}
	if got, want := p.records(aliceUID, "bad"), []string{"ACTION_RECEIVED", "ACTION_VALIDATED", "EXECUTION_FAILED"}; !slices.Equal(got, want) {
		t.Errorf("records %v, want %v", got, want)
	}
	if !strings.Contains(state, "target") {
		t.Errorf("the error does not say what is missing: %s", state)
	}
	if after := p.ok(0, "find $M/groups \\( -name outbox -o -name inbox -o -name evidence -o -name audit \\) -prune -o -printf '%p %s %m %U\\n' | sort"); after != before {
		t.Errorf("the tree has changed:\n%s\nafter:\n%s", before, after)
	}
}

// Others' things cannot be read or listed, also when somebody else's look has warmed the
// kernel's caches, and each sees his own self, inbox and groups (contract §2).
func TestTwoPeopleKeepTheirOwn(t *testing.T) {
	t.Log("proves: F-103")
	p := newPeople(t)
	p.ok(aliceUID, `echo secret > $M/self/home/s && ls $M/self/ >/dev/null && cat $M/self/home/s`)
	for range 3 {
		p.ok(aliceUID, "cat $M/self/home/s; ls -la $M/self/home $M/self/inbox $M/groups")
		for _, try := range []string{"cat $M/groups/local/users/uid-60101/home/s", "ls $M/groups/local/users/uid-60101/home", "cat $M/groups/local/users/uid-60101/outbox/x.d/plan",
			"echo x > $M/groups/local/users/uid-60101/home/t", "rm -f $M/groups/local/users/uid-60101/home/s", "ln $M/groups/local/users/uid-60101/home/s $M/self/home/s"} {
			if out, err := p.as(bobUID, try); err == nil || strings.Contains(out, "secret") {
				t.Errorf("bob: %s: %s", try, out)
			}
		}
		if a, b := p.ok(aliceUID, "readlink $M/self"), p.ok(bobUID, "readlink $M/self"); a == b {
			t.Errorf("self is %s for both", a)
		}
	}
	if s := p.ok(aliceUID, "cat $M/self/home/s"); s != "secret" {
		t.Errorf("%q", s)
	}
	p.ok(aliceUID, "mkdir -p $M/self/home/d && echo x > $M/intents/never-run-as-bob; cat $M/intents/never-run-as-bob.d/wait >/dev/null; ls $M/intents | grep -q never")
	if out, err := p.as(bobUID, "ls $M/intents | grep never"); err == nil {
		t.Errorf("bob sees alice's intents: %s", out)
	}
}

// Every file that a run's directory lists can be read at once and has its true size.
func TestListedFilesAreInstantAndTrue(t *testing.T) {
	p := newPeople(t)
	if s := p.drop(aliceUID, "one", `write "x" to a.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	p.ok(aliceUID, "echo 'write it somewhere' > $M/intents/two; settled two")
	out := p.ok(aliceUID, `cd $M/intents && find . -type f | while read -r f; do
		s=$(stat -c %s "$f"); n=$(timeout 2 cat "$f" | wc -c); [ "$s" = "$n" ] || echo "$f: size $s, read $n"; done; ls one.d | grep -x -e wait -e events; true`)
	if out != "" {
		t.Error(out)
	}
	if out := p.ok(aliceUID, "timeout 1 cat $M/intents/two.d/wait; echo $?"); out != "124" {
		t.Errorf("wait is not interruptible, or does not wait: %s", out)
	}
}

// A hundred scripts drop goals at once; each gets done, exactly once.
func TestHundredScriptsAtOnce(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, `for i in $(seq 100); do (
		echo "append \"line $i;\" to log.md" > $M/intents/h$i
		read -r s < $M/intents/h$i.d/wait; [ "$s" = SUCCEEDED ] || { echo "$i $s"; cat $M/intents/h$i.d/error.json; } ) & done; wait`)
	log := p.ok(aliceUID, "cat $M/self/home/log.md")
	for i := 1; i <= 100; i++ {
		if n := strings.Count(log, fmt.Sprintf("line %d;", i)); n != 1 {
			t.Errorf("line %d stands there %d times", i, n)
		}
	}
}

// The same ids, inode numbers and views after a remount.
func TestF65_RemountKeepsIdentities(t *testing.T) {
	t.Log("proves: F-65")
	p := newPeople(t)
	p.ok(aliceUID, `cd $M/groups/local/shared && mkdir -p d/e && for i in 1 2 3 4 5; do echo "walnut $i" > d/e/f$i.txt; done; ln d/e/f1.txt d/hard; ln -s e d/sym`)
	look := func() string {
		return p.ok(aliceUID, `cd $M && ls -iR groups/local/shared && ls -l views/search/walnut views/recent views/kind/FILE | sed 's/ [A-Z][a-z][a-z] .*:[0-9][0-9] / /' &&
			python3 -c 'import os
for d,_,fs in os.walk("groups/local/shared"):
    for f in sorted(fs):
        p=os.path.join(d,f)
        print(p, [os.getxattr(p,"user.aios."+k) for k in ("object_id","version_id","content_hash")], os.stat(p).st_mtime_ns) if not os.path.islink(p) else None'`)
	}
	var before string
	until(t, "every file is hashed and found", func() bool {
		before = look()
		return strings.Count(before, "b3:") == 6 && strings.Count(before, "../groups/local/shared/d/e/f") == 3*5 && look() == before
	})
	_ = p.daemon.Process.Signal(syscall.SIGTERM)
	if err := p.daemon.Wait(); err != nil {
		t.Fatal(err)
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	after := ""
	for end := time.Now().Add(patience); after != before && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		after = look() // a start catches up in the background
	}
	if after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A privacy class only rises, by whatever road somebody tries (OM §4).
func TestF6_ClassesOnlyRise(t *testing.T) {
	t.Log("proves: F-6")
	p := newPeople(t)
	class := func() string {
		return p.ok(aliceUID, `python3 -c 'import os,sys; print(os.getxattr(sys.argv[1],"user.aios.privacy_class").decode())' $M/self/home/f`)
	}
	set := func(to string) (string, error) {
		return p.as(aliceUID, `python3 -c 'import os,sys
try: os.setxattr(sys.argv[1],"user.aios.privacy_class",b"`+to+`")
except OSError as e: print(e.errno); sys.exit(1)' $M/self/home/f`)
	}
	p.ok(aliceUID, "ls $M/self/ >/dev/null; echo one > $M/self/home/f")
	if out, err := set("CLASSIFIED"); err != nil || class() != "CLASSIFIED" {
		t.Fatalf("raise: %s, %v, %s", out, err, class())
	}
	for _, to := range []string{"PUBLIC", "INTERNAL", "SENSITIVE", "SECRET_BEARING"} {
		if out, err := set(to); err == nil || out != "1" {
			t.Errorf("lowered to %s: %s", to, out)
		}
	}
	for _, road := range []string{
		"echo two > $M/self/home/g && mv $M/self/home/g $M/self/home/f",  // an editor's save
		"echo three > $M/self/home/f",                                    // written over
		"echo four > $M/self/home/h && cp $M/self/home/h $M/self/home/f", // copied over
		"rm $M/self/home/f && echo five > $M/self/home/f",                // replaced as KDE does
		"python3 -c 'import os,sys; os.removexattr(sys.argv[1],\"user.aios.privacy_class\")' $M/self/home/f 2>/dev/null; true",
	} {
		p.ok(aliceUID, road+"; sleep 0.2")
		if c := class(); c != "CLASSIFIED" {
			t.Errorf("%s: the class is %s", road, c)
		}
	}
	if s := p.drop(aliceUID, "w", `write "six" to f`); s != "SUCCEEDED" {
		t.Logf("a goal: %s", s)
	}
	if c := class(); c != "CLASSIFIED" {
		t.Errorf("after a goal the class is %s", c)
	}
}

// A stranger in a foreign group gets EACCES, and leaves one record however often he tries.
func TestF102_StrangersLeaveOneRecord(t *testing.T) {
	t.Log("proves: F-102")
	p := newPeople(t)
	if code, _, errs := run(t, p.bin, "goal", "--mount", p.dir, "--wait", "create group family"); code != 0 {
		t.Fatalf("create group: %d, %s", code, errs)
	}
	denied := func() (n int) {
		_, out, _ := run(t, p.bin, "log", "--mount", p.dir, "--json")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "CROSS_GROUP") && strings.Contains(line, fmt.Sprintf("uid-%d", aliceUID)) {
				n++
			}
		}
		return n
	}
	if out, err := p.as(aliceUID, "cat $M/groups/family/shared/x"); err == nil || !strings.Contains(out, "Permission denied") {
		t.Fatalf("a stranger reads it: %s", out)
	}
	for deadline := time.Now().Add(patience); denied() == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			_, out, _ := run(t, p.bin, "log", "--mount", p.dir, "--json")
			t.Fatalf("no record of it: %.3000s", out)
		}
	}
	first := denied()
	p.ok(aliceUID, "i=0; while [ $i -lt 1000 ]; do read -r x 2>/dev/null < $M/groups/family/shared/x; i=$((i+1)); done; true")
	time.Sleep(2 * time.Second)
	if n := denied(); first != 1 || n != 1 {
		t.Errorf("%d records after one try, %d after a thousand more", first, n)
	}
}

// A place of the mount that is mounted a second time, in the mount itself and at a name that
// is gone since, keeps no action from being confined.
func TestConfinedBesideMountsInTheMount(t *testing.T) {
	p := newPeople(t)
	p.agent(t)
	p.ok(0, "cd $M/groups/local/shared && mkdir a b c && mount --bind a b && mkdir b/d && mount --bind c b/d && umount -l b && mount --bind a b")
	defer p.ok(0, "cd / && umount -l $M/groups/local/shared/b")
	doc := intent("look", "id: a\naction: process.list\ntarget: {}")
	if s := p.drop(agentUID, "l", doc); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(agentUID, "cat $M/intents/l.d/error.json"))
	}
}
