package translate

import (
	"encoding/hex"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// defaultVerification fills the manifest's templates from the step. An
// argument that the step cannot fill is left out; a content check without a
// known content is a check that the file is there.
func defaultVerification(m *Manifest, s plan.Step) []plan.Verification {
	var out []plan.Verification
	for _, v := range m.Verification {
		args, whole := fill(v.Args, s)
		w := plan.Verification{Type: v.Type, Args: args}
		if !whole && v.Type == "file.hash" {
			delete(w.Args, "expected_hash_hex")
			w.Type = "file.exists"
		}
		out = append(out, w)
	}
	return out
}

func fill(in map[string]any, s plan.Step) (map[string]any, bool) {
	out, whole := map[string]any{}, true
	for k, v := range in {
		switch v := v.(type) {
		case string:
			x, ok := fillText(v, s)
			if !ok {
				whole = false
				continue
			}
			out[k] = x
		case map[string]any:
			x, ok := fill(v, s)
			whole = whole && ok
			out[k] = x
		default:
			out[k] = v
		}
	}
	return out, whole
}

func fillText(t string, s plan.Step) (any, bool) {
	if !strings.HasPrefix(t, "{") && !strings.Contains(t, "/{") {
		return t, true
	}
	open, end := strings.IndexByte(t, '{'), strings.IndexByte(t, '}')
	if end < open {
		return t, true
	}
	name := t[open+1 : end]
	var v any
	switch p, inParams := strings.CutPrefix(name, "params."); {
	case name == "content_hash":
		if c, ok := s.Params["content"].(string); ok {
			h := blake3.Sum256([]byte(c))
			v = hex.EncodeToString(h[:])
		}
	case inParams:
		v = s.Params[p]
	default:
		v = s.Target[name]
		if u, ok := s.Target["unit"].(string); ok && name == "service" && v == nil {
			v = strings.TrimSuffix(u, ".service")
		}
	}
	if v == nil {
		return nil, false
	}
	if text, ok := v.(string); ok {
		return t[:open] + text + t[end+1:], true
	}
	return v, true
}
