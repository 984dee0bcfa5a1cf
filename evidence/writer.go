package evidence

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"
)

// maxBatch is how many records one group commit takes at most (spec
// §8 [P]: 256). Records gather while the previous commit is being synced, so
// that a lone append never waits for company.
const maxBatch = 256

// request is one Append on its way through the writer.
type request struct {
	drafts []*prepared
	self   bool // by the log itself
	out    []Receipt
	err    error
	done   chan struct{}
}

// operation runs between two commits, in the writer.
type operation struct {
	run  func() error
	err  error
	done chan struct{}
}

// submit hands drafts to the writer and waits until they are durable.
func (l *Log) submit(ctx context.Context, ps []*prepared, self bool) ([]Receipt, error) {
	r := &request{drafts: ps, self: self, done: make(chan struct{})}
	select {
	case l.requests <- r:
	case <-l.stop:
		return nil, fmt.Errorf("append: %w", ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("append: %w", ctx.Err())
	}
	select {
	case <-r.done:
		return r.out, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("append: %w", ctx.Err())
	}
}

// do runs fn in the writer.
func (l *Log) do(ctx context.Context, fn func() error) error {
	op := &operation{run: fn, done: make(chan struct{})}
	select {
	case l.ops <- op:
	case <-l.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	<-op.done
	return op.err
}

// write is the one goroutine that appends.
func (l *Log) write() {
	defer l.done.Done()
	age := time.NewTicker(min(l.o.SealAge/4+time.Millisecond, time.Minute))
	defer age.Stop()
	for {
		select {
		case r := <-l.requests:
			l.commit(l.gather(r))
		case op := <-l.ops:
			op.err = op.run()
			close(op.done)
		case <-age.C:
			if l.Health() == nil && l.overAge() {
				if err := l.sealActive(sealAge); err != nil {
					l.o.Logger.Error("seal segment", "err", err)
				}
			}
		case <-l.stop:
			l.drain()
			return
		}
	}
}

// drain answers what still waits when the log closes.
func (l *Log) drain() {
	for {
		select {
		case r := <-l.requests:
			r.err = fmt.Errorf("append: %w", ErrClosed)
			close(r.done)
		case op := <-l.ops:
			op.err = ErrClosed
			close(op.done)
		default:
			return
		}
	}
}

// gather takes every request that already waits, up to a full batch.
func (l *Log) gather(first *request) []*request {
	batch, n := []*request{first}, len(first.drafts)
	for n < maxBatch {
		select {
		case r := <-l.requests:
			batch, n = append(batch, r), n+len(r.drafts)
		default:
			return batch
		}
	}
	return batch
}

// commit makes a batch durable with one write and one sync, then answers.
func (l *Log) commit(batch []*request) {
	defer func() {
		for _, r := range batch {
			close(r.done)
		}
	}()
	fail := func(err error) {
		for _, r := range batch {
			if r.err == nil {
				r.out, r.err = nil, fmt.Errorf("append: %w", err)
			}
		}
	}
	if err := l.rotate(); err != nil {
		fail(err)
		return
	}
	b, err := l.begin()
	if err != nil {
		fail(err)
		return
	}
	if l.Health() == nil {
		if err := b.observe(); err != nil {
			fail(err)
			return
		}
	}
	for _, r := range batch {
		r.out, r.err = b.place(r)
	}
	if err := b.write(); err != nil {
		fail(err)
		return
	}
	b.publish()
	for _, r := range batch {
		if r.err == nil {
			b.resolve(r)
		}
	}
}

// rotate seals the active segment if it is full or old.
func (l *Log) rotate() error {
	s := l.active()
	if s == nil || l.Health() != nil {
		return nil
	}
	if s.records+s.payloads >= l.o.SealBytes {
		return l.sealActive(sealSize)
	}
	if l.overAge() {
		return l.sealActive(sealAge)
	}
	return nil
}

func (l *Log) overAge() bool {
	s := l.active()
	return s != nil && s.count > 0 && l.o.Now().UnixNano()-s.opened >= int64(l.o.SealAge)
}

// ids makes receipt ids that rise within a millisecond.
type ids struct{ entropy *ulid.MonotonicEntropy }

func (g *ids) next(t time.Time, random io.Reader) ulid.ULID {
	if g.entropy == nil {
		g.entropy = ulid.Monotonic(random, 0)
	}
	id, err := ulid.New(ulid.Timestamp(t), g.entropy)
	if err != nil { // more than 2^80 in one millisecond, or the clock stood still too long
		g.entropy = ulid.Monotonic(random, 0)
		id = ulid.MustNew(ulid.Timestamp(t), g.entropy)
	}
	return id
}
