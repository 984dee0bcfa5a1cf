package kv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"golang.org/x/sys/unix"
)

// syncRound is one pass of the barrier and those who wait for it.
type syncRound struct {
	done chan struct{}
	err  error
}

// Sync returns when everything committed before the call is on disk. Callers that
// come while a pass runs share the next one: what they committed may have come too
// late for the one that runs.
func (d *DB) Sync(ctx context.Context) error {
	if d.o.ReadOnly {
		return nil
	}
	d.syncMu.Lock()
	if d.pending == nil {
		d.pending = &syncRound{done: make(chan struct{})}
	}
	r := d.pending
	lead := !d.active
	if lead {
		// Whoever comes first makes the pass itself: handing it to another goroutine and
		// back costs a lone fsync two switches.
		d.active, d.pending = true, nil
	}
	d.syncMu.Unlock()
	if lead {
		r.err = d.syncOnce()
		close(r.done)
		d.syncMu.Lock()
		if d.pending == nil {
			d.active = false
		} else {
			go d.syncLoop() // for those who came meanwhile
		}
		d.syncMu.Unlock()
		return r.err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *DB) syncLoop() {
	for {
		d.syncMu.Lock()
		r := d.pending
		d.pending = nil
		if r == nil {
			d.active = false
			d.syncMu.Unlock()
			return
		}
		d.syncMu.Unlock()
		r.err = d.syncOnce()
		close(r.done)
	}
}

// syncOnce makes the logs durable. Badger's own Sync covers only the active memtable's
// log, not those that were rotated out and wait to be flushed (read in 4.9.6), and it
// holds the lock that rotation and then every reader waits for, for as long as the disk
// takes. So we sync the files ourselves, by name: on Linux fsync covers pages dirtied
// through a mapping. A log that is gone was flushed to a table, and Badger syncs the
// table and its manifest before it removes the log.
func (d *DB) syncOnce() error {
	cover := d.LastSealed()
	if cover != 0 && d.LastSynced() >= cover {
		return nil
	}
	if err := d.logs.sync(d.o.Dir, &d.space); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	d.synced.Store(uint64(cover))
	return nil
}

func (d *DB) syncValueLog() error {
	names, err := filepath.Glob(filepath.Join(d.o.Dir, "*.vlog"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := syncFile(name); err != nil {
			return err
		}
	}
	return nil
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// logFiles keeps descriptors of memtable logs, to sync them without opening them anew.
type logFiles struct {
	mu   sync.Mutex
	open map[string]*logFile
	// last is the log in use at the last pass, and next the number of the one made
	// beforehand then: as long as that waits, every other log is final.
	last *logFile
	next int
	// synced, if set by a test, is told of every file that was synced.
	synced func(name string)
}

type logFile struct {
	f     *os.File
	name  string
	final bool // rotated out and synced since: nothing more will be written to it
}

func (l *logFiles) sync(dir string, sp *space) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Asked before the names are read: a log that is taken into use afterwards holds
	// nothing that this pass must cover, and is seen by the next one.
	no, waits := sp.waiting()
	if waits && l.last != nil && l.next == no {
		return l.syncOne(l.last)
	}
	l.last = nil
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	sort.Strings(names)
	if l.open == nil {
		l.open = map[string]*logFile{}
	}
	here := map[string]bool{}
	fresh := false
	var active string // the newest log that is in use; a prepared one is empty
	for _, name := range names {
		if st, err := os.Stat(name); err == nil && st.Size() > 0 {
			active = name
		}
	}
	for _, name := range names {
		here[name] = true
		lf := l.open[name]
		if lf == nil {
			f, err := os.Open(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			lf = &logFile{f: f, name: name}
			l.open[name] = lf
			fresh = true
		}
		if lf.final || name > active {
			continue
		}
		if err := l.syncOne(lf); err != nil {
			return err
		}
		lf.final = name != active
		if waits && !lf.final {
			l.last, l.next = lf, no
		}
	}
	for name, lf := range l.open {
		if !here[name] {
			lf.f.Close()
			delete(l.open, name)
		}
	}
	if fresh { // the directory entry of a new log, and of the tables that replaced old ones
		return syncDir(dir)
	}
	return nil
}

func (l *logFiles) syncOne(lf *logFile) error {
	if err := unix.Fdatasync(int(lf.f.Fd())); err != nil {
		return fmt.Errorf("%s: %w", lf.name, err)
	}
	if l.synced != nil {
		l.synced(lf.name)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (l *logFiles) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lf := range l.open {
		lf.f.Close()
	}
	l.open = nil
}
