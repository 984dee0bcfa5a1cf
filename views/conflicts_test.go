package views

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ai-os-dot-net/aios/objects"
)

// clash makes a conflict over a file that is there: what is current, and what lost.
func (b *bench) clash(path string) objects.ID {
	b.Helper()
	was := must1(b.store.Resolve(path)).Version
	write := func(text string) error {
		tx := b.store.Begin(objects.Cred{UID: 1000, GID: 1000, Subject: alice.Subject.ID}, "")
		if err := tx.WriteFile(context.Background(), path, strings.NewReader(text), objects.WriteOptions{Expect: &was}); err != nil {
			b.Fatal(err)
		}
		_, err := tx.Commit(context.Background())
		return err
	}
	if err := write("winner"); err != nil {
		b.Fatal(err)
	}
	var lost *objects.ConflictError
	if err := write("loser"); !errors.As(err, &lost) {
		b.Fatal(err)
	}
	return lost.Conflict
}

func TestConflictsShowTheThreeVersionsToWhoSeesTheFile(t *testing.T) {
	b := open(t)
	ctx := context.Background()
	a := b.put(alice, "groups/family/shared/plan", "base", 0o640)
	open := b.clash("groups/family/shared/plan").String()
	closed := b.put(alice, "groups/local/shared/public", "base", 0o644)
	public := b.clash("groups/local/shared/public").String()
	secret := b.put(alice, "groups/local/shared/secret", "base", 0o644)
	if err := b.store.RaisePrivacy(objects.Cred{UID: 1000}, secret.Object, objects.Classified); err != nil {
		t.Fatal(err)
	}
	hidden := b.clash("groups/local/shared/secret").String()
	for _, o := range []objects.ID{a.Object, closed.Object} { // what an agent may see at all
		if x, err := b.store.Object(o); err != nil || x.Privacy != objects.Sensitive {
			t.Fatal(x, err)
		}
	}
	b.want(alice, []string{open + "/", public + "/", hidden + "/"}, "conflicts")
	for _, who := range []Caller{bob, root} {
		b.want(who, []string{public + "/", hidden + "/"}, "conflicts")
		if _, err := b.v.List(ctx, who, []string{"conflicts", open}); !errors.Is(err, ErrNotFound) {
			t.Errorf("uid %d: %v", who.UID, err)
		}
		if _, err := b.v.Lookup(ctx, who, []string{"conflicts", open}); !errors.Is(err, ErrNotFound) {
			t.Errorf("uid %d: %v", who.UID, err)
		}
	}
	agent := alice
	agent.Subject.IsAI = true
	b.want(agent, nil, "conflicts")
	for _, name := range []string{"cnf_01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", a.Object.String()} {
		if _, err := b.v.List(ctx, alice, []string{"conflicts", name}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	list, err := b.v.List(ctx, alice, []string{"conflicts", open})
	if err != nil || len(list) != 4 {
		t.Fatal(list, err)
	}
	var k objects.Conflict
	file := list[3]
	if err := json.Unmarshal(file.Data, &k); err != nil || !file.File || !file.Fixed || file.Name != "conflict.json" || k.ID.String() != open || k.Status != "OPEN" {
		t.Errorf("%+v %v", k, err)
	}
	want := []string{"base -> objects/" + a.Object.String() + "/versions/" + k.Base.String(), "candidate -> objects/" + a.Object.String() + "/versions/" + k.Candidate.String(),
		"current -> objects/" + a.Object.String() + "/versions/" + k.Current.String()}
	if got := b.list(alice, "conflicts", open); !slices.Equal(got[:3], want) {
		t.Errorf("%q, want %q", got, want)
	}
	if e, err := b.v.Lookup(ctx, alice, []string{"conflicts", open, "candidate"}); err != nil || e.Link != list[1].Link {
		t.Errorf("%+v %v", e, err)
	}
}
