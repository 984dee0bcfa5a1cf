package objects

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

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

// Who syncs file after file has the log sync a few times a second, not with each of them:
// what he syncs is durable without it.
func TestSyncsDoNotDriveTheLog(t *testing.T) {
	dir := t.TempDir()
	log, err := crashLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var appends atomic.Int64
	s, err := Open(context.Background(), Options{Dir: dir, Log: log, step: func(name string) {
		if name == "outbox: appended" {
			appends.Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	began, n := time.Now(), 0
	for ; time.Since(began) < 5*gatherEvidence || n < 100; n++ {
		put(t, s, RootIno, fmt.Sprint("f", n), "text")
		if err := s.SyncAll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	// Each time that it is gathered for so long, one append for every 256 records.
	if most := int64(time.Since(began)/gatherEvidence) + int64(n)/256 + 1; appends.Load() > most {
		t.Errorf("%d syncs in %v: the log was appended to %d times, wanted at most %d", n, time.Since(began), appends.Load(), most)
	}
	if err := s.WaitEvidence(context.Background()); err != nil {
		t.Error(err)
	}
	if got := log.Head().Size; got < uint64(n) {
		t.Errorf("the log has %d records after %d syncs", got, n)
	}
}

// A start looks for evidence from where nothing that was removed lies before; that of an
// epoch that was prepared early and committed late is not passed over, and a clock that was
// set back gives no keys below.
func TestOutboxBeginsWhereEntriesWait(t *testing.T) {
	ctx := context.Background()
	clock := &later{}
	x := openToldAt(t, clock.now)
	late := evidence.Draft{ID: x.log.Reserve(x.s.o.Now()), Type: record.ExecutionCompleted, Emitter: "adapter", Subject: alice.Subject, ActionID: someAction, Payload: map[string]any{"outcome": "SUCCEEDED"}}
	batch := kv.NewBatch()
	entries, err := x.s.outbox.prepare(batch, []evidence.Draft{late})
	if err != nil {
		t.Fatal(err)
	}
	work := func() (first uint64) {
		t.Helper()
		for range 2 { // the second epoch removes what the first told of
			put(t, x.s, RootIno, "f", fmt.Sprint(x.s.o.Now().UnixNano()))
			if err := errors.Join(x.s.SyncAll(ctx), x.s.WaitEvidence(ctx), x.s.SyncAll(ctx)); err != nil {
				t.Fatal(err)
			}
		}
		b, err := x.s.view.Get([]byte(outboxFirst))
		if err != nil || len(b) != 8 {
			t.Fatal(b, err)
		}
		return binary.BigEndian.Uint64(b)
	}
	if first := work(); first != entries[0].key {
		t.Errorf("a start looks from %d on, and %d is on its way", first, entries[0].key)
	}
	if _, err := x.s.db.CommitSync(ctx, batch); err != nil {
		t.Fatal(err)
	}
	x.stop()
	clock.advance(-time.Hour)
	x.start()
	if err := x.s.WaitEvidence(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := x.log.Receipt(late.ID); err != nil {
		t.Errorf("the evidence of the epoch that was committed late: %v", err)
	}
	first := work()
	if first <= entries[0].key {
		t.Errorf("a start looks from %d on, when all from %d on are removed", first, entries[0].key)
	}
	x.stop()
	clock.advance(-time.Hour)
	x.start()
	if x.s.outbox.next < first {
		t.Errorf("the next entry is %d, and a start looks from %d on", x.s.outbox.next+1, first)
	}
}

// What was prepared first and is committed last is neither passed over by the next start nor
// by who waits for it.
func TestOutboxKnowsWhatCameOutOfTurn(t *testing.T) {
	var b outbox
	b.init()
	prepare := func() []outEntry {
		e, err := b.prepare(kv.NewBatch(), []evidence.Draft{{}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	early, late := prepare(), prepare()
	b.add(late...)
	b.add(early...)
	if got := b.first(); got != early[0].key {
		t.Errorf("a start looks from %d on, and %d waits", got, early[0].key)
	}
	w := outWaiter{early[0].key, make(chan struct{})}
	b.waiters = append(b.waiters, w)
	b.release()
	select {
	case <-w.ready:
		t.Error("who waits for the early one is let go")
	default:
	}
	b.queue = b.queue[:1] // the late one is left
	b.release()
	select {
	case <-w.ready:
	default:
		t.Error("who waits for the early one waits for the late one")
	}
	if got := b.first(); got != late[0].key {
		t.Errorf("a start looks from %d on, and %d waits", got, late[0].key)
	}
}
