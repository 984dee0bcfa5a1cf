package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/views/index"
)

// indexDir is the search index's place in the state directory. It can be removed while
// nothing is mounted; the next start makes it anew.
func indexDir(state string) string { return filepath.Join(state, "index") }

func reindexCommand() *cobra.Command {
	c := &cobra.Command{Use: "reindex [--state DIR]", Short: "Make the search index anew from the store, mounted or not", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c.Flags())
			if err != nil {
				return fail(exitUsage, "%v", err)
			}
			if err := holdsState(cfg.State); err != nil {
				return err
			}
			logger, err := newLogger(cfg.LogLevel)
			if err != nil {
				return err
			}
			began := time.Now()
			var n uint64
			d, err := openDaemon(c.Context(), cfg, logger)
			if errors.Is(err, errInUse) {
				n, err = reindexMounted(c, cfg.State)
			} else if err == nil {
				n, err = reindexStopped(c.Context(), d)
			}
			if err != nil {
				return err
			}
			if wantsJSON(c) {
				return printJSON(c.OutOrStdout(), map[string]any{"documents": n, "seconds": time.Since(began).Seconds()})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%d things are searchable (%s)\n", n, time.Since(began).Round(time.Millisecond))
			return err
		}}
	addFlags(c.Flags())
	return c
}

// reindexStopped throws the index away and reads the store again.
func reindexStopped(ctx context.Context, d *daemon) (n uint64, err error) {
	defer func() { err = errors.Join(err, d.close()) }()
	if err := os.RemoveAll(indexDir(d.cfg.State)); err != nil {
		return 0, fmt.Errorf("remove the index: %w", err)
	}
	x, err := index.Open(index.Options{Dir: indexDir(d.cfg.State), Store: d.store, Logger: d.logger})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if err := x.Settle(ctx); err != nil {
		return 0, err
	}
	return x.Count()
}

// reindexMounted has the daemon that holds the state do it, and waits.
func reindexMounted(c *cobra.Command, state string) (uint64, error) {
	t, err := findTree(c)
	if err != nil {
		return 0, err
	}
	var health struct {
		StateDir string `json:"state_dir"`
	}
	if err := t.health(&health); err != nil {
		return 0, err
	}
	if absolute(health.StateDir) != absolute(state) {
		return 0, fail(exitUsage, "%s is mounted somewhere else than at %s; say where with --mount", state, t.root)
	}
	file := t.path("views", "search", reindexFile)
	if err := os.WriteFile(file, []byte("1\n"), 0o200); err != nil {
		return 0, reach(err)
	}
	for {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, reach(err)
		}
		var n uint64
		if _, err := fmt.Sscanf(string(b), "done %d", &n); err == nil {
			return n, nil
		}
		if text, failed := strings.CutPrefix(string(b), "failed "); failed {
			return 0, fail(exitFailed, "%s", strings.TrimSpace(text))
		}
		select {
		case <-c.Context().Done():
			return 0, c.Context().Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// reindexFile lies in views/search, unlisted, for administrators: writing to it begins,
// reading it tells how far that is.
const reindexFile = ".reindex"

// reindexing is the rebuilding of the index under a mount.
type reindexing struct {
	x      *index.Index
	ctx    context.Context // ends with the daemon
	work   sync.WaitGroup
	mu     sync.Mutex
	status string // "", "running", "done N", "failed WHY"
}

func (r *reindexing) entry(c mountfs.Caller) (mountfs.Entry, error) {
	if !c.Subject.Admin || c.Subject.IsAI {
		return mountfs.Entry{}, mountfs.ErrNotFound
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return mountfs.Entry{Name: reindexFile, Mode: sIFREG | 0o600, Data: []byte(r.status + "\n"), Mtime: time.Now()}, nil
}

func (r *reindexing) begin(c mountfs.Caller) error {
	if !c.Subject.Admin || c.Subject.IsAI {
		return mountfs.ErrDenied
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status == "running" {
		return nil // it is what was asked for
	}
	r.status = "running"
	r.work.Add(1)
	go func() {
		defer r.work.Done()
		err := r.x.Reindex(r.ctx)
		n := uint64(0)
		if err == nil {
			n, err = r.x.Count()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.status = fmt.Sprintf("done %d", n); err != nil {
			r.status = "failed " + err.Error()
		}
	}()
	return nil
}
