package translate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// primitive is what a verification of one type takes. Each entry of needs is a list of
// names of which one must be given; others are names that may be.
type primitive struct {
	needs  [][]string
	others []string
	free   bool // nothing here looks at it: its arguments are for those who do
}

var somePath = []string{"object_or_path", "path"}

// primitives are the verifications of S2.4 §4, §5 and the waves behind them. One that
// nothing on this machine can look at is taken, and ends as PROBE_ERROR: that it is part
// of the grammar and that there is a probe for it here are two questions.
var primitives = map[string]primitive{
	"file.exists":              {needs: [][]string{somePath}},
	"file.hash":                {needs: [][]string{somePath, {"expected_hash_hex", "hash"}}},
	"aiosfs.object_exists":     {needs: [][]string{somePath}},
	"aiosfs.pointer":           {needs: [][]string{somePath}, others: []string{"expected_version", "pointer_kind"}},
	"aiosfs_path_in_namespace": {needs: [][]string{somePath}, others: []string{"expected_scope", "expected_group_id", "expected_user_id", "expected_reserved_name"}},
	"repo.exists":              {needs: [][]string{{"path_or_object", "object_or_path", "path"}}},
	"repo.clean":               {needs: [][]string{{"path_or_object", "object_or_path", "path"}}},
	"process.state":            {needs: [][]string{{"pid"}, {"expected"}}, others: []string{"started"}},
	"not":                      {needs: [][]string{{"term"}}},
}

func init() {
	for _, name := range []string{"service.active", "service.inactive", "service.enabled", "package.installed", "port.open", "port.closed", "http.ok", "policy.decision", "evidence.exists",
		"property_check", "network_subject_outbound_class", "network_active_exposure_class", "network_external_model_call_brokered_only", "dns_resolver_backend",
		"vpn_tunnel_active", "mdns_posture", "all", "any", "eventually", "surface_in_zone", "tree_contains_kind", "tree_max_depth", "theme_satisfies_invariants",
		"theme_constitutional_icons_intact", "gpu_binding_class", "web_renderer_bound_to", "web_chrome_z_index_at_least", "aiosfs_path_owner_resolved",
		"aiosfs_path_recovery_treatment_set", "namespace_catalog_version", "status_indicator_visible", "subject_session_flag_state", "filesystem_root_intact",
		"spec_consumes_table", "approval_binding_state", "secret_pattern_match"} {
		primitives[name] = primitive{free: true}
	}
}

// checkVerification says what is wrong with a verification that a document asks for: a
// name that the grammar does not have, an argument that is missing or that nobody reads.
// A look at nothing in particular would always find what it looks for.
func checkVerification(v plan.Verification) *fault {
	p, ok := primitives[v.Type]
	if !ok {
		var names []string
		for name := range primitives {
			names = append(names, name)
		}
		f := &fault{pointer: "/type", what: fmt.Sprintf("there is no verification %q", v.Type)}
		if near := plan.Nearest(v.Type, names, 3); near != nil {
			f.hint = "near: " + strings.Join(near, ", ")
		} else {
			f.hint = "for example file.exists, file.hash, repo.clean, process.state"
		}
		return f
	}
	if p.free {
		return nil
	}
	known := slices.Concat(append(slices.Clone(p.needs), p.others)...)
	for name := range v.Args {
		if !slices.Contains(known, name) {
			return &fault{pointer: "/args/" + name, what: fmt.Sprintf("%s: unknown argument %q", v.Type, name), hint: "known here: " + strings.Join(known, ", ")}
		}
	}
	for _, one := range p.needs {
		if !slices.ContainsFunc(one, func(name string) bool { return v.Args[name] != nil && v.Args[name] != "" }) {
			return &fault{pointer: "/args", what: fmt.Sprintf("%s: `%s` is missing", v.Type, one[0]), hint: "known here: " + strings.Join(known, ", ")}
		}
	}
	if v.Type != "not" {
		return nil
	}
	term, _ := v.Args["term"].(map[string]any)
	inner := plan.Verification{}
	inner.Type, _ = term["type"].(string)
	inner.Args, _ = term["args"].(map[string]any)
	if f := checkVerification(inner); f != nil {
		f.pointer = "/args/term" + f.pointer
		return f
	}
	return nil
}
