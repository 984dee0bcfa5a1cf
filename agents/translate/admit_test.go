package translate

import (
	"context"
	"slices"
	"testing"
)

func TestC11_C12_ProposalsAreNotBelieved(t *testing.T) {
	t.Log("proves: C-11 C-12")
	tr := testTranslator(t)
	res, found, err := tr.Admit(context.Background(), ask("make it quicker"), []Proposal{{Action: "system.shutdown"}})
	if err != nil || len(res.Drafts) != 0 || res.Status != Rejected || !slices.Equal(found, []Finding{{FabricatedAction, "system.shutdown"}}) {
		t.Errorf("%v %s %v", err, short(res), found)
	}
	res, found, _ = tr.Admit(context.Background(), ask("bounce the web thing"), []Proposal{{Action: "service.restart", Target: map[string]any{"name": "nginx"}}})
	if len(res.Drafts) != 0 || short(res) != "ask q1.target.service" || !slices.Equal(found, []Finding{{UndeclaredField, "service.restart name"}}) {
		t.Errorf("%s %v", short(res), found)
	}
	res, found, _ = tr.Admit(context.Background(), ask("bounce the web thing"), []Proposal{{Action: "service.restart", Target: map[string]any{"service": "nginx", "shell": "rm -rf /"}}})
	if short(res) != `service.restart {"service":"nginx"}` || len(found) != 1 {
		t.Errorf("%s %v", short(res), found)
	}
	res, _, _ = tr.Admit(context.Background(), ask("bounce it"), []Proposal{{Action: "service.restart", Target: map[string]any{"service": "nginx; rm -rf /"}}})
	if res.Status != Rejected || res.Refusal.Code != TargetSchemaImpossible {
		t.Errorf("%s", short(res))
	}
	res, _, _ = tr.Admit(context.Background(), ask("sudo make it so"), []Proposal{{Action: "service.restart", Target: map[string]any{"service": "nginx"}}})
	if res.Status != Rejected || res.Refusal.Code != UntypedShellRequested {
		t.Errorf("%s", short(res))
	}
}
