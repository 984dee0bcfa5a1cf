package namespace

import (
	"errors"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestF70_Resolve(t *testing.T) {
	t.Log("proves: F-70")
	for _, c := range []struct {
		in, scope, group, user, key, sub string
		virtual                          bool
	}{
		{"/aios/system/apps/evidence-viewer", "SYSTEM", "", "", "SYS_APPS", "evidence-viewer", false},
		{"/aios/groups/family/users/alice/home/notes.md", "USER", "family", "alice", "USR_HOME", "notes.md", false},
		{"/aios/groups/family/inbox", "GROUP", "family", "", "GRP_INBOX", "", true},
		{"/aios/groups/family/shared/a b/ü.md", "GROUP", "family", "", "GRP_SHARED", "a b/ü.md", false},
		{"/aios/groups/family/users/alice", "USER", "family", "alice", "", "", false},
		{"/aios/groups/family/users", "GROUP", "family", "", "GRP_USERS", "", false},
		{"/aios/groups/family/users/alice/outbox/x", "USER", "family", "alice", "USR_OUTBOX", "x", true},
		{"/aios/groups/family/apps/org.kde.kate", "GROUP", "family", "", "GRP_APPS", "org.kde.kate", false},
		{"/aios/groups/family/", "GROUP", "family", "", "", "", false},
	} {
		p, err := Resolve(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		got := []any{p.Scope.String(), p.Group, p.User, p.Reserved.Key, strings.Join(p.Sub, "/"), p.Virtual}
		want := []any{c.scope, c.group, c.user, c.key, c.sub, c.virtual}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", c.in, d)
		}
		if back := p.String(); back != strings.TrimSuffix(c.in, "/") {
			t.Errorf("%s: written back as %s", c.in, back)
		}
	}
}

func TestF73_F79_F97_Refused(t *testing.T) {
	t.Log("proves: F-73 F-79 F-97")
	long := "/aios/groups/family/shared/" + strings.Repeat("a/", MaxSegments)
	for _, c := range []struct {
		in   string
		code Code
		seg  int
	}{
		{"/aios/groups/family/../system/policy", PathTraversal, 2},
		{"/aios/groups/family//inbox", EmptySegment, 2},
		{"/aios/groups/family/inbox/.", PathTraversal, 3},
		{"/aios/groups/_system/shared", ReservedIDUsed, 1},
		{"/aios/groups/family/agents/_recovery/x", ReservedIDUsed, 3},
		{"/etc/passwd", NotUnderAIOS, NoSegment},
		{"/aiosx/system", NotUnderAIOS, NoSegment},
		{"aios/system", NotUnderAIOS, NoSegment},
		{"", NotUnderAIOS, NoSegment},
		{"/aios//system", EmptySegment, 0},
		{"/aios/other", InvalidTopLevel, 0},
		{"/aios/intents/x", InvalidTopLevel, 0},
		{"/aios/system/nothing", InvalidSystemReserved, 1},
		{"/aios/groups/family/home", InvalidGroupReserved, 2},
		{"/aios/groups/family/users/alice/shared", InvalidUserReserved, 4},
		{"/aios/groups/family/users/alice/journal/2026-05-11.md", InvalidUserReserved, 4}, // F-97
		{"/aios/groups/Family", InvalidGroupID, 1},
		{"/aios/groups/f", InvalidGroupID, 1},
		{"/aios/groups/fаmily", InvalidGroupID, 1}, // Cyrillic а
		{"/aios/groups/" + strings.Repeat("a", 64), InvalidGroupID, 1},
		{"/aios/groups/family/users/9lives/home", InvalidUserID, 3},
		{"/aios/groups/family/agents/Bad", InvalidAgentID, 3},
		{"/aios/groups/family/projects/a.b", InvalidProjectID, 3},
		{"/aios/system/apps/a.b.c.d.e.f", InvalidAppID, 2},
		{"/aios/system/apps/a..b", InvalidAppID, 2},
		{"/aios/groups/family/shared/%2e%2e/x", PathTraversal, 3},
		{"/aios/groups/family/shared/%2E", PathTraversal, 3},
		{`/aios/groups/family/shared/..\x`, PathTraversal, 3},
		{"/aios/groups/family/shared/a\x00b", PathTraversal, 3},
		{"/aios/groups/family/shared/a\xff", PathTraversal, 3},
		{long, SegmentCountExceeded, MaxSegments},
		{"/aios/groups/family/shared/" + strings.Repeat("a", 4097), PathLengthExceeded, NoSegment},
		{"/aios/groups/family/shared/" + strings.Repeat("a", 256), PathLengthExceeded, 3},
	} {
		_, err := Resolve(c.in)
		var re *ResolutionError
		if !errors.As(err, &re) {
			t.Errorf("%q: got %v, want %s", c.in, err, c.code)
			continue
		}
		if re.Code != c.code || re.Segment != c.seg {
			t.Errorf("%q: got %s at %d, want %s at %d", c.in, re.Code, re.Segment, c.code, c.seg)
		}
	}
}

func TestF73_Roots(t *testing.T) {
	for _, in := range []string{"/aios/", "/aios"} {
		p, err := Resolve(in)
		if err != nil || p.Scope != ScopeUnset || cmp.Diff([]string{"system", "groups"}, p.Roots) != "" {
			t.Errorf("%s: %+v, %v", in, p, err)
		}
	}
}

func TestF74_CatalogStamp(t *testing.T) {
	t.Log("proves: F-74")
	other := NewCatalog("Wave 9")
	a, err := Default.Resolve("/aios/system/apps")
	if err != nil {
		t.Fatal(err)
	}
	b, err := other.Resolve("/aios/system/apps")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(a.Catalog, "nscat_") || len(a.Catalog) != len("nscat_")+32 {
		t.Errorf("version %q", a.Catalog)
	}
	if a.Catalog == b.Catalog || !errors.Is(SameCatalog(a, b), &ResolutionError{Code: CatalogVersionMismatch}) {
		t.Errorf("answers of two catalogs compare equal: %s %s", a.Catalog, b.Catalog)
	}
	if again := NewCatalog("Wave 8"); again.Version() != Default.Version() || SameCatalog(a, a) != nil {
		t.Errorf("one catalog has two versions")
	}
}

func TestClosedLists(t *testing.T) {
	for k, n := range map[ScopeKind]int{ScopeSystem: 24, ScopeGroup: 13, ScopeUser: 11} {
		rs := Default.Names(k)
		if len(rs) != n {
			t.Errorf("%s: %d names, want %d", k, len(rs), n)
		}
		seen := map[string]bool{}
		for _, r := range rs {
			if seen[r.Name] || !ValidID(r.Name) || r.Mutation == "" || r.Read == "" || r.Recovery == "" {
				t.Errorf("%s: bad entry %+v", k, r)
			}
			seen[r.Name] = true
		}
	}
	var only []string
	for _, r := range Default.Names(ScopeSystem) {
		if r.Mutation == RecoveryOnly {
			only = append(only, r.Name)
		}
	}
	want := []string{"policy", "capabilities", "vault", "recovery", "boot", "firstboot", "governance", "identity", "kernel", "firmware"}
	if d := cmp.Diff(want, only); d != "" {
		t.Errorf("the ten RECOVERY_ONLY names: %s", d)
	}
}

func TestF80_ParseIsFast(t *testing.T) {
	t.Log("proves: F-80")
	paths := []string{
		"/aios/groups/family/users/alice/home/" + strings.Repeat("directory/", 20) + "notes.md",
		"/aios/system/apps/evidence-viewer", "/aios/groups/family/../x", "/aios/groups/family/shared/" + strings.Repeat("x", 200),
	}
	took := make([]time.Duration, 0, 20000)
	for i := range cap(took) {
		took = append(took, onCPU(func() { _, _ = Resolve(paths[i%len(paths)]) }))
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	p99 := took[len(took)*99/100]
	t.Logf("p50 %v p99 %v", took[len(took)/2], p99)
	if p99 > 100*time.Microsecond { // filesystem.md §10.5
		t.Errorf("p99 %v, budget 100 µs", p99)
	}
}

func BenchmarkResolve(b *testing.B) {
	for b.Loop() {
		if _, err := Resolve("/aios/groups/family/users/alice/home/journal/2026/05/11.md"); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{"/aios/", "/aios/groups/family/users/alice/home/a", "/aios/groups/f/../x", "/aios/system/apps/a.b", "/aios/groups/%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Resolve(s)
		if err != nil {
			var re *ResolutionError
			if !errors.As(err, &re) || re.Code < 1 || re.Code > 19 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		q, err := Resolve(p.String())
		if err != nil || cmp.Diff(p, q) != "" {
			t.Fatalf("%q resolves, its canonical form %q does not resolve to the same: %v", s, p.String(), err)
		}
	})
}
