package agents

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	"github.com/ai-os-dot-net/aios/agents/internal/gitbox"
	"github.com/ai-os-dot-net/aios/objects"
)

// maxHead bounds what a probe reads of a repository's HEAD and refs.
const maxHead = 4 << 10

var objectName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// probeRepo looks at a repository in the tree. repo.exists reads HEAD and refs and runs
// nothing (S2.4 §4); repo.clean copies the repository and asks a git of its own.
func (rt *Runtime) probeRepo(ctx context.Context, r *Run, k *Check, a *Action) {
	p := aiosfs.Rooted(r.By.Subject, arg(k.Args, "path_or_object", "object_or_path", "path"))
	head, err := rt.readSmall(p + "/.git/HEAD")
	if errors.Is(err, objects.ErrNotFound) || errors.Is(err, objects.ErrNotDir) {
		k.Detail = "there is no repository"
		return
	}
	if err != nil {
		k.Outcome, k.Detail = probeError, err.Error()
		return
	}
	if at, err := rt.d.Store.Resolve(p + "/.git/objects"); err != nil || at.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		k.Detail = "it has no objects"
		return
	}
	ref, symbolic := strings.CutPrefix(strings.TrimSpace(head), "ref: ")
	switch {
	case symbolic && strings.HasPrefix(ref, "refs/") && !strings.Contains(ref, ".."):
		k.Detail = "branch " + strings.TrimPrefix(ref, "refs/heads/")
		if rev, err := rt.readSmall(p + "/.git/" + ref); err == nil && objectName.MatchString(strings.TrimSpace(rev)) {
			k.Detail += ", revision " + strings.TrimSpace(rev)
		}
	case objectName.MatchString(strings.TrimSpace(head)):
		k.Detail = "revision " + strings.TrimSpace(head)
	default:
		k.Detail = "its HEAD says nothing that git understands"
		return
	}
	if k.Type == "repo.exists" {
		k.Outcome = passed
		return
	}
	rt.probeClean(ctx, r, k, a, p)
}

func (rt *Runtime) readSmall(p string) (string, error) {
	at, err := rt.d.Store.Resolve(p)
	if err != nil {
		return "", err
	}
	f, err := aiosfs.OpenFile(rt.d.Store, at.Ino)
	if err != nil {
		return "", err
	}
	b := make([]byte, maxHead)
	n, err := f.Read(b)
	if e := f.Close(); e != nil {
		return "", e
	}
	if n == 0 && err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

func (rt *Runtime) probeClean(ctx context.Context, r *Run, k *Check, a *Action, p string) {
	fail := func(err error) { k.Outcome, k.Detail = probeError, err.Error() }
	if rt.d.Scratch == "" {
		fail(errors.New("no scratch directory is configured"))
		return
	}
	q := rt.adapterRequest(r, a)
	box, err := gitbox.New(rt.d.Scratch, q.UID, q.GID, q.Groups, time.Minute)
	if err != nil {
		fail(err)
		return
	}
	defer func() {
		if err := box.Close(); err != nil {
			rt.d.Logger.Warn("scratch of a probe stays behind", "error", err)
		}
	}()
	dir := filepath.Join(box.Dir, "repository")
	if _, err := aiosfs.Export(ctx, rt.d.Store, q, p, dir, box.Own); err != nil {
		fail(err)
		return
	}
	out, err := box.Run(ctx, gitbox.Source{}, "-C", dir, "status", "--porcelain", "--ignore-submodules=all")
	if err != nil {
		fail(err)
		return
	}
	if s := strings.TrimSpace(string(out)); s != "" {
		first, _, _ := strings.Cut(s, "\n")
		k.Detail = "changed: " + first
		return
	}
	k.Outcome = passed
}
