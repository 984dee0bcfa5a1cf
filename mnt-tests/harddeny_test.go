package mnttests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wished are all actions that somebody might want a policy file to allow.
const wished = "[package.install, package.uninstall.execute, app.install, app.uninstall.execute, package.remove, secret.use.ssh_key_for_git, network.expose, agent.grade.attempt, " +
	"aiosfs.object.write, aiosfs.object.delete, aiosfs.object.move, aiosfs.object.mkdir, aiosfs.pointer.rollback, process.list]"

// wish is a policy file that would let everybody do everything, or a set of such files.
type wish struct {
	what  string
	files map[string]string // below policy/
	holds bool              // it is a bundle like any other, and comes into force
	opens bool              // it lets an agent write to a shared place without an approval
}

func wishes() []wish {
	rule := func(id string, more ...string) map[string]string {
		text := "rule_id: " + id + "\neffect: allow\nsubjects: [\"class:ai\", \"class:human\", \"class:system_admin\"]\nactions: " + wished + "\n" + strings.Join(more, "\n") + "\n"
		return map[string]string{"rules/wish.yaml": text}
	}
	two := rule("zz_allow", "priority: 2147483647")
	two["rules/wish2.yaml"] = "rule_id: no_humans\neffect: deny\npriority: 1\nsubjects: [\"class:human\"]\nactions: " + wished + "\n"
	grouped := map[string]string{"rules/wish.yaml": "rule_id: admins\neffect: allow\npriority: 900\nsubjects: [\"group:chosen\"]\nactions: " + wished + "\n",
		"manifest.json": `{"schema_version":"aios.policy.v1alpha1","publisher_id":"local-default","group_definitions":{"chosen":["local:helper8","local:root"]},"created_at":"2026-11-23T00:00:00Z"}`}
	return []wish{
		{"everything, before everything", rule("aaa", "priority: 2147483647"), true, true},
		{"everything, behind everything", rule("zzz", "priority: -2147483648"), true, false},
		{"without an approval", rule("mine", "priority: 900", "approval: {required: false}"), true, true},
		{"by a weak approval", rule("mine", "priority: 900", "approval: {required: true, ttl_seconds: 60, approver_classes: [human], strength: WEAK}"), true, false},
		{"for AIs by name", rule("mine", "priority: 900", "conditions: ['subject.is_ai = true']"), true, true},
		{"in recovery", rule("mine", "priority: 900", "conditions: ['time.recovery_mode']"), true, false},
		{"with the internet", rule("mine", "priority: 900", "constraints: {network_policy: INTERNET_ALLOWED, sandbox_profile_id: host-package-control, ttl_seconds: 3600}"), true, true},
		{"beside a denial for others", two, true, true},
		{"for a group of one's own", grouped, true, true},
		{"in the name of a hard denial", rule("AIInstallInitiationBlocked", "priority: 900"), false, false},
		{"by a wildcard", map[string]string{"rules/wish.yaml": "rule_id: mine\neffect: allow\npriority: 900\nsubjects: [\"class:ai\"]\nactions: [\"*\"]\n"}, false, false},
		{"by an override", rule("mine", "priority: 900", "overrides: [AIInstallInitiationBlocked, hd.evidence_log_mutation]"), false, false},
		{"across groups", rule("mine", "priority: 900", "conditions: ['target.own_group = false']"), false, false},
		{"with a hard denial left out", map[string]string{"hard_denies.yaml": ""}, false, false},
		{"with no hard denials", map[string]string{"hard_denies.yaml": "[]\n"}, false, false},
	}
}

// attempts are what no agent, and what nobody at all, may do, with the code that says so;
// "" where there is nothing that could do it.
var agentAttempts, rootAttempts = map[string][2]string{
	"install":   {"action: package.install\ntarget: {package: hello}", "AIInstallInitiationBlocked"},
	"installat": {"action: package.install\ntarget: {package: hello, path: /aios/system/apps/hello}", "AISystemAdminBlocked"},
	"remove":    {"action: package.remove\ntarget: {package: hello}", ""},
	"secret":    {"action: secret.use.ssh_key_for_git\ntarget: {repo: 'https://example.invalid/a.git', key_ref: 'vault://self/ssh/git'}", ""},
	"expose":    {"action: network.expose\ntarget: {app: hello, endpoint: '0.0.0.0:80'}", ""},
	"grade":     {"action: agent.grade.attempt\ntarget: {path: /aios/groups/local/shared/f}", ""},
	"policy":    {"action: aiosfs.object.write\ntarget: {path: /aios/system/policy/rules/x.yaml}\nparams: {content: x}", "RecoveryRequiredForSystemMutation"},
	"agents":    {"action: aiosfs.object.write\ntarget: {path: /aios/system/agents/helper}\nparams: {content: x}", "AISystemAdminBlocked"},
	"foreign":   {"action: aiosfs.object.write\ntarget: {path: /aios/groups/family/shared/x}\nparams: {content: x}", "CrossGroupAccessForbidden"},
	"evidence":  {"action: aiosfs.object.delete\ntarget: {path: /aios/system/evidence/head}", "hd.evidence_log_mutation"},
}, map[string][2]string{
	"system":    {"action: aiosfs.object.delete\ntarget: {path: /aios/system}\nparams: {recursive: true}", "hd.recursive_delete_root"},
	"groups":    {"action: aiosfs.object.delete\ntarget: {path: /aios/groups}\nparams: {recursive: true}", "CrossGroupAccessForbidden"},
	"evidence":  {"action: aiosfs.object.delete\ntarget: {path: /aios/system/evidence/head}", "hd.evidence_log_mutation"},
	"policy":    {"action: aiosfs.object.write\ntarget: {path: /aios/system/policy/rules/x.yaml}\nparams: {content: x}", "RecoveryRequiredForSystemMutation"},
	"vault":     {"action: aiosfs.pointer.rollback\ntarget: {path: /aios/system/vault/x}", "RecoveryRequiredForSystemMutation"},
	"recovered": {"action: aiosfs.object.write\ntarget: {path: /aios/system/recovery/x}\nparams: {content: x}", "RecoveryRequiredForSystemMutation"},
}

// tries drops all attempts and says how each of them ended.
func (p *people) tries(uid int, round string, attempts map[string][2]string) {
	p.t.Helper()
	dir := p.path("docs", fmt.Sprint(uid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	for name, a := range attempts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(intent("r", "id: a\n"+a[0])+"\n"), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	out := p.ok(uid, `for f in `+dir+`/*; do n=$(basename $f); cp $f $M/intents/$n 2>/dev/null
		echo "$n $(cat $M/intents/$n.d/wait) $(cat $M/intents/$n.d/error.json | tr -d '\n')"; done`)
	seen := 0
	for line := range strings.Lines(out) {
		name, rest, _ := strings.Cut(line, " ")
		seen++
		switch code := attempts[name][1]; {
		case strings.HasPrefix(rest, "SUCCEEDED"):
			p.t.Errorf("%s: uid %d: %s was carried out", round, uid, name)
		case code != "" && (!strings.HasPrefix(rest, "POLICY_DENIED") || !strings.Contains(rest, `"`+code+`"`) || !strings.Contains(rest, `"hard_deny": true`)):
			p.t.Errorf("%s: uid %d: %s ended as %s, want %s", round, uid, name, strings.TrimSpace(rest), code)
		}
	}
	if seen != len(attempts) {
		p.t.Errorf("%s: uid %d: %d of %d attempts were answered: %s", round, uid, seen, len(attempts), out)
	}
}

// restore puts back what stood below policy/.
func (m policyMount) restore(name string, before map[string]string) {
	m.t.Helper()
	if text, ok := before[name]; ok {
		m.rule(name, text)
	} else if err := os.Remove(filepath.Join(m.state, "policy", name)); err != nil {
		m.t.Fatal(err)
	}
}

// Whatever a policy file says, signed by the keys that may and put in force while all is
// mounted: what is denied for good stays denied, for an agent and for who looks after the
// machine, with its own code; and what does not hold changes nothing.
func TestActions98_NoFileLoosensAHardDenial(t *testing.T) {
	p := newPeople(t)
	m := policyMount{t, p.bin, p.state, p.dir}
	if code, _, errs := run(t, p.bin, "goal", "--mount", p.dir, "--wait", "create group family"); code != 0 {
		t.Fatalf("create group: %d, %s", code, errs)
	}
	p.ok(aliceUID, "echo mine > $M/groups/local/shared/f; chmod 666 $M/groups/local/shared/f")
	before := map[string]string{}
	for _, name := range []string{"manifest.json", "hard_denies.yaml"} {
		b, err := os.ReadFile(filepath.Join(p.state, "policy", name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = string(b)
	}
	list := wishes()
	for i, w := range list {
		uid := 60400 + i // each agent has a budget of its own
		if code, _, errs := run(t, p.bin, "agent", "add", fmt.Sprint("helper", i), "--uid", fmt.Sprint(uid), "--mount", p.dir); code != 0 {
			t.Fatalf("agent add: %d, %s", code, errs)
		}
		was := m.version()
		for name, text := range w.files {
			m.rule(name, text)
		}
		code, out, errs := run(t, p.bin, "policy", "sign", "--state", p.state)
		if w.holds {
			if code != 0 {
				t.Fatalf("%s: sign: %s%s", w.what, out, errs)
			}
			until(t, w.what+" is in force", func() bool { return m.version() != was })
		} else if code == 0 {
			t.Errorf("%s is signed: %s", w.what, out)
		}
		p.tries(uid, w.what, agentAttempts)
		if !w.holds { // nothing has changed: what is left is as under the rules before
			for name := range w.files {
				m.restore(name, before)
			}
			continue
		}
		p.tries(0, w.what, rootAttempts)
		// With its own hands, into the humans' queue, and by its own approval.
		for _, try := range []string{"echo x > $M/groups/local/shared/f", "rm -f $M/groups/local/shared/f", "mkdir $M/groups/local/shared/d"} {
			if out, err := p.as(uid, try); err == nil || !strings.Contains(out, "ermi") {
				t.Errorf("%s: %s: %v, %s", w.what, try, err, out)
			}
		}
		q := intent("look", "id: a\naction: process.list\ntarget: {}") + "\nqueue_class: INTERACTIVE"
		p.ok(uid, "cat > $M/intents/q <<'EOF_DOC'\n"+q+"\nEOF_DOC\nsettled q")
		if e := p.ok(uid, "cat $M/intents/q.d/intent.json"); !strings.Contains(e, `"queue_class": "AGENT_PROPOSAL"`) {
			t.Errorf("%s: the queue: %s", w.what, e)
		}
		p.ok(uid, fmt.Sprintf(`echo 'write "x" to /aios/groups/local/shared/by%d' > $M/intents/w; settled w`, i))
		switch s := p.ok(uid, "cat $M/intents/w.d/state"); {
		case w.opens && s != "SUCCEEDED":
			t.Errorf("%s: what a rule may allow is %s: %s", w.what, s, p.ok(uid, "cat $M/intents/w.d/decision.json"))
		case !w.opens && s == "APPROVAL_PENDING":
			if out, err := p.as(uid, `grep -o '[0-9a-f]\{64\}' $M/intents/w.d/approval | head -1 | sed 's/^/grant /' > $M/intents/w.d/approval`); err == nil {
				if s := p.ok(uid, "cat $M/intents/w.d/state"); s != "APPROVAL_PENDING" {
					t.Errorf("%s: the agent approved its own goal: %s %s", w.what, s, out)
				}
			}
			p.ok(uid, "echo 1 > $M/intents/w.d/cancel; cat $M/intents/w.d/wait")
		}
		for name := range w.files {
			m.restore(name, before)
		}
		m.inForce(m.sign())
	}
	if s := p.ok(aliceUID, "cat $M/groups/local/shared/f"); s != "mine" {
		t.Errorf("what an agent wrote with its own hands stands there: %q", s)
	}
	if n := len(m.records("APP_AI_DIRECT_INSTALL_ATTEMPTED_BLOCKED")); n < 2*len(list) {
		t.Errorf("%d records of %d installations", n, 2*len(list))
	}
	if code, out, errs := run(t, p.bin, "verify", "--state", p.state); code != 0 {
		t.Errorf("verify: %d %s%s", code, out, errs)
	}
	t.Log("proves: actions-98")
}
