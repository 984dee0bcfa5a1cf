package mnttests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// find runs `aios find --json` as a uid and gives its rows.
func (p *people) find(uid int, query string) []map[string]any {
	p.t.Helper()
	out := p.ok(uid, fmt.Sprintf("%s find --mount $M --json '%s'", p.bin, query))
	var rows []map[string]any
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		p.t.Fatalf("%s: %v: %s", query, err, out)
	}
	return rows
}

// Everything that a goal leaves can be asked for, by who may know of it.
func TestQueriesOfEverySourceAtAShell(t *testing.T) {
	t.Log("proves: F-1 F-46")
	p := newPeople(t)
	if s := p.drop(aliceUID, "one", `write "walnut" to tree.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	if s := p.drop(aliceUID, "two", `append "cherry" to tree.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	acts := p.find(aliceUID, "from actions order by submitted_at")
	if len(acts) != 2 || acts[0]["action"] != "aiosfs.object.write" || acts[1]["state"] != "SUCCEEDED" || !strings.HasSuffix(acts[0]["path"].(string), "/home/tree.md") {
		t.Fatalf("actions: %v", acts)
	}
	id := acts[0]["action_id"].(string)
	if out := p.ok(aliceUID, "cat \"$M/views/query/from actions/"+id+"/state\""); out != "SUCCEEDED" {
		t.Errorf("through the view: %s", out)
	}
	// The transaction of the action, the version that it made, and the pointer at it.
	txns := p.find(aliceUID, fmt.Sprintf(`from transactions where action_id = "%s"`, id))
	if len(txns) != 1 || txns[0]["state"] != "COMMITTED" {
		t.Fatalf("transactions: %v", txns)
	}
	vers := p.find(aliceUID, fmt.Sprintf(`from versions where created_by_transaction_id = "%s"`, txns[0]["transaction_id"]))
	if len(vers) != 1 || vers[0]["state"] != "VERIFIED" || vers[0]["created_by_action_id"] != id {
		t.Fatalf("versions: %v", vers)
	}
	if out := p.ok(aliceUID, "cat \"$M/views/query/from versions where version_id = \\\""+vers[0]["version_id"].(string)+"\\\"/\"*"); out != "walnut" {
		t.Errorf("the version's content: %q", out)
	}
	ptrs := p.find(aliceUID, fmt.Sprintf(`from pointers where object_id = "%s" and kind = CURRENT`, vers[0]["object_id"]))
	if len(ptrs) != 1 || ptrs[0]["current_version_id"] == vers[0]["version_id"] {
		t.Errorf("the pointer has not moved on: %v", ptrs)
	}
	// The log, and counts over it; what a record says is behind its name.
	ev := p.find(aliceUID, fmt.Sprintf(`from evidence where action_id = "%s" and record_type in [EXECUTION_STARTED, EXECUTION_SUCCEEDED] order by seq`, id))
	if len(ev) != 2 || ev[0]["record_type"] != "EXECUTION_STARTED" || ev[1]["seq"].(float64) <= ev[0]["seq"].(float64) {
		t.Errorf("evidence: %v", ev)
	}
	if out := p.ok(aliceUID, "cd \"$M/views/query/from evidence where action_id = \\\""+id+"\\\" and record_type = EXECUTION_STARTED\" && cat *"); !strings.Contains(out, id) {
		t.Errorf("a record through the view: %s", out)
	}
	groups := p.find(aliceUID, fmt.Sprintf(`from evidence where action_id = "%s" group by record_type select count(*) as n, max(occurred_at) as latest order by n desc limit 1`, id))
	if len(groups) != 1 || groups[0]["record_type"] != "ACTION_DISPATCHED" || groups[0]["n"] != 2.0 || groups[0]["latest"] == nil {
		t.Errorf("groups: %v", groups)
	}
	// Others see neither the action nor what it did. Records are read by the group that
	// they are of, here as below evidence/.
	for _, q := range []string{"from actions", "from transactions", "from versions where under \"groups/local/users\"", "from conflicts"} {
		if rows := p.find(bobUID, q); len(rows) != 0 {
			t.Errorf("bob: %s: %v", q, rows)
		}
	}
	// The past.
	at := vers[0]["created_at"].(string)
	past := p.find(aliceUID, fmt.Sprintf(`from objects where name = "tree.md" as of %s`, vers[0]["version_id"]))
	if len(past) != 1 || past[0]["size"] != 6.0 || !strings.Contains(past[0]["path"].(string), "/views/at/") {
		t.Fatalf("as of the first version, made %s: %v", at, past)
	}
	if out := p.ok(aliceUID, "cat '"+past[0]["path"].(string)+"'"); out != "walnut" {
		t.Errorf("the past says %q", out)
	}
	for q, want := range map[string]string{
		"from objects as of 2001-01-01":               "TimeTravelHorizonExceeded",
		"from evidence where record_type = NOTHING":   "NOTHING",
		"from versions where match \"x\"":             "column 21",
		"from objects where target.scope > GROUP":     "UnsupportedOperator",
		"from transactions where privacy <= INTERNAL": "transactions",
	} {
		if out, err := p.as(aliceUID, fmt.Sprintf("%s find --mount $M '%s'", p.bin, q)); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v %s", q, err, out)
		}
	}
	table := p.ok(aliceUID, fmt.Sprintf(`%s find --mount $M 'from evidence where action_id = "%s" group by actor select count(*) as n'`, p.bin, id))
	if !strings.HasPrefix(table, "ACTOR") || !strings.Contains(table, fmt.Sprintf("local:uid-%d", aliceUID)) {
		t.Errorf("as a table: %s", table)
	}
}

// What file managers and people ask all day makes one record a subject and a while.
func TestOrdinaryQueriesAreSummedIntoOneRecord(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, "echo x > $M/self/home/f")
	p.ok(aliceUID, "for i in $(seq 20); do ls \"$M/views/query/from objects where name = \\\"f\\\"\" $M/views/recent >/dev/null; done")
	deadline := time.Now().Add(patience)
	count := `cd $M/evidence/payloads && grep -rl '"summed":true' . | xargs -r cat`
	for {
		out, _ := p.as(aliceUID, count)
		asked := 0
		for _, part := range strings.Split(out, `"query_count":`)[1:] {
			n := 0
			if _, err := fmt.Sscanf(part, "%d", &n); err != nil {
				t.Fatal(part)
			}
			asked += n
		}
		records := strings.Count(out, `"summed":true`)
		if asked >= 40 {
			if records >= asked {
				t.Errorf("%d records of %d queries", records, asked)
			}
			if !strings.Contains(out, `from objects where metadata.name = \"f\"`) {
				t.Errorf("what was asked is not said: %s", out)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 40 queries are on record, in %d records:\n%s", asked, records, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
