package agents

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

const keyed = `{"schema":"aios.intent.v1alpha1","reason":"x","idempotency_key":"once","actions":[{"id":"a","action":"aiosfs.object.append","target":{"path":"log"},"params":{"content":"x"}}]}`

// Documents that come at the same moment are accepted side by side, and yet: of those with
// one idempotency key one is carried out, and of those with one name one is taken.
func TestAtTheSameMoment(t *testing.T) {
	const many = 24
	m := newMachine(t)
	alice := m.who(aliceUID)
	at := func(fn func(i int)) {
		var ready, done sync.WaitGroup
		ready.Add(many)
		for i := range many {
			done.Go(func() { ready.Done(); ready.Wait(); fn(i) })
		}
		done.Wait()
	}
	at(func(i int) {
		if err := m.rt.Submit(t.Context(), alice, fmt.Sprint("k", i), []byte(keyed)); err != nil {
			t.Errorf("k%d: %v", i, err)
		}
	})
	first := ""
	for i := range many {
		if s := m.wait(alice, fmt.Sprint("k", i)); s != "SUCCEEDED" {
			t.Errorf("k%d: %s", i, s)
		}
		l, _ := m.rt.visible(alice, fmt.Sprint("k", i))
		if first == "" {
			first = l.now().ID
		} else if l.now().ID != first {
			t.Errorf("k%d is %s, and the first is %s", i, l.now().ID, first)
		}
	}
	if text, _ := m.file("groups/family/users/alice/home/log"); text != "x" {
		t.Errorf("carried out %d times", len(text))
	}

	var mu sync.Mutex
	taken, plain := 0, strings.NewReplacer(`"idempotency_key":"once",`, "", `"log"`, `"log2"`).Replace(keyed)
	at(func(i int) {
		err := m.rt.Submit(t.Context(), alice, "same", []byte(plain))
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			taken++
		case !errors.Is(err, ErrBusy):
			t.Errorf("%d: %v", i, err)
		}
	})
	if s := m.wait(alice, "same"); s != "SUCCEEDED" {
		t.Fatalf("%s: %s", s, m.read(alice, "same", "error.json"))
	}
	// One that came when the run before it was over is a new one; no two ran at once.
	if text, _ := m.file("groups/family/users/alice/home/log2"); taken == 0 || len(text) != taken {
		t.Errorf("%d were taken, %d carried out", taken, len(text))
	}
	if n := len(m.rt.claims.held) + len(m.rt.claims.coming); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}

// A subject has no more goals under way than it may have, however many come at once.
func TestNoMoreThanTheLimitAtOnce(t *testing.T) {
	m := newMachine(t)
	bob := m.who(bobUID)
	const over = 40
	waits := `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"aiosfs.object.delete","target":{"path":"/aios/groups/family/shared/f"}}]}`
	put := m.rt.Submit(t.Context(), bob, "f", []byte(strings.Replace(waits, "object.delete", "object.mkdir", 1)))
	if put != nil {
		t.Fatal(put)
	}
	m.wait(bob, "f")
	var mu sync.Mutex
	taken, pushed := 0, 0
	var all sync.WaitGroup
	for i := range maxLive + over {
		all.Go(func() {
			err := m.rt.Submit(t.Context(), bob, fmt.Sprint("w", i), []byte(waits))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				taken++
			case errors.Is(err, ErrAgain):
				pushed++
			default:
				t.Errorf("w%d: %v", i, err)
			}
		})
	}
	all.Wait()
	live, ended := 0, 0
	for i := range maxLive + over {
		l, ok := m.rt.visible(bob, fmt.Sprint("w", i))
		switch {
		case !ok:
		case l.now().Terminal(): // a busy machine was too slow to decide, which denies it
			ended++
			t.Logf("w%d: %s", i, l.now().Actions[0].Decision.ReasonCode)
		default:
			live++
		}
	}
	if ended > 10 {
		t.Errorf("%d were decided too late: they get into each other's way", ended)
	}
	if live > maxLive || live+ended != taken || taken+pushed != maxLive+over || taken < maxLive {
		t.Errorf("%d are under way and %d over, of %d that were taken and %d that were not; %d may be, and %d came", live, ended, taken, pushed, maxLive, maxLive+over)
	}
	if n := len(m.rt.claims.held) + len(m.rt.claims.coming); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}
