package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// keepPartials is for how many checkpoints a superseded partial tile stays,
// so that a reader that fetched a checkpoint a moment ago still finds the
// files it names.
const keepPartials = 32

// publisher signs a checkpoint CheckpointEvery after the first record that
// has none, until the log closes.
func (l *Log) publisher() {
	defer l.done.Done()
	for {
		select {
		case <-l.dirty:
		case <-l.stop:
			return
		}
		wait := l.o.CheckpointEvery
		for {
			select {
			case <-time.After(wait):
			case <-l.stop:
				return
			}
			err := l.publish(false)
			if err == nil || errors.Is(err, ErrDegraded) {
				break
			}
			l.o.Logger.Error("publish checkpoint; appends are refused until it succeeds", "err", err)
			wait = time.Second
		}
	}
}

// Checkpoint signs, publishes and returns a checkpoint over every record that
// is durable now. If that fails it returns the newest one there is; Health
// then says why.
func (l *Log) Checkpoint() []byte {
	if !l.o.ReadOnly && l.Health() == nil {
		if err := l.publish(true); err != nil {
			l.o.Logger.Error("publish checkpoint", "err", err)
		}
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return bytes.Clone(l.cp)
}

// publish writes bundles and tiles, synced, then the checkpoint by rename
// (spec/tlog.md). force also writes the anchor file now.
func (l *Log) publish(force bool) error {
	l.pubMu.Lock()
	defer l.pubMu.Unlock()
	l.mu.RLock()
	from, have, broken := l.cpSize, l.cp != nil, l.broken
	tree := l.tree.Clone()
	full := make([]tile.Full, 0, len(l.pending))
	for id, hashes := range l.pending {
		full = append(full, tile.Full{ID: id, Hashes: hashes})
	}
	l.mu.RUnlock()
	if broken != nil {
		return broken
	}
	err := func() error {
		if tree.Size() != from || !have {
			cp, err := l.publishTree(from, tree, full)
			if err != nil {
				return err
			}
			l.mu.Lock()
			l.cp, l.cpSize = cp, tree.Size()
			for _, f := range full {
				delete(l.pending, f.ID)
			}
			l.mu.Unlock()
			l.dropPartials(tree.Size(), full)
		}
		l.mu.RLock()
		cp := l.cp
		l.mu.RUnlock()
		return l.anchor.add(l.o.Anchor, cp, tree.Size(), force)
	}()
	l.mu.Lock()
	l.pubErr = nil
	if err != nil {
		l.pubErr = fmt.Errorf("publish checkpoint: %w", err)
		err = l.pubErr
	}
	l.mu.Unlock()
	return err
}

// publishTree writes what a reader of the new size needs beyond the old one.
func (l *Log) publishTree(from uint64, tree *tile.Tree, full []tile.Full) ([]byte, error) {
	w := treeWriter{dir: filepath.Join(l.o.Dir, logDir), dirs: map[string]bool{}}
	size := tree.Size()
	for n := from / tile.Width; n*tile.Width < size; n++ {
		width := int(min(size-n*tile.Width, tile.Width))
		bundle, err := l.bundle(n, width)
		if err != nil {
			return nil, err
		}
		if err := w.write(tile.ID{Level: tile.Entries, N: n, W: width}, bundle); err != nil {
			return nil, err
		}
	}
	for _, f := range full {
		if err := w.write(f.ID, tile.Join(f.Hashes)); err != nil {
			return nil, err
		}
	}
	for _, id := range tile.Files(size) {
		if id.Level == tile.Entries {
			continue
		}
		if err := w.write(id, tile.Join(tree.Row(id.Level))); err != nil {
			return nil, err
		}
	}
	if err := w.sync(); err != nil {
		return nil, err
	}
	cp, err := tile.Checkpoint{Origin: l.o.Origin, Size: size, Root: tree.Root()}.Sign(l.signer)
	if err != nil {
		return nil, err
	}
	if err := writeDurable(filepath.Join(w.dir, "checkpoint"), cp, 0o644); err != nil {
		return nil, err
	}
	return cp, syncDir(w.dir)
}

// bundle returns the entries n*256 .. n*256+width as a bundle.
func (l *Log) bundle(n uint64, width int) ([]byte, error) {
	out := make([]byte, 0, width*800)
	first := n*tile.Width + 1
	err := l.frames(first, first+uint64(width)-1, func(body []byte) {
		out = tile.AppendEntry(out, body)
	})
	return out, err
}

// frames calls fn for the bytes of records from..to.
func (l *Log) frames(from, to uint64, fn func(body []byte)) error {
	for seq := from; seq <= to; {
		s, i, err := l.locate(seq)
		if err != nil {
			return err
		}
		l.mu.RLock()
		end := min(to, s.last())
		l.mu.RUnlock()
		off, _, err := s.index().row(i)
		if err != nil {
			return err
		}
		lastOff, lastLen, err := s.index().row(uint32(end - s.first))
		if err != nil {
			return err
		}
		buf := make([]byte, lastOff+lastLen-off)
		f, err := s.open(recordsName)
		if err != nil {
			return err
		}
		_, err = f.ReadAt(buf, off)
		f.Close()
		if err != nil {
			return err
		}
		for ; seq <= end; seq++ {
			body, n, err := nextFrame(buf, maxRecord)
			if err != nil {
				return fmt.Errorf("record %d: %w", seq, ErrIntegrity)
			}
			fn(body)
			buf = buf[n:]
		}
	}
	return nil
}

// treeWriter writes tiles and syncs the directories it touched at the end.
type treeWriter struct {
	dir  string
	dirs map[string]bool
}

func (w *treeWriter) write(id tile.ID, data []byte) error {
	path := filepath.Join(w.dir, id.Path())
	if err := w.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	return writeDurable(path, data, 0o444)
}

// mkdir makes a directory and its parents up to the log's, and marks each for
// syncing whose entries change.
func (w *treeWriter) mkdir(dir string) error {
	if w.dirs[dir] {
		return nil
	}
	if dir != w.dir {
		if _, err := os.Stat(dir); err != nil {
			if err := w.mkdir(filepath.Dir(dir)); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	w.dirs[dir] = true
	return nil
}

func (w *treeWriter) sync() error {
	for d := range w.dirs {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// dropPartials removes partial tiles that no recent checkpoint names, and all
// of those whose full tile now exists (spec/tlog.md allows both).
func (l *Log) dropPartials(size uint64, full []tile.Full) {
	for _, f := range full {
		os.RemoveAll(filepath.Join(l.o.Dir, logDir, f.ID.Path()+".p"))
		if f.ID.Level == 0 {
			b := tile.ID{Level: tile.Entries, N: f.ID.N, W: tile.Width}
			os.RemoveAll(filepath.Join(l.o.Dir, logDir, b.Path()+".p"))
		}
	}
	l.partials = append(l.partials, tile.Files(size))
	if len(l.partials) <= keepPartials {
		return
	}
	used := map[tile.ID]bool{}
	for _, ids := range l.partials[1:] {
		for _, id := range ids {
			used[id] = true
		}
	}
	for _, id := range l.partials[0] {
		if !used[id] {
			os.Remove(filepath.Join(l.o.Dir, logDir, id.Path()))
		}
	}
	l.partials = l.partials[1:]
}

// anchorEvery bounds how often the anchor file grows under load: checkpoints
// are 200 bytes, so this is at most 17 MB a day.
const anchorEvery = time.Second

// anchorState writes the anchor file.
type anchorState struct {
	f    *os.File
	size uint64
	at   time.Time
	any  bool
}

func (a *anchorState) add(path string, cp []byte, size uint64, force bool) error {
	if path == "" || a.any && a.size == size || !force && time.Since(a.at) < anchorEvery {
		return nil
	}
	if a.f == nil {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return fmt.Errorf("open anchor: %w", err)
		}
		a.f = f
	}
	if _, err := a.f.Write(cp); err != nil {
		return fmt.Errorf("write anchor: %w", err)
	}
	if err := unix.Fdatasync(int(a.f.Fd())); err != nil {
		return fmt.Errorf("sync anchor: %w", err)
	}
	a.any, a.size, a.at = true, size, time.Now()
	return nil
}

func (a *anchorState) close() {
	if a.f != nil {
		a.f.Close()
	}
}
