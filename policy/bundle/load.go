package bundle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strings"

	"github.com/zeebo/blake3"
	"go.yaml.in/yaml/v3"
)

// Manifest is manifest.json.
type Manifest struct {
	Schema    string              `json:"schema_version"` // aios.policy.v1alpha1
	Publisher string              `json:"publisher_id"`
	Groups    map[string][]string `json:"group_definitions"` // name to members: canonical ids or group:<name>
	CreatedAt string              `json:"created_at"`
}

const schemaVersion = "aios.policy.v1alpha1"

// Trust is what a bundle must be signed with: the publisher's key signs the bundle,
// the root key endorses the publisher's.
type Trust struct{ Root, Publisher ed25519.PublicKey }

var ruleID = regexp.MustCompile(`^[a-z][a-z0-9_]{2,80}$`)
var actionName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$`)

// Load reads, checks and compiles a bundle. hardDenies is the compiled list that the
// bundle's mirror must equal.
func Load(dir fs.FS, trust Trust, hardDenies []string) (*Bundle, error) {
	files, err := read(dir)
	if err != nil {
		return nil, err
	}
	if err := verify(dir, trust, digest(files)); err != nil {
		return nil, err
	}
	return compile(files, hardDenies)
}

// Check does what Load does but for the signatures: whether a bundle may be signed.
// What it gives is not to be put in force.
func Check(dir fs.FS, hardDenies []string) (*Bundle, error) {
	files, err := read(dir)
	if err != nil {
		return nil, err
	}
	return compile(files, hardDenies)
}

func compile(files map[string][]byte, hardDenies []string) (*Bundle, error) {
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(files["manifest.json"]))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, invalid("manifest.json", 0, "%v", err)
	}
	if m.Schema != schemaVersion {
		return nil, invalid("manifest.json", 0, "schema %q is not %s", m.Schema, schemaVersion)
	}
	if err := checkMirror(files["hard_denies.yaml"], hardDenies); err != nil {
		return nil, err
	}
	groups, err := closure(m.Groups)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Version: digest(files), Groups: groups}
	seen := map[string]string{}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if !strings.HasPrefix(name, "rules/") {
			continue
		}
		r, err := parseRule(name, files[name], groups, hardDenies)
		if err != nil {
			return nil, err
		}
		if first, ok := seen[r.ID]; ok {
			return nil, invalid(name, 0, "rule_id %s stands in %s already", r.ID, first)
		}
		seen[r.ID] = name
		b.Rules = append(b.Rules, *r)
	}
	if len(b.Rules) > maxRules {
		return nil, invalid("rules", 0, "%d rules, at most %d", len(b.Rules), maxRules)
	}
	sort.Slice(b.Rules, func(i, j int) bool {
		if b.Rules[i].Priority != b.Rules[j].Priority {
			return b.Rules[i].Priority > b.Rules[j].Priority
		}
		return b.Rules[i].ID < b.Rules[j].ID
	})
	return b, nil
}

func read(dir fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	total := 0
	err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		ok := name == "manifest.json" || name == "hard_denies.yaml" || path.Dir(name) == "rules" && strings.HasSuffix(name, ".yaml") || path.Dir(name) == "signatures"
		if !ok {
			return invalid(name, 0, "no such file belongs to a bundle")
		}
		b, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		if total += len(b); total > 64<<20 {
			return invalid(name, 0, "the bundle is larger than 64 MiB")
		}
		if path.Dir(name) != "signatures" {
			files[name] = b
		}
		return nil
	})
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, e
		}
		return nil, invalid("", 0, "%v", err)
	}
	for _, name := range []string{"manifest.json", "hard_denies.yaml"} {
		if files[name] == nil {
			return nil, invalid(name, 0, "it is missing")
		}
	}
	return files, nil
}

// digest names a bundle's content: each file's name, length and bytes, by name.
func digest(files map[string][]byte) string {
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	sort.Strings(names)
	h := blake3.New()
	for _, n := range names {
		fmt.Fprintf(h, "%s\x00%d\x00", n, len(files[n]))
		h.Write(files[n]) // a hash's Write does not fail
	}
	return fmt.Sprintf("polb_%x", h.Sum(nil)[:16])
}

func verify(dir fs.FS, trust Trust, version string) error {
	for _, s := range []struct {
		file string
		key  ed25519.PublicKey
		body []byte
	}{
		{"signatures/aios_root.sig", trust.Root, append([]byte("aios policy publisher\x00"), trust.Publisher...)},
		{"signatures/publisher.sig", trust.Publisher, []byte("aios policy bundle\x00" + version)},
	} {
		b, err := fs.ReadFile(dir, s.file)
		if err != nil {
			return &Error{"SignatureInvalid", s.file, 0, "it is missing"}
		}
		sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
		if err != nil || len(s.key) != ed25519.PublicKeySize || !ed25519.Verify(s.key, s.body, sig) {
			return &Error{"SignatureInvalid", s.file, 0, "it does not hold"}
		}
	}
	return nil
}

// Sign gives the two signatures of a bundle's files, by file name.
func Sign(dir fs.FS, root, publisher ed25519.PrivateKey) (map[string][]byte, error) {
	files, err := read(dir)
	if err != nil {
		return nil, err
	}
	pub := publisher.Public().(ed25519.PublicKey)
	enc := func(sig []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(sig) + "\n") }
	return map[string][]byte{
		"signatures/aios_root.sig": enc(ed25519.Sign(root, append([]byte("aios policy publisher\x00"), pub...))),
		"signatures/publisher.sig": enc(ed25519.Sign(publisher, []byte("aios policy bundle\x00"+digest(files)))),
	}, nil
}

func checkMirror(b []byte, want []string) error {
	var list []string
	if err := strict(b, &list); err != nil {
		return invalid("hard_denies.yaml", 0, "%v", err)
	}
	if len(list) != len(want) {
		return &Error{"InvariantLooseningAttempted", "hard_denies.yaml", 0, fmt.Sprintf("it lists %d hard denies, this build has %d", len(list), len(want))}
	}
	for i := range want {
		if list[i] != want[i] {
			return &Error{"InvariantLooseningAttempted", "hard_denies.yaml", i + 1, fmt.Sprintf("%q stands where %q must", list[i], want[i])}
		}
	}
	return nil
}

func strict(b []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return err
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("one document a file")
	}
	return nil
}

// closure expands groups into their members; a cycle is refused (Casbin would take
// it silently).
func closure(def map[string][]string) (map[string][]string, error) {
	out := map[string][]string{}
	state := map[string]int{} // 1: being expanded, 2: done
	var expand func(name string) error
	expand = func(name string) error {
		switch state[name] {
		case 1:
			return invalid("manifest.json", 0, "subject_group_cycle_detected: %s", name)
		case 2:
			return nil
		}
		state[name] = 1
		set := map[string]bool{}
		for _, m := range def[name] {
			if sub, ok := strings.CutPrefix(m, "group:"); ok {
				if _, known := def[sub]; !known {
					return invalid("manifest.json", 0, "group %s names the unknown group %s", name, sub)
				}
				if err := expand(sub); err != nil {
					return err
				}
				for _, x := range out[sub] {
					set[x] = true
				}
			} else {
				set[m] = true
			}
		}
		for m := range set {
			out[name] = append(out[name], m)
		}
		sort.Strings(out[name])
		state[name] = 2
		return nil
	}
	for name := range def {
		if err := expand(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parseRule(file string, b []byte, groups map[string][]string, hardDenies []string) (*Rule, error) {
	r := &Rule{File: file}
	if err := strict(b, r); err != nil {
		return nil, invalid(file, 0, "%v", err)
	}
	switch {
	case !ruleID.MatchString(r.ID):
		return nil, invalid(file, 0, "rule_id %q", r.ID)
	case r.Effect != AllowEffect && r.Effect != DenyEffect:
		return nil, invalid(file, 0, "effect %q: it is allow or deny, spelt so", r.Effect)
	case len(r.Subjects) == 0 || len(r.Actions) == 0:
		return nil, invalid(file, 0, "a rule names subjects and actions")
	}
	for _, id := range hardDenies {
		if r.ID == id || r.ID == strings.TrimPrefix(id, "hd.") && r.Effect == AllowEffect {
			return nil, &Error{"InvariantLooseningAttempted", file, 0, "a scoped rule cannot stand for the hard deny " + id}
		}
	}
	if r.Effect == AllowEffect {
		for _, c := range r.Conditions {
			if strings.Contains(c, "target.group_id !=") || strings.Contains(c, "target.own_group = false") {
				return nil, &Error{"InvariantLooseningAttempted", file, 0, "it would relax CrossGroupAccessForbidden: " + c}
			}
		}
	}
	for _, s := range r.Subjects {
		if g, ok := strings.CutPrefix(s, "group:"); ok {
			if _, known := groups[g]; !known {
				return nil, invalid(file, 0, "subject %s: no such group in the manifest", s)
			}
		}
	}
	for _, a := range r.Actions {
		if !actionName.MatchString(a) {
			return nil, invalid(file, 0, "action %q: an exact dotted name is wanted, there are no wildcards", a)
		}
	}
	n := 0
	for _, s := range r.Conditions {
		c, err := Compile(s)
		if err != nil {
			return nil, invalid(file, 0, "condition `%s`: %v", s, err)
		}
		n += c.Predicates()
		r.Compiled = append(r.Compiled, c)
	}
	if n > maxPredicates {
		return nil, invalid(file, 0, "%d predicates, at most %d", n, maxPredicates)
	}
	return r, checkAttached(file, r)
}

var strengthTTL = map[string]int{"": maxApprovalTTL, "WEAK": 1800, "STRONG": maxApprovalTTL, "DUAL": maxApprovalTTL}

func checkAttached(file string, r *Rule) error {
	c := r.Constraints
	switch {
	case c.TTLSeconds < 0 || c.TTLSeconds > 3600:
		return invalid(file, 0, "constraints.ttl_seconds: 1 to 3600")
	case c.EvidenceGrade != "" && !strings.Contains("E2 E3 E4 E5", c.EvidenceGrade):
		return invalid(file, 0, "enum_value_not_in_closed_set: require_evidence_grade %q", c.EvidenceGrade)
	case c.NetworkPolicy != "" && c.NetworkPolicy != "LOCALHOST_ONLY" && c.NetworkPolicy != "LAN_ALLOWED" && c.NetworkPolicy != "INTERNET_ALLOWED":
		return invalid(file, 0, "enum_value_not_in_closed_set: network_policy %q", c.NetworkPolicy)
	}
	a := r.Approval
	if a == nil {
		return nil
	}
	limit, ok := strengthTTL[a.Strength]
	switch {
	case r.Effect == DenyEffect:
		return invalid(file, 0, "a deny rule asks nobody")
	case a.Scope != "" && a.Scope != "exact_request_hash":
		return invalid(file, 0, "enum_value_not_in_closed_set: approval_scope %q", a.Scope)
	case !ok:
		return invalid(file, 0, "enum_value_not_in_closed_set: strength %q", a.Strength)
	case a.Required && (a.TTLSeconds <= 0 || a.TTLSeconds > limit):
		return &Error{"InvalidApprovalTtl", file, 0, fmt.Sprintf("ttl_seconds %d: 1 to %d", a.TTLSeconds, limit)}
	}
	for _, class := range a.ApproverClasses {
		if class != "human" && class != "group_admin" && class != "system_admin" {
			return invalid(file, 0, "approver class %q: human, group_admin or system_admin; never an AI", class)
		}
	}
	return nil
}
