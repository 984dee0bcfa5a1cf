package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	actionName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,2}$`)
	actionID   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	subjectID  = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}(:[a-z0-9_-]+)+$`) // S6.3 §3
	parentID   = regexp.MustCompile(`^act_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	versionID  = regexp.MustCompile(`^ver_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	verifyType = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$`)
)

// decode fills the document from its root, in the order of the file, so that
// the first fault a reader meets is the one reported.
func (d *Document) decode(root *node) *Error {
	if root.kind != mapNode {
		return fail(root.pos, CodeMalformed, "an intent is a map, found "+root.kind.String(), "start with `schema: "+Schema+"`")
	}
	d.Mode, d.Atomic = Live, true
	d.note("", root)
	known := []string{"schema", "reason", "mode", "atomic", "idempotency_key", "queue_class", "subject", "parent_action_id", "actions"}
	if s, ok := root.get("schema"); !ok {
		return fail(root.pos, CodeSchemaVersion, "`schema` is missing", "add `schema: "+Schema+"`")
	} else if s.kind != textNode {
		return wrong("schema", s, textNode)
	} else if s.text != Schema {
		return fail(s.pos, CodeSchemaVersion, "schema "+quoted(s.text)+" is not known", "this version reads "+Schema)
	}
	d.Schema = Schema
	for i, k := range root.keys {
		v := root.items[i]
		d.note("/"+k.name, v)
		var err *Error
		switch k.name {
		case "schema":
		case "reason":
			err = d.reason(v)
		case "mode":
			err = d.mode(v)
		case "atomic":
			if v.kind != boolNode {
				err = wrong("atomic", v, boolNode)
			}
			d.Atomic = v.truth
		case "idempotency_key":
			err = d.key(v)
		case "subject":
			err = d.subject(v)
		case "parent_action_id":
			err = d.parent(v)
		case "queue_class":
			err = d.queueClass(v)
		case "actions":
			err = d.actions(v)
		default:
			err = unknown(k, known)
		}
		if err != nil {
			if err.Field == "" {
				err.Field = "/" + k.name
			}
			return err
		}
	}
	if d.Reason == "" {
		return fail(root.pos, CodeMissingReason, "`reason` is missing", "say in a sentence why this should happen")
	}
	if d.Actions == nil {
		return fail(root.pos, CodeMalformed, "`actions` is missing", "name at least one action")
	}
	return nil
}

func (d *Document) note(pointer string, n *node) { d.positions[pointer] = n.pos }

func (d *Document) reason(v *node) *Error {
	switch {
	case v.kind == nullNode:
		return fail(v.pos, CodeMissingReason, "`reason` is empty", "say in a sentence why this should happen")
	case v.kind != textNode:
		return wrong("reason", v, textNode)
	case utf8.RuneCountInString(v.text) > MaxReason:
		return fail(v.pos, CodeMalformed, fmt.Sprintf("`reason` has %d characters, at most %d", utf8.RuneCountInString(v.text), MaxReason), "")
	}
	if d.Reason = strings.TrimSpace(CleanReason(v.text)); d.Reason == "" {
		return fail(v.pos, CodeMissingReason, "`reason` is empty", "say in a sentence why this should happen")
	}
	return nil
}

func (d *Document) mode(v *node) *Error {
	if v.kind != textNode {
		return wrong("mode", v, textNode)
	}
	switch m := Mode(v.text); m {
	case Live, Simulate, Validate:
		d.Mode = m
		return nil
	}
	return fail(v.pos, CodeMalformed, "mode "+quoted(v.text)+" is not one of LIVE, SIMULATE, VALIDATE", nearHint(strings.ToUpper(v.text), []string{"LIVE", "SIMULATE", "VALIDATE"}))
}

// QueueClasses are those that a document may ask for.
var QueueClasses = []string{"INTERACTIVE", "BACKGROUND"}

func (d *Document) queueClass(v *node) *Error {
	if v.kind != textNode {
		return wrong("queue_class", v, textNode)
	}
	if !slices.Contains(QueueClasses, v.text) {
		return fail(v.pos, CodeMalformed, "queue_class "+quoted(v.text)+" is not one of "+strings.Join(QueueClasses, ", "), nearHint(strings.ToUpper(v.text), QueueClasses))
	}
	d.QueueClass = v.text
	return nil
}

func (d *Document) key(v *node) *Error {
	if v.kind != textNode {
		return wrong("idempotency_key", v, textNode)
	}
	n := utf8.RuneCountInString(v.text)
	if n < 1 || n > MaxKey {
		return fail(v.pos, CodeInvalidIdempotencyKey, fmt.Sprintf("an idempotency key has 1 to %d characters, this one %d", MaxKey, n), "")
	}
	for _, r := range v.text {
		if isControl(r) || r == ' ' {
			return fail(v.pos, CodeInvalidIdempotencyKey, "an idempotency key has printable characters and no spaces", "")
		}
	}
	d.IdempotencyKey = v.text
	return nil
}

func (d *Document) subject(v *node) *Error {
	switch {
	case v.kind != textNode:
		return wrong("subject", v, textNode)
	case len(v.text) > MaxSubject || !subjectID.MatchString(v.text):
		return fail(v.pos, CodeInvalidSubject, quoted(v.text)+" is no subject", "as in family:alice, or leave it out: it is whoever drops the document")
	}
	d.Subject = v.text
	return nil
}

func (d *Document) parent(v *node) *Error {
	switch {
	case v.kind != textNode:
		return wrong("parent_action_id", v, textNode)
	case !parentID.MatchString(v.text):
		return fail(v.pos, CodeMalformed, "parent_action_id "+quoted(v.text)+" is no action's id", "act_ and 26 characters, from the intent.json of the goal that this one follows from")
	}
	d.ParentActionID = v.text
	return nil
}

func (d *Document) actions(v *node) *Error {
	if v.kind != listNode {
		return wrong("actions", v, listNode)
	}
	if len(v.items) == 0 {
		return fail(v.pos, CodeMalformed, "`actions` is empty", "name at least one action")
	}
	if len(v.items) > MaxSteps {
		return fail(v.items[MaxSteps].pos, CodeMalformed, fmt.Sprintf("%d actions, at most %d", len(v.items), MaxSteps), "split the intent")
	}
	d.Actions = make([]Action, len(v.items))
	seen := map[string]Position{}
	for i, item := range v.items {
		ptr := fmt.Sprintf("/actions/%d", i)
		d.note(ptr, item)
		a, err := d.action(ptr, item)
		if err != nil {
			if err.Field == "" {
				err.Field = ptr
			}
			return err
		}
		if a.ID == "" {
			a.ID = fmt.Sprintf("s%d", i+1)
		}
		if p, dup := seen[a.ID]; dup {
			at := d.Position(ptr + "/id")
			return fail(at, CodeMalformed, fmt.Sprintf("id %s is already used in line %d", quoted(a.ID), p.Line), "ids are unique in an intent")
		}
		seen[a.ID] = d.Position(ptr + "/id")
		d.Actions[i] = a
	}
	return d.order()
}

func (d *Document) action(ptr string, item *node) (a Action, err *Error) {
	if item.kind != mapNode {
		return a, wrong("an action", item, mapNode)
	}
	known := []string{"id", "action", "target", "params", "expect", "after", "verify"}
	for i, k := range item.keys {
		v, at := item.items[i], ptr+"/"+k.name
		d.note(at, v)
		switch k.name {
		case "id":
			if v.kind != textNode {
				return a, wrong("id", v, textNode)
			}
			if !actionID.MatchString(v.text) || len(v.text) > MaxActionID {
				return a, fail(v.pos, CodeMalformed, "id "+quoted(v.text)+" is not a name", "letters, digits, _ and -, starting with a letter, at most 64")
			}
			a.ID = v.text
		case "action":
			if v.kind != textNode {
				return a, wrong("action", v, textNode)
			}
			if !actionName.MatchString(v.text) {
				return a, fail(v.pos, CodeInvalidActionName, quoted(v.text)+" is not an action's name", "domain.verb or domain.resource.verb, as in aiosfs.object.write")
			}
			a.Action = v.text
		case "target":
			a.Target, err = d.values(at, "target", v)
		case "params":
			a.Params, err = d.values(at, "params", v)
		case "expect":
			a.Expect, err = d.expect(at, v)
		case "after":
			a.After, err = d.after(at, v)
		case "verify":
			a.Verify, err = d.verify(at, v)
		default:
			err = unknown(k, known)
		}
		if err != nil {
			if err.Field == "" {
				err.Field = at
			}
			return a, err
		}
	}
	if a.Action == "" {
		return a, fail(item.pos, CodeInvalidActionName, "`action` is missing", "for example `action: aiosfs.object.write`")
	}
	if a.Target == nil {
		a.Target = map[string]any{}
	}
	return a, nil
}

func (d *Document) expect(at string, v *node) (*Expect, *Error) {
	if v.kind != mapNode {
		return nil, wrong("expect", v, mapNode)
	}
	e := &Expect{}
	for i, k := range v.keys {
		n := v.items[i]
		d.note(at+"/"+k.name, n)
		if k.name != "version" {
			return nil, unknown(k, []string{"version"})
		}
		if n.kind != textNode {
			return nil, wrong("version", n, textNode)
		}
		if !versionID.MatchString(n.text) {
			return nil, fail(n.pos, CodeMalformed, quoted(n.text)+" is not a version", "ver_ and 26 characters, as in user.aios.version_id")
		}
		e.Version = n.text
	}
	if e.Version == "" {
		return nil, fail(v.pos, CodeMalformed, "`expect` names no version", "")
	}
	return e, nil
}

func (d *Document) after(at string, v *node) ([]string, *Error) {
	if v.kind != listNode {
		return nil, wrong("after", v, listNode)
	}
	var ids []string
	for i, n := range v.items {
		d.note(fmt.Sprintf("%s/%d", at, i), n)
		if n.kind != textNode {
			return nil, wrong("an id in `after`", n, textNode)
		}
		for _, id := range ids {
			if id == n.text {
				return nil, fail(n.pos, CodeMalformed, "`after` names "+quoted(id)+" twice", "")
			}
		}
		ids = append(ids, n.text)
	}
	return ids, nil
}

func (d *Document) verify(at string, v *node) ([]Verification, *Error) {
	if v.kind != listNode {
		return nil, wrong("verify", v, listNode)
	}
	if len(v.items) > MaxVerify {
		return nil, fail(v.items[MaxVerify].pos, CodeMalformed, fmt.Sprintf("%d verifications, at most %d", len(v.items), MaxVerify), "")
	}
	var out []Verification
	for i, n := range v.items {
		ptr := fmt.Sprintf("%s/%d", at, i)
		d.note(ptr, n)
		if n.kind != mapNode {
			return nil, wrong("a verification", n, mapNode)
		}
		var ver Verification
		for j, k := range n.keys {
			f := n.items[j]
			d.note(ptr+"/"+k.name, f)
			switch k.name {
			case "type":
				if f.kind != textNode {
					return nil, wrong("type", f, textNode)
				}
				if !verifyType.MatchString(f.text) {
					return nil, fail(f.pos, CodeMalformed, quoted(f.text)+" is not a verification's name", "as in file.exists")
				}
				ver.Type = f.text
			case "args":
				var err *Error
				if ver.Args, err = d.values(ptr+"/args", "args", f); err != nil {
					return nil, err
				}
			default:
				return nil, unknown(k, []string{"type", "args"})
			}
		}
		if ver.Type == "" {
			return nil, fail(n.pos, CodeMalformed, "a verification without `type`", "")
		}
		out = append(out, ver)
	}
	return out, nil
}

// values turns a map node into JSON values, at most MaxDepth deep.
func (d *Document) values(at, what string, v *node) (map[string]any, *Error) {
	if v.kind != mapNode {
		return nil, wrong(what, v, mapNode)
	}
	out, err := d.value(at, v, 1)
	if err != nil {
		return nil, err
	}
	return out.(map[string]any), nil
}

func (d *Document) value(at string, v *node, depth int) (any, *Error) {
	d.note(at, v)
	if depth > MaxDepth && (v.kind == mapNode || v.kind == listNode) {
		return nil, fail(v.pos, CodeMalformed, fmt.Sprintf("nested more than %d deep", MaxDepth), "")
	}
	switch v.kind {
	case boolNode:
		return v.truth, nil
	case numberNode:
		return v.num, nil
	case textNode:
		return v.text, nil
	case listNode:
		out := make([]any, len(v.items))
		for i, n := range v.items {
			x, err := d.value(fmt.Sprintf("%s/%d", at, i), n, depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	case mapNode:
		out := make(map[string]any, len(v.keys))
		for i, k := range v.keys {
			x, err := d.value(at+"/"+escapePointer(k.name), v.items[i], depth+1)
			if err != nil {
				return nil, err
			}
			out[k.name] = x
		}
		return out, nil
	}
	return nil, fail(v.pos, CodeMalformed, "a field without a value", "leave it out or give it one")
}

func escapePointer(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

func wrong(what string, v *node, want nodeKind) *Error {
	hint := ""
	if want == textNode && (v.kind == numberNode || v.kind == boolNode) {
		hint = "put it in quotes"
	}
	return fail(v.pos, CodeMalformed, what+" must be "+want.String()+", found "+v.kind.String(), hint)
}

func unknown(k key, known []string) *Error {
	hint := nearHint(k.name, known)
	if hint == "" {
		hint = "known here: " + strings.Join(known, ", ")
	}
	return fail(k.pos, CodeMalformed, "unknown field "+quoted(k.name), hint)
}
