package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents/internal/confine"
)

// Errors of a git run, told apart because policy and users care which it was.
var (
	// ErrSource is a source that this adapter does not take: an unknown scheme, an
	// option in disguise, credentials in the address.
	ErrSource = errors.New("not a repository address that is accepted")
	// ErrGit is git's own failure; the message holds its last words.
	ErrGit = errors.New("git failed")
)

// Who the program runs as: the submitter, never the daemon, so that git can read
// what the submitter can read and no more.
type Who struct {
	UID, GID uint32
	Groups   []uint32
}

// source is a checked repository address.
type source struct {
	address string // what git is given
	dir     string // the directory of a local source, else ""
	network bool
}

// parseSource accepts an absolute path, file://, https://, http:// and git://. It
// refuses what git would take for an option or a program: ext::, -oProxyCommand and
// the like (CVE-2017-1000117), and addresses that carry a password, since the
// address ends in evidence.
func parseSource(s string) (source, error) {
	switch {
	case s == "" || strings.HasPrefix(s, "-") || strings.ContainsAny(s, "\x00\n\r"):
		return source{}, fmt.Errorf("%w: %q", ErrSource, s)
	case strings.HasPrefix(s, "/"):
		return source{address: "file://" + filepath.Clean(s), dir: filepath.Clean(s)}, nil
	case strings.Contains(s, "::"):
		return source{}, fmt.Errorf("%w: %q names a helper program", ErrSource, s)
	}
	u, err := url.Parse(s)
	if err != nil {
		return source{}, fmt.Errorf("%w: %q", ErrSource, s)
	}
	if u.User != nil {
		if _, has := u.User.Password(); has || u.Scheme != "ssh" {
			return source{}, fmt.Errorf("%w: the address carries credentials; keep them in the vault", ErrSource)
		}
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(u.Path, "/") {
			return source{}, fmt.Errorf("%w: %q: a file address has an absolute path", ErrSource, s)
		}
		return source{address: "file://" + filepath.Clean(u.Path), dir: filepath.Clean(u.Path)}, nil
	case "https", "http", "git":
		if u.Host == "" || strings.HasPrefix(u.Host, "-") {
			return source{}, fmt.Errorf("%w: %q names no host", ErrSource, s)
		}
		return source{address: s, network: true}, nil
	}
	return source{}, fmt.Errorf("%w: %q: an absolute path, file, https, http or git is taken", ErrSource, s)
}

// gitPath finds git once, in the places that no user can write to.
func gitPath() (string, error) {
	for _, p := range []string{"/usr/bin/git", "/usr/local/bin/git", "/bin/git"} {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	if p, err := exec.LookPath("git"); err == nil && filepath.IsAbs(p) {
		return p, nil
	}
	return "", errors.New("git is not installed")
}

// environment is all that git sees: no user or system configuration, no prompt, no
// transport that starts a program, no hook, no file monitor.
func environment(home string) []string {
	return []string{
		"PATH=/usr/bin:/bin", "HOME=" + home, "LC_ALL=C.UTF-8", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false", "GIT_ALLOW_PROTOCOL=file:https:http:git",
		"GIT_CONFIG_COUNT=5",
		"GIT_CONFIG_KEY_0=core.hooksPath", "GIT_CONFIG_VALUE_0=/dev/null",
		"GIT_CONFIG_KEY_1=core.fsmonitor", "GIT_CONFIG_VALUE_1=false",
		"GIT_CONFIG_KEY_2=safe.directory", "GIT_CONFIG_VALUE_2=*",
		"GIT_CONFIG_KEY_3=protocol.file.allow", "GIT_CONFIG_VALUE_3=always",
		"GIT_CONFIG_KEY_4=gc.auto", "GIT_CONFIG_VALUE_4=0",
	}
}

// runner starts git under a profile made from the manifest's limits.
type runner struct {
	git    string
	limits confine.Limits
}

// git runs one git command in dir, which it may write; read names what else it may see.
func (r runner) run(ctx context.Context, who Who, dir string, read []string, network bool, args ...string) ([]byte, error) {
	p := confine.Profile{
		ID: profileID, Read: read, Write: []string{dir}, Dir: dir, Network: network,
		Env: environment(dir), Limits: r.limits,
	}
	if os.Geteuid() == 0 {
		p.SetUser, p.UID, p.GID, p.Groups = true, who.UID, who.GID, who.Groups
	}
	res, err := confine.Run(ctx, p, append([]string{r.git}, args...))
	if err != nil {
		return nil, err
	}
	switch {
	case res.TimedOut:
		return nil, fmt.Errorf("%w: killed after %v", ErrGit, res.Duration.Round(time.Millisecond))
	case res.ExitCode != 0:
		return nil, fmt.Errorf("%w: %s", ErrGit, lastWords(res.Stderr))
	}
	return res.Stdout, nil
}

// lastWords keeps the last lines of what git said, which name the cause.
func lastWords(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(bytes.ToValidUTF8(b, []byte("?")))), "\n")
	if len(lines) > 3 {
		lines = lines[len(lines)-3:]
	}
	s := strings.Join(lines, "; ")
	if s == "" {
		return "it said nothing"
	}
	return s
}

// scratch makes an empty directory that the submitter owns, for git to work in.
func scratch(base string, who Who) (string, error) {
	if err := os.MkdirAll(base, 0o711); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(base, "repo-")
	if err != nil {
		return "", err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, int(who.UID), int(who.GID)); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// clone makes a complete, verified clone of src in dir/tree.
func (r runner) clone(ctx context.Context, who Who, dir string, src source, branch string, depth int) error {
	args := []string{"clone", "-q", "--no-hardlinks", "--no-local", "--template=", "--no-recurse-submodules"}
	if branch != "" {
		if strings.HasPrefix(branch, "-") {
			return fmt.Errorf("%w: branch %q", ErrSource, branch)
		}
		args = append(args, "--branch", branch)
	}
	if depth > 0 {
		args = append(args, fmt.Sprintf("--depth=%d", depth))
	}
	var read []string
	if src.dir != "" {
		read = append(read, src.dir)
	}
	tree := filepath.Join(dir, "tree")
	if _, err := r.run(ctx, who, dir, read, src.network, append(args, "--", src.address, tree)...); err != nil {
		return err
	}
	return r.check(ctx, who, dir, tree)
}

// check asks git whether a clone is whole: an independent pass over all objects,
// and a work tree that agrees with its index.
func (r runner) check(ctx context.Context, who Who, dir, tree string) error {
	if _, err := r.run(ctx, who, dir, nil, false, "-C", tree, "fsck", "--no-progress", "--no-dangling"); err != nil {
		return err
	}
	out, err := r.run(ctx, who, dir, nil, false, "-C", tree, "status", "--porcelain")
	if err != nil {
		return err
	}
	if len(out) != 0 {
		return fmt.Errorf("%w: the work tree differs from its commit: %s", ErrGit, lastWords(out))
	}
	return nil
}

// head gives the commit that a clone stands at; a repository without commits has none.
func (r runner) head(ctx context.Context, who Who, dir, tree string) string {
	out, err := r.run(ctx, who, dir, nil, false, "-C", tree, "rev-parse", "--verify", "-q", "HEAD")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
