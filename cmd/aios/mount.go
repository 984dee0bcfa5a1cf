package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	aiosfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/objects"
)

const (
	sIFDIR = syscall.S_IFDIR
	sIFREG = syscall.S_IFREG
	sIFLNK = syscall.S_IFLNK
)

func mountCommand() *cobra.Command {
	var opts []string
	var background, debug, recovery, acceptClock bool
	var profiles, source string
	c := &cobra.Command{Use: "mount [--state DIR] [-o OPTIONS] MOUNTPOINT", Short: "Mount AIOS and serve it, in the foreground", Args: usageArgs(cobra.ExactArgs(1)),
		Long: "Mounts and serves until SIGINT, SIGTERM or umount. The first start makes the state directory with its keys,\n" +
			"identities and the default policy. Under systemd it says READY=1 once the mount answers.",
		RunE: func(c *cobra.Command, a []string) error {
			cfg, err := loadConfig(c.Flags())
			if err != nil {
				return fail(exitUsage, "%v", err)
			}
			m := mountSettings{mountpoint: absolute(a[0]), source: source, debug: debug, recovery: recovery, profiles: profiles}
			if err := m.parse(opts, &cfg); err != nil {
				return err
			}
			if acceptClock && !recovery {
				return fail(exitUsage, "--accept-clock goes with --recovery: an operator's word that the clock is right")
			}
			m.clock = acceptClock
			if background {
				return startInBackground(c.Context(), m.mountpoint)
			}
			return serve(c.Context(), cfg, m)
		}}
	addFlags(c.Flags())
	c.Flags().StringSliceVarP(&opts, "options", "o", nil, "mount options: ro, nosuid, nodev, noexec, relatime, noatime, allow_other, state=DIR")
	c.Flags().BoolVar(&background, "background", false, "return once the mount answers (mount.aios does this)")
	c.Flags().BoolVar(&recovery, "recovery", false, "mount what recovery needs of system/ only, read-only: no goals, no agents, nobody's data; typed actions go to system/recovery/intents/")
	c.Flags().BoolVar(&acceptClock, "accept-clock", false, "with --recovery: go on although the clock is behind the evidence log's newest record; it is recorded")
	c.Flags().BoolVar(&debug, "debug", false, "log every request")
	c.Flags().StringVar(&source, "source", "", "what df and findmnt show as the source")
	_ = c.Flags().MarkHidden("source") // the flag is there
	c.Flags().StringVar(&profiles, "pprof", "", "answer go tool pprof on this socket")
	_ = c.Flags().MarkHidden("pprof") // the flag is there
	return c
}

// passed are the options that the kernel takes as they are.
var passed = []string{"nosuid", "suid", "nodev", "dev", "noexec", "exec", "sync", "async", "dirsync", "atime", "noatime", "relatime", "strictatime", "diratime", "nodiratime"}

// ignored are options that mount(8) and fstab add and that mean nothing here.
var ignored = []string{"rw", "defaults", "auto", "noauto", "user", "nouser", "users", "_netdev", "nofail", "default_permissions"}

func (m *mountSettings) parse(opts []string, cfg *config) error {
	for _, o := range opts {
		k, v, has := strings.Cut(o, "=")
		switch {
		case o == "ro":
			m.readOnly = true
			m.options = append(m.options, "ro")
		case o == "allow_other":
			cfg.AllowOther = true
		case k == "state" && has:
			cfg.State = v
		case slices.Contains(passed, o):
			m.options = append(m.options, o)
			m.readTimes(o)
		case o == "" || slices.Contains(ignored, o) || strings.HasPrefix(o, "x-"):
		case o == "remount":
			return fail(exitUsage, "a mounted AIOS cannot be remounted; unmount it and mount it again")
		default:
			return fail(exitUsage, "unknown mount option %q", o)
		}
	}
	return nil
}

// readTimes takes what an option says of times of reading: the kernel does not tell the
// daemon. Of several, the same one holds as in the kernel: strictatime, then noatime.
func (m *mountSettings) readTimes(option string) {
	switch {
	case option == "strictatime":
		m.atime = objects.StrictAtime
	case option == "noatime" && m.atime == objects.Relatime:
		m.atime = objects.NoAtime
	case option == "atime" && m.atime == objects.NoAtime:
		m.atime = objects.Relatime
	case option == "diratime", option == "nodiratime":
		m.noDirAtime = option == "nodiratime"
	}
}

func newLogger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fail(exitUsage, "log_level: %q is not debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}

// serve mounts and stays until it is told to go or the mount is taken away.
func serve(ctx context.Context, cfg config, m mountSettings) error {
	logger, err := newLogger(cfg.LogLevel)
	if err != nil {
		return err
	}
	if cfg.Passthrough != "auto" && cfg.Passthrough != "off" {
		return fail(exitUsage, "passthrough: %q is neither auto nor off", cfg.Passthrough)
	}
	if err := aiosfs.CheckTransport(cfg.Transport); err != nil {
		return fail(exitUsage, "%v", err)
	}
	if inside(cfg.State, m.mountpoint) {
		return fail(exitUsage, "the state directory %s lies under the mountpoint; put it elsewhere", cfg.State)
	}
	for _, path := range []*string{&cfg.State, &cfg.Spool, &cfg.EvidenceAnchor, &m.profiles} {
		if *path != "" {
			*path = absolute(*path)
		}
	}
	if err := os.Chdir("/"); err != nil { // the caller's directory must not be busy for as long as the mount
		return fail(exitFailed, "%w", err)
	}
	if m.profiles != "" {
		stop, err := serveProfiles(m.profiles, logger)
		if err != nil {
			return fail(exitFailed, "%w", err)
		}
		defer stop()
	}
	d, err := openAccepting(context.WithoutCancel(ctx), cfg, logger, m.clock)
	if err != nil {
		return fail(exitFailed, "%w", err)
	}
	if err := d.mount(context.WithoutCancel(ctx), m); err != nil {
		return errors.Join(fail(exitFailed, "%w", err), d.close())
	}
	if _, err := sdnotify.SdNotify(false, sdnotify.SdNotifyReady); err != nil {
		logger.Warn("systemd could not be told that the mount is ready", "error", err)
	}
	gone := make(chan struct{})
	go func() { d.server.Load().Wait(); close(gone) }()
	select {
	case <-gone:
	case <-ctx.Done():
		_, _ = sdnotify.SdNotify(false, sdnotify.SdNotifyStopping) // nobody has to listen
		if err := d.unmount(gone); err != nil {
			logger.Error("the mount is busy; it was detached", "error", err)
		}
	}
	return d.close()
}

// unmount takes the mount away; one that is in use is detached, so that the daemon
// can end and nothing new comes in.
func (d *daemon) unmount(gone <-chan struct{}) error {
	var err error
	for range 20 {
		if err = d.server.Load().Unmount(); err == nil {
			return nil
		}
		select {
		case <-gone:
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

func inside(dir, parent string) bool {
	rel, err := filepath.Rel(parent, absolute(dir))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// startInBackground runs the daemon as a process of its own and returns once the
// mount answers, or with what the daemon said when it gave up.
func startInBackground(ctx context.Context, mountpoint string) error {
	// What is there already must not be taken for the new daemon's. A dead mount does not
	// answer, and is the new one's to clear away.
	if answers(mountpoint) {
		return fail(exitFailed, "%s is mounted already", mountpoint)
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return a == "--background" })
	if name := filepath.Base(os.Args[0]); name == "mount.aios" || name == "mount.fuse.aios" {
		translated, err := mountHelperArgs(os.Args[1:])
		if err != nil {
			return fail(exitUsage, "%v", err)
		}
		args = slices.DeleteFunc(translated, func(a string) bool { return a == "--background" })
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, args...) // in the caller's directory, from which the paths count
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	for {
		if answers(mountpoint) {
			return nil
		}
		select {
		case err := <-died:
			var ee *exec.ExitError
			if errors.As(err, &ee) {
				return &exitError{code: ee.ExitCode()} // it has said why
			}
			return fmt.Errorf("the daemon ended before the mount answered: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers tells whether an AIOS is mounted there and lives.
func answers(mountpoint string) bool {
	mounts, err := aiosMounts()
	if err != nil || !slices.Contains(mounts, mountpoint) {
		return false
	}
	d, err := os.Open(filepath.Join(mountpoint, "system")) // a dead one's attributes may be in the kernel's cache
	if err == nil {
		err = d.Close()
	}
	return err == nil
}
