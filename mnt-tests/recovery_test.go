package mnttests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// recoveryNames are those of system/ that filesystem.md §10.1 shows in recovery.
var recoveryNames = []string{"agents", "boot", "capabilities", "evidence", "firmware", "firstboot", "governance", "identity", "kernel", "policy", "recovery", "renderers", "runbooks", "themes", "vault", "web"}

// mountedRecovery starts the daemon for recovery and waits until the mount answers.
func mountedRecovery(t *testing.T, bin, state, dir string) *exec.Cmd {
	t.Helper()
	return serving(t, exec.Command(bin, daemonArgs(state, dir, "--recovery")...), filepath.Join(dir, "system"))
}

func listed(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// A mount for recovery shows system/ without what is quarantined there, changes nothing,
// takes no goals, follows the policy bundle and says so; afterwards all is as before.
func TestRecoveryMount(t *testing.T) {
	t.Log("proves: evidence-88 R-01")
	bin := aios(t)
	base := t.TempDir()
	m := policyMount{t, bin, filepath.Join(base, "state"), filepath.Join(base, "mnt")}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(m.dir) })
	stop := func(cmd *exec.Cmd) {
		t.Helper()
		if code, out, errs := run(t, bin, "umount", m.dir); code != 0 {
			t.Fatalf("umount: %s%s", out, errs)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := mounted(t, bin, m.state, m.dir)
	if s := m.goal("one", `write "kept" to a.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	if os.Geteuid() == 0 {
		if code, out, errs := run(t, bin, "agent", "add", "assistant", "--uid", fmt.Sprint(agentUID), "--mount", m.dir); code != 0 {
			t.Fatalf("agent add: %s%s", out, errs)
		}
	}
	stop(cmd)

	cmd = mountedRecovery(t, bin, m.state, m.dir)
	if got := listed(t, m.dir); !slices.Equal(got, []string{"system"}) {
		t.Errorf("the root lists %v", got)
	}
	if got := listed(t, filepath.Join(m.dir, "system")); !slices.Equal(got, recoveryNames) {
		t.Errorf("system/ lists %v", got)
	}
	for _, name := range []string{"groups", "intents", "self", "README", "views", "objects", ".versions", "system/runtime", "system/apps", "system/.versions"} {
		if _, err := os.Lstat(filepath.Join(m.dir, name)); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%s: %v", name, err)
		}
	}
	nothingChanges(t, m.dir)
	if os.Geteuid() == 0 { // no agent has a part in it; a person may look
		for d := base; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for uid, want := range map[int]bool{agentUID: false, aliceUID: true} {
			ls := exec.Command("setpriv", fmt.Sprintf("--reuid=%d", uid), "--clear-groups", "ls", filepath.Join(m.dir, "system/capabilities"))
			if out, err := ls.CombinedOutput(); (err == nil) != want {
				t.Errorf("uid %d lists: %v %s", uid, err, out)
			}
		}
		t.Log("proves: I-4")
	}
	code, out, errs := run(t, bin, "goal", "--mount", m.dir, "write x to a.md")
	if code == 0 || !strings.Contains(errs, "recovery") {
		t.Errorf("a goal in recovery: %d %s%s", code, out, errs)
	}
	code, out, errs = run(t, bin, "status", "--mount", m.dir)
	if code != 0 || !strings.Contains(out, "RECOVERY") {
		t.Errorf("status: %d %s%s", code, out, errs)
	}
	if code, out, errs = run(t, bin, "verify", "--mount", m.dir); code != 0 || !strings.HasPrefix(out, "consistent") {
		t.Errorf("verify: %d %s%s", code, out, errs)
	}
	// With no agent, no goal and no model at hand, what happened is read as ever, and
	// reading it leaves no trace.
	size, err := os.ReadFile(filepath.Join(m.dir, "system/evidence/head"))
	if err != nil {
		t.Fatal(err)
	}
	if code, out, errs = run(t, bin, "log", "--mount", m.dir, "-n", "0", "--json"); code != 0 || !strings.Contains(out, `"EXECUTION_SUCCEEDED"`) {
		t.Errorf("log: %d %s%s", code, out, errs)
	}
	if now, err := os.ReadFile(filepath.Join(m.dir, "system/evidence/head")); err != nil || string(now) != string(size) {
		t.Errorf("reading the log has added to it: %v\n%s%s", err, size, now)
	}
	for _, kind := range []string{"RECOVERY_EVENT", "MODEL_CALL"} {
		if got := m.records(kind); len(got) != 0 {
			t.Errorf("%s: %v", kind, got)
		}
	}
	t.Log("proves: evidence-11")
	before := m.version()
	m.rule("rules/more.yaml", "rule_id: more\neffect: deny\npriority: 900\nsubjects: [\"class:human\"]\nactions: [process.signal]\n")
	after := m.sign()
	m.inForce(after)
	ops := m.records("RECOVERY_OPERATION_PERFORMED")
	if before == after || len(ops) != 1 {
		t.Errorf("%s → %s, told by %v", before, after, ops)
	}
	stop(cmd)

	cmd = mounted(t, bin, m.state, m.dir)
	defer func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() }()
	for kind, n := range map[string]int{"RECOVERY_BOOT_ENTERED": 1, "RECOVERY_BOOT_EXITED": 1, "RECOVERY_OPERATION_PERFORMED": 1} {
		if got := len(m.records(kind)); got != n {
			t.Errorf("%d records %s", got, kind)
		}
	}
	if b, err := os.ReadFile(filepath.Join(m.dir, "self/home/a.md")); err != nil || strings.TrimSpace(string(b)) != "kept" {
		t.Errorf("%q %v", b, err)
	}
	if s := m.goal("two", `write "again" to a.md`); s != "SUCCEEDED" {
		t.Error(s)
	}
}

// nothingChanges makes every changing call on a record and one on what else is shown.
func nothingChanges(t *testing.T, dir string) {
	t.Helper()
	var records []string
	err := filepath.WalkDir(filepath.Join(dir, "system/evidence/records"), func(name string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			records = append(records, name)
		}
		return err
	})
	if err != nil || len(records) < 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, m := range mutations {
		out, err := exec.Command("sh", "-c", mutating(m.python, records[0], records[1])).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != "EROFS" {
			t.Errorf("%s: %s (%v), want EROFS", m.name, got, err)
		}
	}
	for _, name := range []string{"groups", "new", "system/new", "system/capabilities/new", "system/agents/new"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); !errors.Is(err, syscall.EROFS) {
			t.Errorf("mkdir %s: %v", name, err)
		}
	}
}
