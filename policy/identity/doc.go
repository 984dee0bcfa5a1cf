// Package identity says who is asking (S5.1; contract §7).
//
// A subject is a canonical id, `<group>:<name>`, of a closed kind. The kernel's uid
// names it: the catalogue binds uids to subjects, and an unbound uid is the human
// `local:<login>` without special rights. Whether a subject is an AI is a fact of
// the catalogue or of the mount that the request came through, never of anything
// that the caller says. A Catalogue is immutable; a change gives another one.
package identity

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Kind is a subject's kind (SubjectKind, S5.1, closed).
type Kind uint8

// The subject kinds.
const (
	HumanUser Kind = iota + 1
	AIAgent
	Application
	Service
	Device
	Workflow
	RemoteOperator
	LocalOperator
)

var kindNames = []string{"", "HUMAN_USER", "AI_AGENT", "APPLICATION", "SERVICE", "DEVICE", "WORKFLOW", "REMOTE_OPERATOR", "LOCAL_OPERATOR"}

// String gives the reference's name.
func (k Kind) String() string { return kindNames[min(int(k), len(kindNames)-1)] }

// MarshalText writes the reference's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the reference's name; another one is an error, the set is closed.
func (k *Kind) UnmarshalText(b []byte) error {
	for i, n := range kindNames {
		if i > 0 && n == string(b) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no subject kind", b)
}

// Human says whether the kind is a person (O-9: operators are persons too).
func (k Kind) Human() bool { return k == HumanUser || k == RemoteOperator || k == LocalOperator }

// Errors of identities.
var (
	ErrUnauthenticated = errors.New("the caller is nobody known") // SubjectUnauthenticated
	ErrReserved        = errors.New("the identifier is reserved") // RESERVED_ID_USED
	ErrID              = errors.New("not a valid identifier")
	ErrExists          = errors.New("it is registered already")
	ErrUnknown         = errors.New("it is not registered")
	ErrSignature       = errors.New("the identity bundle's signature does not hold") // SubjectSignatureInvalid
)

var (
	idPattern        = regexp.MustCompile(`^[a-z][a-z0-9_-]{1,62}$`)
	canonicalPattern = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}(:[a-z0-9_-]+)+$`)
)

var reserved = map[string]bool{"_": true, "_system": true, "_recovery": true, "_aios": true, "_root": true}

// CheckID checks the name of a group, user or agent. Reserved names are refused
// before the pattern is looked at (filesystem.md §10.4).
func CheckID(id string) error {
	if reserved[id] || strings.HasPrefix(id, "_") {
		return fmt.Errorf("%q: %w", id, ErrReserved)
	}
	if !idPattern.MatchString(id) {
		return fmt.Errorf("%q: %w: 2 to 63 of a-z, 0-9, _ and -, a letter first", id, ErrID)
	}
	return nil
}

// CheckCanonical checks a canonical id against its kind (S5.1).
func CheckCanonical(id string, kind Kind) error {
	if len(id) > 256 || !canonicalPattern.MatchString(id) {
		return fmt.Errorf("%q: %w", id, ErrID)
	}
	parts := strings.Split(id, ":")
	if parts[0] == "_system" {
		want := map[Kind]string{Service: "service", RemoteOperator: "remote", LocalOperator: "local"}[kind]
		if want == "" || len(parts) != 3 || parts[1] != want {
			return fmt.Errorf("%q: a %s is not of the system scope: %w", id, kind, ErrID)
		}
		return nil
	}
	if err := CheckID(parts[0]); err != nil {
		return err
	}
	ok := false
	switch kind {
	case HumanUser:
		ok = len(parts) == 2
	case AIAgent:
		ok = len(parts) == 2 || len(parts) == 3
	case Application:
		ok = len(parts) == 4 && parts[1] == "app"
	case Device:
		ok = len(parts) == 4 && parts[2] == "device"
	case Workflow:
		ok = len(parts) == 4 && parts[1] == "workflow"
	}
	if !ok {
		return fmt.Errorf("%q: not the form of a %s: %w", id, kind, ErrID)
	}
	return nil
}

// Subject is a caller as policy sees him (NormalizedSubject, S5.1).
type Subject struct {
	ID             string   `json:"canonical_subject_id"`
	Kind           Kind     `json:"subject_type"`
	IsAI           bool     `json:"is_ai"`
	PrimaryGroup   string   `json:"primary_group_id"`
	Memberships    []string `json:"groups"`
	Capabilities   []string `json:"capabilities"`
	SessionClass   string   `json:"session_class"` // INTERACTIVE for people, SERVICE for AI, RECOVERY for operators
	RiskFlags      []string `json:"risk_flags,omitempty"`
	UID            uint32   `json:"uid"`
	Admin          bool     `json:"admin"`           // holds system_admin
	SingleOperator bool     `json:"single_operator"` // the machine has one human: he may approve what he asked for
	CatalogVersion string   `json:"identity_bundle_version"`
}

// Name is the last part of the id: the user's or agent's own name.
func (s Subject) Name() string {
	return s.ID[strings.LastIndexByte(s.ID, ':')+1:]
}

// Home is where the subject's own things are in the tree: groups/g/users/u, and
// groups/g/agents/a or groups/g/users/u/agents/a for an agent.
func (s Subject) Home() string {
	parts := strings.Split(s.ID, ":")
	switch {
	case s.PrimaryGroup == "_system":
		return "" // of the system scope: nothing in the tree is his own
	case s.Kind == AIAgent && len(parts) == 3:
		return "groups/" + parts[0] + "/users/" + parts[1] + "/agents/" + parts[2]
	case s.Kind == AIAgent:
		return "groups/" + parts[0] + "/agents/" + s.Name()
	case len(parts) >= 2:
		return "groups/" + parts[0] + "/users/" + s.Name()
	}
	return ""
}

// Has says whether the subject holds a capability.
func (s Subject) Has(capability string) bool {
	for _, c := range s.Capabilities {
		if c == capability {
			return true
		}
	}
	return false
}
