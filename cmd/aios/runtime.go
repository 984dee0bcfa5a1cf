package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents"
	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	idadapter "github.com/ai-os-dot-net/aios/agents/adapter/identity"
	"github.com/ai-os-dot-net/aios/agents/adapter/process"
	"github.com/ai-os-dot-net/aios/agents/adapter/repo"
	"github.com/ai-os-dot-net/aios/agents/translate"
	"github.com/ai-os-dot-net/aios/evidence"
	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/identity"
	"github.com/ai-os-dot-net/aios/views"
	"github.com/ai-os-dot-net/aios/views/index"
)

// startRuntime starts what carries intents out and what answers queries, and gives
// both to the mount.
func (d *daemon) startRuntime(ctx context.Context, o *mountfs.Options) error {
	x, err := index.Open(index.Options{Dir: indexDir(d.cfg.State), Store: d.store, Logger: d.logger})
	if err != nil {
		return fmt.Errorf("open the search index: %w", err)
	}
	d.onClose(x.Close)
	d.mapped = append(d.mapped, x.Mapped)
	running, stop := context.WithCancel(ctx)
	again := &reindexing{x: x, ctx: running}
	d.onClose(func() error { stop(); again.work.Wait(); return nil })
	asked := querySide{d.log}
	v := views.New(views.Deps{Store: d.store, Index: x, Record: asked.record, Sum: asked.sum, SumEvery: d.cfg.EpochInterval,
		Evidence: evidenceSide{log: d.log}.records, Actions: d.actionRows, Logger: d.logger})
	d.onClose(v.Close)
	o.Views = viewSide{v, again}

	root, err := key(d.cfg.State, "catalog")
	if err != nil {
		return err
	}
	text, err := translate.DefaultBundle(root)
	if err != nil {
		return fmt.Errorf("sign the action catalogue: %w", err)
	}
	catalog, err := translate.Load(text, translate.Trust{Root: root.Public().(ed25519.PublicKey)})
	if err != nil {
		return fmt.Errorf("load the action catalogue: %w", err)
	}
	approvals, err := key(d.cfg.State, "approval")
	if err != nil {
		return err
	}
	scratch, err := agents.Scratch(d.cfg.State)
	if err != nil {
		return err
	}
	d.onClose(func() error { return os.RemoveAll(scratch) })
	if d.cfg.AIRate == (agents.Rate{}) {
		return fmt.Errorf("ai_rate cannot be off: %v at most, or less", agents.ReferenceAI)
	}
	var onlyFor *uint32
	if !d.cfg.AllowOther {
		uid := uint32(os.Geteuid())
		onlyFor = &uid
	}
	d.runtime, err = agents.New(ctx, agents.Deps{
		Store: d.store, Log: d.log, Kernel: d.kernel, Identity: d.ids, Translator: translate.New(catalog), Resolver: resolver{},
		Adapters: []adapter.Adapter{aiosfs.New(d.store), idadapter.New(book{d}), process.Adapter{}, repo.New(d.store, scratch)}, Scratch: scratch,
		OnlyFor: onlyFor, HumanRate: d.cfg.HumanRate, AIRate: d.cfg.AIRate, EnrichTime: d.cfg.PolicyTimeout, ApprovalKey: approvals, Logger: d.logger,
	})
	if err != nil {
		return fmt.Errorf("start the runtime: %w", err)
	}
	d.onClose(d.runtime.Close)
	side := intentSide{d.runtime, d.log}
	o.Intents, o.Actions = side, actionSide{side}
	return nil
}

// resolver reads path strings by the namespace's table.
type resolver struct{}

func (resolver) Resolve(path string) (policy.Target, error) {
	p, err := namespace.Resolve("/aios/" + path)
	if err != nil {
		var e *namespace.ResolutionError
		if errors.As(err, &e) {
			return policy.Target{}, &agents.ResolveError{Code: e.Code.String(), Segment: e.Segment, Message: strings.TrimSuffix(e.Error()+": "+e.Advice(), ": ")}
		}
		return policy.Target{}, err
	}
	return policy.Target{Scope: p.Scope.String(), Group: p.Group, User: p.User, Reserved: p.Reserved.Key, Path: path}, nil
}

// book is the identity catalogue, as the adapter that changes it sees it.
type book struct{ d *daemon }

func (b book) Catalog() *identity.Catalog        { return b.d.ids.Catalog() }
func (b book) Encode(c *identity.Catalog) []byte { return c.Marshal(b.d.ids.key) }

// Use puts a catalogue in force that is durable, and lets the mount make the
// directories that belong to it and forget what the kernel remembers.
func (b book) Use(c *identity.Catalog) {
	b.d.ids.cat.Store(c)
	server := b.d.server.Load()
	if server == nil {
		return
	}
	if err := server.Reload(context.Background()); err != nil {
		b.d.logger.Error("the directories of a new group or user are not all there", "error", err)
	}
}

// GroupDirs is the group's own directory; the mount makes the reserved ones in it.
func (b book) GroupDirs(c *identity.Catalog, group string) []idadapter.Dir {
	g, _ := c.Group(group)
	return []idadapter.Dir{{Path: "groups/" + group, Mode: 0o750, GID: g.GID, ScopeKind: objects.ScopeGroup, Group: group}}
}

func (b book) UserDirs(c *identity.Catalog, group, user string, uid uint32) []idadapter.Dir {
	return nil
}

func (b book) AgentDirs(c *identity.Catalog, id string) []idadapter.Dir { return nil }

// intentSide is intents/: the runtime, in the mount's words.
type intentSide struct {
	rt  *agents.Runtime
	log *evidence.Log
}

// submitter is a caller whom the kernel named and the identity catalogue knows: here the
// log is asked for the key that lets the evidence of what he does speak for him.
func (s intentSide) submitter(c mountfs.Caller) agents.Submitter {
	return agents.Submitter{Key: s.log.KeyFor(c.Subject.ID, c.Subject.IsAI), Subject: c.Subject, UID: c.UID, GID: c.GID, PID: c.PID, Groups: c.Groups, IssuedBy: "mount"}
}

// translated gives the runtime's errors the mount's names.
func translated(err error) error {
	var bad *agents.IntentError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad):
		return &mountfs.IntentError{Code: bad.Code, Message: bad.Message, Line: bad.Line, Column: bad.Column}
	case errors.Is(err, agents.ErrBusy):
		return fmt.Errorf("%w: %w", mountfs.ErrBusy, err)
	case errors.Is(err, agents.ErrNotFound):
		return fmt.Errorf("%w: %w", mountfs.ErrNotFound, err)
	case errors.Is(err, agents.ErrDenied):
		return fmt.Errorf("%w: %w", mountfs.ErrDenied, err)
	case errors.Is(err, agents.ErrAgain), errors.Is(err, agents.ErrClosed):
		return fmt.Errorf("%w: %w", mountfs.ErrAgain, err)
	case errors.Is(err, agents.ErrInvalid):
		return fmt.Errorf("%w: %w", mountfs.ErrInvalid, err)
	}
	return err
}

func (s intentSide) Submit(ctx context.Context, c mountfs.Caller, name string, doc []byte) error {
	return translated(s.rt.Submit(ctx, s.submitter(c), name, doc))
}

func (s intentSide) Runs(c mountfs.Caller) []mountfs.RunInfo {
	return runInfos(s.rt.Runs(s.submitter(c)))
}

func (s intentSide) Find(c mountfs.Caller, name string) (mountfs.RunInfo, bool) {
	r, ok := s.rt.Find(s.submitter(c), name)
	return runInfos([]agents.RunInfo{r})[0], ok
}

// Inbox lists what waits for the caller, by run id.
func (s intentSide) Inbox(c mountfs.Caller) []mountfs.RunInfo {
	return byID(s.rt.Inbox(s.submitter(c)))
}

// GroupInbox lists what waits for a group, by run id.
func (s intentSide) GroupInbox(c mountfs.Caller, group string) []mountfs.RunInfo {
	return byID(s.rt.GroupInbox(s.submitter(c), group))
}

func byID(in []agents.RunInfo) []mountfs.RunInfo {
	list := runInfos(in)
	for i := range list {
		list[i].Name = list[i].ID
	}
	return list
}

func runInfos(in []agents.RunInfo) []mountfs.RunInfo {
	out := make([]mountfs.RunInfo, len(in))
	for i, r := range in {
		out[i] = mountfs.RunInfo{Name: r.Name, ID: r.ID, Accepted: r.Accepted, DocSize: r.DocSize}
	}
	return out
}

func (s intentSide) Done(c mountfs.Caller) []string { return s.rt.Done(s.submitter(c)) }

func (s intentSide) List(c mountfs.Caller, run, dir string) ([]mountfs.FileInfo, error) {
	list, err := s.rt.List(s.submitter(c), run, dir)
	out := make([]mountfs.FileInfo, len(list))
	for i, f := range list {
		out[i] = mountfs.FileInfo(f)
	}
	return out, translated(err)
}

func (s intentSide) Stat(c mountfs.Caller, run, file string) (mountfs.FileInfo, error) {
	f, err := s.rt.Stat(s.submitter(c), run, file)
	return mountfs.FileInfo(f), translated(err)
}

func (s intentSide) Read(c mountfs.Caller, run, file string) ([]byte, error) {
	b, err := s.rt.Read(s.submitter(c), run, file)
	return b, translated(err)
}

func (s intentSide) Stream(ctx context.Context, c mountfs.Caller, run, file string) (io.ReadCloser, error) {
	r, err := s.rt.Stream(ctx, s.submitter(c), run, file)
	return r, translated(err)
}

func (s intentSide) Write(ctx context.Context, c mountfs.Caller, run, file string, data []byte) error {
	return translated(s.rt.Write(ctx, s.submitter(c), run, file, data))
}

func (s intentSide) Document(c mountfs.Caller, run string) ([]byte, error) {
	b, err := s.rt.Document(s.submitter(c), run)
	return b, translated(err)
}

// actionSide carries out what mkdir at the closed levels stands for: the same typed
// action as an intent's, by the same caller, with the same evidence.
type actionSide struct{ intents intentSide }

func (a actionSide) CreateGroup(ctx context.Context, c mountfs.Caller, name string) error {
	return a.do(ctx, c, "mkdir-group-"+name, fmt.Sprintf("schema: aios.intent.v1alpha1\nreason: mkdir groups/%[1]s\nactions:\n  - id: create\n    action: group.create\n    target: {group: %[1]q}\n", name))
}

func (a actionSide) AddUser(ctx context.Context, c mountfs.Caller, group, name string) error {
	return a.do(ctx, c, "mkdir-user-"+group+"-"+name, fmt.Sprintf("schema: aios.intent.v1alpha1\nreason: mkdir groups/%[1]s/users/%[2]s\nactions:\n  - id: add\n    action: group.add_user\n    target: {group: %[1]q, user: %[2]q}\n", group, name))
}

func (a actionSide) do(ctx context.Context, c mountfs.Caller, name, doc string) error {
	if err := a.intents.Submit(ctx, c, name, []byte(doc)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	state, err := a.intents.rt.Wait(ctx, a.intents.submitter(c), name)
	switch {
	case err != nil:
		return translated(err)
	case state == "POLICY_DENIED":
		return fmt.Errorf("%s: %w", name, mountfs.ErrDenied)
	case state != "SUCCEEDED":
		return fmt.Errorf("%s is %s: %w", name, state, mountfs.ErrInvalid)
	}
	return nil
}
