package agents

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/policy"
)

// placed is a reader that says in which process it was carried out.
type placed struct {
	stability  adapter.Stability
	dispatch   adapter.Dispatch
	privileged bool
}

func (p placed) Manifest() adapter.Manifest {
	return adapter.Manifest{ID: "placed", Version: "1", Stability: p.stability, Dispatch: p.dispatch, Kinds: []adapter.Kind{
		{Action: "process.list", Class: policy.Read, Rollback: adapter.RollbackNone, Risk: policy.Risk{Privileged: p.privileged}, Timeout: time.Minute}}}
}

func (placed) Simulate(context.Context, adapter.Request) ([]adapter.Preview, error) { return nil, nil }

func (placed) Execute(_ context.Context, r adapter.Request) (adapter.Output, error) {
	if strings.Contains(r.Step.ID, "refuse") {
		return adapter.Output{}, adapter.Fail("placed.Refused", "not that")
	}
	if strings.Contains(r.Step.ID, "crash") {
		os.Exit(3)
	}
	return adapter.Output{Data: map[string]any{"pid": os.Getpid(), "parent": os.Getppid(), "environment": len(os.Environ())}}, nil
}

func (placed) Rollback(context.Context, adapter.Request, map[string]any) error { return nil }

// Where an action is carried out follows from who asks, its risk and the manifest, and
// never from what would be quicker; what has not proved itself is in another process.
func TestActions35_WhereActionsRun(t *testing.T) {
	doc := func(id, mode string) string {
		return fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"look","mode":%q,"actions":[{"id":%q,"action":"process.list","target":{}}]}`, mode, id)
	}
	for _, c := range []struct {
		what  string
		a     placed
		uid   uint32
		mode  string
		kind  string
		apart bool
	}{
		{"a simulation", placed{adapter.Stable, adapter.InProcess, false}, aliceUID, "SIMULATE", "DRY_RUN", false},
		{"an AI's simulation", placed{adapter.Experimental, adapter.Subprocess, false}, agentUID, "SIMULATE", "DRY_RUN", false},
		{"an AI", placed{adapter.Stable, adapter.InProcess, false}, agentUID, "LIVE", "ISOLATED_SANDBOX", false},
		{"a privileged human", placed{adapter.Stable, adapter.InProcess, true}, aliceUID, "LIVE", "ISOLATED_SANDBOX", false},
		{"a human and a reader that is stable", placed{adapter.Stable, adapter.InProcess, false}, aliceUID, "LIVE", "IN_PROCESS_RPC", false},
		{"one that wants a process", placed{adapter.Stable, adapter.Subprocess, false}, aliceUID, "LIVE", "SUBPROCESS_FORK", true},
		{"an experimental one", placed{adapter.Experimental, adapter.InProcess, false}, aliceUID, "LIVE", "SUBPROCESS_FORK", true},
		{"a new one", placed{adapter.Registered, adapter.InProcess, false}, aliceUID, "LIVE", "SUBPROCESS_FORK", true},
		{"a deprecated one", placed{adapter.Deprecated, adapter.InProcess, false}, aliceUID, "LIVE", "SUBPROCESS_FORK", true},
	} {
		m := newMachine(t)
		m.stop()
		m.extra = []adapter.Adapter{c.a}
		m.start()
		by := m.who(c.uid)
		if s := m.drop(by, "d.json", doc("a", c.mode)); s != "SUCCEEDED" {
			t.Errorf("%s: %s: %s", c.what, s, m.read(by, "d.json", "error.json"))
			continue
		}
		if k := m.envelopes(by, "d.json")[0].Execution.DispatchKind; k != c.kind {
			t.Errorf("%s: %s, want %s", c.what, k, c.kind)
		}
		data := m.rt.named(by.Subject.ID, "d.json").now().Actions[0].Output.Data
		if c.mode == "SIMULATE" {
			if data["pid"] != nil {
				t.Errorf("%s: it was carried out: %v", c.what, data)
			}
			continue
		}
		if apart := data["pid"] != float64(os.Getpid()); apart != c.apart {
			t.Errorf("%s: in process %v, the daemon is %d", c.what, data["pid"], os.Getpid())
		}
		if !c.apart {
			continue
		}
		if data["parent"] != float64(os.Getpid()) || data["environment"] != float64(0) {
			t.Errorf("%s: %v", c.what, data)
		}
		// What goes wrong there is told as if it were here.
		for id, code := range map[string]string{"refuse": "placed.Refused", "crash": crashed} {
			if s, e := m.drop(by, id, doc(id, "LIVE")), m.read(by, id, "error.json"); s != "FAILED" || !strings.Contains(e, `"`+code+`"`) {
				t.Errorf("%s: %s: %s %s", c.what, id, s, e)
			}
		}
	}
	t.Log("proves: actions-35")
}

// A manifest that says what nobody knows is not loaded; what is retired serves nothing.
func TestManifestsAreClosed(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	for _, a := range []placed{{"", adapter.InProcess, false}, {"experimental", adapter.InProcess, false}, {"BRAND_NEW", adapter.InProcess, false}, {adapter.Stable, "", false}, {adapter.Stable, "ANYWHERE", false}, {adapter.Stable, adapter.DryRun, false}} {
		d := m.rt.d
		d.Adapters = []adapter.Adapter{a}
		if _, err := New(t.Context(), d); err == nil || !strings.Contains(err.Error(), "is not one of") {
			t.Errorf("%+v is loaded: %v", a, err)
		}
	}
	m.stop()
	m.extra = []adapter.Adapter{placed{adapter.Retired, adapter.InProcess, false}}
	m.start()
	if s, e := m.drop(alice, "r.json", fmt.Sprintf(listDoc, "")), m.read(alice, "r.json", "error.json"); s != "FAILED" || !strings.Contains(e, "UnknownAdapter") {
		t.Errorf("%s %s", s, e)
	}
}
