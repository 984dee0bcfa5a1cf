package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// inGroup runs a script as a uid whose one group is gid.
func (p *people) inGroup(uid int, gid string, script string) (string, error) {
	cmd := exec.Command("timeout", "60", "setpriv", fmt.Sprintf("--reuid=%d", uid), "--regid="+gid, "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin", "M="+p.dir, "sh", "-c", script)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// A person in two groups has the rights of the one that is active in the process (newgrp),
// and by none of them those of the other.
func TestF72_TheActiveGroupCounts(t *testing.T) {
	t.Log("proves: F-72")
	p := newPeople(t)
	const games = 5 // Debian's, the same everywhere (base-passwd)
	if out, err := exec.Command("getent", "passwd", "games").Output(); err != nil || !strings.HasPrefix(string(out), "games:x:5:") {
		t.Skip("there is no login games of uid 5 to put into groups")
	}
	gid := map[string]string{}
	for _, g := range []string{"family", "homelab"} {
		p.ok(0, "mkdir $M/groups/"+g+" && mkdir $M/groups/"+g+"/users/games")
		gid[g] = p.ok(0, "stat -c %g $M/groups/"+g)
		if out, err := p.inGroup(games, gid[g], "echo of "+g+" > $M/groups/"+g+"/shared/f && chmod 640 $M/groups/"+g+"/shared/f"); err != nil {
			t.Fatal(out)
		}
	}
	if gid["family"] == gid["homelab"] {
		t.Fatalf("gids: %v", gid)
	}
	for _, active := range []string{"family", "homelab", "family"} {
		for g := range gid {
			out, err := p.inGroup(games, gid[active], "cat $M/groups/"+g+"/shared/f; ls $M/groups/"+g+"/shared && echo x > $M/groups/"+g+"/shared/by-"+active)
			if g == active && (err != nil || !strings.HasPrefix(out, "of "+g)) {
				t.Errorf("active in %s: %v %s", active, err, out)
			}
			if g != active && (err == nil || strings.Contains(out, "of "+g) || !strings.Contains(out, "ermission denied")) {
				t.Errorf("active in %s, in %s: %v %s", active, g, err, out)
			}
		}
	}
	for g := range gid {
		if s, err := p.inGroup(games, gid[g], "ls $M/groups/"+g+"/shared"); s != "by-"+g+"\nf" {
			t.Errorf("%s: %v %s", g, err, s)
		}
	}
}

// What belongs to one scope stays there: neither a rename, nor a link, nor a goal moves it
// to another one; a copy is another object.
func TestF10_NothingChangesItsScope(t *testing.T) {
	t.Log("proves: F-10")
	p := newPeople(t)
	p.ok(aliceUID, "echo mine > $M/self/home/f && mkdir $M/self/home/d")
	home := "$M/" + p.ok(aliceUID, "readlink $M/self") + "/home"
	id := p.xattr(home+"/f", "user.aios.object_id")
	for _, call := range []string{"rename", "link"} {
		out, err := p.as(aliceUID, `python3 -c 'import os,sys; os.`+call+`(sys.argv[1],sys.argv[2])' `+home+"/f $M/groups/local/shared/f")
		if err == nil || !strings.Contains(out, "Errno 18") {
			t.Errorf("%s: %v %s", call, err, out)
		}
	}
	if out, err := p.as(aliceUID, "mv --no-copy "+home+"/d $M/groups/local/shared/d"); err == nil {
		t.Errorf("mv: %s", out)
	}
	for i, what := range []string{"f", "d"} {
		name := fmt.Sprint("m", i)
		if s := p.drop(aliceUID, name, intent("r", "id: a\naction: aiosfs.object.move\ntarget: {path: home/"+what+"}\nparams: {to: /aios/groups/local/shared/"+what+"}")); s == "SUCCEEDED" {
			t.Errorf("a goal moved %s", what)
		}
		if e := p.ok(aliceUID, "cat $M/intents/"+name+".d/error.json"); !strings.Contains(e, "InvalidScopeBindingChange") {
			t.Errorf("%s: %s", what, e)
		}
	}
	if s := p.ok(aliceUID, "cat "+home+"/f; ls "+home+"; ls -A $M/groups/local/shared"); s != "mine\nd\nf" {
		t.Errorf("afterwards: %s", s)
	}
	p.ok(aliceUID, "cp "+home+"/f $M/groups/local/shared/f")
	if other := p.xattr("$M/groups/local/shared/f", "user.aios.object_id"); other == id || p.xattr(home+"/f", "user.aios.object_id") != id {
		t.Errorf("%s and its copy %s", id, other)
	}
}

// xattr reads an extended attribute as root.
func (p *people) xattr(path, name string) string {
	p.t.Helper()
	return p.ok(0, `python3 -c 'import os,sys; print(os.getxattr(sys.argv[1],sys.argv[2]).decode())' `+path+" "+name)
}

// A privacy class is raised and never lowered, by nobody.
func TestP26_PrivacyNeverFalls(t *testing.T) {
	t.Log("proves: P-26")
	p := newPeople(t)
	p.ok(aliceUID, "echo mine > $M/self/home/f")
	file := "$M/" + p.ok(aliceUID, "readlink $M/self") + "/home/f"
	set := func(uid int, class string) (string, error) {
		return p.as(uid, `python3 -c 'import os,sys; os.setxattr(sys.argv[1],"user.aios.privacy_class",sys.argv[2].encode())' `+file+" "+class)
	}
	if out, err := set(aliceUID, "CLASSIFIED"); err != nil {
		t.Fatal(out)
	}
	for _, uid := range []int{aliceUID, 0} {
		for _, class := range []string{"PUBLIC", "SENSITIVE"} {
			if out, err := set(uid, class); err == nil || !strings.Contains(out, "Errno 1]") {
				t.Errorf("uid %d, %s: %v %s", uid, class, err, out)
			}
		}
	}
	if out, err := p.as(aliceUID, `python3 -c 'import os,sys; os.removexattr(sys.argv[1],"user.aios.privacy_class")' `+file); err == nil {
		t.Errorf("it can be taken off: %s", out)
	}
	if s := p.xattr(file, "user.aios.privacy_class"); s != "CLASSIFIED" {
		t.Errorf("it is %s", s)
	}
	p.told(1, "hd.privacy_class_downgrade", `DENY`, fmt.Sprint(aliceUID))
}

// Every object is found, the ones that are no more as well, by the store alone: there is no
// model that could be asked.
func TestF7_AllObjectsAreListed(t *testing.T) {
	t.Log("proves: F-7")
	p := newPeople(t)
	p.ok(aliceUID, "cd $M/groups/local/shared && mkdir d && for i in 1 2 3 4 5 6; do echo $i > d/f$i; done && rm d/f5 d/f6")
	find := func(q string) string {
		return p.ok(aliceUID, p.bin+" find --mount $M '"+q+"' | awk '{print $NF}' | sort")
	}
	if err := os.Chmod(p.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	in := ` under "/aios/groups/local/shared/d" and kind = FILE`
	live := find(`from objects where lifecycle_state = ACTIVE and` + in)
	all := find(`from objects where lifecycle_state in [ACTIVE, RETIRED] and` + in)
	for i := 1; i <= 6; i++ {
		name := fmt.Sprint("/d/f", i)
		gone := fmt.Sprint("/d/.versions/f", i)
		if strings.Contains(live, name) != (i <= 4) || strings.Contains(live, gone) || !strings.Contains(all, name) && !strings.Contains(all, gone) {
			t.Errorf("%s: ACTIVE\n%s\nand RETIRED\n%s", name, live, all)
		}
	}
}
