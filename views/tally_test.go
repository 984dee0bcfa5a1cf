package views

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
)

func TestOrdinaryQueriesAreSummedBySubject(t *testing.T) {
	b := open(t)
	ctx := context.Background()
	var mu sync.Mutex
	var sums []Sum
	secret := 0
	v := New(Deps{Store: b.store, SumEvery: time.Hour, // only Close hands over
		Record: func(context.Context, Caller, Told) error { secret++; return nil },
		Sum: func(_ context.Context, s Sum) error {
			mu.Lock()
			defer mu.Unlock()
			sums = append(sums, s)
			return nil
		}})
	b.put(alice, "groups/local/shared/a", "", 0o644)
	b.put(alice, "groups/family/shared/b", "", 0o644)
	const one, two = `from objects where kind = FILE`, `from objects where kind != FILE`
	for range 3 {
		if _, err := v.Find(ctx, bob, one); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 { // more different ones than a record names
		if _, err := v.Find(ctx, alice, fmt.Sprintf(`%s limit %d`, one, i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Find(ctx, bob, two); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Find(ctx, bob, `from nowhere`); err == nil {
		t.Fatal("no error")
	}
	x := b.put(alice, "groups/local/shared/c", "", 0o644)
	if err := b.store.RaisePrivacy(objects.Cred{UID: 1000}, x.Object, objects.Classified); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Find(ctx, bob, one); err != nil || secret != 1 { // on record alone
		t.Fatal(secret, err)
	}
	if len(sums) != 0 {
		t.Fatalf("handed over before its time: %+v", sums)
	}
	if err := v.Close(); err != nil || len(sums) != 2 {
		t.Fatal(sums, err)
	}
	for _, s := range sums {
		switch s.Caller.UID {
		case bob.UID:
			if s.Queries != 4 || len(s.Asked) != 2 || s.Asked[0].Canonical != one || s.Asked[0].Queries != 3 || s.Asked[0].Rows != 3 || len(s.Asked[0].Hash) != 32 || s.Suppressed < 3 || s.Ceiling != objects.Classified || s.Until.Before(s.Since) {
				t.Errorf("%+v", s)
			}
		case alice.UID:
			if s.Queries != 100 || len(s.Asked) != maxAsked || s.Rows != 0+1+98*2 {
				t.Errorf("%+v", s)
			}
		default:
			t.Errorf("%+v", s)
		}
	}
	// After an epoch it is handed over without anybody's doing; an error is no reason to
	// keep rows from being shown.
	handed := make(chan Sum)
	v = New(Deps{Store: b.store, SumEvery: time.Millisecond, Sum: func(_ context.Context, s Sum) error { handed <- s; return errors.New("the log is full") }})
	if _, err := v.Find(ctx, bob, two); err != nil {
		t.Fatal(err)
	}
	if s := <-handed; s.Queries != 1 {
		t.Errorf("%+v", s)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}
