package agents

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	return adapter.Manifest{ID: "placed", Version: "1", Stability: p.stability, Dispatch: p.dispatch, Sandbox: &adapter.Sandbox{HostProcesses: true}, Kinds: []adapter.Kind{
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
	if strings.Contains(r.Step.ID, "escape") {
		return adapter.Output{Data: escape(r)}, nil
	}
	return adapter.Output{Data: map[string]any{"pid": os.Getpid(), "parent": os.Getppid(), "environment": len(os.Environ())}}, nil
}

// escaped is the name of a file that must not come to be.
func escaped(daemon int) string { return fmt.Sprintf("aios-escaped-%d", daemon) }

// escape tries what a confined child must not be able to do, and gives what it could.
func escape(r adapter.Request) map[string]any {
	could := map[string]any{"uid": os.Geteuid()}
	try := func(what string, f func() error) {
		if err := f(); err == nil {
			could[what] = true
		}
	}
	try("signal the daemon", func() error { return syscall.Kill(r.Daemon, 0) })
	try("signal init", func() error { return syscall.Kill(1, 0) })
	try("read the shadow file", func() error { _, err := os.ReadFile("/etc/shadow"); return err })
	try("read the host's files", func() error { _, err := os.ReadDir("/var"); return err })
	try("write", func() error { return os.WriteFile("/var/tmp/"+escaped(r.Daemon), nil, 0o600) })
	try("keep what it writes to /tmp", func() error { return os.WriteFile("/tmp/"+escaped(r.Daemon), nil, 0o600) })
	try("become root", func() error { return syscall.Setuid(0) })
	try("make a namespace, in which it could mount", func() error { return syscall.Unshare(syscall.CLONE_NEWNS) })
	try("reach the network", func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimPrefix(r.Step.Target["name"].(string), "port"))
		if err == nil {
			c.Close()
		}
		return err
	})
	return could
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
		{"an AI", placed{adapter.Stable, adapter.InProcess, false}, agentUID, "LIVE", "ISOLATED_SANDBOX", true},
		{"a privileged human", placed{adapter.Stable, adapter.InProcess, true}, aliceUID, "LIVE", "ISOLATED_SANDBOX", true},
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

// What an AI has had approved is carried out by a child that runs as the AI's user and can
// do nothing but what the adapter's sandbox names, because the kernel says so; where there
// is no such sandbox it is not carried out at all.
func TestWhatAnAIHasDoneIsConfined(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	m.stop()
	m.extra = []adapter.Adapter{placed{adapter.Stable, adapter.InProcess, false}}
	m.start()
	by := m.who(agentUID)
	doc := fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"look","mode":"LIVE","actions":[{"id":"escape","action":"process.list","target":{"name":"port%s"}}]}`, port)
	if s := m.drop(by, "e.json", doc); s != "SUCCEEDED" {
		t.Fatalf("%s: %s", s, m.read(by, "e.json", "error.json"))
	}
	data := maps.Clone(m.rt.named(by.Subject.ID, "e.json").now().Actions[0].Output.Data)
	want := float64(agentUID)
	if os.Geteuid() != 0 {
		want = float64(os.Geteuid())
	}
	if data["uid"] != want {
		t.Errorf("it ran as %v, want %v", data["uid"], want)
	}
	delete(data, "uid")
	delete(data, "keep what it writes to /tmp") // it has one of its own: looked for below
	if os.Geteuid() != 0 {
		delete(data, "signal the daemon") // which runs as the same user
	}
	if len(data) != 0 {
		t.Errorf("the child could: %v", data)
	}
	for _, dir := range []string{"/var/tmp", "/tmp"} {
		if f := filepath.Join(dir, escaped(os.Getpid())); os.Remove(f) == nil {
			t.Errorf("it wrote %s", f)
		}
	}
	m.stop()
	m.extra = []adapter.Adapter{unconfined{placed{adapter.Stable, adapter.InProcess, false}}}
	m.start()
	if s, e := m.drop(by, "u.json", doc), m.read(by, "u.json", "error.json"); s != "FAILED" || !strings.Contains(e, noBackend) {
		t.Errorf("without a sandbox: %s %s", s, e)
	}
}

// unconfined says nothing of a sandbox.
type unconfined struct{ placed }

func (u unconfined) Manifest() adapter.Manifest {
	m := u.placed.Manifest()
	m.Sandbox = nil
	return m
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
