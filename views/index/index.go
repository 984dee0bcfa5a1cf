// Package index is the full-text index of the stored tree: names, labels and the
// text of files, by Bleve. It follows the store's epochs, remembers how far it is,
// and catches up after a restart. A Hit is an inode that matched when it was last
// read; whoever asks must check it against the store, and against rights.
package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	utok "github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search/query"

	"github.com/ai-os-dot-net/aios/objects"
)

const (
	// maxText bounds the text that is read of a file, in bytes; larger files are
	// found by name and labels (issue: UTF-8 files up to 1 MiB).
	maxText = 1 << 20
	// batchDocs and batchBytes bound what one batch holds in memory.
	batchDocs  = 256
	batchBytes = 4 << 20
	// overlap is how far a catching up goes back behind the last indexed time:
	// several epochs may share it.
	overlap = 5 * time.Second
	// slack is the same while the index follows: epochs are told in order.
	slack = 10 * time.Millisecond
	// gather is how long changes are collected before they are indexed: what lives
	// shorter is never read, and a run of small epochs (an fsync each) is one batch.
	gather = time.Second
	// maxRest bounds a rest between two batches, and burstRest one after a burst.
	maxRest   = 250 * time.Millisecond
	burstRest = time.Second
	// burst is how many changes at once are an unpacked or a removed tree rather than
	// somebody's work. They are indexed when no more have come for burstQuiet, and
	// slowly; burstMost bounds the wait. Whoever asks the index is not kept waiting.
	burst      = 200
	burstQuiet = 2 * time.Second
	burstMost  = 30 * time.Second
	// burstGiveWay is how long a batch after a burst waits while much is asked of the store.
	burstGiveWay = 5 * time.Second
	// page is how many hits are asked for at a time.
	page = 1000
	// schema names the form of the documents; an index of another one is rebuilt.
	schema = "2"
)

// config lets a batch return before it is on disk: what a crash takes of the index
// takes the last indexed time with it, and is caught up.
var config = map[string]any{"unsafe_batch": true}

// Options says where the index lies and what it follows.
type Options struct {
	Dir    string // made when missing; can be removed at any time
	Store  *objects.Store
	Logger *slog.Logger
}

// Hit is an inode that matched, with its score.
type Hit struct {
	Ino   objects.Ino
	Score float64
}

// Index is the full-text index. It is safe for concurrent use.
type Index struct {
	o      Options
	b      bleve.Index
	cancel func()
	stop   chan struct{}
	wake   chan struct{}
	hurry  chan struct{} // somebody waits: gather no longer
	caught chan struct{} // what was missed is pending, or everything is
	done   sync.WaitGroup
	// applied is the newest epoch that is in the index, awaited whether somebody waits for
	// what is being indexed; only run's goroutine has them.
	applied time.Time
	awaited bool
	burst   bool // what is being indexed came in a burst; of run

	mu      sync.Mutex
	pending map[objects.Ino]bool
	named   map[objects.Named]bool
	last    time.Time // the newest epoch in pending
	resume  *pass     // what an earlier run had done of the first pass
	all     bool      // everything is to be read anew
	waiters []chan struct{}
}

// Open opens or makes the index and begins to follow the store; what it missed is
// caught up in the background. An index that cannot be read is made anew.
func Open(o Options) (*Index, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	x := &Index{o: o, stop: make(chan struct{}), wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), caught: make(chan struct{}),
		pending: map[objects.Ino]bool{}, named: map[objects.Named]bool{}}
	dir := filepath.Join(o.Dir, "bleve")
	b, err := bleve.Open(dir)
	if err == nil {
		if v, _ := b.GetInternal([]byte("schema")); string(v) != schema {
			err = errors.Join(errors.New("another schema"), b.Close())
		}
	}
	if err != nil {
		if !errors.Is(err, bleve.ErrorIndexPathDoesNotExist) {
			o.Logger.Warn("the search index is made anew", "reason", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("open index: %w", err)
		}
		if b, err = bleve.NewUsing(dir, newMapping(), scorch.Name, scorch.Name, config); err == nil {
			err = b.SetInternal([]byte("schema"), []byte(schema))
		}
		if err != nil {
			return nil, fmt.Errorf("open index: %w", err)
		}
	}
	x.b = b
	// Followed first and caught up after, so that nothing falls in between.
	x.cancel = o.Store.Subscribe(x.changed)
	x.done.Add(1)
	go x.run()
	return x, nil
}

func newMapping() mapping.IndexMapping {
	m := bleve.NewIndexMapping()
	// Words as they are, in lower case: names have no stop words and no language.
	if err := m.AddCustomAnalyzer("words", map[string]any{"type": custom.Name, "tokenizer": utok.Name, "token_filters": []string{lowercase.Name}}); err != nil {
		panic(err) // constant arguments
	}
	m.DefaultAnalyzer = "words"
	doc := bleve.NewDocumentStaticMapping()
	for _, name := range fields {
		f := bleve.NewTextFieldMapping()
		f.Store, f.IncludeInAll, f.IncludeTermVectors, f.DocValues, f.Analyzer = false, false, false, false, "words"
		doc.AddFieldMappingsAt(name, f)
	}
	f := bleve.NewTextFieldMapping()
	f.Store, f.IncludeInAll, f.IncludeTermVectors, f.DocValues, f.Analyzer = false, false, false, false, keyword.Name
	doc.AddFieldMappingsAt(mimeField, f)
	m.DefaultMapping = doc
	return m
}

var fields = []string{"name", "labels", "text"}

const mimeField = "mime"

// Mapped calls fn with files that the index has mapped into memory, and that stay mapped
// until fn returns.
func (x *Index) Mapped(fn func(files []string)) error {
	b, err := x.b.Advanced()
	if err != nil {
		return err
	}
	r, err := b.Reader() // it keeps the segments that it may read
	if err != nil {
		return err
	}
	defer r.Close()
	snapshot, ok := r.(*scorch.IndexSnapshot)
	if !ok {
		return nil
	}
	dir, err := filepath.EvalSymlinks(x.o.Dir)
	if err != nil {
		return err
	}
	var files []string
	for _, s := range snapshot.Segments() {
		if p, ok := s.Segment().(interface{ Path() string }); ok { // others are in the heap
			files = append(files, filepath.Join(dir, "bleve", "store", filepath.Base(p.Path())))
		}
	}
	fn(files)
	return nil
}

// Close ends following; what was not indexed is caught up by the next Open.
func (x *Index) Close() error {
	x.cancel()
	close(x.stop)
	x.done.Wait()
	if err := x.persist(); err != nil {
		x.o.Logger.Warn("what was indexed last is indexed again at the next start", "error", err)
	}
	return x.b.Close()
}

// persistMost bounds the wait for the disk when the index is closed.
const persistMost = 10 * time.Second

// persist waits until all that is in the index is on disk: closing alone drops what
// batches have only in memory (config).
func (x *Index) persist() error {
	on := make(chan error, 1)
	b := x.b.NewBatch()
	// Nobody reads it: it makes a batch, which is on disk after all those before it.
	b.SetInternal([]byte("closed"), []byte(time.Now().UTC().Format(time.RFC3339Nano)))
	b.SetPersistedCallback(func(err error) { on <- err })
	if err := x.b.Batch(b); err != nil {
		return err
	}
	select {
	case err := <-on:
		return err
	case <-time.After(persistMost):
		return errors.New("the disk takes too long")
	}
}

func (x *Index) changed(c objects.Change) {
	x.mu.Lock()
	for _, ino := range c.Inos {
		x.pending[ino] = true
	}
	for _, d := range c.Dentries {
		x.named[d] = true
	}
	if c.TS.After(x.last) {
		x.last = c.TS
	}
	x.mu.Unlock()
	x.signal()
}

func (x *Index) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// catchUp marks what changed since the last indexed time, or everything; false if the index
// is closed meanwhile. It looks at every change that it missed, a million after a million
// files were made: the mount does not wait for that.
func (x *Index) catchUp() bool {
	v, _ := x.b.GetInternal([]byte("last"))
	t, err := time.Parse(time.RFC3339Nano, string(v))
	now := time.Now()
	known, missed := err == nil, map[objects.Ino]bool{}
	if known {
		// Inodes carry their name's changes, too: their ctime moves.
		err = x.o.Store.ChangedSince(t.Add(-overlap), func(ino objects.Ino) bool {
			missed[ino] = true
			return !x.closing()
		})
	}
	if x.closing() {
		return false
	}
	resume := x.interrupted()
	if known {
		x.applied = t
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	defer close(x.caught)
	x.resume = resume
	maps.Copy(x.pending, missed)
	x.all = x.all || err != nil
	// When this is in, the next start need not look at it again, also if nothing changes
	// until then.
	if now = now.Add(-overlap); known && now.After(t) && now.After(x.last) {
		x.last = now
	}
	x.signal()
	return true
}

// Reindex makes the index anew from the store and returns when it is done. Searches
// meanwhile see what is there.
func (x *Index) Reindex(ctx context.Context) error {
	x.mu.Lock()
	x.all = true
	x.mu.Unlock()
	return x.Settle(ctx)
}

// Settle waits until all that the index has been told is searchable.
func (x *Index) Settle(ctx context.Context) error {
	w := make(chan struct{})
	x.mu.Lock()
	x.waiters = append(x.waiters, w)
	x.mu.Unlock()
	select {
	case x.hurry <- struct{}{}:
	default:
	}
	x.signal()
	select {
	case <-w:
		return nil
	case <-x.stop:
		return errors.New("the index is closed")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Query is what is looked for: every word, in name, labels or text, and one of the
// media types; an empty part holds for everything, two empty ones for nothing.
type Query struct {
	Words string
	MIME  []string
}

// Search calls fn with the inodes that hold what is looked for, best first, until fn
// returns an error, which it gives back.
func (x *Index) Search(ctx context.Context, what Query, fn func(Hit) error) error {
	var all []query.Query
	if len(what.MIME) > 0 {
		var any []query.Query
		for _, m := range what.MIME {
			t := bleve.NewTermQuery(m)
			t.SetField(mimeField)
			any = append(any, t)
		}
		all = append(all, bleve.NewDisjunctionQuery(any...))
	}
	for _, w := range strings.Fields(what.Words) {
		var any []query.Query
		for i, f := range fields {
			m := bleve.NewMatchQuery(w)
			m.SetField(f)
			m.SetOperator(query.MatchQueryOperatorAnd)
			m.SetBoost([]float64{3, 2, 1}[i]) // a name says more than a text
			any = append(any, m)
		}
		all = append(all, bleve.NewDisjunctionQuery(any...))
	}
	if len(all) == 0 {
		return nil
	}
	// Page by page: others' hits, which the caller of this drops, must not use up a limit.
	var after []string
	for {
		req := bleve.NewSearchRequestOptions(bleve.NewConjunctionQuery(all...), page, 0, false)
		req.SortBy([]string{"-_score", "_id"})
		req.SearchAfter = after
		res, err := x.b.SearchInContext(ctx, req)
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		for _, h := range res.Hits {
			n, err := strconv.ParseUint(h.ID, 36, 64)
			if err != nil {
				return fmt.Errorf("search: document %q: %w", h.ID, err)
			}
			if err := fn(Hit{objects.Ino(n), h.Score}); err != nil {
				return err
			}
		}
		if len(res.Hits) < page {
			return nil
		}
		// Scores are sorted by as text that reads back exactly.
		last := res.Hits[len(res.Hits)-1]
		after = []string{strconv.FormatFloat(last.Score, 'g', -1, 64), last.ID}
	}
}

// Forget has inodes looked at again: hits that the store no longer has.
func (x *Index) Forget(inos ...objects.Ino) {
	x.mu.Lock()
	for _, ino := range inos {
		x.pending[ino] = true
	}
	x.mu.Unlock()
	x.signal()
}

// Count is the number of things in the index.
func (x *Index) Count() (uint64, error) { return x.b.DocCount() }

func docID(ino objects.Ino) string { return strconv.FormatUint(uint64(ino), 36) }

// apart adds a name's parts to it: report_2026.txt is found by report, too.
func apart(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return name + " " + strings.Join(parts, " ")
}
