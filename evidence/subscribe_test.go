package evidence

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// A subscriber who takes nothing loses records of his own: he is told so once, with the
// extent, and goes on from there. One who takes what comes has all of it, and the log has
// not waited for anybody (S3.1 §19.5).
func TestEvidence8_SlowAndFastSubscriber(t *testing.T) {
	l := openAt(t, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	subscribe := func(r SubscribeRequest) *Subscription {
		t.Helper()
		s, err := l.Subscribe(r)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	next := func(s *Subscription) Event {
		t.Helper()
		e, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	slow := subscribe(SubscribeRequest{MaxBuffered: 10})
	fast := subscribe(SubscribeRequest{MaxBuffered: 10})
	none := subscribe(SubscribeRequest{MaxBuffered: 1, Types: []record.Type{record.TamperDetected}})
	barred := subscribe(SubscribeRequest{MaxBuffered: 1, May: func(*Receipt) bool { return false }})
	for range 3 {
		first := l.Head().Size + 1
		for i := range 50 { // each is taken before the next is appended
			r := appendN(t, l, 1)[0]
			if e := next(fast); e.Dropped != 0 || e.Seq != r.Seq || e.Seq != first+uint64(i) || string(e.Bytes) != string(r.Bytes) {
				t.Fatalf("fast: %d, dropped %d, want %d", e.Seq, e.Dropped, r.Seq)
			}
		}
		for i := range uint64(10) {
			if e := next(slow); e.Dropped != 0 || e.Seq != first+i {
				t.Fatalf("slow: %d, dropped %d, want %d", e.Seq, e.Dropped, first+i)
			}
		}
		if e := next(slow); e.Dropped != 40 || e.DroppedFrom != first+10 || e.DropTo != first+49 {
			t.Fatalf("the gap: %+v", e)
		}
		// After it he hears of what is new, and of the gap no more.
		r := appendN(t, l, 1)[0]
		if e := next(slow); e.Dropped != 0 || e.Seq != r.Seq {
			t.Fatalf("after the gap: %d, dropped %d, want %d", e.Seq, e.Dropped, r.Seq)
		}
		next(fast)
	}
	for _, s := range []*Subscription{none, barred} {
		short, stop := context.WithCancel(ctx)
		stop()
		if e, err := s.Next(short); !errors.Is(err, context.Canceled) {
			t.Errorf("one who is told of nothing: %+v %v", e, err)
		}
	}
	n := uint64(0)
	for r, err := range l.Query(Query{}) {
		if n++; err != nil || r.Seq != n {
			t.Fatal(r.Seq, n, err)
		}
	}
	if n != 3*51 || l.Health() != nil {
		t.Errorf("%d records, health %v", n, l.Health())
	}
	fast.Close()
	appendN(t, l, 1)
	if _, err := fast.Next(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	waiting := make(chan error)
	go func() { _, err := none.Next(ctx); waiting <- err }()
	l.Close()
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("the log was closed: %v", err)
	}
	if e := next(slow); e.Seq == 0 {
		t.Error("what waited is gone with the log")
	}
	if _, err := l.Subscribe(SubscribeRequest{}); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	verified(t, l.o.Dir)
	t.Log("proves: evidence-8")
}
