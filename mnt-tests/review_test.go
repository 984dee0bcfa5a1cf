package mnttests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// version gives the id of a file's current version.
func (p *people) version(path string) string {
	p.t.Helper()
	v := xattrOf(filepath.Join(p.dir, path), "user.aios.version_id")
	if v == "" {
		p.t.Fatalf("%s has no version", path)
	}
	return v
}

// asks drops an intent that waits for a person, and gives what that one approves.
func (p *people) asks(uid int, name, doc string) proposal {
	p.t.Helper()
	p.ok(uid, fmt.Sprintf("cat > $M/intents/%s <<'EOF_DOC'\n%s\nEOF_DOC\nsettled %s", name, doc, name))
	if s := p.ok(uid, "cat $M/intents/"+name+".d/state"); s != "APPROVAL_PENDING" {
		p.t.Fatalf("%s is %s: %s", name, s, p.ok(uid, "cat $M/intents/"+name+".d/error.json $M/intents/"+name+".d/decision.json; true"))
	}
	text := p.ok(uid, "cat $M/intents/"+name+".d/approval")
	m := regexp.MustCompile(`(?m)^hash: ([0-9a-f]{64})$`).FindStringSubmatch(text)
	if m == nil {
		p.t.Fatalf("what is asked: %s", text)
	}
	return proposal{hash: m[1]}
}

// agrees has root approve what was asked for last, and gives the final state.
func (p *people) agrees(uid int, name string, x proposal) string {
	p.t.Helper()
	p.ok(0, "for f in $M/self/inbox/*/approval; do grep -q "+x.hash+" $f && echo 'grant "+x.hash+"' > $f; done; true")
	return p.ok(uid, "cat $M/intents/"+name+".d/wait")
}

func review(verb, path, version, word, text string) string {
	return intent("review", fmt.Sprintf("id: a\naction: aiosfs.version.%s\ntarget: {path: %s}\nparams: {version: %s, %s: %q}", verb, path, version, word, text))
}

// A version is put in quarantine by who may change the file, for a reason; who has it open
// reads no more of it, the file shows the one before, and the past does not show it either.
// Two people end that, with a justification, and the log says who (F-14).
func TestF14_QuarantineReviewed(t *testing.T) {
	p := newPeople(t)
	p.agent(t)
	const doc = "groups/local/shared/doc.txt"
	p.ok(aliceUID, "cd $M/groups/local/shared && echo one > doc.txt && echo two > doc.txt")
	bad := p.version(doc)
	p.ok(0, "sync $M/groups/local/shared")
	when := p.ok(0, "sleep 0.01; date -u +%Y-%m-%dT%H:%M:%S.%NZ; sleep 0.01")
	past := "views/at/" + when + "/groups/local/shared"
	old := "groups/local/shared/.versions/doc.txt/" + p.ok(aliceUID, "ls $M/groups/local/shared/.versions/doc.txt | grep "+bad)
	open := map[string]*os.File{}
	for _, name := range []string{old, past + "/doc.txt", doc} {
		f, err := os.Open(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 4)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "two\n" {
			t.Fatalf("%s: %q, %v", name, b, err)
		}
		open[name] = f
	}
	path := "/aios/" + doc
	for name, tried := range map[string]struct {
		uid  int
		doc  string
		want string
	}{
		"ai":     {agentUID, review("quarantine", path, bad, "reason", "x"), "POLICY_DENIED"},
		"noword": {aliceUID, review("quarantine", path, bad, "reason", ""), ""},
		"early":  {agentUID, review("release", path, bad, "justification", "x"), "POLICY_DENIED"},
	} {
		if out, err := p.as(tried.uid, fmt.Sprintf("cat > $M/intents/%s <<'EOF_DOC'\n%s\nEOF_DOC\nsettled %s; cat $M/intents/%s.d/state", name, tried.doc, name, name)); tried.want == "" && err == nil && !strings.HasSuffix(out, "FAILED") || tried.want != "" && out != tried.want {
			t.Errorf("%s: %s %v", name, out, err)
		}
	}
	x := p.asks(aliceUID, "q", review("quarantine", path, bad, "reason", "it names a customer"))
	if s := p.agrees(aliceUID, "q", x); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(aliceUID, "cat $M/intents/q.d/error.json"))
	}
	if got := p.ok(aliceUID, "cat $M/"+doc); got != "one" {
		t.Errorf("the file shows %q", got)
	}
	for name, f := range open {
		b := make([]byte, 4)
		_, err := f.ReadAt(b, 0)
		if name == doc && err == nil && string(b) == "one\n" {
			continue // what everybody reads now, who came after him has brought it into the page cache
		}
		if !errors.Is(err, syscall.EACCES) {
			t.Errorf("who had %s open reads %q, %v", name, b, err)
		}
	}
	if out, err := p.as(aliceUID, "cat $M/"+old); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("its version: %s", out)
	}
	again := strings.Replace(past, "Z/", "+00:00/", 1) // the kernel remembers a name of the past for a minute
	if got := p.ok(0, "ls $M/"+past+"; test -e $M/"+again+"/doc.txt && echo there; true"); strings.Contains(got, "doc.txt") || strings.Contains(got, "there") {
		t.Errorf("the past shows %s", got)
	}
	if code, out, _ := run(t, p.bin, "--mount", p.dir, "history", filepath.Join(p.dir, doc)); code != 0 || strings.Count(out, "in quarantine") != 1 {
		t.Errorf("history: %d %s", code, out)
	}
	x = p.asks(aliceUID, "r", review("release", path, bad, "justification", "the customer agrees"))
	if out, err := p.as(aliceUID, "echo 'grant "+x.hash+"' > $M/intents/r.d/approval"); err == nil {
		t.Errorf("she releases it alone: %s", out)
	}
	if s := p.agrees(aliceUID, "r", x); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(aliceUID, "cat $M/intents/r.d/error.json"))
	}
	if got := p.ok(aliceUID, "cat $M/"+old+"; cat $M/"+doc); got != "two\none" {
		t.Errorf("released, its version and the file are %q", got)
	}
	if out, err := p.as(aliceUID, p.bin+" --mount $M restore-version $M/"+doc+"@"+bad+" && cat $M/"+doc); err != nil || !strings.HasSuffix(out, "two") {
		t.Errorf("restored: %s", out)
	}
	// Its second release is refused, and says why.
	x = p.asks(aliceUID, "again", review("release", path, bad, "justification", "once more"))
	if s := p.agrees(aliceUID, "again", x); s != "FAILED" || !strings.Contains(p.ok(aliceUID, "cat $M/intents/again.d/error.json"), "no quarantine") {
		t.Errorf("released twice: %s", s)
	}
	p.told(1, "QUARANTINE_EVENT", "entered", bad, "it names a customer", fmt.Sprint(aliceUID))
	p.told(1, "QUARANTINE_EVENT", "exited", bad, "the customer agrees", fmt.Sprint(aliceUID), "VERIFIED")
	t.Log("proves: F-14")
}

// What a class was raised above an AI's ceiling for is kept from it now and in the past,
// and told once; what was purged is not in the past either. What was removed is read for
// audit, never written, and in the end a stub (F-9, F-104).
func TestF104_ThePastByTodaysRules(t *testing.T) {
	p := newPeople(t)
	p.agent(t)
	const shared = "groups/local/shared"
	p.ok(aliceUID, "cd $M/"+shared+" && echo plain > plain && echo secret > secret && mkdir brief && echo gone > brief/gone && echo kept > brief/kept && setfattr -n user.aios.retention -v none brief")
	p.ok(0, "sync $M/groups/local/shared")
	when := p.ok(0, "sleep 0.01; date -u +%Y-%m-%dT%H:%M:%S.%NZ; sleep 0.01")
	past := "views/at/" + when + "/" + shared
	places := []string{shared + "/secret", past + "/secret", shared + "/.versions/secret/" + p.ok(aliceUID, "ls $M/"+shared+"/.versions/secret")}
	for _, name := range places {
		if got := p.ok(agentUID, "cat $M/"+name); got != "secret" {
			t.Fatalf("%s: %q", name, got)
		}
	}
	p.ok(aliceUID, "setfattr -n user.aios.privacy_class -v CLASSIFIED $M/"+shared+"/secret")
	for _, name := range places {
		if out, err := p.as(agentUID, "cat $M/"+name); err == nil || !strings.Contains(out, "Permission denied") {
			t.Errorf("the agent reads %s: %s", name, out)
		}
		if got := p.ok(aliceUID, "cat $M/"+name); got != "secret" {
			t.Errorf("and she reads %s as %q", name, got)
		}
	}
	if got := p.ok(agentUID, "cat $M/"+shared+"/plain $M/"+past+"/plain"); got != "plain\nplain" {
		t.Errorf("the agent reads %q", got)
	}
	p.told(1, "PrivacyCeiling", fmt.Sprint(agentUID))

	object := xattrOf(filepath.Join(p.dir, shared, "brief/gone"), "user.aios.object_id")
	p.ok(aliceUID, "rm $M/"+shared+"/brief/gone")
	trashed := strings.TrimPrefix(p.ok(aliceUID, "find $M/views/trash -name 'gone*' -type f | head -1"), p.dir+"/")
	for name, uid := range map[string]int{"objects/" + object + "/content": 0, trashed: aliceUID} {
		if got := p.ok(uid, "cat $M/"+name); got != "gone" {
			t.Errorf("removed, %s is %q", name, got)
		}
		write := `import os,sys; os.open(sys.argv[1], os.O_WRONLY)` // whatever its mode says, to root
		if out, err := p.as(uid, "chmod u+w $M/"+name+" 2>/dev/null; python3 -c '"+write+"' $M/"+name); err == nil || !strings.Contains(out, "PermissionError") {
			t.Errorf("removed, %s is opened to be written: %v, %v", name, out, err)
		}
	}
	if f, err := os.OpenFile(filepath.Join(p.dir, "objects", object, "content"), os.O_WRONLY, 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("removed, it is opened to be written: %v, %v", f, err)
	}
	if got := p.ok(0, "cat $M/"+past+"/brief/gone"); got != "gone" {
		t.Errorf("it was %q", got)
	}
	_ = p.daemon.Process.Signal(syscall.SIGTERM)
	if err := p.daemon.Wait(); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, p.bin, "gc", "--state", p.state); code != 0 || !strings.Contains(out, "1 removed things") {
		t.Errorf("gc: %d %s%s", code, out, errs)
	}
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state); code != 0 {
		t.Errorf("fsck: %d %s%s", code, out, errs)
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	if got := p.ok(0, "ls $M/"+past+"/brief; cat $M/"+past+"/brief/kept"); got != "kept\nkept" {
		t.Errorf("after the collection the past has %q", got)
	}
	if out, err := p.as(0, "cat $M/"+past+"/brief/gone"); err == nil || !strings.Contains(out, "No such file") {
		t.Errorf("purged, it was: %s", out)
	}
	if got := p.ok(0, "cat $M/objects/"+object+"/meta.json; ls $M/objects/"+object); !strings.Contains(got, "PURGED") || strings.Contains(got, "content\n") {
		t.Errorf("its stub: %s", got)
	}
	p.told(1, "AIOSFS_RETENTION_PASS")
	t.Log("proves: F-9 F-104")
}

// Without anything that thinks: in recovery the history of a file of the system is looked at
// and rolled back, and a version is put in quarantine and released, each by two people; the
// store and the log are checked, and what can be counted is counted anew. A run that waits is
// ended by hand (F-11).
func TestF11_RecoveryOfVersions(t *testing.T) {
	p := newPeople(t, "--allow-other=true")
	const file = "/aios/system/identity/catalog.json"
	p.ok(aliceUID, "echo mine > $M/groups/local/shared/doc && echo more > $M/groups/local/shared/doc")
	doc := p.version("groups/local/shared/doc")
	p.asks(aliceUID, "waits", intent("x", "id: a\naction: aiosfs.object.delete\ntarget: {path: /aios/groups/local/shared/doc}"))
	p.ok(aliceUID, "echo 1 > $M/intents/waits.d/cancel")
	if s := p.ok(aliceUID, "cat $M/intents/waits.d/wait"); s != "FAILED" || !strings.Contains(p.ok(aliceUID, "cat $M/intents/waits.d/error.json"), "ancel") {
		t.Errorf("ended by hand: %s", s)
	}
	p.inRecovery()
	act := func(name, reason, action string, want string) string {
		t.Helper()
		p.ok(0, "cat > "+desk+name+" <<'EOF_DOC'\n"+intent(reason, action)+"\nEOF_DOC")
		text := p.ok(0, "cat "+desk+name+".d/approval 2>/dev/null; true")
		id, hash := regexp.MustCompile(`(?m)^id: (\S+)$`).FindStringSubmatch(text), regexp.MustCompile(`(?m)^hash: ([0-9a-f]{64})$`).FindStringSubmatch(text)
		if id == nil || hash == nil {
			t.Fatalf("%s: %s", name, p.ok(0, "cat "+desk+name+".d/state "+desk+name+".d/error.json"))
		}
		x := proposal{run: id[1], hash: hash[1]}
		if out, err := p.say(0, x, "grant "+x.hash); err == nil {
			t.Errorf("root approves what root asks for: %s", out)
		}
		p.granted(aliceUID, x)
		if s := p.ok(0, "cat "+desk+name+".d/state"); s != want {
			t.Fatalf("%s: %s %s", name, s, p.ok(0, "cat "+desk+name+".d/error.json; true"))
		}
		return p.ok(0, "cat "+desk+name+".d/result.json "+desk+name+".d/error.json 2>/dev/null; true")
	}
	act("new", "an operator", fmt.Sprintf("id: a\naction: recovery.operator.register\ntarget: {operator: carol}\nparams: {uid: %d}", operatorUID), "SUCCEEDED")
	versions := regexp.MustCompile(`"version_id": "(ver_[0-9A-Z]+)"`).FindAllStringSubmatch(act("look", "what was it", "id: a\naction: aiosfs.object.history\ntarget: {path: "+file+"}", "SUCCEEDED"), -1)
	if len(versions) < 2 {
		t.Fatalf("versions: %v", versions)
	}
	first := versions[len(versions)-2][1]
	act("back", "she left", fmt.Sprintf("id: a\naction: aiosfs.pointer.rollback\ntarget: {path: %s}\nparams: {version: %s}", file, first), "SUCCEEDED")
	if b := p.ok(0, "cat $M/system/identity/catalog.json"); strings.Contains(b, "carol") {
		t.Errorf("rolled back, it is %s", b)
	}
	act("fence", "it was never meant", fmt.Sprintf("id: a\naction: aiosfs.version.quarantine\ntarget: {version: %s}", doc), "SUCCEEDED")
	act("twice", "it was never meant", fmt.Sprintf("id: a\naction: aiosfs.version.quarantine\ntarget: {version: %s}", doc), "FAILED")
	for name, action := range map[string]string{
		"others": "id: a\naction: aiosfs.object.history\ntarget: {path: /aios/groups/local/shared/doc}",
		"none":   "id: a\naction: aiosfs.version.release\ntarget: {version: obj_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6}",
	} {
		if out, _ := p.as(0, "cat > "+desk+name+" <<'EOF_DOC'\n"+intent("x", action)+"\nEOF_DOC\ncat "+desk+name+".d/state"); !strings.HasSuffix(out, "REFUSED") {
			t.Errorf("%s is taken: %s", name, out)
		}
	}
	stop := func() {
		t.Helper()
		_ = p.daemon.Process.Signal(syscall.SIGTERM)
		if err := p.daemon.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for _, args := range [][]string{{"fsck"}, {"verify"}, {"fsck", "--repair"}, {"reindex"}} {
		if code, out, errs := run(t, p.bin, append(args, "--state", p.state)...); code != 0 {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir, "--allow-other=true")
	// The repair has found its bytes whole, and nothing else was said against them.
	if got := p.ok(aliceUID, "cat $M/groups/local/shared/doc"); got != "mine" {
		t.Errorf("the group's file shows %q", got)
	}
	p.inRecovery()
	act("free", "looked at", fmt.Sprintf("id: a\naction: aiosfs.version.release\ntarget: {version: %s}", doc), "SUCCEEDED")
	stop()
	p.daemon = mounted(t, p.bin, p.state, p.dir, "--allow-other=true")
	if out, err := p.as(aliceUID, p.bin+" --mount $M restore-version $M/groups/local/shared/doc@"+doc+" && cat $M/groups/local/shared/doc"); err != nil || !strings.HasSuffix(out, "more") {
		t.Errorf("released and restored: %s", out)
	}
	for _, words := range [][]string{
		{"RECOVERY_OPERATION_PERFORMED", "aiosfs.pointer.rollback", "IDENTITY_BUNDLE"}, {"RECOVERY_OPERATION_PERFORMED", "aiosfs.object.history"},
		{"QUARANTINE_EVENT", "entered", doc, "it was never meant"}, {"QUARANTINE_EVENT", "exited", doc, "looked at"},
	} {
		p.told(1, words...)
	}
	t.Log("proves: F-11")
}
