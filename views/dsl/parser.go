package dsl

import (
	"slices"
	"strconv"
	"strings"
)

type parser struct {
	toks []token
	i    int
	q    *Query
}

// Parse reads and checks a query. Its error is always an *Error.
func Parse(src string) (*Query, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks, q: &Query{Limit: -1}}
	for _, step := range []func() error{p.source, p.where, p.groupBy, p.orderBy, p.cut, p.asOf, p.project} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if t := p.peek(); t.kind != tEOF {
		return nil, p.unexpected("the end of the query; a clause may stand in the wrong place")
	}
	if err := p.q.check(); err != nil {
		return nil, err
	}
	return p.q, nil
}

func (p *parser) peek() token { return p.toks[p.i] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tEOF {
		p.i++
	}
	return t
}

func (p *parser) is(val string) bool {
	t := p.peek()
	return (t.kind == tIdent || t.kind == tPunct) && t.val == val
}

func (p *parser) accept(val string) bool {
	if p.is(val) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(vals ...string) error {
	for _, v := range vals {
		if !p.accept(v) {
			return p.unexpected(strconv.Quote(v))
		}
	}
	return nil
}

func (p *parser) unexpected(want string) *Error {
	t := p.peek()
	if t.kind == tEOF {
		return errAt(t.col, InvalidQuery, "the query ends where %s should stand", want)
	}
	return errAt(t.col, InvalidQuery, "%q stands where %s should", t.val, want)
}

func (p *parser) ident(what string) (token, error) {
	if p.peek().kind != tIdent {
		return token{}, p.unexpected(what)
	}
	return p.next(), nil
}

func (p *parser) str(what string) (token, error) {
	if p.peek().kind != tString {
		return token{}, p.unexpected(what + " in double quotes")
	}
	return p.next(), nil
}

func (p *parser) source() error {
	if err := p.expect("from"); err != nil {
		return err
	}
	t, err := p.ident("a source")
	if err != nil {
		return err
	}
	if sources[t.val] == nil {
		return errAt(t.col, InvalidQuery, "%q is no source (objects, versions, pointers, transactions, conflicts, evidence, actions)", t.val)
	}
	p.q.Source = t.val
	return nil
}

func (p *parser) where() error {
	if !p.accept("where") {
		return nil
	}
	for {
		pr, err := p.predicate()
		if err != nil {
			return err
		}
		p.q.Where = append(p.q.Where, pr)
		if t := p.peek(); t.kind == tIdent && t.val == "or" {
			return errAt(t.col, InvalidQuery, "there is no `or`: use `in […]` or two queries")
		}
		if !p.accept("and") {
			return nil
		}
	}
}

func (p *parser) predicate() (Predicate, error) {
	start := p.peek()
	pr := Predicate{Column: start.col}
	ahead := token{}
	if p.i+1 < len(p.toks) {
		ahead = p.toks[p.i+1]
	}
	switch {
	case p.is("pointer") && ahead.kind == tPunct && ahead.val == "(":
		p.i += 2
		v, err := p.member(pointerKinds, "a pointer kind")
		if err != nil {
			return pr, err
		}
		pr.Op, pr.Values = Pointer, []Value{v}
		return pr, p.expect(")", "exists")
	case p.is("privacy") && ahead.kind == tPunct && ahead.val == "<=":
		p.i += 2
		v, err := p.member(classes, "a privacy class")
		pr.Op, pr.Values = Privacy, []Value{v}
		return pr, err
	case (p.is("match") || p.is("under")) && ahead.kind == tString:
		pr.Op = Op(p.next().val)
		t := p.next()
		pr.Values = []Value{{Type: String, Text: t.val, Column: t.col}}
		if strings.TrimSpace(t.val) == "" && pr.Op == Match {
			return pr, errAt(t.col, InvalidQuery, "match wants words")
		}
		return pr, nil
	}
	f, err := p.field()
	if err != nil {
		return pr, err
	}
	pr.Field = f.Field
	op := p.peek()
	switch {
	case p.accept("exists"):
		pr.Op = Exists
	case p.accept("contains"):
		pr.Op = Contains
		t, err := p.str("what to look for")
		if err != nil {
			return pr, err
		}
		pr.Values = []Value{{Type: String, Text: t.val, Column: t.col}}
	case p.accept("in"):
		pr.Op = In
		if err := p.expect("["); err != nil {
			return pr, err
		}
		for {
			v, err := p.value()
			if err != nil {
				return pr, err
			}
			pr.Values = append(pr.Values, v)
			if !p.accept(",") {
				break
			}
		}
		if err := p.expect("]"); err != nil {
			return pr, err
		}
	case op.kind == tPunct && slices.Contains([]Op{Eq, Ne, Lt, Le, Gt, Ge}, Op(op.val)):
		p.i++
		pr.Op = Op(op.val)
		v, err := p.value()
		if err != nil {
			return pr, err
		}
		pr.Values = []Value{v}
	default:
		return pr, p.unexpected("an operator")
	}
	// The operator and the values are judged by the field's type.
	return pr, checkPredicate(p.q.Source, &pr, op.col)
}

// member reads a name of a closed set, quoted or not.
func (p *parser) member(set []string, what string) (Value, error) {
	t := p.peek()
	if t.kind != tIdent && t.kind != tString || !slices.Contains(set, t.val) {
		return Value{}, p.unexpected(what + " (" + strings.Join(set, ", ") + ")")
	}
	p.i++
	return Value{Type: Enum, Text: t.val, Column: t.col}, nil
}

// field reads a name with dots and resolves aliases; the source must have it.
func (p *parser) field() (Name, error) {
	n, err := p.dotted()
	if err != nil {
		return n, err
	}
	return n, known(p.q.Source, &n)
}

func (p *parser) dotted() (Name, error) {
	t, err := p.ident("a field")
	if err != nil {
		return Name{}, err
	}
	n := Name{t.val, t.col}
	for p.accept(".") {
		if t, err = p.ident("the rest of the field"); err != nil {
			return n, err
		}
		n.Field += "." + t.val
		if len(n.Field) > MaxName {
			return n, errAt(n.Column, UnknownField, "a field's name has at most %d bytes", MaxName)
		}
	}
	if a, ok := aliases[n.Field]; ok {
		n.Field = a
	}
	return n, nil
}

func (p *parser) value() (Value, error) {
	t := p.peek()
	v := Value{Text: t.val, Column: t.col}
	switch {
	case t.kind == tString:
		v.Type = String
	case t.kind == tNumber:
		f, err := strconv.ParseFloat(t.val, 64)
		if err != nil {
			return v, errAt(t.col, InvalidQuery, "%s is too large a number", t.val)
		}
		v.Type, v.Number = Number, f
	case t.kind == tTime:
		v.Type = Time
		v.Time, _ = parseTime(t.val)
	case t.kind == tIdent && (t.val == "true" || t.val == "false"):
		v.Type, v.Bool = Bool, t.val == "true"
	case t.kind == tIdent:
		v.Type = Enum
	default:
		return v, p.unexpected("a value")
	}
	p.i++
	return v, nil
}

func (p *parser) groupBy() error {
	if !p.accept("group") {
		return nil
	}
	if err := p.expect("by"); err != nil {
		return err
	}
	for {
		f, err := p.field()
		if err != nil {
			return err
		}
		p.q.GroupBy = append(p.q.GroupBy, f)
		if !p.accept(",") {
			break
		}
	}
	if !p.accept("select") {
		return nil
	}
	for {
		a, err := p.aggregate()
		if err != nil {
			return err
		}
		p.q.Select = append(p.q.Select, a)
		if !p.accept(",") {
			return nil
		}
	}
}

func (p *parser) aggregate() (Aggregate, error) {
	t := p.peek()
	if t.kind != tIdent || !slices.Contains([]string{"count", "max", "min", "first", "last"}, t.val) {
		return Aggregate{}, p.unexpected("count, max, min, first or last")
	}
	p.i++
	a := Aggregate{Func: t.val, Column: t.col}
	if err := p.expect("("); err != nil {
		return a, err
	}
	if a.Func == "count" && p.accept("*") {
		a.Field = "*"
	} else {
		f, err := p.field()
		if err != nil {
			return a, err
		}
		a.Field = f.Field
	}
	if err := p.expect(")", "as"); err != nil {
		return a, err
	}
	n, err := p.ident("a name for the column")
	a.Alias = n.val
	return a, err
}

func (p *parser) orderBy() error {
	if !p.accept("order") {
		return nil
	}
	if err := p.expect("by"); err != nil {
		return err
	}
	for {
		n, err := p.dotted()
		if err != nil {
			return err
		}
		o := Order{Field: n.Field, Column: n.Column}
		if !p.accept("asc") && p.accept("desc") {
			o.Desc = true
		}
		p.q.OrderBy = append(p.q.OrderBy, o)
		if !p.accept(",") {
			return nil
		}
	}
}

func (p *parser) cut() error {
	for _, c := range []struct {
		word string
		to   *int
	}{{"limit", &p.q.Limit}, {"offset", &p.q.Offset}} {
		if !p.accept(c.word) {
			continue
		}
		t := p.peek()
		n, err := strconv.ParseInt(t.val, 10, 32)
		if t.kind != tNumber || err != nil || n < 0 {
			return p.unexpected("a whole number from 0")
		}
		p.i++
		*c.to = int(n)
	}
	return nil
}

func (p *parser) asOf() error {
	if !p.accept("as") {
		return nil
	}
	if err := p.expect("of"); err != nil {
		return err
	}
	t := p.peek()
	a := &AsOf{Column: t.col}
	_, spanErr := parseSpan(t.val)
	at, timeErr := parseTime(t.val)
	switch {
	case t.kind == tIdent && strings.HasPrefix(t.val, "ver_") || t.kind == tString && isVersion(t.val):
		a.Version = t.val
	case (t.kind == tIdent || t.kind == tString) && t.val == "yesterday", (t.kind == tSpan || t.kind == tString) && spanErr == nil:
		a.Span = t.val
	case (t.kind == tTime || t.kind == tString) && timeErr == nil:
		a.Time = at
	default:
		return p.unexpected("a version or a time")
	}
	p.i++
	p.q.AsOf = a
	return nil
}

func isVersion(s string) bool {
	return strings.HasPrefix(s, "ver_") && !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 || !isLetter(byte(r)) && !isDigit(byte(r)) })
}

func (p *parser) project() error {
	if !p.accept("project") {
		return nil
	}
	t, err := p.ident("a projection")
	if err != nil {
		return err
	}
	if !projections[t.val] {
		return errAt(t.col, InvalidQuery, "%q is no projection (object_list, graph, timeline, mount_overlay, posix_path)", t.val)
	}
	p.q.Project = &Projection{Kind: t.val}
	if t.val != "posix_path" {
		return nil
	}
	if err := p.expect("("); err != nil {
		return err
	}
	s, err := p.str("the path")
	if err != nil {
		return err
	}
	p.q.Project.Path = s.val
	return p.expect(")")
}
