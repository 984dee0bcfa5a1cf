package agents

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/agents/translate"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/approval"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Submitter is who dropped the document, as the kernel and the identity catalogue
// say.
type Submitter struct {
	Subject identity.Subject `json:"subject"`
	UID     uint32           `json:"uid"`
	GID     uint32           `json:"gid"`
	PID     uint32           `json:"-"`
	Groups  []uint32         `json:"groups,omitempty"`
	// Key lets the evidence of the run speak for the subject; whoever resolved it
	// has it from the log.
	Key      evidence.SubjectKey `json:"key,omitempty"`
	IssuedBy string              `json:"issued_by,omitempty"` // the surface that it came through
}

// The words of a run's state besides those of its actions (contract §4).
const (
	runReceived = "RECEIVED"
	runAsking   = "NEEDS_CLARIFICATION"
	runRefused  = "REFUSED"
)

// Failure is error.json (S0.1 §7).
type Failure struct {
	Code      string         `json:"code"`
	Message   string         `json:"message"`
	Details   map[string]any `json:"details,omitempty"`
	Retryable bool           `json:"retryable"`
	Cause     *Failure       `json:"cause,omitempty"` // at most seven deep, see because
}

// Action is one typed action of a run with everything that became of it.
type Action struct {
	ID           string            `json:"action_id"`
	Parent       string            `json:"parent_action_id,omitempty"` // whose effects it takes back
	Step         plan.Step         `json:"step"`
	State        State             `json:"state"`
	RequestHash  string            `json:"request_hash"`
	Decision     *policy.Decision  `json:"decision,omitempty"`
	Approval     *approval.Request `json:"approval,omitempty"`
	Dispatch     string            `json:"dispatch_kind,omitempty"`
	Attempts     int               `json:"attempts"`
	Output       adapter.Output    `json:"output"`
	Checks       []Check           `json:"checks,omitempty"`
	Verification string            `json:"verification_id,omitempty"`
	Failure      *Failure          `json:"error,omitempty"`
	Rollback     string            `json:"rollback_outcome"`
	CrashSeen    bool              `json:"crash_recovery_observed,omitempty"`
	Group        int               `json:"group"` // actions of a group share one store transaction

	shown string // the phase that others have been told; "" in the step that makes it
}

// Event is one line of events.log.
type Event struct {
	At     time.Time `json:"at"`
	State  string    `json:"state"`
	Action string    `json:"action_id,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// evidenceRef is a record that this run wrote.
type evidenceRef struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Action string `json:"action_id,omitempty"`
}

// Run is one accepted document. It is a record of the store, and only the runtime
// writes it.
type Run struct {
	ID          string               `json:"run_id"`
	Name        string               `json:"name"`
	By          Submitter            `json:"submitter"`
	Doc         []byte               `json:"document"`
	Accepted    time.Time            `json:"accepted_at"`
	Changed     time.Time            `json:"changed_at"`
	Done        time.Time            `json:"done_at,omitzero"`
	Parent      string               `json:"parent_run_id,omitempty"`    // whose effects it takes back
	Cause       string               `json:"parent_action_id,omitempty"` // the action that it follows from, as its document says
	MovedTo     string               `json:"moved_to,omitempty"`         // below .done/
	Aliases     []string             `json:"aliases,omitempty"`          // names that the same goal was dropped under again
	Intent      string               `json:"intent_id"`
	PlanID      string               `json:"plan_id"`
	Correlation string               `json:"correlation_id"`
	Key         string               `json:"idempotency_key,omitempty"`
	Word        string               `json:"state,omitempty"` // while there are no actions
	Plan        *plan.Plan           `json:"plan,omitempty"`
	Diff        string               `json:"diff,omitempty"`
	Questions   []translate.Question `json:"questions,omitempty"`
	Answers     map[string]string    `json:"answers,omitempty"`
	Actions     []*Action            `json:"actions"`
	Txns        map[int]string       `json:"transactions,omitempty"` // by group
	Reverted    map[int]bool         `json:"reverted,omitempty"`
	Events      []Event              `json:"events"`
	Evidence    []evidenceRef        `json:"evidence"`
	Failure     *Failure             `json:"error,omitempty"`
}

// State is the run's one word (contract §4): the least advanced of its actions, or
// how it went wrong.
func (r *Run) State() string {
	if len(r.Actions) == 0 {
		return r.Word
	}
	worst, live := "", ""
	rank := map[State]int{RollbackFailed: 6, PolicyDenied: 5, OverrideDenied: 4, Failed: 3, RolledBack: 2, Succeeded: 1}
	best := 0
	for _, a := range r.Actions {
		if !a.State.Terminal() {
			switch a.State {
			case ApprovalPending, OverridePending:
				live = string(ApprovalPending)
			case Executing, Verifying:
				if live != string(ApprovalPending) {
					live = string(a.State)
				}
			case Queued, Approved:
				if live == "" || live == runReceived {
					live = string(Queued)
				}
			default:
				if live == "" {
					live = runReceived
				}
			}
			continue
		}
		if k := rank[a.State]; k > best {
			best, worst = k, string(a.State)
		}
	}
	if live != "" && r.Done.IsZero() {
		return live
	}
	if worst == string(RolledBack) || worst == string(Failed) {
		// Of an atomic run, all that had effects was taken back: that is the outcome.
		for _, a := range r.Actions {
			if a.State == RolledBack {
				return string(RolledBack)
			}
		}
	}
	if worst == string(OverrideDenied) {
		return string(PolicyDenied)
	}
	return worst
}

// Terminal says whether the run is over.
func (r *Run) Terminal() bool { return !r.Done.IsZero() }

func (r *Run) mode() plan.Mode {
	if r.Plan == nil {
		return plan.Live
	}
	return r.Plan.Mode
}

func runKey(id string) string { return "agents/run/" + id }

const runPrefix = "agents/run/"

func (r *Run) encode() ([]byte, error) { return json.Marshal(r) }

func decodeRun(b []byte) (*Run, error) {
	r := &Run{Txns: map[int]string{}, Reverted: map[int]bool{}}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	return r, nil
}

// clone copies a run for a step. What steps replace and never change in place (the plan,
// decisions, outputs, failures) is shared, and so is what lists held before.
func (r *Run) clone() *Run {
	n := *r
	n.Txns, n.Reverted, n.Answers = cloneMap(r.Txns), cloneMap(r.Reverted), maps.Clone(r.Answers)
	n.Aliases, n.Events, n.Evidence = slices.Clip(r.Aliases), slices.Clip(r.Events), slices.Clone(r.Evidence)
	n.Actions = make([]*Action, len(r.Actions))
	all := make([]Action, len(r.Actions))
	for i, a := range r.Actions {
		all[i] = *a
		if a.Approval != nil {
			all[i].Approval = a.Approval.Clone()
		}
		n.Actions[i] = &all[i]
	}
	return &n
}

func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// plainStep gives a step's numbers the type that they are read back with from the run's
// record.
func plainStep(s *plan.Step) {
	s.Target, s.Params = plainMap(s.Target), plainMap(s.Params)
	s.Verification = slices.Clone(s.Verification)
	for i := range s.Verification {
		s.Verification[i].Args = plainMap(s.Verification[i].Args)
	}
}

// plainMap copies: a manifest's own arguments are shared by all steps that it made.
func plainMap(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	n := make(map[string]any, len(m))
	for k, v := range m {
		n[k] = plainValue(v)
	}
	return n
}

func plainValue(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case int:
		return float64(v)
	case uint64:
		return float64(v)
	case map[string]any:
		return plainMap(v)
	case []string:
		n := make([]any, len(v))
		for i, s := range v {
			n[i] = s
		}
		return n
	case []any:
		n := make([]any, len(v))
		for i := range v {
			n[i] = plainValue(v[i])
		}
		return n
	}
	return v
}

// plain gives an output as it is read back from the run's record, so that no step sees
// other types of numbers than one after a restart.
func plain(o adapter.Output) (adapter.Output, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return o, adapter.Fail("ADAPTER_OUTPUT_MALFORMED", "what the adapter reports cannot be written down: %v", err)
	}
	var n adapter.Output
	err = json.Unmarshal(b, &n)
	return n, err
}

// newID makes an id of a kind.
func newID(prefix string, now time.Time) string {
	return prefix + "_" + ulid.MustNew(ulid.Timestamp(now), rand.Reader).String()
}

func (r *Run) cred() objects.Cred {
	return objects.Cred{UID: r.By.UID, GID: r.By.GID, Subject: r.By.Subject.ID, IsAI: r.By.Subject.IsAI, Session: r.By.Subject.SessionClass}
}

// traceID is the W3C trace of a correlation: the same for all that comes of it.
func traceID(correlation string) string {
	sum := blake3.Sum256([]byte(correlation))
	return hex.EncodeToString(sum[:16])
}
