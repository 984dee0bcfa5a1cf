package record

import "fmt"

// Retention is a record's retention class. The numbers are this project's:
// the reference never assigns any (S6.3 cites S3.1 §6.4, which does not
// exist). Zero is refused.
type Retention uint8

// The closed retention classes, shortest first.
const (
	Standard24M Retention = 1 // payload kept 24 months
	Extended60M Retention = 2 // payload kept 60 months
	Forever     Retention = 3 // never purged or compacted
)

var retentionNames = [...]string{"UNSPECIFIED", "STANDARD_24M", "EXTENDED_60M", "FOREVER"}

// String returns the class's name in the reference.
func (r Retention) String() string {
	if int(r) < len(retentionNames) {
		return retentionNames[r]
	}
	return fmt.Sprintf("RETENTION_%d", uint8(r))
}

// ParseRetention returns the class with the given name.
func ParseRetention(name string) (Retention, error) {
	for i := Standard24M; i <= Forever; i++ {
		if retentionNames[i] == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("parse retention class %q: unknown", name)
}

// Retention returns the class fixed for the type, before any rule that
// depends on the payload; see RetentionFor.
func (t Type) Retention() Retention {
	if !t.Valid() {
		return 0
	}
	return typeRetention[t]
}

// RetentionFor returns the class of one record of the type with the given
// payload. Three types depend on it (S3.1 §13): a POLICY_DECISION other than
// ALLOW, an EXECUTION_COMPLETED other than SUCCEEDED, and a
// VERIFICATION_RESULT that FAILED document a denial or a failure and are kept
// for ever. For every other type it is Retention.
func (t Type) RetentionFor(payload map[string]any) Retention {
	text := func(k string) string { s, _ := payload[k].(string); return s }
	switch t {
	case PolicyDecision:
		if text("decision") != "ALLOW" {
			return Forever
		}
	case ExecutionCompleted:
		if text("outcome") != "SUCCEEDED" {
			return Forever
		}
	case VerificationResult:
		if text("status") == "FAILED" {
			return Forever
		}
	}
	return t.Retention()
}
