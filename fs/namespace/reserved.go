package namespace

// ScopeKind says which of the three closed layouts a path is in.
type ScopeKind uint8

// The scopes. ScopeUnset is the answer for the roots themselves.
const (
	ScopeUnset ScopeKind = iota
	ScopeSystem
	ScopeGroup
	ScopeUser
)

// String is the scope's name in records: SYSTEM, GROUP, USER, or "".
func (k ScopeKind) String() string {
	switch k {
	case ScopeSystem:
		return "SYSTEM"
	case ScopeGroup:
		return "GROUP"
	case ScopeUser:
		return "USER"
	}
	return ""
}

// MutationClass says who may change what lies below a reserved name
// (filesystem.md §10.1–10.3).
type MutationClass string

// The mutation classes.
const (
	RecoveryOrSysAdmin   MutationClass = "RECOVERY_OR_SYS_ADMIN"
	RecoveryOnly         MutationClass = "RECOVERY_ONLY"
	AppendOnlyByKernel   MutationClass = "APPEND_ONLY_BY_KERNEL"
	KernelInternal       MutationClass = "KERNEL_INTERNAL"
	GroupAdminOrAppOwner MutationClass = "GROUP_ADMIN_OR_APP_OWNER"
	GroupAdminOrAgent    MutationClass = "GROUP_ADMIN_OR_AGENT_OWNER"
	GroupAdmin           MutationClass = "GROUP_ADMIN"
	GroupMember          MutationClass = "GROUP_MEMBER"
	ProjectMember        MutationClass = "PROJECT_MEMBER"
	DatasetOwner         MutationClass = "DATASET_OWNER"
	GroupAdminAndBroker  MutationClass = "GROUP_ADMIN_AND_BROKER"
	GroupAdminHuman      MutationClass = "GROUP_ADMIN_HUMAN_ONLY"
	OwnerOnly            MutationClass = "OWNER_ONLY"
	ReadOnly             MutationClass = "READ_ONLY"
)

// ReadClass says who may read what lies below a reserved name.
type ReadClass string

// The read classes.
const (
	PublicManifest       ReadClass = "PUBLIC_MANIFEST_RESTRICTED_STATE"
	SystemAuditRead      ReadClass = "SYSTEM_AUDIT_READ"
	Public               ReadClass = "PUBLIC"
	PrivacyCeiling       ReadClass = "PRIVACY_CEILING_FILTERED"
	BrokerIntermediated  ReadClass = "BROKER_INTERMEDIATED"
	OwnerOrAudit         ReadClass = "OWNER_OR_AUDIT"
	RecoverySubjectOnly  ReadClass = "RECOVERY_SUBJECT_ONLY"
	ReadGroupMember      ReadClass = "GROUP_MEMBER"
	MemberAndCeiling     ReadClass = "GROUP_MEMBER_AND_PRIVACY_CEILING"
	ReadGroupAdmin       ReadClass = "GROUP_ADMIN"
	GroupAudit           ReadClass = "GROUP_AUDIT"
	OwnerOrGroupAudit    ReadClass = "OWNER_OR_GROUP_AUDIT"
	ReadOwnerOnly        ReadClass = "OWNER_ONLY"
	Addressee            ReadClass = "ADDRESSEE"
	AuditReadOrOwnRecord ReadClass = "SYSTEM_AUDIT_READ_OR_OWN_ENTRY"
)

// Recovery says what becomes of a reserved name when the machine runs in
// recovery (filesystem.md §10).
type Recovery string

// The treatments. Safe names are read-only there and change only as typed
// actions; Quarantined ones are kept on disk and not mounted; Absent ones are
// as quarantined, with read-only forensic attach; VerifyOnly can be read and
// verified.
const (
	Safe        Recovery = "safe"
	Quarantined Recovery = "quarantined"
	Absent      Recovery = "absent"
	VerifyOnly  Recovery = "verify_only"
)

// Reserved is one name of a closed layout.
type Reserved struct {
	Name     string        `json:"name"`     // as it stands in the path
	Key      string        `json:"key"`      // as rules and records say it: SYS_POLICY, USR_HOME
	Mutation MutationClass `json:"mutation"` // who may change below it
	Read     ReadClass     `json:"read"`     // who may read below it
	Recovery Recovery      `json:"recovery"`
	Virtual  bool          `json:"virtual"` // a projection: nothing is stored there, writes are EROFS
}

// systemReserved are the 24 names under system/, in the order of S4.1 §4.1
// and Wave 8.
var systemReserved = []Reserved{
	{"apps", "SYS_APPS", RecoveryOrSysAdmin, PublicManifest, Quarantined, false},
	{"agents", "SYS_AGENTS", RecoveryOrSysAdmin, PublicManifest, Safe, false},
	{"policy", "SYS_POLICY", RecoveryOnly, SystemAuditRead, Safe, false},
	{"capabilities", "SYS_CAPABILITIES", RecoveryOnly, Public, Safe, false},
	{"evidence", "SYS_EVIDENCE", AppendOnlyByKernel, PrivacyCeiling, VerifyOnly, false},
	{"vault", "SYS_VAULT", RecoveryOnly, BrokerIntermediated, Safe, false},
	{"runtime", "SYS_RUNTIME", KernelInternal, OwnerOrAudit, Quarantined, false},
	{"recovery", "SYS_RECOVERY", RecoveryOnly, RecoverySubjectOnly, Safe, false},
	{"boot", "SYS_BOOT", RecoveryOnly, SystemAuditRead, Safe, false},
	{"firstboot", "SYS_FIRSTBOOT", RecoveryOnly, SystemAuditRead, Safe, false},
	{"governance", "SYS_GOVERNANCE", RecoveryOnly, Public, Safe, false},
	{"identity", "SYS_IDENTITY", RecoveryOnly, AuditReadOrOwnRecord, Safe, false},
	{"kernel", "SYS_KERNEL", RecoveryOnly, SystemAuditRead, Safe, false},
	{"hardware", "SYS_HARDWARE", KernelInternal, Public, Quarantined, false},
	{"drivers", "SYS_DRIVERS", RecoveryOrSysAdmin, Public, Quarantined, false},
	{"firmware", "SYS_FIRMWARE", RecoveryOnly, SystemAuditRead, Safe, false},
	{"network", "SYS_NETWORK", KernelInternal, SystemAuditRead, Quarantined, false},
	{"sgr", "SYS_SGR", KernelInternal, OwnerOrAudit, Quarantined, false},
	{"units", "SYS_UNITS", KernelInternal, Public, Quarantined, false},
	{"runbooks", "SYS_RUNBOOKS", RecoveryOrSysAdmin, Public, Safe, false},
	{"themes", "SYS_THEMES", RecoveryOrSysAdmin, Public, Safe, false},
	{"renderers", "SYS_RENDERERS", RecoveryOrSysAdmin, Public, Safe, false},
	{"web", "SYS_WEB", RecoveryOrSysAdmin, Public, Safe, false},
	{"distribution", "SYS_DISTRIBUTION", KernelInternal, Public, Quarantined, false},
}

// groupReserved are the 13 names of a group (filesystem.md §10.2).
var groupReserved = []Reserved{
	{"apps", "GRP_APPS", GroupAdminOrAppOwner, ReadGroupMember, Absent, false},
	{"agents", "GRP_AGENTS", GroupAdminOrAgent, ReadGroupMember, Absent, false},
	{"users", "GRP_USERS", GroupAdmin, ReadGroupMember, Absent, false},
	{"shared", "GRP_SHARED", GroupMember, ReadGroupMember, Absent, false},
	{"projects", "GRP_PROJECTS", ProjectMember, MemberAndCeiling, Absent, false},
	{"datasets", "GRP_DATASETS", DatasetOwner, PrivacyCeiling, Absent, false},
	{"inbox", "GRP_INBOX", ReadOnly, MemberAndCeiling, Absent, true},
	{"policy", "GRP_POLICY", GroupAdmin, ReadGroupAdmin, Absent, false},
	{"evidence", "GRP_EVIDENCE", ReadOnly, MemberAndCeiling, Absent, true},
	{"vault", "GRP_VAULT", GroupAdminAndBroker, BrokerIntermediated, Absent, false},
	{"audit", "GRP_AUDIT", ReadOnly, GroupAudit, Absent, true},
	{"services", "GRP_SERVICES", GroupAdmin, ReadGroupMember, Quarantined, false},
	{"system", "GRP_SYSTEM", GroupAdminHuman, ReadGroupAdmin, Quarantined, false},
}

// userReserved are the 11 names of a user (filesystem.md §10.3).
var userReserved = []Reserved{
	{"home", "USR_HOME", OwnerOnly, OwnerOrGroupAudit, Absent, false},
	{"agents", "USR_AGENTS", OwnerOnly, OwnerOrGroupAudit, Absent, false},
	{"prefs", "USR_PREFS", OwnerOnly, ReadOwnerOnly, Absent, false},
	{"desktop", "USR_DESKTOP", OwnerOnly, ReadOwnerOnly, Absent, false},
	{"inbox", "USR_INBOX", ReadOnly, Addressee, Absent, true},
	{"outbox", "USR_OUTBOX", ReadOnly, OwnerOrGroupAudit, Absent, true},
	{"drafts", "USR_DRAFTS", OwnerOnly, OwnerOrGroupAudit, Absent, false},
	{"trust", "USR_TRUST", OwnerOnly, OwnerOrGroupAudit, Absent, false},
	{"apps", "USR_APPS", OwnerOnly, OwnerOrGroupAudit, Quarantined, false},
	{"runtime", "USR_RUNTIME", OwnerOnly, ReadOwnerOnly, Quarantined, false},
	{"exports", "USR_EXPORTS", OwnerOnly, ReadOwnerOnly, Quarantined, false},
}
