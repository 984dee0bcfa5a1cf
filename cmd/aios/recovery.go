package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	aiosfs "github.com/ai-os-dot-net/aios/fs"
)

// mountRecovery puts the recovery tree into place: system/ read-only, nothing that
// translates, plans or runs, and nobody's data (S9.1 §5.1). The policy bundle of the
// state directory is followed as ever, each change a recovery operation; what else
// changes does so by a typed action at the desk.
func (d *daemon) mountRecovery(ctx context.Context, m mountSettings) error {
	d.recovery = true
	if err := d.recordRecovery(ctx, record.RecoveryBootEntered, map[string]any{"entry_reason": "OPERATOR_INITIATED", "operator_uid": os.Geteuid()}); err != nil {
		return err
	}
	d.onClose(func() error {
		return d.recordRecovery(context.WithoutCancel(ctx), record.RecoveryBootExited, map[string]any{"exit_reason": "OPERATOR_TERMINATED", "operator_uid": os.Geteuid()})
	})
	desk, err := newRecoveryDesk(d)
	if err != nil {
		return err
	}
	other := d.cfg.AllowOther
	server, err := aiosfs.Mount(ctx, aiosfs.Options{
		Mountpoint: m.mountpoint, Store: d.store, Identity: d.ids.Catalog, Gate: gate{d.kernel}, Denials: denialSide{d.log, d.logger, &d.refused},
		Evidence: evidenceSide{d.log, d.evidenceDir(), desk}, Intents: desk, Recovery: true, FsName: m.source, Health: d.health, Status: d.status,
		MountOptions: m.options, AllowOther: &other, Debug: m.debug, Logger: d.logger,
	})
	if err != nil {
		return err
	}
	d.server.Store(server)
	d.watchPolicy(ctx)
	d.audit(ctx, auditRecovery, auditRecovery)
	return nil
}

func (d *daemon) recordRecovery(ctx context.Context, t record.Type, payload map[string]any) error {
	_, err := d.log.Append(ctx, evidence.Draft{Type: t, Emitter: string(record.EmitterRecovery), Subject: "_system:service:recovery", Scope: "_system", Payload: payload})
	if err != nil {
		return fmt.Errorf("record the recovery: %w", err)
	}
	return nil
}
