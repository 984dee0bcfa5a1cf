package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
)

// maxSafe is the largest integer JCS numbers (doubles) hold exactly.
const maxSafe = 1<<53 - 1

// normalise turns a payload into plain JSON values: maps, slices, strings,
// bools, nil and json.Number. Integers beyond 2^53 become strings, since JCS
// numbers are doubles (spec/evidence.md §21.4).
func normalise(payload map[string]any) (map[string]any, error) {
	if payload == nil {
		return map[string]any{}, nil
	}
	v, err := normal(payload, 0)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// normal copies a value as encoding it and reading it back would give it. The kinds that
// payloads are made of are copied as they are, everything else takes that way.
func normal(v any, depth int) (any, error) {
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case string:
		if utf8.ValidString(v) {
			return v, nil
		}
	case int:
		return json.Number(strconv.Itoa(v)), nil
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case []string:
		if v != nil {
			return normalList(v, depth)
		}
	case []any:
		if v != nil && depth <= maxDepth {
			return normalList(v, depth)
		}
	case map[string]any:
		if v != nil && depth <= maxDepth {
			return normalMap(v, depth)
		}
	}
	return throughJSON(v)
}

func normalList[T any](list []T, depth int) (any, error) {
	out := make([]any, len(list))
	var err error
	for i, e := range list {
		if out[i], err = normal(e, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func normalMap(m map[string]any, depth int) (any, error) {
	out := make(map[string]any, len(m))
	for k, e := range m {
		if !utf8.ValidString(k) {
			return throughJSON(m)
		}
		n, err := normal(e, depth+1)
		if err != nil {
			return nil, err
		}
		out[k] = n
	}
	return out, nil
}

func throughJSON(v any) (out any, err error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(&buf)
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("trailing data")
	}
	return out, nil
}

// appendCanonical appends the JCS form (RFC 8785) of a normalised value.
func appendCanonical(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case json.Number:
		return appendNumber(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendCanonical(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Slice(keys, func(i, j int) bool { return lessUTF16(keys[i], keys[j]) })
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k), ':')
			var err error
			if b, err = appendCanonical(b, v[k]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, fmt.Errorf("canonical form of %T", v)
}

func appendNumber(b []byte, n json.Number) ([]byte, error) {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		if i > maxSafe || i < -maxSafe {
			return appendString(b, string(n)), nil
		}
		return strconv.AppendInt(b, i, 10), nil
	}
	if _, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return appendString(b, string(n)), nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("number %s: %w", n, err)
	}
	s, err := jcs.NumberToJSON(f)
	if err != nil {
		return nil, fmt.Errorf("number %s: %w", n, err)
	}
	return append(b, s...), nil
}

// appendString appends a JSON string with exactly the escapes of RFC 8785.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			if c < 0x20 {
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			} else {
				b = append(b, c)
			}
		}
		i++
	}
	return append(b, '"')
}

// lessUTF16 orders keys by UTF-16 code units, as JCS wants.
func lessUTF16(a, b string) bool {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] >= utf8.RuneSelf || b[i] >= utf8.RuneSelf {
			ua, ub := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
			for j := 0; j < len(ua) && j < len(ub); j++ {
				if ua[j] != ub[j] {
					return ua[j] < ub[j]
				}
			}
			return len(ua) < len(ub)
		}
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return len(a) < len(b)
}
