package agents

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/policy"
)

// However many ask, AIs never hold more than half of the workers, nor does the background;
// no worker stands idle while somebody waits who may have it.
func TestSharesOfTheQueues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 8).Draw(t, "workers")
		classes := []Class{Interactive, AgentProposal, Background}
		q := newQueue(workers)
		var all sync.WaitGroup
		asked := 0
		ask := func(c Class) {
			asked++
			all.Add(1)
			go func() {
				defer all.Done()
				_, _ = q.acquire(context.Background(), c) // given back below; its context never ends
			}()
		}
		// counts waits until the queue knows of everybody who asked.
		counts := func() (busy, waiting map[Class]int) {
			for {
				busy, waiting = map[Class]int{}, map[Class]int{}
				n := 0
				q.mu.Lock()
				for _, c := range classes {
					busy[c], waiting[c] = q.busy[c], len(q.waiting[c])
					n += busy[c] + waiting[c]
				}
				q.mu.Unlock()
				if n == asked {
					return busy, waiting
				}
				time.Sleep(50 * time.Microsecond)
			}
		}
		half := max(1, workers/2)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			c := rapid.SampledFrom(classes).Draw(t, "class")
			if rapid.Bool().Draw(t, "ask") {
				ask(c)
			} else if busy, _ := counts(); busy[c] > 0 {
				q.release(c)
				asked--
			}
			busy, waiting := counts()
			free := workers - busy[Interactive] - busy[AgentProposal] - busy[Background]
			switch {
			case free < 0:
				t.Fatalf("%d workers too many: %v", -free, busy)
			case busy[AgentProposal] > half || busy[Background] > half:
				t.Fatalf("more than half of %d: %v", workers, busy)
			case free > 0 && (waiting[Interactive] > 0 || waiting[AgentProposal] > 0 && busy[AgentProposal] < half || waiting[Background] > 0 && busy[Background] < half):
				t.Fatalf("%d idle, busy %v, waiting %v", free, busy, waiting)
			}
		}
		for asked > 0 { // all of them get their turn
			busy, _ := counts()
			for _, c := range classes {
				for range busy[c] {
					q.release(c)
					asked--
				}
			}
		}
		all.Wait()
	})
}

// The background gets a turn although humans keep coming, and so does an AI.
func TestNobodyStarves(t *testing.T) {
	q := newQueue(2)
	ctx := t.Context()
	done := make(chan Class, 2)
	first, err := q.acquire(ctx, Interactive)
	if err != nil {
		t.Fatal(err)
	}
	second, err := q.acquire(ctx, Interactive)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Class{AgentProposal, Background} {
		go func() {
			release, err := q.acquire(ctx, c)
			if err == nil {
				done <- c
				release()
			}
		}()
	}
	releases := []func(){first, second}
	for served := 0; served < 2; {
		next := make(chan func())
		go func() {
			if release, err := q.acquire(ctx, Interactive); err == nil {
				next <- release
			}
		}()
		releases[0]()
		releases = append(releases[1:], <-next)
		select {
		case <-done:
			served++
		default:
		}
	}
	for _, r := range releases {
		r()
	}
}

// slow counts the humans that it serves, and holds an AI's action, which is carried out in
// a child, until the child is told to go on.
type slow struct{ humans atomic.Int32 }

func (s *slow) Manifest() adapter.Manifest {
	return adapter.Manifest{ID: "slow", Version: "1", Stability: adapter.Stable, Dispatch: adapter.InProcess, Sandbox: &adapter.Sandbox{},
		Kinds: []adapter.Kind{{Action: "process.list", Class: policy.Read, Rollback: adapter.RollbackNone, Timeout: time.Minute}}}
}

func (s *slow) Simulate(context.Context, adapter.Request) ([]adapter.Preview, error) { return nil, nil }

func (s *slow) Execute(_ context.Context, r adapter.Request) (adapter.Output, error) {
	if !r.Subject.IsAI {
		s.humans.Add(1)
		return adapter.Output{}, nil
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGCONT) // which does nothing to a child that does not wait for it yet
	<-told
	return adapter.Output{}, nil
}

// inSlow are the children that carry out an action.
func inSlow() (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is a good one
	for _, dir := range all {
		name, err := os.ReadFile(dir + "/cmdline")
		if err != nil || strings.TrimRight(string(name), "\x00") != hostName {
			continue
		}
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (s *slow) Rollback(context.Context, adapter.Request, map[string]any) error { return nil }

// A flood of an AI's actions holds half of the runtime, and a human gets through at once;
// the sixteenth in a moment is one too many for an AI.
func TestFloodOfAnAI(t *testing.T) {
	t.Log("proves: actions-37 G-4 G-11")
	m := newMachine(t)
	m.stop()
	x := &slow{}
	m.extra = []adapter.Adapter{x}
	m.start()
	ai, alice := m.who(agentUID), m.who(aliceUID)
	doc := `{"schema":"aios.intent.v1alpha1","reason":"look","queue_class":"INTERACTIVE","actions":[{"id":"a","action":"process.list","target":{}}]}`
	for i := range ReferenceAI.Burst + 1 {
		if err := m.rt.Submit(t.Context(), ai, fmt.Sprintf("p%d.json", i), []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprintf("p%d.json", ReferenceAI.Burst)
	if s, e := m.wait(ai, last), m.read(ai, last, "error.json"); s != "FAILED" || !strings.Contains(e, "RESOURCE_BUDGET_EXCEEDED") {
		t.Errorf("one more than the burst: %s, %s", s, e)
	}
	if s := m.drop(alice, "mine.json", doc); s != "SUCCEEDED" {
		t.Errorf("%s: %s", s, m.read(alice, "mine.json", "error.json"))
	}
	if x.humans.Load() != 1 {
		t.Error("a human waited behind the flood")
	}
	for end := time.Now().Add(time.Minute); len(inSlow()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no action of the AI is carried out")
		}
	}
	peak := make(chan int)
	over := make(chan struct{})
	go func() { // lets one after another go on
		most := 0
		for {
			select {
			case <-over:
				peak <- most
				return
			case <-time.After(time.Millisecond):
			}
			in := inSlow()
			if most = max(most, len(in)); len(in) > 0 {
				_ = syscall.Kill(in[0], syscall.SIGCONT)
			}
		}
	}()
	defer func() {
		close(over)
		if p := <-peak; p < 1 || p > workers/2 {
			t.Errorf("AIs held %d of %d workers", p, workers)
		}
	}()
	for i := range ReferenceAI.Burst {
		name := fmt.Sprintf("p%d.json", i)
		if s := m.wait(ai, name); s != "SUCCEEDED" {
			t.Errorf("p%d: %s", i, s)
		}
		if list := m.records(ai, name); !slices.Contains(list, "AI_INTERACTIVE_QUEUE_DOWNGRADE") {
			t.Errorf("p%d was moved to its own queue without a record: %v", i, list)
		}
	}
}
