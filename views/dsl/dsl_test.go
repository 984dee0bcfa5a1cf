package dsl

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// good uses every production of the grammar at least once.
var good = []string{
	`from objects`, `from versions`, `from pointers`, `from transactions`, `from conflicts`, `from evidence`,
	`from objects where kind = FILE`, `from objects where kind = "FILE"`, `from objects where kind != DIRECTORY`,
	`from objects where kind in [PROJECT, WORKSPACE]`, `from objects where metadata.labels contains "work"`,
	`from objects where labels exists and name contains "a\"b\\c"`, `from objects where pointer(STABLE) exists`,
	`from objects where pointer("STABLE") exists`, `from objects where privacy <= INTERNAL and privacy_class != PUBLIC`,
	`from objects where size > 10 and size < 1e3 and size >= -2.5 and size <= 0`,
	`from objects where created_at > 2026-01-02T03:04:05Z and updated_at <= "2026-02-03T04:05:06.7+02:00"`,
	`from objects where created_at > 2026-01-02`, `from objects where subject.is_ai = true`,
	`from objects where target.scope in [GROUP, USER] and target.reserved_name = GRP_SHARED`,
	`from objects group by kind`, `from objects group by kind, created_by select count(*) as count, max(created_at) as latest, min(size) as least, first(name) as f, last(name) as l, count(size) as n order by count desc, kind`,
	`from objects order by name, created_at desc, size asc limit 10 offset 5`,
	`from objects as of ver_01J0000000000000000000000`, `from objects as of 2026-01-02T03:04:05Z`, `from objects as of "2026-01-02T03:04:05Z"`,
	`from objects as of 2h`, `from objects as of yesterday`, `from objects project object_list`, `from objects project graph`,
	`from objects project timeline`, `from objects project mount_overlay`, `from objects project posix_path("groups/local")`,
	`from objects where match "two words" order by score desc limit 3`, `from objects where under "groups/local/shared"`,
	`from evidence where record_type = ACTION_RECEIVED and seq > 5`, `from objects where name = "größe"`,
	"from objects\n\twhere name = \"x\"\n\tlimit 0",
}

func TestF49_EveryProductionParsesAndItsCanonicalTextIsTheSame(t *testing.T) {
	for _, src := range good {
		q, err := Parse(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		again(t, q)
	}
}

func again(t *testing.T, q *Query) {
	t.Helper()
	text := q.String()
	q2, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if text2 := q2.String(); text2 != text {
		t.Fatalf("%s became %s", text, text2)
	}
}

func TestF49_EverySingleTokenMutationParsesOrGivesAColumn(t *testing.T) {
	t.Log("proves: F-49")
	words := []string{"from", "objects", "where", "and", "kind", "=", "<", "(", ")", "[", "]", ",", ".", `"s"`, "7", "true", "2026-01-02", "2h", "*", "limit", "exists", "in", "privacy", "pointer", "match"}
	// A hundred queries: the good ones, and combinations of them.
	queries := append([]string{}, good...)
	for i := 0; len(queries) < 100; i++ {
		queries = append(queries, good[6+i%12]+[]string{" order by name", " limit 3", " group by kind", " as of 2h", " project graph"}[i%5])
	}
	tried := 0
	try := func(toks []string) {
		tried++
		src := strings.Join(toks, " ")
		q, err := Parse(src)
		var e *Error
		if err == nil {
			again(t, q)
		} else if !errors.As(err, &e) || e.Column < 1 || e.Column > len([]rune(src))+1 || e.Message == "" {
			t.Fatalf("%s: %#v", src, err)
		}
	}
	for _, src := range queries {
		toks, err := lex(src)
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, k := range toks[:len(toks)-1] {
			if k.kind == tString {
				text = append(text, quote(k.val))
			} else {
				text = append(text, k.val)
			}
		}
		for i := range text {
			try(append(append([]string{}, text[:i]...), text[i+1:]...)) // without it
			for _, w := range words {
				try(append(append(append([]string{}, text[:i]...), w), text[i+1:]...)) // another in its place
			}
			try(append(append(append([]string{}, text[:i]...), text[i]), text[i:]...)) // twice
		}
	}
	if tried < 10_000 {
		t.Fatalf("only %d mutations", tried)
	}
}

func TestErrorsNameKindColumnAndCulprit(t *testing.T) {
	t.Log("proves: F-43 F-52")
	for _, c := range []struct {
		src  string
		code Code
		col  int
		word string
	}{
		{`from objects where secret_value = "x"`, InvalidQuery, 20, "secret_value"},
		{`from objects where colour = "x"`, UnknownField, 20, "colour"},
		{`from objects where target.scope > GROUP`, UnsupportedOperator, 33, "target.scope"},
		{`from objects where kind < FILE`, UnsupportedOperator, 25, "kind"},
		{`from objects where labels = "x"`, UnsupportedOperator, 27, "metadata.labels"},
		{`from objects where size contains "x"`, UnsupportedOperator, 25, "size"},
		{`from objects where kind = HOUSE`, InvalidQuery, 27, "HOUSE"},
		{`from objects where created_at > "soon"`, InvalidQuery, 33, "soon"},
		{`from objects where size = "x"`, InvalidQuery, 27, "number"},
		{`from object`, InvalidQuery, 6, "object"},
		{``, InvalidQuery, 1, "from"},
		{`from objects where name = "ä" or kind = FILE`, InvalidQuery, 31, "or"},
		{`from objects where name = "no end`, InvalidQuery, 27, "no end"},
		{`from objects limit 3 order by name`, InvalidQuery, 22, "order"},
		{`from objects limit -1`, InvalidQuery, 20, "-1"},
		{`from objects order by score`, UnknownField, 23, "score"},
		{`from objects project cube`, InvalidQuery, 22, "cube"},
		{`from objects where name = 'x'`, InvalidQuery, 27, "'"},
		{`from objects where created_at > 2026-13-45`, InvalidQuery, 33, "2026-13-45"},
		{`from objects where size > 007`, InvalidQuery, 27, "007"},
		{"from objects where name = \"\xff\"", InvalidQuery, 1, "UTF-8"},
	} {
		_, err := Parse(c.src)
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code || e.Column != c.col || !strings.Contains(e.Message, c.word) {
			t.Errorf("%s: %v, want %s at column %d about %s", c.src, err, c.code, c.col, c.word)
		}
	}
}

func TestPredicatesCarryTheirValues(t *testing.T) {
	q, err := Parse(`from objects where kind in [PROJECT, WORKSPACE] and size >= 5 limit 7 offset 2`)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, v := range q.Where[0].Values {
		kinds = append(kinds, v.Text)
	}
	if q.Where[0].Op != In || !reflect.DeepEqual(kinds, []string{"PROJECT", "WORKSPACE"}) || q.Where[1].Values[0].Number != 5 || q.Limit != 7 || q.Offset != 2 {
		t.Fatalf("%+v", q)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range good {
		f.Add(s)
	}
	f.Add(`from objects where name = "`)
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s)
		if err == nil {
			again(t, q)
			return
		}
		var e *Error
		if !errors.As(err, &e) || e.Column < 1 {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
