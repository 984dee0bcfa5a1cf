package fs

import (
	"context"
	"io/fs"
	"time"

	"github.com/ai-os-dot-net/aios/fs/namespace"
)

// Op is what a caller asks to do; the gate decides by it.
type Op string

// The operations that are asked about.
const (
	OpRead     Op = "open"
	OpWrite    Op = "open_write"
	OpList     Op = "opendir"
	OpCreate   Op = "create"
	OpMkdir    Op = "mkdir"
	OpRename   Op = "rename"
	OpLink     Op = "link"
	OpUnlink   Op = "unlink"
	OpRmdir    Op = "rmdir"
	OpSetAttr  Op = "setattr"
	OpSetXattr Op = "setxattr"
	OpAccess   Op = "access" // seen only as the kernel's question after it refused
)

// RefusedOperations lists the names of all operations that may be refused.
func RefusedOperations() []string {
	var names []string
	for _, o := range []Op{OpRead, OpWrite, OpList, OpCreate, OpMkdir, OpRename, OpLink, OpUnlink, OpRmdir, OpSetAttr, OpSetXattr, OpAccess} {
		names = append(names, string(o))
	}
	return names
}

// Mutates tells whether the operation changes something.
func (o Op) Mutates() bool { return o != OpRead && o != OpList && o != OpAccess }

// Target is what an operation is about.
type Target struct {
	Path     string // under /aios
	Scope    namespace.ScopeKind
	Group    string
	User     string
	Reserved string // SYS_POLICY, USR_HOME …; "" above the reserved names
	Sub      string // below the reserved name
}

// Gate asks policy. It returns nil, or an error that wraps ErrDenied or
// ErrImmutable and says why. It must not block on anything that the mount
// serves.
type Gate interface {
	Check(ctx context.Context, c Caller, op Op, t Target) error
}

// Denial is a refusal that must leave evidence. Repetitions of one subject,
// path and operation within a minute are one Denial with a count.
type Denial struct {
	Caller Caller
	Op     Op
	Target Target
	Code   string // AGENT_DIRECT_FS_WRITE_BLOCKED, RecoveryModeRequired, …
	Reason string
	Count  int // how many refusals this one stands for
	First  time.Time
	Last   time.Time
}

// SystemAdminOperation is the code of the one Denial that is none: an administrator's change
// of the system, which is allowed and leaves a record as a refusal does (S4.1 §12.6).
const SystemAdminOperation = "SYSTEM_ADMIN_OPERATION"

// Denials takes refusals; it is called from one goroutine and may block.
type Denials interface {
	Record(d Denial)
}

// Actions are the typed actions that mkdir stands for at the closed levels.
// They return when the action has succeeded.
type Actions interface {
	CreateGroup(ctx context.Context, c Caller, name string) error
	AddUser(ctx context.Context, c Caller, group, user string) error
}

// Entry is a name in a projection that another package computes.
type Entry struct {
	Name  string
	Mode  uint32 // S_IFDIR, S_IFREG or S_IFLNK, and permissions
	Link  string // of a symlink: relative to the mount's root, without a leading slash
	Data  []byte // of a regular file: all of it
	Mtime time.Time
}

// Views computes views/ (contract §5): path is what was named below views/,
// never empty for Lookup.
type Views interface {
	// List lists a directory of a view for the caller.
	List(ctx context.Context, c Caller, path []string) ([]Entry, error)
	// Lookup finds one name; it may find what List does not show (words of a
	// search, a query's text).
	Lookup(ctx context.Context, c Caller, path []string) (Entry, error)
	// Write takes what was written to a file of a view (define/<name>).
	Write(ctx context.Context, c Caller, path []string, data []byte) error
}

// Evidence is the log as files (evidence.md §15). cmd adapts *evidence.Log.
type Evidence interface {
	// Record finds a record by id; the bytes are exactly the hashed ones.
	Record(id string) (EvidenceRecord, bool)
	// Seq finds a record by its sequence number; the first is 1, the last Size().
	Seq(n uint64) (EvidenceRecord, bool)
	// Size is the number of records.
	Size() uint64
	// Payload is the payload of a record, false when it is not kept any more.
	Payload(id string) ([]byte, bool)
	// Span lists the records of a time, in order.
	Span(ctx context.Context, from, until time.Time) ([]EvidenceRecord, error)
	// ByAction, ByCorrelation and ByType list records, in order.
	ByAction(ctx context.Context, id string) ([]EvidenceRecord, error)
	ByCorrelation(ctx context.Context, id string) ([]EvidenceRecord, error)
	ByType(ctx context.Context, name string, from, until time.Time) ([]EvidenceRecord, error)
	// Types lists the names of the record types that a record was made of; KnownType
	// tells whether a name is a type's at all.
	Types() ([]string, error)
	KnownType(name string) bool
	// First is when the oldest record was made; false for an empty log.
	First() (time.Time, bool)
	// Head is the text of evidence/head.
	Head() []byte
	// Files are the log's own files: log/ (checkpoint, tile/…) and segments/.
	Files() fs.FS
	// MayReadAll tells whether the caller may read every record, and so the files that hold
	// them all.
	MayReadAll(c Caller) bool
	// MayRead tells whether the caller may read the record.
	MayRead(c Caller, r EvidenceRecord) bool
}

// EvidenceRecord is what the tree needs of a record.
type EvidenceRecord struct {
	ID, Type, Action, Correlation, Subject, Group, Retention string
	Seq                                                      uint64
	At                                                       time.Time
	Bytes                                                    []byte
}

// Projection is a small read-only tree that another package computes whole:
// policy/, agents/, apps/.
type Projection interface {
	// List lists a directory, "" for its root; Entries of mode S_IFREG carry
	// their Data.
	List(ctx context.Context, c Caller, dir string) ([]Entry, error)
}
