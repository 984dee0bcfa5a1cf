package agents

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	iofs "io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	"github.com/ai-os-dot-net/aios/agents/translate"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/bundle"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// machine is a store, a log, a kernel and a runtime, all real, in a directory.
type machine struct {
	t       *testing.T
	dir     string
	key     ed25519.PrivateKey
	log     *evidence.Log
	store   *objects.Store
	ids     *ids
	kern    *policy.Kernel
	rt      *Runtime
	extra   []adapter.Adapter
	scratch string
	over    func(*objects.Store) adapter.Adapter // one that needs the store
	fail    func(string) error
	now     func() time.Time
}

type ids struct{ c *identity.Catalog } // changed only while one run is under way

func (i *ids) Catalog() *identity.Catalog { return i.c }

// places resolves the few paths that the tests use, as fs/namespace does.
type places struct{}

func (places) Resolve(p string) (policy.Target, error) {
	s := strings.Split(p, "/")
	switch {
	case len(s) >= 5 && s[0] == "groups" && s[2] == "users" && s[4] == "home":
		return policy.Target{Scope: "USER", Group: s[1], User: s[3], Reserved: "USR_HOME", Path: p}, nil
	case len(s) >= 3 && s[0] == "groups" && s[2] == "shared":
		return policy.Target{Scope: "GROUP", Group: s[1], Reserved: "GRP_SHARED", Path: p}, nil
	case len(s) == 2 && s[0] == "groups":
		return policy.Target{Scope: "GROUP", Group: s[1], Path: p}, nil
	case len(s) >= 2 && s[0] == "system":
		return policy.Target{Scope: "SYSTEM", Reserved: "SYS_" + strings.ToUpper(s[1]), Path: p}, nil
	}
	return policy.Target{}, &ResolveError{Code: "UnknownReserved", Segment: 1, Message: p + " is no place of the tree"}
}

const aliceUID, bobUID, agentUID = 5001, 5002, 5003

func newMachine(t *testing.T) *machine {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, dir: t.TempDir(), key: key, now: time.Now}
	c := identity.New(62000, false)
	for _, f := range []func() (*identity.Catalog, error){
		func() (*identity.Catalog, error) { return c.WithGroup("family", "PERSONAL") },
		func() (*identity.Catalog, error) { return c.WithMember("family", "alice", aliceUID) },
		func() (*identity.Catalog, error) { return c.WithMember("family", "bob", bobUID) },
		func() (*identity.Catalog, error) { return c.WithAgent("family:assistant", "family:alice", agentUID) },
	} {
		n, err := f()
		if err != nil {
			t.Fatal(err)
		}
		c = n
	}
	m.ids = &ids{c}
	loaded := m.bundle(nil)
	if m.kern, err = policy.New(policy.Options{Bundle: loaded}); err != nil {
		t.Fatal(err)
	}
	m.start()
	g, _ := c.Group("family")
	ctx := t.Context()
	for _, d := range []struct {
		path           string
		mode, uid, gid uint32
		scope          objects.Scope
	}{
		{"groups/family", 0o750, 0, g.GID, objects.Scope{Kind: objects.ScopeGroup, Group: "family"}},
		{"groups/family/shared", 0o2770, 0, g.GID, objects.Scope{Kind: objects.ScopeGroup, Group: "family"}},
		{"groups/family/users", 0o751, 0, g.GID, objects.Scope{Kind: objects.ScopeGroup, Group: "family"}},
		{"groups/family/users/alice", 0o700, aliceUID, aliceUID, objects.Scope{Kind: objects.ScopeUser, Group: "family", User: "alice"}},
		{"groups/family/users/alice/home", 0o700, aliceUID, aliceUID, objects.Scope{Kind: objects.ScopeUser, Group: "family", User: "alice"}},
	} {
		if _, err := m.store.EnsureDir(ctx, d.path, d.mode, d.uid, d.gid, d.scope); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.store.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	return m
}

// bundle is the default bundle with more rules.
func (m *machine) bundle(more map[string]string) *bundle.Bundle {
	m.t.Helper()
	b := fstest.MapFS{}
	if err := iofs.WalkDir(bundle.Default(), ".", func(name string, e iofs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := iofs.ReadFile(bundle.Default(), name)
		b[name] = &fstest.MapFile{Data: data}
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	for name, text := range more {
		b[name] = &fstest.MapFile{Data: []byte(text)}
	}
	sigs, err := bundle.Sign(b, m.key, m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	for name, data := range sigs {
		b[name] = &fstest.MapFile{Data: data}
	}
	pub := m.key.Public().(ed25519.PublicKey)
	loaded, err := bundle.Load(b, bundle.Trust{Root: pub, Publisher: pub}, policy.HardDenyIDs())
	if err != nil {
		m.t.Fatal(err)
	}
	return loaded
}

// start opens everything over what is on disk.
func (m *machine) start() {
	m.t.Helper()
	var err error
	ctx := context.Background()
	if m.log, err = evidence.Open(ctx, evidence.Options{Dir: m.dir + "/evidence", Key: m.key, RequireKeys: true}); err != nil {
		m.t.Fatal(err)
	}
	if m.store, err = objects.Open(ctx, objects.Options{Dir: m.dir + "/store", Log: m.log}); err != nil {
		m.t.Fatal(err)
	}
	raw, err := translate.DefaultBundle(m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	cat, err := translate.Load(raw, translate.Trust{Root: m.key.Public().(ed25519.PublicKey)})
	if err != nil {
		m.t.Fatal(err)
	}
	all := append([]adapter.Adapter{aiosfs.New(m.store)}, m.extra...)
	if m.over != nil {
		all = append(all, m.over(m.store))
	}
	m.rt, err = New(ctx, Deps{Store: m.store, Log: m.log, Kernel: m.kern, Identity: m.ids, Translator: translate.New(cat), Resolver: places{},
		Adapters: all, Scratch: m.scratch, ApprovalKey: m.key, Now: m.now, fail: m.fail, unchanged: m.unchanged})
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) stop() {
	if err := errors.Join(m.rt.Close(), m.store.Close(), m.log.Close()); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) who(uid uint32) Submitter {
	m.t.Helper()
	s, err := m.ids.c.Resolve(identity.Caller{UID: uid, GID: uid})
	if err != nil {
		m.t.Fatal(err)
	}
	return Submitter{Subject: s, UID: uid, GID: uid, Key: m.log.KeyFor(s.ID, s.IsAI)}
}

// drop submits and waits for the end.
func (m *machine) drop(by Submitter, name, doc string) string {
	m.t.Helper()
	if err := m.rt.Submit(m.t.Context(), by, name, []byte(doc)); err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	return m.wait(by, name)
}

func (m *machine) wait(by Submitter, name string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	s, err := m.rt.Wait(ctx, by, name)
	if err != nil {
		b, _ := m.rt.Read(by, name, "events.log")
		m.t.Fatalf("wait for %s: %v\n%s", name, err, b)
	}
	return s
}

// file reads a file of the tree; "" and false where there is none.
func (m *machine) file(p string) (string, bool) {
	m.t.Helper()
	a, err := m.store.Resolve(p)
	if errors.Is(err, objects.ErrNotFound) {
		return "", false
	}
	if err != nil {
		m.t.Fatal(err)
	}
	f, err := aiosfs.OpenFile(m.store, a.Ino)
	if err != nil {
		m.t.Fatal(err)
	}
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if err := f.Close(); err != nil {
		m.t.Fatal(err)
	}
	return b.String(), true
}

// records are the types that the log has of a run, in order.
func (m *machine) records(by Submitter, name string) []string {
	m.t.Helper()
	if err := m.store.WaitEvidence(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	l, _ := m.rt.visible(by, name)
	var out []string
	for rec, err := range m.log.Query(evidence.Query{CorrelationID: l.now().Correlation, IncludeSimulated: true}) {
		if err != nil {
			m.t.Fatal(err)
		}
		n := rec.Type.String()
		if b, err := m.log.Payload(rec.ID); err == nil {
			var p struct {
				Payload map[string]any `json:"payload"`
			}
			if json.Unmarshal(b, &p) == nil && p.Payload[record.DetailKind] != nil {
				n = p.Payload[record.DetailKind].(string)
			}
		}
		out = append(out, n)
	}
	return out
}
func (m *machine) read(by Submitter, name, file string) string {
	m.t.Helper()
	b, err := m.rt.Read(by, name, file)
	if err != nil {
		m.t.Fatalf("%s/%s: %v", name, file, err)
	}
	return string(b)
}

// waiting lists the runs on which somebody may decide.
func (m *machine) waiting(by Submitter) []RunInfo {
	return m.rt.waiting(func(r *Run) bool { return m.rt.mayDecide(r, by) })
}

// unchanged tells of a step that changes the run which others look at meanwhile, and of a
// run that a restart would read back otherwise than it is in memory.
func (m *machine) unchanged(r *Run) func() {
	before, err := r.encode()
	if err != nil {
		m.t.Error(err)
	}
	read, err := decodeRun(before)
	if err != nil {
		m.t.Error(err)
	}
	for i, a := range r.Actions {
		b := read.Actions[i]
		if d := cmp.Diff([]any{b.Output, b.Step.Params, b.Step.Target, b.Step.Verification}, []any{a.Output, a.Step.Params, a.Step.Target, a.Step.Verification}, cmpopts.EquateEmpty()); d != "" {
			m.t.Errorf("%s is not in memory as it is in its record (-record +memory):\n%s", a.Step.Action, d)
		}
	}
	return func() {
		if after, err := r.encode(); err != nil || !bytes.Equal(before, after) {
			m.t.Errorf("a step changed the run that it began with: %v\n%s", err, cmp.Diff(strings.Split(string(before), ","), strings.Split(string(after), ",")))
		}
	}
}
