// Package repo brings git repositories into the tree (S10.1 §10).
//
// Real git runs confined in a scratch directory (gitbox), before anything is staged: a
// clone that fails half-way has touched nothing. What came out of it is then staged into
// the plan's one transaction, as any other change of objects.
package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	"github.com/ai-os-dot-net/aios/agents/internal/confine"
	"github.com/ai-os-dot-net/aios/agents/internal/gitbox"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
)

// Adapter is the adapter `repo`.
type Adapter struct {
	s       *objects.Store
	scratch string
}

// New makes the adapter over a store; git works in boxes below scratch.
func New(s *objects.Store, scratch string) *Adapter { return &Adapter{s, scratch} }

// timeout is how long git may take (S10.1 §14.2: at most 300 s).
const timeout = 300 * time.Second

// Manifest declares the two kinds.
func (a *Adapter) Manifest() adapter.Manifest {
	risk := policy.Risk{NetworkExposure: true}
	return adapter.Manifest{ID: "repo", Version: "1", Stability: adapter.Stable, Dispatch: adapter.InProcess, Kinds: []adapter.Kind{
		{Action: "repo.clone", Class: policy.Mutate, Rollback: adapter.RollbackTransaction, Risk: risk, Timeout: timeout},
		{Action: "repo.fetch", Class: policy.Mutate, Rollback: adapter.RollbackTransaction, Risk: risk, Timeout: timeout},
	}}
}

// Ready says whether git can be walled in here.
func (a *Adapter) Ready() error { return confine.Ready() }

// prepared is what git left in its box.
type prepared struct {
	box  *gitbox.Box
	dir  string       // of the repository in it
	was  aiosfs.State // the tree that a fetch started from
	head string
}

// Prepare runs git. The answer's Close removes the box.
func (a *Adapter) Prepare(ctx context.Context, r adapter.Request) (adapter.Prepared, error) {
	box, err := gitbox.New(a.scratch, r.UID, r.GID, r.Groups, timeout)
	if err != nil {
		return adapter.Prepared{}, err
	}
	p := &prepared{box: box, dir: filepath.Join(box.Dir, "repository")}
	run := a.clone
	if r.Step.Action == "repo.fetch" {
		run = a.fetch
	}
	if err := run(ctx, r, p); err != nil {
		return adapter.Prepared{}, errors.Join(failure(err), box.Close())
	}
	return adapter.Prepared{Data: p, Walls: walls(box.Applied), Close: box.Close}, nil
}

func walls(a confine.Applied) map[string]any {
	return map[string]any{"profile": gitbox.ProfileID, "landlock_abi": a.Landlock, "seccomp": a.Seccomp, "no_new_privs": a.NoNewPrivs,
		"namespaces": a.Namespaces, "cgroup": a.Cgroup, "capabilities": a.CapEff}
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// source finds where a repository comes from; one in the tree is copied into the box, as
// far as the submitter may read it.
func (a *Adapter) source(ctx context.Context, r adapter.Request, p *prepared, s string) (gitbox.Source, error) {
	if s == plan.Root || strings.HasPrefix(s, plan.Root+"/") {
		dir := filepath.Join(p.box.Dir, "source")
		if _, err := aiosfs.Export(ctx, a.s, r, aiosfs.Rooted(r.Subject, s), dir, p.box.Own); err != nil {
			return gitbox.Source{}, err
		}
		return gitbox.Source{Path: dir}, nil
	}
	src, err := gitbox.ParseSource(s)
	if err == nil && src.Path != "" {
		if _, e := os.Stat(src.Path); e != nil {
			err = fmt.Errorf("%w: there is no repository at that path", gitbox.ErrSource)
		}
	}
	return src, err
}

func (a *Adapter) clone(ctx context.Context, r adapter.Request, p *prepared) error {
	// What is there already is found before anything is fetched; staging looks again.
	if at, err := a.s.Resolve(aiosfs.Rooted(r.Subject, text(r.Step.Target, "path"))); err == nil {
		return adapter.Fail("aiosfs.Exists", "%s: %w", at.Object, objects.ErrExist)
	}
	src, err := a.source(ctx, r, p, text(r.Step.Params, "url"))
	if err != nil {
		return err
	}
	args := []string{"clone", "--no-local", "--no-recurse-submodules", "--template=", "--quiet"}
	if b := text(r.Step.Params, "branch"); b != "" {
		args = append(args, "--branch="+b)
	}
	if d, ok := number(r.Step.Params["depth"]); ok {
		args = append(args, fmt.Sprintf("--depth=%d", d))
	}
	if _, err := p.box.Run(ctx, src, append(args, "--", src.Text(), p.dir)...); err != nil {
		return err
	}
	if s := text(r.Step.Params, "url"); s != src.Text() { // the box's own path is of no use to anybody later
		if _, err := p.box.Run(ctx, gitbox.Source{}, "-C", p.dir, "remote", "set-url", "origin", s); err != nil {
			return err
		}
	}
	return a.look(ctx, p)
}

// look reads the head and has git check what it wrote.
func (a *Adapter) look(ctx context.Context, p *prepared) error {
	if _, err := p.box.Run(ctx, gitbox.Source{}, "-C", p.dir, "fsck", "--connectivity-only", "--no-dangling", "--no-progress"); err != nil {
		return err
	}
	out, err := p.box.Run(ctx, gitbox.Source{}, "-C", p.dir, "rev-parse", "--verify", "--quiet", "HEAD")
	if err == nil {
		p.head = strings.TrimSpace(string(out))
	}
	return nil // an empty repository has no head, and is one
}

func (a *Adapter) fetch(ctx context.Context, r adapter.Request, p *prepared) error {
	was, err := aiosfs.Export(ctx, a.s, r, aiosfs.Rooted(r.Subject, text(r.Step.Target, "path"))+"/.git", filepath.Join(p.box.Dir, "git"), p.box.Own)
	if err != nil {
		return err
	}
	p.was, p.dir = was, filepath.Join(p.box.Dir, "git")
	remote := text(r.Step.Params, "remote")
	if remote == "" {
		remote = "origin"
	}
	out, err := p.box.Run(ctx, gitbox.Source{}, "--git-dir", p.dir, "config", "--local", "--no-includes", "--get", "remote."+remote+".url")
	if err != nil {
		return fmt.Errorf("%w: there is no remote %q", gitbox.ErrSource, remote)
	}
	src, err := a.source(ctx, r, p, strings.TrimSpace(string(out)))
	if err != nil {
		return err
	}
	spec := "+refs/heads/*:refs/remotes/" + remote + "/*"
	if _, err := p.box.Run(ctx, src, "--git-dir", p.dir, "fetch", "--quiet", "--no-recurse-submodules", "--no-auto-gc", "--no-write-fetch-head", "--", src.Text(), spec); err != nil {
		return err
	}
	return a.look(ctx, p)
}

func number(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case float64:
		return int64(n), true
	}
	return 0, false
}

// Stage puts what git made into the transaction.
func (a *Adapter) Stage(ctx context.Context, b *adapter.Batch, r adapter.Request) (adapter.Output, error) {
	p, ok := b.Prepared[r.ActionID].(*prepared)
	if !ok {
		return adapter.Output{}, adapter.Fail("repo.NotPrepared", "git has not run for this action")
	}
	to := aiosfs.Rooted(r.Subject, text(r.Step.Target, "path"))
	data := map[string]any{"path": plan.Root + "/" + to, "head": p.head}
	if p.was != nil {
		n, err := aiosfs.Merge(ctx, b, r, to+"/.git", p.dir, p.was)
		data["files_changed"] = n
		return adapter.Output{Changed: n > 0, Data: data}, err
	}
	files, size, err := aiosfs.Import(ctx, b, r, to, p.dir)
	data["files"], data["bytes"] = files, size
	return adapter.Output{Changed: true, Data: data}, err
}

// Simulate says what would be made; it looks at nothing outside.
func (a *Adapter) Simulate(_ context.Context, r adapter.Request) ([]adapter.Preview, error) {
	p := plan.Root + "/" + aiosfs.Rooted(r.Subject, text(r.Step.Target, "path"))
	if r.Step.Action == "repo.fetch" {
		return []adapter.Preview{{Path: p + "/.git", Note: "new commits of its remote"}}, nil
	}
	s := text(r.Step.Params, "url")
	if s != plan.Root && !strings.HasPrefix(s, plan.Root+"/") {
		if _, err := gitbox.ParseSource(s); err != nil {
			return nil, failure(err)
		}
	}
	return []adapter.Preview{{Path: p, Note: "a clone of " + s}}, nil
}

// failure gives an error its code.
func failure(err error) error {
	var has *adapter.Error
	switch {
	case errors.As(err, &has):
		return err
	case errors.Is(err, gitbox.ErrSource):
		return &adapter.Error{Code: "repo.SourceRefused", Err: err}
	case errors.Is(err, gitbox.ErrNoGit):
		return &adapter.Error{Code: "repo.GitMissing", Err: err}
	case errors.Is(err, gitbox.ErrGit):
		return &adapter.Error{Code: "repo.GitFailed", Retryable: true, Err: err}
	case errors.Is(err, confine.ErrBackend):
		return &adapter.Error{Code: "REQUIRED_BACKEND_UNAVAILABLE", Err: err}
	case errors.Is(err, confine.ErrApply):
		return &adapter.Error{Code: "SANDBOX_APPLICATION_FAILED", Err: err}
	}
	return err
}
