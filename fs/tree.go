package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/fs/namespace"
	"github.com/ai-os-dot-net/aios/objects"
)

// tree answers the kernel's requests. Its methods are those of go-fuse's
// RawFileSystem, one file a kind of request.
type tree struct {
	fuse.RawFileSystem // answers ENOSYS to what is not here
	o                  Options
	store              *objects.Store
	log                *slog.Logger
	callers            *callers
	denied             *denialLog
	inval              *invalidator
	nodes              nodeTable
	handles            handleTable
	pass               passing
	reads              readings
	ops                operations
	root               vdir // the projections beside system and groups
	drop               *dropBox
	born               time.Time // mtime of what has no time of its own

	usersMu sync.Mutex
	users   map[string]bool // whose directories exist

	fresh freshness
	past  past
	trash trashLists
	ranks lately[EvidenceRecord]  // of numbered directories of the log
	hists lately[objects.Version] // of directories of .versions
	died  lately[trashList]       // of removed directories

	unsubscribe func()
	closed      atomic.Bool
	started     atomic.Bool
	recoveryDir objects.Ino // of a recovery mount that takes intents; 0 otherwise
}

func newTree(ctx context.Context, o Options) (*tree, error) {
	switch {
	case o.Store == nil:
		return nil, errors.New("a mount needs a store")
	case o.Identity == nil:
		return nil, errors.New("a mount needs an identity catalogue")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	t := &tree{RawFileSystem: fuse.NewDefaultRawFileSystem(), o: o, store: o.Store, log: o.Logger, born: o.Now(), users: map[string]bool{}}
	t.callers = newCallers(o.Identity, o.AgentID, o.Recovery, o.Now)
	t.nodes.init()
	t.handles.init()
	t.pass.init()
	t.fresh.init()
	t.past.store = o.Store
	if err := t.ensureLayout(ctx); err != nil {
		return nil, err
	}
	if err := t.findRecovery(); err != nil {
		return nil, err
	}
	t.drop = newDropBox(t)
	t.root = newRoot(t)
	t.denied = newDenialLog(o.Denials, o.Now)
	return t, nil
}

// start begins to tell the kernel what changes without it.
func (t *tree) start(tr transport) {
	t.inval = newInvalidator(t)
	t.started.Store(true)
	go t.inval.run(tr)
	t.unsubscribe = t.store.Subscribe(func(c objects.Change) {
		t.inval.changed(c)
		if t.foreign(c) {
			t.fresh.forget(c)
		}
	})
}

func (t *tree) close() {
	if t.closed.Swap(true) {
		return
	}
	if t.unsubscribe != nil {
		t.unsubscribe()
	}
	if t.inval != nil {
		t.inval.close()
	}
	t.handles.closeAll()
	t.past.close()
	t.denied.close()
}

func (t *tree) reload(ctx context.Context) error {
	t.callers.forget()
	return t.ensureLayout(ctx)
}

// String names the file system in go-fuse's messages.
func (t *tree) String() string { return "aios" }

func stack() string { return string(debug.Stack()) }

// Init is called when the kernel has answered; the server is kept by Mount.
func (t *tree) Init(*fuse.Server) {}

// call is one request: who asks and until when. It is good only until the
// request is answered.
type call struct {
	context.Context
	Caller
	t *tree
}

// call resolves the caller of a request.
func (t *tree) call(cancel <-chan struct{}, h *fuse.InHeader) (*call, error) {
	t.ops.count(h.Opcode)
	t.store.Asked()
	resolve := t.callers.of
	if t.plain(h.NodeId) {
		resolve = t.callers.subject
	}
	c, err := resolve(h)
	if err == nil && t.o.Recovery && c.Subject.IsAI {
		err = fmt.Errorf("no agent has a part in recovery: %w", ErrDenied)
		t.denied.add(c, OpAccess, Target{Path: "/aios"}, "L5StartProhibitedInRecovery", err.Error())
	}
	return &call{Context: &fuse.Context{Caller: h.Caller, Cancel: cancel}, Caller: c, t: t}, err
}

// plain tells whether an inode lies inside the stored tree, where nothing is
// decided by more than the kernel's ids.
func (t *tree) plain(id uint64) bool {
	if isVirtual(id) {
		return false
	}
	p, err := t.place(id)
	return err == nil && p.level == levelInside
}

// settled is the context of work that is not given up half-way: any signal
// to the caller interrupts a request, also those by which runtimes schedule
// their threads, and programs do not expect fsync or close to fail by one.
func settled(c *call) context.Context { return context.WithoutCancel(c) }

// pathOf is where a virtual node is shown, for records.
func pathOf(v vnode) string {
	p, _, _ := strings.Cut(v.name(), "\x00")
	return "/aios/" + p
}

// healthy refuses changes while the store or the log cannot take them.
func (t *tree) healthy() error {
	if t.o.ReadOnly {
		return ErrReadOnly
	}
	if err := t.recoveryOnly(); err != nil {
		return err
	}
	return t.sound()
}

// sound refuses what would need the store or the log while they cannot take it.
func (t *tree) sound() error {
	if t.o.Health != nil {
		if err := t.o.Health(); err != nil {
			return fmt.Errorf("%w: %w", ErrUnhealthy, err)
		}
	}
	return nil
}

// allow asks the layout's classes and policy about an operation at a place,
// and records a refusal.
func (t *tree) allow(c *call, op Op, p place) error {
	if p.inCan() {
		return t.allowCan(c, op, p)
	}
	if op.Mutates() {
		if err := t.healthy(); err != nil {
			return err
		}
		if code, err := t.mayChange(c.Caller, p); err != nil {
			t.denied.add(c.Caller, op, p.target(), code, err.Error())
			return err
		}
	}
	if t.o.Gate != nil {
		if err := t.o.Gate.Check(c, c.Caller, op, p.target()); err != nil {
			t.denied.add(c.Caller, op, p.target(), "", err.Error())
			return err
		}
	}
	if op.Mutates() && p.scope == namespace.ScopeSystem && p.reserved.Mutation == namespace.RecoveryOrSysAdmin {
		t.denied.add(c.Caller, op, p.target(), SystemAdminOperation, "an administrator changes the system")
	}
	return nil
}

// place is where a stored inode stands; an inode without a name stands
// inside nothing, and nothing can be made there.
func (t *tree) place(ino uint64) (place, error) {
	p, err := t.store.PathOf(objects.Ino(ino))
	if err != nil {
		return place{}, err
	}
	return placeOf(p), nil
}

// isVirtual tells whether a node id is one of ours and not the store's.
func isVirtual(id uint64) bool { return id >= virtualBase }

// freshness remembers which directories the kernel has valid attributes of.
// With default_permissions a refusal by mode bits never reaches the daemon but
// as a GETATTR for attributes that are still valid, asked by a stranger
// (T-18): that is how a denial is noticed.
type freshness struct {
	mu   sync.Mutex
	dirs map[uint64]time.Time // until when
}

func (f *freshness) init() { f.dirs = map[uint64]time.Time{} }

func (f *freshness) told(ino uint64, now time.Time) {
	f.mu.Lock()
	f.dirs[ino] = now.Add(cacheTime)
	f.mu.Unlock()
}

// changed notes that the kernel will ask again by itself.
func (f *freshness) changed(inos ...uint64) {
	f.mu.Lock()
	for _, i := range inos {
		delete(f.dirs, i)
	}
	f.mu.Unlock()
}

func (f *freshness) valid(ino uint64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.dirs[ino])
}

func (f *freshness) forget(c objects.Change) {
	f.mu.Lock()
	for _, i := range c.Inos {
		delete(f.dirs, uint64(i))
	}
	for _, d := range c.Dentries {
		delete(f.dirs, uint64(d.Dir))
	}
	f.mu.Unlock()
}
