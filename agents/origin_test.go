package agents

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/ai-os-dot-net/aios/agents/translate"
)

// from is a typed goal with more fields at its top.
func from(path, more string) string {
	return fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"x",%s"actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":%q},"params":{"content":"c"}}]}`, more, path)
}

// refusal is the code with which a document is refused as a whole.
func (m *machine) refusal(by Submitter, name, doc string) (string, error) {
	m.t.Helper()
	err := m.rt.Submit(m.t.Context(), by, name, []byte(doc))
	if err == nil {
		m.t.Errorf("%s is accepted: %s", name, m.wait(by, name))
		return "", nil
	}
	var f Failure
	if e := json.Unmarshal([]byte(m.read(by, name, "error.json")), &f); e != nil {
		m.t.Fatal(e)
	}
	if s := m.read(by, name, "state"); s != "REFUSED\n" {
		m.t.Errorf("%s is %s", name, s)
	}
	return f.Code, err
}

// A document may say who drops it, and is refused where that is somebody else.
func TestActions13_Subjects(t *testing.T) {
	t.Log("proves: actions-13")
	m := newMachine(t)
	alice := m.who(aliceUID)
	for i, s := range []string{"alice", "Family:alice", "family:", ":alice", "family:al ice", "family:alice\n", "family:" + strings.Repeat("a", 256), ""} {
		q, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := m.refusal(alice, fmt.Sprint("form", i), from("a.md", `"subject":`+string(q)+`,`)); code != "InvalidSubject" {
			t.Errorf("%q: %s", s, code)
		}
	}
	for i, s := range []string{"family:bob", "family:assistant", "local:root", "_system:service:aiosfs"} {
		name := fmt.Sprint("as", i)
		code, err := m.refusal(alice, name, from("a.md", `"subject":"`+s+`",`))
		if code != "SubjectUnauthorized" || !errors.Is(err, ErrDenied) {
			t.Errorf("alice for %s: %s, %v", s, code, err)
		}
		if recs := m.records(alice, name); fmt.Sprint(recs) != "[ACTION_VALIDATED]" {
			t.Errorf("alice for %s leaves %v", s, recs)
		}
		if l, _ := m.rt.visible(alice, name); len(l.now().Actions) != 0 {
			t.Errorf("alice for %s: it became an action", s)
		}
	}
	if _, ok := m.file("groups/family/users/alice/home/a.md"); ok {
		t.Error("something was written")
	}
	if s := m.drop(alice, "own", from("a.md", `"subject":"family:alice",`)); s != "SUCCEEDED" {
		t.Errorf("for herself: %s", s)
	}
}

// A goal may follow from an action of the same subject: it shares its correlation and its
// trace. A parent that does not exist is refused, and since an id is made when its action is
// accepted, a walk up the parents comes to an end.
func TestActions12_Parents(t *testing.T) {
	t.Log("proves: actions-12")
	m := newMachine(t)
	alice, bob := m.who(aliceUID), m.who(bobUID)
	parent := func(id string) string { return `"parent_action_id":"` + id + `",` }
	m.drop(alice, "g0", from("g0.md", ""))
	first := m.envelopes(alice, "g0")[0]
	byID := map[string]envelope{first.Identity.ActionID: first}
	last := first
	for i := 1; i < 4; i++ {
		name := fmt.Sprint("g", i)
		if s := m.drop(alice, name, from(name+".md", parent(last.Identity.ActionID))); s != "SUCCEEDED" {
			t.Fatalf("%s: %s", name, s)
		}
		e := m.envelopes(alice, name)[0]
		if e.Identity.ParentActionID != last.Identity.ActionID || e.Identity.CorrelationID != first.Identity.CorrelationID || e.Trace.TraceID != first.Trace.TraceID {
			t.Errorf("%s: %+v, %+v", name, e.Identity, e.Trace)
		}
		if e.Identity.ActionID == last.Identity.ActionID {
			t.Errorf("%s has its parent's id", name)
		}
		byID[e.Identity.ActionID], last = e, e
	}
	for n, at := 0, last; at.Identity.ParentActionID != ""; n++ {
		next, ok := byID[at.Identity.ParentActionID]
		if !ok || n > len(byID) {
			t.Fatalf("the parents of %s do not end", last.Identity.ActionID)
		}
		at = next
	}
	for i, bad := range []string{"act_01HZZZZZZZZZZZZZZZZZ000001", "act:01HZZZZZZZZZZZZZZZZZ000001", "act_01HZZZ", "evr_01HZZZZZZZZZZZZZZZZZ000001"} {
		if code, _ := m.refusal(alice, fmt.Sprint("bad", i), from("x.md", parent(bad))); code != "EnvelopeMalformed" {
			t.Errorf("%s: %s", bad, code)
		}
	}
	// A goal that takes the name of the first and wants the last as its parent is another
	// action; the first one stays without a parent.
	if s := m.drop(alice, "g0", from("g0.md", parent(last.Identity.ActionID))); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	if e := m.envelopes(alice, "g0")[0]; byID[e.Identity.ActionID].Identity.ActionID != "" {
		t.Error("it got an id that there was")
	}
	if code, _ := m.refusal(bob, "other", from("/aios/groups/family/shared/x.md", parent(last.Identity.ActionID))); code != "EnvelopeMalformed" {
		t.Errorf("bob's goal follows from alice's: %s", code)
	}
	if _, ok := m.file("groups/family/users/alice/home/x.md"); ok {
		t.Error("what was refused was done")
	}
}

// What does not fit the schema, names no place, or is carried out by nobody here has its
// own code, and policy is not asked to allow it.
func TestActions14_Targets(t *testing.T) {
	t.Log("proves: actions-14")
	m := newMachine(t)
	alice := m.who(aliceUID)
	doc := func(action, target, params string) string {
		return fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":%q,"target":%s,"params":%s}]}`, action, target, params)
	}
	for i, c := range []struct{ code, doc string }{
		{"TargetSchemaInvalid", doc("aiosfs.object.write", `{}`, `{"content":"x"}`)},
		{"TargetSchemaInvalid", doc("aiosfs.object.write", `{"path":"a.md","bogus":1}`, `{"content":"x"}`)},
		{"TargetSchemaInvalid", doc("aiosfs.object.write", `{"path":7}`, `{"content":"x"}`)},
		// The scope is derived from the path and from nothing that a document says.
		{"TargetSchemaInvalid", doc("aiosfs.object.write", `{"path":"a.md","scope":"SYSTEM"}`, `{"content":"x"}`)},
		{"TargetSchemaInvalid", doc("aiosfs.object.write", `{"path":"a.md","namespace_catalog_version":"nscat_0"}`, `{"content":"x"}`)},
		{"InvalidTargetPath", doc("aiosfs.object.write", `{"path":"../../bob/home/a.md"}`, `{"content":"x"}`)},
		{"InvalidTargetPath", doc("aiosfs.object.write", `{"path":"/etc/passwd"}`, `{"content":"x"}`)},
		{"InvalidTargetPath", doc("aiosfs.object.write", `{"path":"/aios/nowhere/a.md"}`, `{"content":"x"}`)},
		{"UnknownAdapter", doc("process.list", `{}`, `{}`)}, // of the catalogue, without an adapter on this machine
		{"UnknownActionRequested", doc("no.such", `{}`, `{}`)},
	} {
		name := fmt.Sprint("t", i)
		if err := m.rt.Submit(t.Context(), alice, name, []byte(c.doc)); err == nil {
			m.wait(alice, name)
		}
		var f Failure
		if err := json.Unmarshal([]byte(m.read(alice, name, "error.json")), &f); err != nil {
			t.Fatal(err)
		}
		if f.Code != c.code {
			t.Errorf("%s: %s, want %s", c.doc, f.Code, c.code)
		}
		if d := m.records(alice, name); strings.Contains(fmt.Sprint(d), "EXECUTION_STARTED") {
			t.Errorf("%s: %v", c.doc, d)
		}
	}
}

// An action whose sandbox profile nobody knows is not run, and a manifest without one is
// not loaded.
func TestActions15_UnknownSandbox(t *testing.T) {
	t.Log("proves: actions-15")
	m := newMachine(t)
	alice := m.who(aliceUID)
	with := func(profile string) (*translate.Catalog, error) {
		raw, err := translate.DefaultBundle(m.key)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Publisher translate.Publisher `json:"publisher"`
			Body      []byte              `json:"body"`
		}
		var body struct {
			Manifests []json.RawMessage  `json:"manifests"`
			Recipes   []translate.Recipe `json:"recipes"`
		}
		if err := errors.Join(json.Unmarshal(raw, &file), json.Unmarshal(file.Body, &body)); err != nil {
			t.Fatal(err)
		}
		for i, b := range body.Manifests {
			if strings.Contains(string(b), `"aiosfs.object.mkdir.v1"`) {
				body.Manifests[i] = json.RawMessage(profileField.ReplaceAll(b, []byte(`${1}"`+profile+`"`)))
			}
		}
		root := m.key.Public().(ed25519.PublicKey)
		p, err := translate.Endorse(m.key, "test", root, file.Publisher.Domains)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = translate.SignBundle(m.key, p, "test", body.Manifests, body.Recipes); err != nil {
			t.Fatal(err)
		}
		return translate.Load(raw, translate.Trust{Root: root})
	}
	if _, err := with(""); err == nil || !strings.Contains(err.Error(), "SandboxProfileUnknown") {
		t.Errorf("a manifest without a profile: %v", err)
	}
	doc := `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"aiosfs.object.mkdir","target":{"path":"d"}}]}`
	for i, profile := range []string{"no-such-walls", "aiosfs-transaction"} {
		want := []string{"FAILED", "SUCCEEDED"}[i]
		c, err := with(profile)
		if err != nil {
			t.Fatal(err)
		}
		m.rt.d.Translator = translate.New(c)
		if s := m.drop(alice, profile, doc); s != want {
			t.Errorf("%s: %s", profile, s)
		}
		if _, err := m.store.Resolve("groups/family/users/alice/home/d"); (err == nil) != (want == "SUCCEEDED") {
			t.Errorf("%s: the directory: %v", profile, err)
		}
	}
	if e := m.read(alice, "no-such-walls", "error.json"); !strings.Contains(e, `"SandboxProfileUnknown"`) {
		t.Error(e)
	}
	if recs := fmt.Sprint(m.records(alice, "no-such-walls")); strings.Contains(recs, "POLICY_DECISION") || strings.Contains(recs, "EXECUTION_STARTED") {
		t.Errorf("it leaves %s", recs)
	}
}

var profileField = regexp.MustCompile(`("default_sandbox_profile_id": *)"[^"]*"`)

// What is denied for good stays so, whoever wants it overridden; that it was tried is in
// the log with its reason, and the denied action stays as it was.
func TestConstitutionalDenialsAreNotOverridden(t *testing.T) {
	m := newMachine(t)
	ai, bob := m.who(agentUID), m.who(bobUID)
	if s := m.drop(ai, "i", `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"package.install","target":{"package":"hello","path":"/aios/system/apps/hello"}}]}`); s != "POLICY_DENIED" {
		t.Fatal(s)
	}
	before := m.read(ai, "i", "intent.json")
	l, _ := m.rt.visible(ai, "i")
	if err := m.rt.override(l, bob, "needed at once"); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "TARGET_NOT_OVERRIDABLE") {
		t.Errorf("a person: %v", err)
	}
	if err := m.rt.Write(t.Context(), ai, "i", "override", []byte("needed at once")); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "SUBJECT_NOT_HUMAN") {
		t.Errorf("an agent: %v", err)
	}
	if after := m.read(ai, "i", "intent.json"); after != before {
		t.Errorf("the envelope changed:\n%s\n%s", before, after)
	}
	if recs := strings.Join(m.records(ai, "i"), " "); !strings.HasSuffix(recs, "OVERRIDE_DENIED OVERRIDE_REVIEW OVERRIDE_DENIED OVERRIDE_REVIEW") {
		t.Errorf("records %s", recs)
	}
	m.drop(bob, "fine", `write "x" to /aios/groups/family/shared/x.md`)
	if err := m.rt.Write(t.Context(), bob, "fine", "override", []byte("why not")); !errors.Is(err, ErrInvalid) {
		t.Errorf("of what was not denied: %v", err)
	}
}
