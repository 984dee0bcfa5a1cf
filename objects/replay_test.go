package objects

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
)

// replaying writes five versions of files in one transaction and dies at the step after
// the records are on disk, before anything else knows of them.
func replaying(dir string) error {
	ctx := context.Background()
	log, err := crashLog(dir)
	if err != nil {
		return err
	}
	armed := false
	s, err := Open(ctx, Options{Dir: dir, Log: log, step: func(step string) {
		if armed && step == "commit: records are synced" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err != nil {
		return err
	}
	if _, err := log.Append(ctx, evidence.Draft{Type: record.ActionReceived, Emitter: "runtime", Subject: alice.Subject, ActionID: someAction}); err != nil {
		return err
	}
	for i := range 5 {
		before := s.Begin(alice, "")
		if err := before.WriteFile(ctx, fmt.Sprint("f", i), strings.NewReader("before"), WriteOptions{}); err != nil {
			return err
		}
		if _, err := before.Commit(ctx); err != nil {
			return err
		}
	}
	if err := s.WaitEvidence(ctx); err != nil {
		return err
	}
	tx := s.Begin(alice, someAction)
	for i := range 5 {
		if err := tx.WriteFile(ctx, fmt.Sprint("f", i), strings.NewReader(strings.Repeat(fmt.Sprint("version ", i), 1+i*2000)), WriteOptions{}); err != nil {
			return err
		}
	}
	tx.Emit(evidence.Draft{Type: record.ExecutionCompleted, Emitter: "adapter", Subject: alice.Subject, ActionID: someAction, Payload: map[string]any{"outcome": "SUCCEEDED", "transaction_id": tx.ID().String()}})
	fmt.Println(tx.ID())
	armed = true
	_, err = tx.Commit(ctx)
	return fmt.Errorf("it lived on: %v", err)
}

// A store that is killed once a transaction's log is on disk, and before any table is
// written, has all five versions after the restart, current, with the transaction COMMITTED,
// its evidence once, and a record of the replay; a clean restart leaves none.
func TestF60_KilledBetweenLogAndTables(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "AIOS_TEST_CRASH="+dir, "AIOS_TEST_STEP=replay")
	var said strings.Builder
	cmd.Stderr = &said
	out, _ := cmd.Output()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("%s: %s", cmd.ProcessState, said.String())
	}
	id, err := ParseID(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if tables, _ := filepath.Glob(filepath.Join(dir, "meta/*.sst")); len(tables) != 0 {
		t.Fatalf("tables were written: %v", tables)
	}
	x := &told{T: t, dir: dir}
	x.start()
	defer func() { x.stop() }()
	for i := range 5 {
		want := strings.Repeat(fmt.Sprint("version ", i), 1+i*2000)
		a, err := x.s.Resolve(fmt.Sprint("f", i))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(want)+1)
		h, err := x.s.OpenFile(alice, a.Ino, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := h.ReadAt(b, 0)
		if string(b[:n]) != want {
			t.Errorf("f%d holds %d bytes, want %d", i, n, len(want))
		}
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		vs, err := x.s.Versions(a.Object)
		if err != nil || len(vs) != 2 || vs[1].Transaction != id && vs[0].Transaction != id {
			t.Errorf("f%d: %+v, %v", i, vs, err)
		}
	}
	raw, err := x.s.view.Get(txnKey(id))
	if err != nil {
		t.Fatal(err)
	}
	var rec txnRecord
	if err := json.Unmarshal(raw, &rec); err != nil || rec.State != txnCommitted || len(rec.Lines) != 5 {
		t.Errorf("the transaction: %s, %v", raw, err)
	}
	if err := x.s.WaitEvidence(context.Background()); err != nil {
		t.Fatal(err)
	}
	count := func(typ record.Type, word string) (n int) {
		t.Helper()
		for r, err := range x.log.Query(evidence.Query{Types: []record.Type{typ}}) {
			if err != nil {
				t.Fatal(err)
			}
			p, err := x.log.Payload(r.ID)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(p), word) {
				n++
			}
		}
		return n
	}
	if n := count(record.ExecutionCompleted, id.String()); n != 1 {
		t.Errorf("the transaction stands in the log %d times", n)
	}
	if n := count(record.RecoveryEvent, "STORE_REPLAYED"); n != 1 {
		t.Errorf("%d records of the replay", n)
	}
	x.stop()
	x.start()
	if err := x.s.WaitEvidence(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := count(record.RecoveryEvent, "STORE_REPLAYED"); n != 1 {
		t.Errorf("a clean restart was recorded as a replay: %d", n)
	}
	t.Log("proves: F-60")
}
