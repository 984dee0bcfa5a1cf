package identity

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
)

func must(t *testing.T) func(*Catalog, error) *Catalog {
	return func(c *Catalog, err error) *Catalog {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestResolve(t *testing.T) {
	ok := must(t)
	c := New(0, false)
	c = ok(c.WithGroup("family", "PERSONAL", "alice"))
	c = ok(c.WithGroup("homelab", "TEAM"))
	c = ok(c.WithMember("family", "alice", 5001))
	c = ok(c.WithMember("homelab", "alice", 5001))
	c = ok(c.WithAgent("family:assistant", "family:alice", 5002))
	homelab, _ := c.Group("homelab")
	for _, r := range []struct {
		name   string
		caller Caller
		id     string
		ai     bool
		admin  bool
	}{
		{"a bound uid", Caller{UID: 5001}, "family:alice", false, false},
		{"its other principal, by gid", Caller{UID: 5001, GID: homelab.GID}, "homelab:alice", false, false},
		{"an unbound uid", Caller{UID: 59999}, "local:uid-59999", false, false},
		{"root is a human administrator", Caller{UID: 0}, "local:root", false, true},
		{"an agent's uid", Caller{UID: 5002}, "family:assistant", true, false},
		{"an agent's mount, whatever the uid", Caller{UID: 5001, AgentID: "family:assistant"}, "family:assistant", true, false},
		{"root in an agent's mount is the agent", Caller{UID: 0, AgentID: "family:assistant"}, "family:assistant", true, false},
	} {
		s, err := c.Resolve(r.caller)
		if err != nil || s.ID != r.id || s.IsAI != r.ai || s.Admin != r.admin {
			t.Errorf("%s: %+v, %v", r.name, s, err)
		}
		if s.IsAI != (s.Kind == AIAgent) || s.IsAI && (s.SessionClass != "SERVICE" || !slices.Contains(s.RiskFlags, "ELEVATED_PRIVILEGE_REQUEST")) {
			t.Errorf("%s: %+v", r.name, s)
		}
	}
	for _, k := range []Caller{{UID: 1<<32 - 1}, {UID: 5001, AgentID: "family:nobody"}} {
		if _, err := c.Resolve(k); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%+v: %v", k, err)
		}
	}
	s, _ := c.Resolve(Caller{UID: 5001})
	if s.Home() != "groups/family/users/alice" {
		t.Error(s.Home())
	}
	a, _ := c.Resolve(Caller{UID: 5002})
	if a.Home() != "groups/family/agents/assistant" {
		t.Error(a.Home())
	}
}

func TestIDs(t *testing.T) {
	t.Log("proves: I-7")
	for _, r := range []struct {
		id   string
		kind Kind
		ok   bool
	}{
		{"family:alice", HumanUser, true}, {"family:assistant", AIAgent, true}, {"family:alice:helper", AIAgent, true},
		{"_system:service:evidence-log", Service, true}, {"_system:local:op", LocalOperator, true}, {"_system:remote:op", RemoteOperator, true},
		{"_system:alice", HumanUser, false}, {"_system:service:x", HumanUser, false}, {"family:alice:x", HumanUser, false},
		{"Family:alice", HumanUser, false}, {"f:alice", HumanUser, false}, {"family", HumanUser, false}, {"_root:alice", HumanUser, false},
		{"family:app:viewer:one", Application, true}, {"family:viewer", Application, false}, {"family:alice:device:phone", Device, true},
		{"family:workflow:wf:run", Workflow, true}, {"act:01H", HumanUser, false}, {strings.Repeat("a", 300) + ":x", HumanUser, false},
	} {
		if err := CheckCanonical(r.id, r.kind); (err == nil) != r.ok {
			t.Errorf("%s as %s: %v", r.id, r.kind, err)
		}
	}
	for _, id := range []string{"_", "_system", "_recovery", "_aios", "_root", "_x"} {
		if err := CheckID(id); !errors.Is(err, ErrReserved) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestSignature(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := must(t)(New(0, true).WithAgent("local:bot", "local:root", 7))
	b := c.Marshal(key)
	back, err := Parse(b, pub)
	if err != nil || back.Version() != c.Version() || !back.SingleOperator {
		t.Fatalf("%v %+v", err, back)
	}
	tampered := strings.Replace(string(b), `"uid": 7`, `"uid": 8`, 1)
	if tampered == string(b) {
		t.Fatal("nothing was changed")
	}
	if _, err := Parse([]byte(tampered), pub); !errors.Is(err, ErrSignature) {
		t.Errorf("a changed catalogue: %v", err)
	}
	if _, err := Parse([]byte(strings.Replace(string(b), `"groups"`, `"gruops"`, 1)), nil); err == nil {
		t.Error("an unknown field was taken")
	}
}

func TestChangesAreChecked(t *testing.T) {
	c := must(t)(New(0, false).WithAgent("local:bot", "local:root", 7))
	for name, fn := range map[string]func() (*Catalog, error){
		"a group twice":             func() (*Catalog, error) { return c.WithGroup("local", "") },
		"a reserved group":          func() (*Catalog, error) { return c.WithGroup("_system", "") },
		"a member of nothing":       func() (*Catalog, error) { return c.WithMember("nope", "alice", 9) },
		"a human with an AI's uid":  func() (*Catalog, error) { return c.WithMember("local", "alice", 7) },
		"an agent with root's uid?": func() (*Catalog, error) { return c.WithAgent("local:root", "local:root", 9) },
		"an agent twice":            func() (*Catalog, error) { return c.WithAgent("local:bot", "local:root", 9) },
	} {
		if x, err := fn(); err == nil {
			t.Errorf("%s: %+v", name, x)
		}
	}
	before := c.Version()
	if d := must(t)(c.WithGroup("team", "")); d.Version() == before || c.Version() != before {
		t.Error("a change did not give another catalogue")
	}
}
