package agents

import (
	"errors"
	"slices"
)

// State is an ActionLifecycleState (S10.1 §3.1).
type State string

// The fourteen states.
const (
	Created         State = "CREATED"
	PolicyPending   State = "POLICY_PENDING"
	ApprovalPending State = "APPROVAL_PENDING"
	OverridePending State = "OVERRIDE_PENDING"
	Approved        State = "APPROVED"
	Queued          State = "QUEUED"
	Executing       State = "EXECUTING"
	Verifying       State = "VERIFYING"
	Succeeded       State = "SUCCEEDED"
	PolicyDenied    State = "POLICY_DENIED"
	OverrideDenied  State = "OVERRIDE_DENIED"
	Failed          State = "FAILED"
	RollbackFailed  State = "ROLLBACK_FAILED"
	RolledBack      State = "ROLLED_BACK"
)

// States lists all fourteen.
var States = []State{Created, PolicyPending, ApprovalPending, OverridePending, Approved, Queued, Executing, Verifying,
	Succeeded, PolicyDenied, OverrideDenied, Failed, RollbackFailed, RolledBack}

// ErrIllegalTransition is an edge that the lifecycle does not have.
var ErrIllegalTransition = errors.New("LIFECYCLE_ILLEGAL_TRANSITION")

// edges are T2 to T21 of S10.1 §4; T1 is the birth in CREATED. CREATED to SUCCEEDED
// is a VALIDATE alone.
var edges = map[State][]State{
	Created:         {PolicyPending, Failed, Succeeded},
	PolicyPending:   {Approved, ApprovalPending, PolicyDenied, OverridePending},
	ApprovalPending: {Approved, Failed},
	OverridePending: {Approved, OverrideDenied},
	Approved:        {Queued},
	Queued:          {Executing, Failed},
	Executing:       {Verifying, Failed},
	Verifying:       {Succeeded, Failed},
	Failed:          {RolledBack, RollbackFailed},
	PolicyDenied:    {OverridePending},
}

// CanMove says whether the lifecycle has the edge.
func CanMove(from, to State) bool { return slices.Contains(edges[from], to) }

// Terminal says whether an action in this state is over. FAILED counts: a rollback
// follows it at once or never.
func (s State) Terminal() bool {
	switch s {
	case Succeeded, PolicyDenied, OverrideDenied, Failed, RollbackFailed, RolledBack:
		return true
	}
	return false
}
