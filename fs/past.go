package fs

import (
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
)

// past keeps the trees of the past open that somebody looks at. Opening one costs
// more than a lookup in it, and a walk asks for the same one at every step.
type past struct {
	store *objects.Store
	mu    sync.Mutex
	open  map[int64]*pastTree
	timer *time.Timer
	over  bool
}

type pastTree struct {
	sn    *objects.Snapshot
	users int
	used  time.Time
}

const (
	// pastIdle is how long a tree stays open after its last use: it holds back the
	// horizon of the history meanwhile.
	pastIdle = 10 * time.Second
	// pastMax bounds the trees that are kept open without a user.
	pastMax = 16
	// pastTime is how long the kernel may remember a name of the past. What was
	// cannot change; what was purged since is asked about again after it, and its
	// content is refused at once (T-6).
	pastTime = time.Minute
)

// with runs fn on the tree as it was at a time.
func (p *past) with(at time.Time, fn func(*objects.Snapshot) error) error {
	s, err := p.get(at)
	if err != nil {
		return err
	}
	defer p.put(s)
	return fn(s.sn)
}

func (p *past) get(at time.Time) (*pastTree, error) {
	key := at.UnixMicro()
	p.mu.Lock()
	if s := p.open[key]; s != nil {
		s.users++
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	sn, err := p.store.At(at)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.open[key]; s != nil {
		sn.Close()
		s.users++
		return s, nil
	}
	s := &pastTree{sn: sn, users: 1}
	if !p.over {
		if p.open == nil {
			p.open = map[int64]*pastTree{}
		}
		p.open[key] = s
	}
	return s, nil
}

func (p *past) put(s *pastTree) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	s.used = time.Now()
	switch {
	case s.users > 0:
	case p.over:
		s.sn.Close()
	case len(p.open) > pastMax:
		p.drop(time.Now().Add(pastIdle)) // all that nobody uses
	case p.timer == nil:
		p.timer = time.AfterFunc(pastIdle, p.tidy)
	}
}

// tidy closes what nobody looked at for a while.
func (p *past) tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	if p.drop(time.Now()); len(p.open) > 0 && !p.over {
		p.timer = time.AfterFunc(pastIdle, p.tidy)
	}
}

func (p *past) drop(now time.Time) {
	for key, s := range p.open {
		if s.users == 0 && now.Sub(s.used) >= pastIdle {
			s.sn.Close()
			delete(p.open, key)
		}
	}
}

// close lets go of all trees, at once or when their last user does.
func (p *past) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for key, s := range p.open {
		if s.users == 0 {
			s.sn.Close()
		}
		delete(p.open, key)
	}
}
