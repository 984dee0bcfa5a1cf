package translate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// compileSchema compiles target_schema, insists on additionalProperties:false
// at both levels and lists the slots words may fill.
func (m *Manifest) compileSchema() error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.TargetSchema))
	if err != nil {
		return fmt.Errorf("target_schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	path := func(v any) error {
		if s, ok := v.(string); ok {
			if fault := plan.CheckPath(s); fault != "" {
				return errors.New(fault)
			}
		}
		return nil
	}
	c.RegisterFormat(&jsonschema.Format{Name: "aios-path", Validate: path})
	c.RegisterFormat(&jsonschema.Format{Name: "aios-file", Validate: path})
	c.UseLoader(noLoader{})
	url := "aios:" + m.CapabilityID
	if err := c.AddResource(url, doc); err != nil {
		return fmt.Errorf("target_schema: %w", err)
	}
	if m.schema, err = c.Compile(url); err != nil {
		return fmt.Errorf("target_schema: %w", err)
	}
	m.slots = map[string]slot{}
	return m.collect("", m.TargetSchema)
}

// noLoader keeps a manifest from pulling schemas from anywhere else.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a manifest refers to nothing outside itself (%s)", url)
}

type rawSchema struct {
	Type       string                     `json:"type"`
	Additional *bool                      `json:"additionalProperties"`
	Required   []string                   `json:"required"`
	Properties map[string]json.RawMessage `json:"properties"`
	AnyOf      []struct {
		Required []string `json:"required"`
	} `json:"anyOf"`
	OneOf []struct {
		Required []string `json:"required"`
	} `json:"oneOf"`
	Format  string          `json:"format"`
	Pattern string          `json:"pattern"`
	Enum    []string        `json:"enum"`
	Default string          `json:"default"`
	Items   json.RawMessage `json:"items"`
}

func (m *Manifest) collect(prefix string, raw json.RawMessage) error {
	var s rawSchema
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("target_schema: %w", err)
	}
	if s.Type != "object" || s.Additional == nil || *s.Additional {
		return fmt.Errorf("target_schema: an object with additionalProperties false is required at %q", prefix)
	}
	need := append([]string{}, s.Required...)
	// Of several ways to be complete, words are asked for the first.
	if len(s.AnyOf) > 0 {
		need = append(need, s.AnyOf[0].Required...)
	}
	if len(s.OneOf) > 0 {
		need = append(need, s.OneOf[0].Required...)
	}
	for _, way := range append(s.AnyOf, s.OneOf...) {
		if prefix != "" && len(way.Required) > 0 {
			m.either = append(m.either, strings.Join(way.Required, "+"))
		}
	}
	if prefix != "" && m.either == nil && len(s.Required) > 0 {
		m.either = []string{strings.Join(s.Required, "+")}
	}
	names := make([]string, 0, len(s.Properties))
	for n := range s.Properties {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		if n == "params" && prefix == "" {
			continue
		}
		var p rawSchema
		if err := json.Unmarshal(s.Properties[n], &p); err != nil {
			// a form this grammar cannot fill (content_from's list, say);
			// documents still validate against it.
			p = rawSchema{}
		}
		sl := slot{name: prefix + n, format: p.Format, typ: p.Type, enum: p.Enum, def: p.Default}
		if len(p.OneOf) > 0 && n == "content_from" {
			sl.format, sl.typ = "aios-path", "string"
		}
		if p.Pattern != "" {
			re, err := regexp.Compile(p.Pattern)
			if err != nil {
				return fmt.Errorf("target_schema: pattern of %s: %w", n, err)
			}
			sl.pattern = re
		}
		m.slots[sl.name] = sl
	}
	for _, n := range need {
		if n != "params" {
			m.required = append(m.required, prefix+n)
		}
	}
	if params, ok := s.Properties["params"]; ok && prefix == "" {
		return m.collect("params.", params)
	}
	return nil
}

// checkDates catches days that do not exist, which the format leaves through
// when its text is a plain date.
func (m *Manifest) checkDates(target map[string]any) *fault {
	params, _ := target["params"].(map[string]any)
	for name, s := range m.slots {
		if s.format != "date-time" {
			continue
		}
		v, _ := params[strings.TrimPrefix(name, "params.")].(string)
		if v == "" {
			continue
		}
		if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
			return &fault{pointer: "/" + strings.ReplaceAll(name, ".", "/"), what: fmt.Sprintf("%q is no time", v), hint: timeHint}
		}
	}
	return nil
}

// jsonForm turns []string and the like into what a JSON decoder would give.
func jsonForm(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = jsonForm(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = jsonForm(x)
		}
		return out
	case []string:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = x
		}
		return out
	}
	return v
}
