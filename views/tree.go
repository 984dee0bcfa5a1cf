package views

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// recentQuery is what recent/ shows: the files that changed last.
var recentQuery = must(fmt.Sprintf(`from objects where kind != DIRECTORY order by updated_at desc limit %d`, recentRows))

func must(src string) *dsl.Query {
	q, err := dsl.Parse(src)
	if err != nil {
		panic(err) // a constant of this package
	}
	return q
}

// parse reads the query that a path spells; a slash within it splits names.
func parse(args []string) (*dsl.Query, error) {
	q, err := dsl.Parse(strings.Join(args, "/"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	return q, nil
}

// split takes the query that a path begins with apart from what is named below it. A
// query that is complete cannot go on behind a slash.
func split(args []string) (q *dsl.Query, rest []string, err error) {
	for n := 1; n <= len(args); n++ {
		if q, err = parse(args[:n]); err == nil {
			return q, args[n:], nil
		}
	}
	return nil, nil, err
}

func (v *Views) query(ctx context.Context, c Caller, args []string) ([]Entry, error) {
	if len(args) == 0 {
		return nil, nil
	}
	q, rest, err := split(args)
	var r Result
	if err == nil {
		r, err = v.find(ctx, c, q)
	}
	if err != nil {
		v.remember(c, err)
		return nil, err
	}
	return v.show(r, rest)
}

// result is the whole result of a query, or of a saved view.
func (v *Views) result(ctx context.Context, c Caller, q *dsl.Query) (Entry, error) {
	r, err := v.find(ctx, c, q)
	var text []byte
	if err == nil {
		text, err = r.Document()
	}
	if err != nil {
		v.remember(c, err)
		return Entry{}, err
	}
	return Entry{Name: ResultFile, File: true, Fixed: true, Data: text, Mtime: r.At}, nil
}

func (v *Views) ofKind(ctx context.Context, c Caller, kind string) ([]Entry, error) {
	if !slices.Contains(objects.Kinds(), kind) {
		return nil, fmt.Errorf("kind/%s: %w", kind, ErrNotFound)
	}
	r, err := v.find(ctx, c, must("from objects where kind = "+kind))
	return v.entries(r.Rows, nil), err
}

// listedLabels is how many labels deep labels/ lists. A file with twenty labels stands at
// the end of 20! paths, which a backup would all walk; deeper ones are found by their name.
const listedLabels = 2

// labelled shows what carries all the labels, and the further labels that some of it has
// and some has not.
func (v *Views) labelled(ctx context.Context, c Caller, labels []string) ([]Entry, error) {
	q := &dsl.Query{Source: "objects", Limit: -1}
	for _, l := range labels {
		q.Where = append(q.Where, dsl.Predicate{Field: "metadata.labels", Op: dsl.Contains, Values: []dsl.Value{{Type: dsl.String, Text: l}}})
	}
	if len(labels) == 0 {
		q.Where = []dsl.Predicate{{Field: "metadata.labels", Op: dsl.Exists}}
	}
	r, err := v.find(ctx, c, q)
	if err != nil {
		return nil, err
	}
	if len(r.Rows) == 0 && len(labels) > 0 {
		return nil, fmt.Errorf("labels/%s: %w", strings.Join(labels, "/"), ErrNotFound)
	}
	further := map[string]bool{}
	having := map[string]int{}
	for _, row := range r.Rows {
		for _, l := range row.Object.Labels {
			// A label that cannot be a name is reached through a query.
			if !slices.Contains(labels, l) && !strings.Contains(l, "/") && l != "." && l != ".." {
				further[l] = true
				having[l]++
			}
		}
	}
	var names []string
	for l, n := range having {
		if len(labels) == 0 || len(labels) < listedLabels && n < len(r.Rows) {
			names = append(names, l)
		}
	}
	sort.Strings(names)
	list := v.dirs(names)
	if len(labels) == 0 {
		return list, nil
	}
	return append(list, v.entries(r.Rows, further)...), nil
}

// labelDir finds a directory of labels/, also one that is not listed.
func (v *Views) labelDir(ctx context.Context, c Caller, path []string) (Entry, error) {
	dir, name := path[:len(path)-1], path[len(path)-1]
	e, err := v.named(ctx, c, dir, name)
	if !errors.Is(err, ErrNotFound) || slices.Contains(path[1:len(path)-1], name) {
		return e, err
	}
	if _, err := v.List(ctx, c, path); err != nil {
		return Entry{}, err
	}
	return Entry{Name: name, Dir: true, Mtime: v.d.Now()}, nil
}

func (v *Views) search(ctx context.Context, c Caller, words string) ([]Entry, error) {
	q := &dsl.Query{Source: "objects", Limit: -1, OrderBy: []dsl.Order{{Field: "score", Desc: true}},
		Where: []dsl.Predicate{{Op: dsl.Match, Values: []dsl.Value{{Type: dsl.String, Text: words}}}}}
	r, err := v.find(ctx, c, q)
	return v.entries(r.Rows, nil), err
}

// entries names rows; the second of equal names is `name (2).ext`. Numbers follow
// the paths, so that they stay while other things come and go in between.
func (v *Views) entries(rows []Row, taken map[string]bool) []Entry {
	used := map[string]bool{}
	for n := range taken {
		used[n] = true
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return rows[order[i]].Path < rows[order[j]].Path })
	list := make([]Entry, len(rows))
	for _, i := range order {
		r := rows[i]
		base := r.Path[strings.LastIndexByte(r.Path, '/')+1:]
		name := base
		for n := 2; used[name]; n++ {
			name = numbered(base, n)
		}
		used[name] = true
		list[i] = Entry{Name: name, Link: r.Link, Mtime: r.Mtime}
	}
	return list
}

func numbered(name string, n int) string {
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		stem, ext = name[:i], name[i:]
	}
	suffix := fmt.Sprintf(" (%d)%s", n, ext)
	if over := len(stem) + len(suffix) - objects.MaxName; over > 0 {
		stem = stem[:max(0, len(stem)-over)]
	}
	return strings.ToValidUTF8(stem, "") + suffix
}
