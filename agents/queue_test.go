package agents

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/policy"
)

// However many AIs ask, they never hold more than half of the workers; a human who waits is
// served, and so is an AI while humans keep coming.
func TestShareOfAIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 8).Draw(t, "workers")
		q := newQueue(workers)
		held := map[Class][]func(){}
		waits := map[Class]int{}
		var mu sync.Mutex
		got := make(chan Class, 1000)
		ask := func(c Class) {
			ready := make(chan struct{})
			go func() {
				close(ready)
				release, err := q.acquire(context.Background(), c)
				if err != nil {
					return
				}
				mu.Lock()
				held[c] = append(held[c], release)
				mu.Unlock()
				got <- c
			}()
			<-ready
		}
		settle := func() {
			for {
				select {
				case c := <-got:
					waits[c]--
				case <-time.After(2 * time.Millisecond):
					return
				}
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				waits[AgentProposal]++
				ask(AgentProposal)
			case 1:
				waits[Interactive]++
				ask(Interactive)
			default:
				c := rapid.SampledFrom([]Class{Interactive, AgentProposal}).Draw(t, "whose")
				mu.Lock()
				if n := len(held[c]); n > 0 {
					held[c][n-1]()
					held[c] = held[c][:n-1]
				}
				mu.Unlock()
			}
			settle()
			mu.Lock()
			ai, human := len(held[AgentProposal]), len(held[Interactive])
			mu.Unlock()
			if ai > max(1, workers/2) {
				t.Fatalf("AIs hold %d of %d", ai, workers)
			}
			if ai+human < workers && waits[Interactive] > 0 {
				t.Fatalf("a human waits while %d of %d are busy", ai+human, workers)
			}
			if ai+human < workers && waits[AgentProposal] > 0 && ai < workers/2 {
				t.Fatalf("an AI waits while %d of %d are busy, %d by AIs", ai+human, workers, ai)
			}
		}
		mu.Lock()
		for _, l := range held {
			for _, f := range l {
				f()
			}
		}
		mu.Unlock()
	})
}

// slow is an adapter that counts who is in it at once.
type slow struct {
	ai, peak, humans atomic.Int32
	gate             chan struct{}
}

func (s *slow) Manifest() adapter.Manifest {
	return adapter.Manifest{ID: "slow", Version: "1", Kinds: []adapter.Kind{{Action: "process.list", Class: policy.Read, Rollback: adapter.RollbackNone, Timeout: time.Minute}}}
}

func (s *slow) Simulate(context.Context, adapter.Request) ([]adapter.Preview, error) { return nil, nil }

func (s *slow) Execute(ctx context.Context, r adapter.Request) (adapter.Output, error) {
	if !r.Subject.IsAI {
		s.humans.Add(1)
		return adapter.Output{}, nil
	}
	n := s.ai.Add(1)
	defer s.ai.Add(-1)
	for p := s.peak.Load(); n > p && !s.peak.CompareAndSwap(p, n); p = s.peak.Load() {
	}
	select {
	case <-s.gate:
	case <-ctx.Done():
	}
	return adapter.Output{}, nil
}

func (s *slow) Rollback(context.Context, adapter.Request, map[string]any) error { return nil }

// A flood of an AI's actions holds half of the runtime, and a human gets through at once;
// the sixteenth in a moment is one too many for an AI.
func TestFloodOfAnAI(t *testing.T) {
	m := newMachine(t)
	m.stop()
	x := &slow{gate: make(chan struct{})}
	m.extra = []adapter.Adapter{x}
	m.start()
	ai, alice := m.who(agentUID), m.who(aliceUID)
	doc := `{"schema":"aios.intent.v1alpha1","reason":"look","actions":[{"id":"a","action":"process.list","target":{}}]}`
	for i := range aiBurst + 1 {
		if err := m.rt.Submit(t.Context(), ai, fmt.Sprintf("p%d.json", i), []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprintf("p%d.json", aiBurst)
	if s, e := m.wait(ai, last), m.read(ai, last, "error.json"); s != "FAILED" || !strings.Contains(e, "RESOURCE_BUDGET_EXCEEDED") {
		t.Errorf("one more than the burst: %s, %s", s, e)
	}
	began := time.Now()
	if s := m.drop(alice, "mine.json", doc); s != "SUCCEEDED" {
		t.Errorf("%s: %s", s, m.read(alice, "mine.json", "error.json"))
	}
	if d := time.Since(began); d > 5*time.Second || x.humans.Load() != 1 {
		t.Errorf("a human waited %s behind the flood", d)
	}
	if p := x.peak.Load(); p < 1 || p > workers/2 {
		t.Errorf("AIs held %d of %d workers", p, workers)
	}
	close(x.gate)
	for i := range aiBurst {
		if s := m.wait(ai, fmt.Sprintf("p%d.json", i)); s != "SUCCEEDED" {
			t.Errorf("p%d: %s", i, s)
		}
	}
}
