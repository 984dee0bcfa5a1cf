package agents

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/adapter/process"
)

func TestCrashWhileExecutingFails(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.stop()
	m.extra = []adapter.Adapter{process.Adapter{}}
	reached := make(chan struct{}, 8)
	m.fail = func(p string) error {
		if p == "executing" {
			reached <- struct{}{}
			return errors.New("the power went")
		}
		return nil
	}
	m.start()
	doc := `{"schema":"aios.intent.v1alpha1","reason":"look","actions":[{"id":"a","action":"process.list","target":{}}]}`
	if err := m.rt.Submit(t.Context(), alice, "l.json", []byte(doc)); err != nil {
		t.Fatal(err)
	}
	<-reached
	m.stop()
	m.fail = nil
	m.start()
	if s := m.wait(alice, "l.json"); s != "FAILED" {
		t.Fatal(s)
	}
	if e := m.read(alice, "l.json", "error.json"); !strings.Contains(e, "ADAPTER_PANIC") || !strings.Contains(e, `"crash_recovery_observed": true`) {
		t.Error(e)
	}
	if s := m.drop(alice, "again.json", doc); s != "SUCCEEDED" {
		t.Errorf("%s: %s", s, m.read(alice, "again.json", "error.json"))
	}
	if r := m.read(alice, "again.json", "result.json"); !strings.Contains(r, `"pid": 1,`) {
		t.Error("no process 1 in the list")
	}
}

func TestSignalOnlyOnesOwn(t *testing.T) {
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() }) // it may be gone
	step := adapter.Request{UID: 4711}
	step.Step.Action, step.Step.Target, step.Step.Params = "process.signal", map[string]any{"pid": c.Process.Pid}, map[string]any{"signal": "TERM"}
	if _, err := (process.Adapter{}).Execute(t.Context(), step); !errors.Is(err, syscall.EPERM) {
		t.Errorf("another's process: %v", err)
	}
	step.UID = uint32(syscall.Getuid())
	for _, pid := range []int{1, syscall.Getpid()} {
		step.Step.Target["pid"] = pid
		var e *adapter.Error
		if _, err := (process.Adapter{}).Execute(t.Context(), step); !errors.As(err, &e) || e.Code != "process.Protected" {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	step.Step.Target["pid"] = c.Process.Pid
	if _, err := (process.Adapter{}).Execute(t.Context(), step); err != nil {
		t.Fatal(err)
	}
	var x *exec.ExitError
	if err := c.Wait(); !errors.As(err, &x) || x.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", err)
	}
}

func TestSimulateAndValidate(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	doc := `{"schema":"aios.intent.v1alpha1","reason":"x","mode":"%s","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"s.md"},"params":{"content":"text"}}]}`
	if s := m.drop(alice, "s.json", fmt.Sprintf(doc, "SIMULATE")); s != "SUCCEEDED" {
		t.Fatalf("%s: %s", s, m.read(alice, "s.json", "error.json"))
	}
	if r := m.read(alice, "s.json", "result.json"); !strings.Contains(r, "+text") || !strings.Contains(r, `"changed": false`) {
		t.Error(r)
	}
	if got := m.records(alice, "s.json"); slices.Contains(got, "AIOSFS_TRANSACTION_COMMITTED") || !slices.Contains(got, "POLICY_DECISION") {
		t.Error(got)
	}
	if s := m.drop(alice, "v.json", fmt.Sprintf(doc, "VALIDATE")); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	if got := m.records(alice, "v.json"); len(got) != 0 {
		t.Errorf("a validation left %v", got)
	}
	if _, ok := m.file("groups/family/users/alice/home/s.md"); ok {
		t.Error("it was written")
	}
}

func TestOwnerAndModeBind(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "w", `write "mine" to a.md`)
	home := "groups/family/users/alice/home"
	at, err := m.store.Resolve(home)
	if err != nil {
		t.Fatal(err)
	}
	if at.UID != aliceUID {
		t.Fatal(at.UID)
	}
	if a, err := m.store.Resolve(home + "/a.md"); err != nil || a.UID != aliceUID || a.Mode&0o777 != 0o644 {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := m.store.EnsureDir(t.Context(), home+"/closed", 0o500, 0, 0, at.Scope); err != nil {
		t.Fatal(err)
	}
	if s := m.drop(alice, "x", `write "x" to closed/b.md`); s != "FAILED" {
		t.Error(s)
	}
	if e := m.read(alice, "x", "error.json"); !strings.Contains(e, "aiosfs.PermissionDenied") {
		t.Error(e)
	}
	if s := m.drop(alice, "mv", `move a.md to b.md`); s != "SUCCEEDED" {
		t.Errorf("%s: %s", s, m.read(alice, "mv", "error.json"))
	}
	if err := m.rt.Write(t.Context(), alice, "mv", "rollback", []byte("1\n")); err != nil {
		t.Fatal(err)
	}
	if got, _ := m.file(home + "/a.md"); got != "mine" {
		t.Errorf("after the rollback a.md says %q", got)
	}
	if s := m.read(alice, "mv", "state"); s != "SUCCEEDED\n" {
		t.Error("a finished run changed its state: ", s)
	}
}
