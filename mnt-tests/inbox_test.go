package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// familyAgent proposes in the group of the members.
const familyAgentUID = 60104

// members are logins that the password database of Debian has everywhere (base-passwd).
var members = map[string]int{"games": 5, "news": 9}

// family makes a group `family` of the two logins, an agent of theirs that root has
// registered, and a rule by which that may propose writes anywhere in the group.
func (p *people) family() (gid string) {
	p.t.Helper()
	for name, uid := range members {
		if out, err := exec.Command("id", "-u", name).Output(); err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(uid) {
			p.t.Skipf("there is no login %s of uid %d to put into a group", name, uid)
		}
	}
	p.ok(0, "mkdir $M/groups/family $M/groups/family/users/games $M/groups/family/users/news")
	if code, _, errs := run(p.t, p.bin, "agent", "add", "helper", "--group", "family", "--uid", fmt.Sprint(familyAgentUID), "--mount", p.dir); code != 0 {
		p.t.Fatalf("agent add: %d, %s", code, errs)
	}
	p.rules(map[string]string{"helper": "rule_id: helper\neffect: allow\npriority: 900\nsubjects: [\"class:ai\"]\nactions: [aiosfs.object.write]\nconditions: ['target.group_id = \"family\"']\n" +
		"approval: {required: true, approval_scope: exact_request_hash, ttl_seconds: 3600, approver_classes: [human], strength: STRONG}\n"})
	return p.ok(0, "stat -c %g $M/groups/family")
}

// proposal is what waits for somebody after the agent has dropped a goal, and what a grant
// of it must name.
type proposal struct{ run, hash string }

func (p *people) propose(name, path string) (x proposal) {
	p.t.Helper()
	x.hash = p.asking(familyAgentUID, name, intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: "+path+"}\nparams: {content: of "+name+"}"))
	x.run = p.ok(familyAgentUID, "sed -n 's/^id: //p' $M/intents/"+name+".d/approval")
	return x
}

// One action in alice's own place, one in bob's, one in their group's: each finds by name
// what is for him, both find in the group's inbox what is for all, and what is for one of
// them is for the other neither to see nor to decide. A look into another's inbox shows
// nothing, fails not, and leaves one record however often it is repeated.
func TestF75_InboxOfAUserAndOfAGroup(t *testing.T) {
	p := newPeople(t)
	began := time.Now()
	gid := p.family()
	in := func(name, script string) (string, error) { return p.inGroup(members[name], gid, script) }
	own := map[string]proposal{}
	for name := range members {
		own[name] = p.propose(name, "/aios/groups/family/users/"+name+"/home/note.md")
	}
	all := p.propose("all", "/aios/groups/family/shared/note.md")
	const alice, bob = "games", "news"
	list := func(name, dir string, want ...proposal) {
		t.Helper()
		var runs []string
		for _, x := range want {
			runs = append(runs, x.run)
		}
		out, err := in(name, "ls -U $M/groups/family/"+dir)
		if got := strings.Fields(out); err != nil || strings.Join(got, " ") != strings.Join(runs, " ") {
			t.Errorf("%s lists %s: %v, %v; want %v", name, dir, err, got, runs)
		}
		for _, x := range want { // each leads to what is asked
			if out, err := in(name, "cat $M/groups/family/"+dir+"/"+x.run+"/approval $M/groups/family/"+dir+"/"+x.run+"/plan"); err != nil || !strings.Contains(out, x.hash) {
				t.Errorf("%s reads %s in %s: %v, %s", name, x.run, dir, err, out)
			}
		}
	}
	for range 3 { // in turn, so that one's answers are in the kernel's caches when the other asks
		list(alice, "inbox", all, own[alice]) // the newest first
		list(bob, "inbox", all, own[bob])
		list(alice, "users/games/inbox", own[alice])
		list(bob, "users/news/inbox", own[bob])
		list(bob, "users/games/inbox")
		if out, err := in(bob, "ls $M/groups/family/users/games/inbox/"+own[alice].run); err == nil {
			t.Errorf("bob looks up in alice's inbox: %s", out)
		}
	}
	// Who looks after the machine, and has registered the agent, is asked for everything,
	// and reads nobody's inbox but his own.
	if out := p.ok(0, "ls $M/self/inbox | wc -l; ls $M/groups/family/inbox | wc -l; ls -A $M/groups/family/users/games/inbox"); strings.Join(strings.Fields(out), " ") != "3 3" {
		t.Errorf("root sees %s", out)
	}
	if out, err := p.as(aliceUID, "ls $M/groups/family/inbox"); err == nil {
		t.Errorf("a stranger reads the group's inbox: %s", out)
	}
	// The command shows both.
	if err := os.Chmod(p.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := in(alice, p.bin+" inbox --mount $M --json")
	if err != nil || !strings.Contains(out, own[alice].run) || !strings.Contains(out, all.run) || strings.Contains(out, own[bob].run) {
		t.Errorf("aios inbox: %v %s", err, out)
	}
	// Nothing is written there.
	for _, try := range []string{"touch $M/groups/family/inbox/x", "mkdir $M/groups/family/users/games/inbox/x", "rm $M/groups/family/inbox/" + all.run} {
		if out, err := in(alice, try); err == nil {
			t.Errorf("alice: %s: %s", try, out)
		}
		if out, err := p.as(0, try); err == nil || !strings.Contains(out, "Read-only file system") {
			t.Errorf("%s: %v %s", try, err, out)
		}
	}
	// The word of another is not taken.
	if out, err := in(bob, "cat $M/intents/"+own[alice].run+".d/plan"); err == nil {
		t.Errorf("bob reads what is for alice: %s", out)
	}
	if out, err := in(bob, "echo 'grant "+own[alice].hash+"' > $M/intents/"+own[alice].run+".d/approval"); err == nil {
		t.Errorf("bob decides what is for alice: %s", out)
	}
	if out, err := in(alice, "echo 'grant "+own[alice].hash+"' > $M/groups/family/users/games/inbox/"+own[alice].run+"/approval"); err != nil {
		t.Fatalf("alice grants what is hers: %s", out)
	}
	// Her grant is taken; whether the agent's own rights suffice is another matter.
	p.ok(familyAgentUID, "cat $M/intents/games.d/wait")
	if got := p.records(familyAgentUID, "games"); !slices.Contains(got, "APPROVAL_GRANTED") {
		t.Errorf("her grant came to nothing: %v", got)
	}
	list(alice, "users/games/inbox")
	list(alice, "inbox", all)

	// The first look is told at once, and the others together at the end of their time; the
	// daemon's end is one.
	p.told(1, "subject_not_addressed", "family:news", "users/games/inbox", "POLICY_DECISION")
	const looks = 100
	for range looks {
		list(bob, "users/games/inbox")
	}
	took := time.Since(began)
	_ = p.daemon.Process.Signal(syscall.SIGTERM)
	if err := p.daemon.Wait(); err != nil {
		t.Fatal(err)
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	found, counted := p.told(2, "subject_not_addressed", "family:news", "users/games/inbox", "POLICY_DECISION"), 0
	for _, r := range found {
		m := regexp.MustCompile(`"count": ?"?([0-9]+)`).FindStringSubmatch(r)
		if m == nil {
			t.Fatalf("it does not say how often: %s", r)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		counted += n
	}
	if most := 2 * (1 + int(took/time.Minute)); len(found) > most || counted < looks {
		t.Errorf("%d records of %d looks, want at most %d of %d", len(found), counted, most, looks)
	}
	t.Log("proves: F-75")
}
