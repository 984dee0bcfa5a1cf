package loop

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kernel plays the kernel's part over a socket that keeps messages apart, as
// the device does.
type kernel struct {
	t      testing.TB
	fd     int
	unique uint64
	mu     sync.Mutex
	got    map[uint64]reply
	come   *sync.Cond
}

type reply struct {
	status fuse.Status
	body   []byte
}

// testFS is a file system of which a test says what lookups do.
type testFS struct {
	fuse.RawFileSystem
	lookup    func(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status
	forgotten atomic.Int64
	unmounted atomic.Bool
}

func (f *testFS) Lookup(c <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return f.lookup(c, h, name, out)
}
func (f *testFS) Forget(_, n uint64) { f.forgotten.Add(int64(n)) }
func (f *testFS) OnUnmount()         { f.unmounted.Store(true) }
func (f *testFS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	for i := range buf {
		buf[i] = 'x'
	}
	return fuse.ReadResultData(buf), fuse.OK
}
func (f *testFS) GetXAttr(_ <-chan struct{}, _ *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if len(dest) < len(name) {
		return uint32(len(name)), fuse.ERANGE
	}
	return uint32(copy(dest, name)), fuse.OK
}

// serve starts a loop; blocks says which lookups are announced as blocking.
func serve(t testing.TB, fs *testFS, blocks func(*Request) bool) (*Loop, *kernel) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fs.RawFileSystem == nil {
		fs.RawFileSystem = fuse.NewDefaultRawFileSystem()
	}
	if fs.lookup == nil {
		fs.lookup = func(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
			out.NodeId = uint64(len(name))
			return fuse.OK
		}
	}
	l := newLoop(fs, &fuse.MountOptions{MaxWrite: 128 << 10, PanicHandler: func(any) fuse.Status { return fuse.EIO }}, Options{MayBlock: blocks})
	l.fd = pair[0]
	k := &kernel{t: t, fd: pair[1], got: map[uint64]reply{}}
	k.come = sync.NewCond(&k.mu)
	read := make(chan struct{})
	go func() { defer close(read); k.read() }()
	go l.Serve()
	t.Cleanup(func() {
		syscall.Shutdown(k.fd, syscall.SHUT_RDWR)
		<-l.served
		<-read
		syscall.Close(k.fd)
		if !fs.unmounted.Load() {
			t.Error("the file system was not told that the mount is gone")
		}
	})
	return l, k
}

func (k *kernel) read() {
	b := make([]byte, 1<<20)
	for {
		n, err := syscall.Read(k.fd, b)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		h := (*fuse.OutHeader)(unsafe.Pointer(&b[0]))
		if int(h.Length) != n {
			k.t.Errorf("a reply of %d bytes says that it is %d long", n, h.Length)
		}
		k.mu.Lock()
		if _, twice := k.got[h.Unique]; twice {
			k.t.Errorf("request %d was answered twice", h.Unique)
		}
		k.got[h.Unique] = reply{fuse.Status(-h.Status), append([]byte(nil), b[headerOut:n]...)}
		k.come.Broadcast()
		k.mu.Unlock()
	}
}

// request makes a request's bytes.
func request(op Op, unique, node uint64, fixed []byte, rest ...string) []byte {
	b := make([]byte, headerIn)
	b = append(b, fixed...)
	for _, s := range rest {
		b = append(append(b, s...), 0)
	}
	*(*fuse.InHeader)(unsafe.Pointer(&b[0])) = fuse.InHeader{Length: uint32(len(b)), Opcode: uint32(op), Unique: unique, NodeId: node}
	return b
}

func (k *kernel) write(b []byte) {
	k.t.Helper()
	if _, err := syscall.Write(k.fd, b); err != nil {
		k.t.Fatal(err)
	}
}

// send sends a request and gives its number.
func (k *kernel) send(op Op, node uint64, fixed []byte, rest ...string) uint64 {
	k.t.Helper()
	k.unique += 2
	k.write(request(op, k.unique, node, fixed, rest...))
	return k.unique
}

// wait waits for the reply; the test's own time limit is the only one.
func (k *kernel) wait(unique uint64) reply {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		if r, ok := k.got[unique]; ok {
			return r
		}
		k.come.Wait()
	}
}

func (k *kernel) answered(unique uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.got[unique]
	return ok
}

func (k *kernel) want(unique uint64, st fuse.Status) reply {
	k.t.Helper()
	r := k.wait(unique)
	if r.status != st {
		k.t.Errorf("request %d: %v, want %v", unique, r.status, st)
	}
	return r
}

func u64(v ...uint64) (b []byte) {
	for _, x := range v {
		b = binary.NativeEndian.AppendUint64(b, x)
	}
	return b
}

func inLine(*Request) bool   { return false }
func blocking(*Request) bool { return true }

func TestAnswers(t *testing.T) {
	fs := &testFS{}
	for name, blocks := range map[string]func(*Request) bool{"in line": inLine, "handed over": blocking} {
		t.Run(name, func(t *testing.T) {
			_, k := serve(t, fs, blocks)
			if r := k.want(k.send(OpLookup, 1, nil, "four"), fuse.OK); len(r.body) != int(unsafe.Sizeof(fuse.EntryOut{})) || binary.NativeEndian.Uint64(r.body) != 4 {
				t.Errorf("lookup: %d bytes, %x", len(r.body), r.body)
			}
			k.want(k.send(OpLookup, 1, []byte("no zero byte")), fuse.EINVAL)
			k.want(k.send(OpGetattr, 1, []byte("short")), fuse.EIO)
			k.want(k.send(Op(63), 1, nil), fuse.ENOSYS)
			k.want(k.send(Op(1<<31), 1, nil), fuse.ENOSYS)
			k.want(k.send(OpPoll, 1, make([]byte, 24)), fuse.ENOSYS)
			k.want(k.send(OpCopyFileRange64, 1, make([]byte, 56)), fuse.ENOSYS)
			k.want(k.send(OpDestroy, 1, nil), fuse.OK)

			size := func(n int) []byte { return append(u64(0, 0), append(u64(uint64(n)), u64(0, 0)...)...) }
			if r := k.want(k.send(OpRead, 1, size(100_000)), fuse.OK); len(r.body) != 100_000 {
				t.Errorf("read: %d bytes", len(r.body))
			}
			if r := k.want(k.send(OpRead, 1, size(0)), fuse.OK); len(r.body) != 0 {
				t.Errorf("read of nothing: %d bytes", len(r.body))
			}
			k.want(k.send(OpRead, 1, size(1<<31)), fuse.EINVAL)
			k.want(k.send(OpReaddir, 1, size(1<<31)), fuse.EINVAL)
			k.want(k.send(OpWrite, 1, size(1000)), fuse.EINVAL)

			if r := k.want(k.send(OpGetxattr, 1, u64(0), "user.name"), fuse.OK); len(r.body) != 8 || r.body[0] != 9 {
				t.Errorf("length of an attribute: %x", r.body)
			}
			k.want(k.send(OpGetxattr, 1, u64(4), "user.name"), fuse.ERANGE)
			if r := k.want(k.send(OpGetxattr, 1, u64(64), "user.name"), fuse.OK); string(r.body) != "user.name" {
				t.Errorf("an attribute: %q", r.body)
			}

			before := fs.forgotten.Load()
			one := k.send(OpForget, 5, u64(2))
			two := k.send(OpBatchForget, 0, u64(3, 5, 2, 6, 2)) // says three, holds two
			k.want(k.send(OpLookup, 1, nil, "after"), fuse.OK)
			if n := fs.forgotten.Load() - before; n != 6 {
				t.Errorf("%d lookups were forgotten, want 6", n)
			}
			if k.answered(one) || k.answered(two) {
				t.Error("FORGET was answered")
			}
		})
	}
}

func TestPanicAnswersEIO(t *testing.T) {
	fs := &testFS{}
	fs.lookup = func(_ <-chan struct{}, _ *fuse.InHeader, name string, _ *fuse.EntryOut) fuse.Status {
		if name == "bad" {
			panic("a handler's bug")
		}
		return fuse.OK
	}
	_, k := serve(t, fs, inLine)
	for range 3 {
		if r := k.want(k.send(OpLookup, 1, nil, "bad"), fuse.EIO); len(r.body) != 0 {
			t.Errorf("an error with %d bytes", len(r.body))
		}
		k.want(k.send(OpLookup, 1, nil, "good"), fuse.OK)
	}
}

func TestPanicInMayBlock(t *testing.T) {
	_, k := serve(t, &testFS{}, func(*Request) bool { panic("a bug") })
	for range 3 {
		k.want(k.send(OpLookup, 1, nil, "good"), fuse.OK)
	}
}

// A request that blocks does not stop those behind it, whether it was known to
// block or not; INTERRUPT reaches it, and only it.
func TestBlockedRequests(t *testing.T) {
	for name, blocks := range map[string]func(*Request) bool{"known": blocking, "noticed": inLine} {
		t.Run(name, func(t *testing.T) {
			fs := &testFS{}
			let := make(chan struct{})
			fs.lookup = func(cancel <-chan struct{}, _ *fuse.InHeader, name string, _ *fuse.EntryOut) fuse.Status {
				if name == "now" {
					select {
					case <-cancel:
						t.Error("a request that nobody interrupted was")
					default:
					}
					return fuse.OK
				}
				select {
				case <-cancel:
					return fuse.EINTR
				case <-let:
					return fuse.OK
				}
			}
			l, k := serve(t, fs, blocks)
			var slow []uint64
			const many = 3 * idleMax
			for range many {
				slow = append(slow, k.send(OpLookup, 1, nil, "slow"))
				k.want(k.send(OpLookup, 1, nil, "now"), fuse.OK)
			}
			for _, u := range slow[:many/2] {
				k.send(OpInterrupt, 0, u64(u))
				k.send(OpInterrupt, 0, u64(u)) // again: it is cancelled once
				k.want(u, fuse.EINTR)
			}
			k.send(OpInterrupt, 0, u64(9999)) // of nothing
			for _, u := range slow[many/2:] {
				if k.answered(u) {
					t.Errorf("request %d did not wait", u)
				}
			}
			close(let)
			for _, u := range slow[many/2:] {
				k.want(u, fuse.OK)
			}
			for range 2 * many { // by workers whose requests were interrupted before
				k.want(k.send(OpLookup, 1, nil, "now"), fuse.OK)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.idle) > idleMax || len(l.buffers) > buffersMax {
				t.Errorf("%d workers and %d buffers wait", len(l.idle), len(l.buffers))
			}
		})
	}
}

// When the mount goes, what waits in a request is cancelled, and Serve returns
// after the last answer.
func TestEndCancels(t *testing.T) {
	for name, blocks := range map[string]func(*Request) bool{"known": blocking, "noticed": inLine} {
		t.Run(name, func(t *testing.T) {
			fs := &testFS{}
			in, cancelled := make(chan struct{}, 8), atomic.Int64{}
			fs.lookup = func(cancel <-chan struct{}, _ *fuse.InHeader, _ string, _ *fuse.EntryOut) fuse.Status {
				in <- struct{}{}
				<-cancel
				cancelled.Add(1)
				return fuse.EINTR
			}
			l, k := serve(t, fs, blocks)
			for range 8 {
				k.send(OpLookup, 1, nil, "x")
				<-in
			}
			syscall.Shutdown(k.fd, syscall.SHUT_RDWR)
			<-l.served
			if n := cancelled.Load(); n != 8 {
				t.Errorf("%d of 8 requests were cancelled", n)
			}
			if st := l.EntryNotify(1, "x"); st != fuse.Status(syscall.EBADF) {
				t.Errorf("a notice after the end: %v", st)
			}
			if err := l.Unmount(); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("unmount after the end: %v", err)
			}
		})
	}
}

// More requests than may wait are refused, and closing a file is not.
func TestTooManyBusy(t *testing.T) {
	fs := &testFS{}
	var in atomic.Int64
	fs.lookup = func(cancel <-chan struct{}, _ *fuse.InHeader, _ string, _ *fuse.EntryOut) fuse.Status {
		in.Add(1)
		<-cancel
		return fuse.EINTR
	}
	_, k := serve(t, fs, blocking)
	for range busyMax {
		k.send(OpLookup, 1, nil, "x")
	}
	k.want(k.send(OpLookup, 1, nil, "x"), fuse.EAGAIN)
	k.want(k.send(OpRelease, 1, make([]byte, 24)), fuse.OK)
}

func TestNotices(t *testing.T) {
	l, k := serve(t, &testFS{}, inLine)
	// They carry no number; the fake takes the code for a status.
	for code, send := range map[fuse.Status]func() fuse.Status{
		2: func() fuse.Status { return l.InodeNotify(7, 0, 0) },
		3: func() fuse.Status { return l.EntryNotify(7, "name") },
		4: func() fuse.Status { return l.InodeNotifyStoreCache(7, 0, []byte("bytes")) },
		6: func() fuse.Status { return l.DeleteNotify(7, 8, "name") },
	} {
		if st := send(); st != fuse.OK {
			t.Errorf("notice %d: %v", code, st)
		}
		r := k.wait(0)
		if -r.status != code {
			t.Errorf("notice %d went out as %d", code, -r.status)
		}
		k.mu.Lock()
		delete(k.got, 0)
		k.mu.Unlock()
	}
}

// The path of most requests leaves nothing to the garbage collector but names.
func TestAllocations(t *testing.T) {
	fs := &testFS{RawFileSystem: fuse.NewDefaultRawFileSystem()}
	fs.lookup = func(<-chan struct{}, *fuse.InHeader, string, *fuse.EntryOut) fuse.Status { return fuse.OK }
	l := newLoop(fs, &fuse.MountOptions{MaxWrite: 128 << 10}, Options{MayBlock: inLine})
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	l.fd = int(null.Fd())
	w := l.newWorker(nil)
	for name, c := range map[string]struct {
		body []byte
		most float64
	}{
		"LOOKUP":   {request(OpLookup, 2, 1, nil, "a name"), 1},
		"GETATTR":  {request(OpGetattr, 2, 1, make([]byte, 16)), 0},
		"WRITE":    {request(OpWrite, 2, 1, make([]byte, 40)), 0},
		"GETXATTR": {request(OpGetxattr, 2, 1, u64(64), "user.name"), 2},
		"RENAME2":  {request(OpRename2, 2, 1, make([]byte, 16), "a", "b"), 2},
	} {
		if n := testing.AllocsPerRun(200, func() {
			if !w.r.set(c.body) {
				t.Fatal("refused")
			}
			w.serve()
		}); n > c.most {
			t.Errorf("%s: %v allocations, want %v", name, n, c.most)
		}
	}
}

func TestNegotiate(t *testing.T) {
	hello := fuse.InitIn{Major: 7, Minor: 45, MaxReadAhead: 128 << 10, Flags: 0xffffffff, Flags2: 0xffffffff}
	o := fuse.MountOptions{MaxWrite: 1 << 20, MaxBackground: 64, ExplicitDataCacheControl: true, EnableSymlinkCaching: true, EnableAcl: true,
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_NO_OPEN_SUPPORT, DisabledCapabilities: fuse.CAP_ASYNC_READ}
	out, err := negotiate(&hello, &o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		bit  uint64
		want bool
	}{
		{"asked for", fuse.CAP_ATOMIC_O_TRUNC, true}, {"always", fuse.CAP_PARALLEL_DIROPS, true}, {"ACLs", fuse.CAP_POSIX_ACL, true},
		{"passthrough", fuse.CAP_PASSTHROUGH, true}, {"symlinks", fuse.CAP_CACHE_SYMLINKS, true}, {"explicit invalidation", fuse.CAP_EXPLICIT_INVAL_DATA, true},
		{"automatic invalidation", fuse.CAP_AUTO_INVAL_DATA, false}, {"disabled", fuse.CAP_ASYNC_READ, false}, {"never", fuse.CAP_NO_OPEN_SUPPORT, false},
		{"nobody asked", fuse.CAP_WRITEBACK_CACHE, false}, {"locks", fuse.CAP_POSIX_LOCKS, false},
	} {
		if got := out.Flags64()&c.bit != 0; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if out.MaxPages != uint16(o.MaxWrite/os.Getpagesize()) || out.MaxBackground != 64 || out.CongestionThreshold != 48 || out.Minor != minor || out.MaxStackDepth != 1 {
		t.Errorf("%+v", out)
	}
	if capabilities(0, &o) != 0 {
		t.Error("more was agreed on than the kernel offers")
	}
	old := fuse.InitIn{Major: 7, Minor: 11}
	if _, err := negotiate(&old, &o); err == nil {
		t.Error("an ancient kernel was welcome")
	}
}

// Whatever follows a header is answered or refused, never a panic.
func FuzzRequest(f *testing.F) {
	for op := range Op(opCount) {
		f.Add(uint32(op), uint16(0), u64(1, 2, 3, 4, 5, 6), uint32(0))
		f.Add(uint32(op), uint16(1), append(u64(8, 0, 16), "name\x00other\x00value"...), uint32(0))
	}
	f.Add(uint32(OpInit), uint16(0), []byte{}, uint32(1))
	fs := &testFS{RawFileSystem: fuse.NewDefaultRawFileSystem()}
	fs.lookup = func(<-chan struct{}, *fuse.InHeader, string, *fuse.EntryOut) fuse.Status { return fuse.OK }
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		f.Fatal(err)
	}
	defer null.Close()
	f.Fuzz(func(t *testing.T, op uint32, ext uint16, rest []byte, cut uint32) {
		l := newLoop(fs, &fuse.MountOptions{MaxWrite: 128 << 10, PanicHandler: func(v any) fuse.Status { t.Fatalf("panic: %v", v); return fuse.EIO }}, Options{})
		l.fd = int(null.Fd())
		for _, long := range []int{setxattrIn, int(unsafe.Sizeof(fuse.SetXAttrIn{}))} {
			l.setxattrIn = long
			b := request(Op(op), 2, 1, rest)
			h := (*fuse.InHeader)(unsafe.Pointer(&b[0]))
			h.TotalExtlen = ext
			h.Length -= min(cut, h.Length)
			w := l.newWorker(nil)
			if w.r.set(b) {
				_, _, _ = w.r.Handle(), w.r.Size(), w.r.Valid()
				w.serve()
			}
		}
	})
}

func TestReadBufferAlignment(t *testing.T) {
	for range 4 {
		b := readBuffer(1 << 20)
		if at := uintptr(unsafe.Pointer(&b[writeIn])); at%uintptr(os.Getpagesize()) != 0 || len(b) != 1<<20+writeIn {
			t.Errorf("the data of a WRITE begins at %#x of %d bytes", at, len(b))
		}
	}
}

// An idle mount wakes nobody: the watch sleeps until a request comes.
func TestIdleSleeps(t *testing.T) {
	fs := &testFS{}
	l, k := serve(t, fs, inLine)
	for range 3 {
		k.want(k.send(OpLookup, 1, nil, "x"), fuse.OK)
		for !l.dozing.Load() {
			time.Sleep(tick)
		}
	}
}

// A streak of one thread's requests makes the next a lone one; another's ends it, and what
// the kernel sends for nobody does not.
func TestLone(t *testing.T) {
	l := &Loop{}
	for range loneStreak {
		if l.follow(7) {
			t.Fatal("a streak that is too short")
		}
	}
	for _, c := range []struct {
		thread uint32
		want   bool
	}{{7, true}, {0, true}, {7, true}, {8, false}, {7, false}, {0, false}} {
		if got := l.follow(c.thread); got != c.want {
			t.Errorf("after thread %d: %v", c.thread, got)
		}
	}
}
