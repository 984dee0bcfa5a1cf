package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ai-os-dot-net/aios/agents"
	"github.com/ai-os-dot-net/aios/evidence"
	aiosfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
)

// daemon is everything behind one mount. The parts are opened from the bottom up and
// closed in the opposite order: the log last, since every part below may still write to it.
type daemon struct {
	cfg     config
	logger  *slog.Logger
	lock    *os.File
	log     *evidence.Log
	store   *objects.Store
	ids     *identities
	kernel  *policy.Kernel
	bundle  *bundleFiles
	server  atomic.Pointer[aiosfs.Server]
	runtime *agents.Runtime
	first   bool
	started time.Time
	refused refusedOps
	closers []func() error
	// mapped tell which files are in memory; set while the daemon is made.
	mapped []mapper
	// recovery is set once, before the mount, when it is one for recovery.
	recovery bool
}

// mountSettings are what -o and the flags of one mount say.
type mountSettings struct {
	mountpoint string
	source     string   // shown by df and findmnt, "aios" when it is empty
	options    []string // passed to the kernel
	readOnly   bool
	atime      objects.AtimeRule
	noDirAtime bool
	recovery   bool
	clock      bool // an operator says that it is right
	debug      bool
	profiles   string // the socket that go tool pprof asks
}

// openDaemon opens the state directory and everything in it; nothing is mounted yet.
func openDaemon(ctx context.Context, cfg config, logger *slog.Logger) (*daemon, error) {
	return openAccepting(ctx, cfg, logger, false)
}

// openAccepting opens with an operator's word, or without it, that the clock is right.
func openAccepting(ctx context.Context, cfg config, logger *slog.Logger, clock bool) (*daemon, error) {
	debug.SetMemoryLimit(cfg.MemoryLimit << 20 * heapShare / 100)
	lock, first, err := openState(cfg.State)
	if err != nil {
		return nil, err
	}
	d := &daemon{cfg: cfg, logger: logger, lock: lock, first: first, started: time.Now()}
	d.onClose(lock.Close)
	if err := d.open(ctx, clock); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *daemon) onClose(fn func() error) { d.closers = append(d.closers, fn) }

func (d *daemon) close() error {
	// Who waits for the state may know that it is worth while; the lock tells it anyway.
	_, _ = d.lock.WriteAt([]byte(leaving), 0)
	var err error
	for i := len(d.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, d.closers[i]())
	}
	d.closers = nil
	return err
}

// drainTime bounds how long a start waits for the log to take what a crash left.
const drainTime = 10 * time.Second

func (d *daemon) open(ctx context.Context, clock bool) error {
	logKey, err := key(d.cfg.State, "evidence")
	if err != nil {
		return err
	}
	d.log, err = evidence.Open(ctx, evidence.Options{Dir: d.evidenceDir(), Key: logKey, SealAge: d.cfg.SealAge, Anchor: d.cfg.EvidenceAnchor, RequireKeys: true, Logger: d.logger})
	if err != nil {
		return fmt.Errorf("open the evidence log: %w", err)
	}
	d.onClose(d.log.Close)
	if err := d.checkClock(ctx, clock); err != nil {
		return err
	}
	d.store, err = objects.Open(ctx, objects.Options{Dir: d.cfg.State, Log: d.log, EpochInterval: d.cfg.EpochInterval, VersionInterval: d.cfg.VersionInterval, Retention: d.cfg.Retention, Logger: d.logger})
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	d.onClose(d.store.Close)
	d.mapped = append(d.mapped, d.store.Mapped)
	// What a crash left of the evidence is in the log before anybody looks for it; a log
	// that does not take it now gets it later.
	drained, cancel := context.WithTimeout(ctx, drainTime)
	if err := d.store.WaitEvidence(drained); err != nil {
		d.logger.Warn("evidence of the last run is still on its way to the log", "error", err)
	}
	cancel()
	idKey, err := key(d.cfg.State, "identity")
	if err != nil {
		return err
	}
	if d.ids, err = openIdentities(ctx, d.store, idKey, d.cfg.GIDBase, d.cfg.ownApproval()); err != nil {
		return err
	}
	d.log.UseSubjects(d.ids)
	return d.openPolicy(ctx)
}

func (d *daemon) evidenceDir() string { return filepath.Join(d.cfg.State, "evidence") }

// mount puts the tree into place.
func (d *daemon) mount(ctx context.Context, m mountSettings) error {
	if m.recovery {
		return d.mountRecovery(ctx, m)
	}
	o := aiosfs.Options{
		Mountpoint: m.mountpoint, Store: d.store, Identity: d.ids.Catalog, Gate: gate{d.kernel}, Denials: denialSide{d.log, d.logger, &d.refused},
		Evidence: evidenceSide{log: d.log, dir: d.evidenceDir()}, Policy: policySide{d.bundle}, Agents: agentsSide{d}, Apps: appsSide{},
		Health: d.health, Status: d.status, Metrics: d.metrics, ReadOnly: m.readOnly, MountOptions: m.options, AllowOther: &d.cfg.AllowOther, Transport: d.cfg.Transport, Debug: m.debug, Logger: d.logger,
		FsName: m.source, Atime: m.atime, NoDirAtime: m.noDirAtime, NoPassthrough: d.cfg.Passthrough == "off",
	}
	if err := d.startRuntime(ctx, &o); err != nil {
		return err
	}
	var box *spoolBox
	if d.cfg.Spool != "" && !m.readOnly {
		var err error
		if box, err = checkSpool(absolute(d.cfg.Spool)); err != nil {
			return err
		}
		d.onClose(box.Close)
	}
	before := d.ids.Catalog()
	server, err := aiosfs.Mount(ctx, o)
	if err != nil {
		return err
	}
	d.server.Store(server)
	if d.ids.Catalog() != before { // by a goal that a crash had interrupted: nobody could tell the mount
		if err := server.Reload(ctx); err != nil {
			return errors.Join(err, server.Unmount())
		}
	}
	d.watchPolicy(ctx)
	d.audit(ctx, auditAfter, auditEvery)
	idle, stop := context.WithCancel(ctx)
	go trimMemory(idle, d.store.Rest)
	unmapping := make(chan struct{})
	go func() { defer close(unmapping); trimMapped(idle, d.cfg.MemoryLimit<<20, d.mapped, d.logger) }()
	d.onClose(func() error { stop(); <-unmapping; return nil })
	if box == nil {
		return nil
	}
	s, err := startSpool(ctx, box, o.Intents, d.ids.Catalog, server.Welcome, d.logger)
	if err != nil {
		return errors.Join(err, server.Unmount())
	}
	d.onClose(s.Close)
	return nil
}

// health says why nothing may be written; nil while all is well.
func (d *daemon) health() error {
	if err := d.store.Health(); err != nil {
		return err
	}
	return d.log.Health()
}

// status is what `aios status` shows of a running daemon.
func (d *daemon) status() map[string]any {
	info, head := d.kernel.Info(), d.log.Head()
	m := map[string]any{
		"version": version, "state_dir": d.cfg.State, "mode": "NORMAL", "started_at": d.started.UTC().Format(time.RFC3339), "pid": os.Getpid(),
		"namespace_catalog_version": namespace.Default.Version(), "identity_bundle_version": d.ids.Catalog().Version(), "single_operator": d.ids.Catalog().SingleOperator,
		"policy_bundle_version": info.BundleVersion, "policy_degraded": info.Degraded, "policy_rules": info.Rules, "hard_denies": info.HardDenies,
		"evidence_records": head.Size, "evidence_segment": head.Segment,
	}
	if d.runtime != nil {
		m["adapters"] = d.runtime.AdapterHealth()
	}
	if st, err := d.store.StatFS(); err == nil {
		m["free_bytes"] = st.Available * uint64(st.BlockSize)
	}
	return m
}

// hostFiles shows a small directory of the host, without following links.
func hostFiles(base, dir string) ([]aiosfs.Entry, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if dir == "" {
		dir = "."
	}
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var list []aiosfs.Entry
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		x := aiosfs.Entry{Name: e.Name(), Mtime: info.ModTime()}
		switch {
		case info.IsDir():
			x.Mode = sIFDIR | 0o555
		case info.Mode().IsRegular():
			b, err := root.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			x.Mode, x.Data = sIFREG|0o444, b
		default:
			continue
		}
		list = append(list, x)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// agentsSide is agents/: the AI subjects that the caller may know of.
type agentsSide struct{ d *daemon }

func (a agentsSide) List(ctx context.Context, c aiosfs.Caller, dir string) ([]aiosfs.Entry, error) {
	if dir != "" {
		return nil, fs.ErrNotExist
	}
	var list []aiosfs.Entry
	for _, x := range a.d.ids.Catalog().Agents {
		group, _, _ := strings.Cut(x.ID, ":")
		if !c.Subject.Admin && group != c.Subject.PrimaryGroup {
			continue
		}
		text := fmt.Sprintf("{\n  \"canonical_subject_id\": %q,\n  \"owner\": %q,\n  \"uid\": %d,\n  \"is_ai\": true\n}\n", x.ID, x.Owner, x.UID)
		list = append(list, aiosfs.Entry{Name: strings.ReplaceAll(x.ID, ":", ".") + ".json", Mode: sIFREG | 0o444, Data: []byte(text), Mtime: a.d.started})
	}
	return list, nil
}

// appsSide is apps/: none is installed.
type appsSide struct{}

func (appsSide) List(ctx context.Context, c aiosfs.Caller, dir string) ([]aiosfs.Entry, error) {
	if dir != "" {
		return nil, fs.ErrNotExist
	}
	return nil, nil
}
