// Package views computes the semantic views of the stored tree (contract §5): what
// changed last, what carries some labels, what is of a kind, what a query or a few
// words find.
//
// A Caller is who looks; nothing that he could not list and reach himself is shown
// or counted. An Entry is one name in a view: a directory of the view, or a link
// to the stored thing. A Row is what a query found. Every answer is checked against
// the store when a view is listed; nothing is shared between callers.
package views

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
	"github.com/ai-os-dot-net/aios/views/dsl"
	"github.com/ai-os-dot-net/aios/views/index"
)

// Caller is who asks: the kernel's word on uid and groups, and the subject that
// the catalogue made of it.
type Caller struct {
	UID, GID uint32
	Groups   []uint32
	Subject  identity.Subject
}

// Entry is a name in a view: a directory, a file that holds Data and can be written
// unless it is Fixed, or a link to Link, a path from the mount's root without a leading
// slash.
type Entry struct {
	Name  string
	Dir   bool
	File  bool
	Fixed bool
	Data  []byte
	Link  string
	Mtime time.Time
}

var (
	// ErrNotFound: the view has no such name, or not for this caller.
	ErrNotFound = errors.New("no such name in the view")
	// ErrQuery: the query is wrong; it wraps a *dsl.Error.
	ErrQuery = errors.New("query")
	// ErrTimeout, ErrScan, ErrMemory and ErrTooLarge: a budget is used up, and nothing
	// is shown.
	ErrTimeout  = errors.New("QueryTimeout: the query took longer than 5 s")
	ErrScan     = errors.New("QueryScanLimitExceeded: the query looked at more than 1,000,000 things; narrow it by its predicates")
	ErrMemory   = errors.New("QueryMemoryExhausted: the query holds more than 256 MB; use a smaller limit, or fewer groups")
	ErrTooLarge = errors.New("QueryResultTooLarge: the query found more than 10,000 rows or 10 MB; use limit and offset")
	// ErrHorizon: the time that a query asks for lies before the history that is kept.
	ErrHorizon = errors.New("TimeTravelHorizonExceeded: the time lies before the history that is kept")
)

// Budgets of one query (S2.1, filesystem.md §12).
const (
	maxTime = 5 * time.Second
	maxScan = 1_000_000
	maxRows = 10_000
	// maxHeld rows or groups of some 512 bytes are the 256 MB that a query may hold.
	maxHeld = 256 << 20 / 512
	// maxBytes bounds what a result is as text.
	maxBytes = 10 << 20
)

// recentRows is how many things recent/ shows: what a person looks through.
const recentRows = 200

// Deps is what the views need. Ceiling gives the highest privacy class that a
// caller may see; without it people see what the tree lets them and AI subjects
// nothing above INTERNAL.
type Deps struct {
	Store   *objects.Store
	Index   *index.Index
	Ceiling func(Caller) objects.Privacy
	// Record, if there is one, writes down a query that touched SECRET_BEARING or
	// CLASSIFIED things; its error keeps the rows from being shown.
	Record func(context.Context, Caller, Told) error
	// Evidence calls fn with the log's records, in order, until fn gives an error, which
	// it gives back; Actions lists the actions that the caller may see. A source that is
	// missing is not served.
	Evidence func(ctx context.Context, c Caller, f EvidenceFilter, fn func(EvidenceRow) error) error
	Actions  func(context.Context, Caller) ([]ActionRow, error)
	// Sum, if there is one, writes down the other queries, a subject's of SumEvery
	// (default 1 s, an epoch) in one record.
	Sum      func(context.Context, Sum) error
	SumEvery time.Duration
	Now      func() time.Time
	Logger   *slog.Logger
}

// Views answers for views/. It is safe for concurrent use.
type Views struct {
	d  Deps
	mu sync.Mutex
	// lastError holds the last message of a caller's wrong query, for
	// views/query/.error; bounded by maxErrors.
	lastError map[string]string
	listings  map[string]listing
	tally     tally
}

// maxErrors bounds the callers whose last message is kept.
const maxErrors = 1024

// New makes the views of a store. Without an index, search/ and match are not served.
// Close them, where Sum is given.
func New(d Deps) *Views {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.Ceiling == nil {
		d.Ceiling = func(c Caller) objects.Privacy {
			if c.Subject.IsAI {
				return objects.Internal
			}
			return objects.Classified
		}
	}
	if d.SumEvery == 0 {
		d.SumEvery = time.Second
	}
	return &Views{d: d, lastError: map[string]string{}, listings: map[string]listing{}, tally: tally{sums: map[string]*Sum{}}}
}

func callerKey(c Caller) string { return fmt.Sprintf("%d %s", c.UID, c.Subject.ID) }

// LastError is the message of the caller's last wrong query, "" without one.
func (v *Views) LastError(c Caller) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lastError[callerKey(c)]
}

func (v *Views) remember(c Caller, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.lastError) >= maxErrors {
		clear(v.lastError)
	}
	v.lastError[callerKey(c)] = err.Error()
}

// roots are the views that are listed.
var roots = []string{"conflicts", "define", "kind", "labels", "mime", "named", "query", "recent", "search"}

// List lists a directory of the views; the empty path is views/ itself. Queries and
// words can be asked for but are not listed.
func (v *Views) List(ctx context.Context, c Caller, path []string) ([]Entry, error) {
	list, err := v.list(ctx, c, path)
	if err != nil {
		return nil, err
	}
	v.keep(c, path, list)
	return list, nil
}

func (v *Views) list(ctx context.Context, c Caller, path []string) ([]Entry, error) {
	if len(path) == 0 {
		return v.dirs(roots), nil
	}
	args := path[1:]
	switch path[0] {
	case "recent":
		if len(args) == 0 {
			r, err := v.find(ctx, c, recentQuery)
			return v.entries(r.Rows, nil), err
		}
	case "conflicts":
		return v.conflicts(ctx, c, args)
	case "kind":
		if len(args) == 0 {
			return v.dirs(objects.Kinds()), nil
		}
		if len(args) == 1 {
			return v.ofKind(ctx, c, args[0])
		}
	case "define":
		if len(args) == 0 {
			return v.saved(c)
		}
	case "mime":
		return v.ofType(ctx, c, args)
	case "named":
		return v.ofName(ctx, c, args)
	case "labels":
		return v.labelled(ctx, c, args)
	case "query":
		return v.query(ctx, c, args)
	case "search":
		if len(args) == 0 {
			return nil, nil
		}
		if len(args) == 1 {
			return v.search(ctx, c, args[0])
		}
	}
	return nil, fmt.Errorf("%s: %w", strings.Join(path, "/"), ErrNotFound)
}

// Lookup finds one name below views/, also those that are not listed: words, queries.
func (v *Views) Lookup(ctx context.Context, c Caller, path []string) (Entry, error) {
	if len(path) == 0 {
		return Entry{Dir: true, Mtime: v.d.Now()}, nil
	}
	name, dir := path[len(path)-1], path[:len(path)-1]
	// What is asked for by its words is a directory when it can be listed.
	switch {
	case path[0] == "search" && len(path) == 2:
		if strings.TrimSpace(name) == "" {
			return Entry{}, ErrNotFound
		}
		return Entry{Name: name, Dir: true, Mtime: v.d.Now()}, nil
	case path[0] == "query" && len(path) >= 2:
		q, rest, err := split(path[1:])
		if err == nil {
			err = v.servable(q)
		}
		var e *dsl.Error
		switch {
		case err == nil && len(rest) == 1 && name == ResultFile:
			return v.result(ctx, c, q)
		case err == nil && len(rest) > 0:
			return v.named(ctx, c, dir, name)
		case err == nil || errors.As(err, &e) && e.Unfinished:
			return Entry{Name: name, Dir: true, Mtime: v.d.Now()}, nil
		}
		v.remember(c, err)
		return Entry{}, err
	case path[0] == "labels" && len(path) >= 2:
		return v.labelDir(ctx, c, path)
	case path[0] == "named" && len(path) == 3 && name == ResultFile:
		q, err := v.definition(c, path[1])
		if err != nil {
			return Entry{}, err
		}
		return v.result(ctx, c, q)
	}
	return v.named(ctx, c, dir, name)
}

func (v *Views) dirs(names []string) []Entry {
	now := v.d.Now()
	list := make([]Entry, len(names))
	for i, n := range names {
		list[i] = Entry{Name: n, Dir: true, Mtime: now}
	}
	return list
}
