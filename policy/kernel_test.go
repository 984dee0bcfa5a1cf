package policy

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/ai-os-dot-net/aios/policy/bundle"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

var human = identity.Subject{ID: "family:alice", Kind: identity.HumanUser, PrimaryGroup: "family", Memberships: []string{"family"}, UID: 5001, SessionClass: "INTERACTIVE"}
var admin = identity.Subject{ID: "local:root", Kind: identity.HumanUser, PrimaryGroup: "local", Memberships: []string{"local"}, Capabilities: []string{"system_admin"}, Admin: true}
var agent = identity.Subject{ID: "family:assistant", Kind: identity.AIAgent, IsAI: true, PrimaryGroup: "family", Memberships: []string{"family"}, SessionClass: "SERVICE"}

var home = Target{Scope: "USER", Group: "family", User: "alice", Reserved: "USR_HOME", Path: "groups/family/users/alice/home/journal/a.md"}
var shared = Target{Scope: "GROUP", Group: "family", Reserved: "GRP_SHARED", Path: "groups/family/shared/notes.md"}

// files gives the default bundle with changes: a nil value removes a file.
func files(change map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	_ = fs.WalkDir(bundle.Default(), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			b, _ := fs.ReadFile(bundle.Default(), name)
			m[name] = &fstest.MapFile{Data: b}
		}
		return err
	})
	for name, text := range change {
		if text == "" {
			delete(m, name)
		} else {
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return m
}

func sign(t testing.TB, m fstest.MapFS) (fstest.MapFS, bundle.Trust) {
	t.Helper()
	rootPub, root, _ := ed25519.GenerateKey(nil)
	pubPub, pub, _ := ed25519.GenerateKey(nil)
	sigs, err := bundle.Sign(m, root, pub)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range sigs {
		m[name] = &fstest.MapFile{Data: b}
	}
	return m, bundle.Trust{Root: rootPub, Publisher: pubPub}
}

func loadBundle(t testing.TB, change map[string]string) (*bundle.Bundle, error) {
	t.Helper()
	m := files(change)
	if _, err := bundle.Sign(m, make(ed25519.PrivateKey, 64), make(ed25519.PrivateKey, 64)); err != nil {
		return nil, err // not even to be signed
	}
	m, trust := sign(t, m)
	return bundle.Load(m, trust, HardDenyIDs())
}

func kernel(t testing.TB, change map[string]string) *Kernel {
	t.Helper()
	b, err := loadBundle(t, change)
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(Options{Bundle: b})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ask(k *Kernel, s identity.Subject, action string, tg Target, more ...func(*Request)) Decision {
	r := Request{Action: action, Class: Mutate, Subject: s, Target: tg, DryRun: "LIVE", Environment: "LOCAL"}
	for _, m := range more {
		m(&r)
	}
	return k.Evaluate(context.Background(), r)
}

func TestDefaultPolicy(t *testing.T) {
	t.Log("proves: P-11 P-31")
	k := kernel(t, nil)
	destructive := func(r *Request) { r.Template.Destructive = true }
	for _, c := range []struct {
		name   string
		s      identity.Subject
		action string
		tg     Target
		more   func(*Request)
		want   Outcome
		code   string
	}{
		{"a person writes at home", human, "aiosfs.object.write", home, nil, Allow, ScopedAllow},
		{"and deletes there", human, "aiosfs.object.delete", home, destructive, Allow, ScopedAllow},
		{"and writes in the group's shared place", human, "aiosfs.object.write", shared, nil, Allow, ScopedAllow},
		{"but asks before deleting there", human, "aiosfs.object.delete", shared, destructive, RequireApproval, ScopedApprovalRequired},
		{"a process gets a signal with an approval", human, "process.signal", Target{}, nil, RequireApproval, ScopedApprovalRequired},
		{"processes may be listed", human, "process.list", Target{}, func(r *Request) { r.Class = Read }, Allow, ScopedAllow},
		{"a repository is cloned with an approval", human, "repo.clone", home, nil, RequireApproval, ScopedApprovalRequired},
		{"only an administrator makes groups", human, "group.create", Target{Scope: "SYSTEM", Reserved: "SYS_IDENTITY"}, nil, Deny, DefaultDeny},
		{"the administrator does", admin, "group.create", Target{Scope: "SYSTEM", Reserved: "SYS_IDENTITY"}, nil, Allow, ScopedAllow},
		{"nobody else writes the identities", admin, "aiosfs.object.write", Target{Scope: "SYSTEM", Reserved: "SYS_IDENTITY", Path: "system/identity/x"}, nil, Deny, "RecoveryRequiredForSystemMutation"},
		{"an AI's write is a proposal", agent, "aiosfs.object.write", shared, nil, RequireApproval, ScopedApprovalRequired},
		{"an AI has no home of Alice's", agent, "aiosfs.object.write", home, nil, Deny, DefaultDeny},
		{"an AI installs nothing", agent, "package.install", Target{Fields: map[string]any{"package": "nginx"}}, nil, Deny, "AIInstallInitiationBlocked"},
		{"it may ask", agent, "package.install.request", Target{}, nil, RequireApproval, ScopedApprovalRequired},
		{"an unknown action", human, "time.travel", home, nil, Deny, DefaultDeny},
		{"nobody", identity.Subject{}, "process.list", Target{}, nil, Deny, SubjectUnauthenticated},
		{"another group's place", human, "aiosfs.object.write", Target{Scope: "GROUP", Group: "homelab", Reserved: "GRP_SHARED"}, nil, Deny, "CrossGroupAccessForbidden"},
		{"the machine's shared place", human, "aiosfs.object.write", Target{Scope: "GROUP", Group: "local", Reserved: "GRP_SHARED", Path: "groups/local/shared/x"}, nil, Allow, ScopedAllow},
	} {
		more := []func(*Request){}
		if c.more != nil {
			more = append(more, c.more)
		}
		d := ask(k, c.s, c.action, c.tg, more...)
		if d.Outcome != c.want || d.ReasonCode != c.code {
			t.Errorf("%s: %s %s (%s), want %s %s", c.name, d.Outcome, d.ReasonCode, d.ReasonMessage, c.want, c.code)
		}
		if d.SnapshotID == "" && c.s.ID != "" || d.BundleVersion == "" || d.ID == "" {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

// P-17: each hard denial fires, does not fire when any part of it is missing, and
// wins over a bundle that allows.
func TestHardDenies(t *testing.T) {
	t.Log("proves: P-2 P-17 P-18 P-30")
	allowAll := map[string]string{"rules/everything.yaml": `rule_id: everything
effect: allow
priority: 100000
subjects: ["class:human", "class:ai"]
actions: [x.do, aiosfs.object.write, aiosfs.object.delete, aiosfs.pointer.rollback, package.install, hardware.accept_drift_substrate, policy.log.delete, evidence.rewrite, policy.kernel.disable, recovery.disable, boot.set]
`}
	k := kernel(t, allowAll)
	sys := func(reserved string) Target { return Target{Scope: "SYSTEM", Reserved: reserved, Path: "system/x/y"} }
	type req = func(*Request)
	tried := map[string]bool{}
	for _, c := range []struct {
		id     string
		s      identity.Subject
		action string
		tg     Target
		fire   req
		misses []req
	}{
		{"MutuallyExclusiveModeFlags", human, "x.do", home, func(r *Request) { r.FirstBoot, r.RecoveryMode = true, true },
			[]req{func(r *Request) { r.FirstBoot = false }, func(r *Request) { r.RecoveryMode = false }}},
		{"RecoveryRequiredForSystemMutation", admin, "aiosfs.object.write", sys("SYS_POLICY"), nil,
			[]req{func(r *Request) { r.RecoveryMode = true }, func(r *Request) { r.Class = Read }, func(r *Request) { r.Target = sys("SYS_APPS") }, func(r *Request) { r.FirstBoot = true }, func(r *Request) { r.Target.Scope = "" }}},
		{"ConstitutionalSubstrateRequiresRecovery", admin, "hardware.accept_drift_substrate", Target{}, nil, []req{func(r *Request) { r.RecoveryMode = true }, func(r *Request) { r.Action = "x.do" }}},
		{"AISystemAdminBlocked", agent, "aiosfs.object.write", sys("SYS_APPS"), func(r *Request) { r.Subject.Capabilities = []string{"system_admin"} },
			[]req{func(r *Request) { r.Subject.IsAI = false }, func(r *Request) { r.Class = Read }, func(r *Request) { r.Target = sys("SYS_THEMES") }, func(r *Request) { r.Target.Scope = "" }}},
		{"AIInstallInitiationBlocked", agent, "package.install", Target{}, nil, []req{func(r *Request) { r.Subject = human }, func(r *Request) { r.Action = "x.do" }}},
		{"CrossGroupAccessForbidden", human, "aiosfs.object.write", Target{Scope: "USER", Group: "homelab", User: "bob"}, nil,
			[]req{func(r *Request) { r.Target.Group = "family" }, func(r *Request) { r.Target.Scope = "SYSTEM" }}},
		{"CompositionZoneForbidden", agent, "x.do", Target{Fields: map[string]any{"composition_zone": "CHROME"}}, nil,
			[]req{func(r *Request) { r.Subject = human }, func(r *Request) { r.Target.Fields = map[string]any{"composition_zone": "CONTENT"} }}},
		{"GpuComputeOutsideAuthorisedClass", human, "x.do", Target{Fields: map[string]any{"gpu_capability_class": "GPU_COMPUTE_HEAVY"}}, nil,
			[]req{func(r *Request) { r.Subject.Capabilities = []string{"gpu.compute_heavy"} }, func(r *Request) { r.Target.Fields = nil }}},
		{"hd.secret_raw_read_by_ai", agent, "x.do", Target{}, func(r *Request) { r.RawSecretRead = true }, []req{func(r *Request) { r.RawSecretRead = false }, func(r *Request) { r.Subject = human }}},
		{"hd.recursive_delete_root", human, "aiosfs.object.delete", Target{Path: "/home"}, func(r *Request) { r.Recursive = true },
			[]req{func(r *Request) { r.Recursive = false }, func(r *Request) { r.Class = Read }, func(r *Request) { r.Action = "aiosfs.object.write" }, func(r *Request) { r.Target.Path = "/home/x" }, func(r *Request) { r.Target.Path = "/aios-x" }}},
		{"CompositionZoneForbidden", human, "x.do", Target{Fields: map[string]any{"composition_zone": "CHROME", "surface_kind": "APP_SURFACE"}}, nil,
			[]req{func(r *Request) { r.Target.Fields = map[string]any{"composition_zone": "CHROME"} }}},
		{"hd.policy_log_mutation", admin, "aiosfs.object.write", Target{Path: "system/policy/log/2026"}, nil, []req{func(r *Request) { r.Class = Read }, func(r *Request) { r.Target.Path = "system/policy/log-x" }}},
		{"hd.evidence_log_mutation", human, "aiosfs.object.write", Target{Reserved: "GRP_EVIDENCE"}, nil, []req{func(r *Request) { r.Class = Read }, func(r *Request) { r.Target.Reserved = "GRP_SHARED" }}},
		{"hd.evidence_log_mutation", human, "aiosfs.object.delete", Target{Path: "evidence/records"}, nil, []req{func(r *Request) { r.Class = Read }, func(r *Request) { r.Target.Path = "evidence-x" }}},
		{"hd.modify_boot_chain", admin, "aiosfs.object.write", Target{Path: "/boot/grub"}, nil, []req{func(r *Request) { r.RecoveryMode = true }, func(r *Request) { r.Class = Read }, func(r *Request) { r.Target.Path = "/boot-x" }}},
		{"hd.policy_log_mutation", human, "policy.log.delete", Target{}, nil, []req{func(r *Request) { r.Class = Read }, func(r *Request) { r.Action = "x.do" }}},
		{"hd.evidence_log_mutation", admin, "evidence.rewrite", sys("SYS_EVIDENCE"), nil, []req{func(r *Request) { r.Class = Read }}},
		{"hd.disable_policy_kernel", admin, "policy.kernel.disable", Target{}, nil, []req{func(r *Request) { r.Action = "x.do" }}},
		{"hd.disable_recovery_path", admin, "recovery.disable", Target{}, nil, []req{func(r *Request) { r.Action = "x.do" }}},
		{"hd.modify_boot_chain", admin, "boot.set", Target{}, nil, []req{func(r *Request) { r.RecoveryMode = true }, func(r *Request) { r.Action = "x.do" }}},
		{"hd.untyped_shell_privileged", human, "x.do", Target{}, func(r *Request) { r.UntypedShell, r.Template.Privileged = true, true },
			[]req{func(r *Request) { r.UntypedShell = false }, func(r *Request) { r.Template.Privileged = false }}},
		{"hd.aios_fs_pointer_rollback_on_recovery", human, "aiosfs.pointer.rollback", Target{Reserved: "SYS_RECOVERY", Path: "system/recovery/boot.json"}, nil,
			[]req{func(r *Request) { r.RecoveryMode = true }, func(r *Request) { r.Action = "x.do" }, func(r *Request) { r.Target.Reserved = "SYS_THEMES" }}},
		{"hd.privacy_class_downgrade", human, "aiosfs.object.write", home, func(r *Request) {
			r.Objects = []ObjectFacts{{PrivacyClass: "CLASSIFIED", NewClass: "PUBLIC", LifecycleState: "ACTIVE"}}
		}, []req{func(r *Request) { r.Objects[0].NewClass = "" }, func(r *Request) { r.Objects[0].PrivacyClass = "PUBLIC" }}},
	} {
		mods := []req{}
		if c.fire != nil {
			mods = append(mods, c.fire)
		}
		d := ask(k, c.s, c.action, c.tg, mods...)
		tried[c.id] = true
		for i := range hardDenies {
			if h := &hardDenies[i]; h.code == c.id {
				fires := h.fires
				h.fires = func(*Request) bool { return false }
				if without := ask(k, c.s, c.action, c.tg, mods...); without.ReasonCode == c.id {
					t.Errorf("%s: denied by something else of that name", c.id)
				} else if without.Outcome != Allow && len(d.AlsoMatched) == 0 && c.s.ID != admin.ID && c.tg.Reserved == "" && c.tg.Scope == "" {
					t.Errorf("%s: without it %s, so that the bundle does not allow what it denies", c.id, without.ReasonCode)
				}
				h.fires = fires
			}
		}
		if d.Outcome != Deny || d.ReasonCode != c.id || !d.HardDeny || !d.BypassAttempt {
			t.Errorf("%s: %s %s", c.id, d.Outcome, d.ReasonCode)
		}
		for i, m := range c.misses {
			if d := ask(k, c.s, c.action, c.tg, append(append([]req{}, mods...), m)...); d.ReasonCode == c.id {
				t.Errorf("%s: near miss %d fires", c.id, i+1)
			}
		}
	}
	// The order decides which one is named, and the others are told (P-18).
	d := ask(k, agent, "package.install", sys("SYS_APPS"))
	if d.ReasonCode != "AISystemAdminBlocked" || len(d.AlsoMatched) != 1 || d.AlsoMatched[0] != "AIInstallInitiationBlocked" || len(d.ExtraRecords) != 1 {
		t.Errorf("%s, also %v, records %v", d.ReasonCode, d.AlsoMatched, d.ExtraRecords)
	}
	if len(hardDenies) != 18 || len(tried) != 18 {
		t.Errorf("%d hard denies, %d of them tried", len(hardDenies), len(tried))
	}
}

func TestBundleIsRefused(t *testing.T) {
	t.Log("proves: P-6 P-13 P-15")
	rule := func(body string) map[string]string {
		return map[string]string{"rules/r.yaml": "rule_id: rrr\nsubjects: [\"class:human\"]\nactions: [x.do]\n" + body}
	}
	many := "conditions:\n" + strings.Repeat("  - 'subject.is_ai = false'\n", 51)
	values := make([]string, 101)
	for i := range values {
		values[i] = fmt.Sprintf("%q", fmt.Sprint(i))
	}
	for _, c := range []struct {
		name, code, says string
		change           map[string]string
	}{
		{"a group cycle", "InvalidPolicyBundle", "subject_group_cycle_detected", map[string]string{"manifest.json": `{"schema_version":"aios.policy.v1alpha1","publisher_id":"x","group_definitions":{"aa":["group:bb"],"bb":["group:aa"]},"created_at":""}`}},
		{"an unknown key", "InvalidPolicyBundle", "frobnicate", rule("effect: allow\nfrobnicate: 1\n")},
		{"an unknown field", "InvalidPolicyBundle", `unknown field "target.colour"`, rule("effect: allow\nconditions: ['target.colour = \"red\"']\n")},
		{"an unknown constraint", "InvalidPolicyBundle", "be_nice", rule("effect: allow\nconstraints: {be_nice: true}\n")},
		{"a bad enum", "InvalidPolicyBundle", "enum_value_not_in_closed_set", rule("effect: allow\nconditions: ['target.scope = GALAXY']\n")},
		{"a wrong type", "InvalidPolicyBundle", "type_mismatch", rule("effect: allow\nconditions: ['subject.is_ai = 3']\n")},
		{"51 predicates", "InvalidPolicyBundle", "51 predicates", rule("effect: allow\n" + many)},
		{"101 values", "InvalidPolicyBundle", "101 values", rule("effect: allow\nconditions: ['target.path in [" + strings.Join(values, ", ") + "]']\n")},
		{"a misspelt effect", "InvalidPolicyBundle", `effect "Deny"`, rule("effect: Deny\n")},
		{"an or", "InvalidPolicyBundle", "comes `and`", rule("effect: allow\nconditions: ['subject.is_ai = false or subject.is_ai = true']\n")},
		{"a wildcard", "InvalidPolicyBundle", "no wildcards", map[string]string{"rules/r.yaml": "rule_id: rrr\neffect: allow\nsubjects: [\"class:human\"]\nactions: [\"aiosfs.*\"]\n"}},
		{"an unknown group", "InvalidPolicyBundle", "no such group", map[string]string{"rules/r.yaml": "rule_id: rrr\neffect: allow\nsubjects: [\"group:nope\"]\nactions: [x.do]\n"}},
		{"an endless approval", "InvalidApprovalTtl", "ttl_seconds", rule("effect: allow\napproval: {required: true, ttl_seconds: 999999, strength: STRONG}\n")},
		{"an approval by an AI", "InvalidPolicyBundle", "never an AI", rule("effect: allow\napproval: {required: true, ttl_seconds: 60, approver_classes: [ai_agent]}\n")},
		{"a hard deny left out", "InvariantLooseningAttempted", "lists 1 hard denies", map[string]string{"hard_denies.yaml": "- hd.evidence_log_mutation\n"}},
		{"a relaxed border", "InvariantLooseningAttempted", "CrossGroupAccessForbidden", rule("effect: allow\nconditions: ['target.own_group = false']\n")},
		{"a foreign file", "InvalidPolicyBundle", "no such file", map[string]string{"rules/run.sh": "#!/bin/sh\n"}},
	} {
		_, err := loadBundle(t, c.change)
		if bundle.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s … %s", c.name, err, c.code, c.says)
		}
	}
}

func TestSignatures(t *testing.T) {
	t.Log("proves: P-7")
	m, trust := sign(t, files(nil))
	if _, err := bundle.Load(m, trust, HardDenyIDs()); err != nil {
		t.Fatal(err)
	}
	m["rules/own_places.yaml"].Data = append(m["rules/own_places.yaml"].Data, '\n')
	if _, err := bundle.Load(m, trust, HardDenyIDs()); bundle.CodeOf(err) != "SignatureInvalid" {
		t.Errorf("a changed rule: %v", err)
	}
	m, trust = sign(t, files(nil))
	_, other := sign(t, files(nil))
	if _, err := bundle.Load(m, bundle.Trust{Root: other.Root, Publisher: trust.Publisher}, HardDenyIDs()); bundle.CodeOf(err) != "SignatureInvalid" {
		t.Errorf("another root: %v", err)
	}
	k, err := New(Options{}) // no bundle that holds
	if err != nil {
		t.Fatal(err)
	}
	if d := ask(k, human, "aiosfs.object.write", home); d.Outcome != Deny || d.ReasonCode != EngineDegraded {
		t.Errorf("degraded: %s %s", d.Outcome, d.ReasonCode)
	}
	if d := ask(k, agent, "package.install", Target{}); d.ReasonCode != "AIInstallInitiationBlocked" {
		t.Errorf("degraded, hard deny: %s", d.ReasonCode)
	}
}

func TestAIFilter(t *testing.T) {
	t.Log("proves: P-3 P-16")
	k := kernel(t, map[string]string{"rules/ai.yaml": "rule_id: ai_restart\neffect: allow\nsubjects: [\"family:assistant\"]\nactions: [service.restart, aiosfs.pointer.rollback]\n"})
	d := ask(k, agent, "service.restart", Target{}, func(r *Request) { r.Template.Privileged = true })
	if d.Outcome != RequireApproval || d.ReasonCode != AISelfApproval || len(d.Approval.ApproverClasses) != 1 || d.Approval.ApproverClasses[0] != "human" {
		t.Errorf("%+v", d)
	}
	if d := ask(k, agent, "service.restart", Target{}); d.Outcome != Allow {
		t.Errorf("no risk: %s %s", d.Outcome, d.ReasonCode)
	}
	d = ask(k, agent, "aiosfs.pointer.rollback", shared, func(r *Request) { r.Template.Destructive = true })
	if d.Outcome != RequireApproval || len(d.RiskMismatch) != 1 || d.RiskMismatch[0] != "destructive" {
		t.Errorf("a claim that hides risk: %s, mismatch %v", d.Outcome, d.RiskMismatch)
	}
}

func TestDenyWinsAndPriorityOrders(t *testing.T) {
	t.Log("proves: P-27")
	rule := func(id, effect string, prio int) string {
		return fmt.Sprintf("rule_id: %s\neffect: %s\npriority: %d\nsubjects: [\"class:human\"]\nactions: [x.do]\n", id, effect, prio)
	}
	k := kernel(t, map[string]string{"rules/a.yaml": rule("bbb", "allow", 5), "rules/b.yaml": rule("aaa", "allow", 5), "rules/c.yaml": rule("ccc", "allow", 1)})
	if d := ask(k, human, "x.do", home); d.RuleID != "aaa" {
		t.Errorf("rule %s", d.RuleID)
	}
	k = kernel(t, map[string]string{"rules/a.yaml": rule("bbb", "allow", 500), "rules/b.yaml": rule("aaa", "deny", -5)})
	if d := ask(k, human, "x.do", home); d.Outcome != Deny || d.RuleID != "aaa" || d.ReasonCode != ScopedDeny {
		t.Errorf("%s by %s", d.Outcome, d.RuleID)
	}
}

func TestBudgetsAndFailures(t *testing.T) {
	t.Log("proves: P-8 P-20 P-22 P-23")
	change := map[string]string{}
	for i := range 1500 {
		change[fmt.Sprintf("rules/r%d.yaml", i)] = fmt.Sprintf("rule_id: r%05d\neffect: allow\nsubjects: [\"class:human\"]\nactions: [x.do]\nconditions: ['target.path = \"nowhere\"']\n", i)
	}
	k := kernel(t, change)
	if d := ask(k, human, "x.do", home); d.ReasonCode != BudgetExceeded || d.RulesConsulted != 1000 {
		t.Errorf("1,500 rules: %s after %d", d.ReasonCode, d.RulesConsulted)
	}
	objects := func(n int, state string) func(*Request) {
		return func(r *Request) {
			for range n {
				r.Objects = append(r.Objects, ObjectFacts{LifecycleState: state})
			}
		}
	}
	if d := ask(k, human, "aiosfs.object.write", home, objects(17, "ACTIVE")); d.ReasonCode != BudgetExceeded {
		t.Errorf("17 objects: %s", d.ReasonCode)
	}
	if d := ask(k, human, "aiosfs.object.write", home, objects(1, "")); d.ReasonCode != EnrichmentUnavailable {
		t.Errorf("unknown facts: %s", d.ReasonCode)
	}
	ctx, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	if d := k.Evaluate(ctx, Request{Action: "aiosfs.object.write", Class: Mutate, Subject: human, Target: home}); d.ReasonCode != EvaluationTimeout || d.Outcome != Deny {
		t.Errorf("no time: %s", d.ReasonCode)
	}
	saved := hardDenies[0].fires
	hardDenies[0].fires = func(*Request) bool { panic("boom") }
	d := ask(k, human, "aiosfs.object.write", home)
	hardDenies[0].fires = saved
	if d.Outcome != Deny || d.ReasonCode != EngineInternal {
		t.Errorf("a panic: %s %s", d.Outcome, d.ReasonCode)
	}
}

// P-5 and P-12, and default deny for whatever no rule names.
func TestEqualRequestsGiveEqualDecisions(t *testing.T) {
	t.Log("proves: P-5 P-12")
	k1, k2 := kernel(t, nil), kernel(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		r := Request{Class: rapid.SampledFrom([]ActionClass{Read, Mutate}).Draw(t, "class"),
			Action:      rapid.SampledFrom([]string{"aiosfs.object.write", "aiosfs.object.delete", "repo.clone", "package.install", "no.such", "process.list"}).Draw(t, "action"),
			Subject:     rapid.SampledFrom([]identity.Subject{human, admin, agent}).Draw(t, "subject"),
			Target:      rapid.SampledFrom([]Target{home, shared, {}, {Scope: "SYSTEM", Reserved: "SYS_POLICY"}}).Draw(t, "target"),
			RequestHash: rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "hash"), DryRun: "LIVE"}
		a, b, c := k1.Evaluate(context.Background(), r), k1.Evaluate(context.Background(), r), k2.Simulate(context.Background(), r)
		for _, x := range []Decision{b, c} {
			if x.Outcome != a.Outcome || x.ReasonCode != a.ReasonCode || x.RuleID != a.RuleID || x.SnapshotID != a.SnapshotID || x.Constraints != a.Constraints {
				t.Fatalf("%+v\n%+v", a, x)
			}
		}
		if !c.Simulated || a.Simulated {
			t.Fatal("simulation is not marked")
		}
		if r.Action == "no.such" && a.Outcome != Deny {
			t.Fatalf("an action without a rule: %s", a.Outcome)
		}
	})
}

func TestReloadIsNeverMixed(t *testing.T) {
	t.Log("proves: P-10")
	rule := func(effect string) map[string]string {
		return map[string]string{"rules/a.yaml": "rule_id: aaa\neffect: " + effect + "\nsubjects: [\"class:human\"]\nactions: [x.do]\n"}
	}
	one, err := loadBundle(t, rule("allow"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := loadBundle(t, rule("deny"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(Options{Bundle: one})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := ask(k, human, "x.do", home, func(r *Request) { r.RequestHash = "same" })
				if (d.Outcome == Allow) != (d.BundleVersion == one.Version) {
					t.Errorf("%s under bundle %s", d.Outcome, d.BundleVersion)
					return
				}
			}
		}()
	}
	for i := range 50 {
		b := one
		if i%2 == 0 {
			b = two
		}
		if err := k.Load(b); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func BenchmarkEvaluate(b *testing.B) {
	k := kernel(b, nil)
	r := Request{Action: "aiosfs.object.write", Class: Mutate, Subject: human, Target: home, DryRun: "LIVE"}
	b.Run("fresh", func(b *testing.B) {
		for b.Loop() {
			if d := k.Evaluate(context.Background(), r); d.Outcome != Allow {
				b.Fatal(d.ReasonCode)
			}
		}
	})
	r.RequestHash = "0123456789abcdef0123456789abcdef"
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			k.Evaluate(context.Background(), r)
		}
	})
}
