package evidence

import (
	"errors"
	"fmt"
)

// The named refusals of the append boundary (S6.3 §10.1). All but
// ErrKeySubject, ErrIllegalAuthority and ErrOrphanedAction are also
// ErrInvalidDraft.
var (
	// ErrIllegalAuthority: the emitter set what only the log sets: a receipt
	// id that the log has not given, a place, a time, a link, a hash.
	ErrIllegalAuthority = errors.New("IllegalAuthorityField: only the log sets it")
	// ErrRetentionClass: the draft claims another class than its type has.
	ErrRetentionClass = errors.New("RetentionClassMismatch")
	// ErrPayloadVariant: the payload is not that of the type.
	ErrPayloadVariant = errors.New("PayloadVariantMismatch")
	// ErrNamespaceScope: the scope is none, or another than its action's.
	ErrNamespaceScope = errors.New("NamespaceScopeMismatch")
	// ErrIdentityBundle: the identity catalogue says otherwise about the
	// subject being an AI.
	ErrIdentityBundle = errors.New("IdentityBundleMismatch")
	// ErrKeySubject: the key speaks for another subject, or there is none.
	ErrKeySubject = errors.New("KeySubjectMismatch")
	// ErrOrphanedAction: the log has no ACTION_RECEIVED of that action.
	ErrOrphanedAction = errors.New("OrphanedActionRef: the action is not known")
)

// refusal is an error about one draft of an append.
type refusal struct {
	draft  *prepared
	reason error
	detail string
}

func (r *refusal) Error() string {
	s := fmt.Sprintf("append %s: %v", r.draft.Type, r.reason)
	if r.detail != "" {
		s += ": " + r.detail
	}
	return s
}

func (r *refusal) Unwrap() error { return r.reason }

// Refused reports whether err, from Append, is about the draft and will not
// go away by trying again; other errors are the log's and may.
func Refused(err error) bool {
	for _, e := range []error{ErrInvalidDraft, ErrAuthority, ErrOrphanedParent, ErrQuarantinedParent, ErrRedaction, ErrTooLarge,
		ErrIllegalAuthority, ErrKeySubject, ErrOrphanedAction, ErrNamespaceScope} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
