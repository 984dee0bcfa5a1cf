// Package dsl is the query language of the views (filesystem.md §12, S2.1).
//
// A Query is one parsed and type-checked sentence: a source, predicates that all
// must hold, and how the rows are grouped, ordered, cut and shown. Parse makes one
// out of text, String gives its canonical text, and both meet: parsing the
// canonical text gives the same query. An Error names its kind and its column.
// The package reads nothing but the text: running a query belongs to views.
//
// Beyond S2.1 it knows the source actions, the predicates `match "words"` and `under
// "path"` and relative times (2h, 3d, yesterday); a query that uses none is pure upstream.
package dsl

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxLength bounds a query's text, in bytes; as large as a goal may be (contract §4).
const MaxLength = 64 << 10

// MaxName bounds a field's name with its dots, in bytes; the longest real one has 34.
const MaxName = 256

// Code is the kind of an Error.
type Code string

// The error kinds (S2.1). NotServed is a query of the language that nothing here
// can answer yet.
const (
	InvalidQuery        Code = "InvalidQuery"
	UnknownField        Code = "UnknownField"
	UnsupportedOperator Code = "UnsupportedOperator"
	NotServed           Code = "NotServed"
)

// Error says what is wrong with a query, and where.
type Error struct {
	Code    Code
	Column  int // characters, from 1
	Message string
	// Unfinished says that the text ends within a string: with more text it may be right.
	Unfinished bool
}

func (e *Error) Error() string { return fmt.Sprintf("column %d: %s: %s", e.Column, e.Code, e.Message) }

func errAt(col int, c Code, format string, args ...any) *Error {
	return &Error{Code: c, Column: col, Message: fmt.Sprintf(format, args...)}
}

// Op is a predicate's operator.
type Op string

// The operators.
const (
	Eq       Op = "="
	Ne       Op = "!="
	Lt       Op = "<"
	Le       Op = "<="
	Gt       Op = ">"
	Ge       Op = ">="
	In       Op = "in"
	Contains Op = "contains"
	Exists   Op = "exists"
	Pointer  Op = "pointer" // pointer(KIND) exists; the kind is the value
	Privacy  Op = "privacy" // privacy <= CLASS; the class is the value
	Match    Op = "match"   // full text
	Under    Op = "under"   // below a path
)

// Value is one literal. Which member counts depends on the field's type; Text is
// always what a string or a name said.
type Value struct {
	Type   Type
	Text   string
	Number float64
	Bool   bool
	Time   time.Time
	Column int
}

// Predicate is one condition. Field is the canonical name, "" for the operators
// Pointer, Privacy, Match and Under.
type Predicate struct {
	Field  string
	Op     Op
	Values []Value
	Column int
}

// Aggregate is one computed column of a grouped query: Func(Field) as Alias.
type Aggregate struct {
	Func   string // count max min first last
	Field  string // "*" for count(*)
	Alias  string
	Column int
}

// Order is one sorting key.
type Order struct {
	Field  string
	Desc   bool
	Column int
}

// AsOf is the moment that a query looks at: a version's id or a time.
type AsOf struct {
	Version string
	Time    time.Time
	Span    string // relative: 2h, 3d, yesterday
	Column  int
}

// Name is a field named in `group by`.
type Name struct {
	Field  string
	Column int
}

// Projection is how rows are shown; Path belongs to posix_path.
type Projection struct{ Kind, Path string }

// Query is one parsed and checked query. Limit is -1 where there is none.
type Query struct {
	Source  string
	Where   []Predicate
	GroupBy []Name
	Select  []Aggregate
	OrderBy []Order
	Limit   int
	Offset  int
	AsOf    *AsOf
	Project *Projection
}

// At gives the moment that `as of` means, seen from now; false for a version's id.
func (a *AsOf) At(now time.Time) (time.Time, bool) {
	switch {
	case a.Version != "":
		return time.Time{}, false
	case a.Span == "yesterday":
		return now.AddDate(0, 0, -1), true
	case a.Span != "":
		d, _ := parseSpan(a.Span)
		return now.Add(-d), true
	}
	return a.Time, true
}

// parseSpan reads a whole number with a unit: s, m, h, d, w.
func parseSpan(s string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if s == "" {
		return 0, strconv.ErrSyntax
	}
	unit, ok := units[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 31)
	if !ok || err != nil || n > uint64(1<<62/unit) {
		return 0, strconv.ErrSyntax
	}
	return time.Duration(n) * unit, nil
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func (v Value) String() string {
	switch v.Type {
	case Number:
		return strconv.FormatFloat(v.Number, 'g', -1, 64)
	case Bool:
		return strconv.FormatBool(v.Bool)
	case Time:
		return v.Time.UTC().Format(time.RFC3339Nano)
	case Enum:
		return v.Text
	}
	return quote(v.Text)
}

func (p Predicate) String() string {
	switch p.Op {
	case Pointer:
		return "pointer(" + p.Values[0].Text + ") exists"
	case Privacy:
		return "privacy <= " + p.Values[0].Text
	case Match, Under:
		return string(p.Op) + " " + quote(p.Values[0].Text)
	case Exists:
		return p.Field + " exists"
	case In:
		list := make([]string, len(p.Values))
		for i, v := range p.Values {
			list[i] = v.String()
		}
		return p.Field + " in [" + strings.Join(list, ", ") + "]"
	}
	return p.Field + " " + string(p.Op) + " " + p.Values[0].String()
}

// String gives the canonical text.
func (q *Query) String() string {
	var b strings.Builder
	b.WriteString("from " + q.Source)
	list := func(intro string, n int, item func(i int) string) {
		for i := range n {
			if i == 0 {
				b.WriteString(intro)
			} else {
				b.WriteString(", ")
			}
			b.WriteString(item(i))
		}
	}
	for i, p := range q.Where {
		b.WriteString([]string{" where ", " and "}[min(i, 1)] + p.String())
	}
	list(" group by ", len(q.GroupBy), func(i int) string { return q.GroupBy[i].Field })
	list(" select ", len(q.Select), func(i int) string {
		return q.Select[i].Func + "(" + q.Select[i].Field + ") as " + q.Select[i].Alias
	})
	list(" order by ", len(q.OrderBy), func(i int) string {
		if q.OrderBy[i].Desc {
			return q.OrderBy[i].Field + " desc"
		}
		return q.OrderBy[i].Field
	})
	if q.Limit >= 0 {
		fmt.Fprintf(&b, " limit %d", q.Limit)
	}
	if q.Offset > 0 {
		fmt.Fprintf(&b, " offset %d", q.Offset)
	}
	if a := q.AsOf; a != nil {
		b.WriteString(" as of ")
		switch {
		case a.Version != "":
			b.WriteString(a.Version)
		case a.Span != "":
			b.WriteString(a.Span)
		default:
			b.WriteString(a.Time.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Project != nil {
		b.WriteString(" project " + q.Project.Kind)
		if q.Project.Kind == "posix_path" {
			b.WriteString("(" + quote(q.Project.Path) + ")")
		}
	}
	return b.String()
}
