package dsl

// Type is what a field's or a literal's values are.
type Type uint8

// The types. List is a list of strings; the other ones are single values.
const (
	String Type = iota + 1
	Enum
	Number
	Bool
	Time
	List
)

// opsOf are the operators that each type has (S2.1: closed).
var opsOf = map[Type][]Op{
	String: {Eq, Ne, In, Contains, Exists},
	Enum:   {Eq, Ne, In, Exists},
	Number: {Eq, Ne, Lt, Le, Gt, Ge, In, Exists},
	Bool:   {Eq, Ne, In, Exists},
	Time:   {Eq, Ne, Lt, Le, Gt, Ge, In, Exists},
	List:   {Contains, Exists},
}

type field struct {
	typ  Type
	enum []string // of Enum: the members; nil where the set is another package's
	ops  []Op     // where fewer than the type has
}

func text() field            { return field{typ: String} }
func when() field            { return field{typ: Time} }
func number() field          { return field{typ: Number} }
func many() field            { return field{typ: List} }
func one(m ...string) field  { return field{typ: Enum, enum: m} }
func eqIn(m ...string) field { return field{typ: Enum, enum: m, ops: []Op{Eq, Ne, In}} }
func eqOnly() field          { return field{typ: String, ops: []Op{Eq, Ne}} }
func eqInText() field        { return field{typ: String, ops: []Op{Eq, Ne, In}} }

var classes = []string{"PUBLIC", "INTERNAL", "SENSITIVE", "SECRET_BEARING", "CLASSIFIED"}
var pointerKinds = []string{"CURRENT", "STABLE", "CANDIDATE", "ROLLBACK", "QUARANTINE"}
var objectKinds = []string{"PROJECT", "APPLICATION", "FILE", "MEMORY", "POLICY", "MODEL", "PACKAGE", "EVIDENCE_REF", "WORKSPACE", "CONFIG", "VIEW", "DIRECTORY"}

// common are the fields that every source has (S2.1 §18–20, S5.1 §15).
var common = map[string]field{
	"target.scope": one("SYSTEM", "GROUP", "USER"), "target.reserved_name": one(),
	"target.group_id": eqOnly(), "target.user_id": eqOnly(),
	"target.surface_kind":                eqIn("AIOS_SURFACE", "APP_SURFACE", "STREAM_SURFACE", "XR_SURFACE"),
	"target.composition_zone":            eqIn("BACKGROUND", "CONTENT", "OVERLAY", "CHROME"),
	"target.theme_kind":                  eqIn("AIOS_FALLBACK", "AIOS_DEFAULT", "AIOS_RECOVERY", "USER_THEME", "PUBLISHER_THEME"),
	"target.theme_id":                    eqOnly(),
	"target.gpu_capability_class":        eqIn("GPU_PASSIVE_DISPLAY", "GPU_BASIC_2D", "GPU_RICH_2D", "GPU_FULL_3D", "GPU_COMPUTE_HEAVY"),
	"subject.network_outbound_directive": eqIn("DENY_ALL", "ALLOW_LOOPBACK_ONLY", "ALLOW_LAN_ONLY", "ALLOW_LIST_ONLY", "ALLOW_INTERNET"),
	"subject.ai_external_posture":        eqIn("AI_LOOPBACK_ONLY", "AI_VAULT_BROKERED_ONLY", "AI_NO_EXTERNAL"),
	"target.exposure_class":              eqIn("LOOPBACK", "LAN", "PUBLIC", "RECOVERY"),
	"subject.primary_group_id":           eqInText(), "subject.canonical_subject_id": eqInText(),
	"subject.is_ai": {typ: Bool, ops: []Op{Eq, Ne, In}},
}

var sources = map[string]map[string]field{
	"objects": {"object_id": text(), "kind": one(objectKinds...), "metadata.name": text(), "metadata.labels": many(),
		"metadata.mime": text(), "created_at": when(), "created_by": text(), "policy_tags": many(),
		"privacy_class": one(classes...), "lifecycle_state": one("ACTIVE", "RETIRED", "PURGED"), "current_pointer_id": text(),
		"index_hints": many(), "updated_at": when(), "size": number(), "path": text(), "uid": number(), "gid": number(),
		"mode": number(), "mtime": when(), "content_hash": text(), "rating": number(), "comment": text()},
	"versions": {"version_id": text(), "object_id": text(), "parent_version_ids": many(), "content_hash": text(),
		"state": one("STAGED", "VERIFIED", "QUARANTINED", "RETIRED_VERSION"), "created_at": when(), "created_by_action_id": text(),
		"created_by_transaction_id": text(), "quarantined_at": when(), "quarantine_reason": text()},
	"pointers": {"pointer_id": text(), "object_id": text(), "kind": one(pointerKinds...), "current_version_id": text(),
		"last_promoted_at": when(), "last_promoted_by_transaction_id": text()},
	"transactions": {"transaction_id": text(), "subject": text(), "action_id": text(), "started_at": when(), "completed_at": when(), "state": one()},
	"conflicts": {"conflict_id": text(), "object_id": text(), "pointer_id": text(), "status": one(), "detected_at": when(),
		"resolved_at": when(), "resolved_by_subject": text()},
	"evidence": {"receipt_id": text(), "actor": text(), "action_id": text(), "category": one(), "occurred_at": when(),
		"record_type": one(), "recorded_at": when(), "seq": number(), "simulated": {typ: Bool, ops: []Op{Eq, Ne, In}}},
	// Ours: the reference has no such source, and boxes of actions need one.
	"actions": {"action_id": text(), "action": text(), "state": one(), "phase": one(), "subject": text(), "path": text(), "submitted_at": when(), "updated_at": when(),
		"run_id": text(), "intent_id": text(), "correlation_id": text(), "mode": one()},
}

var aliases = map[string]string{"labels": "metadata.labels", "name": "metadata.name", "mime": "metadata.mime", "privacy": "privacy_class"}

// forbidden are the words of what no query may ask for: secret material, prompts,
// tokens. A field with one of them is refused as such, not as unknown.
var forbidden = []string{"secret", "token", "password", "credential", "prompt", "private_key", "unverified"}

var projections = map[string]bool{"object_list": true, "graph": true, "timeline": true, "mount_overlay": true, "posix_path": true}
