package fs

import (
	"context"
	"io"
	"strings"
	"sync"
	"syscall"
)

// runFile is a file of NAME.d.
type runFile struct {
	node
	b        *dropBox
	run, p   string
	blocking bool
	writable bool
}

func (f *runFile) attr(c *call) (vattr, error) {
	fi, err := f.b.t.o.Intents.Stat(c.Caller, f.run, f.p)
	if err != nil {
		return vattr{}, err
	}
	size := fi.Size
	if fi.Blocking {
		size = 0
	}
	return vattr{mode: syscall.S_IFREG | fi.Mode&0o7777, size: size, uid: f.uid, gid: f.gid, mtime: fi.ModTime}, nil
}

// setattr lets a shell truncate what it writes to.
func (f *runFile) setattr(_ *call, in *setAttrIn) error {
	if f.writable {
		return nil
	}
	return ErrImmutable
}

func (f *runFile) open(c *call, flags uint32) (vhandle, error) {
	if writes(flags) {
		if !f.writable {
			return nil, f.refusal()
		}
		return &controlHandle{f: f}, nil
	}
	if f.perm&0o444 == 0 {
		return &bytesHandle{}, nil // write-only, but root reads what it likes
	}
	if f.blocking {
		ctx, cancel := context.WithCancel(context.Background())
		r, err := f.b.t.o.Intents.Stream(ctx, c.Caller, f.run, f.p)
		if err != nil {
			cancel()
			return nil, err
		}
		s := &streamHandle{t: f.b.t, r: r, cancel: cancel, more: make(chan struct{})}
		go s.pump()
		return s, nil
	}
	data, err := f.b.t.o.Intents.Read(c.Caller, f.run, f.p)
	if err != nil {
		return nil, err
	}
	if terminalStates[strings.TrimSpace(string(data))] {
		// Whoever reads that it is done must see what was done.
		if err := f.b.t.settle(c); err != nil {
			return nil, err
		}
	}
	return &bytesHandle{data: data}, nil
}

// settle waits until the kernel was told of what the store has committed.
func (t *tree) settle(ctx context.Context) error {
	if t.inval == nil {
		return nil
	}
	return t.inval.drain(ctx)
}

// controlHandle takes what is written to answer, approval, cancel, rollback:
// a line at once, so that its error is the write's, the rest at the close.
type controlHandle struct {
	f    *runFile
	mu   sync.Mutex
	data []byte
}

// maxControl bounds what a control file takes.
const maxControl = 64 << 10

func (h *controlHandle) read(*call, []byte, int64) (int, error) { return 0, nil }

func (h *controlHandle) write(c *call, p []byte, _ int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.data)+len(p) > maxControl {
		return 0, ErrTooLarge
	}
	h.data = append(h.data, p...)
	if h.data[len(h.data)-1] != '\n' {
		return len(p), nil
	}
	if err := h.send(c); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *controlHandle) send(c *call) error {
	data := h.data
	h.data = nil
	if len(data) == 0 {
		return nil
	}
	return h.f.b.t.o.Intents.Write(settled(c), c.Caller, h.f.run, h.f.p, data)
}

func (h *controlHandle) truncate(*call, int64) error { return nil }

func (h *controlHandle) flush(c *call, _ Caller) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.send(c)
}

// streamHandle reads what comes when it comes. One goroutine reads the
// source; readers wait for it or for their own interruption.
type streamHandle struct {
	t      *tree
	r      io.ReadCloser
	cancel context.CancelFunc
	mu     sync.Mutex
	data   []byte
	told   int // up to where the kernel knows what the store had committed when the bytes came
	err    error
	more   chan struct{} // closed and replaced when something came
}

func (s *streamHandle) pump() {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.r.Read(buf)
		s.mu.Lock()
		s.data = append(s.data, buf[:n]...)
		if err != nil {
			s.err = err
		}
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			s.r.Close()
			return
		}
	}
}

func (s *streamHandle) read(c *call, p []byte, off int64) (int, error) {
	for {
		s.mu.Lock()
		var n int
		if off < int64(len(s.data)) {
			n = copy(p, s.data[off:])
		}
		err, more, all, told := s.err, s.more, len(s.data), s.told
		s.mu.Unlock()
		if n > 0 && int(off)+n <= told {
			return n, nil // a shell reads a byte at a time
		}
		if n > 0 {
			if err := s.t.settle(c); err != nil {
				return 0, err
			}
			s.mu.Lock()
			s.told = max(s.told, all)
			s.mu.Unlock()
			return n, nil
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return 0, err
		}
		select {
		case <-more:
		case <-c.Done():
			return 0, context.Canceled
		}
	}
}

func (s *streamHandle) release() { s.cancel() }
