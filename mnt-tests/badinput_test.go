package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each of these is refused by the call itself where the contract says so, always in
// NAME.d/error.json with a code and the place, and changes nothing.
func TestBadDocuments(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, "echo base > $M/self/home/f; ls -R $M/self/home >/dev/null")
	tree := func() string {
		return p.ok(0, `find $M/groups/local/users/uid-60101/home $M/groups/local/shared -printf '%P %s %m %T@\n' | sort`)
	}
	before := tree()
	good := intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: x}\nparams: {content: c}")
	for i, c := range []struct {
		what, doc string
		words     []string // all of them stand in error.json
	}{
		{"YAML that is none", "schema: aios.intent.v1alpha1\nreason: [r\nactions: []\n", []string{"line"}},
		{"JSON that is none", `{"schema":"aios.intent.v1alpha1","reason":"r",}`, []string{"line", "column"}},
		{"an unknown field", good + "\nbogus: 1", []string{"bogus", `"line": 8`}},
		{"an unknown field within", strings.Replace(good, "{path: x}", "{path: x, colour: red}", 1), []string{"colour"}},
		{"a key twice", good + "\nreason: again", []string{"reason", `"line": 8`}},
		{"an unknown action", strings.Replace(good, "object.write", "object.wriet", 1), []string{"aiosfs.object.write"}},
		{"an action of no known kind", strings.Replace(good, "aiosfs.object.write", "lamp.dim", 1), []string{"lamp.dim", "actions are known of: agent, aiosfs"}},
		{"a bracket that is never closed", strings.Replace(good, "reason: r", "reason: [r", 1), []string{"never closed", `"line": 2`, `"column": 9`}},
		{"a misspelt field within", strings.Replace(good, "content: c", "contnet: c", 1), []string{`did you mean \"content\"`, `"line": 7`}},
		{"no content", strings.Replace(good, "{content: c}", "{}", 1), []string{"params need `content` or `content_from`"}},
		{"two contents", strings.Replace(good, "content: c", "content: c, content_from: d", 1), []string{"exclude each other"}},
		{"a verification of no known kind", good + "\n    verify: [{type: file.exits, args: {path: x}}]", []string{"VerificationGrammarUnsupported", "near: file.exists", `"line": 8`}},
		{"a verification of nothing", good + "\n    verify: [{type: file.exists, args: {pth: x}}]", []string{"pth", "known here: object_or_path, path"}},
		{"a day that is none", strings.NewReplacer("object.write", "object.restore", "content: c", "at: 2026-02-30").Replace(good), []string{"2026-02-30", "2026-11-23T10:15:00Z", `"line": 7`}},
		{"a circle", strings.Replace(good, "id: a", "id: a\n    after: [b]", 1) + "\n  - id: b\n    action: aiosfs.object.mkdir\n    target: {path: d}\n    after: [a]", []string{"circle: a → b → a"}},
		{"a place that the tree does not have", strings.Replace(good, "path: x", "path: /aios/mine/x", 1), []string{"INVALID_TOP_LEVEL", "relative to self/home"}},
		{"a name that a group does not have", strings.Replace(good, "path: x", "path: /aios/groups/local/attic/x", 1), []string{"INVALID_GROUP_RESERVED", "shared, projects"}},
		{"a version of another file", strings.Replace(good, "id: a", "id: a\n    expect: {version: ver_01J9Z6M7Q8R9S0T1V2W3X4Y5Z6}", 1), []string{"StaleBase", "is not there"}},
		{"an unknown schema", strings.Replace(good, "v1alpha1", "v9", 1), []string{"v9"}},
		{"no reason", strings.Replace(good, "reason: r\n", "", 1), []string{"reason"}},
		{"no actions", "schema: aios.intent.v1alpha1\nreason: r\nactions: []", []string{"actions"}},
		{"an unknown mode", good + "\nmode: MAYBE", []string{"MAYBE"}},
		{"a path with ..", strings.Replace(good, "path: x", "path: a/../../x", 1), []string{".."}},
		{"a path outside the tree", strings.Replace(good, "path: x", "path: /etc/passwd", 1), []string{"/etc/passwd"}},
		{"a number for a path", strings.Replace(good, "path: x", "path: 5", 1), []string{"path"}},
		{"a list for content", strings.Replace(good, "content: c", "content: [c]", 1), []string{"content"}},
		{"after itself", strings.Replace(good, "id: a", "id: a\n    after: [a]", 1), []string{"after"}},
		{"after nobody", strings.Replace(good, "id: a", "id: a\n    after: [zz]", 1), []string{"zz"}},
		{"one id twice", good + "\n  - id: a\n    action: aiosfs.object.mkdir\n    target: {path: d}", []string{`a`}},
		{"an id of no version", strings.Replace(good, "id: a", "id: a\n    expect: {version: ver_nothing}", 1), []string{"ver_nothing"}},
		{"a key that is too long", good + "\nidempotency_key: " + strings.Repeat("k", 129), []string{"idempotency"}},
	} {
		name := fmt.Sprintf("bad%d", i)
		file := p.path(name)
		if err := os.WriteFile(file, []byte(c.doc), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := p.as(aliceUID, fmt.Sprintf("cp %s $M/intents/%s", file, name))
		state := p.ok(aliceUID, "cat $M/intents/"+name+".d/wait")
		if state == "SUCCEEDED" {
			t.Errorf("%s: it was carried out: %s", c.what, out)
			continue
		}
		if err == nil && state != "FAILED" && state != "POLICY_DENIED" {
			t.Errorf("%s: cp did not see it (%s)", c.what, state)
		}
		e := p.ok(aliceUID, "cat $M/intents/"+name+".d/error.json")
		for _, w := range append(c.words, `"code"`, `"message"`) {
			if !strings.Contains(e, w) {
				t.Errorf("%s: error.json does not name %s: %s", c.what, w, e)
			}
		}
		if out := p.ok(aliceUID, "ls $M/intents/"+name+".d/evidence"); !strings.Contains(out, "-ACTION_VALIDATED.json") {
			t.Errorf("%s: nothing of it in the log: %s", c.what, out)
		}
		if after := tree(); after != before {
			t.Fatalf("%s: the tree has changed:\n%s\nit was\n%s", c.what, after, before)
		}
	}
	for name, c := range map[string]struct{ data, says string }{
		"a goal of 65 KiB":        {strings.Repeat("word ", 65<<10/5), "at most 65536"},
		"a goal that is no UTF-8": {"write \xff\xfe", "byte 0xff is not UTF-8"},
		"a goal with a NUL":       {"list\x00processes", "a NUL byte"},
		"a document of 2 MiB":     {good + "\n# " + strings.Repeat("x", 2<<20), "at most 1048576 bytes"},
	} {
		file := p.path("blob")
		if err := os.WriteFile(file, []byte(c.data), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := p.as(aliceUID, fmt.Sprintf("cp %s $M/intents/blob 2>&1", file)); err == nil {
			if s := p.ok(aliceUID, "cat $M/intents/blob.d/state"); s == "SUCCEEDED" || s == "QUEUED" || s == "NEEDS_CLARIFICATION" {
				t.Errorf("%s: %s %s", name, s, out)
			}
		}
		if e := p.ok(aliceUID, "cat $M/intents/blob.d/error.json"); !strings.Contains(e, c.says) || strings.Contains(e, `"line": 0`) {
			t.Errorf("%s: %s", name, e)
		}
		p.ok(aliceUID, "rm -f $M/intents/blob; true")
	}
	for _, name := range []string{strings.Repeat("n", 256), ".hidden", "x.swp", "y~", "4913", "z.part"} {
		p.ok(aliceUID, fmt.Sprintf("echo 'write \"no\" to never.md' > $M/intents/%s 2>/dev/null; sleep 0.1; true", name))
	}
	p.ok(aliceUID, `python3 - <<'EOF_PY'
import errno, os
m = os.environ["M"].encode() + b"/intents/"
for name, want in ((b"n" * 251, errno.ENAMETOOLONG), (b"caf\xe9", errno.EINVAL)):
    for how in ("create", "rename"):
        try:
            if how == "create": os.close(os.open(m + name, os.O_CREAT | os.O_WRONLY))
            else:
                f = os.open(m + b".tmp", os.O_CREAT | os.O_WRONLY); os.write(f, b"list processes"); os.close(f)
                os.rename(m + b".tmp", m + name)
            raise SystemExit("%s: %r was taken" % (how, name[:8]))
        except OSError as e:
            assert e.errno == want, (how, name[:8], e)
EOF_PY`)
	if after := tree(); after != before {
		t.Errorf("the tree has changed:\n%s\nit was\n%s", after, before)
	}
	if out, err := p.as(aliceUID, "mkdir $M/intents/d"); err == nil {
		t.Errorf("a directory among the intents: %s", out)
	}
}

// A compare-and-swap that lost, somebody else's idempotency key, a name in use.
func TestConflictsOfDocuments(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, "echo one > $M/self/home/f; sleep 0.3")
	v := p.ok(aliceUID, `python3 -c 'import os,sys; print(os.getxattr(sys.argv[1],"user.aios.version_id").decode())' $M/self/home/f`)
	p.ok(aliceUID, "echo two > $M/self/home/f; sleep 0.3")
	doc := intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: f}\nparams: {content: three}\nexpect: {version: "+v+"}")
	if s := p.drop(aliceUID, "cas", doc); s != "FAILED" {
		t.Errorf("a lost compare-and-swap: %s", s)
	}
	if e := p.ok(aliceUID, "cat $M/intents/cas.d/error.json"); !strings.Contains(e, "StaleBase") || !strings.Contains(e, v) {
		t.Errorf("the error: %s", e)
	}
	if s := p.ok(aliceUID, "cat $M/self/home/f"); s != "two" {
		t.Errorf("%q", s)
	}
	// The same key: the first run of one's own; another's key means nothing to one.
	key := intent("r", "id: a\naction: aiosfs.object.append\ntarget: {path: log}\nparams: {content: x}") + "\nidempotency_key: k1"
	for _, name := range []string{"k1", "k2"} {
		if s := p.drop(aliceUID, name, key); s != "SUCCEEDED" {
			t.Errorf("%s: %s", name, s)
		}
	}
	if s := p.drop(bobUID, "k1", key); s != "SUCCEEDED" {
		t.Errorf("bob's: %s", s)
	}
	for _, uid := range []int{aliceUID, bobUID} {
		if s := p.ok(uid, "cat $M/self/home/log"); s != "x" {
			t.Errorf("uid %d: %q", uid, s)
		}
	}
	other := strings.Replace(key, "content: x", "content: y", 1)
	if s := p.drop(aliceUID, "k3", other); s == "SUCCEEDED" {
		t.Error("one key for two different documents")
	}
	// A name is taken while its goal runs, free when it is over, and the old one is kept.
	p.ok(aliceUID, "echo 'write it somewhere' > $M/intents/q; settled q")
	if s := p.ok(aliceUID, "cat $M/intents/q.d/state"); s != "NEEDS_CLARIFICATION" {
		t.Fatalf("%s", s)
	}
	if out, err := p.as(aliceUID, "echo 'list processes' > $M/intents/q"); err == nil {
		t.Errorf("a name in use was taken: %s", out)
	}
	p.ok(aliceUID, "echo 1 > $M/intents/q.d/cancel; cat $M/intents/q.d/wait")
	if s := p.drop(aliceUID, "q", `write "new" to q.md`); s != "SUCCEEDED" {
		t.Errorf("the name again: %s", s)
	}
	if out := p.ok(aliceUID, "find $M/intents/.done -name 'q*' | head -3"); !strings.Contains(out, "/q") {
		t.Errorf("the earlier run is nowhere: %q", out)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "groups")); err != nil {
		t.Fatal(err)
	}
}

// The three ways to commit a document, and documents that are half there.
func TestCommitPoints(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, `python3 - <<'EOF_PY'
import os
m = os.environ["M"] + "/intents/"
def doc(n): return ('write "%s" to %s.md' % (n, n)).encode()
def wait(n):
    s = open(m + n + ".d/wait").read().strip()
    assert s == "SUCCEEDED", (n, s)
f = os.open(m + "close", os.O_CREAT | os.O_WRONLY); os.write(f, doc("close")); os.close(f); wait("close")
f = os.open(m + "fsync", os.O_CREAT | os.O_WRONLY); os.write(f, doc("fsync")); os.fsync(f); wait("fsync"); os.close(f)
f = os.open(m + ".tmp-1", os.O_CREAT | os.O_WRONLY); os.write(f, doc("rename")); os.close(f)
assert not os.path.exists(m + ".tmp-1.d")
os.rename(m + ".tmp-1", m + "rename"); wait("rename")
f = os.open(m + "half", os.O_CREAT | os.O_WRONLY); os.write(f, b'write "half" to ')
assert not os.path.exists(m + "half.d")
os.write(f, b'half.md'); os.close(f); wait("half")
# what editors leave
for n in (".x.swp", "x~", "x.part", "4913", ".goutputstream-ABC"):
    f = os.open(m + n, os.O_CREAT | os.O_WRONLY); os.write(f, doc("never")); os.close(f)
    assert not os.path.exists(m + n + ".d"), n
# a malformed one is reported by fsync and by rename
for how in ("fsync", "rename"):
    n = m + ("bad-" + how if how == "fsync" else ".bad")
    f = os.open(n, os.O_CREAT | os.O_WRONLY); os.write(f, b"schema: aios.intent.v1alpha1\nbogus: 1\n")
    try:
        if how == "fsync": os.fsync(f)
        else:
            os.close(f); os.rename(n, m + "bad-rename")
        raise SystemExit(how + " did not report it")
    except OSError as e:
        assert e.errno == 22, (how, e)
EOF_PY
(printf 'write "a'; sleep 0.2; printf 'b" to cat.md') > $M/intents/cat; cat $M/intents/cat.d/wait | grep -qx SUCCEEDED`)
	if s := p.ok(aliceUID, "cat $M/self/home/cat.md"); s != "ab" {
		t.Errorf("%q", s)
	}
	if out := p.ok(aliceUID, "ls $M/self/home"); strings.Contains(out, "never") {
		t.Errorf("a temporary file was submitted: %s", out)
	}
	// chmod and the like of an accepted intent succeed without effect.
	p.ok(aliceUID, "chmod 777 $M/intents/close && touch $M/intents/close && chown 60101 $M/intents/close")
	if out, err := p.as(aliceUID, "echo more >> $M/intents/close"); err == nil {
		t.Errorf("an accepted intent was changed: %s", out)
	}
	// Half a document and a crash: nothing happened.
	half := exec.Command("setpriv", "--reuid=60101", "--regid=60101", "--clear-groups", "sh", "-c", `exec 3> "$0/intents/cut"; printf 'write "cut" to cut.md' >&3; echo written; exec sleep 60`, p.dir)
	out, err := half.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := half.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	_ = p.daemon.Process.Kill()
	_ = p.daemon.Wait()
	_ = half.Process.Kill()
	_ = half.Wait()
	detach(p.dir)
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	if out := p.ok(aliceUID, "ls $M/intents $M/self/home"); strings.Contains(out, "cut") {
		t.Errorf("half a document did something: %s", out)
	}
}
