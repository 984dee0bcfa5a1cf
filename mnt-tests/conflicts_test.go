package mnttests

import (
	"strings"
	"testing"
)

// Two intents over one version: the second fails, and what it wanted can be read beside
// what won, by those who may read the file (filesystem.md §9).
func TestF2_TwoIntentsOverOneVersionAtAShell(t *testing.T) {
	t.Log("proves: F-2")
	p := newPeople(t)
	version := `python3 -c 'import os,sys; print(os.getxattr(sys.argv[1],"user.aios.version_id").decode())' $M/self/home/f`
	// The version is there once the kernel has let go of the file.
	p.ok(aliceUID, "echo base > $M/self/home/f; for i in $(seq 3000); do "+version+" 2>/dev/null && exit 0; sleep 0.05; done; exit 1")
	base := p.ok(aliceUID, version)
	doc := func(text string) string {
		return intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: f}\nparams: {content: "+text+"}\nexpect: {version: "+base+"}")
	}
	if s := p.drop(aliceUID, "one", doc("winner")); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(aliceUID, "cat $M/intents/one.d/error.json"))
	}
	current := p.ok(aliceUID, version)
	// Simulated, it is told at once and leaves nothing.
	if s := p.drop(aliceUID, "sim", strings.Replace(doc("loser"), "reason: r", "reason: r\nmode: SIMULATE", 1)); s != "FAILED" {
		t.Errorf("simulated: %s", s)
	}
	if out := p.ok(aliceUID, "ls $M/views/conflicts"); out != "" {
		t.Errorf("a simulation left %s", out)
	}
	if s := p.drop(aliceUID, "two", doc("loser")); s != "FAILED" {
		t.Fatal(s)
	}
	if now := p.ok(aliceUID, version); now != current || p.ok(aliceUID, "cat $M/self/home/f") != "winner" {
		t.Errorf("current is %s, it was %s", now, current)
	}
	id := p.ok(aliceUID, "ls $M/views/conflicts")
	if e := p.ok(aliceUID, "cat $M/intents/two.d/error.json"); !strings.HasPrefix(id, "cnf_") || !strings.Contains(e, "aiosfs.StaleBase") || !strings.Contains(e, "ConflictDetected") || !strings.Contains(e, `"conflict_id": "`+id+`"`) {
		t.Errorf("%s\n%s", id, e)
	}
	if got := p.ok(aliceUID, "cd $M/views/conflicts/"+id+" && ls && cat base current candidate"); got != "base\ncandidate\nconflict.json\ncurrent\nbase\nwinnerloser" {
		t.Errorf("%q", got)
	}
	text := p.ok(aliceUID, "cat $M/views/conflicts/"+id+"/conflict.json")
	for _, want := range []string{`"status": "OPEN"`, `"base_version_id": "` + base, `"current_version_id": "` + current} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if out := p.ok(aliceUID, `ls $M/evidence/by-type/CONFLICT_EVENT/*/ | wc -l; grep -rl `+id+` $M/evidence/payloads/ | wc -l`); !strings.HasPrefix(out, "1\n") || strings.HasSuffix(out, "\n0") {
		t.Errorf("evidence: %s", out)
	}
	if out := p.ok(bobUID, "ls $M/views/conflicts"); out != "" {
		t.Errorf("bob sees %s", out)
	}
	if out, err := p.as(bobUID, "cat $M/views/conflicts/"+id+"/candidate"); err == nil {
		t.Errorf("bob reads %s", out)
	}
}
