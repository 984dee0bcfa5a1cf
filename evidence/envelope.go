package evidence

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// schemaName is in every record; a change of the envelope changes it.
const schemaName = "aios.evidence.v1alpha1"

// timeForm is RFC 3339 with all nine decimals, so that text order is time order.
const timeForm = "2006-01-02T15:04:05.000000000Z"

// zeroLink is the link of the first record.
const zeroLink = "00000000000000000000000000000000"

var errEnvelope = errors.New("not a canonical record")

// tai64n is the TAI64N label of t: TAI is taken as UTC + 37 s, the offset
// since 2017, because Linux hosts rarely know it (spec/evidence.md §21.19).
func tai64n(t time.Time) string {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(t.Unix()+37)+1<<62)
	binary.BigEndian.PutUint32(b[8:], uint32(t.Nanosecond()))
	return hex.EncodeToString(b[:])
}

// appendRecord appends the canonical JSON of r: a flat object of strings and
// booleans whose keys are in order. Every string is plain (validate), so that
// no escapes are needed and the form is canonical by construction. Unset
// optional fields are left out.
func appendRecord(b []byte, r *Receipt) []byte {
	str := func(key, value string) {
		b = append(b, '"')
		b = append(b, key...)
		b = append(b, `":"`...)
		b = append(b, value...)
		b = append(b, `",`...)
	}
	opt := func(key, value string) {
		if value != "" {
			str(key, value)
		}
	}
	boolean := func(key string, v bool) {
		b = append(b, '"')
		b = append(b, key...)
		b = append(b, `":`...)
		b = strconv.AppendBool(b, v)
		b = append(b, ',')
	}
	b = append(b, '{')
	opt("acting_session_id", r.Session)
	opt("action_id", r.ActionID)
	opt("correlation_id", r.CorrelationID)
	str("emitter", r.Emitter)
	opt("group_id", r.GroupID)
	opt("parent_receipt_id", r.ParentID)
	str("payload_hash", r.PayloadHash)
	str("payload_ref", r.PayloadRef)
	opt("policy_decision_id", r.PolicyDecisionID)
	str("previous_receipt_hash", r.PreviousHash)
	str("receipt_id", r.ID)
	str("record_type", r.Type.String())
	str("recorded_at", r.RecordedAt.UTC().Format(timeForm))
	str("redaction_class", r.RedactionClass.String())
	str("redaction_profile", strings.Join(r.RedactionProfile, ","))
	str("retention", r.Retention.String())
	str("schema", schemaName)
	str("scope", r.Scope)
	str("segment_id", r.SegmentID)
	b = append(b, `"sequence_number":"`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, `",`...)
	boolean("simulated", r.Simulated)
	str("subject", r.Subject)
	boolean("subject_is_ai", r.SubjectIsAI)
	str("tai64n", r.TAI64N)
	opt("trace_id", r.TraceID)
	opt("user_id", r.UserID)
	opt("verification_id", r.VerificationID)
	b[len(b)-1] = '}'
	return b
}

// parseRecord reads a record written by appendRecord. It accepts exactly the
// canonical form, which it checks by writing the record again.
func parseRecord(data []byte) (Receipt, error) {
	var r Receipt
	if len(data) < 2 || data[0] != '{' || data[len(data)-1] != '}' {
		return r, errEnvelope
	}
	for _, c := range data {
		if c < 0x20 || c > 0x7e || c == '\\' {
			return r, errEnvelope // never written: see plain
		}
	}
	var schema, at, seq string
	for rest := string(data[1 : len(data)-1]); rest != ""; {
		key, value, tail, ok := member(rest)
		if !ok {
			return r, errEnvelope
		}
		rest = tail
		switch key {
		case "acting_session_id":
			r.Session = value
		case "action_id":
			r.ActionID = value
		case "correlation_id":
			r.CorrelationID = value
		case "emitter":
			r.Emitter = value
		case "group_id":
			r.GroupID = value
		case "parent_receipt_id":
			r.ParentID = value
		case "payload_hash":
			r.PayloadHash = value
		case "payload_ref":
			r.PayloadRef = value
		case "policy_decision_id":
			r.PolicyDecisionID = value
		case "previous_receipt_hash":
			r.PreviousHash = value
		case "receipt_id":
			r.ID = value
		case "record_type":
			r.Type, _ = record.Parse(value)
		case "recorded_at":
			at = value
		case "redaction_class":
			for i, n := range redactionNames {
				if n == value {
					r.RedactionClass = RedactionClass(i)
				}
			}
		case "redaction_profile":
			r.RedactionProfile = strings.Split(value, ",")
		case "retention":
			r.Retention, _ = record.ParseRetention(value)
		case "schema":
			schema = value
		case "scope":
			r.Scope = value
		case "segment_id":
			r.SegmentID = value
		case "sequence_number":
			seq = value
		case "simulated":
			r.Simulated = value == "true"
		case "subject":
			r.Subject = value
		case "subject_is_ai":
			r.SubjectIsAI = value == "true"
		case "tai64n":
			r.TAI64N = value
		case "trace_id":
			r.TraceID = value
		case "user_id":
			r.UserID = value
		case "verification_id":
			r.VerificationID = value
		default:
			return r, fmt.Errorf("%w: field %.40q", errEnvelope, key)
		}
	}
	var err error
	if r.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil || schema != schemaName || !r.Type.Valid() || !prefixed(r.ID, idPrefix) {
		return r, errEnvelope
	}
	if r.RecordedAt, err = time.Parse(timeForm, at); err != nil {
		return r, fmt.Errorf("%w: %w", errEnvelope, err)
	}
	r.Bytes = data
	var again [1024]byte
	if !bytes.Equal(appendRecord(again[:0], &r), data) {
		return r, errEnvelope
	}
	return r, nil
}

// member splits `"key":"value",rest` or `"key":true,rest`.
func member(s string) (key, value, rest string, ok bool) {
	if s[0] != '"' {
		return
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return
	}
	key, s = s[1:1+end], s[2+end:]
	if len(s) < 2 || s[0] != ':' {
		return
	}
	s = s[1:]
	if s[0] == '"' {
		if end = strings.IndexByte(s[1:], '"'); end < 0 {
			return
		}
		value, s = s[1:1+end], s[2+end:]
	} else {
		if end = strings.IndexByte(s, ','); end < 0 {
			end = len(s)
		}
		if value, s = s[:end], s[end:]; value != "true" && value != "false" {
			return
		}
	}
	if s == "" {
		return key, value, "", true
	}
	if s[0] != ',' || len(s) == 1 {
		return
	}
	return key, value, s[1:], true
}
