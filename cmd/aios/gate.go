package main

import (
	"context"
	"fmt"
	"strings"

	aiosfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/policy"
)

// gate asks the policy kernel about plain file work. Owner, mode and layout are the
// mount's own business and were asked before; what is left are the constitutional
// denials, which bind plain file work as much as any action.
type gate struct{ kernel *policy.Kernel }

func (g gate) Check(ctx context.Context, c aiosfs.Caller, op aiosfs.Op, t aiosfs.Target) error {
	r := policy.Request{Action: "aiosfs.object." + gateAction(op), Class: policy.Read, Subject: c.Subject, Environment: "LOCAL", DryRun: "LIVE",
		Target: policy.Target{Scope: t.Scope.String(), Group: t.Group, User: t.User, Reserved: t.Reserved, Path: strings.TrimPrefix(t.Path, "/aios/")}}
	if op.Mutates() {
		r.Class = policy.Mutate
	}
	if d, denied := g.kernel.HardDenied(r); denied {
		return fmt.Errorf("%s: %w", d.ReasonCode, aiosfs.ErrDenied)
	}
	return nil
}

func gateAction(op aiosfs.Op) string {
	switch op {
	case aiosfs.OpRead, aiosfs.OpList, aiosfs.OpAccess:
		return "read"
	case aiosfs.OpUnlink, aiosfs.OpRmdir:
		return "delete"
	case aiosfs.OpRename, aiosfs.OpLink:
		return "move"
	case aiosfs.OpMkdir:
		return "mkdir"
	}
	return "write"
}
