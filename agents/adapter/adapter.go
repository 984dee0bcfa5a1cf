// Package adapter is the contract between the action runtime and what carries
// actions out (S10.1 §10).
//
// An adapter declares a manifest: the kinds of action that it serves, each with a
// class, a risk and a way back. A request is one typed action that policy has
// allowed. A batch is a run of actions that change nothing but AIOS objects: their
// adapters stage them into one store transaction, so that all of them happen or
// none. An action that reaches outside the store is executed instead.
package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Rollback says how an action is taken back (S10.1 §7).
type Rollback string

// The ways back.
const (
	RollbackNone        Rollback = "NONE"        // there is none
	RollbackTransaction Rollback = "TRANSACTION" // the store undoes it
	RollbackAdapter     Rollback = "ADAPTER"     // the adapter's Rollback does
	// RollbackExternal is a way back that only a person can go: the action stays FAILED,
	// and the need is noted.
	RollbackExternal Rollback = "EXTERNAL_REQUIRED"
)

// Kind is one kind of action that an adapter serves.
type Kind struct {
	Action   string
	Class    policy.ActionClass
	Rollback Rollback
	Risk     policy.Risk // the template; a caller's claim only adds to it
	Timeout  time.Duration
}

// Manifest declares an adapter.
type Manifest struct {
	ID, Version string
	Stability   Stability
	Dispatch    Dispatch // the one that it would like best; it may get a stricter one
	Kinds       []Kind
	// Sandbox is what a confined child of the adapter is let to do. Without one the adapter
	// is not carried out where it must be confined.
	Sandbox *Sandbox
}

// Sandbox is what a confined child may do besides computing: nothing, but for what is
// named. It runs as the submitter, without a capability.
type Sandbox struct {
	// HostProcesses lets it look at the machine's processes and signal the submitter's.
	HostProcesses bool
}

// Request is an action that is about to happen. It carries no approval, no policy
// and no secret (S10.1 §6.2).
type Request struct {
	ActionID string
	Step     plan.Step
	Subject  identity.Subject
	// UID, GID and Groups are the submitter's, as the kernel gave them, with the
	// groups that the identity catalogue maps for his memberships.
	UID, GID uint32
	Groups   []uint32
	// Daemon is the process of the daemon, in which the adapter need not be.
	Daemon int
}

// Admin says whether owner and mode do not bind the submitter. An AI is never one.
func (r Request) Admin() bool { return !r.Subject.IsAI && (r.UID == 0 || r.Subject.Admin) }

// Output is what an action gave. Values are JSON-encodable and hold no secret.
type Output struct {
	Changed  bool           `json:"changed"`
	Data     map[string]any `json:"data,omitempty"`
	Rollback map[string]any `json:"rollback_handle,omitempty"`
}

// Preview is one file as an action would make it.
type Preview struct {
	Path          string
	Before, After []byte // nil: not there
	Note          string // instead of a content, for what is no text change
}

// Pending is what a batch has made of a path so far; Gone and Dir exclude Open.
type Pending struct {
	Gone, Dir bool
	Open      func() (io.ReadCloser, error)
}

// Batch is the transaction that a run of actions is staged into. Paths are from
// the tree's root, without a leading slash.
type Batch struct {
	Store   *objects.Store
	Tx      *objects.Tx
	Pending map[string]Pending
	// Prepared holds what a Preparer made for an action, by action id.
	Prepared map[string]any
	// After holds what must happen once the transaction is durable.
	After []func()
	// Undone holds what must happen when it was taken back while this process runs.
	Undone []func()
}

// Adapter is what every adapter has; it also is a Stager or an Executor.
type Adapter interface {
	Manifest() Manifest
	// Simulate says what the action would do, and does nothing.
	Simulate(ctx context.Context, r Request) ([]Preview, error)
}

// Stager changes nothing but AIOS objects.
type Stager interface {
	Adapter
	Stage(ctx context.Context, b *Batch, r Request) (Output, error)
}

// Preparer is a Stager that has work to do before, which takes its time and touches
// neither the store nor anything that outlives it.
type Preparer interface {
	Stager
	Prepare(ctx context.Context, r Request) (Prepared, error)
}

// Walled is an adapter whose actions run programs. Ready says why the walls around these
// could not be built on this host now; it builds none (pre-dispatch step 5).
type Walled interface {
	Adapter
	Ready() error
}

// Prepared is what Prepare made. Close lets go of it, whatever became of the action.
type Prepared struct {
	Data  any
	Walls map[string]any // which sandbox stood around it, for the evidence
	Close func() error
}

// Executor acts outside the store.
type Executor interface {
	Adapter
	Execute(ctx context.Context, r Request) (Output, error)
	// Rollback takes back what Execute did, from its handle.
	Rollback(ctx context.Context, r Request, handle map[string]any) error
}

// Error is an adapter's failure with a code that a program can read.
type Error struct {
	Code      string
	Retryable bool
	Err       error
}

// Error gives the text of the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fail makes an *Error.
func Fail(code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// ErrNoSimulation is the answer of a kind that cannot be simulated.
var ErrNoSimulation = errors.New("AdapterDoesNotSupportSimulate: it cannot be simulated")
