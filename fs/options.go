package fs

import (
	"log/slog"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Options of a mount. Mountpoint, Store and Identity are required; without
// one of the others the part of the tree that it serves is empty.
type Options struct {
	Mountpoint string
	Store      *objects.Store
	// Identity gives the catalogue in force; it is asked at every resolution,
	// so that a new group counts at once.
	Identity func() *identity.Catalog

	Gate     Gate
	Denials  Denials
	Actions  Actions
	Intents  Intents
	Views    Views
	Evidence Evidence
	Policy   Projection // policy/
	Agents   Projection // agents/
	Apps     Projection // apps/

	// Health says why the tree must not be written: nil while all is well.
	Health func() error
	// Status adds to system/runtime/health.json.
	Status func() map[string]any
	// Metrics is system/runtime/metrics; without it there is none.
	Metrics func() []byte
	// AgentID makes the whole mount speak for one AI subject (contract §7).
	AgentID string
	// Shared tells whether another mount serves the same store at present. Then
	// every change is told to the kernel, not only those from inside: the
	// mounts' caches know nothing of each other (T-31).
	Shared func() bool
	// Recovery mounts what recovery needs of system/ only, and read-only (S9.1 §5.1).
	Recovery bool
	// ReadOnly refuses every change with EROFS.
	ReadOnly bool

	// Atime says when reading moves times of reading, NoDirAtime that it never does for
	// directories. Where nothing may be written, none moves.
	Atime      objects.AtimeRule
	NoDirAtime bool

	// NoPassthrough keeps all bytes on the way through the daemon.
	NoPassthrough bool
	// NearLimit tells whether a file is so near to its owner's quota that each
	// write must be counted: it is opened without passthrough.
	NearLimit func(objects.Ino) bool

	// FsName is the source shown by df; "aios" by default.
	FsName string
	// MountOptions are passed on as -o: ro, nodev, noexec, …
	MountOptions []string
	// AllowOther overrides the default (on for root, and for others when
	// /etc/fuse.conf has user_allow_other).
	AllowOther *bool
	// Transport chooses what carries the kernel's requests: TransportLoop or
	// TransportGoFuse, TransportDefault when it is empty.
	Transport string
	Debug     bool

	Now    func() time.Time
	Logger *slog.Logger
}
