package dsl

import (
	"slices"
	"strings"
)

func lookup(source, name string) (field, bool) {
	f, ok := sources[source][name]
	if !ok {
		f, ok = common[name]
	}
	return f, ok
}

// known refuses fields that the source has not, and the ones that nobody may ask for.
func known(source string, n *Name) error {
	if _, ok := lookup(source, n.Field); ok {
		return nil
	}
	for _, w := range forbidden {
		if strings.Contains(strings.ToLower(n.Field), w) {
			return errAt(n.Column, InvalidQuery, "%s can never be queried", n.Field)
		}
	}
	return errAt(n.Column, UnknownField, "%s has no field %s", source, n.Field)
}

// checkPredicate judges the operator by the field's type and turns quoted enum
// members and times into what the field's type is.
func checkPredicate(source string, p *Predicate, opCol int) error {
	f, _ := lookup(source, p.Field)
	ops := f.ops
	if ops == nil {
		ops = opsOf[f.typ]
	}
	if !slices.Contains(ops, p.Op) {
		return errAt(opCol, UnsupportedOperator, "%s does not work on %s", p.Op, p.Field)
	}
	if p.Op == Contains {
		return nil
	}
	for i := range p.Values {
		v := &p.Values[i]
		switch f.typ {
		case Enum:
			if v.Type != Enum && v.Type != String || f.enum == nil && !plain(v.Text) || f.enum != nil && !slices.Contains(f.enum, v.Text) {
				return errAt(v.Column, InvalidQuery, "%q is no value of %s%s", v.Text, p.Field, members(f.enum))
			}
			v.Type = Enum
		case Time:
			if t, err := parseTime(v.Text); err == nil && (v.Type == String || v.Type == Time) {
				v.Type, v.Time = Time, t
				continue
			}
			return errAt(v.Column, InvalidQuery, "%s wants an RFC 3339 time, not %q", p.Field, v.Text)
		default:
			if v.Type != f.typ {
				return errAt(v.Column, InvalidQuery, "%s wants %s, not %q", p.Field, map[Type]string{String: "a string in double quotes", Number: "a number", Bool: "true or false"}[f.typ], v.Text)
			}
		}
	}
	return nil
}

func plain(s string) bool {
	return s != "" && isLetter(s[0]) && !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 || !isLetter(byte(r)) && !isDigit(byte(r)) }) && s != "true" && s != "false"
}

func members(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// check judges what needs the whole query: sorting keys and column names.
func (q *Query) check() error {
	columns := map[string]bool{}
	for _, a := range q.Select {
		if columns[a.Alias] {
			return errAt(a.Column, InvalidQuery, "two columns are named %s", a.Alias)
		}
		columns[a.Alias] = true
	}
	match := slices.ContainsFunc(q.Where, func(p Predicate) bool { return p.Op == Match })
	for _, o := range q.OrderBy {
		switch {
		case columns[o.Field] || o.Field == "score" && match:
			continue
		case len(q.GroupBy) > 0:
			if !slices.ContainsFunc(q.GroupBy, func(n Name) bool { return n.Field == o.Field }) {
				return errAt(o.Column, InvalidQuery, "a grouped query is ordered by its own columns, not by %s", o.Field)
			}
			continue
		}
		if err := known(q.Source, &Name{o.Field, o.Column}); err != nil {
			return err
		}
	}
	return nil
}
