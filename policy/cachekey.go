package policy

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// cacheKey writes down everything in a request that a decision depends on, each part with
// its length, so that no two requests share a key. It does what the snapshot's digest does
// in a thirtieth of the time; a field that is added to a request must be added here, which
// a test that changes every field in turn sees to. The key is appended to b.
func (r *Request) cacheKey(b []byte) ([]byte, error) {
	k := keyWriter{b}
	k.text(r.RequestHash, r.Action, r.Environment, r.DryRun, r.SandboxProfile, r.Weekday)
	k.number(uint64(r.Class), uint64(r.HourUTC))
	k.risk(r.Claimed)
	k.risk(r.Template)
	k.flags(r.Recursive, r.RawSecretRead, r.UntypedShell, r.RecoveryMode, r.FirstBoot)

	s := &r.Subject
	k.text(s.ID, s.PrimaryGroup, s.SessionClass, s.CatalogVersion)
	k.list(s.Memberships)
	k.list(s.Capabilities)
	k.list(s.RiskFlags)
	k.number(uint64(s.Kind), uint64(s.UID))
	k.flags(s.IsAI, s.Admin, s.SingleOperator)

	t := &r.Target
	k.text(t.Scope, t.Group, t.User, t.Reserved, t.Path)
	k.number(uint64(len(t.Fields)))
	if len(t.Fields) > 0 {
		for _, name := range slices.Sorted(maps.Keys(t.Fields)) {
			k.text(name)
			if err := k.any(t.Fields[name]); err != nil {
				return nil, err
			}
		}
	}
	k.number(uint64(len(r.Objects)))
	for i := range r.Objects {
		o := &r.Objects[i]
		k.text(o.ID, o.PrivacyClass, o.NewClass, o.Kind, o.LifecycleState, o.CreatedBy)
		k.list(o.Tags)
	}
	return k.b, nil
}

type keyWriter struct{ b []byte }

func (k *keyWriter) text(s ...string) {
	for _, x := range s {
		k.b = append(binary.AppendUvarint(k.b, uint64(len(x))), x...)
	}
}

func (k *keyWriter) list(l []string) {
	k.number(uint64(len(l)))
	k.text(l...)
}

func (k *keyWriter) number(n ...uint64) {
	for _, x := range n {
		k.b = binary.AppendUvarint(k.b, x)
	}
}

func (k *keyWriter) flags(f ...bool) {
	for _, x := range f {
		if x {
			k.b = append(k.b, 1)
		} else {
			k.b = append(k.b, 0)
		}
	}
}

func (k *keyWriter) risk(r Risk) {
	k.flags(r.Destructive, r.Privileged, r.NetworkExposure, r.SecretAccess, r.RecoveryPathAffected)
}

// any writes a field of a target, which came out of JSON or YAML.
func (k *keyWriter) any(v any) error {
	switch v := v.(type) {
	case string:
		k.b = append(k.b, 's')
		k.text(v)
	case bool:
		k.b = append(k.b, 'b')
		k.flags(v)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("a field of the target: %w", err)
		}
		k.b = append(k.b, 'j')
		k.text(string(b))
	}
	return nil
}
