package record

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestClosedList(t *testing.T) {
	if Last != 427 || len(All()) != 427 {
		t.Fatalf("%d types", Last)
	}
	if n := len(Orphans()); n != 57 {
		t.Fatalf("%d orphans", n)
	}
	classes := map[Retention]int{}
	seen := map[string]bool{}
	for i, typ := range All() {
		if int(typ) != i+1 || seen[typ.String()] {
			t.Errorf("%d is %s", i+1, typ)
		}
		seen[typ.String()] = true
		if back, err := Parse(typ.String()); err != nil || back != typ {
			t.Errorf("parse %s: %v %v", typ, back, err)
		}
		if len(typ.Emitters()) == 0 {
			t.Errorf("%s: nobody speaks for %q", typ, typ.AppendAuthority())
		}
		classes[typ.Retention()]++
	}
	if classes[Standard24M] != 176 || classes[Extended60M] != 79 || classes[Forever] != 172 {
		t.Errorf("retention classes %v", classes)
	}
	for _, bad := range []string{"", "UNSPECIFIED", "ACTION_RECEIVED ", "RECORD_TYPE_428", "APPROVAL_BINDING_VOIDED"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("parsed %q", bad)
		}
	}
	for n, want := range map[Type]string{1: "ACTION_RECEIVED", 4: "POLICY_DECISION", 20: "SEGMENT_SEALED", 22: "TAMPER_DETECTED", 403: "RECEIPT_ORPHAN_ACTION_REF_DETECTED", 427: "AGENT_LIFECYCLE_TRANSITIONED"} {
		if n.String() != want {
			t.Errorf("%d is %s, want %s", n, n, want)
		}
	}
}

func TestRetentionFor(t *testing.T) {
	for _, tc := range []struct {
		typ        Type
		key, value string
		want       Retention
	}{
		{PolicyDecision, "decision", "ALLOW", Standard24M}, {PolicyDecision, "decision", "DENY", Forever},
		{PolicyDecision, "decision", "REQUIRE_APPROVAL", Forever}, {ExecutionCompleted, "outcome", "SUCCEEDED", Standard24M},
		{ExecutionCompleted, "outcome", "FAILED", Forever}, {ExecutionCompleted, "outcome", "ROLLED_BACK", Forever},
		{VerificationResult, "status", "FAILED", Forever}, {ApprovalDenied, "", "", Extended60M},
	} {
		if got := tc.typ.RetentionFor(map[string]any{tc.key: tc.value}); got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.typ, tc.value, got, tc.want)
		}
	}
}

func TestAuthority(t *testing.T) {
	for _, tc := range []struct {
		typ Type
		e   Emitter
		ok  bool
	}{
		{PolicyDecision, EmitterPolicy, true}, {PolicyDecision, EmitterRuntime, false},
		{ExecutionStarted, EmitterAdapter, true}, {ExecutionStarted, EmitterRuntime, false},
		{ActionValidated, EmitterRuntime, true}, {ActionValidated, EmitterAdapter, false},
		{TamperDetected, EmitterLog, true}, {TamperDetected, EmitterRecovery, false},
		{OverrideConsumed, EmitterRuntime, true}, {OverrideGranted, EmitterRuntime, false}, {OverrideGranted, EmitterOverride, true},
		{Unspecified, EmitterLog, false}, {428, EmitterLog, false},
	} {
		if got := tc.typ.MayEmit(tc.e); got != tc.ok {
			t.Errorf("%s by %s: %v", tc.typ, tc.e, got)
		}
	}
}

func TestOrphan(t *testing.T) {
	for name, want := range map[string]Type{"POLICY_HARD_DENY": PolicyDecision, "SANDBOX_PROFILE_APPLIED": ActionDispatched, "STATUS_AUTODEMOTED": StatusTransition} {
		if got, ok := Orphan(name); !ok || got != want {
			t.Errorf("%s: %s %v, want %s", name, got, ok, want)
		}
	}
	for _, name := range []string{"ACTION_RECEIVED", "AIOSFS_MOUNTED", "NO_SUCH"} {
		if got, ok := Orphan(name); ok {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestGeneratedIsCurrent(t *testing.T) {
	out := filepath.Join(t.TempDir(), "types_gen.go")
	if b, err := exec.Command("go", "run", "./gen", "-out", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	fresh, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("types_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh, have) {
		t.Fatal("types_gen.go is older than its tables: run go generate")
	}
}
