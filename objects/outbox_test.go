package objects

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// A draft in the outbox with what only the log sets never reaches the log: the store does
// not open over it, and a transaction with a receipt id of its own does not commit.
func TestEvidence15_OutboxSetsNoLogFields(t *testing.T) {
	x := openTold(t)
	d := evidence.Draft{Type: record.ExecutionCompleted, Emitter: "adapter", Subject: alice.Subject, ActionID: someAction, Payload: map[string]any{"outcome": "SUCCEEDED"}}
	made := d
	made.ID = "evr_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	before := x.log.Head().Size
	tx := x.s.Begin(alice, someAction)
	tx.PutRecord("k", []byte("v"))
	tx.Emit(made)
	if _, err := tx.Commit(context.Background()); !errors.Is(err, evidence.ErrIllegalAuthority) {
		t.Errorf("committed with a receipt id that the log has not given: %v", err)
	}
	if _, err := x.s.GetRecord("k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("and changed something: %v", err)
	}
	for _, field := range []string{"receipt_id", "segment_id", "sequence_number", "tai64n"} {
		d.ID = x.log.Reserve(x.s.o.Now())
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		m[field] = "1"
		bad, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		key := outboxKey(^uint64(0))
		batch := kv.NewBatch()
		batch.Set(key, bad)
		if _, err := x.s.db.CommitSync(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		x.stop()
		if x.log, err = crashLog(x.dir); err != nil {
			t.Fatal(err)
		}
		s, err := Open(context.Background(), Options{Dir: x.dir, Log: x.log})
		if !errors.Is(err, evidence.ErrIllegalAuthority) {
			t.Fatalf("%s: opened over it: %v", field, err)
		}
		if s != nil {
			t.Fatal("a store and an error")
		}
		// Without that draft it opens again.
		db, err := kv.Open(kv.Options{Dir: filepath.Join(x.dir, "meta")})
		if err != nil {
			t.Fatal(err)
		}
		batch = kv.NewBatch()
		batch.Delete(key)
		if _, err := db.CommitSync(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Close(), x.log.Close()); err != nil {
			t.Fatal(err)
		}
		x.start()
	}
	for r, err := range x.log.Query(evidence.Query{FromSeq: before + 1, Types: []record.Type{record.ExecutionCompleted}}) {
		t.Errorf("the log took %s: %v", r.ID, err)
	}
	t.Log("proves: evidence-15")
}
