package evidence

import (
	"crypto/ed25519"
	"log/slog"
	"time"
)

// Options says where a log lives and how it behaves. Dir is required; Key is
// required unless ReadOnly.
type Options struct {
	// Dir is the log's directory; it is created if missing, and locked
	// against a second writer.
	Dir string
	// Origin names the log in its checkpoints and keys; default
	// "aios/evidence". It must be the same for the life of the log and hold
	// neither spaces nor plus signs.
	Origin string
	// Key signs checkpoints and seals.
	Key ed25519.PrivateKey
	// SealBytes is the size at which a segment is sealed; default 64 MiB
	// (S3.1 §7.1).
	SealBytes int64
	// SealAge is the age at which a segment is sealed; default 1 h (S3.1 §7.1).
	SealAge time.Duration
	// CheckpointEvery is how long records may be durable but not yet covered
	// by a signed checkpoint; default 100 ms. Changes to records within that
	// window are indistinguishable from a crash.
	CheckpointEvery time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Steady is a clock that nobody sets, to hold Now against; default
	// CLOCK_BOOTTIME without a Now, none with one.
	Steady func() time.Duration
	// Anchor, if set, is a file outside Dir to which every signed checkpoint
	// is appended (most useful on another disk).
	Anchor string
	// RequireKeys refuses what is said about a subject of the machine's people
	// and agents by a component that speaks for it (the runtime, the approval
	// manager, …) without that subject's key.
	RequireKeys bool
	// ReadOnly opens for reading only, without the lock; the directory may
	// belong to a running writer.
	ReadOnly bool
	// Logger reports recoveries and damage; default slog.Default.
	Logger *slog.Logger
}
