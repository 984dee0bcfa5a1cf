package bundle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Env answers what a rule may look at; ok is false for a field that is not set.
type Env interface {
	Field(name string) (value any, ok bool)
}

// Condition is a compiled condition: predicates that must all hold.
type Condition struct{ predicates []predicate }

type predicate struct {
	field string
	op    string // = != < <= > >= in contains exists
	want  []any  // string, float64, bool, time.Time
}

// kind of a field's value.
type kind uint8

const (
	text kind = iota + 1
	truth
	number
	list
	privacy
	moment
)

// field is what the rule language knows of a field: its kind, and for closed sets
// the literals that exist.
type field struct {
	kind   kind
	values []string
}

var directives = []string{"DENY_ALL", "ALLOW_LOOPBACK_ONLY", "ALLOW_LAN_ONLY", "ALLOW_LIST_ONLY", "ALLOW_INTERNET"}
var classes = []string{"PUBLIC", "INTERNAL", "SENSITIVE", "SECRET_BEARING", "CLASSIFIED"}

// fields are the closed namespaces of S2.3 §9.
var fields = map[string]field{
	"subject.canonical_subject_id": {kind: text}, "subject.subject_type": {text, []string{"HUMAN_USER", "AI_AGENT", "APPLICATION", "SERVICE", "DEVICE", "WORKFLOW", "REMOTE_OPERATOR", "LOCAL_OPERATOR"}},
	"subject.groups": {kind: list}, "subject.capabilities": {kind: list}, "subject.session_class": {kind: text}, "subject.recovery_mode": {kind: truth},
	"subject.is_ai": {kind: truth}, "subject.primary_group_id": {kind: text}, "subject.is_first_boot": {kind: truth},
	"subject.network_outbound_directive": {text, directives}, "subject.ai_external_posture": {text, []string{"AI_LOOPBACK_ONLY", "AI_VAULT_BROKERED_ONLY", "AI_NO_EXTERNAL"}},
	"request.action": {kind: text}, "request.environment": {text, []string{"LOCAL", "LAN", "INTERNET", "AIR_GAPPED"}}, "request.dry_run": {text, []string{"LIVE", "VALIDATE", "SIMULATE"}},
	"request.sandbox_profile_id": {kind: text}, "request.risk.destructive": {kind: truth}, "request.risk.privileged": {kind: truth}, "request.risk.network_exposure": {kind: truth},
	"request.risk.secret_access": {kind: truth}, "request.risk.recovery_path_affected": {kind: truth},
	"target.scope": {text, []string{"SYSTEM", "GROUP", "USER"}}, "target.group_id": {kind: text}, "target.user_id": {kind: text}, "target.reserved_name": {kind: text}, "target.path": {kind: text},
	"target.own": {kind: truth}, "target.own_group": {kind: truth},
	"target.is_constitutional_substrate": {kind: truth}, "target.surface_kind": {text, []string{"AIOS_SURFACE", "APP_SURFACE", "STREAM_SURFACE", "XR_SURFACE"}},
	"target.composition_zone": {text, []string{"BACKGROUND", "CONTENT", "OVERLAY", "CHROME"}}, "target.gpu_capability_class": {text, []string{"GPU_PASSIVE_DISPLAY", "GPU_BASIC_2D", "GPU_RICH_2D", "GPU_FULL_3D", "GPU_COMPUTE_HEAVY"}},
	"target.theme_id": {kind: text}, "target.exposure_class": {text, []string{"LOOPBACK", "LAN", "PUBLIC", "RECOVERY"}},
	"object.privacy_class": {privacy, classes}, "object.policy_tags": {kind: list}, "object.kind": {kind: text}, "object.lifecycle_state": {text, []string{"ACTIVE", "RETIRED", "PURGED"}}, "object.created_by": {kind: text},
	"time.recovery_mode": {kind: truth}, "time.weekday": {kind: text}, "time.hour_utc": {kind: number},
	"system.host_id": {kind: text}, "system.cluster_id": {kind: text}, "system.release_channel": {kind: text},
}

// adapterField says whether a name is of those that an adapter's target schema
// declares: target.<name>, a text.
func lookup(name string) (field, bool) {
	if name == "environment" {
		name = "request.environment"
	}
	if f, ok := fields[name]; ok {
		return f, true
	}
	return field{}, false
}

// Compile reads one condition, `field op value {and …}`; an error says what is wrong.
func Compile(s string) (*Condition, error) {
	toks, err := lex(s)
	if err != nil {
		return nil, err
	}
	c := &Condition{}
	for {
		p, rest, err := parsePredicate(toks)
		if err != nil {
			return nil, err
		}
		c.predicates = append(c.predicates, p)
		if len(rest) == 0 {
			return c, nil
		}
		if rest[0].text != "and" || rest[0].quoted {
			return nil, fmt.Errorf("after a predicate comes `and`, not %q", rest[0].text)
		}
		toks = rest[1:]
	}
}

// Predicates is how many predicates the condition has.
func (c *Condition) Predicates() int { return len(c.predicates) }

type token struct {
	text   string
	quoted bool
}

func lex(s string) ([]token, error) {
	var toks []token
	for i := 0; i < len(s); {
		switch ch := s[i]; {
		case ch == ' ' || ch == '\t' || ch == '\n':
			i++
		case ch == '"':
			var b strings.Builder
			j := i + 1
			for ; j < len(s) && s[j] != '"'; j++ {
				if s[j] == '\\' && j+1 < len(s) {
					j++
				}
				b.WriteByte(s[j])
			}
			if j >= len(s) {
				return nil, fmt.Errorf("a string does not end")
			}
			toks = append(toks, token{b.String(), true})
			i = j + 1
		case strings.ContainsRune("[],", rune(ch)):
			toks = append(toks, token{string(ch), false})
			i++
		case strings.ContainsRune("=!<>", rune(ch)):
			n := 1
			if i+1 < len(s) && s[i+1] == '=' {
				n = 2
			}
			toks = append(toks, token{s[i : i+n], false})
			i += n
		default:
			j := i
			for j < len(s) && (s[j] >= 'a' && s[j] <= 'z' || s[j] >= 'A' && s[j] <= 'Z' || s[j] >= '0' && s[j] <= '9' || strings.IndexByte("_.-:+", s[j]) >= 0) {
				j++
			}
			if j == i {
				return nil, fmt.Errorf("%q is not of the language (there is no `or`, no parenthesis, no function)", s[i:i+1])
			}
			toks = append(toks, token{s[i:j], false})
			i = j
		}
	}
	return toks, nil
}

func parsePredicate(toks []token) (predicate, []token, error) {
	if len(toks) == 0 {
		return predicate{}, nil, fmt.Errorf("a predicate is missing")
	}
	name := toks[0].text
	if toks[0].quoted {
		return predicate{}, nil, fmt.Errorf("a predicate starts with a field, not the string %q", name)
	}
	f, ok := lookup(name)
	if !ok {
		return predicate{}, nil, fmt.Errorf("unknown field %q", name)
	}
	if name == "environment" {
		name = "request.environment"
	}
	p := predicate{field: name}
	rest := toks[1:]
	if len(rest) == 0 || rest[0].text == "and" && !rest[0].quoted {
		if f.kind != truth {
			return p, nil, fmt.Errorf("%s needs an operator", name)
		}
		p.op, p.want = "=", []any{true}
		return p, rest, nil
	}
	p.op, rest = rest[0].text, rest[1:]
	switch p.op {
	case "exists":
		return p, rest, nil
	case "in":
		if len(rest) == 0 || rest[0].text != "[" {
			return p, nil, fmt.Errorf("%s in: a list in brackets follows", name)
		}
		rest = rest[1:]
		for {
			if len(rest) == 0 {
				return p, nil, fmt.Errorf("%s in: the list does not end", name)
			}
			v, err := literal(name, f, rest[0])
			if err != nil {
				return p, nil, err
			}
			p.want = append(p.want, v)
			rest = rest[1:]
			if len(rest) > 0 && rest[0].text == "," && !rest[0].quoted {
				rest = rest[1:]
				continue
			}
			if len(rest) > 0 && rest[0].text == "]" && !rest[0].quoted {
				break
			}
			return p, nil, fmt.Errorf("%s in: `,` or `]` is missing", name)
		}
		if len(p.want) > maxInValues {
			return p, nil, fmt.Errorf("%s in: %d values, at most %d", name, len(p.want), maxInValues)
		}
		return p, rest[1:], nil
	case "=", "!=", "<", "<=", ">", ">=", "contains":
	default:
		return p, nil, fmt.Errorf("%q is no operator", p.op)
	}
	if len(rest) == 0 {
		return p, nil, fmt.Errorf("%s %s: a value is missing", name, p.op)
	}
	ordered := strings.ContainsAny(p.op, "<>")
	switch {
	case ordered && f.kind != number && f.kind != privacy && f.kind != moment:
		return p, nil, fmt.Errorf("type_mismatch: %s has no order", name)
	case p.op == "contains" && f.kind != list && f.kind != text, f.kind == list && p.op != "contains":
		return p, nil, fmt.Errorf("type_mismatch: %s does not take %s", name, p.op)
	}
	v, err := literal(name, f, rest[0])
	if err != nil {
		return p, nil, err
	}
	p.want = []any{v}
	return p, rest[1:], nil
}

func literal(name string, f field, t token) (any, error) {
	switch f.kind {
	case truth:
		if t.quoted || t.text != "true" && t.text != "false" {
			return nil, fmt.Errorf("type_mismatch: %s is true or false, not %q", name, t.text)
		}
		return t.text == "true", nil
	case number:
		n, err := strconv.ParseFloat(t.text, 64)
		if t.quoted || err != nil {
			return nil, fmt.Errorf("type_mismatch: %s is a number, not %q", name, t.text)
		}
		return n, nil
	case moment:
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return nil, fmt.Errorf("type_mismatch: %s is a time, not %q", name, t.text)
		}
		return at, nil
	}
	if len(f.values) > 0 {
		for _, v := range f.values {
			if v == t.text {
				return t.text, nil
			}
		}
		return nil, fmt.Errorf("enum_value_not_in_closed_set: %s has no value %q", name, t.text)
	}
	if !t.quoted && (t.text == "true" || t.text == "false") {
		return nil, fmt.Errorf("type_mismatch: %s is a text", name)
	}
	return t.text, nil
}

func rank(class string) int {
	for i, c := range classes {
		if c == class {
			return i + 1
		}
	}
	return 0
}

// Holds says whether all predicates hold. A field that is not set makes its
// predicate false, whatever the operator (S2.3 §28.2).
func (c *Condition) Holds(env Env) bool {
	for _, p := range c.predicates {
		if !p.holds(env) {
			return false
		}
	}
	return true
}

func (p predicate) holds(env Env) bool {
	v, ok := env.Field(p.field)
	if !ok {
		return false
	}
	if p.op == "exists" {
		return true
	}
	if l, isList := v.([]string); isList {
		for _, x := range l {
			if x == p.want[0] {
				return p.op == "contains"
			}
		}
		return false
	}
	for _, want := range p.want {
		if p.compare(v, want) {
			return true
		}
	}
	return false
}

func (p predicate) compare(v, want any) bool {
	switch p.op {
	case "=", "in":
		return v == want
	case "!=":
		return v != want
	case "contains":
		s, _ := v.(string)
		w, _ := want.(string)
		return strings.Contains(s, w)
	}
	var d float64
	switch x := v.(type) {
	case float64:
		w, ok := want.(float64)
		if !ok {
			return false
		}
		d = x - w
	case string: // a privacy class: the rank counts, not the alphabet
		w, _ := want.(string)
		a, b := rank(x), rank(w)
		if a == 0 || b == 0 {
			return false
		}
		d = float64(a - b)
	case time.Time:
		w, ok := want.(time.Time)
		if !ok {
			return false
		}
		d = float64(x.Sub(w))
	default:
		return false
	}
	switch p.op {
	case "<":
		return d < 0
	case "<=":
		return d <= 0
	case ">":
		return d > 0
	}
	return d >= 0
}
