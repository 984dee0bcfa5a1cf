package agents

import (
	"context"
	"sync"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// Class is the queue that a run waits in (S10.1 §11).
type Class string

// The queue classes that exist while nothing is scheduled and no recovery is on.
const (
	Interactive   Class = "INTERACTIVE"    // a human's
	AgentProposal Class = "AGENT_PROPOSAL" // an AI's, whatever it asks for
	Background    Class = "BACKGROUND"     // a human's that may wait
)

// class is the run's queue: whose run it is decides, and the document only whether a
// human's may wait.
func (r *Run) class() Class {
	switch {
	case r.By.Subject.IsAI:
		return AgentProposal
	case r.Plan != nil && r.Plan.QueueClass == string(Background):
		return Background
	}
	return Interactive
}

// enqueue lets an approved action wait for its turn. An AI that asked for the humans'
// queue waits in its own, and that is recorded (S10.1 §11, actions-37).
func (c *change) enqueue(a *Action, why string) {
	must(a.move(Queued, false))
	if asked := c.r.Plan.QueueClass; c.r.By.Subject.IsAI && asked == string(Interactive) {
		c.emit(record.EmitterRuntime, record.AiInteractiveQueueDowngrade, a, map[string]any{"requested_class": asked, "assigned_class": string(AgentProposal)})
	}
	c.event(a, string(Queued), why)
}

// Limits of the queues.
const (
	aiShare   = 50   // percent of the workers that AIs hold at most, and so the background; constitutional for AIs (policy.md §14, site 4)
	laterTurn = 10   // every tenth turn is the background's: its least share (S10.1 §11)
	depth     = 1000 // runs that are not over, beyond which only humans are served (S10.1 §11)
)

// queue hands out the workers. A human's run goes before an AI's that waits as well, and
// that before what may wait; but where several wait, one worker is left to AIs and every
// tenth turn to the background, so that none starves.
type queue struct {
	mu      sync.Mutex
	workers int
	turns   int
	busy    map[Class]int
	waiting map[Class][]chan struct{}
}

func newQueue(workers int) *queue {
	return &queue{workers: workers, busy: map[Class]int{}, waiting: map[Class][]chan struct{}{}}
}

// acquire waits for a worker; release gives it back.
func (q *queue) acquire(ctx context.Context, c Class) (release func(), err error) {
	ready := make(chan struct{})
	q.mu.Lock()
	q.waiting[c] = append(q.waiting[c], ready)
	q.next()
	q.mu.Unlock()
	select {
	case <-ready:
		return func() { q.release(c) }, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting[c] {
		if w == ready {
			q.waiting[c] = append(q.waiting[c][:i], q.waiting[c][i+1:]...)
			return nil, ctx.Err()
		}
	}
	q.give(c) // it was handed over in the same moment
	return nil, ctx.Err()
}

func (q *queue) release(c Class) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.give(c)
}

func (q *queue) give(c Class) {
	q.busy[c]--
	q.next()
}

// next lets go those whose turn it is; q.mu is held.
func (q *queue) next() {
	for q.busy[Interactive]+q.busy[AgentProposal]+q.busy[Background] < q.workers {
		c, ok := q.turn()
		if !ok {
			return
		}
		w := q.waiting[c][0]
		q.waiting[c] = q.waiting[c][1:]
		q.busy[c]++
		q.turns++
		close(w)
	}
}

// turn is the class that a free worker goes to; false when none may have it.
func (q *queue) turn() (Class, bool) {
	half := func(c Class) bool {
		return len(q.waiting[c]) > 0 && q.busy[c] < max(1, q.workers*aiShare/100)
	}
	human, ai, later := len(q.waiting[Interactive]) > 0, half(AgentProposal), half(Background)
	switch {
	case later && q.turns%laterTurn == laterTurn-1:
		return Background, true
	case ai && (!human || q.busy[AgentProposal] == 0 && q.busy[Interactive] >= q.workers-1):
		return AgentProposal, true
	case human:
		return Interactive, true
	}
	return Background, later
}
