package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
)

// A daemon whose clock is behind its log does not start, for a second time neither; an
// operator in recovery can have it go on, which is on record, and then it starts as ever.
func TestEvidence27_ClockBackOverARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d, _ := state(t, dir)
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	k, err := key(dir, "evidence")
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	ahead := func() time.Time { return time.Now().Add(2 * time.Hour) }
	l, err := evidence.Open(t.Context(), evidence.Options{Dir: filepath.Join(dir, "evidence"), Key: k, Now: ahead, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), evidence.Draft{Type: record.ActionReceived, Emitter: "runtime", Subject: "local:alice"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	size := func() uint64 {
		t.Helper()
		rep, err := evidence.Verify(t.Context(), filepath.Join(dir, "evidence"), evidence.VerifyOptions{})
		if err != nil || !rep.Consistent {
			t.Fatalf("%v %+v", err, rep)
		}
		return rep.Records
	}
	cfg := defaultConfig()
	cfg.State = dir
	before := size()
	for range 2 {
		d, err := openDaemon(t.Context(), cfg, quiet)
		if !errors.Is(err, evidence.ErrClockBackwards) || !strings.Contains(err.Error(), "--accept-clock") {
			t.Fatalf("with the clock two hours back: %v", err)
		}
		if d != nil {
			t.Fatal("a daemon and an error")
		}
	}
	if n := size(); n != before {
		t.Fatalf("%d records were appended", n-before)
	}
	if d, err = openAccepting(t.Context(), cfg, quiet, true); err != nil {
		t.Fatal(err)
	}
	told := payloads(t, d, record.RecoveryEvent)
	if len(told) != 1 || !strings.Contains(told[0], "CLOCK_BACKWARDS_ACKNOWLEDGED") || !strings.Contains(told[0], operatorName()) {
		t.Errorf("on record: %v", told)
	}
	if r, err := d.log.At(d.log.Head().Size); err != nil || time.Until(r.RecordedAt) > time.Minute {
		t.Errorf("records are of %s: %v", r.RecordedAt, err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if d, err = openDaemon(t.Context(), cfg, quiet); err != nil {
		t.Fatalf("after it was accepted: %v", err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	size()
	t.Log("proves: evidence-27")
}

// The daemon looks at its own log: a byte of a sealed segment that somebody changed ends
// every change, and is a finding.
func TestDaemonAuditsItsLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d, _ := state(t, dir)
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	d, said := state(t, dir)
	defer func() {
		if err := d.close(); err != nil && !errors.Is(err, evidence.ErrDegraded) {
			t.Log(err) // a log that is damaged cannot be ended well
		}
	}()
	if err := d.health(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "evidence/segments/00000001/payloads")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d.audit(context.Background(), time.Millisecond, time.Hour)
	for end := time.Now().Add(time.Minute); d.log.Health() == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing was found: %s", said)
		}
	}
	if err := d.health(); !errors.Is(err, evidence.ErrDegraded) {
		t.Errorf("health: %v", err)
	}
}
