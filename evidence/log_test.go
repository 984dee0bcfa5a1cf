package evidence

import (
	"context"
	"testing"

	"encoding/hex"

	"github.com/zeebo/blake3"
)

func TestEvidence1_Chain(t *testing.T) {
	l := openAt(t, Options{})
	rs := appendN(t, l, 3)
	prev := zeroLink
	for i, r := range rs {
		if r.Seq != uint64(i+1) || r.PreviousHash != prev {
			t.Fatalf("record %d: seq %d previous %s, want %s", i, r.Seq, r.PreviousHash, prev)
		}
		sum := blake3.Sum256(r.Bytes)
		prev = hex.EncodeToString(sum[:])[:32]
		if r.LinkHash != prev {
			t.Fatalf("link %s, want %s", r.LinkHash, prev)
		}
		got, err := l.Receipt(r.ID)
		if err != nil || string(got.Bytes) != string(r.Bytes) {
			t.Fatalf("receipt: %v %s", err, got.Bytes)
		}
	}
	l.Checkpoint()
	if rep := verified(t, l.o.Dir); rep.Records != 3 {
		t.Fatalf("%+v", rep)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if rep := verified(t, l.o.Dir); rep.Records != 4 {
		t.Fatalf("%+v", rep)
	}
	l2 := openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	if err := l2.Health(); err != nil {
		t.Fatal(err)
	}
	r := appendN(t, l2, 1)[0]
	if r.Seq != 5 {
		t.Fatalf("%+v", r)
	}
	n := 0
	for r, err := range l2.Query(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if p, err := l2.Payload(r.ID); err != nil {
			t.Fatal(err, p)
		}
		t.Log(string(r.Bytes))
	}
	if n != 5 {
		t.Fatal(n)
	}
	_ = context.Background()
	t.Log("proves: evidence-1")
}
