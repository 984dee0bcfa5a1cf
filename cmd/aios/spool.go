package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fsnotify/fsnotify"
	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/agents/plan"
	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// A spool is a directory of the host that takes goals from programs which cannot see
// the mount (contract §4). A file that nobody writes to any more is submitted for the
// user who owns it, once, whatever crashes in between: the run's name comes from what
// the file is, so that a second look at the same file finds the run. Then the file
// moves to NAME.d/document, and NAME.d follows the run. What waits for a word is
// answered in the mount (`aios inbox`).
type spool struct {
	box     *spoolBox
	intents mountfs.Intents
	catalog func() *identity.Catalog
	welcome func(context.Context, mountfs.Caller) error
	logger  *slog.Logger
	watch   *fsnotify.Watcher
	cancel  context.CancelFunc
	done    sync.WaitGroup
	refused map[string]string // files that stay where they are, by what they were when that was said
}

const (
	// spoolGather is how long news of the directory are collected.
	spoolGather = 20 * time.Millisecond
	// spoolAgain is when a file is looked at again that is still being written, or
	// that the runtime had no place for.
	spoolAgain = 200 * time.Millisecond
	// spoolStill is how long a file must be untouched where the host cannot say
	// whether it is open for writing (no leases).
	spoolStill = 2 * time.Second
)

var errNotYet = errors.New("not complete yet")

// checkSpool refuses a directory in which one user could put words into another's mouth.
func checkSpool(dir string) (*spoolBox, error) {
	box, err := openSpoolBox(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return box, nil
}

// startSpool begins to take files; those that are there already come first.
func startSpool(ctx context.Context, box *spoolBox, in mountfs.Intents, catalog func() *identity.Catalog, welcome func(context.Context, mountfs.Caller) error, logger *slog.Logger) (*spool, error) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(box.name); err != nil {
			w.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("watch the spool %s: %w", box.name, err)
	}
	s := &spool{box: box, intents: in, catalog: catalog, welcome: welcome, logger: logger, watch: w, refused: map[string]string{}}
	ctx, s.cancel = context.WithCancel(ctx)
	s.done.Add(1)
	go s.run(ctx)
	return s, nil
}

// Close stops taking files; what was taken goes on at the next start.
func (s *spool) Close() error {
	s.cancel()
	s.done.Wait()
	return s.watch.Close()
}

func (s *spool) run(ctx context.Context) {
	defer s.done.Done()
	s.resume(ctx)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-s.watch.Events:
			if !ok {
				return
			}
			again.Reset(spoolGather)
		case err := <-s.watch.Errors:
			s.logger.Warn("the spool's watch lost something; it is read whole", "error", err)
			again.Reset(spoolGather)
		case <-again.C:
			if s.scan(ctx) {
				again.Reset(spoolAgain)
			}
		}
	}
}

// scan takes every complete file; true when some must be looked at again.
func (s *spool) scan(ctx context.Context) (again bool) {
	names, err := s.box.names()
	if err != nil {
		s.logger.Error("the spool cannot be read", "error", err)
		return true
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return false
		}
		if mountfs.Temporary(name) || strings.HasSuffix(name, ".d") {
			continue
		}
		err := s.take(ctx, name)
		switch {
		case errors.Is(err, errNotYet), errors.Is(err, mountfs.ErrAgain), errors.Is(err, mountfs.ErrBusy):
			again = true
		case errors.Is(err, unix.ENOENT): // it went away
		case err != nil:
			s.logger.Error("a goal in the spool was not taken", "name", name, "error", err)
			again = true
		}
	}
	return again
}

// take submits one file and moves it to its answer.
func (s *spool) take(ctx context.Context, name string) error {
	f, err := s.box.open(name)
	if errors.Is(err, errNoFile) {
		return s.leave(name, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	doc, err := f.read(time.Now())
	if err != nil {
		return err
	}
	if len(doc) == 0 {
		return nil // made, and not written yet: the writing is news again
	}
	if euid := os.Geteuid(); euid != 0 && int(f.stat.Uid) != euid {
		return s.leave(name, fmt.Errorf("it is uid %d's, and only root can take goals for others", f.stat.Uid))
	}
	if f.stat.Nlink != 1 {
		// Its owner need not be who put it here.
		return s.leave(name, errors.New("it has more than one hard link"))
	}
	c, err := s.caller(f.stat.Uid)
	if err != nil {
		return s.leave(name, err)
	}
	run := runName(name, f, doc)
	a, err := s.box.answer(name, run, f.stat.Uid, c.GID)
	if err != nil {
		return s.leave(name, err)
	}
	s.at("answer made")
	err = nil
	switch _, missing := s.intents.Document(c, run); {
	case len(doc) > plan.MaxTyped:
		err = &mountfs.IntentError{Code: string(plan.CodeMalformed), Message: fmt.Sprintf("a document has at most %d bytes", plan.MaxTyped)}
	case errors.Is(missing, mountfs.ErrNotFound):
		if err = s.welcome(ctx, c); err == nil {
			err = s.intents.Submit(ctx, c, run, doc)
		}
	case missing != nil:
		err = missing
	}
	s.at("submitted")
	var bad *mountfs.IntentError
	switch {
	case errors.As(err, &bad), errors.Is(err, mountfs.ErrDenied), errors.Is(err, mountfs.ErrInvalid):
		if e := a.refuse(err); e != nil {
			s.logger.Error("a goal's answer cannot be written", "name", name, "error", e)
		}
	case err != nil:
		a.Close()
		return err
	}
	if e := s.box.move(f, name, a); e != nil {
		a.Close()
		return e
	}
	s.at("moved")
	if err != nil {
		return a.Close()
	}
	s.follow(ctx, c, run, a)
	return nil
}

func (s *spool) at(point string) {
	if s.box.fail != nil {
		s.box.fail(point)
	}
}

// leave says once why a file is not taken, and lets it lie.
func (s *spool) leave(name string, why error) error {
	if s.refused[name] != why.Error() {
		s.refused[name] = why.Error()
		s.logger.Warn("a file in the spool is not taken", "name", name, "reason", why)
		if err := s.box.explain(name, why); err != nil {
			s.logger.Warn("its owner could not be told", "name", name, "error", err)
		}
	}
	return nil
}

// caller is the user who owns a file, as if he had dropped it into the mount.
func (s *spool) caller(uid uint32) (mountfs.Caller, error) {
	c := mountfs.Caller{UID: uid, GID: uid}
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		if gid, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
			c.GID = uint32(gid)
		}
		ids, _ := u.GroupIds() // without them he has fewer rights, never more
		for _, id := range ids {
			if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
				c.Groups = append(c.Groups, uint32(gid))
			}
		}
	}
	var err error
	c.Subject, err = s.catalog().Resolve(identity.Caller{UID: c.UID, GID: c.GID, Groups: c.Groups})
	return c, err
}

// runName is the name that a file has in intents/: its own, and what makes it this
// file and no other. The ending stays, since it says what kind of document it is.
func runName(name string, f *spoolFile, doc []byte) string {
	h := blake3.New()
	fmt.Fprintf(h, "%d %d %d %d %d\x00%s\x00", f.stat.Dev, f.stat.Ino, f.stat.Uid, f.stat.Mtim.Nano(), f.stat.Size, name)
	_, _ = h.Write(doc) // a hash takes everything
	ext := path.Ext(name)
	if len(ext) > 16 {
		ext = ""
	}
	stem := strings.TrimSuffix(name, ext)
	for len(stem) > 180 || !utf8.ValidString(stem) && stem != "" {
		stem = stem[:len(stem)-1]
	}
	return stem + "-" + hex.EncodeToString(h.Sum(nil)[:8]) + ext
}

// resume follows the runs again that were not over when the daemon ended.
func (s *spool) resume(ctx context.Context) {
	list, err := s.box.unfinished()
	if err != nil {
		s.logger.Error("earlier answers in the spool cannot be read", "error", err)
	}
	for _, a := range list {
		c, err := s.caller(a.uid)
		if err == nil {
			_, err = s.intents.Document(c, a.run)
		}
		if err != nil {
			a.Close() // not submitted: its file still lies there, or somebody made this by hand
			continue
		}
		s.follow(ctx, c, a.run, a)
	}
}

// follow keeps an answer as its run is, until that is over.
func (s *spool) follow(ctx context.Context, c mountfs.Caller, run string, a *spoolAnswer) {
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		defer a.Close()
		events, err := s.intents.Stream(ctx, c, run, "events")
		if err != nil {
			s.logger.Error("a goal of the spool cannot be followed", "run", run, "error", err)
			return
		}
		defer events.Close()
		lines := bufio.NewScanner(events)
		lines.Buffer(nil, plan.MaxTyped)
		for more := true; more; {
			more = lines.Scan()
			if ctx.Err() != nil {
				return
			}
			final, err := s.mirror(c, run, a)
			if err != nil {
				s.logger.Warn("a goal's answer cannot be written", "run", run, "error", err)
			}
			if final {
				return // its owner may take it away now
			}
		}
	}()
}

// mirrored are the files of NAME.d that a spool shows, too, besides the state.
var mirrored = []string{"plan", "plan.json", "question", "approval", "decision.json", "result.json", "verification.json", "error.json", "events.log"}

// mirror writes an answer as the run is now. The state is read first and written last:
// who sees it final sees the rest.
func (s *spool) mirror(c mountfs.Caller, run string, a *spoolAnswer) (final bool, err error) {
	state, err := s.intents.Read(c, run, "state")
	if err != nil {
		return false, fmt.Errorf("state: %w", err)
	}
	for _, name := range mirrored {
		b, err := s.intents.Read(c, run, name)
		if errors.Is(err, mountfs.ErrNotFound) {
			err = a.remove(name) // a question that has its answer
		} else if err == nil {
			err = a.write(name, b)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := a.write("state", state); err != nil {
		return false, fmt.Errorf("state: %w", err)
	}
	return finalStates[strings.TrimSpace(string(state))], nil
}
