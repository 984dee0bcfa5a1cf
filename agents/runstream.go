package agents

import (
	"context"
	"io"
	"strings"
)

// Stream opens wait or events: its Read blocks until there is something to tell, and
// ends when the run is over, ctx is done, or it is closed.
func (rt *Runtime) Stream(ctx context.Context, by Submitter, run, file string) (io.ReadCloser, error) {
	l, _ := rt.visible(by, run)
	if l == nil || file != "wait" && file != "events" {
		return nil, ErrNotFound
	}
	ctx, cancel := context.WithCancel(ctx)
	return &stream{rt: rt, l: l, ctx: ctx, cancel: cancel, all: file == "events"}, nil
}

type stream struct {
	rt     *Runtime
	l      *tracked
	ctx    context.Context
	cancel context.CancelFunc
	all    bool
	sent   int // bytes
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		r, changed := s.l.get()
		var text []byte
		if s.all {
			text = events(r)
		} else if r.Terminal() {
			text = []byte(r.State() + "\n")
		}
		if s.sent < len(text) {
			n := copy(p, text[s.sent:])
			s.sent += n
			return n, nil
		}
		if r.Terminal() {
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		case <-s.rt.ctx.Done():
			return 0, ErrClosed
		}
	}
}

func (s *stream) Close() error { s.cancel(); return nil }

// Wait blocks until the run with this name is over, and gives its state.
func (rt *Runtime) Wait(ctx context.Context, by Submitter, run string) (string, error) {
	s, err := rt.Stream(ctx, by, run, "wait")
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(s)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), s.Close()
}
