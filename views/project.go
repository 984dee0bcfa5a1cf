package views

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// ResultFile is the name of a whole result below its query, for programs: not listed,
// since a listing must not cost a query for each of its names.
const ResultFile = ".result.json"

// show makes a result a directory, in the query's projection; rest is what was named
// below it.
func (v *Views) show(r Result, rest []string) ([]Entry, error) {
	kind, under := "object_list", ""
	if p := r.Query.Project; p != nil {
		kind, under = p.Kind, rooted(p.Path)
	}
	if kind == "posix_path" || kind == "mount_overlay" {
		return v.tree(r, under, rest)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%s: %w", strings.Join(rest, "/"), ErrNotFound)
	}
	list, err := v.rows(r, kind == "timeline")
	if err != nil || kind != "graph" {
		return list, err
	}
	text, err := json.MarshalIndent(graphOf(r), "", "  ")
	if err != nil {
		return nil, err
	}
	return append([]Entry{{Name: "graph.json", File: true, Fixed: true, Data: append(text, '\n'), Mtime: r.At}}, list...), nil
}

// rows names the rows of a result: objects by their names, everything else by its id,
// groups by what they are grouped by. What the mount has no place for is a file with
// its fields.
func (v *Views) rows(r Result, timed bool) ([]Entry, error) {
	var list []Entry
	if r.Query.Source == "objects" && len(r.Query.GroupBy) == 0 {
		list = v.entries(r.Rows, nil)
	} else {
		used := map[string]bool{}
		for i := range r.Rows {
			row := &r.Rows[i]
			name := row.ID
			if name == "" {
				name = groupName(r.Query, row)
			}
			if row.Link == "" {
				name += ".json"
			}
			base := name
			for n := 2; used[name]; n++ {
				name = numbered(base, n)
			}
			used[name] = true
			list = append(list, Entry{Name: name, Link: row.Link, Mtime: row.Mtime})
		}
	}
	for i := range list {
		row := &r.Rows[i]
		if timed {
			list[i].Name = row.Mtime.UTC().Format("2006-01-02T15:04:05.000Z") + "_" + list[i].Name
		}
		if row.Link == "" {
			text, err := json.MarshalIndent(r.fieldsOf(row), "", "  ")
			if err != nil {
				return nil, err
			}
			list[i].File, list[i].Fixed, list[i].Data = true, true, append(text, '\n')
		}
	}
	return list, nil
}

// groupName is a file name for a group: its keys, without what a name cannot hold.
func groupName(q *dsl.Query, r *Row) string {
	var parts []string
	for _, n := range q.GroupBy {
		s := plainText(r.Value(n.Field))
		if s == "" {
			s = "none"
		}
		parts = append(parts, s)
	}
	name := strings.Map(func(c rune) rune {
		if c == '/' || c < ' ' || c == utf8.RuneError {
			return '_'
		}
		return c
	}, strings.Join(parts, ","))
	for len(name) > 200 {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if strings.HasPrefix(name, ".") {
		name = "_" + name
	}
	return name
}

// plainText is a value as people read it.
func plainText(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case []string:
		return strings.Join(x, ",")
	case time.Time:
		if x.IsZero() {
			return ""
		}
		return x.UTC().Format(time.RFC3339)
	case float64:
		return dsl.Value{Type: dsl.Number, Number: x}.String()
	}
	return fmt.Sprint(v)
}

// tree shows rows at their own paths: all of them, or those below a path, without it.
// Where a file stood at what is a directory for others, in the past, the file is left
// out.
func (v *Views) tree(r Result, under string, rest []string) ([]Entry, error) {
	at := strings.Join(rest, "/")
	prefix := strings.TrimPrefix(under+"/", "/")
	if at != "" {
		at += "/"
	}
	dirs, files := map[string]bool{}, map[string]Entry{}
	for i := range r.Rows {
		row := &r.Rows[i]
		p, ok := strings.CutPrefix(row.Path, prefix)
		if ok {
			p, ok = strings.CutPrefix(p, at)
		}
		if !ok || p == "" {
			continue
		}
		name, more, deeper := strings.Cut(p, "/")
		if deeper && more != "" {
			dirs[name] = true
		} else if row.Link != "" {
			files[name] = Entry{Name: name, Link: row.Link, Mtime: row.Mtime}
		}
	}
	if len(rest) > 0 && len(dirs)+len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", strings.Join(rest, "/"), ErrNotFound)
	}
	var list []Entry
	for name := range dirs {
		list = append(list, Entry{Name: name, Dir: true, Mtime: v.d.Now()})
	}
	for name, e := range files {
		if !dirs[name] {
			list = append(list, e)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// graph is the projection of that name: rows are nodes, and edges lead to what they
// are of, whether that is a row or not.
type graph struct {
	Nodes []map[string]any `json:"nodes"`
	Edges []Edge           `json:"edges"`
}

func graphOf(r Result) graph {
	g := graph{[]map[string]any{}, []Edge{}}
	for i := range r.Rows {
		row := &r.Rows[i]
		n := r.fieldsOf(row)
		n["id"] = row.ID
		g.Nodes = append(g.Nodes, n)
		g.Edges = append(g.Edges, row.edges...)
		if r.Query.Source != "objects" {
			continue
		}
		for kind, ver := range pointers(row.Object) {
			if !ver.IsZero() {
				g.Edges = append(g.Edges, Edge{row.ID, ver.String(), strings.ToLower(kind)})
			}
		}
	}
	slices.SortFunc(g.Edges, func(a, b Edge) int {
		return strings.Compare(a.From+" "+a.Kind+" "+a.To, b.From+" "+b.Kind+" "+b.To)
	})
	return g
}

// fieldsOf gives what a row says: the columns, what the query asked for besides, and
// where the mount shows it.
func (r *Result) fieldsOf(row *Row) map[string]any {
	m := map[string]any{}
	names := r.Columns
	if len(r.Query.GroupBy) == 0 {
		for _, f := range more[r.Query.Source] {
			if mentions(r.Query, f) {
				names = append(names[:len(names):len(names)], f)
			}
		}
	}
	for _, f := range names {
		if v := row.Value(f); exists(v) {
			m[f] = v
		}
	}
	if row.Link != "" {
		m["link"] = row.Link
	}
	return m
}

// Document is the whole result as JSON (ExecuteQueryResponse, filesystem.md §2), at
// most 10 MB of it, else ErrTooLarge.
func (r *Result) Document() ([]byte, error) {
	kind := "object_list"
	if r.Query.Project != nil {
		kind = r.Query.Project.Kind
	}
	rows := make([]map[string]any, len(r.Rows))
	for i := range r.Rows {
		rows[i] = r.fieldsOf(&r.Rows[i])
	}
	m := map[string]any{"schema_version": "aios.fs.query.v1alpha1+aios1", "query_id": r.ID, "query_text": r.Canonical, "source": r.Query.Source, "projection": strings.ToUpper(kind),
		"columns": r.Columns, "rows": rows, "row_count": len(rows), "status": r.Status, "evaluated_at": r.At.UTC()}
	if !r.AsOf.IsZero() {
		m["as_of_timestamp"] = r.AsOf.UTC()
		if ver := r.Query.AsOf.Version; ver != "" {
			m["as_of_version_id"] = ver
		}
	}
	if kind == "graph" {
		m["graph"] = graphOf(*r)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	if b.Len() > maxBytes {
		return nil, ErrTooLarge
	}
	return b.Bytes(), nil
}

// versionPath is where the mount shows a version by its id.
func versionPath(obj, ver objects.ID) string {
	return "objects/" + obj.String() + "/versions/" + ver.String()
}
