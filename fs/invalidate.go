package fs

import (
	"context"
	"sync"

	"github.com/ai-os-dot-net/aios/objects"
)

// invalidator tells the kernel what changed without it. Notices wait in a
// queue and are sent by one goroutine: the kernel takes the directory's lock
// for them, so a request handler that sent one could wait for itself.
type invalidator struct {
	t    *tree
	mu   sync.Mutex
	q    []notice
	busy bool
	idle []chan struct{}
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

type notice struct {
	ino  uint64
	name string // "" for the inode itself
	// attrs says that the bytes are good, and only the attributes old.
	attrs bool
}

func newInvalidator(t *tree) *invalidator {
	return &invalidator{t: t, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// changed takes the store's report of an epoch.
func (v *invalidator) changed(c objects.Change) {
	if !v.t.foreign(c) {
		return
	}
	ns := make([]notice, 0, len(c.Inos)+2*len(c.Dentries))
	for _, d := range c.Dentries {
		ns = append(ns, notice{ino: uint64(d.Dir), name: d.Name}, notice{ino: uint64(d.Dir)})
	}
	for _, i := range c.Inos {
		ns = append(ns, notice{ino: uint64(i)})
	}
	if len(c.Fenced) > 0 {
		for _, id := range v.t.nodes.showing(c.Fenced) {
			ns = append(ns, notice{ino: id})
		}
	}
	v.add(ns...)
}

// foreign tells whether a change may have come from elsewhere than this
// mount's own kernel, which knows nothing of a quarantine either.
func (t *tree) foreign(c objects.Change) bool {
	return c.Internal || len(c.Fenced) > 0 || t.o.Shared != nil && t.o.Shared()
}

func (v *invalidator) add(ns ...notice) {
	if len(ns) == 0 {
		return
	}
	v.mu.Lock()
	v.q = append(v.q, ns...)
	v.busy = true
	v.mu.Unlock()
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

func (v *invalidator) run(tr transport) {
	defer close(v.done)
	for {
		v.mu.Lock()
		q := v.q
		v.q = nil
		if len(q) == 0 {
			v.busy = false
			for _, ch := range v.idle {
				close(ch)
			}
			v.idle = nil
		}
		v.mu.Unlock()
		if len(q) == 0 {
			select {
			case <-v.wake:
				continue
			case <-v.stop:
				return
			}
		}
		for _, n := range q {
			// ENOENT means that the kernel does not know it: nothing to forget.
			switch {
			case n.name != "":
				tr.EntryNotify(n.ino, n.name)
			case n.attrs:
				tr.InodeNotify(n.ino, -1, 0)
			default:
				tr.InodeNotify(n.ino, 0, 0)
			}
		}
	}
}

// drain waits until the kernel was told of what is committed: until the store's feed has
// handed it over, and the queue is empty.
func (v *invalidator) drain(ctx context.Context) error {
	if err := v.t.store.WaitSubscribers(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	if !v.busy {
		v.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	v.idle = append(v.idle, ch)
	v.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-v.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *invalidator) close() {
	select {
	case <-v.stop:
	default:
		close(v.stop)
	}
	<-v.done
}
