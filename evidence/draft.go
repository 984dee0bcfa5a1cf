package evidence

import "github.com/ai-os-dot-net/aios/evidence/record"

// Draft is what an emitter may say about an event. Everything else (sequence,
// times, segment, links, hashes, retention) is set by the log.
type Draft struct {
	// ID is an optional receipt id that the log has reserved (Log.Reserve). A
	// second append with the same ID is dropped and answered with the first
	// receipt, also after a restart (outbox replay).
	ID string
	// Type is the closed record type.
	Type record.Type
	// Subject is the canonical subject, such as family:alice, of at most 256
	// bytes (S6.3 §3).
	Subject string
	// SubjectIsAI is the identity catalogue's word about Subject.
	SubjectIsAI bool
	// Key is the subject's (Log.KeyFor), from where the caller was resolved.
	// It is checked where it is given, and where Options.RequireKeys wants it.
	Key SubjectKey `json:",omitempty"`
	// Retention is the class that the emitter takes the record to have, or 0;
	// another one than the type's is refused.
	Retention record.Retention `json:",omitempty"`
	// Session is the acting session, if there is one.
	Session string
	// Scope is "_system" or "groups"; empty means "_system" without a
	// GroupID and "groups" with one. GroupID and UserID complete it.
	Scope, GroupID, UserID string
	// References, all optional: act_, poldec_ and vrf_ ids, a free
	// correlation id (default: ActionID), a W3C trace id, and the receipt
	// this one follows from, which must exist.
	ActionID, PolicyDecisionID, VerificationID, CorrelationID, TraceID, ParentID string
	// Emitter is the component that speaks; it must have authority over
	// Type (record.Type.MayEmit).
	Emitter string
	// Simulated marks records of a simulation; queries leave them out by
	// default.
	Simulated bool
	// Classified withholds the whole payload (privacy class CLASSIFIED);
	// the envelope is kept.
	Classified bool
	// Payload is redacted, then committed to by a salted hash. It must be
	// JSON-encodable; 64-bit integers should be given as strings.
	Payload map[string]any

	// ready is what Check made of the payload, so that Append need not do it again.
	ready *prepared
}
