package namespace

import (
	"fmt"
	"strings"
)

// Code says why a path does not resolve; the numbers are those of S4.1
// Appendix A.
type Code uint8

// The resolution error codes.
const (
	NotUnderAIOS            Code = 1
	InvalidTopLevel         Code = 2
	InvalidSystemReserved   Code = 3
	InvalidGroupReserved    Code = 4
	InvalidUserReserved     Code = 5
	InvalidGroupID          Code = 6
	InvalidUserID           Code = 7
	InvalidAgentID          Code = 8
	InvalidProjectID        Code = 9
	InvalidAppID            Code = 10
	ReservedIDUsed          Code = 11
	PathTraversal           Code = 12
	SegmentCountExceeded    Code = 13
	PathLengthExceeded      Code = 14
	EmptySegment            Code = 15
	CatalogVersionMismatch  Code = 16
	ResolverInternal        Code = 17
	CatalogUnavailable      Code = 18
	CatalogSignatureFailure Code = 19
)

var codeNames = [...]string{"",
	"NOT_UNDER_AIOS", "INVALID_TOP_LEVEL", "INVALID_SYSTEM_RESERVED", "INVALID_GROUP_RESERVED", "INVALID_USER_RESERVED",
	"INVALID_GROUP_ID", "INVALID_USER_ID", "INVALID_AGENT_ID", "INVALID_PROJECT_ID", "INVALID_APP_ID", "RESERVED_ID_USED",
	"PATH_TRAVERSAL", "SEGMENT_COUNT_EXCEEDED", "PATH_LENGTH_EXCEEDED", "EMPTY_SEGMENT", "CATALOG_VERSION_MISMATCH",
	"RESOLVER_INTERNAL", "CATALOG_UNAVAILABLE", "CATALOG_SIGNATURE_FAILURE",
}

// String is the code's name in the reference.
func (c Code) String() string {
	if int(c) < len(codeNames) && c != 0 {
		return codeNames[c]
	}
	return fmt.Sprintf("CODE_%d", uint8(c))
}

// NoSegment is the segment index of an error that is about the whole string.
const NoSegment = -1

// ResolutionError says why a path string does not resolve.
type ResolutionError struct {
	Code Code
	// Segment counts from 0 behind /aios/; NoSegment where the whole string
	// is at fault.
	Segment int
	// Path is the string as it was given, cut to 256 bytes.
	Path string
}

func (e *ResolutionError) Error() string {
	if e.Segment == NoSegment {
		return fmt.Sprintf("resolve %q: %s", e.Path, e.Code)
	}
	return fmt.Sprintf("resolve %q: segment %d: %s", e.Path, e.Segment, e.Code)
}

// Advice says what would be right in the place where the path is not.
func (e *ResolutionError) Advice() string {
	switch e.Code {
	case NotUnderAIOS:
		return "a path begins with /aios/, or is relative to self/home"
	case InvalidTopLevel:
		return "things are stored below /aios/groups/GROUP and /aios/system; what is one's own is relative to self/home"
	case InvalidSystemReserved:
		return "below system there are " + names(systemReserved)
	case InvalidGroupReserved:
		return "below a group there are " + names(groupReserved)
	case InvalidUserReserved:
		return "below a user there are " + names(userReserved)
	case InvalidGroupID, InvalidUserID, InvalidAgentID, InvalidProjectID, InvalidAppID:
		return "an id has 2 to 63 lower-case letters, digits, _ and -, and begins with a letter"
	case ReservedIDUsed:
		return "this id is the system's own"
	case PathTraversal:
		return "a path is written out, without . and .."
	case SegmentCountExceeded:
		return "a path has at most 32 segments"
	case PathLengthExceeded:
		return "a path has at most 4096 bytes"
	case EmptySegment:
		return "there is a name between two slashes"
	}
	return ""
}

func names(list []Reserved) string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.Name
	}
	return strings.Join(out, ", ")
}

// Is makes errors.Is compare codes: errors.Is(err, &ResolutionError{Code: PathTraversal}).
func (e *ResolutionError) Is(target error) bool {
	t, ok := target.(*ResolutionError)
	return ok && t.Code == e.Code
}
