package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
)

// told is a store with a real log beside it.
type told struct {
	*testing.T
	dir string
	s   *Store
	log *evidence.Log
	now func() time.Time // the store's clock; nil is the machine's
}

func openTold(t *testing.T) *told { return openToldAt(t, nil) }

func openToldAt(t *testing.T, now func() time.Time) *told {
	x := &told{T: t, dir: t.TempDir(), now: now}
	x.start()
	t.Cleanup(x.stop)
	return x
}

func (x *told) start() {
	x.Helper()
	var err error
	if x.log, err = crashLog(x.dir); err != nil {
		x.Fatal(err)
	}
	// As the runtime does before anything is said about an action.
	if _, err := x.log.Append(context.Background(), evidence.Draft{Type: record.ActionReceived, Emitter: "runtime", Subject: alice.Subject, ActionID: someAction}); err != nil {
		x.Fatal(err)
	}
	if x.s, err = Open(context.Background(), Options{Dir: x.dir, Log: x.log, Now: x.now}); err != nil {
		x.Fatal(err)
	}
}

func (x *told) stop() {
	if err := errors.Join(x.s.Close(), x.log.Close()); err != nil {
		x.Error(err)
	}
}

const someAction = "act_01ARZ3NDEKTSV4RRFFQ69G5FAV"

type file struct {
	name, text string
	base       *ID
}

func (x *told) commit(files ...file) (ID, error) {
	x.Helper()
	t := x.s.Begin(alice, someAction)
	for _, f := range files {
		if err := t.WriteFile(context.Background(), f.name, strings.NewReader(f.text), WriteOptions{Expect: f.base}); err != nil {
			x.Fatal(err)
		}
	}
	t.Emit(evidence.Draft{Type: record.ExecutionCompleted, Emitter: "adapter", Subject: alice.Subject, ActionID: someAction,
		Payload: map[string]any{"outcome": "SUCCEEDED", "transaction_id": t.ID().String()}})
	_, err := t.Commit(context.Background())
	return t.ID(), err
}

func (x *told) must(files ...file) ID {
	x.Helper()
	id, err := x.commit(files...)
	if err != nil {
		x.Fatal(err)
	}
	return id
}

func (x *told) at(name string) Attr {
	x.Helper()
	a, err := x.s.Resolve(name)
	if err != nil {
		x.Fatal(err)
	}
	return a
}

func (x *told) conflicts() (list []Conflict) {
	x.Helper()
	sn, err := x.s.Newest(context.Background())
	if err != nil {
		x.Fatal(err)
	}
	defer sn.Close()
	if err := sn.Conflicts(func(k Conflict) error { list = append(list, k); return nil }); err != nil {
		x.Fatal(err)
	}
	return list
}

// records gives the payloads of the log's records of a type.
func (x *told) records(t record.Type) (list []map[string]any) {
	x.Helper()
	if err := x.s.WaitEvidence(context.Background()); err != nil {
		x.Fatal(err)
	}
	for r, err := range x.log.Query(evidence.Query{Types: []record.Type{t}}) {
		if err != nil {
			x.Fatal(err)
		}
		b, err := x.log.Payload(r.ID)
		if err != nil {
			x.Fatal(err)
		}
		var m struct{ Payload map[string]any }
		if err := json.Unmarshal(b, &m); err != nil {
			x.Fatal(err)
		}
		list = append(list, m.Payload)
	}
	return list
}

func (x *told) chunks() (n int) {
	v := x.s.db.View()
	defer v.Close()
	for range v.ScanKeys([]byte{'c'}, nil) {
		n++
	}
	return n
}

func (x *told) text(ver ID) string {
	x.Helper()
	f, err := x.s.OpenVersion(ver)
	if err != nil {
		x.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		x.Fatal(err)
	}
	return string(b)
}

func TestF1_AWriteIsCommittedWithItsEvidenceAndOneChunk(t *testing.T) {
	t.Log("proves: F-1")
	x := openTold(t)
	x.must(file{name: "f", text: strings.Repeat("first\n", 2000)})
	before, chunks := x.at("f"), x.chunks()
	id := x.must(file{"f", strings.Repeat("second\n", 2000), &before.Version})
	tx, err := x.s.GetTransaction(id)
	if err != nil || tx.State != "COMMITTED" || tx.Subject != alice.Subject || tx.Action != someAction || len(tx.Writes) != 1 {
		t.Fatalf("%+v %v", tx, err)
	}
	after := x.at("f")
	o, err := x.s.Object(before.Object)
	if err != nil || after.Object != before.Object || after.Version == before.Version || o.Current != after.Version || o.Rollback != before.Version || tx.Writes[0].Version != after.Version {
		t.Errorf("pointers: %+v, the file %+v, %v", o, after, err)
	}
	v, err := x.s.Version(after.Version)
	if err != nil || v.State != "VERIFIED" || v.Parent != before.Version || v.Transaction != id || len(v.Chunks) != 1 {
		t.Errorf("version: %+v %v", v, err)
	}
	if n := x.chunks(); n != chunks+1 {
		t.Errorf("%d chunks, %d before", n, chunks)
	}
	found := 0
	for _, m := range x.records(record.ExecutionCompleted) {
		if m["transaction_id"] == id.String() {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d records of the transaction", found)
	}
}

func TestF2_TheLoserOfTwoTransactionsIsKeptStagedWithAnOpenConflict(t *testing.T) {
	t.Log("proves: F-2")
	for name, loser := range map[string]string{"inline": "theirs", "chunk": strings.Repeat("theirs\n", 2000), "staging file": strings.Repeat("theirs\n", 400_000)} {
		t.Run(name, func(t *testing.T) {
			x := openTold(t)
			x.must(file{name: "f", text: "base"})
			base := x.at("f")
			winner := x.must(file{"f", "mine", &base.Version})
			won := x.at("f")
			lost, err := x.commit(file{"f", loser, &base.Version})
			var c *ConflictError
			if !errors.As(err, &c) || !errors.Is(err, ErrStale) || c.Current != won.Version || c.Attempted != base.Version || c.Object != base.Object || c.Conflict.IsZero() {
				t.Fatalf("%#v", err)
			}
			for id, want := range map[ID]string{winner: "COMMITTED", lost: "ABORTED"} {
				if tx, err := x.s.GetTransaction(id); err != nil || tx.State != want || len(tx.Writes) != 1 {
					t.Errorf("%+v %v, want %s", tx, err, want)
				}
			}
			// It survives a restart, as it is.
			x.stop()
			x.start()
			if now := x.at("f"); now.Version != won.Version || get(t, x.s, RootIno, "f") != "mine" {
				t.Errorf("the file: %+v", now)
			}
			list := x.conflicts()
			if len(list) != 1 {
				t.Fatalf("%d conflicts", len(list))
			}
			k := list[0]
			if one, err := x.s.GetConflict(c.Conflict); err != nil || one != k {
				t.Errorf("%+v %v", one, err)
			}
			if k.Status != "OPEN" || k.Base != base.Version || k.Current != won.Version || k.Object != base.Object || k.Pointer != c.Pointer || k.Transaction != lost || k.AbandonsAt.Sub(k.DetectedAt) != ConflictTTL {
				t.Errorf("%+v", k)
			}
			v, err := x.s.Version(k.Candidate)
			if err != nil || v.State != "STAGED" || v.Parent != base.Version || v.Hash == "" || x.text(k.Candidate) != loser {
				t.Errorf("the loser: %+v %v", v, err)
			}
			told := x.records(record.ConflictEvent)
			if len(told) != 1 || told[0]["conflict_id"] != k.ID.String() || told[0]["event"] != "opened" || told[0]["object_id"] != k.Object.String() {
				t.Errorf("evidence: %v", told)
			}
			if r, err := x.log.Receipt(k.Evidence); err != nil || r.ActionID != someAction || r.Subject != alice.Subject {
				t.Errorf("%+v %v", r, err)
			}
			for _, m := range x.records(record.ExecutionCompleted) {
				if m["transaction_id"] == lost.String() && m["detail_kind"] == nil {
					t.Errorf("the aborted transaction says that it happened: %v", m)
				}
			}
			if rep, err := x.s.Fsck(context.Background()); err != nil || len(rep.Problems) != 0 {
				t.Errorf("%+v %v", rep, err)
			}
		})
	}
}

func TestF3_OneStalePointerAbortsTheOther(t *testing.T) {
	t.Log("proves: F-3 F-23")
	x := openTold(t)
	x.must(file{name: "a", text: "a1"}, file{name: "b", text: "b1"}, file{name: "c", text: "c1"})
	a, b, c := x.at("a"), x.at("b"), x.at("c")
	x.must(file{"b", "b2", &b.Version}, file{"c", "c2", &c.Version})
	lost, err := x.commit(file{"a", "a3", &a.Version}, file{"b", "b3", &b.Version}, file{"c", "c3", &c.Version}, file{name: "new", text: "n"})
	if !errors.Is(err, ErrStale) {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "a1", "b": "b2", "c": "c2"} {
		if got := get(t, x.s, RootIno, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if now := x.at("a"); now.Version != a.Version {
		t.Errorf("the pointer of a moved to %s", now.Version)
	}
	if _, err := x.s.Resolve("new"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a new file of it: %v", err)
	}
	tx, err := x.s.GetTransaction(lost)
	if err != nil || tx.State != "ABORTED" || len(tx.Writes) != 3 {
		t.Fatalf("%+v %v", tx, err)
	}
	for i, w := range tx.Writes {
		if v, err := x.s.Version(w.Version); err != nil || v.State != "STAGED" || x.text(w.Version) != []string{"a3", "b3", "c3"}[i] {
			t.Errorf("%+v %v", v, err)
		}
	}
	list := x.conflicts()
	if len(list) != 2 || list[0].Object != b.Object || list[1].Object != c.Object || len(x.records(record.ConflictEvent)) != 2 {
		t.Errorf("conflicts: %+v", list)
	}
}

// A restore that names its base and loses keeps what it would have restored.
func TestARestoreThatLosesIsAConflictToo(t *testing.T) {
	x := openTold(t)
	x.must(file{name: "f", text: "one"})
	one := x.at("f")
	x.must(file{name: "f", text: "two"})
	two := x.at("f")
	x.must(file{name: "f", text: "three"})
	tx := x.s.Begin(alice, "")
	tx.Adopt("f", one.Object, one.Version, WriteOptions{Expect: &two.Version})
	if _, err := tx.Commit(context.Background()); !errors.Is(err, ErrStale) {
		t.Fatal(err)
	}
	list := x.conflicts()
	if len(list) != 1 || list[0].Base != two.Version || x.text(list[0].Candidate) != "one" || get(t, x.s, RootIno, "f") != "three" {
		t.Errorf("%+v", list)
	}
}

// What only looks like one: a file that is gone, a file that somebody is writing.
func TestNoConflictWhereNoPointerMoved(t *testing.T) {
	x := openTold(t)
	x.must(file{name: "f", text: "one"})
	a := x.at("f")
	h, err := x.s.OpenFile(alice, a.Ino, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(alice, []byte("draft"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := x.commit(file{"f", "two", &a.Version}); !errors.Is(err, ErrStale) {
		t.Errorf("over a draft: %v", err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	a = x.at("f")
	if err := x.s.Unlink(alice, RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.commit(file{"f", "two", &a.Version}); !errors.Is(err, ErrStale) {
		t.Errorf("of a removed file: %v", err)
	}
	if list := x.conflicts(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// A snapshot enumerates the records as they were.
func TestSnapshotsEnumerateThePast(t *testing.T) {
	x := openTold(t)
	x.must(file{name: "f", text: "one"})
	if _, err := x.s.Link(alice, x.at("f").Ino, RootIno, "g"); err != nil {
		t.Fatal(err)
	}
	sn, err := x.s.Newest(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	when, one := sn.Time(), x.at("f")
	sn.Close()
	time.Sleep(2 * time.Millisecond)
	x.must(file{name: "f", text: "two"})
	if err := x.s.Unlink(alice, RootIno, "g"); err != nil {
		t.Fatal(err)
	}
	if err := x.s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if sn, err = x.s.At(when); err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	n := 0
	if err := errors.Join(sn.Versions(func(Version) error { n++; return nil }), sn.Transactions(func(Transaction) error { n += 10; return nil }),
		sn.Objects(func(o Object) error {
			if o.ID == one.Object {
				n += 100
				if o.Current != one.Version {
					t.Errorf("%+v", o)
				}
			}
			return nil
		})); err != nil || n != 111 {
		t.Errorf("%d %v", n, err)
	}
	if p, err := sn.PathsOf(one.Ino); err != nil || strings.Join(p, " ") != "f g" {
		t.Errorf("%q %v", p, err)
	}
	if o, err := sn.Object(one.Object); err != nil || o.Current != one.Version {
		t.Errorf("%+v %v", o, err)
	}
	if v, err := sn.Version(one.Object, one.Version); err != nil || v.ID != one.Version {
		t.Errorf("%+v %v", v, err)
	}
	if !bytes.Equal([]byte(get(t, x.s, RootIno, "f")), []byte("two")) {
		t.Error("the present changed")
	}
}
