package views

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// Row is one thing that a query found, or one group of things. Object, Attr and Path
// are of the object that it is about, if it is about one.
type Row struct {
	ID     string // obj_…, ver_…, evr_…; "" for a group
	Object objects.Object
	Attr   objects.Attr
	Path   string // from the mount's root
	Link   string // where the mount shows it, likewise; "" where only its fields are shown
	Mtime  time.Time
	Score  float64
	// fields are those of a row that is no object, or more of one that is.
	fields map[string]any
	edges  []Edge
}

// Edge leads from a row to something else in the projection `graph`.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Kind string `json:"kind"`
}

// Value gives a field of the row: a string, a []string, a float64, a bool or a time;
// nil where it has none.
func (r *Row) Value(field string) any {
	if v, ok := r.fields[field]; ok {
		return v
	}
	o, a := r.Object, r.Attr
	switch field {
	case "target.scope":
		return o.ScopeKind
	case "target.group_id":
		return o.Scope.Group
	case "target.user_id":
		return o.Scope.User
	case "target.reserved_name":
		return reservedName(r.Path)
	}
	if r.fields != nil && r.ID != o.ID.String() {
		return nil
	}
	switch field {
	case "object_id":
		return o.ID.String()
	case "kind":
		return o.Kind
	case "metadata.name":
		return r.Path[strings.LastIndexByte(r.Path, '/')+1:]
	case "metadata.labels":
		return o.Labels
	case "created_at":
		return o.CreatedAt
	case "created_by":
		return o.CreatedBy
	case "privacy_class":
		return o.Privacy.String()
	case "lifecycle_state":
		return o.State
	case "current_pointer_id":
		if o.Current.IsZero() {
			return ""
		}
		return objects.PointerID(o.ID, "CURRENT").String()
	case "updated_at", "mtime":
		return a.Mtime
	case "size":
		return float64(a.Size)
	case "path":
		return r.Path
	case "uid":
		return float64(a.UID)
	case "gid":
		return float64(a.GID)
	case "mode":
		return float64(a.Mode & 0o7777)
	case "score":
		return r.Score
	}
	return nil
}

// reservedName is the key of the reserved place that a path lies in: SYS_POLICY,
// GRP_SHARED, USR_HOME (filesystem.md §10).
func reservedName(path string) string {
	s := strings.Split(path, "/")
	switch {
	case len(s) >= 2 && s[0] == "system":
		return "SYS_" + strings.ToUpper(s[1])
	case len(s) >= 5 && s[0] == "groups" && s[2] == "users":
		return "USR_" + strings.ToUpper(s[4])
	case len(s) >= 3 && s[0] == "groups":
		return "GRP_" + strings.ToUpper(s[2])
	}
	return ""
}

// holds tells whether a predicate holds for a row.
func (e *execution) holds(p dsl.Predicate, r *Row) bool {
	if p.Field == "metadata.mime" {
		return true // the index said so
	}
	switch p.Op {
	case dsl.Match:
		return true // likewise
	case dsl.Privacy:
		class, err := objects.ParsePrivacy(p.Values[0].Text)
		return err == nil && r.Object.Privacy <= class
	case dsl.Under:
		under := rooted(p.Values[0].Text)
		return under == "" || strings.HasPrefix(r.Path, under+"/")
	case dsl.Pointer:
		return !pointers(r.Object)[p.Values[0].Text].IsZero()
	}
	got := r.Value(p.Field)
	if p.Op == dsl.Exists {
		return exists(got)
	}
	for _, want := range p.Values {
		if matches(got, p.Op, want) {
			return true
		}
	}
	return false
}

// pointers are the kinds of pointers that an object has, with what they name.
func pointers(o objects.Object) map[string]objects.ID {
	return map[string]objects.ID{"CURRENT": o.Current, "STABLE": o.Stable, "ROLLBACK": o.Rollback}
}

func exists(v any) bool {
	switch x := v.(type) {
	case nil:
		return false
	case string:
		return x != ""
	case []string:
		return len(x) > 0
	case time.Time:
		return !x.IsZero()
	}
	return true
}

// matches compares a value with a literal. A field that the row has not is equal to
// nothing.
func matches(got any, op dsl.Op, want dsl.Value) bool {
	c := 0
	switch g := got.(type) {
	case nil:
		return op == dsl.Ne
	case []string:
		for _, s := range g {
			if s == want.Text {
				return true
			}
		}
		return false
	case string:
		if op == dsl.Contains {
			return strings.Contains(g, want.Text)
		}
		c = strings.Compare(g, want.Text)
	case bool:
		if g != want.Bool {
			c = 1
		}
	case float64:
		c = order(g, want.Number)
	case time.Time:
		if g.IsZero() {
			return op == dsl.Ne
		}
		c = g.Compare(want.Time)
	}
	switch op {
	case dsl.Eq, dsl.In:
		return c == 0
	case dsl.Ne:
		return c != 0
	case dsl.Lt:
		return c < 0
	case dsl.Le:
		return c <= 0
	case dsl.Gt:
		return c > 0
	}
	return op == dsl.Ge && c >= 0
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// compare orders two values of one field; what is not there comes first.
func compare(a, b any) int {
	if a == nil || b == nil {
		switch {
		case a == b:
			return 0
		case a == nil:
			return -1
		}
		return 1
	}
	switch x := a.(type) {
	case string:
		y, _ := b.(string)
		return strings.Compare(x, y)
	case []string:
		y, _ := b.([]string)
		return strings.Compare(strings.Join(x, ","), strings.Join(y, ","))
	case float64:
		y, _ := b.(float64)
		return order(x, y)
	case bool:
		y, _ := b.(bool)
		switch {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	case time.Time:
		y, _ := b.(time.Time)
		return x.Compare(y)
	}
	return 0
}

func regular(a objects.Attr) bool { return a.Mode&unix.S_IFMT == unix.S_IFREG }

// rooted is a path as rows have it, from the tree's root: people write it with /aios in
// front as well as without.
func rooted(p string) string {
	p = strings.Trim(p, "/")
	if rest, ok := strings.CutPrefix(p+"/", "aios/"); ok {
		return strings.Trim(rest, "/")
	}
	return p
}
