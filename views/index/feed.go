package index

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2"

	"github.com/ai-os-dot-net/aios/objects"
)

// run indexes what changed, in batches, until the index is closed.
func (x *Index) run() {
	defer x.done.Done()
	if !x.catchUp() {
		return
	}
	var retry <-chan time.Time
	for {
		select {
		case <-x.stop:
			return
		case <-x.wake:
		case <-retry:
		}
		select {
		case <-x.stop:
			return
		case <-x.hurry:
		case <-time.After(gather):
		}
		retry = nil
		x.burst = x.outlast()
		if err := x.drain(); err != nil && !errors.Is(err, errClosing) {
			x.o.Logger.Error("the search index falls behind", "error", err)
			retry = time.After(time.Second)
		}
	}
}

// outlast waits until a burst of changes is over, and tells whether there was one: what
// came and went in it needs no indexing at all.
func (x *Index) outlast() bool {
	backlog := func() int {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.pending) + len(x.named)
	}
	n := backlog()
	if n < burst {
		return false
	}
	for end := time.Now().Add(burstMost); time.Now().Before(end); {
		select {
		case <-x.stop:
			return true
		case <-x.hurry:
			return false
		case <-time.After(burstQuiet):
		}
		now := backlog()
		if now == n {
			x.giveWay(time.Until(end))
			break
		}
		n = now
	}
	return true
}

// giveWay waits while much is asked of the store, unless somebody waits for the index.
func (x *Index) giveWay(most time.Duration) {
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.o.Store.GiveWay(stop, most)
	}()
	select {
	case <-x.stop:
	case <-x.hurry:
	case <-done:
	}
	close(stop)
	<-done
}

func (x *Index) closing() bool {
	select {
	case <-x.stop:
		return true
	default:
		return false
	}
}

// drain indexes all that is pending and wakes who waited for it.
func (x *Index) drain() error {
	x.mu.Lock()
	inos, named, all, last, waiters := x.pending, x.named, x.all, x.last, x.waiters
	x.pending, x.named, x.all, x.waiters = map[objects.Ino]bool{}, map[objects.Named]bool{}, false, nil
	x.mu.Unlock()
	x.awaited = len(waiters) > 0
	err := x.apply(inos, named, all, last)
	if err != nil {
		// Kept for the next attempt.
		x.mu.Lock()
		maps.Copy(x.pending, inos)
		maps.Copy(x.named, named)
		x.all = x.all || all
		x.waiters = append(x.waiters, waiters...)
		x.mu.Unlock()
		return err
	}
	for _, w := range waiters {
		close(w)
	}
	return nil
}

// rest keeps the index from taking more than half of one processor from those whose files
// it reads, and a quarter after a burst; who waits for it ends the rest.
func (x *Index) rest(worked time.Duration) {
	x.mu.Lock()
	wanted := x.awaited || len(x.waiters) > 0
	x.mu.Unlock()
	if wanted {
		return
	}
	rest := min(worked, maxRest)
	if x.burst {
		rest = min(3*worked, burstRest)
	}
	select {
	case <-x.stop:
	case <-x.hurry:
	case <-time.After(rest):
		if x.burst {
			x.giveWay(burstGiveWay)
		}
	}
}

var errClosing = errors.New("closing")

// pass is how far a long pass has come: what is up to an inode number is as it was when
// the pass began. A restart goes on there; else one that is stopped often enough would
// begin again each time and never be done.
type pass struct {
	Began time.Time   `json:"began"`
	UpTo  objects.Ino `json:"up_to"`
}

var passKey = []byte("pass")

// interrupted is the pass that an earlier run did not end.
func (x *Index) interrupted() *pass {
	v, err := x.b.GetInternal(passKey)
	p := &pass{}
	if err != nil || len(v) == 0 || json.Unmarshal(v, p) != nil {
		return nil
	}
	return p
}

// note puts into a batch how far the pass has come with it.
func (p pass) note(batch *bleve.Batch) {
	if b, err := json.Marshal(p); err == nil {
		batch.SetInternal(passKey, b)
	}
}

// goOn leaves of the first pass what the interrupted one had not done, and what has
// changed since that began.
func (x *Index) goOn(inos map[objects.Ino]bool) error {
	p := x.resume
	if p == nil {
		return nil
	}
	maps.DeleteFunc(inos, func(ino objects.Ino, _ bool) bool { return ino <= p.UpTo })
	if err := x.o.Store.ChangedSince(p.Began.Add(-overlap), func(ino objects.Ino) bool {
		inos[ino] = true
		return true
	}); err != nil {
		return err
	}
	x.resume = nil
	return nil
}

func (x *Index) apply(inos map[objects.Ino]bool, named map[objects.Named]bool, all bool, last time.Time) error {
	began := time.Now()
	so := pass{Began: began}
	if x.resume != nil {
		so = *x.resume
	}
	if all {
		if err := x.everything(inos); err != nil {
			return err
		}
		if last.Before(began) {
			last = began
		}
	}
	if err := x.goOn(inos); err != nil {
		return err
	}
	unbound := false
	for d := range named {
		a, err := x.o.Store.Lookup(d.Dir, d.Name)
		if err == nil {
			inos[a.Ino] = true
		}
		unbound = unbound || err != nil
	}
	// A name that is gone does not tell what it named; the inode's own record does.
	if unbound && !all {
		if err := x.o.Store.ChangedSince(x.applied.Add(-slack), func(ino objects.Ino) bool {
			inos[ino] = true
			return true
		}); err != nil {
			return err
		}
	}
	list := slices.Sorted(maps.Keys(inos))
	batch, bytes := x.b.NewBatch(), 0
	flush := func() error {
		if batch.Size() == 0 {
			return nil
		}
		err := x.b.Batch(batch)
		batch.Reset()
		bytes = 0
		x.rest(time.Since(began))
		began = time.Now()
		return err
	}
	for _, ino := range list {
		if x.closing() {
			return errClosing
		}
		doc, err := x.document(ino)
		if err != nil {
			return err
		}
		if doc == nil {
			batch.Delete(docID(ino))
		} else {
			if err := batch.Index(docID(ino), doc); err != nil {
				return err
			}
			bytes += len(doc["text"])
		}
		if batch.Size() >= batchDocs || bytes >= batchBytes {
			so.UpTo = max(so.UpTo, ino)
			so.note(batch)
			if err := flush(); err != nil {
				return err
			}
		}
	}
	// Only when all of it is in does the time move on.
	if !last.IsZero() {
		batch.DeleteInternal(passKey)
		batch.SetInternal([]byte("last"), []byte(last.UTC().Format(time.RFC3339Nano)))
	}
	if batch.Size() == 0 && last.IsZero() {
		return nil
	}
	if err := x.b.Batch(batch); err != nil {
		return err
	}
	if last.After(x.applied) {
		x.applied = last
	}
	return nil
}

// everything marks all inodes of the store, and all that the index has, so that what
// is gone from the one leaves the other.
func (x *Index) everything(inos map[objects.Ino]bool) error {
	if err := x.o.Store.ChangedSince(time.Unix(0, 0), func(ino objects.Ino) bool {
		inos[ino] = true
		return true
	}); err != nil {
		return err
	}
	return x.o.Store.Objects(func(o objects.Object) bool {
		inos[o.Ino] = true
		return !x.closing()
	})
}

// document is what the index holds of an inode; nil for what has no name.
func (x *Index) document(ino objects.Ino) (map[string]string, error) {
	a, err := x.o.Store.GetAttr(ino)
	if errors.Is(err, objects.ErrNotFound) || err == nil && (a.Nlink == 0 || a.Object.IsZero()) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o, err := x.o.Store.Object(a.Object)
	if errors.Is(err, objects.ErrNotFound) || err == nil && o.State != "ACTIVE" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	paths, err := x.o.Store.PathsOf(o.ID)
	if errors.Is(err, objects.ErrNotFound) || err == nil && len(paths) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range paths {
		names = append(names, apart(p[strings.LastIndexByte(p, '/')+1:]))
	}
	content, err := x.read(a)
	if err != nil && !errors.Is(err, objects.ErrNotFound) {
		// One file that cannot be read must not keep the others from being found.
		x.o.Logger.Warn("a file's text is not searchable", "ino", uint64(ino), "error", err)
	}
	first := paths[0][strings.LastIndexByte(paths[0], '/')+1:]
	return map[string]string{mimeField: mediaType(a, first, content), "name": strings.Join(names, " "), "labels": strings.Join(o.Labels, " "), "text": text(a, content)}, nil
}
