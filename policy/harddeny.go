package policy

import (
	"path"
	"strings"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

// hardDeny is one constitutional rule. It is code, so that no bundle can loosen it.
type hardDeny struct {
	id      string   // rule name, and the row's id in stage 1
	code    string   // reason code; mostly the id
	records []string // record types that a match must leave besides the decision
	says    string
	fires   func(*Request) bool
}

// recoveryOnly are the ten system places that change in recovery alone (O-2:
// the union of S2.3 and S4.1 W8.4).
var recoveryOnly = set("SYS_POLICY", "SYS_CAPABILITIES", "SYS_VAULT", "SYS_RECOVERY", "SYS_BOOT", "SYS_FIRSTBOOT", "SYS_GOVERNANCE", "SYS_IDENTITY", "SYS_KERNEL", "SYS_FIRMWARE")

// aiForbidden are the six of AISystemAdminBlocked (S2.3 §26).
var aiForbidden = set("SYS_APPS", "SYS_AGENTS", "SYS_POLICY", "SYS_CAPABILITIES", "SYS_VAULT", "SYS_RECOVERY")

var installs = set("package.install", "package.uninstall.execute", "app.install", "app.uninstall.execute")

func set(words ...string) map[string]bool {
	m := map[string]bool{}
	for _, w := range words {
		m[w] = true
	}
	return m
}

// protectedRoots may not be deleted with all that is in them, nor may what holds them.
var protectedRoots = []string{"/", "/home", "/root", "/aios", "/boot", "/recovery"}

// hardDenies in their fixed order: chain A (S2.3 §26.3, §27.3), then chain B (§6).
var hardDenies = []hardDeny{
	{"MutuallyExclusiveModeFlagsRejected", "MutuallyExclusiveModeFlags", []string{"MUTUALLY_EXCLUSIVE_MODE_FLAGS_BLOCKED"},
		"first boot and recovery exclude each other", func(r *Request) bool { return r.FirstBoot && r.RecoveryMode }},
	{"RecoveryRequiredForSystemMutation", "RecoveryRequiredForSystemMutation", nil,
		"this part of the system changes in recovery mode only", func(r *Request) bool {
			return r.Target.Scope == "SYSTEM" && recoveryOnly[r.Target.Reserved] && r.Class == Mutate && !r.RecoveryMode && !r.FirstBoot && !typedIdentityAction(r)
		}},
	{"ConstitutionalSubstrateRequiresRecovery", "ConstitutionalSubstrateRequiresRecovery", []string{"HARDWARE_SUBSTRATE_ACCEPT_OUTSIDE_RECOVERY_BLOCKED"},
		"drift of the hardware substrate is accepted in recovery mode only", func(r *Request) bool { return r.Action == "hardware.accept_drift_substrate" && !r.RecoveryMode }},
	{"AISystemAdminBlocked", "AISystemAdminBlocked", nil,
		"an AI never administers the system, whatever it holds", func(r *Request) bool {
			return r.Subject.IsAI && r.Target.Scope == "SYSTEM" && aiForbidden[r.Target.Reserved] && r.Class == Mutate
		}},
	{"AIInstallInitiationBlocked", "AIInstallInitiationBlocked", []string{"APP_AI_DIRECT_INSTALL_ATTEMPTED_BLOCKED"},
		"an AI may ask for an installation and never start one", func(r *Request) bool { return r.Subject.IsAI && installs[r.Action] }},
	{"CrossGroupAccessForbidden", "CrossGroupAccessForbidden", []string{"CROSS_GROUP_ACCESS_DENIED"},
		"another group's place", func(r *Request) bool {
			return foreign(r) && !audits(r) && !strings.HasPrefix(r.Subject.ID, "_system:service:")
		}},
	{"CompositionZoneForbidden", "CompositionZoneForbidden", nil,
		"the chrome zone is the system's own", func(r *Request) bool {
			kind := r.field("surface_kind")
			return r.field("composition_zone") == "CHROME" && (r.Subject.IsAI || kind == "APP_SURFACE" || kind == "STREAM_SURFACE")
		}},
	{"GpuComputeOutsideAuthorisedClass", "GpuComputeOutsideAuthorisedClass", nil,
		"heavy GPU computing needs its capability", func(r *Request) bool {
			return r.field("gpu_capability_class") == "GPU_COMPUTE_HEAVY" && !r.Subject.Has("gpu.compute_heavy")
		}},

	{"hd.secret_raw_read_by_ai", "hd.secret_raw_read_by_ai", nil,
		"secrets are used through the vault and never read raw", func(r *Request) bool {
			return r.RawSecretRead && (r.Subject.IsAI || r.Subject.Kind.String() == "APPLICATION")
		}},
	{"hd.recursive_delete_root", "hd.recursive_delete_root", nil,
		"a root of the system is not deleted with all that is in it", func(r *Request) bool {
			return r.Recursive && r.Class == Mutate && isDelete(r.Action) && coversProtected(r.Target.Path)
		}},
	{"hd.policy_log_mutation", "hd.policy_log_mutation", nil,
		"the policy log is not changed", func(r *Request) bool {
			return r.Class == Mutate && (r.Action == "policy.log.delete" || r.Action == "policy.log.modify" || below(r.Target.Path, "system/policy/log"))
		}},
	{"hd.evidence_log_mutation", "hd.evidence_log_mutation", nil,
		"the evidence log only grows", func(r *Request) bool {
			return r.Class == Mutate && (r.Target.Reserved == "SYS_EVIDENCE" || r.Target.Reserved == "GRP_EVIDENCE" || strings.HasPrefix(r.Action, "evidence.") || below(r.Target.Path, "evidence"))
		}},
	{"hd.disable_policy_kernel", "hd.disable_policy_kernel", nil,
		"the policy kernel is not switched off", func(r *Request) bool { return r.Action == "policy.kernel.disable" }},
	{"hd.disable_recovery_path", "hd.disable_recovery_path", nil,
		"the way into recovery stays", func(r *Request) bool { return r.Action == "recovery.disable" }},
	{"hd.modify_boot_chain", "hd.modify_boot_chain", nil,
		"the boot chain changes in recovery, by an operator's own approval", func(r *Request) bool {
			return r.Class == Mutate && !r.RecoveryMode && (strings.HasPrefix(r.Action, "boot.") || below(r.Target.Path, "/boot"))
		}},
	{"hd.untyped_shell_privileged", "hd.untyped_shell_privileged", nil,
		"no shell text runs with privileges", func(r *Request) bool {
			return r.UntypedShell && (r.Subject.Admin || r.Claimed.Privileged || r.Template.Privileged)
		}},
	{"hd.aios_fs_pointer_rollback_on_recovery", "hd.aios_fs_pointer_rollback_on_recovery", nil,
		"what recovery needs is not rolled back outside it", func(r *Request) bool {
			return r.Action == "aiosfs.pointer.rollback" && !r.RecoveryMode && (r.Target.Reserved == "SYS_RECOVERY" || r.Target.Reserved == "SYS_VAULT" || r.Target.Reserved == "SYS_POLICY")
		}},
	{"hd.privacy_class_downgrade", "hd.privacy_class_downgrade", nil,
		"a privacy class never falls", func(r *Request) bool {
			for _, o := range r.Objects {
				if o.NewClass != "" && privacyRank(o.NewClass) < privacyRank(o.PrivacyClass) {
					return true
				}
			}
			return false
		}},
}

// typedIdentityAction says whether the action is one of those through which groups,
// users and agents are registered: they change the identity catalogue by design, and
// only the scoped rules say who may (contract §2, issue of the golden path).
func typedIdentityAction(r *Request) bool {
	switch r.Action {
	case "group.create", "group.add_user", "agent.register":
		return r.Target.Reserved == "SYS_IDENTITY" && !r.Subject.IsAI
	}
	return false
}

// foreign says whether the target is another group's.
func foreign(r *Request) bool {
	return (r.Target.Scope == "GROUP" || r.Target.Scope == "USER") && r.Target.Group != r.Subject.PrimaryGroup && !everyones(r)
}

// audits says whether the request is the one exception of CrossGroupAccessForbidden: an
// operator in recovery reads by a capability that he was granted. The fourth condition, a
// human approver, the kernel adds to whatever a rule says.
func audits(r *Request) bool {
	return r.Class == Read && r.RecoveryMode && r.Subject.Kind.Human() && r.Subject.PrimaryGroup == "_system" && r.Subject.Has(identity.SystemAuditRead)
}

// everyones says whether the target is the part of the group local that is everyone
// on this machine (contract §7): its shared places, not its users'.
func everyones(r *Request) bool {
	if r.Target.Group != "local" || r.Target.Scope != "GROUP" {
		return false
	}
	return r.Target.Reserved == "GRP_SHARED" || r.Class == Read
}

func isDelete(action string) bool {
	return strings.HasSuffix(action, ".delete") || strings.HasSuffix(action, ".remove") || strings.HasSuffix(action, ".purge")
}

// coversProtected compares whole names, never prefixes of strings: /aios-x is not
// /aios, and deleting /home covers /home while /home/x does not.
func coversProtected(p string) bool {
	if p == "" {
		return true // the root of the tree itself
	}
	if !strings.HasPrefix(p, "/") {
		p = "/aios/" + p
	}
	p = path.Clean(p)
	for _, root := range protectedRoots {
		if p == root || p == "/" || strings.HasPrefix(root, p+"/") {
			return true
		}
	}
	return p == "/aios/system" || p == "/aios/groups"
}

// below says whether p is dir or lies in it.
func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func (r *Request) field(name string) string {
	s, _ := r.Target.Fields[name].(string)
	return s
}

// HardDenyIDs lists the rules in order; a bundle's mirror must equal it.
func HardDenyIDs() []string {
	ids := make([]string, len(hardDenies))
	for i, h := range hardDenies {
		ids[i] = h.id
	}
	return ids
}
