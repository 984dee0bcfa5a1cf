package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	aiosfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/bundle"
)

// bundleFiles is the policy bundle of a state directory: what lies there, and of that
// what is in force.
type bundleFiles struct {
	d     *daemon
	dir   string
	trust bundle.Trust
	mu    sync.Mutex
	shown map[string][]aiosfs.Entry // of the bundle in force, by directory
	said  string                    // the last refusal, which is not recorded twice
}

// openPolicy starts the kernel with the policy bundle of the state directory, and makes
// and signs the default one at the first start. One that does not hold leaves the kernel
// degraded: it then denies what is not denied already, and says so.
func (d *daemon) openPolicy(ctx context.Context) error {
	root, err := key(d.cfg.State, "policy-root")
	if err != nil {
		return err
	}
	publisher, err := key(d.cfg.State, "policy-publisher")
	if err != nil {
		return err
	}
	dir := filepath.Join(d.cfg.State, "policy")
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); errors.Is(err, fs.ErrNotExist) {
		if err := writeDefaultPolicy(dir, root, publisher); err != nil {
			return fmt.Errorf("make the default policy: %w", err)
		}
	}
	host, _ := os.Hostname() // an empty one only makes system.host_id unset
	if d.kernel, err = policy.New(policy.Options{HostID: host}); err != nil {
		return err
	}
	d.bundle = &bundleFiles{d: d, dir: dir, trust: bundle.Trust{Root: root.Public().(ed25519.PublicKey), Publisher: publisher.Public().(ed25519.PublicKey)}}
	return d.bundle.reload(ctx)
}

// reload puts the bundle that lies in the state directory in force. One that does not
// hold changes nothing but the log: the bundle that was in force stays (S14.1 §4.1). The
// error is only that of a log that does not take the record.
func (f *bundleFiles) reload(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.d.kernel.Info()
	shown, err := f.files()
	var b *bundle.Bundle
	if err == nil {
		b, err = bundle.Load(os.DirFS(f.dir), f.trust, policy.HardDenyIDs())
	}
	if err == nil && b.Version != was.BundleVersion {
		_, err = policy.New(policy.Options{Bundle: b}) // that it compiles is known before it is recorded
	}
	if err != nil {
		return f.refuse(ctx, err, was)
	}
	f.said = ""
	if b.Version == was.BundleVersion {
		f.shown = shown
		return nil
	}
	// The record comes before the effect: no decision by rules that the log does not know.
	if err := f.record(ctx, record.PolicyBundleLoad, map[string]any{"bundle_version": b.Version, "previous_bundle_version": was.BundleVersion, "rules": len(b.Rules)}); err != nil {
		return err
	}
	if f.d.recovery {
		if err := f.d.recordRecovery(ctx, record.RecoveryOperationPerformed, map[string]any{"mutable_scope": "POLICY_BUNDLE", "target_path": "/aios/system/policy", "bundle_version": b.Version, "previous_bundle_version": was.BundleVersion}); err != nil {
			return err
		}
	}
	if err := f.d.kernel.Load(b); err != nil {
		return err
	}
	f.shown = shown
	if was.BundleVersion != "" {
		f.d.logger.Info("another policy bundle is in force", "version", b.Version, "was", was.BundleVersion, "rules", len(b.Rules))
	}
	return nil
}

// refuse tells of a bundle that does not hold.
func (f *bundleFiles) refuse(ctx context.Context, why error, was policy.Info) error {
	if f.said == why.Error() {
		return nil
	}
	f.said = why.Error()
	if was.Degraded {
		f.d.logger.Error("the policy bundle does not hold: everything is denied", "error", why, "dir", f.dir)
	} else {
		f.d.logger.Error("the policy bundle does not hold: the one before stays in force", "error", why, "dir", f.dir, "in_force", was.BundleVersion)
	}
	code := bundle.CodeOf(why)
	payload := map[string]any{"error_code": code, "reason": printable(why.Error()), "kept_bundle_version": was.BundleVersion, "degraded": was.Degraded}
	t := record.PolicyBundleRejected
	if code == "InvariantLooseningAttempted" {
		t, _ = record.Orphan("INVARIANT_LOOSENING_REJECTED") // its nearest is the same type
		payload[record.DetailKind] = "INVARIANT_LOOSENING_REJECTED"
	}
	return f.record(ctx, t, payload)
}

func (f *bundleFiles) record(ctx context.Context, t record.Type, payload map[string]any) error {
	_, err := f.d.log.Append(ctx, evidence.Draft{Type: t, Emitter: string(record.EmitterPolicy), Subject: "_system:service:policy-kernel", Scope: "_system", Payload: payload})
	if err != nil {
		return fmt.Errorf("record the policy bundle: %w", err)
	}
	return nil
}

// files reads what policy/ shows once the bundle is in force.
func (f *bundleFiles) files() (map[string][]aiosfs.Entry, error) {
	m := map[string][]aiosfs.Entry{}
	for _, dir := range []string{"", "rules", "signatures"} {
		list, err := hostFiles(f.dir, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		m[dir] = list
	}
	return m, nil
}

// policySide is policy/: the bundle in force, as files. What lies in the state directory
// and was refused is not shown.
type policySide struct{ f *bundleFiles }

func (p policySide) List(ctx context.Context, c aiosfs.Caller, dir string) ([]aiosfs.Entry, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	list, ok := p.f.shown[dir]
	if !ok && dir != "" {
		return nil, fs.ErrNotExist
	}
	return list, nil
}

func writeDefaultPolicy(dir string, root, publisher ed25519.PrivateKey) error {
	src := bundle.Default()
	files := map[string][]byte{}
	err := fs.WalkDir(src, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(src, name)
		return err
	})
	if err != nil {
		return err
	}
	sigs, err := bundle.Sign(src, root, publisher)
	if err != nil {
		return err
	}
	for name, b := range sigs {
		files[name] = b
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	// The manifest comes last: without it the next start begins anew.
	sort.Slice(names, func(i, j int) bool {
		return names[j] == "manifest.json" || names[i] != "manifest.json" && names[i] < names[j]
	})
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := writeSynced(file, files[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}
