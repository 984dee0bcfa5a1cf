package views

import (
	"fmt"
	"slices"

	"github.com/ai-os-dot-net/aios/views/dsl"
)

// columns are the fields that a source's rows are shown with, in their order.
var columns = map[string][]string{
	"objects": {"object_id", "kind", "path", "metadata.name", "metadata.labels", "privacy_class", "lifecycle_state", "size", "updated_at", "created_at", "created_by",
		"current_pointer_id", "uid", "gid", "mode"},
	"versions":     {"version_id", "object_id", "state", "created_at", "content_hash", "parent_version_ids", "created_by_action_id", "created_by_transaction_id"},
	"pointers":     {"pointer_id", "object_id", "kind", "current_version_id", "last_promoted_at", "last_promoted_by_transaction_id"},
	"transactions": {"transaction_id", "state", "subject", "action_id", "started_at", "completed_at"},
	"conflicts":    {"conflict_id", "object_id", "pointer_id", "status", "detected_at"},
	"evidence":     {"seq", "occurred_at", "record_type", "actor", "action_id", "receipt_id"},
	"actions":      {"action_id", "action", "state", "phase", "subject", "path", "submitted_at", "updated_at", "run_id", "mode"},
}

// more are the fields that can be asked for besides.
var more = map[string][]string{
	"objects":      {"mtime", "content_hash", "comment", "rating", "score"},
	"conflicts":    {"resolved_at", "resolved_by_subject"},
	"transactions": {"subject.canonical_subject_id", "subject.primary_group_id"},
	"evidence":     {"simulated", "recorded_at", "category", "subject.canonical_subject_id", "subject.primary_group_id", "subject.is_ai"},
	"actions":      {"correlation_id", "intent_id", "subject.canonical_subject_id", "subject.primary_group_id", "subject.is_ai"},
}

// ofObjects are the sources whose rows are about an object.
var ofObjects = map[string]bool{"objects": true, "versions": true, "pointers": true, "conflicts": true}

func served(source, field string) bool {
	if slices.Contains(columns[source], field) || slices.Contains(more[source], field) {
		return true
	}
	return ofObjects[source] && slices.Contains([]string{"target.scope", "target.group_id", "target.user_id", "target.reserved_name"}, field)
}

// servable refuses what the language has and the executor has not, rather than to
// answer it wrongly.
func (v *Views) servable(q *dsl.Query) error {
	no := func(col int, what string) error {
		return fmt.Errorf("%w: %w", ErrQuery, &dsl.Error{Code: dsl.NotServed, Column: max(col, 1), Message: what + " is not answered yet"})
	}
	wrong := func(col int, format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrQuery, &dsl.Error{Code: dsl.UnsupportedOperator, Column: max(col, 1), Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case q.Source == "evidence" && v.d.Evidence == nil, q.Source == "actions" && v.d.Actions == nil:
		return no(6, "from "+q.Source)
	case q.Source == "actions" && q.AsOf != nil:
		return wrong(q.AsOf.Column, "actions have no history of their own: see from evidence … as of")
	case len(q.GroupBy) > 0 && q.Project != nil && q.Project.Kind != "object_list":
		return wrong(1, "groups have no %s", q.Project.Kind)
	case q.Project != nil && (q.Project.Kind == "posix_path" || q.Project.Kind == "mount_overlay") && !ofObjects[q.Source]:
		return wrong(1, "%s have no paths: project %s", q.Source, q.Project.Kind)
	}
	indexed := 0
	for _, p := range q.Where {
		switch {
		case p.Op == dsl.Match && q.Source != "objects", p.Op == dsl.Pointer && q.Source != "objects":
			return wrong(p.Column, "%s is asked of objects only", p.Op)
		case (p.Op == dsl.Under || p.Op == dsl.Privacy) && !ofObjects[q.Source]:
			return wrong(p.Column, "%s is asked of what belongs to an object, and %s do not", p.Op, q.Source)
		case p.Op == dsl.Match || p.Field == "metadata.mime":
			if indexed++; q.AsOf != nil {
				return wrong(p.Column, "the index knows the present only: no words and no mime with as of")
			}
		}
		if p.Op == dsl.Match && v.d.Index == nil {
			return no(p.Column, "match without an index")
		}
		if p.Field == "metadata.mime" {
			if v.d.Index == nil || p.Op != dsl.Eq && p.Op != dsl.In {
				return no(p.Column, "anything but = and in of mime")
			}
			continue
		}
		if p.Op == dsl.Pointer && !slices.Contains([]string{"CURRENT", "STABLE", "ROLLBACK"}, p.Values[0].Text) {
			return no(p.Column, "pointer("+p.Values[0].Text+")")
		}
		if p.Field != "" && !served(q.Source, p.Field) {
			return no(p.Column, p.Field)
		}
	}
	if n := count(q, dsl.Match); n > 1 || indexed-n > 1 {
		return no(1, "a second match, or a second mime,")
	}
	for _, g := range q.GroupBy {
		if !served(q.Source, g.Field) {
			return no(g.Column, "group by "+g.Field)
		}
	}
	for _, a := range q.Select {
		if a.Field != "*" && !served(q.Source, a.Field) {
			return no(a.Column, a.Func+"("+a.Field+")")
		}
	}
	for _, o := range q.OrderBy {
		if len(q.GroupBy) == 0 && !served(q.Source, o.Field) {
			return no(o.Column, "order by "+o.Field)
		}
	}
	return nil
}

func count(q *dsl.Query, op dsl.Op) (n int) {
	for _, p := range q.Where {
		if p.Op == op {
			n++
		}
	}
	return n
}

// mentions tells whether a query asks for a field anywhere.
func mentions(q *dsl.Query, field string) bool {
	return slices.ContainsFunc(q.Where, func(p dsl.Predicate) bool { return p.Field == field }) ||
		slices.ContainsFunc(q.GroupBy, func(n dsl.Name) bool { return n.Field == field }) ||
		slices.ContainsFunc(q.Select, func(a dsl.Aggregate) bool { return a.Field == field }) ||
		slices.ContainsFunc(q.OrderBy, func(o dsl.Order) bool { return o.Field == field })
}
