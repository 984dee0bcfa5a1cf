package views

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// ask gives the rows of a query, each as the fields that it says.
func (b *bench) ask(c Caller, query string) []map[string]any {
	b.Helper()
	r, err := b.v.Find(context.Background(), c, query)
	if err != nil {
		b.Fatalf("%s: %v", query, err)
	}
	text, err := r.Document()
	if err != nil {
		b.Fatal(err)
	}
	var doc struct {
		Rows []map[string]any
		N    int `json:"row_count"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.N != len(doc.Rows) {
		b.Fatalf("%s: %v", text, err)
	}
	return doc.Rows
}

// column gives one field of every row.
func (b *bench) column(c Caller, field, query string) []string {
	b.Helper()
	var list []string
	for _, row := range b.ask(c, query) {
		list = append(list, fmt.Sprint(row[field]))
	}
	return list
}

func (b *bench) write(path, text string, expect *objects.ID) objects.CommitResult {
	b.Helper()
	tx := b.store.Begin(objects.Cred{UID: 1000, GID: 1000, Subject: alice.Subject.ID}, "act_01ARZ3NDEKTSV4RRFFQ69G5FAV")
	if err := tx.WriteFile(context.Background(), path, strings.NewReader(text), objects.WriteOptions{Expect: expect}); err != nil {
		b.Fatal(err)
	}
	r, err := tx.Commit(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func TestVersionsPointersAndTransactionsAreSources(t *testing.T) {
	b := open(t)
	a := b.put(alice, "groups/local/shared/note", "one", 0o644)
	second := b.write("groups/local/shared/note", "two", nil)
	obj, ver := a.Object.String(), second.Versions[0].After.String()
	one := fmt.Sprintf(`from versions where object_id = "%s"`, obj)
	rows := b.ask(bob, one)
	if len(rows) != 2 || rows[0]["state"] != "VERIFIED" || rows[1]["version_id"] != ver || rows[1]["created_by_action_id"] != "act_01ARZ3NDEKTSV4RRFFQ69G5FAV" ||
		rows[1]["created_by_transaction_id"] != second.Transaction.String() || fmt.Sprint(rows[1]["parent_version_ids"]) != fmt.Sprintf("[%s]", rows[0]["version_id"]) || len(rows[0]["content_hash"].(string)) != 64 {
		t.Errorf("%v", rows)
	}
	if got := b.column(bob, "version_id", fmt.Sprintf(`%s and parent_version_ids contains "%s"`, one, rows[0]["version_id"])); !slices.Equal(got, []string{ver}) {
		t.Errorf("by parent: %v", got)
	}
	if got := b.column(bob, "kind", fmt.Sprintf(`from pointers where object_id = "%s" order by kind`, obj)); !slices.Equal(got, []string{"CURRENT", "ROLLBACK"}) {
		t.Errorf("pointers: %v", got)
	}
	if got := b.column(bob, "current_version_id", fmt.Sprintf(`from pointers where object_id = "%s" and kind = CURRENT`, obj)); !slices.Equal(got, []string{ver}) {
		t.Errorf("CURRENT: %v", got)
	}
	// One's own transactions; an administrator's are all.
	q := fmt.Sprintf(`from transactions where transaction_id = "%s" and state = COMMITTED`, second.Transaction)
	if got := b.column(alice, "subject", q); !slices.Equal(got, []string{alice.Subject.ID}) {
		t.Errorf("transactions: %v", got)
	}
	if got := b.column(root, "subject", q); len(got) != 1 {
		t.Errorf("an administrator: %v", got)
	}
	if got := b.column(bob, "subject", q); len(got) != 0 {
		t.Errorf("bob sees %v", got)
	}
	b.want(bob, []string{rows[0]["version_id"].(string) + " -> objects/" + obj + "/versions/" + rows[0]["version_id"].(string), ver + " -> objects/" + obj + "/versions/" + ver}, "query", one)
	list, err := b.v.List(context.Background(), alice, []string{"query", q})
	if err != nil || len(list) != 1 || list[0].Name != second.Transaction.String()+".json" || !list[0].Fixed || !strings.Contains(string(list[0].Data), `"state": "COMMITTED"`) {
		t.Errorf("%+v %v", list, err)
	}
	// A closed file's versions are not for everybody who can list its directory.
	closed := b.put(alice, "groups/local/shared/closed", "x", 0o600)
	for who, want := range map[*Caller]int{&alice: 1, &bob: 0, &root: 1} {
		if got := b.ask(*who, fmt.Sprintf(`from versions where object_id = "%s"`, closed.Object)); len(got) != want {
			t.Errorf("uid %d: %v", who.UID, got)
		}
	}
}

func TestConflictsAreASource(t *testing.T) {
	b := open(t)
	b.put(alice, "groups/family/shared/plan", "base", 0o640)
	id := b.clash("groups/family/shared/plan").String()
	q := `from conflicts where status = OPEN and under "groups/family"`
	if got := b.column(alice, "conflict_id", q); !slices.Equal(got, []string{id}) {
		t.Errorf("%v", got)
	}
	b.want(alice, []string{id + " -> views/conflicts/" + id}, "query", `from conflicts`)
	for _, who := range []Caller{bob, root} {
		if got := b.ask(who, `from conflicts`); len(got) != 0 {
			t.Errorf("uid %d: %v", who.UID, got)
		}
	}
	if got := b.column(alice, "state", `from versions where under "groups/family" and state = STAGED`); len(got) != 1 {
		t.Errorf("losers: %v", got)
	}
	if got := b.column(alice, "state", `from transactions where state = ABORTED`); len(got) != 1 {
		t.Errorf("aborted: %v", got)
	}
}

func TestF46_GroupsHaveARowEach(t *testing.T) {
	t.Log("proves: F-46")
	b := open(t)
	for i, name := range []string{"a", "b", "c"} {
		b.put(alice, "groups/local/shared/"+name, strings.Repeat("x", i+1), 0o644, []string{"red", "blue", "red"}[i])
		time.Sleep(2 * time.Millisecond)
	}
	b.put(alice, "groups/family/shared/hidden", "x", 0o640, "red")
	q := `from objects where under "groups/local/shared" group by kind select count(*) as count, max(created_at) as latest order by count desc`
	rows := b.ask(alice, q)
	newest := b.ask(alice, `from objects where under "groups/local/shared" order by created_at desc limit 1`)[0]["created_at"]
	if len(rows) != 1 || len(rows[0]) != 3 || rows[0]["kind"] != "FILE" || rows[0]["count"] != 3.0 || rows[0]["latest"] != newest {
		t.Errorf("%v, newest %v", rows, newest)
	}
	both := b.ask(alice, `from objects where kind = FILE group by labels select count(*) as n, first(name) as f, last(name) as l, min(size) as small, max(size) as big order by n desc`)
	if len(both) != 2 || both[0]["n"] != 3.0 || both[0]["f"] != "a" || both[0]["l"] != "hidden" || both[0]["small"] != 1.0 || both[0]["big"] != 3.0 || both[1]["n"] != 1.0 {
		t.Errorf("%v", both)
	}
	// Others' things are in nobody's count.
	if got := b.ask(bob, `from objects where kind = FILE group by labels select count(*) as n order by n desc limit 1`); len(got) != 1 || got[0]["n"] != 2.0 {
		t.Errorf("bob counts %v", got)
	}
	list, err := b.v.List(context.Background(), alice, []string{"query", `from objects where kind = FILE group by labels select count(*) as n order by n`})
	if err != nil || len(list) != 2 || list[0].Name != "blue.json" || list[1].Name != "red.json" || !strings.Contains(string(list[1].Data), `"n": 3`) {
		t.Errorf("%+v %v", list, err)
	}
	if got := b.column(alice, "kind", `from pointers where under "groups/local" group by kind select count(object_id) as n`); !slices.Equal(got, []string{"CURRENT"}) {
		t.Errorf("pointers: %v", got)
	}
}

func TestF41_AsOfShowsTheStateThen(t *testing.T) {
	t.Log("proves: F-41")
	b := open(t)
	ctx := context.Background()
	a := b.put(alice, "groups/local/shared/old name", "one", 0o644)
	first := must1(b.store.Resolve("groups/local/shared/old name")).Version.String()
	b.put(alice, "groups/family/shared/letter", "x", 0o640)
	sn, err := b.store.Newest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	then := sn.Time().UTC().Format(time.RFC3339Nano)
	sn.Close()
	time.Sleep(2 * time.Millisecond)
	dir := must1(b.store.Resolve("groups/local/shared")).Ino
	if err := b.store.Rename(objects.Cred{UID: 1000}, dir, "old name", dir, "new name", 0); err != nil {
		t.Fatal(err)
	}
	second := b.write("groups/local/shared/new name", "second", nil).Versions[0].After.String()
	const now = `from objects where under "groups/local/shared" and kind = FILE`
	b.want(alice, []string{"new name -> groups/local/shared/new name"}, "query", now)
	old := "old name -> views/at/" + then + "/groups/local/shared/old name"
	b.want(alice, []string{old}, "query", now+" as of "+then)
	b.want(alice, []string{old}, "query", now+" as of "+first)
	if got := b.ask(bob, now+" as of "+then); len(got) != 1 || got[0]["size"] != 3.0 || got[0]["metadata.name"] != "old name" {
		t.Errorf("%v", got)
	}
	if got := b.ask(alice, `from versions where object_id = "`+a.Object.String()+`" as of `+first); len(got) != 1 || got[0]["version_id"] != first {
		t.Errorf("versions then: %v", got)
	}
	if got := b.column(alice, "current_version_id", `from pointers where kind = CURRENT and object_id = "`+a.Object.String()+`" as of `+second); !slices.Equal(got, []string{second}) {
		t.Errorf("as of a version: %v", got)
	}
	// The past hides what the present hides: other groups, and classes that rose since.
	if got := b.ask(bob, `from objects where name = "letter" as of `+then); len(got) != 0 {
		t.Errorf("bob sees %v", got)
	}
	agent := alice
	agent.Subject.IsAI = true
	v := New(Deps{Store: b.store, Ceiling: func(Caller) objects.Privacy { return objects.Sensitive }})
	if r, err := v.Find(ctx, agent, now+" as of "+then); err != nil || len(r.Rows) != 1 {
		t.Errorf("%v %v", r.Rows, err)
	}
	if err := b.store.RaisePrivacy(objects.Cred{UID: 1000}, a.Object, objects.Classified); err != nil {
		t.Fatal(err)
	}
	if r, err := v.Find(ctx, agent, now+" as of "+then); err != nil || len(r.Rows) != 0 {
		t.Errorf("%v %v", r.Rows, err)
	}
	for q, want := range map[string]error{
		now + " as of 91d": ErrHorizon, now + " as of 2001-01-01": ErrHorizon, now + " as of 9000-01-01": ErrQuery, now + " as of ver_01ARZ3NDEKTSV4RRFFQ69G5FAV": ErrQuery,
		`from objects where match "one" as of 1h`: ErrQuery, `from objects where mime = "text/plain" as of 1h`: ErrQuery,
	} {
		if _, err := b.v.Find(ctx, alice, q); !errors.Is(err, want) {
			t.Errorf("%s: %v", q, err)
		}
	}
	if _, err := b.v.Find(ctx, alice, now+" as of 91d"); err == nil || !strings.Contains(b.v.LastError(alice), "TimeTravelHorizonExceeded") {
		t.Errorf("%q", b.v.LastError(alice))
	}
	// A version of what bob cannot see is no version for him.
	secret := must1(b.store.Resolve("groups/family/shared/letter")).Version.String()
	if _, err := b.v.Find(ctx, bob, now+" as of "+secret); !errors.Is(err, ErrQuery) || !strings.Contains(err.Error(), "no version") {
		t.Errorf("%v", err)
	}
}

func TestF7_EveryActiveAndRetiredObjectIsListedWithoutAModel(t *testing.T) {
	// Nothing of the views reaches a translator or a model: they stand below them, and a
	// test of the imports keeps it so.
	t.Log("proves: F-7")
	b := open(t)
	cred := objects.Cred{UID: 1000, GID: 1000, Subject: alice.Subject.ID}
	kept := b.put(alice, "groups/local/shared/kept", "x", 0o644)
	gone := b.put(alice, "groups/local/shared/gone", "x", 0o600)
	foreign := b.put(alice, "groups/family/shared/foreign", "x", 0o640)
	dir, family := must1(b.store.Resolve("groups/local/shared")).Ino, must1(b.store.Resolve("groups/family/shared")).Ino
	sub, err := b.store.Mkdir(cred, dir, "sub", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	below := b.put(alice, "groups/local/shared/sub/below", "x", 0o644)
	for _, x := range []struct {
		dir  objects.Ino
		name string
	}{{dir, "gone"}, {family, "foreign"}, {sub.Ino, "below"}} {
		if err := b.store.Unlink(cred, x.dir, x.name); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.store.Rmdir(cred, dir, "sub"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if err := b.store.Objects(func(o objects.Object) bool { want[o.ID.String()] = o.State; return true }); err != nil {
		t.Fatal(err)
	}
	const q = `from objects where lifecycle_state in [ACTIVE, RETIRED]`
	got := map[string]string{}
	for _, row := range b.ask(alice, q) {
		got[row["object_id"].(string)] = row["lifecycle_state"].(string)
	}
	for id, state := range want {
		if got[id] != state {
			t.Errorf("%s is %q, want %q", id, got[id], state)
		}
	}
	if len(got) != len(want) || want[gone.Object.String()] != "RETIRED" || want[kept.Object.String()] != "ACTIVE" || len(want) < 8 {
		t.Errorf("%d of %d", len(got), len(want))
	}
	retired := func(c Caller) []string {
		ids := b.column(c, "object_id", `from objects where lifecycle_state = RETIRED and kind = FILE`)
		slices.Sort(ids)
		return ids
	}
	if ids := retired(alice); !slices.Equal(ids, []string{gone.Object.String(), foreign.Object.String(), below.Object.String()}) {
		t.Errorf("alice: %v", ids)
	}
	// What lay in a directory that he can list is known to bob, what was below a removed
	// one is not, and another group's is not in any case.
	if ids := retired(bob); !slices.Equal(ids, []string{gone.Object.String()}) {
		t.Errorf("bob: %v", ids)
	}
	if ids := b.column(bob, "object_id", `from objects where under "groups/local/shared" and kind = FILE`); !slices.Equal(ids, []string{kept.Object.String()}) {
		t.Errorf("the living are asked for: %v", ids)
	}
	b.want(bob, []string{"gone -> groups/local/shared/.versions/gone"}, "query", `from objects where lifecycle_state = RETIRED and kind = FILE`)
}

func TestProjectionsShapeADirectory(t *testing.T) {
	b := open(t)
	ctx := context.Background()
	cred := objects.Cred{UID: 1000, GID: 1000, Subject: alice.Subject.ID}
	if _, err := b.store.Mkdir(cred, must1(b.store.Resolve("groups/local/shared")).Ino, "sub", 0o755); err != nil {
		t.Fatal(err)
	}
	b.put(alice, "groups/local/shared/sub/deep", "x", 0o644)
	time.Sleep(2 * time.Millisecond)
	b.put(alice, "groups/local/shared/flat", "x", 0o644)
	b.put(alice, "groups/family/shared/else", "x", 0o644)
	const files = `from objects where kind = FILE`
	flat := "flat -> groups/local/shared/flat"
	tree := []string{"query", files + ` project posix_path("groups`, "local", `shared")`}
	b.want(alice, []string{flat, "sub/"}, tree...)
	b.want(alice, []string{"deep -> groups/local/shared/sub/deep"}, append(tree, "sub")...)
	b.want(bob, []string{"groups/"}, "query", files+" project mount_overlay")
	b.want(bob, []string{"local/"}, "query", files+" project mount_overlay", "groups")
	b.want(alice, []string{"family/", "local/"}, "query", files+" project mount_overlay", "groups")
	for _, p := range [][]string{append(tree, "none"), append(tree, "flat"), {"query", files, "sub"}} {
		if list, err := b.v.List(ctx, alice, p); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v %v", p, list, err)
		}
	}
	for p, dir := range map[string]bool{"sub": true, "flat": false, "sub/deep": false} {
		e, err := b.v.Lookup(ctx, alice, append(slices.Clone(tree), strings.Split(p, "/")...))
		if err != nil || e.Dir != dir {
			t.Errorf("%s: %+v %v", p, e, err)
		}
	}
	times := b.list(bob, "query", files+" project timeline")
	if len(times) != 2 || !strings.Contains(times[0], "Z_deep -> ") || !strings.Contains(times[1], "Z_flat -> ") || times[0] > times[1] {
		t.Errorf("%q", times)
	}
	b.write("groups/local/shared/flat", "y", nil)
	var g struct {
		Nodes []map[string]any
		Edges []Edge
	}
	list, err := b.v.List(ctx, bob, []string{"query", `from versions where under "groups`, "local", "shared", `flat" project graph`})
	if err != nil || len(list) == 0 || list[0].Name != "graph.json" {
		t.Fatal(list, err)
	}
	if err := json.Unmarshal(list[0].Data, &g); err != nil || len(g.Nodes) != 0 {
		t.Errorf("under a file is nothing: %s %v", list[0].Data, err)
	}
	e, err := b.v.Lookup(ctx, bob, []string{"query", `from versions where under "groups`, "local", `shared" project graph`, "graph.json"})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(e.Data, &g); err != nil || len(g.Nodes) != 3 || len(g.Edges) != 4 {
		t.Errorf("%s %v", e.Data, err)
	}
	if parents := slices.DeleteFunc(g.Edges, func(e Edge) bool { return e.Kind != "parent" }); len(parents) != 1 || parents[0].From == parents[0].To {
		t.Errorf("%v", parents)
	}
}

func TestTheResultFileSaysAllAndIsNotListed(t *testing.T) {
	b := open(t)
	ctx := context.Background()
	b.put(alice, "groups/local/shared/a b", "x", 0o644)
	const q = `from objects where kind = FILE and under "groups`
	e, err := b.v.Lookup(ctx, alice, []string{"query", q, `local"`, ResultFile})
	if err != nil || !e.File || !e.Fixed {
		t.Fatal(e, err)
	}
	var doc map[string]any
	if err := json.Unmarshal(e.Data, &doc); err != nil {
		t.Fatal(err)
	}
	if doc["query_text"] != q+`/local"` || doc["row_count"] != 1.0 || doc["status"] != "PARTIAL" || doc["projection"] != "OBJECT_LIST" || !strings.HasPrefix(doc["query_id"].(string), "qry_") || doc["source"] != "objects" {
		t.Errorf("%s", e.Data)
	}
	b.want(alice, []string{"a b -> groups/local/shared/a b"}, "query", q, `local"`)
	if err := b.v.Define(ctx, alice, "mine", []byte(q+`/local"`)); err != nil {
		t.Fatal(err)
	}
	if e, err := b.v.Lookup(ctx, alice, []string{"named", "mine", ResultFile}); err != nil || !strings.Contains(string(e.Data), `"row_count":1`) {
		t.Errorf("%s %v", e.Data, err)
	}
	if _, err := b.v.Lookup(ctx, alice, []string{"query", `from objects where`, ResultFile}); !errors.Is(err, ErrQuery) {
		t.Errorf("of a wrong query: %v", err)
	}
}

func TestWrongQuestionsNameWhatIsWrong(t *testing.T) {
	b := open(t)
	for _, c := range []struct{ query, code, word string }{
		{`from versions where match "x"`, "UnsupportedOperator", "objects only"},
		{`from transactions where under "groups"`, "UnsupportedOperator", "transactions"},
		{`from transactions where privacy <= PUBLIC`, "UnsupportedOperator", "transactions"},
		{`from versions where pointer(STABLE) exists`, "UnsupportedOperator", "objects only"},
		{`from transactions project posix_path("x")`, "UnsupportedOperator", "posix_path"},
		{`from objects group by kind project timeline`, "UnsupportedOperator", "timeline"},
		{`from objects where target.theme_kind = USER_THEME`, "NotServed", "target.theme_kind"},
		{`from versions where quarantined_at exists`, "NotServed", "quarantined_at"},
		{`from objects group by policy_tags`, "NotServed", "policy_tags"},
		{`from evidence`, "NotServed", "evidence"}, // nobody gave this one a log
		{`from actions`, "NotServed", "actions"},
		{`from objects group by kind order by size`, "InvalidQuery", "own columns"},
		{`from objects where match "x" and match "y"`, "NotServed", "second match"},
	} {
		_, err := b.v.Find(context.Background(), alice, c.query)
		var e *dsl.Error
		if !errors.Is(err, ErrQuery) || !errors.As(err, &e) || string(e.Code) != c.code || !strings.Contains(e.Message, c.word) || e.Column < 1 || !strings.Contains(b.v.LastError(alice), c.word) {
			t.Errorf("%s: %v, want %s about %s", c.query, err, c.code, c.word)
		}
	}
}

func TestMoreFieldsOfObjects(t *testing.T) {
	b := open(t)
	a := b.put(alice, "groups/local/shared/f", "content", 0o600)
	cred := objects.Cred{UID: 1000, GID: 1000}
	for k, v := range map[string]string{"user.xdg.comment": "mine", "user.baloo.rating": "7"} {
		if err := b.store.SetXattr(cred, a.Ino, k, []byte(v), false, false); err != nil {
			t.Fatal(err)
		}
	}
	hash := b.ask(alice, `from versions where object_id = "`+a.Object.String()+`"`)[0]["content_hash"]
	for q, sees := range map[string][2]int{
		`from objects where content_hash = "` + hash.(string) + `"`:                                         {1, 0},
		`from objects where comment contains "min"`:                                                         {1, 0},
		`from objects where rating > 5`:                                                                     {1, 0},
		`from objects where rating < 5`:                                                                     {0, 0},
		`from objects where kind = FILE and target.reserved_name = GRP_SHARED`:                              {1, 1},
		`from objects where kind = FILE and target.reserved_name = USR_HOME`:                                {0, 0},
		`from objects where current_pointer_id = "` + objects.PointerID(a.Object, "CURRENT").String() + `"`: {1, 1},
	} {
		for i, who := range []Caller{alice, bob} {
			if got := b.ask(who, q); len(got) != sees[i] {
				t.Errorf("%s for uid %d: %v", q, who.UID, got)
			}
		}
	}
}
