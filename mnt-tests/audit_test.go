package mnttests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// operatorUID is a person who is an operator in recovery, and otherwise anybody.
const operatorUID = 60105

// inRecovery ends the mount and starts one for recovery.
func (p *people) inRecovery() {
	p.t.Helper()
	_ = p.daemon.Process.Signal(syscall.SIGTERM)
	if err := p.daemon.Wait(); err != nil {
		p.t.Fatal(err)
	}
	p.daemon = mountedRecovery(p.t, p.bin, p.state, p.dir)
}

const desk = "$M/system/recovery/intents/"

// petition asks for a typed action in recovery, and gives its state, its id and its hash.
func (p *people) petition(uid int, name, action string) (state string, x proposal) {
	p.t.Helper()
	p.ok(uid, "cat > "+desk+name+" <<'EOF_DOC'\n"+intent("audit", action)+"\nEOF_DOC")
	text := p.ok(uid, "cat "+desk+name+".d/approval 2>/dev/null; true")
	if m := regexp.MustCompile(`(?m)^id: (\S+)$`).FindStringSubmatch(text); m != nil {
		x.run = m[1]
	}
	if m := regexp.MustCompile(`(?m)^hash: ([0-9a-f]{64})$`).FindStringSubmatch(text); m != nil {
		x.hash = m[1]
	}
	return p.ok(uid, "cat "+desk+name+".d/state"), x
}

// say writes a word on a petition, which another has made.
func (p *people) say(uid int, x proposal, word string) (string, error) {
	p.t.Helper()
	return p.as(uid, "echo '"+word+"' > "+desk+x.run+".d/approval")
}

func (p *people) granted(by int, x proposal) {
	p.t.Helper()
	if out, err := p.say(by, x, "grant "+x.hash); err != nil {
		p.t.Fatalf("uid %d grants: %v %s", by, err, out)
	}
}

// recordsOf are the subjects of all records that a uid sees in the log of a recovery mount.
func (p *people) recordsOf(uid int) string {
	p.t.Helper()
	return p.ok(uid, `find $M/system/evidence/records -type f -exec cat {} + | grep -o '"subject":"[^"]*"' | sort -u`)
}

// Another group's evidence is neither shown nor denied: what a query leaves out is counted
// in the log alone. In recovery an operator who was granted the capability sees the one
// group that another person has let him see, as long as that was said for.
func TestEvidence28_AnotherGroupsEvidence(t *testing.T) {
	p := newPeople(t, "--allow-other=true")
	gid := map[string]string{}
	for group, name := range map[string]string{"family": "games", "homelab": "news"} {
		if out, err := exec.Command("id", "-u", name).Output(); err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(members[name]) {
			t.Skipf("there is no login %s of uid %d to put into a group", name, members[name])
		}
		p.ok(0, "mkdir $M/groups/"+group+" $M/groups/"+group+"/users/"+name)
		gid[group] = p.ok(0, "stat -c %g $M/groups/"+group)
		if out, err := p.inGroup(members[name], gid[group], `echo 'write "x" to note.md' > $M/intents/n && cat $M/intents/n.d/wait`); err != nil || out != "SUCCEEDED" {
			t.Fatal(err, out)
		}
	}
	find := func(group, name, actor string) string {
		out, err := p.inGroup(members[name], gid[group], p.bin+` find --mount $M --json 'from evidence where actor = "`+actor+`"'`)
		if err != nil {
			t.Fatal(out)
		}
		return out
	}
	if out := find("homelab", "news", "homelab:news"); !strings.Contains(out, "evr_") {
		t.Errorf("one's own are not found: %s", out)
	}
	if out := find("family", "games", "homelab:news"); strings.Contains(out, "evr_") {
		t.Errorf("another group's are found: %s", out)
	}
	// Nor is there a way around: the files that hold all records are not for everybody,
	// while what checks the log is.
	p.ok(0, "ls $M/evidence/segments/* $M/evidence/log/tile/entries | grep .")
	if out, _ := p.inGroup(members["games"], gid["family"], "cd $M/evidence && { grep -rl homelab segments log; ls -d segments log/tile/entries; } 2>/dev/null"); out != "" {
		t.Errorf("read from the log's own files: %s", out)
	}
	if out, err := p.inGroup(members["games"], gid["family"], "cd $M/evidence && cat log/checkpoint verifier.key && ls log/tile/0 | grep ."); err != nil {
		t.Errorf("the log's checkpoint, key and hashes: %s", out)
	}
	told := p.told(1, "AIOSFS_QUERY", "family:games", "homelab:news", "suppressed_count")[0]
	if m := regexp.MustCompile(`"suppressed_count": ?"?([0-9]+)`).FindStringSubmatch(told); m == nil || m[1] == "0" {
		t.Errorf("what was left out is not counted: %s", told)
	}
	if out, err := p.as(operatorUID, "echo x > "+desk+"x"); err == nil {
		t.Errorf("it is possible outside recovery: %s", out)
	}

	p.inRecovery()
	const register, grant = "id: a\naction: recovery.operator.register\ntarget: {operator: carol}\nparams: {uid: %d}", "id: a\naction: capability.grant\ntarget: {operator: carol}\nparams: {capability: system_audit_read}"
	const audit = "id: a\naction: evidence.read\ntarget: {group: homelab}"
	// Nobody makes himself one, and the administrator alone does not either.
	if s, _ := p.petition(operatorUID, "self", fmt.Sprintf(register, operatorUID)); s != "POLICY_DENIED" {
		t.Errorf("a person without rights registers himself: %s", s)
	}
	if s, _ := p.petition(operatorUID, "early", audit); s != "POLICY_DENIED" || !strings.Contains(p.ok(operatorUID, "cat "+desk+"early.d/error.json"), "CrossGroupAccessForbidden") {
		t.Errorf("a stranger asks: %s", s)
	}
	for i, action := range []string{fmt.Sprintf(register, operatorUID), grant} {
		if i == 1 { // an operator without the capability is a stranger still
			if s, _ := p.petition(operatorUID, "without", audit); s != "POLICY_DENIED" || !strings.Contains(p.ok(operatorUID, "cat "+desk+"without.d/error.json"), "CrossGroupAccessForbidden") {
				t.Errorf("without the capability: %s", s)
			}
		}
		s, x := p.petition(0, fmt.Sprint("make", i), action)
		if s != "APPROVAL_PENDING" {
			t.Fatal(s, p.ok(0, "cat "+desk+fmt.Sprint("make", i)+".d/error.json"))
		}
		if out, err := p.say(0, x, "grant "+x.hash); err == nil {
			t.Fatalf("root approves what root asks for: %s", out)
		}
		p.granted(aliceUID, x)
		if s := p.ok(0, "cat "+desk+fmt.Sprint("make", i)+".d/state"); s != "SUCCEEDED" {
			t.Fatal(s, p.ok(0, "cat "+desk+fmt.Sprint("make", i)+".d/error.json"))
		}
	}
	if got := p.recordsOf(operatorUID); strings.Contains(got, "family:") || strings.Contains(got, "homelab:") {
		t.Errorf("before anybody has approved, the operator sees %s", got)
	}
	s, x := p.petition(operatorUID, "audit", audit)
	if s != "APPROVAL_PENDING" {
		t.Fatal(s, p.ok(operatorUID, "cat "+desk+"audit.d/error.json"))
	}
	for uid, word := range map[int]string{operatorUID: "grant " + x.hash, aliceUID: "grant " + x.hash, 0: "grant " + strings.Repeat("0", 64)} {
		if out, err := p.say(uid, x, word); err == nil {
			t.Errorf("the word of uid %d is taken: %s: %s", uid, word, out)
		}
	}
	if got := p.recordsOf(operatorUID); strings.Contains(got, "homelab:") {
		t.Errorf("nobody has approved, and the operator sees %s", got)
	}
	if out, err := p.as(operatorUID, "cd $M/system/evidence && grep -rl homelab: segments log | grep ."); err == nil {
		t.Errorf("he reads it from %s", out)
	}
	p.granted(0, x)
	if out, err := p.say(0, x, "grant "+x.hash); err == nil {
		t.Errorf("the approval is given twice: %s", out)
	}
	if got := p.recordsOf(operatorUID); !strings.Contains(got, `"homelab:news"`) || strings.Contains(got, "family:") {
		t.Errorf("approved for homelab, the operator sees %s", got)
	}
	if got := p.recordsOf(aliceUID); strings.Contains(got, "homelab:") {
		t.Errorf("and so does somebody else: %s", got)
	}

	// The approval is good for its time only.
	m := policyMount{t, p.bin, p.state, p.dir}
	m.rule("rules/short.yaml", "rule_id: short\neffect: allow\npriority: 900\nsubjects: [\"class:human\"]\nactions: [evidence.read]\napproval: {required: true, approval_scope: exact_request_hash, ttl_seconds: 10, approver_classes: [human], strength: STRONG}\n")
	m.inForce(m.sign())
	other := strings.Replace(audit, "homelab", "family", 1)
	p.petition(operatorUID, "late", other)
	until(t, "nobody's approval has come too late", func() bool { return p.ok(operatorUID, "cat "+desk+"late.d/state") == "FAILED" })
	if e := p.ok(operatorUID, "cat "+desk+"late.d/error.json"); !strings.Contains(e, "ApprovalExpired") {
		t.Error(e)
	}
	until(t, "an approval in time", func() bool { // a busy machine may be late
		_, x = p.petition(operatorUID, "short", other)
		_, err := p.say(0, x, "grant "+x.hash)
		return err == nil
	})
	until(t, "the operator sees what was approved for ten seconds no more", func() bool { return !strings.Contains(p.recordsOf(operatorUID), "family:") })
	if got := p.recordsOf(operatorUID); !strings.Contains(got, `"homelab:news"`) {
		t.Errorf("with it went what was approved for longer: %s", got)
	}

	// It is all in the log, and ends with recovery.
	_ = p.daemon.Process.Signal(syscall.SIGTERM)
	if err := p.daemon.Wait(); err != nil {
		t.Fatal(err)
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir, "--allow-other=true")
	for _, words := range [][]string{
		{"RECOVERY_OPERATION_PERFORMED", "recovery.operator.register", "local:root", "carol"}, {"RECOVERY_OPERATION_PERFORMED", "capability.grant", "system_audit_read"},
		{"RECOVERY_OPERATION_PERFORMED", "evidence.read", "_system:local:operator-carol", "homelab", "local:root"}, {"CROSS_GROUP_ACCESS_DENIED", "evidence.read", "homelab"},
		{"APPROVAL_REQUESTED", "evidence.read", "_system:local:operator-carol"}, {"APPROVAL_GRANTED", "evidence.read", "local:root"}, {"APPROVAL_CONSUMED", "evidence.read"},
		{"APPROVAL_EXPIRED", "evidence.read"},
	} {
		p.told(1, words...)
	}
	if who := p.ok(operatorUID, "readlink $M/self"); who != fmt.Sprintf("groups/local/users/uid-%d", operatorUID) {
		t.Errorf("outside recovery the operator is %s", who)
	}
	if got := p.ok(operatorUID, `find $M/evidence/records -type f -exec cat {} + | grep -o '"subject":"[^"]*"' | sort -u; test -e $M/system/recovery/intents || echo none`); strings.Contains(got, "homelab:") || !strings.HasSuffix(got, "none") {
		t.Errorf("outside recovery the operator sees %s", got)
	}
	if code, out, errs := run(t, p.bin, "verify", "--state", filepath.Clean(p.state)); code != 0 {
		t.Errorf("verify: %d %s%s", code, out, errs)
	}
	t.Log("proves: evidence-28")
}
