package views

import (
	"fmt"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/views/dsl"
)

// grouping gathers rows into groups as they come; the rows themselves are not held.
type grouping struct {
	q     *dsl.Query
	byKey map[string]*group
}

type group struct {
	keys  []any
	cells []cell
}

// cell is one aggregate of a group: a count, or a value and the row that it is from.
type cell struct {
	n     int
	value any
	from  string
}

func (g *grouping) add(r *Row) error {
	keys := make([]any, len(g.q.GroupBy))
	var b strings.Builder
	for i, n := range g.q.GroupBy {
		keys[i] = r.Value(n.Field)
		fmt.Fprintf(&b, "%T %v\x00", keys[i], keys[i])
	}
	x := g.byKey[b.String()]
	if x == nil {
		if len(g.byKey) >= maxHeld {
			return ErrMemory
		}
		x = &group{keys, make([]cell, len(g.q.Select))}
		g.byKey[b.String()] = x
	}
	for i, a := range g.q.Select {
		x.cells[i].add(a.Func, a.Field == "*", r, a.Field)
	}
	return nil
}

func (c *cell) add(fn string, all bool, r *Row, field string) {
	if all {
		c.n++
		return
	}
	v := r.Value(field)
	if !exists(v) {
		return
	}
	c.n++
	better := false
	switch fn { // first and last are in the order of ids, which is that of making
	case "max":
		better = compare(v, c.value) > 0
	case "min":
		better = compare(v, c.value) < 0
	case "first":
		better = r.ID < c.from
	case "last":
		better = r.ID > c.from
	}
	if c.n == 1 || better {
		c.value, c.from = v, r.ID
	}
}

// rows gives a row a group, with the fields that it is grouped by and the aliases.
func (g *grouping) rows() []Row {
	var list []Row
	for _, x := range g.byKey {
		r := Row{fields: map[string]any{}}
		for i, n := range g.q.GroupBy {
			r.fields[n.Field] = x.keys[i]
		}
		for i, a := range g.q.Select {
			if a.Func == "count" {
				r.fields[a.Alias] = float64(x.cells[i].n)
			} else {
				r.fields[a.Alias] = x.cells[i].value
			}
			if t, ok := x.cells[i].value.(time.Time); ok && t.After(r.Mtime) {
				r.Mtime = t
			}
		}
		list = append(list, r)
	}
	return list
}

// grouped are the columns of a grouped query.
func grouped(q *dsl.Query) []string {
	var names []string
	for _, n := range q.GroupBy {
		names = append(names, n.Field)
	}
	for _, a := range q.Select {
		names = append(names, a.Alias)
	}
	return names
}
