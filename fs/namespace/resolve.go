package namespace

import (
	"strings"
	"unicode/utf8"
)

// Limits of a path string (S4.1 §8). They bind strings in intents, rules and
// queries; inside the mount the kernel's own limits hold.
const (
	MaxSegments = 32
	MaxBytes    = 4096
	maxName     = 255 // NAME_MAX
	cutPath     = 256 // how much of a bad string an error repeats
)

// Path is a resolved path string.
type Path struct {
	Scope ScopeKind
	Group string // set for GROUP and USER
	User  string // set for USER
	// Reserved is the reserved name's entry; its Key is empty for a scope's
	// own root (groups/family) and for the roots.
	Reserved Reserved
	// Sub is what lies below the reserved name.
	Sub []string
	// Virtual is set where nothing is stored: inboxes, outbox, audit, a
	// group's evidence.
	Virtual bool
	// Roots are the names that may follow, where the path names none: the
	// answer for /aios/.
	Roots []string
	// Catalog is the version of the catalog that gave this answer. Answers of
	// different versions must not be compared (CATALOG_VERSION_MISMATCH).
	Catalog string
}

// String writes the path back in canonical form, under /aios.
func (p Path) String() string {
	seg := []string{"", "aios"}
	switch p.Scope {
	case ScopeSystem:
		seg = append(seg, "system")
	case ScopeGroup:
		seg = append(seg, "groups")
		if p.Group != "" {
			seg = append(seg, p.Group)
		}
	case ScopeUser:
		seg = append(seg, "groups", p.Group, "users", p.User)
	}
	if p.Reserved.Name != "" {
		seg = append(seg, p.Reserved.Name)
	}
	return strings.Join(append(seg, p.Sub...), "/")
}

// Resolve resolves s in the default catalog.
func Resolve(s string) (Path, error) { return Default.Resolve(s) }

// SameCatalog compares the catalogs of two answers and is a
// CATALOG_VERSION_MISMATCH when they differ: resolve again, then compare.
func SameCatalog(a, b Path) error {
	if a.Catalog != b.Catalog {
		return &ResolutionError{Code: CatalogVersionMismatch, Segment: NoSegment, Path: cut(a.String())}
	}
	return nil
}

// Resolve says what the path string s means, or returns a *ResolutionError.
// Nothing is normalised: a string that is not already in order is refused.
func (c *Catalog) Resolve(s string) (Path, error) {
	fail := func(code Code, seg int) (Path, error) {
		return Path{}, &ResolutionError{Code: code, Segment: seg, Path: cut(s)}
	}
	if len(s) > MaxBytes {
		return fail(PathLengthExceeded, NoSegment)
	}
	var rest string
	switch {
	case s == "/aios" || s == "/aios/":
		return Path{Roots: []string{"system", "groups"}, Catalog: c.version}, nil
	case strings.HasPrefix(s, "/aios/"):
		rest = s[len("/aios/"):]
	default:
		return fail(NotUnderAIOS, NoSegment)
	}
	seg := strings.Split(rest, "/")
	if n := len(seg); n > 1 && seg[n-1] == "" {
		seg = seg[:n-1]
	}
	for i, e := range seg {
		if code := checkSegment(e); code != 0 {
			return fail(code, i)
		}
	}
	if len(seg) > MaxSegments {
		return fail(SegmentCountExceeded, MaxSegments)
	}
	switch seg[0] {
	case "system":
		return c.inScope(s, Path{Scope: ScopeSystem}, seg, 1, InvalidSystemReserved)
	case "groups":
	default:
		return fail(InvalidTopLevel, 0)
	}
	if len(seg) == 1 {
		return Path{Scope: ScopeGroup, Catalog: c.version}, nil
	}
	if code := checkID(seg[1], InvalidGroupID); code != 0 {
		return fail(code, 1)
	}
	p := Path{Scope: ScopeGroup, Group: seg[1]}
	if len(seg) > 3 && seg[2] == "users" {
		if code := checkID(seg[3], InvalidUserID); code != 0 {
			return fail(code, 3)
		}
		p.Scope, p.User = ScopeUser, seg[3]
		return c.inScope(s, p, seg, 4, InvalidUserReserved)
	}
	return c.inScope(s, p, seg, 2, InvalidGroupReserved)
}

// inScope resolves the reserved name at seg[at] and what follows it.
func (c *Catalog) inScope(s string, p Path, seg []string, at int, unknown Code) (Path, error) {
	p.Catalog = c.version
	if len(seg) == at {
		return p, nil
	}
	r, ok := c.Reserved(p.Scope, seg[at])
	if !ok {
		if IsReservedID(seg[at]) {
			unknown = ReservedIDUsed
		}
		return Path{}, &ResolutionError{Code: unknown, Segment: at, Path: cut(s)}
	}
	p.Reserved, p.Virtual = r, r.Virtual
	p.Sub = seg[at+1:]
	if len(p.Sub) > 0 {
		if code := CheckChild(r.Key, p.Sub[0]); code != 0 {
			return Path{}, &ResolutionError{Code: code, Segment: at + 1, Path: cut(s)}
		}
	}
	return p, nil
}

// CheckChild checks a name directly below a reserved one: below agents,
// projects and apps only ids of that kind may stand. It returns 0 when the
// name is allowed.
func CheckChild(key, name string) Code {
	switch key {
	case "SYS_AGENTS", "GRP_AGENTS", "USR_AGENTS":
		return checkID(name, InvalidAgentID)
	case "GRP_PROJECTS":
		return checkID(name, InvalidProjectID)
	case "SYS_APPS", "GRP_APPS", "USR_APPS":
		if IsReservedID(name) {
			return ReservedIDUsed
		}
		if !ValidAppID(name) {
			return InvalidAppID
		}
	}
	return 0
}

func checkID(id string, bad Code) Code {
	if IsReservedID(id) {
		return ReservedIDUsed
	}
	if !ValidID(id) {
		return bad
	}
	return 0
}

// checkSegment refuses what could make two readers of one string see
// different paths. It returns 0 for an ordinary name.
func checkSegment(e string) Code {
	switch {
	case e == "":
		return EmptySegment
	case e == "." || e == "..":
		return PathTraversal
	case len(e) > maxName:
		return PathLengthExceeded
	}
	for i := 0; i < len(e); i++ {
		switch c := e[i]; {
		case c == '\\':
			return PathTraversal
		case c < 0x20 || c == 0x7f:
			return PathTraversal
		case c == '%' && encodedDot(e[i:]):
			return PathTraversal
		}
	}
	if !utf8.ValidString(e) {
		return PathTraversal
	}
	return 0
}

// encodedDot finds %2e, %2f and %5c, in either case: a dot, a slash or a
// backslash for whoever decodes the string once more.
func encodedDot(e string) bool {
	if len(e) < 3 {
		return false
	}
	switch strings.ToLower(e[1:3]) {
	case "2e", "2f", "5c":
		return true
	}
	return false
}

func cut(s string) string {
	if len(s) > cutPath {
		return s[:cutPath]
	}
	return s
}
