package objects

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// later is a clock that a test moves.
type later struct{ ahead atomic.Int64 }

func (c *later) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *later) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// A transaction that was pending for more than an hour is ABORTED, whether the store finds
// it or its user comes back to it; what it had stored goes, its record says so after a
// restart, and nothing that is current has changed. Within the hour it is committed.
func TestF13_PendingTransactions(t *testing.T) {
	ctx := context.Background()
	dir, c := t.TempDir(), &later{}
	start := func() *Store {
		t.Helper()
		s, err := Open(ctx, Options{Dir: dir, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	big := strings.Repeat("staged", 50_000)
	begin := func(name, text string) *Tx {
		t.Helper()
		tx := s.Begin(alice, someAction)
		if err := tx.WriteFile(ctx, name, strings.NewReader(text), WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	state := func(tx *Tx) string {
		t.Helper()
		r, err := s.GetTransaction(tx.ID())
		if errors.Is(err, ErrNotFound) {
			return ""
		}
		if err != nil || r.Subject != alice.Subject || r.Action != someAction {
			t.Fatalf("%+v %v", r, err)
		}
		return r.State
	}
	stagings := func() int {
		t.Helper()
		names, err := s.blobs.ListStaging()
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if _, err := begin("kept", "before").Commit(ctx); err != nil {
		t.Fatal(err)
	}
	idle := stagings()

	found, returning, records := begin("kept", big), begin("kept", "after an hour"), s.Begin(alice, "")
	records.PutRecord("r", []byte("of the runtime"))
	if stagings() == idle {
		t.Fatal("nothing is staged")
	}
	c.advance(59 * time.Minute)
	if err := s.abortStale(ctx); err != nil {
		t.Fatal(err)
	}
	young := begin("young", "x")
	if state(found) != "" || stagings() == idle {
		t.Fatalf("within the hour it is %q", state(found))
	}
	c.advance(2 * time.Minute)
	if _, err := returning.Commit(ctx); !errors.Is(err, ErrExpired) {
		t.Fatalf("committed after an hour: %v", err)
	}
	if err := s.abortStale(ctx); err != nil {
		t.Fatal(err)
	}
	for name, tx := range map[string]*Tx{"found": found, "returning": returning} {
		if got := state(tx); got != "ABORTED" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if n := stagings(); n != idle {
		t.Errorf("%d staging files are left", n-idle)
	}
	if err := found.WriteFile(ctx, "more", strings.NewReader(big), WriteOptions{}); !errors.Is(err, ErrExpired) {
		t.Errorf("written to after it was aborted: %v", err)
	}
	if _, err := found.Commit(ctx); !errors.Is(err, ErrExpired) {
		t.Errorf("committed after it was aborted: %v", err)
	}
	if err := errors.Join(found.Discard(), returning.Discard()); err != nil {
		t.Error(err)
	}
	if n := stagings(); n != idle {
		t.Errorf("%d staging files came after it", n-idle)
	}
	if _, err := records.Commit(ctx); err != nil {
		t.Errorf("one without changes holds nothing, and was not committed: %v", err)
	}
	if _, err := young.Commit(ctx); err != nil || state(young) != "COMMITTED" {
		t.Errorf("two minutes old: %q %v", state(young), err)
	}
	if len(s.pendings.open) != 0 {
		t.Errorf("%d are still pending", len(s.pendings.open))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start()
	if state(found) != "ABORTED" || state(young) != "COMMITTED" {
		t.Errorf("after a restart: %q and %q", state(found), state(young))
	}
	a, err := s.Resolve("kept")
	if err != nil {
		t.Fatal(err)
	}
	if vs, err := s.Versions(a.Object); err != nil || len(vs) != 1 {
		t.Errorf("%d versions of kept, %v", len(vs), err)
	}
}

// A file that somebody has open for writing is a draft and no transaction: after a day and
// an hour, with every pass that the store makes, it is as it was, small or large, new or
// over an old version, and becomes a version when it is closed.
func TestF13_DraftOfADay(t *testing.T) {
	ctx := context.Background()
	c := &later{}
	s, err := Open(ctx, Options{Dir: t.TempDir(), Now: c.now, EpochInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	half := bytes.Repeat([]byte("half a day "), 40_000)
	drafts := map[string][]byte{"small": []byte("written "), "large": half, "over": half}
	handles := map[string]*Handle{}
	for name, text := range drafts {
		if name == "over" {
			tx := s.Begin(alice, "")
			if err := tx.WriteFile(ctx, name, bytes.NewReader(bytes.Repeat([]byte("old"), 300_000)), WriteOptions{Mode: 0o666}); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			a, err := s.Resolve(name)
			if err != nil {
				t.Fatal(err)
			}
			if handles[name], err = s.OpenFile(alice, a.Ino, unix.O_RDWR|unix.O_TRUNC); err != nil {
				t.Fatal(err)
			}
			none := int64(0)
			if _, err := s.SetAttr(alice, a.Ino, SetAttr{Size: &none}); err != nil {
				t.Fatal(err)
			}
		} else if _, handles[name], err = s.Create(alice, RootIno, name, 0o644, true); err != nil {
			t.Fatal(err)
		}
		if _, err := handles[name].WriteAt(alice, text, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 25 {
		c.advance(time.Hour)
		if err := s.abortStale(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.SyncAll(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for name, h := range handles {
		b := make([]byte, len(drafts[name])+10)
		if n, _ := h.ReadAt(b, 0); !bytes.Equal(b[:n], drafts[name]) {
			t.Errorf("%s: %d bytes of the draft, want %d", name, n, len(drafts[name]))
		}
		if _, err := h.WriteAt(alice, []byte("and closed"), int64(len(drafts[name]))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := h.Close(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a, err := s.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.OpenFile(alice, a.Ino, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		want := append(bytes.Clone(drafts[name]), "and closed"...)
		b = make([]byte, len(want)+10)
		if n, _ := r.ReadAt(b, 0); !bytes.Equal(b[:n], want) {
			t.Errorf("%s: closed, it has %d bytes, want %d", name, n, len(want))
		}
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		if vs, err := s.Versions(a.Object); err != nil || len(vs) != map[bool]int{true: 2, false: 1}[name == "over"] {
			t.Errorf("%s: %d versions, %v", name, len(vs), err)
		}
	}
	t.Log("proves: F-13")
}
