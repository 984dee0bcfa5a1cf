package views

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

func TestMediaTypesAreDirectories(t *testing.T) {
	b := open(t)
	const in = "groups/local/shared/"
	b.put(alice, in+"photo", "\x89PNG\r\n\x1a\n0000", 0o644)
	b.put(alice, in+"letter.md", "# hello", 0o644)
	b.put(alice, in+"plain", "some words", 0o644)
	b.put(alice, in+"nothing", "", 0o644)
	b.put(alice, in+"song.OGG", "not really", 0o600)
	b.put(alice, in+"big", "%PDF-1.7 "+strings.Repeat("x", 2<<20), 0o644)
	b.settle()
	b.want(alice, []string{"application/", "audio/", "image/", "inode/", "text/"}, "mime")
	b.want(bob, []string{"application/", "image/", "inode/", "text/"}, "mime") // the song is closed to him
	b.want(alice, []string{"markdown/", "plain/"}, "mime", "text")
	b.want(alice, []string{"photo -> " + in + "photo"}, "mime", "image", "png")
	b.want(alice, []string{"big -> " + in + "big"}, "mime", "application", "pdf")
	b.want(alice, []string{"nothing -> " + in + "nothing"}, "mime", "application", "x-zerosize")
	for _, p := range [][]string{{"mime", "audio"}, {"mime", "audio", "ogg"}, {"mime", "image", "jpeg"}, {"mime", "text", "plain", "x"}} {
		if _, err := b.v.List(context.Background(), bob, p); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v: %v", p, err)
		}
	}
	b.want(alice, []string{"letter.md -> " + in + "letter.md", "plain -> " + in + "plain"}, "query", `from objects where mime in ["text/plain", "text/markdown"] order by name`)
	b.want(alice, []string{"plain -> " + in + "plain"}, "query", `from objects where match "words" and mime = "text/plain"`)
	b.want(alice, nil, "query", `from objects where mime = "text/plain" and size > 1000`)
	if _, err := b.v.Find(context.Background(), alice, `from objects where mime != "text/plain"`); !errors.Is(err, ErrQuery) {
		t.Errorf("an answer without one: %v", err)
	}
	// A file that becomes another kind of thing moves.
	dir := must1(b.store.Resolve("groups/local/shared")).Ino
	if err := b.store.Rename(objects.Cred{UID: 1000}, dir, "big", dir, "big.txt", 0); err != nil {
		t.Fatal(err)
	}
	b.settle()
	got := b.list(alice, "mime", "text", "plain")
	slices.Sort(got)
	if !slices.Equal(got, []string{"big.txt -> " + in + "big.txt", "plain -> " + in + "plain"}) {
		t.Errorf("after a rename: %q", got)
	}
	if got := b.list(alice, "mime", "application"); !slices.Equal(got, []string{"x-zerosize/"}) {
		t.Errorf("an empty type is listed: %q", got)
	}
}

func TestF51_SavedViewsArePersonalDurableAndOnlyViews(t *testing.T) {
	t.Log("proves: F-51")
	b := open(t)
	ctx := context.Background()
	b.put(alice, "groups/local/shared/report one", "", 0o644)
	b.put(alice, "groups/local/shared/letter", "", 0o644)
	const q = `from objects where name contains "report"`
	if err := b.v.Define(ctx, alice, "reports", []byte(q+"\n")); err != nil {
		t.Fatal(err)
	}
	one := []string{"report one -> groups/local/shared/report one"}
	b.want(alice, []string{"reports/"}, "named")
	b.want(alice, one, "named", "reports")
	b.want(bob, nil, "named")
	if _, err := b.v.List(ctx, bob, []string{"named", "reports"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's view: %v", err)
	}
	e, err := b.v.Lookup(ctx, alice, []string{"define", "reports"})
	if err != nil || !e.File || string(e.Data) != q+"\n" {
		t.Errorf("%+v %v", e, err)
	}
	// A wrong one changes nothing and says where.
	err = b.v.Define(ctx, alice, "reports", []byte(`from objects where colour = "red"`))
	var d *dsl.Error
	if !errors.As(err, &d) || d.Column != 20 || !strings.Contains(b.v.LastError(alice), "column 20") || b.v.LastError(bob) != "" {
		t.Errorf("%v; last %q", err, b.v.LastError(alice))
	}
	for _, name := range []string{"", ".hidden", "a/b", strings.Repeat("x", 256)} {
		if err := b.v.Define(ctx, alice, name, []byte(q)); !errors.Is(err, ErrQuery) {
			t.Errorf("%q: %v", name, err)
		}
	}
	agent := alice
	agent.Subject.IsAI = true
	if err := b.v.Define(ctx, agent, "x", []byte(q)); !errors.Is(err, ErrAgent) {
		t.Errorf("an agent: %v", err)
	}
	if err := b.v.Remove(ctx, agent, "reports"); !errors.Is(err, ErrAgent) {
		t.Errorf("an agent: %v", err)
	}
	b.stop()
	b.start()
	b.want(alice, one, "named", "reports")
	if err := b.v.Remove(ctx, alice, "reports"); err != nil {
		t.Fatal(err)
	}
	b.want(alice, nil, "named")
	if _, err := b.store.Resolve("groups/local/shared/report one"); err != nil {
		t.Errorf("the view took its object along: %v", err)
	}
	if err := b.v.Remove(ctx, alice, "reports"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for i := range maxNamed {
		if err := b.v.Define(ctx, bob, fmt.Sprint(i), []byte(q)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.v.Define(ctx, bob, "more", []byte(q)); !errors.Is(err, ErrQuery) {
		t.Errorf("without a bound: %v", err)
	}
	if err := b.v.Define(ctx, bob, "7", []byte(q)); err != nil {
		t.Errorf("a change of one that is there: %v", err)
	}
}

func TestF55_QueriesThatTouchSecretsAreToldFirst(t *testing.T) {
	b := open(t)
	ctx := context.Background()
	b.put(alice, "groups/local/shared/plain", "", 0o644)
	if _, err := b.v.Find(ctx, alice, `from objects where kind = FILE`); err != nil || len(b.told) != 0 {
		t.Fatalf("%v %v", b.told, err)
	}
	a := b.put(alice, "groups/local/shared/diary", "", 0o644)
	if err := b.store.RaisePrivacy(objects.Cred{UID: 1000}, a.Object, objects.Classified); err != nil {
		t.Fatal(err)
	}
	const q = `from objects where kind = FILE`
	if _, err := b.v.Find(ctx, alice, q); err != nil || len(b.told) != 1 {
		t.Fatalf("%v %v", b.told, err)
	}
	x := b.told[0]
	if !strings.HasPrefix(x.QueryID, "qry_") || x.Canonical != q || len(x.Hash) != 32 || x.Ceiling != objects.Classified || x.Rows != 2 || x.Filtered != 0 {
		t.Errorf("%+v", x)
	}
	agent := alice
	agent.Subject.IsAI = true
	r, err := b.v.Find(ctx, agent, `from objects where name = "diary"`)
	if err != nil || len(r.Rows) != 0 || len(b.told) != 2 || b.told[1].Filtered != 1 || b.told[1].Ceiling != objects.Internal {
		t.Errorf("%v %v %+v", r.Rows, err, b.told)
	}
	b.mute = errors.New("the log is full")
	if r, err := b.v.Find(ctx, alice, q); err == nil || len(r.Rows) != 0 {
		t.Errorf("rows without a record: %v %v", r.Rows, err)
	}
}
