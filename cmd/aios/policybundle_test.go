package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/bundle"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// state opens everything of a state directory, without a mount.
func state(t *testing.T, dir string) (*daemon, *bytes.Buffer) {
	t.Helper()
	cfg, said := defaultConfig(), &bytes.Buffer{}
	cfg.State = dir
	d, err := openDaemon(t.Context(), cfg, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return d, said
}

// signed writes a rule and valid signatures of the whole.
func signed(t *testing.T, d *daemon, name, text string) {
	t.Helper()
	dir := filepath.Join(d.cfg.State, "policy")
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := key(d.cfg.State, "policy-root")
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := key(d.cfg.State, "policy-publisher")
	if err != nil {
		t.Fatal(err)
	}
	sigs, err := bundle.Sign(os.DirFS(dir), root, publisher)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range sigs {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// payloads are what the log has of a type.
func payloads(t *testing.T, d *daemon, typ record.Type) []string {
	t.Helper()
	var out []string
	for r, err := range d.log.Query(evidence.Query{Types: []record.Type{typ}}) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.log.Payload(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// A bundle that loosens what may not be loosened is recorded by that name, though it is
// well signed, and the one before stays; a start with it denies everything.
func TestBundleThatLoosensIsRefused(t *testing.T) {
	t.Log("proves: P-14")
	dir := t.TempDir()
	d, said := state(t, dir)
	was := d.kernel.Info()
	if was.Degraded || was.Rules == 0 {
		t.Fatalf("%+v", was)
	}
	signed(t, d, "rules/border.yaml", "rule_id: border\neffect: allow\nsubjects: [\"class:human\"]\nactions: [aiosfs.object.read]\nconditions: ['target.own_group = false']\n")
	for range 2 {
		if err := d.bundle.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if now := d.kernel.Info(); now.BundleVersion != was.BundleVersion {
		t.Errorf("%s is in force", now.BundleVersion)
	}
	list := payloads(t, d, record.PolicyBundleRejected)
	if len(list) != 1 || !strings.Contains(list[0], "INVARIANT_LOOSENING_REJECTED") || !strings.Contains(list[0], "InvariantLooseningAttempted") || !strings.Contains(list[0], was.BundleVersion) {
		t.Errorf("records: %v", list)
	}
	if n := strings.Count(said.String(), "the one before stays in force"); n != 1 {
		t.Errorf("said %d times: %s", n, said)
	}
	shown, err := json.Marshal(d.bundle.shown["rules"])
	if err != nil || strings.Contains(string(shown), "border.yaml") {
		t.Errorf("policy/ shows it: %v", err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}

	d, said = state(t, dir)
	if i := d.kernel.Info(); !i.Degraded || !strings.Contains(said.String(), "everything is denied") {
		t.Errorf("a start with it: %+v, %s", i, said)
	}
	alice := identity.Subject{ID: "local:alice", Kind: identity.HumanUser, PrimaryGroup: "local"}
	if x := d.kernel.Evaluate(context.Background(), policy.Request{Action: "process.list", Class: policy.Read, Subject: alice}); x.ReasonCode != policy.EngineDegraded {
		t.Errorf("a question then: %s", x.ReasonCode)
	}
	if err := os.Remove(filepath.Join(dir, "policy/rules/border.yaml")); err != nil {
		t.Fatal(err)
	}
	signed(t, d, "rules/more.yaml", "rule_id: more_rules\neffect: deny\nsubjects: [\"class:ai\"]\nactions: [process.list]\n")
	if err := d.bundle.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := d.kernel.Info(); i.Degraded || i.Rules != was.Rules+1 {
		t.Errorf("mended: %+v", i)
	}
	if n := len(payloads(t, d, record.PolicyBundleLoad)); n != 2 {
		t.Errorf("%d loads are recorded", n)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
}
