// Package gitbox runs git for the repo adapter, and for those who look after it, in a
// confined child: real git, none of the host's or the repository's configuration that
// could start another program, no credentials, and no file but its scratch directory
// and the source that was named.
package gitbox

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ai-os-dot-net/aios/agents/internal/confine"
)

// Errors of a source and of a run.
var (
	ErrSource = errors.New("not a source that repositories are taken from")
	ErrGit    = errors.New("git failed")
	ErrNoGit  = errors.New("git is not installed")
)

// Source is where a repository comes from. Exactly one of Path and URL is set.
type Source struct {
	Path string // absolute, on the host
	URL  string // http, https or git
}

// ParseSource reads a source: an absolute path, or a URL with one of the schemes file,
// http, https and git. What could be an option, another transport, a remote helper or
// carries credentials is ErrSource.
func ParseSource(s string) (Source, error) {
	bad := func(why string) (Source, error) { return Source{}, fmt.Errorf("%w: %s", ErrSource, why) }
	switch {
	case s == "" || strings.HasPrefix(s, "-"):
		return bad("it is empty or looks like an option")
	case strings.ContainsAny(s, "\x00\n\r"):
		return bad("it has control characters")
	case strings.Contains(s, "::"):
		return bad("remote helpers are not run")
	case strings.HasPrefix(s, "/"):
		return Source{Path: filepath.Clean(s)}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return bad("it is no URL") // the error would quote it, and a password in it
	}
	switch {
	case u.User != nil:
		return bad("it carries a user or a password, which would end up in the repository and the log")
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && strings.HasPrefix(u.Path, "/"):
		return Source{Path: filepath.Clean(u.Path)}, nil
	case (u.Scheme == "https" || u.Scheme == "http" || u.Scheme == "git") && u.Host != "":
		return Source{URL: s}, nil
	}
	return bad("want an absolute path, or a file, http, https or git URL")
}

// Text is how git is given the source.
func (s Source) Text() string {
	if s.URL != "" {
		return s.URL
	}
	return "file://" + s.Path
}

// Box is a scratch directory in which git runs as one user.
type Box struct {
	Dir      string
	uid, gid uint32
	groups   []uint32
	timeout  time.Duration
	// Applied says which walls stood around the last run.
	Applied confine.Applied
}

// ProfileID names the profile in evidence; its content is what Run declares.
const ProfileID = "prof_repo_fetch"

// New makes a scratch directory below base for a user. As root base must be searchable
// by him; see Base.
func New(base string, uid, gid uint32, groups []uint32, timeout time.Duration) (*Box, error) {
	dir, err := os.MkdirTemp(base, "git-")
	if err != nil {
		return nil, fmt.Errorf("make scratch: %w", err)
	}
	b := &Box{Dir: dir, uid: uid, gid: gid, groups: groups, timeout: timeout}
	// Settings of the command line do not reach the other end of a local transport.
	err = errors.Join(os.WriteFile(b.config(), []byte("[safe]\n\tdirectory = *\n"), 0o644), b.Own(dir))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

func (b *Box) config() string { return filepath.Join(b.Dir, "gitconfig") }

// Own gives a file in the box to the user that git runs as.
func (b *Box) Own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, int(b.uid), int(b.gid))
}

// Close removes the box with all that is in it.
func (b *Box) Close() error { return os.RemoveAll(b.Dir) }

// Base makes and empties the directory for boxes: below the state directory, or, as
// root, whose state directory nobody else may search, in one of its own in /var/tmp.
func Base(state string) (string, error) {
	base := filepath.Join(state, "scratch")
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		st, err := os.Stat(state)
		if err != nil {
			return "", err
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok {
			return "", errors.New("the state directory has no inode number")
		}
		base, mode = filepath.Join("/var/tmp", fmt.Sprintf("aios-scratch-%x-%x", sys.Dev, sys.Ino)), 0o711
	}
	if err := os.RemoveAll(base); err != nil { // what a crash left
		return "", fmt.Errorf("clear scratch: %w", err)
	}
	if err := os.Mkdir(base, mode); err != nil { // never one that somebody else made meanwhile
		return "", fmt.Errorf("make scratch: %w", err)
	}
	return base, os.Chmod(base, mode)
}

// environment is all that git sees of the outside; nothing is inherited.
func (b *Box) environment() []string {
	return []string{
		"PATH=/usr/bin:/bin", "HOME=" + b.Dir, "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + b.config(), "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false", "GIT_SSH_COMMAND=/bin/false",
		"GIT_ALLOW_PROTOCOL=file:http:https:git", "GIT_OPTIONAL_LOCKS=0", "GIT_PAGER=cat", "GIT_EDITOR=/bin/false",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_CEILING_DIRECTORIES=" + filepath.Dir(b.Dir),
	}
}

// settings go before the command; they beat what stands in a repository's own file.
var settings = []string{
	"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.sshCommand=/bin/false", "-c", "core.gitProxy=",
	"-c", "credential.helper=", "-c", "protocol.ext.allow=never", "-c", "safe.directory=*", "-c", "transfer.fsckObjects=true",
	"-c", "submodule.recurse=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "init.templateDir=",
	"-c", "core.untrackedCache=false", "-c", "diff.external=", "-c", "core.attributesFile=/dev/null", "-c", "filter.lfs.process=", "-c", "filter.lfs.smudge=",
}

// Run runs git with the arguments. Only a source with a URL gives it the network, and
// only one with a path that path, for reading. What git said is in the error, shortened
// and without the source's query.
func (b *Box) Run(ctx context.Context, src Source, args ...string) ([]byte, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, ErrNoGit
	}
	p := confine.Profile{ID: ProfileID, Write: []string{b.Dir}, Network: src.URL != "", Dir: b.Dir, Env: b.environment(),
		Limits: confine.Limits{Timeout: b.timeout, Memory: 1 << 30, Output: 1 << 20}}
	if src.Path != "" && !strings.HasPrefix(src.Path+"/", b.Dir+"/") {
		p.Read = []string{src.Path}
	}
	if os.Geteuid() == 0 {
		p.SetUser, p.UID, p.GID, p.Groups = true, b.uid, b.gid, b.groups
	}
	res, err := confine.Run(ctx, p, append(append([]string{git}, settings...), args...))
	b.Applied = res.Applied
	switch {
	case err != nil:
		return nil, err
	case res.TimedOut:
		return nil, fmt.Errorf("%w: %s took longer than %s", ErrGit, args[0], b.timeout)
	case res.ExitCode != 0:
		return nil, fmt.Errorf("%w: %s: %s", ErrGit, args[0], lastLines(string(res.Stderr)))
	}
	return res.Stdout, nil
}

// lastLines shortens what git printed to its last words.
func lastLines(s string) string {
	var keep []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Cloning into") {
			keep = append(keep, line)
		}
	}
	s = strings.Join(keep[max(0, len(keep)-3):], "; ")
	return s[:min(len(s), 400)]
}
