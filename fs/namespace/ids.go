package namespace

import "strings"

// MaxID is the longest group, user, agent or project id in bytes: one letter
// and up to 62 more characters (filesystem.md §10.4).
const MaxID = 63

// maxAppParts is how many dot-joined parts an app id may have.
const maxAppParts = 5

// reservedIDs are the five words no id may be, at any scope (S4.1 §7).
var reservedIDs = map[string]bool{
	"_": true, "_system": true, "_recovery": true, "_aios": true, "_root": true,
}

// IsReservedID tells whether id is one of the reserved words or, by its
// leading underscore, belongs to the system. It is asked before the pattern,
// so that "_system" is a reserved id and not merely a malformed one.
func IsReservedID(id string) bool {
	return reservedIDs[id] || strings.HasPrefix(id, "_")
}

// ValidID tells whether s is a well-formed group, user, agent or project id:
// [a-z][a-z0-9_-]{0,62}, of two characters at least.
func ValidID(s string) bool {
	return len(s) >= 2 && len(s) <= MaxID && idChars(s)
}

// ValidAppID tells whether s is one to five dot-joined parts of the shape of
// an id.
func ValidAppID(s string) bool {
	if len(s) < 2 {
		return false
	}
	parts := strings.Split(s, ".")
	if len(parts) > maxAppParts {
		return false
	}
	for _, p := range parts {
		if len(p) > MaxID || !idChars(p) {
			return false
		}
	}
	return true
}

func idChars(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
