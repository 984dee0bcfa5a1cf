package evidence

import (
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// Receipt is one record of the log as it is handed out.
type Receipt struct {
	ID         string      // evr_<ULID>
	Seq        uint64      // position in the log, from 1
	Type       record.Type // what it is about
	Retention  record.Retention
	RecordedAt time.Time // the log's clock, UTC
	TAI64N     string    // the same as 24 hex digits

	Emitter                string
	Subject                string
	SubjectIsAI            bool
	Session                string
	Scope, GroupID, UserID string

	ActionID, PolicyDecisionID, VerificationID, CorrelationID, TraceID, ParentID string

	Simulated        bool
	RedactionClass   RedactionClass
	RedactionProfile []string // names of the redaction rules that applied

	SegmentID    string // seg_<32 hex>
	PayloadHash  string // hex32(salt || JCS(payload))
	PayloadRef   string // segment://<segment id>/<offset in its payload file>
	PreviousHash string // link to the predecessor
	LinkHash     string // hex32 of Bytes: the successor's PreviousHash
	LeafHash     string // 64 hex: SHA-256(0x00 || Bytes), the Merkle leaf
	Integrity    Integrity

	// Bytes are the exact canonical bytes that are hashed and served.
	Bytes []byte
}

// Integrity is computed when a record is read (ReceiptIntegrityState, S6.3).
type Integrity uint8

// The integrity states.
const (
	Pending          Integrity = 1 // in the active segment
	Sealed           Integrity = 2 // in a sealed segment
	Verified         Integrity = 3 // in a segment that passed an audit of this process
	TamperQuarantine Integrity = 4 // in a segment with a finding against it
	Retired          Integrity = 5 // payload purged
)

// String returns the state's name in the reference.
func (i Integrity) String() string {
	names := [...]string{"UNSPECIFIED", "PENDING", "SEALED", "VERIFIED", "TAMPER_QUARANTINED", "RETIRED"}
	if int(i) < len(names) {
		return names[i]
	}
	return "UNSPECIFIED"
}

// RedactionClass says how much was taken out of a record's payload.
type RedactionClass uint8

// The redaction classes (S6.3 §4.4), weakest first.
const (
	RedactionNone        RedactionClass = 1
	SecretRedacted       RedactionClass = 2
	SubjectPseudonymized RedactionClass = 3
	FullRedacted         RedactionClass = 4
)

var redactionNames = [...]string{"UNSPECIFIED", "NONE", "SECRET_REDACTED", "SUBJECT_PSEUDONYMIZED", "FULL_REDACTED"}

// String returns the class's name in the reference.
func (c RedactionClass) String() string {
	if int(c) < len(redactionNames) {
		return redactionNames[c]
	}
	return "UNSPECIFIED"
}
