package evidence

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// selfSubject is the subject of the log's own records (S6.3 §3).
const selfSubject = "_system:service:evidence-log"

// maxField bounds every text field of a draft; 256 bytes is the reference's
// bound on subjects (S6.3 §3).
const maxField = 256

var (
	subjectForm = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}(:[a-z0-9_-]+)+$`)
	idPrefix    = "evr_"
)

// prefixed reports whether s is prefix and a ULID.
func prefixed(s, prefix string) bool {
	if !strings.HasPrefix(s, prefix) {
		return false
	}
	id, err := ulid.ParseStrict(s[len(prefix):])
	return err == nil && id.String() == s[len(prefix):]
}

// plain reports whether s can stand in a record without escapes: printable
// ASCII but quote and backslash, at most maxField bytes.
func plain(s string) bool {
	if len(s) > maxField {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// validate checks what can be checked without the log's state and fills
// defaults (S6.3 §10.1, first steps).
func (d *Draft) validate() error {
	bad := func(field, why string) error {
		return fmt.Errorf("append %s: %w: %s: %s", d.Type, ErrInvalidDraft, field, why)
	}
	if !d.Type.Valid() {
		return fmt.Errorf("append: %w: %w: %d", ErrInvalidDraft, record.ErrUnknownType, uint16(d.Type))
	}
	if d.CorrelationID == "" {
		d.CorrelationID = d.ActionID
	}
	if d.Scope == "" {
		d.Scope = "_system"
		if d.GroupID != "" {
			d.Scope = "groups"
		}
	}
	misplaced := func(why string) error {
		return fmt.Errorf("append %s: %w: %w: %s", d.Type, ErrInvalidDraft, ErrNamespaceScope, why)
	}
	switch d.Scope {
	case "_system":
		if d.GroupID != "" || d.UserID != "" {
			return misplaced("_system has no group or user")
		}
	case "groups":
		if d.GroupID == "" {
			return misplaced("groups needs a group")
		}
	default:
		return misplaced(fmt.Sprintf("%.40q is neither _system nor groups", d.Scope))
	}
	if len(d.Subject) > maxField || !subjectForm.MatchString(d.Subject) {
		return bad("subject", fmt.Sprintf("%.80q is not a canonical subject", d.Subject))
	}
	for _, id := range []struct{ field, value, prefix string }{
		{"id", d.ID, idPrefix}, {"action_id", d.ActionID, "act_"}, {"policy_decision_id", d.PolicyDecisionID, "poldec_"},
		{"verification_id", d.VerificationID, "vrf_"}, {"parent_receipt_id", d.ParentID, idPrefix},
	} {
		if id.value != "" && !prefixed(id.value, id.prefix) {
			return bad(id.field, fmt.Sprintf("%.80q is not %s<ULID>", id.value, id.prefix))
		}
	}
	for _, f := range []struct{ field, value string }{
		{"session", d.Session}, {"group_id", d.GroupID}, {"user_id", d.UserID},
		{"correlation_id", d.CorrelationID}, {"trace_id", d.TraceID}, {"emitter", d.Emitter},
	} {
		if !plain(f.value) {
			return bad(f.field, "not plain text of at most 256 bytes")
		}
		var r redactor
		if r.text(f.value, f.field) != f.value {
			return bad(f.field, "holds a secret")
		}
	}
	return d.checkVariant()
}

// variants are the payload fields whose values are closed enums that tell one
// variant from another, and on which retention depends (S3.1 App. A). The field
// is required.
var variants = map[record.Type]struct {
	field  string
	values []string
}{
	record.PolicyDecision:     {"decision", []string{"ALLOW", "REQUIRE_APPROVAL", "DENY"}},
	record.ExecutionCompleted: {"outcome", []string{"SUCCEEDED", "FAILED", "ROLLED_BACK"}},
	record.ConflictEvent:      {"event", []string{"opened", "auto_merged", "user_resolved", "abandoned"}},
}

func (d *Draft) checkVariant() error {
	v, ok := variants[d.Type]
	if !ok || d.Classified {
		return nil
	}
	s := fmt.Sprint(d.Payload[v.field])
	for _, want := range v.values {
		if s == want {
			return nil
		}
	}
	return fmt.Errorf("append %s: %w: %w: payload field %s is %.40q, want one of %s",
		d.Type, ErrInvalidDraft, ErrPayloadVariant, v.field, s, strings.Join(v.values, " "))
}
