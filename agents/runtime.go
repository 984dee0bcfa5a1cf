package agents

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/translate"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Kernel decides; *policy.Kernel is it.
type Kernel interface {
	Evaluate(ctx context.Context, r policy.Request) policy.Decision
	Simulate(ctx context.Context, r policy.Request) policy.Decision
	// Admit takes n evaluations from a subject's budget, or fails with policy.ErrRate.
	Admit(s identity.Subject, n int) error
	Info() policy.Info
}

// Identity gives the identity catalogue in force.
type Identity interface {
	Catalog() *identity.Catalog
}

// ResolveError says why a path names no place, and at which segment (S4.1 §8).
type ResolveError struct {
	Code    string
	Segment int // -1 where the whole path is meant
	Message string
}

// Error gives the message.
func (e *ResolveError) Error() string { return e.Message }

// Resolver finds the place of a path, given from the tree's root without a leading
// slash; its errors are *ResolveError.
type Resolver interface {
	Resolve(path string) (policy.Target, error)
}

// Deps is what the runtime works with; everything but Now and Logger is required.
type Deps struct {
	Store       *objects.Store
	Log         *evidence.Log
	Kernel      Kernel
	Identity    Identity
	Translator  *translate.Translator
	Resolver    Resolver
	Adapters    []adapter.Adapter
	ApprovalKey ed25519.PrivateKey
	// Scratch is where the runtime's own probes run git; "" makes them PROBE_ERROR.
	Scratch string
	// OnlyFor is the uid that alone can reach the mount; nil: everybody can.
	OnlyFor *uint32
	// EnrichTime is how long the facts for one decision may take; 0 means the reference's.
	EnrichTime time.Duration
	// HumanRate and AIRate bound the actions of one subject. A zero rate of a human bounds
	// nothing; one of an AI is the reference's, which can only be made stricter.
	HumanRate, AIRate Rate
	Now               func() time.Time
	Logger            *slog.Logger
	// fail is called between durable steps; tests stop the runtime there.
	fail func(point string) error
	// unchanged, of tests, is called before each step with the run that it begins with;
	// what it gives is called after it.
	unchanged func(r *Run) func()
}

// Errors of a submission and of the run directory.
var (
	ErrBusy     = errors.New("an intent of that name is still running")
	ErrNotFound = errors.New("no such run or file")
	ErrDenied   = errors.New("not yours to decide")
	ErrInvalid  = errors.New("it cannot be read as what this file takes")
	ErrAgain    = errors.New("too many goals are waiting")
	ErrClosed   = errors.New("the runtime is shutting down")
)

// IntentError is a document that was not accepted.
type IntentError struct {
	Code, Message string
	Line, Column  int
}

// Error gives the code, the place and the message.
func (e *IntentError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: line %d, column %d: %s", e.Code, e.Line, e.Column, e.Message)
	}
	return e.Code + ": " + e.Message
}

const (
	workers    = 4                  // runs that are carried out at once
	maxLive    = 256                // runs of one subject that may wait (S10.1 §11)
	keepShown  = 7 * 24 * time.Hour // how long a finished run stays in intents/ (contract §4)
	retryTicks = 30                 // seconds until a paused run is tried again
	keyTTL     = 24 * time.Hour     // of an idempotency key (S0.1 §3.3)
)

// tracked is a run in memory. The run itself is never changed: each durable step
// replaces it.
type tracked struct {
	step    sync.Mutex // held by the one step that is under way
	mu      sync.Mutex
	run     *Run
	changed chan struct{} // closed when run is replaced
	driving bool
	again   bool
	abort   func()           // breaks off what is being prepared; guarded by mu
	undone  map[int][]func() // by group; guarded by Runtime.execLock
}

func (t *tracked) get() (*Run, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.run, t.changed
}

func (t *tracked) now() *Run { r, _ := t.get(); return r }

func (t *tracked) set(r *Run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run = r
	close(t.changed)
	t.changed = make(chan struct{})
}

// Runtime carries documents out. Its methods may be used concurrently.
type Runtime struct {
	id     string // runtime:<16 hex> of the approval key
	health health
	d      Deps
	kinds  map[string]served
	mu     sync.Mutex
	runs   map[string]*tracked // by run id
	byName map[string]*tracked // by subject and name in intents/, or place in .done/; a hint, see named and moved

	renderedMu sync.Mutex
	rendered   map[*Run]map[string][]byte // the files of some runs, see render
	active     map[string]*tracked        // those that may not be over, by run id
	claims     claims                     // of names and idempotency keys
	deciding   chan struct{}              // held while a document is understood and policy decides
	moves      sync.Mutex                 // held while a run is given its place below .done/
	ctx        context.Context
	stop       context.CancelFunc
	queue      *queue
	budgets    map[string]*budget // by subject
	refusals   refusals
	work       sync.WaitGroup
	closed     bool
	execLock   sync.Mutex // plans that change objects run one after the other
}

type served struct {
	id      string // of the adapter, adapter:aios:NAME:VERSION
	adapter adapter.Adapter
	kind    adapter.Kind
}

// New starts the runtime and goes on with what a restart interrupted.
func New(ctx context.Context, d Deps) (_ *Runtime, err error) {
	if d.Store == nil || d.Log == nil || d.Kernel == nil || d.Identity == nil || d.Translator == nil || d.Resolver == nil || len(d.ApprovalKey) != ed25519.PrivateKeySize {
		return nil, errors.New("start the action runtime: something that it needs is missing")
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.EnrichTime == 0 {
		d.EnrichTime = enrichTime
	}
	if d.AIRate, err = strictest(d.AIRate); err != nil {
		return nil, fmt.Errorf("start the action runtime: %w", err)
	}
	rt := &Runtime{d: d, kinds: map[string]served{}, runs: map[string]*tracked{}, byName: map[string]*tracked{}, rendered: map[*Run]map[string][]byte{}, active: map[string]*tracked{}, deciding: make(chan struct{}, runtime.GOMAXPROCS(0)), queue: newQueue(workers), budgets: map[string]*budget{}}
	sum := blake3.Sum256(d.ApprovalKey.Public().(ed25519.PublicKey))
	rt.id = "runtime:" + hex.EncodeToString(sum[:8])
	rt.ctx, rt.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, a := range d.Adapters {
		m := a.Manifest()
		if err := admit(a, m); err != nil {
			return nil, fmt.Errorf("start the action runtime: %w", err)
		}
		if m.Stability == adapter.Retired {
			continue
		}
		for _, k := range m.Kinds {
			if _, twice := rt.kinds[k.Action]; twice {
				return nil, fmt.Errorf("start the action runtime: two adapters serve %s", k.Action)
			}
			rt.kinds[k.Action] = served{"adapter:aios:" + a.Manifest().ID + ":" + a.Manifest().Version, a, k}
		}
	}
	err = d.Store.ScanRecords(runPrefix, func(key string, b []byte) error {
		r, err := decodeRun(b)
		if err != nil {
			return fmt.Errorf("run record %s: %w", key, err)
		}
		rt.add(&tracked{run: r, changed: make(chan struct{})})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("start the action runtime: %w", err)
	}
	for _, t := range rt.runs {
		if !t.run.Terminal() {
			rt.drive(t)
		}
	}
	rt.work.Add(1)
	go rt.tick()
	return rt, nil
}

// Close stops taking documents and waits for the steps under way; runs that are not
// over go on at the next start.
func (rt *Runtime) Close() error {
	rt.mu.Lock()
	rt.closed = true
	rt.mu.Unlock()
	rt.stop()
	rt.work.Wait()
	return nil
}

// tick ends approvals whose time is over and moves old runs away.
func (rt *Runtime) tick() {
	defer rt.work.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-rt.ctx.Done():
			return
		case <-t.C:
		}
		now := rt.d.Now()
		for _, l := range rt.all() {
			r := l.now()
			var err error
			switch {
			case !r.Terminal():
				if err = rt.expire(l, now); n%retryTicks == 0 {
					rt.drive(l) // what a full disk or an unhealthy log had paused
				}
			case r.MovedTo == "" && now.Sub(r.Done) > keepShown:
				rt.moves.Lock()
				err = rt.step(l, func(c *change) error { rt.moveAway(c.r); return nil })
				rt.moves.Unlock()
			}
			if err != nil {
				rt.d.Logger.Error("intents", "run", r.ID, "err", err)
			}
		}
	}
}

// add takes a run up, also again under a further name.
func (rt *Runtime) add(l *tracked) {
	r := l.now()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.runs[r.ID] = l
	if !r.Terminal() {
		rt.active[r.ID] = l
	}
	if r.MovedTo == "" {
		for _, n := range append([]string{r.Name}, r.Aliases...) {
			rt.byName[r.By.Subject.ID+"\x00"+n] = l
		}
	}
}

// living gives the runs that are not over.
func (rt *Runtime) living() []*tracked {
	rt.mu.Lock()
	out := make([]*tracked, 0, len(rt.active))
	for _, l := range rt.active {
		out = append(out, l)
	}
	rt.mu.Unlock()
	// A run's own lock comes before the runtime's.
	var over []string
	out = slices.DeleteFunc(out, func(l *tracked) bool {
		r := l.now()
		if r.Terminal() {
			over = append(over, r.ID)
		}
		return r.Terminal()
	})
	rt.mu.Lock()
	defer rt.mu.Unlock()
	for _, id := range over {
		delete(rt.active, id)
	}
	return out
}

func (rt *Runtime) all() []*tracked {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	out := make([]*tracked, 0, len(rt.runs))
	for _, t := range rt.runs {
		out = append(out, t)
	}
	return out
}

// errNothing ends a step that found nothing to do.
var errNothing = errors.New("nothing to do")

// step makes one durable change of a run that touches no object.
func (rt *Runtime) step(l *tracked, fn func(c *change) error) error {
	return rt.stepIn(l, func(c *change, tx *objects.Tx) (*objects.Tx, error) { return tx, fn(c) })
}

func (rt *Runtime) stepIn(l *tracked, fn func(c *change, tx *objects.Tx) (*objects.Tx, error)) error {
	l.step.Lock()
	defer l.step.Unlock()
	if rt.d.unchanged != nil {
		defer rt.d.unchanged(l.now())()
	}
	c := rt.change(l.now())
	tx, err := rt.guarded(c, rt.d.Store.Begin(c.r.cred(), ""), fn)
	if err != nil {
		if errors.Is(err, errNothing) {
			err = nil
		}
		return err
	}
	if tx == nil { // it was committed by fn
		return rt.show(l, c)
	}
	if err := c.put(rt.ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Commit(rt.ctx); err != nil {
		return fmt.Errorf("write the run down: %w", err)
	}
	return rt.show(l, c)
}

// show lets others see what a step made of a run. That it is over they see when the log has
// the evidence: while it takes none, nothing succeeds (S10.1 §12.6).
func (rt *Runtime) show(l *tracked, c *change) error {
	if c.r.Terminal() && len(c.drafts) > 0 {
		if err := rt.d.Store.WaitEvidence(rt.ctx); err != nil {
			return fmt.Errorf("the evidence is not in the log: %w", err)
		}
	}
	l.set(c.r)
	return nil
}

// guarded calls fn; a transition that the lifecycle does not have ends it with
// ErrIllegalTransition, a change of what is over with ErrTerminal, and each with a record
// of the attempt (S10.1 §4).
func (rt *Runtime) guarded(c *change, tx *objects.Tx, fn func(c *change, tx *objects.Tx) (*objects.Tx, error)) (out *objects.Tx, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		bad, ok := p.(illegal)
		if !ok {
			panic(p)
		}
		kind := ErrIllegalTransition.Error()
		if errors.Is(bad.error, ErrTerminal) {
			kind = ErrTerminal.Error()
		}
		_, told := rt.d.Log.Append(rt.ctx, evidence.Draft{Type: record.FailureObserved, Emitter: string(record.EmitterSupervisor), Subject: c.r.By.Subject.ID, SubjectIsAI: c.r.By.Subject.IsAI,
			Session: c.r.By.Subject.SessionClass, Scope: "_system", CorrelationID: c.r.Correlation,
			Payload: map[string]any{record.DetailKind: kind, "message": bad.Error(), "run_id": c.r.ID, "refused": true}})
		out, err = nil, errors.Join(bad.error, told)
	}()
	if out, err = fn(c, tx); err == nil && out != nil {
		must(c.unchanged())
	}
	return out, err
}

// change copies a run for a step.
func (rt *Runtime) change(r *Run) *change {
	n := r.clone()
	now := rt.d.Now().UTC()
	if now.Before(r.Changed) {
		now = r.Changed // times of a run never go back (S0.1 §6.7)
	}
	for _, a := range n.Actions {
		a.shown = a.Phase()
	}
	return &change{r: n, now: now, was: r, log: rt.d.Log, envelope: rt.envelope}
}

// drive carries a run on, in the background, until it waits or is over.
func (rt *Runtime) drive(l *tracked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.driving {
		l.again = true
		return
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.closed {
		return
	}
	l.driving = true
	rt.work.Add(1)
	go func() {
		defer rt.work.Done()
		for {
			rt.driveOnce(l)
			l.mu.Lock()
			if !l.again || rt.ctx.Err() != nil {
				l.driving = false
				l.mu.Unlock()
				return
			}
			l.again = false
			l.mu.Unlock()
		}
	}()
}

func (rt *Runtime) driveOnce(l *tracked) {
	release, err := rt.queue.acquire(rt.ctx, l.now().class())
	if err != nil {
		return
	}
	defer release()
	for rt.ctx.Err() == nil {
		more, err := rt.advance(l)
		if err != nil {
			if rt.ctx.Err() == nil {
				rt.d.Logger.Error("a run is paused", "run", l.now().ID, "err", err)
			}
			return
		}
		if !more {
			return
		}
	}
}

func (rt *Runtime) at(point string) error {
	if rt.d.fail != nil {
		return rt.d.fail(point)
	}
	return nil
}
