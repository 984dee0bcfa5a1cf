package mnttests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// told waits until the log has n records that hold all words in their receipts or payloads,
// and gives both of each.
func (p *people) told(n int, words ...string) []string {
	p.t.Helper()
	texts := map[string]string{}
	var found []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_, out, _ := run(p.t, p.bin, "log", "--mount", p.dir, "--json", "--last", "100000")
		found = nil
		for line := range strings.Lines(out) {
			var r struct {
				ID string `json:"receipt_id"`
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				p.t.Fatal(err)
			}
			if texts[r.ID] == "" {
				name, err := filepath.Glob(p.dir + "/evidence/payloads/*/*/*/*/" + r.ID + "*")
				if err != nil || len(name) == 0 {
					continue
				}
				text, err := os.ReadFile(name[0])
				if err != nil {
					p.t.Fatal(err)
				}
				texts[r.ID] = line + string(text)
			}
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(texts[r.ID], w) }) {
				found = append(found, texts[r.ID])
			}
		}
		if len(found) >= n {
			return found
		}
	}
	p.t.Errorf("%d records with %q, want %d", len(found), words, n)
	return found
}

// The ten places that change in recovery alone change for nobody, root included, and each
// try is recorded; the others change for an administrator, which is recorded as well, and
// never for an AI.
func TestF77_SystemPlaces(t *testing.T) {
	t.Log("proves: F-77")
	p := newPeople(t)
	p.agent(t)
	for _, name := range []string{"policy", "capabilities", "vault", "recovery", "boot", "firstboot", "governance", "identity", "kernel", "firmware"} {
		for _, call := range []string{"mkdir $M/system/" + name + "/x", "touch $M/system/" + name + "/x", "chmod 777 $M/system/" + name, "rmdir $M/system/" + name} {
			if out, err := p.as(0, call); err == nil || !strings.Contains(out, "not permitted") {
				t.Errorf("%s: %v %s", call, err, out)
			}
		}
		p.told(1, `RecoveryModeRequired`, `/aios/system/`+name+`/x`)
	}
	if out, err := p.as(0, "mkdir $M/system/apps/tool && echo x > $M/system/apps/tool/f"); err != nil {
		t.Errorf("an administrator: %s", out)
	}
	p.told(1, `"SYSTEM_ADMIN_OPERATION"`, "/aios/system/apps/tool")
	if out, err := p.as(aliceUID, "mkdir $M/system/apps/mine"); err == nil {
		t.Errorf("anybody: %s", out)
	}
	if out, err := p.as(agentUID, "mkdir $M/system/apps/mine"); err == nil {
		t.Errorf("an AI: %s", out)
	}
	if out, err := p.as(0, "chmod 777 $M/system/apps/tool $M/system/apps/tool/f"); err != nil {
		t.Error(out)
	}
	if out, err := p.as(agentUID, "echo y > $M/system/apps/tool/f"); err == nil {
		t.Errorf("an AI where the mode lets it: %s", out)
	}
	p.told(1, `AISystemAdminBlocked`, fmt.Sprint(agentUID))
	if s := p.ok(0, "cat $M/system/apps/tool/f"); s != "x" {
		t.Errorf("%q", s)
	}
}

// A person asks for another group's place: denied for good, with a record that names both
// groups.
func TestF71_AnotherGroupsPlace(t *testing.T) {
	t.Log("proves: F-71")
	p := newPeople(t)
	if code, _, errs := run(t, p.bin, "goal", "--mount", p.dir, "--wait", "create group homelab"); code != 0 {
		t.Fatal(errs)
	}
	for i, path := range []string{"apps/web/config", "shared/x", "users/op/home/x"} {
		name := fmt.Sprint("x", i)
		doc := intent("r", "id: a\naction: aiosfs.object.write\ntarget: {path: /aios/groups/homelab/"+path+"}\nparams: {content: x}")
		if s := p.drop(aliceUID, name, doc); s != "POLICY_DENIED" {
			t.Errorf("%s: %s", path, s)
		}
		if d := p.ok(aliceUID, "cat $M/intents/"+name+".d/decision.json"); !strings.Contains(d, "CrossGroupAccessForbidden") {
			t.Errorf("%s: %s", path, d)
		}
		rec := p.ok(aliceUID, "cat $M/intents/"+name+".d/evidence/*CROSS_GROUP_ACCESS_DENIED*; cat $M/evidence/payloads/*/*/*/*/$(basename $(readlink $M/intents/"+name+".d/evidence/*CROSS_GROUP_ACCESS_DENIED*))")
		if !strings.Contains(rec, `"local"`) || !strings.Contains(rec, "homelab/"+path) {
			t.Errorf("%s: the record: %s", path, rec)
		}
	}
}

// An agent writes in its own directory, and not its memory there: that is for typed actions.
func TestC45_MemoryIsNotWrittenDirectly(t *testing.T) {
	t.Log("proves: C-45")
	p := newPeople(t)
	p.agent(t)
	home := p.ok(agentUID, "readlink $M/self")
	p.ok(agentUID, "mkdir -p $M/"+home+"/job && echo x > $M/"+home+"/job/f")
	for _, call := range []string{"echo x > $M/" + home + "/memory/m", "mkdir $M/" + home + "/memory/d", "mv $M/" + home + "/job/f $M/" + home + "/memory/f", "rmdir $M/" + home + "/memory"} {
		if out, err := p.as(agentUID, call); err == nil || !strings.Contains(out, "not permitted") && !strings.Contains(out, "denied") {
			t.Errorf("%s: %v %s", call, err, out)
		}
	}
	if s := p.ok(0, "ls -A $M/"+home+"/memory"); s != "" {
		t.Errorf("its memory holds %s", s)
	}
	p.told(1, "AGENT_DIRECT_FS_WRITE_BLOCKED", "/memory/m")
}
