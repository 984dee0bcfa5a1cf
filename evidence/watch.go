package evidence

import "context"

// Watch delivers every durable record from fromSeq (1: from the start; 0:
// only what comes from now on) in order, simulations included, until ctx
// ends or the log closes, and then closes the channel. Records are read from
// disk at the reader's pace: a slow reader misses nothing and holds up
// nobody; Subscribe is for those who want what is new and not the past.
func (l *Log) Watch(ctx context.Context, fromSeq uint64) (<-chan Receipt, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, ErrClosed
	}
	next := fromSeq
	if next == 0 {
		next = l.size + 1
	}
	out := make(chan Receipt, 16)
	l.done.Add(1)
	go func() {
		defer l.done.Done()
		defer close(out)
		for {
			l.mu.RLock()
			size, changed, closed := l.size, l.changed, l.closed
			l.mu.RUnlock()
			if next <= size {
				for r, err := range l.Query(Query{FromSeq: next, IncludeSimulated: true}) {
					if err != nil {
						l.o.Logger.Error("watch stops", "seq", next, "err", err)
						return
					}
					select {
					case out <- r:
						next = r.Seq + 1
					case <-ctx.Done():
						return
					case <-l.stop:
						return
					}
				}
				continue
			}
			if closed {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-l.stop:
				return
			}
		}
	}()
	return out, nil
}
