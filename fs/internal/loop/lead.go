package loop

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// idleMax is how many workers wait for the lead; those beyond end. It is
	// the number of requests that usually block at once.
	idleMax = 8
	// buffersMax is how many read buffers of over 1 MiB are kept.
	buffersMax = 4
	// busyMax bounds the requests that wait at once: each keeps a goroutine
	// and up to 128 KiB for its reply. More of them answer EAGAIN.
	busyMax = 4096
	// smallMax is up to what length a request that is taken out of the lead is
	// copied, so that the read buffer goes on with the lead.
	smallMax = 1024

	// loneStreak is after how many requests of one thread, and of nobody else, the next is
	// a lone one (see Request.Lone).
	loneStreak = 32

	// tick is how often the watch looks at the leader: one that it sees at the
	// same request twice has blocked. A look costs 1 to 2 µs a request at full
	// load. More often is dear: the runtime's own sleep knows whole milliseconds
	// only when nothing runs, and a goroutine in nanosleep(2) is one more that
	// holds a processor in a system call, which sets the runtime's monitor
	// going every 20 µs (measured: half a millisecond that way doubled the CPU
	// time of all requests).
	tick = time.Millisecond
	// quietTicks is after how many looks without a request the watch sleeps
	// until the next: waking it costs that request some 5 µs.
	quietTicks = 20
)

// Loop serves one mount.
type Loop struct {
	fs         fuse.RawFileSystem
	opts       fuse.MountOptions
	mayBlock   func(*Request) bool
	closing    func(*Request)
	log        *slog.Logger
	trace      *slog.Logger // takes every request; nil without Debug
	mountpoint string
	direct     bool // mounted without fusermount3
	setxattrIn int  // length of SETXATTR's fixed part
	pollFile   atomic.Pointer[string]

	fd     int
	fdMu   sync.RWMutex // held for notices and ioctls against closing
	closed bool

	// replies counts them. What a handler did before its reply is done before
	// the requests that come after; through the kernel the memory model sees
	// nothing of it, through this number it does.
	replies atomic.Uint64

	// thread is whose the last request was, and streak how many came from it alone; the
	// leader has them.
	thread uint32
	streak int

	// turn is odd while the leader is at a request in line, and grows.
	turn atomic.Uint64

	mu      sync.Mutex
	leader  *worker
	idle    []*worker
	busy    []*worker // at requests without the lead
	buffers [][]byte
	dead    bool // the mount is gone

	workers sync.WaitGroup
	served  chan struct{}

	dozing atomic.Bool // the watch sleeps
	rouse  chan struct{}
	stop   chan struct{}
}

// worker is a goroutine that answers requests.
type worker struct {
	l    *Loop
	r    Request
	wake chan struct{}
	in   []byte // the read buffer; every leader has one
	iov  [2]syscall.Iovec

	// The request's place in l.busy, -1 outside, and whether it was
	// interrupted; l.mu guards both.
	place       int
	interrupted bool

	small [smallMax]byte
}

func (l *Loop) newWorker(in []byte) *worker {
	w := &worker{l: l, wake: make(chan struct{}, 1), in: in, place: -1}
	w.r.cancel = make(chan struct{})
	return w
}

// Serve answers requests until the mount is gone and every request is
// answered; then it closes the device. It must be called once.
func (l *Loop) Serve() {
	watched := make(chan struct{})
	go func() { defer close(watched); l.watch() }()
	l.mu.Lock()
	first := l.next(l.buffer())
	l.mu.Unlock()
	first()
	l.workers.Wait()
	close(l.stop)
	<-watched
	l.fdMu.Lock()
	l.closed = true
	syscall.Close(l.fd)
	l.fdMu.Unlock()
	l.fs.OnUnmount()
	close(l.served)
}

// run is a worker's life.
func (w *worker) run() {
	defer w.l.workers.Done()
	for w.lead() && w.l.rest(w) {
	}
}

// lead reads and answers requests until the lead has gone to another worker.
// It gives false when the mount is gone.
func (w *worker) lead() bool {
	l := w.l
	for {
		n, errno := readDevice(l.fd, w.in)
		switch errno {
		case 0:
		case syscall.EINTR, syscall.EAGAIN, syscall.ENOENT:
			continue // ENOENT: the request was interrupted before we had it
		default:
			if errno != syscall.ENODEV {
				l.log.Error("the FUSE device cannot be read; the mount ends", "error", errno)
			}
			l.die()
			return false
		}
		l.replies.Load()
		if n == 0 {
			l.die()
			return false
		}
		if !w.r.set(w.in[:n]) {
			l.log.Error("a request is shorter than its header", "bytes", n)
			continue
		}
		if l.closing != nil && w.r.Op() == OpRelease && w.r.Node() != pollNode {
			l.closing(&w.r)
		}
		w.r.lone = l.follow(w.r.header().Pid)
		turn := l.turn.Add(1)
		if l.dozing.Load() && l.dozing.CompareAndSwap(true, false) {
			l.rouse <- struct{}{}
		}
		if l.handsOff(&w.r) && !l.handOver(w, turn) {
			w.send(fuse.EAGAIN)
		} else {
			w.serve()
		}
		if !l.turn.CompareAndSwap(turn, turn+1) {
			l.finish(w) // the lead has gone to another
			return true
		}
	}
}

// follow notes whose request the leader has read. What the kernel sends for nobody, as a
// RELEASE, breaks no streak. It gives true for one of a long streak.
func (l *Loop) follow(thread uint32) bool {
	switch thread {
	case 0:
	case l.thread:
		l.streak++
	default:
		l.thread, l.streak = thread, 0
	}
	return l.streak >= loneStreak
}

// handsOff tells whether the lead goes to another worker before the request is
// answered. Where MayBlock panics the handler is likely to, and that is dealt
// with.
func (l *Loop) handsOff(r *Request) (yes bool) {
	defer func() {
		if v := recover(); v != nil {
			yes = true
		}
	}()
	switch r.Op() {
	case OpForget, OpBatchForget, OpInterrupt, OpNotifyReply, OpDestroy:
		return false // they never block, and come when everything else does
	}
	return r.Node() != pollNode && l.mayBlock(r)
}

// serve answers the worker's request.
func (w *worker) serve() {
	st := w.l.answer(&w.r)
	if !w.r.quiet {
		w.send(st)
	}
	if w.l.trace != nil {
		w.l.trace.Debug("request", "op", w.r.Op(), "unique", w.r.header().Unique, "node", w.r.Node(), "status", st, "bytes", len(w.r.bytes))
	}
	w.r.bytes = nil
	if w.r.result != nil {
		w.r.result.Done()
		w.r.result = nil
	}
	if w.r.room != nil {
		putBuffer(w.r.room)
		w.r.room = nil
	}
}

// next makes a worker the leader and gives the function that sets it going; l.mu is
// held by the caller, and must not be for the function.
func (l *Loop) next(buf []byte) func() {
	if n := len(l.idle); n > 0 {
		w := l.idle[n-1]
		l.idle = l.idle[:n-1]
		w.in, l.leader = buf, w
		return func() { w.wake <- struct{}{} }
	}
	w := l.newWorker(buf)
	l.leader = w
	l.workers.Add(1)
	return func() { go w.run() }
}

// handOver gives the lead to another worker, so that w may block at its
// request of this turn. It gives false when too many block already.
func (l *Loop) handOver(w *worker, turn uint64) bool {
	l.mu.Lock()
	if len(l.busy) >= busyMax && w.r.Op() != OpRelease && w.r.Op() != OpReleasedir {
		l.mu.Unlock()
		return false
	}
	if !l.turn.CompareAndSwap(turn, turn+1) {
		l.mu.Unlock()
		return true // the watch has done it
	}
	buf := w.in
	if n := len(w.r.body); n <= smallMax {
		w.r.body, w.in = w.small[:copy(w.small[:], w.r.body)], nil
	} else {
		buf = l.buffer()
	}
	l.enter(w)
	start := l.next(buf)
	l.mu.Unlock()
	start()
	return true
}

// takeOver gives the lead to another worker because the leader has blocked at
// the request of this turn.
func (l *Loop) takeOver(turn uint64) {
	l.mu.Lock()
	if l.dead || !l.turn.CompareAndSwap(turn, turn+1) {
		l.mu.Unlock()
		return
	}
	l.enter(l.leader)
	start := l.next(l.buffer())
	l.mu.Unlock()
	start()
	runtime.Gosched() // to the one just woken
}

// buffer gives a read buffer; l.mu is held.
func (l *Loop) buffer() []byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return b
	}
	return readBuffer(max(l.opts.MaxWrite, readMin))
}

// enter makes the worker's request one that can be interrupted; l.mu is held.
func (l *Loop) enter(w *worker) {
	w.place = len(l.busy)
	l.busy = append(l.busy, w)
	if l.dead {
		w.interrupt()
	}
}

// finish ends a request that was answered without the lead.
func (l *Loop) finish(w *worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.busy) - 1
	l.busy[last].place = w.place
	l.busy[w.place] = l.busy[last]
	l.busy[last] = nil
	l.busy = l.busy[:last]
	w.place = -1
	if w.interrupted {
		w.interrupted, w.r.cancel = false, make(chan struct{})
	}
	if w.in != nil && len(l.buffers) < buffersMax {
		l.buffers = append(l.buffers, w.in)
	}
	w.in = nil
}

// rest waits until the worker is the leader again. It gives false when it is
// not needed any more.
func (l *Loop) rest(w *worker) bool {
	l.mu.Lock()
	if l.dead || len(l.idle) >= idleMax {
		l.mu.Unlock()
		return false
	}
	w.r.body, w.r.payload = nil, nil
	l.idle = append(l.idle, w)
	l.mu.Unlock()
	<-w.wake
	return w.in != nil
}

// die is called by the leader when the mount is gone: whoever waits, in a
// request or for the lead, waits no longer.
func (l *Loop) die() {
	l.mu.Lock()
	l.dead = true
	for _, w := range l.busy {
		w.interrupt()
	}
	for _, w := range l.idle {
		w.wake <- struct{}{}
	}
	l.idle = nil
	l.mu.Unlock()
}

// interrupt closes the request's cancel channel; l.mu is held.
func (w *worker) interrupt() {
	if !w.interrupted {
		w.interrupted = true
		close(w.r.cancel)
	}
}

// interrupt cancels the request with this number. One that is not busy was
// answered in line: there is nothing to cancel then, and no need to answer.
func (l *Loop) interrupt(unique uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.busy {
		if w.r.header().Unique == unique {
			w.interrupt()
			return
		}
	}
}

// watch takes the lead from a leader that has blocked.
func (l *Loop) watch() {
	var seen uint64
	quiet := 0
	for {
		time.Sleep(tick)
		turn := l.turn.Load()
		switch {
		case turn != seen:
			seen, quiet = turn, 0
		case turn&1 == 1:
			l.takeOver(turn)
		default:
			quiet++
		}
		select {
		case <-l.stop:
			return
		default:
		}
		if quiet < quietTicks {
			continue
		}
		quiet = 0
		l.dozing.Store(true)
		if l.turn.Load() != seen && l.dozing.CompareAndSwap(true, false) {
			continue // a request came before it could see that we sleep
		}
		select {
		case <-l.rouse:
		case <-l.stop:
			return
		}
	}
}
