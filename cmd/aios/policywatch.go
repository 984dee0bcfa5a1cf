package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// policyQuiet is how long a bundle's files must be left alone before they are read: a
// bundle is copied file by file, and half of one only makes a refusal.
const policyQuiet = 500 * time.Millisecond

// watchPolicy puts a changed bundle in force while all is mounted: when its files have
// changed, and on SIGHUP at once.
func (d *daemon) watchPolicy(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	w, err := fsnotify.NewWatcher()
	if err != nil {
		d.logger.Warn("the policy bundle is not watched; SIGHUP reads it again", "error", err)
		w = &fsnotify.Watcher{} // its channels are nil: nothing comes from them
	}
	var work sync.WaitGroup
	work.Add(1)
	go func() {
		defer work.Done()
		d.bundle.watch(ctx, w, hup)
	}()
	d.onClose(func() error {
		signal.Stop(hup)
		stop()
		work.Wait()
		if err != nil {
			return nil
		}
		return w.Close()
	})
}

func (f *bundleFiles) watch(ctx context.Context, w *fsnotify.Watcher, hup <-chan os.Signal) {
	f.follow(w)
	quiet := time.NewTimer(policyQuiet) // what changed before the watch began
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.Events:
			// In the state directory itself much goes on; policy/ there may be exchanged whole.
			if filepath.Dir(e.Name) != f.d.cfg.State || e.Name == f.dir {
				quiet.Reset(policyQuiet)
			}
			continue
		case <-w.Errors: // it lost something
			quiet.Reset(policyQuiet)
			continue
		case <-hup:
		case <-quiet.C:
		}
		f.follow(w)
		if err := f.reload(ctx); err != nil {
			f.d.logger.Error("the policy bundle in force stays", "error", err)
		}
	}
}

// follow watches the directories that are there; one that was replaced by another of its
// name needs it anew.
func (f *bundleFiles) follow(w *fsnotify.Watcher) {
	if w.Events == nil {
		return
	}
	for _, dir := range []string{f.d.cfg.State, f.dir, filepath.Join(f.dir, "rules"), filepath.Join(f.dir, "signatures")} {
		if err := w.Add(dir); err != nil && !os.IsNotExist(err) {
			f.d.logger.Warn("a directory of the policy bundle is not watched; SIGHUP reads it again", "dir", dir, "error", err)
		}
	}
}
