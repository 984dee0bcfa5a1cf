package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
)

// What recovery does to versions (filesystem.md §4, §7): it looks at the history of a file of
// the system and rolls it back, and puts versions in quarantine or ends that, with the reason
// of the document. No group's file is read or changed: a version is only named.
func init() {
	maps.Copy(operations, map[string]operation{
		"aiosfs.object.history":     {policy.Read, systemFile(""), showHistory},
		"aiosfs.pointer.rollback":   {policy.Mutate, systemFile("version"), rollBack},
		"aiosfs.version.quarantine": {policy.Mutate, someVersion, quarantineVersion},
		"aiosfs.version.release":    {policy.Mutate, someVersion, releaseVersion},
	})
}

// systemPath is the path of an action's target, without the mount.
func systemPath(s plan.Step) (string, namespace.Path, error) {
	name, err := field(s.Target, "path")
	if err != nil {
		return "", namespace.Path{}, err
	}
	at, err := namespace.Resolve("/aios/" + strings.TrimPrefix(strings.TrimPrefix(name, "/aios/"), "/"))
	if err == nil && (at.Scope != namespace.ScopeSystem || at.Reserved.Key == "") {
		err = fmt.Errorf("%s is none of system/: recovery changes nobody's files", name)
	}
	return strings.TrimPrefix(at.String(), "/aios/"), at, err
}

// systemFile is a target that is a file of system/, with one word of params where one is named.
func systemFile(param string) func(plan.Step) (policy.Target, error) {
	return func(s plan.Step) (policy.Target, error) {
		path, at, err := systemPath(s)
		switch {
		case err != nil:
		case param == "" && len(s.Params) != 0:
			err = errors.New("it has no params")
		case param == "version":
			_, err = versionOf(s.Params)
		}
		return policy.Target{Scope: "SYSTEM", Reserved: at.Reserved.Key, Path: path}, err
	}
}

func versionOf(m map[string]any) (objects.ID, error) {
	name, err := field(m, "version")
	if err != nil {
		return objects.ID{}, err
	}
	id, err := objects.ParseID(name)
	if err == nil && !strings.HasPrefix(name, "ver_") {
		err = fmt.Errorf("%s is no version", name)
	}
	return id, err
}

func someVersion(s plan.Step) (policy.Target, error) {
	_, err := versionOf(s.Target)
	if err == nil && len(s.Params) != 0 {
		err = errors.New("it has no params: the document's reason says why")
	}
	return policy.Target{Scope: "SYSTEM", Reserved: "SYS_RECOVERY", Path: "system/recovery"}, err
}

func showHistory(ctx context.Context, k *recoveryDesk, p *petition) error {
	path, _, err := systemPath(p.step)
	if err != nil {
		return err
	}
	a, err := k.d.store.Resolve(path)
	if err != nil {
		return err
	}
	vs, err := k.d.store.Versions(a.Object)
	if err != nil {
		return err
	}
	var list []any
	for _, v := range vs {
		list = append(list, map[string]any{"version_id": v.ID.String(), "created_at": v.CreatedAt.Format(time.RFC3339Nano), "created_by": v.CreatedBy,
			"size": v.Size, "state": v.State, "content_hash": v.Hash, "current": v.ID == a.Version})
	}
	p.result = map[string]any{"path": "/aios/" + path, "object_id": a.Object.String(), "versions": list}
	_, err = k.d.log.Append(ctx, k.performed(p, ""))
	return err
}

func rollBack(ctx context.Context, k *recoveryDesk, p *petition) error {
	path, at, err := systemPath(p.step)
	if err != nil {
		return err
	}
	id, err := versionOf(p.step.Params)
	if err != nil {
		return err
	}
	scope, ok := mutableScopes[at.Reserved.Name]
	if !ok {
		return fmt.Errorf("system/%s is not changed in recovery", at.Reserved.Name)
	}
	a, err := k.d.store.Resolve(path)
	if err != nil {
		return err
	}
	v, err := k.d.store.Version(id)
	if err != nil || v.Object != a.Object {
		return fmt.Errorf("%s is no version of %s: %w", id, path, objects.ErrNotFound)
	}
	p.result = map[string]any{"path": "/aios/" + path, "object_id": a.Object.String(), "from_version_id": a.Version.String(), "to_version_id": id.String()}
	return k.commit(ctx, p, scope, func(tx *objects.Tx) error {
		tx.Adopt(path, a.Object, id, objects.WriteOptions{Expect: &a.Version})
		return nil
	})
}

// mutableScopes are the names of system/ whose files a typed action of recovery may change
// (RecoveryMutableScope, S9.1 §3). What is rolled back is in force from the next start.
var mutableScopes = map[string]string{
	"policy": "POLICY_BUNDLE", "capabilities": "CAPABILITY_CATALOG", "vault": "VAULT_ROOT_MATERIAL", "governance": "INVARIANT_BUNDLE", "identity": "IDENTITY_BUNDLE",
	"recovery": "RECOVERY_OPERATOR_REGISTRATION", "kernel": "DEDICATED_KERNEL_PROMOTION", "boot": "L1_BOOT_PARAMETERS", "firstboot": "SYS_FIRSTBOOT_RESET", "firmware": "FIRMWARE_VERSION_COUNTER",
}

func quarantineVersion(ctx context.Context, k *recoveryDesk, p *petition) error {
	return k.review(ctx, p, objects.Quarantined, func(tx *objects.Tx, id objects.ID) error {
		tx.Quarantine(id, p.reason)
		return nil
	})
}

func releaseVersion(ctx context.Context, k *recoveryDesk, p *petition) error {
	return k.review(ctx, p, objects.VerifiedState, func(tx *objects.Tx, id objects.ID) error { return tx.Release(id, p.reason) })
}

func (k *recoveryDesk) review(ctx context.Context, p *petition, state objects.VersionState, do func(*objects.Tx, objects.ID) error) error {
	id, err := versionOf(p.step.Target)
	if err != nil {
		return err
	}
	if strings.TrimSpace(p.reason) == "" {
		return errors.New("the document must say why: reason: …")
	}
	p.result = map[string]any{"version_id": id.String(), "state": state.String(), "reason": p.reason}
	return k.commit(ctx, p, "", func(tx *objects.Tx) error { return do(tx, id) })
}

// commit does something in one transaction with the record of it.
func (k *recoveryDesk) commit(ctx context.Context, p *petition, scope string, do func(*objects.Tx) error) error {
	tx := k.d.store.Begin(objects.Cred{Subject: p.by.Subject.ID}, "")
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Discard())
	}
	tx.Emit(k.performed(p, scope))
	_, err := tx.Commit(ctx)
	return err
}
