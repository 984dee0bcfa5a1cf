package evidence

import (
	"context"
	"errors"
	"iter"
)

// Sentinel errors.
var (
	// ErrNotFound: no record or payload by that id or number.
	ErrNotFound = errors.New("no such record")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrReadOnly: opened with ReadOnly.
	ErrReadOnly = errors.New("log is open read-only")
	// ErrDegraded: damage was found; reads work, appends are refused.
	ErrDegraded = errors.New("log is degraded")
	// ErrClockBackwards: the clock is behind the newest record; appends are
	// refused until AcknowledgeClock (S3.1 §11.2).
	ErrClockBackwards = errors.New("clock is behind the log")
	// ErrInvalidDraft: a field is malformed or missing.
	ErrInvalidDraft = errors.New("invalid draft")
	// ErrAuthority: the emitter may not emit this type.
	ErrAuthority = errors.New("emitter has no authority over this record type")
	// ErrOrphanedParent: the parent receipt does not exist.
	ErrOrphanedParent = errors.New("parent receipt does not exist")
	// ErrRedaction: the redactor could not finish; nothing was stored.
	ErrRedaction = errors.New("payload could not be redacted")
	// ErrTooLarge: a record over 65,535 bytes or a payload over 16 MiB.
	ErrTooLarge = errors.New("record or payload too large")
	// ErrIntegrity: stored bytes fail their own digest.
	ErrIntegrity = errors.New("stored bytes fail their digest")
	// ErrPurged: the payload was purged; the record remains.
	ErrPurged = errors.New("payload was purged")
)

var errUnavailable = errors.New("not available in this build")

// Log is an open evidence log. Its methods may be called concurrently.
type Log struct{}

// Open opens or creates the log in o.Dir.
func Open(ctx context.Context, o Options) (*Log, error) { return nil, errUnavailable }

// Close seals the active segment, signs the last checkpoint and releases the
// directory.
func (l *Log) Close() error { return errUnavailable }

// Append stores the drafts, all or none, and returns when they are durable.
func (l *Log) Append(ctx context.Context, d ...Draft) ([]Receipt, error) { return nil, errUnavailable }

// Receipt returns the record with the given id.
func (l *Log) Receipt(id string) (Receipt, error) { return Receipt{}, errUnavailable }

// At returns the record with the given sequence number.
func (l *Log) At(seq uint64) (Receipt, error) { return Receipt{}, errUnavailable }

// Payload returns the canonical JSON of the record's payload, as stored:
// {"payload":{...},"salt":"<32 hex>"}.
func (l *Log) Payload(id string) ([]byte, error) { return nil, errUnavailable }

// Query yields the matching receipts; it ends after the first error.
func (l *Log) Query(q Query) iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) { yield(Receipt{}, errUnavailable) }
}

// Watch delivers every durable record from fromSeq (1: from the start; 0:
// from now) until ctx ends, then closes the channel. A slow reader never
// holds up the log: it is fed from disk.
func (l *Log) Watch(ctx context.Context, fromSeq uint64) (<-chan Receipt, error) {
	return nil, errUnavailable
}

// Head returns the present end of the log.
func (l *Log) Head() Head { return Head{} }

// Checkpoint signs, publishes and returns a checkpoint over every record that
// is durable now.
func (l *Log) Checkpoint() []byte { return nil }

// Health returns nil, or why appends are refused.
func (l *Log) Health() error { return errUnavailable }

// Seal ends the active segment at the operator's word.
func (l *Log) Seal(ctx context.Context) error { return errUnavailable }

// AcknowledgeClock records, in a RECOVERY_EVENT by the given operator, that
// the clock went backwards, and lets appends go on.
func (l *Log) AcknowledgeClock(ctx context.Context, operator string) error { return errUnavailable }

// Audit verifies the open log. Damage degrades it and is recorded as
// TAMPER_DETECTED in a findings segment.
func (l *Log) Audit(ctx context.Context, o VerifyOptions) (Report, error) {
	return Report{}, errUnavailable
}

// Rebuild remakes every index from the segments.
func (l *Log) Rebuild(ctx context.Context) error { return errUnavailable }

// InclusionProof proves that record seq is in the tree of the given size.
func (l *Log) InclusionProof(seq, size uint64) ([][]byte, error) { return nil, errUnavailable }

// ConsistencyProof proves that the tree of size newSize extends that of oldSize.
func (l *Log) ConsistencyProof(oldSize, newSize uint64) ([][]byte, error) {
	return nil, errUnavailable
}
