package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var errNotConnected = syscall.ENOTCONN

// run is the directory NAME.d of one goal, as the caller sees it.
type run struct {
	t    tree
	name string // as written into intents/
	dir  string // absolute path of NAME.d
}

// final says whether a state word of contract §4 is the last one, and how the
// command that followed it exits.
func final(state string) (done bool, code int) {
	switch state {
	case "SUCCEEDED":
		return true, 0
	case "FAILED", "ROLLED_BACK", "ROLLBACK_FAILED", "REFUSED":
		return true, exitFailed
	case "POLICY_DENIED":
		return true, exitDenied
	}
	return false, 0
}

// openRun finds a run by the name it was dropped under, by its path, or by its id
// in the caller's inbox.
func openRun(t tree, name string) (run, error) {
	if strings.Contains(name, "/") {
		dir := strings.TrimSuffix(name, "/")
		if !strings.HasSuffix(dir, ".d") {
			dir += ".d"
		}
		if abs, err := filepath.Abs(dir); err == nil {
			if _, err := os.Stat(abs); err == nil {
				return run{t, strings.TrimSuffix(filepath.Base(abs), ".d"), abs}, nil
			}
		}
	}
	name = strings.TrimSuffix(name, ".d")
	for _, dir := range []string{t.path("intents", name+".d"), t.path("self", "inbox", name), t.path("self", "inbox", name+".d")} {
		if _, err := os.Stat(dir); err == nil {
			return run{t, name, dir}, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return run{}, reach(err)
		}
	}
	return run{}, fail(exitFailed, "no intent of yours, and none waiting for you, is called %q (see `aios intent ls` and `aios inbox`)", name)
}

func (r run) read(file string) string {
	b, err := os.ReadFile(filepath.Join(r.dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\n")
}

func (r run) state() string { return r.read("state") }

func (r run) write(file, text string) error {
	f, err := os.OpenFile(filepath.Join(r.dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return r.explain(err)
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return r.explain(err)
	}
	return r.explain(f.Close())
}

// explain adds what error.json says to a refusal by errno.
func (r run) explain(err error) error {
	if err == nil {
		return nil
	}
	var e runError
	if json.Unmarshal([]byte(r.read("error.json")), &e) == nil && e.Message != "" {
		err = fmt.Errorf("%w: %s", err, e.Message)
	}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		return &exitError{exitDenied, err}
	}
	return err
}

// runError is error.json.
type runError struct {
	Code      string          `json:"code"`
	Message   string          `json:"message"`
	Details   json.RawMessage `json:"details,omitempty"`
	Retryable bool            `json:"retryable"`
}

// event is one line of events.log.
type event struct {
	Time  string `json:"time"`
	Event string `json:"event"`
	State string `json:"state"`
	// Detail is free text for people.
	Detail string `json:"detail"`
	Action string `json:"action"`
}

// rawReader reads a descriptor with plain system calls.
type rawReader int

func (fd rawReader) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n <= 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// follow calls fn for each event until the run is terminal, ctx ends, or fn says stop.
func (r run) follow(ctx context.Context, fn func(event) (stop bool)) error {
	// A descriptor of the plain kind: Go's own file would wait at its Close for the read
	// that is under way, and this one ends with the run, which may be tomorrow.
	fd, err := unix.Open(filepath.Join(r.dir, "events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return reach(&os.PathError{Op: "open", Path: filepath.Join(r.dir, "events"), Err: err})
	}
	type line struct {
		text string
		err  error
	}
	lines := make(chan line)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(lines)
		defer unix.Close(fd)
		in := bufio.NewReader(rawReader(fd))
		for {
			text, err := in.ReadString('\n')
			if text != "" {
				select {
				case lines <- line{text: text}:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				if err != io.EOF {
					select {
					case lines <- line{err: err}:
					case <-ctx.Done():
					}
				}
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l, ok := <-lines:
			if !ok {
				return nil
			}
			if l.err != nil {
				return l.err
			}
			var e event
			if json.Unmarshal([]byte(l.text), &e) != nil {
				continue
			}
			if fn(e) {
				return nil
			}
		}
	}
}
