package mnttests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// policyMount is a mount with its state at hand.
type policyMount struct {
	t               *testing.T
	bin, state, dir string
}

func (m policyMount) version() string {
	m.t.Helper()
	code, out, errs := run(m.t, m.bin, "status", "--json", "--mount", m.dir)
	var s map[string]any
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
		m.t.Fatalf("status: %d %v %s%s", code, err, out, errs)
	}
	v, _ := s["policy_bundle_version"].(string)
	return v
}

// rule writes a rule into the state directory, whole at once, so that half of it is never
// looked at; sign signs what lies there.
func (m policyMount) rule(name, text string) {
	m.t.Helper()
	tmp := filepath.Join(m.state, "rule.tmp")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(m.state, "policy", name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m policyMount) sign() string {
	m.t.Helper()
	code, out, errs := run(m.t, m.bin, "policy", "sign", "--state", m.state)
	v := regexp.MustCompile(`polb_[0-9a-f]{32}`).FindString(out)
	if code != 0 || v == "" {
		m.t.Fatalf("sign: %d %s%s", code, out, errs)
	}
	return v
}

func (m policyMount) inForce(version string) {
	m.t.Helper()
	until(m.t, version+" is in force", func() bool { return m.version() == version })
}

func (m policyMount) goal(name, text string) string {
	m.t.Helper()
	drop(m.t, filepath.Join(m.dir, "intents", name), text)
	b, err := os.ReadFile(filepath.Join(m.dir, "intents", name+".d", "wait"))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// records are the payloads of the log's records of a type, oldest first.
func (m policyMount) records(name string) []map[string]any {
	m.t.Helper()
	code, out, errs := run(m.t, m.bin, "log", "--json", "--type", name, "--mount", m.dir)
	if code != 0 {
		m.t.Fatalf("log: %d %s", code, errs)
	}
	var list []map[string]any
	for line := range strings.Lines(out) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		x := map[string]any{}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			m.t.Fatalf("%v: %s", err, line)
		}
		list = append(list, x)
	}
	return list
}

func TestPolicyBundleIsReloadedWhileMounted(t *testing.T) {
	t.Log("proves: actions-32")
	if os.Geteuid() != 0 {
		t.Skip("needs root: asks as another user")
	}
	bin := aios(t)
	base := t.TempDir()
	for p := base; p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil { // another user comes this way
			t.Fatal(err)
		}
	}
	m := policyMount{t, bin, filepath.Join(base, "state"), filepath.Join(base, "mnt")}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(m.dir) })
	cmd := mounted(t, bin, m.state, m.dir)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
	first := m.version()
	if n := len(m.records("POLICY_BUNDLE_LOAD")); n != 1 {
		t.Errorf("%d bundles loaded at the first start", n)
	}
	if s := m.goal("one", `write "one" to a.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	// A goal that waits for its approval, while the rules become stricter.
	shared := filepath.Join(m.dir, "groups/local/shared/keep.md")
	drop(t, shared, "keep")
	asker := &syscall.Credential{Uid: 61234, Gid: 61234} // somebody else approves
	sh := exec.Command("sh", "-c", `echo "delete /aios/groups/local/shared/keep.md" > "$1"/intents/rm && for i in $(seq 1800); do [ -e "$1"/intents/rm.d/approval ] && break; sleep 0.1; done; cat "$1"/intents/rm.d/approval`, "sh", m.dir)
	sh.SysProcAttr = &syscall.SysProcAttr{Credential: asker}
	ask, err := sh.CombinedOutput()
	hash := regexp.MustCompile(`hash: (\S+)`).FindSubmatch(ask)
	if err != nil || hash == nil {
		t.Fatalf("ask: %v %s", err, ask)
	}

	m.rule("rules/frozen.yaml", "rule_id: frozen\neffect: deny\npriority: 900\nsubjects: [\"class:human\"]\nactions: [aiosfs.object.write, aiosfs.object.delete]\n")
	second := m.sign()
	m.inForce(second)
	if s := m.goal("two", `write "two" to a.md`); s != "POLICY_DENIED" {
		t.Errorf("under the new rules: %s", s)
	}
	if b, err := os.ReadFile(filepath.Join(m.dir, "policy/rules/frozen.yaml")); err != nil || !strings.Contains(string(b), "frozen") {
		t.Errorf("policy/ does not show it: %q %v", b, err)
	}
	inbox, err := os.ReadDir(filepath.Join(m.dir, "self/inbox"))
	if err != nil || len(inbox) != 1 {
		t.Fatalf("inbox: %v %v", inbox, err)
	}
	item := filepath.Join(m.dir, "self/inbox", inbox[0].Name())
	if err := os.WriteFile(filepath.Join(item, "approval"), append([]byte("grant "), append(hash[1], '\n')...), 0); err != nil {
		t.Fatalf("grant: %v", err)
	}
	sh = exec.Command("sh", "-c", `timeout 300 cat "$1"/intents/rm.d/wait "$1"/intents/rm.d/error.json`, "sh", m.dir)
	sh.SysProcAttr = &syscall.SysProcAttr{Credential: asker}
	if out, err := sh.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "FAILED\n") || !strings.Contains(string(out), "BINDING_EXPIRED") {
		t.Errorf("approved under other rules: %v %s", err, out)
	}
	if b, err := os.ReadFile(shared); err != nil || string(b) != "keep" {
		t.Errorf("what was approved under other rules happened: %q %v", b, err)
	}

	// What does not hold changes nothing, and is told once. (A rule that lay there for
	// long enough before it was signed has been told of already.)
	told := len(m.records("POLICY_BUNDLE_REJECTED"))
	refused := func(n int) {
		t.Helper()
		n += told
		until(t, "a refusal is recorded", func() bool { return len(m.records("POLICY_BUNDLE_REJECTED")) >= n })
		if list := m.records("POLICY_BUNDLE_REJECTED"); len(list) != n {
			t.Fatalf("%d refusals are recorded, want %d: %v", len(list), n, list)
		}
		if v := m.version(); v != second {
			t.Errorf("%s is in force", v)
		}
		if s := m.goal("again", `write "three" to a.md`); s != "POLICY_DENIED" {
			t.Errorf("after a bundle that does not hold: %s", s)
		}
	}
	frozen, err := os.ReadFile(filepath.Join(m.state, "policy/rules/frozen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m.rule("rules/frozen.yaml", strings.Replace(string(frozen), "deny", "allow", 1)) // and not signed
	refused(1)
	if b, err := os.ReadFile(filepath.Join(m.dir, "policy/rules/frozen.yaml")); err != nil || !strings.Contains(string(b), "deny") {
		t.Errorf("policy/ shows what is not in force: %q %v", b, err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	refused(1)
	m.rule("rules/frozen.yaml", "rule_id: frozen\neffect: allow\nsubjects: [\"class:human\"]\nactions: [x.do]\nconditions: ['target.own_group = false']\n")
	if code, _, errs := run(t, bin, "policy", "sign", "--state", m.state); code == 0 || !strings.Contains(errs, "InvariantLooseningAttempted") {
		t.Errorf("a bundle that relaxes a border is signed: %d %s", code, errs)
	}

	// Back to the first one: its version is its content's.
	if err := os.Remove(filepath.Join(m.state, "policy/rules/frozen.yaml")); err != nil {
		t.Fatal(err)
	}
	if v := m.sign(); v != first {
		t.Errorf("the same files are %s and were %s", v, first)
	}
	m.inForce(first)
	if s := m.goal("four", `write "four" to a.md`); s != "SUCCEEDED" {
		t.Errorf("under the first rules again: %s", s)
	}
	if n := len(m.records("POLICY_BUNDLE_LOAD")); n != 3 {
		t.Errorf("%d loads are recorded, want 3", n)
	}
	if code, out, errs := run(t, bin, "verify", "--state", m.state); code != 0 {
		t.Errorf("verify: %d %s%s", code, out, errs)
	}
}
