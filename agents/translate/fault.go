package translate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// fault is the first thing wrong with a target: where (JSON pointer below the
// target), what, and what would be right.
type fault struct {
	pointer, what, hint string
	path                bool // a path that leads nowhere it may
}

// check validates a target in its envelope form (params inside).
func (m *Manifest) check(target map[string]any) *fault {
	err := m.schema.Validate(jsonForm(target))
	if err == nil {
		return m.checkDates(target)
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return &fault{what: err.Error()}
	}
	return m.explain(deepest(ve))
}

// explain says in a person's words what the schema has against a value.
func (m *Manifest) explain(leaf *jsonschema.ValidationError) *fault {
	f := &fault{}
	for _, s := range leaf.InstanceLocation {
		f.pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
	}
	name := "target"
	if n := len(leaf.InstanceLocation); n > 0 {
		name = leaf.InstanceLocation[n-1]
	}
	switch k := leaf.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		unknown, known := k.Properties[0], m.fields(f.pointer == "/params")
		f.pointer += "/" + unknown
		f.what, f.hint = fmt.Sprintf("unknown field %q", unknown), "known here: "+strings.Join(known, ", ")
		if near := plan.Nearest(unknown, known, 1); near != nil {
			f.hint = fmt.Sprintf("did you mean %q?", near[0])
		}
	case *kind.Required:
		f.what = "`" + strings.Join(k.Missing, "`, `") + "` is missing"
		if need := m.either; len(need) > 0 && (f.pointer == "/params" || slices.Contains(k.Missing, "params")) {
			f.pointer, f.what = "", "params need `"+strings.Join(need, "` or `")+"`"
		}
	case *kind.OneOf:
		if f.pointer == "/params" && len(k.Subschemas) > 1 {
			f.what, f.hint = strings.Join(m.either, " and ")+" exclude each other", "keep one of them"
			break
		}
		f.what, f.hint = name+" fit none of the forms that there are, or several at once", "give one of: "+strings.Join(m.either, ", ")
	case *kind.Type:
		words := make([]string, len(k.Want))
		for i, w := range k.Want {
			words[i] = inWords(w)
		}
		f.what = fmt.Sprintf("%s must be %s, found %s", name, strings.Join(words, " or "), inWords(k.Got))
		if slices.Contains(k.Want, "string") && (k.Got == "number" || k.Got == "boolean") {
			f.hint = "put it in quotes"
		}
	case *kind.Enum:
		var names []string
		for _, w := range k.Want {
			names = append(names, fmt.Sprint(w))
		}
		f.what = fmt.Sprintf("%s %q is not one of %s", name, fmt.Sprint(k.Got), strings.Join(names, ", "))
	case *kind.Format:
		f.format(name, k)
	case *kind.Pattern:
		f.what, f.hint = fmt.Sprintf("%s %q is not of the form that it must have", name, k.Got), k.Want
	default:
		f.what = name + ": " + k.LocalizedString(message.NewPrinter(language.English))
	}
	return f
}

// timeHint shows how a time is written.
const timeHint = "a day that exists, with its time and zone, as in 2026-11-23T10:15:00Z"

func (f *fault) format(name string, k *kind.Format) {
	switch k.Want {
	case "aios-path", "aios-file":
		f.path, f.what = true, fmt.Sprintf("%s %q: %v", name, fmt.Sprint(k.Got), k.Err)
		f.hint = "a path in the tree, /aios/…, or one relative to self/home"
	case "date-time":
		f.what, f.hint = fmt.Sprintf("%q is no time", fmt.Sprint(k.Got)), timeHint
	default:
		f.what = fmt.Sprintf("%s %q is no %s: %v", name, fmt.Sprint(k.Got), strings.TrimPrefix(k.Want, "aios-"), k.Err)
	}
}

// inWords gives a JSON type the name that the document's own errors use.
func inWords(t string) string {
	switch t {
	case "string":
		return "text"
	case "boolean":
		return "true/false"
	case "object":
		return "a map"
	case "array":
		return "a list"
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "null":
		return "nothing"
	}
	return t
}

// fields are the names that a target, or its params, may have.
func (m *Manifest) fields(params bool) []string {
	var out []string
	for name := range m.slots {
		if p, in := strings.CutPrefix(name, "params."); in == params {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func deepest(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	for len(e.Causes) > 0 {
		best := e.Causes[0]
		for _, c := range e.Causes {
			if _, ok := c.ErrorKind.(*kind.AdditionalProperties); ok {
				best = c
				break
			}
			if len(c.InstanceLocation) > len(best.InstanceLocation) {
				best = c
			}
		}
		e = best
	}
	return e
}
