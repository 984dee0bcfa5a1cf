// Package approval is the life of one approval (S5.3): asked for, delivered, granted
// or denied by a person, consumed once.
//
// A request is bound to the digest of what was asked; a binding is the signed grant.
// Everything here is state and rules without storage: the action runtime keeps both
// durably, and writes CONSUMED before it does anything.
package approval

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gowebpki/jcs"
	"github.com/oklog/ulid/v2"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

// State is an ApprovalRequestState (S5.3 §3.1).
type State string

// The eight states; the last five are terminal.
const (
	Draft          State = "DRAFT"
	Awaiting       State = "AWAITING_OPERATOR"
	Granted        State = "GRANTED"
	Denied         State = "DENIED"
	Expired        State = "EXPIRED"
	Revoked        State = "REVOKED"
	Consumed       State = "CONSUMED"
	FailedDelivery State = "FAILED_DELIVERY"
)

// edges are all transitions that exist.
var edges = map[State][]State{
	Draft:    {Awaiting, FailedDelivery, Denied},
	Awaiting: {Granted, Denied, Expired},
	Granted:  {Consumed, Revoked, Denied},
}

// Reason is why an approval was not given.
type Reason string

// The denial reasons (closed).
const (
	OperatorRejected  Reason = "OPERATOR_REJECTED"
	TTLExpired        Reason = "TTL_EXPIRED"
	ActionRevised     Reason = "ACTION_REVISED"
	DeliveryFailed    Reason = "DELIVERY_FAILED"
	ScopeDrift        Reason = "SCOPE_DRIFT"
	Superseded        Reason = "SUPERSEDED"
	RevokedByOperator Reason = "REVOKED_BY_OPERATOR"
)

// Errors of approvals. Their texts are the reference's names where it has one.
var (
	ErrTransition   = errors.New("APPROVAL_BINDING_VOIDED: the approval is not in a state for that")
	ErrSelfApproval = errors.New("the one who asks cannot be the one who approves")
	ErrAIApproval   = errors.New("AiSelfApprovalAttempted: an AI never approves")
	ErrNotEligible  = errors.New("the approver is not of a class that may approve this")
	ErrHash         = errors.New("BINDING_VOIDED_ACTION_REVISED: that is not the hash of what is asked")
	ErrExpired      = errors.New("ApprovalExpired: the time to approve is over")
	ErrConsumed     = errors.New("ApprovalAlreadyConsumed")
	ErrSignature    = errors.New("the binding's signature does not hold")
	ErrTTL          = errors.New("InvalidApprovalTtl")
	ErrHardDenied   = errors.New("HardDeniedNotApprovable")
	ErrSameApprover = errors.New("a second, different person must sign")
)

// maxTTL is TTL_LONG's ceiling; there is no infinite tier (S5.3 §8).
const maxTTL = 4 * time.Hour

// Request is an ApprovalRequest.
type Request struct {
	ID            string    `json:"approval_request_id"` // apprq_…
	ActionID      string    `json:"action_id"`
	DecisionID    string    `json:"policy_decision_id"`
	RequestHash   string    `json:"request_hash"`
	BundleVersion string    `json:"bundle_version"`
	Proposer      string    `json:"proposing_subject_id"`
	ProposerUID   uint32    `json:"proposing_uid"`
	ProposerAI    bool      `json:"proposing_is_ai"`
	ProposerGroup string    `json:"proposing_group"`
	Addressed     []string  `json:"addressed_user_ids,omitempty"` // in whose own places it works; empty asks the group
	Classes       []string  `json:"approver_subject_filter"`
	Strength      string    `json:"strength"` // WEAK, STRONG, DUAL
	TTLSeconds    int       `json:"ttl_seconds"`
	State         State     `json:"state"`
	CreatedAt     time.Time `json:"created_at"`
	DeliveredAt   time.Time `json:"delivered_at,omitzero"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
	DenialReason  Reason    `json:"denial_reason,omitempty"`
	DenialMessage string    `json:"denial_message,omitempty"`
	First         *Signer   `json:"first_signer,omitempty"` // of DUAL, until the second one signs
	Binding       *Binding  `json:"binding,omitempty"`
}

// Clone copies a request with its grant.
func (r *Request) Clone() *Request {
	n := *r
	n.Addressed, n.Classes = slices.Clone(r.Addressed), slices.Clone(r.Classes)
	if r.First != nil {
		first := *r.First
		n.First = &first
	}
	if r.Binding != nil {
		binding := *r.Binding
		n.Binding = &binding
	}
	return &n
}

// Signer is who signed.
type Signer struct {
	Subject string `json:"subject"`
	UID     uint32 `json:"uid"`
}

// Binding is the grant: exactly one action, signed, consumed once.
type Binding struct {
	ID         string    `json:"binding_id"` // appb_…
	RequestID  string    `json:"approval_request_id"`
	ActionID   string    `json:"bound_action_request_id"`
	ActionHash string    `json:"bound_action_canonical_hash"`
	Scope      string    `json:"scope"` // EXACT_ACTION
	Granting   string    `json:"granting_subject_id"`
	CoSigner   string    `json:"co_signer_subject_id,omitempty"`
	Strength   string    `json:"strength"`
	GrantedAt  time.Time `json:"granted_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	Signature  string    `json:"signer_signature,omitempty"`
}

// New asks for an approval. A hard denial cannot be asked away.
func New(r Request, hardDenied bool, now time.Time) (*Request, error) {
	if hardDenied {
		return nil, ErrHardDenied
	}
	ttl := time.Duration(r.TTLSeconds) * time.Second
	if ttl <= 0 || ttl > maxTTL || ttl > 30*time.Minute && r.Strength == "WEAK" {
		return nil, fmt.Errorf("%w: %d seconds", ErrTTL, r.TTLSeconds)
	}
	r.ID = "apprq_" + ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
	r.State, r.CreatedAt = Draft, now.UTC()
	return &r, nil
}

func (r *Request) move(to State) error {
	if !slices.Contains(edges[r.State], to) {
		return fmt.Errorf("%w: %s to %s", ErrTransition, r.State, to)
	}
	r.State = to
	return nil
}

// Deliver says that people can see the request now; their time starts.
func (r *Request) Deliver(now time.Time) error {
	if err := r.move(Awaiting); err != nil {
		return err
	}
	r.DeliveredAt = now.UTC()
	r.ExpiresAt = r.DeliveredAt.Add(time.Duration(r.TTLSeconds) * time.Second)
	return nil
}

// Undeliverable says that nobody who may approve can be asked.
func (r *Request) Undeliverable() error {
	if err := r.move(FailedDelivery); err != nil {
		return err
	}
	r.DenialReason = DeliveryFailed
	return nil
}

// Eligible says why a subject may not approve; nil when he may.
func (r *Request) Eligible(s identity.Subject) error {
	switch {
	case s.IsAI:
		return ErrAIApproval
	case !s.Kind.Human() || r.Strength == "DUAL" && s.Kind != identity.HumanUser:
		return ErrNotEligible
	case (s.ID == r.Proposer || s.UID == r.ProposerUID && !r.ProposerAI) && !s.SingleOperator:
		return ErrSelfApproval
	case !s.Admin && !slices.Contains(s.Memberships, r.ProposerGroup):
		return fmt.Errorf("%w: it is another group's", ErrNotEligible)
	case len(r.Addressed) > 0 && !s.Admin && !slices.Contains(r.Addressed, s.ID):
		return fmt.Errorf("%w: it is about another's own place", ErrNotEligible)
	}
	for _, c := range r.Classes {
		if c == "human" || c == "system_admin" && s.Admin {
			return nil
		}
	}
	return ErrNotEligible
}

// Grant is a person's yes to exactly this hash. DUAL needs two of them; the first
// leaves the request waiting for the second.
func (r *Request) Grant(s identity.Subject, hash string, key ed25519.PrivateKey, now time.Time) error {
	if err := r.Eligible(s); err != nil {
		return err
	}
	if r.State != Awaiting {
		return fmt.Errorf("%w: it is %s", ErrTransition, r.State)
	}
	if !now.Before(r.ExpiresAt) {
		return ErrExpired
	}
	if hash != r.RequestHash {
		return ErrHash
	}
	granting, co := s.ID, ""
	if r.Strength == "DUAL" {
		if r.First == nil {
			r.First = &Signer{s.ID, s.UID}
			return nil
		}
		if r.First.Subject == s.ID || r.First.UID == s.UID {
			return ErrSameApprover
		}
		granting, co = r.First.Subject, s.ID
	}
	if err := r.move(Granted); err != nil {
		return err
	}
	r.Binding = &Binding{ID: "appb_" + ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String(), RequestID: r.ID, ActionID: r.ActionID, ActionHash: r.RequestHash,
		Scope: "EXACT_ACTION", Granting: granting, CoSigner: co, Strength: r.Strength, GrantedAt: now.UTC(), ExpiresAt: r.ExpiresAt}
	body, err := r.Binding.body()
	if err != nil {
		return err
	}
	r.Binding.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, body))
	return nil
}

// Deny is a person's no.
func (r *Request) Deny(s identity.Subject, message string) error {
	if err := r.Eligible(s); err != nil && !errors.Is(err, ErrSelfApproval) {
		return err // one may always withdraw what one asked for
	}
	if err := r.move(Denied); err != nil {
		return err
	}
	r.DenialReason, r.DenialMessage = OperatorRejected, message
	return nil
}

// Expire ends a request whose time is over; false while it is not.
func (r *Request) Expire(now time.Time) bool {
	if r.State != Awaiting || now.Before(r.ExpiresAt) {
		return false
	}
	r.State, r.DenialReason = Expired, TTLExpired
	return true
}

// MayRevoke tells whether a subject may take a grant back: who gave it, or an administrator.
func (r *Request) MayRevoke(s identity.Subject) bool {
	return r.Binding != nil && !s.IsAI && (s.ID == r.Binding.Granting || s.ID == r.Binding.CoSigner || s.Admin)
}

// Revoke takes a grant back before it is consumed.
func (r *Request) Revoke(s identity.Subject) error {
	if !r.MayRevoke(s) {
		return ErrNotEligible
	}
	if err := r.move(Revoked); err != nil {
		return err
	}
	r.DenialReason = RevokedByOperator
	return nil
}

// Check says whether the grant is good for this hash at this moment: pre-dispatch
// steps 1 and 3 (S10.1 §6.1).
func (r *Request) Check(hash string, key ed25519.PublicKey, now time.Time) error {
	switch {
	case r.State == Consumed:
		return ErrConsumed
	case r.State != Granted || r.Binding == nil:
		return fmt.Errorf("%w: it is %s", ErrTransition, r.State)
	case !now.Before(r.Binding.ExpiresAt):
		return ErrExpired
	case r.Binding.ActionHash != hash:
		return ErrHash
	}
	sig, err := base64.StdEncoding.DecodeString(r.Binding.Signature)
	body, err2 := r.Binding.body()
	if err != nil || err2 != nil || !ed25519.Verify(key, body, sig) {
		return ErrSignature
	}
	return nil
}

// Consume spends the grant; it must be durable before anything is done with it.
func (r *Request) Consume(hash string, key ed25519.PublicKey, now time.Time) error {
	if err := r.Check(hash, key, now); err != nil {
		return err
	}
	return r.move(Consumed)
}

// Void ends a grant whose action is not what was approved any more.
func (r *Request) Void() error {
	if err := r.move(Denied); err != nil {
		return err
	}
	r.DenialReason = ActionRevised
	return nil
}

func (b *Binding) body() ([]byte, error) {
	x := *b
	x.Signature = ""
	j, err := json.Marshal(x)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(j)
}
