package agents

import (
	"strings"
	"testing"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	adapterid "github.com/ai-os-dot-net/aios/agents/adapter/identity"
	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// book is the test machine's catalogue.
type book struct{ m *machine }

func (b book) Catalog() *identity.Catalog        { return b.m.ids.c }
func (b book) Encode(c *identity.Catalog) []byte { return c.Marshal(b.m.key) }
func (b book) Use(c *identity.Catalog)           { b.m.ids.c = c }
func (b book) GroupDirs(c *identity.Catalog, g string) []adapterid.Dir {
	x, _ := c.Group(g)
	return []adapterid.Dir{{Path: "groups/" + g, Mode: 0o750, GID: x.GID, ScopeKind: objects.ScopeGroup, Group: g}}
}
func (book) UserDirs(*identity.Catalog, string, string, uint32) []adapterid.Dir { return nil }
func (book) AgentDirs(*identity.Catalog, string) []adapterid.Dir                { return nil }

func TestGroupCreate(t *testing.T) {
	m := newMachine(t)
	m.stop()
	m.extra = []adapter.Adapter{adapterid.New(book{m})}
	m.start()
	root := m.who(0)
	doc := `{"schema":"aios.intent.v1alpha1","reason":"x","actions":[{"id":"a","action":"group.create","target":{"group":"chess"}%s}]}`
	bad := strings.Replace(doc, "%s", `,"verify":[{"type":"file.exists","args":{"path":"/aios/groups/never"}}]`, 1)
	if s := m.drop(root, "bad.json", bad); s != "ROLLED_BACK" {
		t.Fatalf("%s: %s", s, m.read(root, "bad.json", "error.json"))
	}
	if _, ok := m.ids.c.Group("chess"); ok {
		t.Error("the group stayed in the catalogue after the rollback")
	}
	if s := m.drop(root, "g.json", strings.Replace(doc, "%s", "", 1)); s != "SUCCEEDED" {
		t.Fatalf("%s: %s", s, m.read(root, "g.json", "error.json"))
	}
	if _, ok := m.ids.c.Group("chess"); !ok {
		t.Error("not in the catalogue in force")
	}
	if text, _ := m.file(adapterid.CatalogPath); !strings.Contains(text, `"chess"`) {
		t.Error("not in the catalogue in the tree")
	}
	if a, err := m.store.Resolve("groups/chess"); err != nil || a.Scope.Group != "chess" {
		t.Errorf("%+v %v", a, err)
	}
	if s := m.drop(m.who(aliceUID), "mine.json", strings.Replace(strings.Replace(doc, "%s", "", 1), "chess", "go", 1)); s != "POLICY_DENIED" {
		t.Error("alice made a group: ", s)
	}
}
