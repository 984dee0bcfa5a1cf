package mnttests

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// silence is a server that takes connections and never answers.
func silence(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// A connection that nobody holds is closed when the garbage is collected.
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range held {
			c.Close()
		}
	})
	return l.Addr().String()
}

// speaking are the processes whose arguments hold a word.
func speaking(word string) (pids []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(word)) {
			pids = append(pids, filepath.Dir(f))
		}
	}
	return pids
}

// Four clones hang and hold every worker, one more waits in the queue, and the daemon is
// killed. The four have failed then, with a word on the crash, and none of their programs
// is left; the fifth has been waiting and is carried out.
func TestActions45_KilledWhileExecuting(t *testing.T) {
	t.Log("proves: actions-45 actions-49")
	p := newPeople(t)
	addr := silence(t)
	var all []string
	for i := range 5 {
		name := fmt.Sprint("c", i)
		hash := p.asking(aliceUID, name, intent("r", fmt.Sprintf("id: a\naction: repo.clone\ntarget: {path: home/%s}\nparams: {url: 'git://%s/%s'}", name, addr, name)))
		all = append(all, hash)
		if err := p.give(bobUID, "grant "+hash); err != nil {
			t.Fatal(err)
		}
	}
	state := func(name string) string { return p.ok(aliceUID, "cat $M/intents/"+name+".d/state") }
	var executing []string
	var queued string
	until(t, "four run and one waits", func() bool {
		executing, queued = nil, ""
		for i, s := range strings.Fields(p.ok(aliceUID, "cd $M/intents; cat c0.d/state c1.d/state c2.d/state c3.d/state c4.d/state")) {
			switch name := fmt.Sprint("c", i); s {
			case "EXECUTING":
				executing = append(executing, name)
			case "QUEUED":
				queued = name
			case "FAILED", "ROLLED_BACK":
				t.Fatalf("%s ended: %s", name, p.ok(aliceUID, "cat $M/intents/"+name+".d/error.json"))
			}
		}
		return len(executing) == 4 && queued != "" && len(speaking("git://"+addr)) >= 4
	})
	p.onlyItsOwn(speaking("git://"+addr), all)

	if err := p.daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.daemon.Wait()
	detach(p.dir)
	until(t, "its programs end with it", func() bool { return len(speaking("git://"+addr)) == 0 })
	p.daemon = mounted(t, p.bin, p.state, p.dir)

	for _, name := range executing {
		if s := p.ok(aliceUID, "cat $M/intents/"+name+".d/wait"); s != "FAILED" {
			t.Errorf("%s: %s", name, s)
		}
		if e := p.ok(aliceUID, "cat $M/intents/"+name+".d/error.json"); !strings.Contains(e, "ADAPTER_PANIC") || !strings.Contains(e, `"crash_recovery_observed": true`) {
			t.Errorf("%s: %s", name, e)
		}
		if out, err := p.as(aliceUID, "ls $M/self/home/"+name); err == nil {
			t.Errorf("%s left %s", name, out)
		}
	}
	until(t, "what was queued runs", func() bool { return state(queued) == "EXECUTING" && len(speaking("git://"+addr)) > 0 })
	if log := p.ok(aliceUID, "cat $M/intents/"+queued+".d/events.log"); strings.Contains(log, "FAILED") || !strings.Contains(log, "QUEUED") {
		t.Errorf("%s: %s", queued, log)
	}
	if recs := p.records(aliceUID, queued); slices.Contains(recs, "EXECUTION_FAILED") {
		t.Errorf("%s: %v", queued, recs)
	}
}

// onlyItsOwn wants programs to know nothing but their task: no approval, no rule, no key in
// arguments, environment or memory of where they are, and no file of the state open.
func (p *people) onlyItsOwn(pids, hashes []string) {
	p.t.Helper()
	git := 0
	for _, pid := range pids {
		args, _ := os.ReadFile(pid + "/cmdline")
		env, err := os.ReadFile(pid + "/environ")
		if err != nil || len(env) == 0 {
			continue // it is the one that waits for it, or gone
		}
		git++
		known := append(args, env...)
		for _, word := range append(slices.Clone(hashes), "local:uid-", "ScopedAllow", "approv", "rule_id", "corr_", p.state, "AIOS_", "SECRET", "TOKEN") {
			if bytes.Contains(known, []byte(word)) {
				p.t.Errorf("%s knows %q: %q", pid, word, known)
			}
		}
		fds, err := os.ReadDir(pid + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if target, _ := os.Readlink(pid + "/fd/" + fd.Name()); strings.HasPrefix(target, p.base) || strings.Contains(target, "/fuse") {
				p.t.Errorf("%s has %s open", pid, target)
			}
		}
	}
	if git < 4 {
		p.t.Errorf("%d programs were looked at", git)
	}
}

// However much agents ask for, half of the workers is not theirs: counted among the
// machine's processes, two of an agent's four clones run, and a human's runs beside them.
func TestActions95_AgentsHoldHalf(t *testing.T) {
	t.Log("proves: actions-95")
	p := newPeople(t)
	p.agent(t)
	p.rules(map[string]string{"clones": "rule_id: clones\neffect: allow\npriority: 900\nsubjects: [\"class:ai\"]\nactions: [repo.clone]\n" +
		"approval: {required: true, approval_scope: exact_request_hash, ttl_seconds: 600, approver_classes: [human]}\n"})
	addr := silence(t)
	clone := func(uid int, name string) {
		hash := p.asking(uid, name, intent("r", fmt.Sprintf("id: a\naction: repo.clone\ntarget: {path: /aios/groups/local/shared/%s}\nparams: {url: 'git://%s/%s'}", name, addr, name)))
		if err := p.give(bobUID, "grant "+hash); err != nil {
			t.Fatal(err)
		}
	}
	agents := []string{"ai0", "ai1", "ai2", "ai3"}
	for _, name := range agents {
		clone(agentUID, name)
	}
	running := func() (ais, humans int) {
		for _, name := range append(slices.Clone(agents), "hers") {
			switch n := len(speaking("git://" + addr + "/" + name)); {
			case n > 0 && name == "hers":
				humans++
			case n > 0:
				ais++
			}
		}
		return ais, humans
	}
	until(t, "two of the agent's run", func() bool { ais, _ := running(); return ais >= 2 })
	clone(aliceUID, "hers")
	until(t, "the human's runs", func() bool { _, humans := running(); return humans == 1 })
	for range 40 {
		if ais, humans := running(); ais != 2 || humans != 1 {
			t.Fatalf("%d of the agent's run and %d of the human's", ais, humans)
		}
	}
	states := map[string]int{}
	for _, s := range strings.Fields(p.ok(agentUID, "cd $M/intents; cat ai0.d/state ai1.d/state ai2.d/state ai3.d/state")) {
		states[s]++
	}
	if states["EXECUTING"] != 2 || states["QUEUED"] != 2 {
		t.Errorf("the agent's are %v", states)
	}
}
