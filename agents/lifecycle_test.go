package agents

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const proposal = `{"schema":"aios.intent.v1alpha1","reason":"share the notes","actions":[{"id":"a","action":"aiosfs.object.write","target":{"path":"/aios/groups/family/shared/notes.md"},"params":{"content":"shared"}}]}`

func TestApproval(t *testing.T) {
	t.Log("proves: actions-34")
	m := newMachine(t)
	ai, bob := m.who(agentUID), m.who(bobUID)
	if err := m.rt.Submit(t.Context(), ai, "p.json", []byte(proposal)); err != nil {
		t.Fatal(err)
	}
	if s := m.read(ai, "p.json", "state"); s != "APPROVAL_PENDING\n" {
		t.Fatal(s)
	}
	in := m.waiting(bob)
	if len(in) != 1 {
		t.Fatalf("bob's inbox: %v", in)
	}
	_, hash, _ := strings.Cut(m.read(bob, in[0].ID, "approval"), "hash: ")
	hash, _, _ = strings.Cut(hash, "\n")
	if err := m.rt.Write(t.Context(), ai, "p.json", "approval", []byte("grant "+hash)); !errors.Is(err, ErrDenied) {
		t.Errorf("an AI approved: %v", err)
	}
	if err := m.rt.Write(t.Context(), bob, in[0].ID, "approval", []byte("grant "+strings.Repeat("0", 64))); !errors.Is(err, ErrInvalid) {
		t.Errorf("another hash: %v", err)
	}
	if _, ok := m.file("groups/family/shared/notes.md"); ok {
		t.Error("it was written before the approval")
	}
	if err := m.rt.Write(t.Context(), bob, in[0].ID, "approval", []byte("grant "+hash+"\n")); err != nil {
		t.Fatal(err)
	}
	if s := m.wait(ai, "p.json"); s != "SUCCEEDED" {
		t.Fatalf("%s: %s", s, m.read(ai, "p.json", "error.json"))
	}
	if got, _ := m.file("groups/family/shared/notes.md"); got != "shared" {
		t.Errorf("%q", got)
	}
	got := slices.DeleteFunc(m.records(ai, "p.json"), func(s string) bool { return !strings.HasPrefix(s, "APPROVAL_") })
	if want := []string{"APPROVAL_REQUESTED", "APPROVAL_DELIVERED", "APPROVAL_GRANTED", "APPROVAL_CONSUMED"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRollback(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "first", `write "before" to a.md`)
	doc := `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[
 {"id":"a","action":"aiosfs.object.write","target":{"path":"a.md"},"params":{"content":"after"}},
 {"id":"b","action":"aiosfs.object.mkdir","target":{"path":"new"},"after":["a"],"verify":[{"type":"file.exists","args":{"path":"never"}}]}]}`
	if s := m.drop(alice, "two.json", doc); s != "ROLLED_BACK" {
		t.Fatalf("%s\n%s", s, m.read(alice, "two.json", "events.log"))
	}
	if got, _ := m.file("groups/family/users/alice/home/a.md"); got != "before" {
		t.Errorf("a.md says %q", got)
	}
	if _, err := m.store.Resolve("groups/family/users/alice/home/new"); err == nil {
		t.Error("the directory stayed")
	}
	got := m.records(alice, "two.json")
	for _, want := range []string{"EXECUTION_VERIFICATION_FAILED", "ROLLBACK_ATTEMPTED", "ROLLBACK_SUCCEEDED"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %v", want, got)
		}
	}
}

func TestIdempotency(t *testing.T) {
	t.Log("proves: actions-6 actions-7 actions-9 actions-11")
	m := newMachine(t)
	alice := m.who(aliceUID)
	var skip atomic.Int64
	m.stop()
	m.now = func() time.Time { return time.Now().Add(time.Duration(skip.Load())) }
	m.start()
	doc := func(text string) string {
		return `{"schema":"aios.intent.v1alpha1","reason":"x","idempotency_key":"k1","actions":[{"id":"a","action":"aiosfs.object.append","target":{"path":"log"},"params":{"content":"` + text + `"}}]}`
	}
	home := "groups/family/users/alice/home/log"
	m.drop(alice, "one.json", doc("x"))
	m.drop(alice, "again.json", strings.ReplaceAll(doc("x"), `,"actions"`, `,  "actions"`))
	m.stop()
	m.start()
	m.drop(alice, "restarted.json", doc("x"))
	if got, _ := m.file(home); got != "x" {
		t.Errorf("after repetitions: %q", got)
	}
	if a, b := m.read(alice, "one.json", "intent.json"), m.read(alice, "again.json", "intent.json"); a != b {
		t.Error("the repetition is not answered with the first run")
	}
	if s := m.drop(alice, "other.json", doc("y")); s != "REFUSED" || !strings.Contains(m.read(alice, "other.json", "error.json"), "IdempotencyConflict") {
		t.Error(s)
	}
	if got := m.records(alice, "other.json"); !slices.Contains(got, "IDEMPOTENCY_KEY_REPLAY_DETECTED") {
		t.Error(got)
	}
	skip.Store(int64(25 * time.Hour))
	m.drop(alice, "later.json", doc("x"))
	if got, _ := m.file(home); got != "xx" {
		t.Errorf("after the key's time: %q", got)
	}
}

func TestCrashAndResume(t *testing.T) {
	for _, point := range []string{"commit", "executed", "verify"} {
		t.Run(point, func(t *testing.T) {
			m := newMachine(t)
			alice := m.who(aliceUID)
			m.stop()
			reached := make(chan struct{}, 8)
			m.fail = func(p string) error {
				if p == point {
					reached <- struct{}{}
					return errors.New("the power went")
				}
				return nil
			}
			m.start()
			if err := m.rt.Submit(t.Context(), alice, "g", []byte(`write "once" to a.md`)); err != nil {
				t.Fatal(err)
			}
			<-reached
			m.stop()
			m.fail = nil
			m.start()
			if s := m.wait(alice, "g"); s != "SUCCEEDED" {
				t.Fatal(s)
			}
			if got, _ := m.file("groups/family/users/alice/home/a.md"); got != "once" {
				t.Errorf("%q", got)
			}
			if got := m.records(alice, "g"); !slices.Equal(got, golden) {
				t.Errorf("records %v", got)
			}
		})
	}
}

func TestNameReuseAndMalformed(t *testing.T) {
	m := newMachine(t)
	alice := m.who(aliceUID)
	m.drop(alice, "g", `write "1" to a.md`)
	m.drop(alice, "g", `write "2" to a.md`)
	if d := m.rt.Done(alice); len(d) != 1 || !strings.HasSuffix(d[0], "/g") {
		t.Fatal(d)
	} else if got, err := m.rt.Document(alice, d[0]); err != nil || string(got) != `write "1" to a.md` {
		t.Error(string(got), err)
	}
	var bad *IntentError
	err := m.rt.Submit(t.Context(), alice, "bad.yaml", []byte("schema: aios.intent.v1alpha1\nreason: x\nmod: LIVE\nactions: []\n"))
	if !errors.As(err, &bad) || bad.Line != 3 || bad.Column != 1 {
		t.Fatalf("%v", err)
	}
	if e := m.read(alice, "bad.yaml", "error.json"); !strings.Contains(e, `"line": 3`) {
		t.Error(e)
	}
	if _, err := m.rt.Read(m.who(bobUID), "g", "state"); !errors.Is(err, ErrNotFound) {
		t.Errorf("bob reads alice's run: %v", err)
	}
}
