package agents

import (
	"errors"
	"testing"
)

func TestEveryIllegalEdgeIsRefused(t *testing.T) {
	legal := map[[2]State]bool{}
	for _, e := range [][2]State{
		{Created, PolicyPending}, {Created, Failed}, {PolicyPending, Approved}, {PolicyPending, ApprovalPending}, {PolicyPending, PolicyDenied},
		{PolicyPending, OverridePending}, {ApprovalPending, Approved}, {ApprovalPending, Failed}, {OverridePending, Approved}, {OverridePending, OverrideDenied},
		{Approved, Queued}, {Queued, Executing}, {Queued, Failed}, {Executing, Verifying}, {Executing, Failed}, {Verifying, Succeeded}, {Verifying, Failed},
		{Failed, RolledBack}, {Failed, RollbackFailed}, {PolicyDenied, OverridePending}} {
		legal[e] = true
	}
	if len(States) != 14 || len(legal) != 20 {
		t.Fatalf("%d states, %d edges", len(States), len(legal))
	}
	for _, from := range States {
		for _, to := range States {
			a := &Action{State: from}
			err := a.move(to, false)
			if legal[[2]State{from, to}] {
				if err != nil || a.State != to {
					t.Errorf("%s to %s: %v", from, to, err)
				}
			} else if !errors.Is(err, ErrIllegalTransition) || a.State != from {
				t.Errorf("%s to %s was not refused: %v", from, to, err)
			}
		}
	}
	if a := (&Action{State: Created}); a.move(Succeeded, true) != nil {
		t.Error("a VALIDATE cannot succeed")
	}
}
