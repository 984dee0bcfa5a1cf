package mnttests

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// mutations are calls on a record file %s; each prints its errno's name, or OK.
var mutations = []struct{ name, python string }{
	{"open for write", `os.open(p, os.O_WRONLY)`},
	{"append", `os.open(p, os.O_WRONLY|os.O_APPEND)`},
	{"open and truncate", `os.open(p, os.O_WRONLY|os.O_TRUNC)`},
	{"truncate", `os.truncate(p, 0)`},
	{"unlink", `os.unlink(p)`},
	{"rename", `os.rename(p, p+"x")`},
	{"rename over", `os.rename(q, p)`},
	{"link", `os.link(p, p+"x")`},
	{"utimes", `os.utime(p)`}, // times of one's own choice are EPERM on every file system, for who does not own the file
	{"setxattr", `os.setxattr(p, "user.x", b"y")`},
	{"removexattr", `os.removexattr(p, "user.aios.seq")`},
	{"chmod", `os.chmod(p, 0o666)`},
	{"chown", `os.chown(p, 12345, 12345)`},
	{"create", `os.open(d+"/new", os.O_CREAT|os.O_WRONLY, 0o600)`},
	{"mkdir", `os.mkdir(d+"/new")`},
	{"symlink", `os.symlink("x", d+"/new")`},
	{"mknod", `os.mkfifo(d+"/new")`},
}

// mutating is a script that makes one of those calls.
func mutating(python, name, other string) string {
	return fmt.Sprintf(`python3 - <<'EOF_PY'
import os, errno
p, q = %q, %q
d = os.path.dirname(p)
try:
    %s
    print("OK")
except OSError as e:
    print(errno.errorcode[e.errno])
EOF_PY`, name, other, python)
}

// No call changes a record, whoever makes it; the errno is that of the reference's table,
// and the bytes are the same afterwards.
func TestEvidence86_NothingChangesARecord(t *testing.T) {
	t.Log("proves: evidence-86")
	p := newPeople(t)
	// Records of alice's own: both she and root see them.
	if s := p.drop(aliceUID, "one", `write "x" to a.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	list := strings.Fields(p.ok(aliceUID, "readlink -f $M/intents/one.d/evidence/*"))
	if len(list) < 2 {
		t.Fatalf("records: %v", list)
	}
	name, other := list[0], list[1]
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []struct {
		uid  int
		want map[string]string // by mutation; "" stands for the others
	}{
		{0, map[string]string{"": "EPERM"}},
		{aliceUID, map[string]string{"": "EACCES", "chmod": "EPERM", "chown": "EPERM", "link": "EPERM"}},
	} {
		for _, m := range mutations {
			want := who.want[m.name]
			if want == "" {
				want = who.want[""]
			}
			if got := p.ok(who.uid, mutating(m.python, name, other)); got != want {
				t.Errorf("uid %d, %s: %s, want %s", who.uid, m.name, got, want)
			}
		}
	}
	after, err := os.ReadFile(name)
	if err != nil || string(after) != string(before) {
		t.Errorf("the record has changed: %v", err)
	}
	if again := strings.Fields(p.ok(aliceUID, "readlink -f $M/intents/one.d/evidence/*")); !slices.Equal(again, list) {
		t.Errorf("the records are others now: %v", again)
	}
}

// recordFiles are the record files in the order of the log.
func recordFiles(t *testing.T, dir string) []string {
	t.Helper()
	type rec struct {
		name string
		seq  string
	}
	var list []rec
	err := filepath.WalkDir(filepath.Join(dir, "evidence/records"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		list = append(list, rec{name, fmt.Sprintf("%020s", xattr(t, name, "user.aios.seq"))})
		return nil
	})
	if err != nil || len(list) < 2 {
		t.Fatalf("%d records, %v", len(list), err)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].seq < list[j].seq })
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = r.name
	}
	return names
}

func xattr(t *testing.T, name, attr string) string {
	t.Helper()
	b := make([]byte, 512)
	n, err := unix.Getxattr(name, attr, b)
	if err != nil {
		t.Fatalf("%s of %s: %v", attr, name, err)
	}
	return string(b[:n])
}

// The bytes of a record's file are what the next one is chained to; its attributes say
// what the bytes say; sizes and times hold.
func TestEvidence89_FilesAreTheChain(t *testing.T) {
	t.Log("proves: evidence-89")
	p := newPeople(t)
	for i := range 3 {
		if s := p.drop(0, fmt.Sprint("g", i), fmt.Sprintf(`write "%d" to f%d.md`, i, i)); s != "SUCCEEDED" {
			t.Fatal(s)
		}
	}
	list := recordFiles(t, p.dir)
	for i, name := range list {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var rec map[string]any
		if err := json.Unmarshal(b, &rec); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := string(b)
		for _, a := range []string{"receipt_id", "record_type"} {
			if v := xattr(t, name, "user.aios."+a); !strings.Contains(text, `"`+v+`"`) {
				t.Errorf("%s: %s is %q, which the record does not say", name, a, v)
			}
		}
		st, err := os.Stat(name)
		if err != nil || st.Size() != int64(len(b)) || st.Mode().Perm() != 0o444 || st.Sys().(*syscall.Stat_t).Nlink != 1 {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
		if i+1 == len(list) {
			break
		}
		h := blake3.Sum256(b)
		next, err := os.ReadFile(list[i+1])
		if err != nil {
			t.Fatal(err)
		}
		if link := fmt.Sprintf("%x", h); !strings.Contains(string(next), link) && !strings.Contains(string(next), link[:32]) {
			t.Errorf("%s does not hold the digest of the record before it", list[i+1])
		}
	}
}

// A checkpoint that was opened before an append goes on to say what it said.
func TestEvidence92_CheckpointsAreWhole(t *testing.T) {
	t.Log("proves: evidence-92")
	p := newPeople(t)
	if s := p.drop(0, "one", `write "x" to a.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	name := filepath.Join(p.dir, "evidence/log/checkpoint")
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	half := make([]byte, 10)
	if _, err := f.ReadAt(half, 0); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.drop(0, "two", `write "y" to b.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	rest := make([]byte, 4096)
	n, _ := f.ReadAt(rest, 10)
	if old := string(half) + string(rest[:n]); old != string(want) {
		t.Errorf("the open checkpoint says\n%s\nit said\n%s", old, want)
	}
	deadline := time.Now().Add(patience)
	for {
		now, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(now) != string(want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no newer checkpoint was published")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i, note := range []string{string(want), ""} {
		anchor := filepath.Join(p.base, fmt.Sprint("anchor", i))
		if note == "" {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			note = string(b)
		}
		if err := os.WriteFile(anchor, []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := run(t, p.bin, "verify", "--state", p.state, "--anchor", anchor); code != 0 {
			t.Errorf("against checkpoint %d: %d, %s%s", i, code, out, errs)
		}
	}
}

// A copy of the state, with nothing running, verifies; with one byte of any of its log
// files changed it does not, and the place is named.
func TestEvidence93_CopyVerifies(t *testing.T) {
	t.Log("proves: evidence-93")
	p := newPeople(t)
	for i := range 5 {
		if s := p.drop(0, fmt.Sprint("g", i), fmt.Sprintf(`write "%d" to f%d.md`, i, i)); s != "SUCCEEDED" {
			t.Fatal(s)
		}
	}
	_ = p.daemon.Process.Signal(syscall.SIGTERM)
	if err := p.daemon.Wait(); err != nil {
		t.Fatal(err)
	}
	p.daemon = mounted(t, p.bin, p.path("other"), p.dir) // the cleanup wants one
	fresh := func() string {
		t.Helper()
		dir := p.path("copy")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-r", p.state, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return dir
	}
	dir := fresh()
	if code, out, errs := run(t, p.bin, "verify", "--state", dir); code != 0 {
		t.Fatalf("the copy: %d, %s%s", code, out, errs)
	}
	n := 0
	for _, pattern := range []string{"segments/*/records", "segments/*/payloads", "log/checkpoint", "log/tile/entries/*/*", "log/tile/entries/*", "log/tile/0/*"} {
		names, err := filepath.Glob(filepath.Join(dir, "evidence", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil || len(b) < 40 {
				continue // a directory, or too short to hold a record
			}
			for _, at := range []int{12, len(b) / 2, len(b) - 2} {
				bad := append([]byte{}, b...)
				bad[at] ^= 1
				if err := os.WriteFile(name, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				code, out, errs := run(t, p.bin, "verify", "--state", dir)
				rel, _ := filepath.Rel(filepath.Join(dir, "evidence"), name)
				if code != 1 || out+errs == "" {
					t.Errorf("%s, byte %d: exit %d: %s%s", rel, at, code, out, errs)
				}
				n++
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n < 9 {
		t.Errorf("only %d bytes were changed", n)
	}
	if code, out, errs := run(t, p.bin, "verify", "--state", dir); code != 0 {
		t.Errorf("all put back: %d, %s%s", code, out, errs)
	}
}

// A simulated action leaves evidence that says so, and changes nothing.
func TestEvidence33_SimulationIsMarked(t *testing.T) {
	t.Log("proves: evidence-33")
	p := newPeople(t)
	p.ok(aliceUID, "echo keep > $M/self/home/k")
	doc := "schema: aios.intent.v1alpha1\nreason: try\nmode: SIMULATE\nactions:\n  - id: w\n    action: aiosfs.object.write\n    target: {path: k}\n    params: {content: other}\n  - id: n\n    action: aiosfs.object.mkdir\n    target: {path: new}\n"
	if s := p.drop(aliceUID, "sim", doc); s != "SUCCEEDED" {
		t.Fatal(s, p.ok(aliceUID, "cat $M/intents/sim.d/error.json"))
	}
	if s := p.ok(aliceUID, "cat $M/self/home/k; ls $M/self/home"); s != "keep\nk" {
		t.Errorf("a simulation has changed something: %s", s)
	}
	if plan := p.ok(aliceUID, "cat $M/intents/sim.d/plan"); !strings.Contains(plan, "+other") || !strings.Contains(plan, "-keep") {
		t.Errorf("the plan does not show what would happen: %s", plan)
	}
	_, out, _ := run(t, p.bin, "log", "--mount", p.dir)
	if strings.Contains(out, "EXECUTION_STARTED") {
		t.Errorf("the log shows a simulated execution by default: %s", out)
	}
	if _, out, _ := run(t, p.bin, "log", "--mount", p.dir, "--simulated"); !strings.Contains(out, "EXECUTION_STARTED") {
		t.Errorf("asked for them, the log does not show them: %s", out)
	}
	find := func(where string) string {
		return p.ok(aliceUID, p.bin+` find --mount $M --json 'from evidence where record_type = "EXECUTION_STARTED"`+where+"'")
	}
	if out := find(""); strings.Contains(out, "evr_") {
		t.Errorf("a query gives what was simulated: %s", out)
	}
	if out := find(" and simulated = true"); !strings.Contains(out, "evr_") {
		t.Errorf("asked for it, a query does not give what was simulated: %s", out)
	}
	if s := p.drop(aliceUID, "real", "write \"x\" to real.md"); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	if out := find(""); strings.Count(out, `"receipt_id"`) != 1 {
		t.Errorf("one real execution, and a query gives: %s", out)
	}
	for _, l := range strings.Fields(p.ok(aliceUID, "ls $M/intents/sim.d/evidence")) {
		if rec := p.ok(aliceUID, "cat $M/intents/sim.d/evidence/"+l); !strings.Contains(rec, `"simulated":true`) {
			t.Errorf("%s is not marked: %s", l, rec)
		}
	}
}

// Two people of different groups list the same directories of the log, in turn and again:
// each finds his own records and none of the other's, by no list and by no name, also when
// the kernel has just shown it to the other.
func TestEvidence91_NoRecordLeaksThroughACache(t *testing.T) {
	p := newPeople(t)
	type person struct {
		uid               int
		login, group, gid string
		own, listed       []string
	}
	people := []*person{{uid: 5, login: "games", group: "family"}, {uid: 6, login: "man", group: "homelab"}} // Debian's (base-passwd)
	for _, a := range people {
		if out, err := exec.Command("getent", "passwd", a.login).Output(); err != nil || !strings.HasPrefix(string(out), fmt.Sprintf("%s:x:%d:", a.login, a.uid)) {
			t.Skipf("there is no login %s of uid %d to put into a group", a.login, a.uid)
		}
		p.ok(0, "mkdir $M/groups/"+a.group+" && mkdir $M/groups/"+a.group+"/users/"+a.login)
		a.gid = p.ok(0, "stat -c %g $M/groups/"+a.group)
		out, err := p.inGroup(a.uid, a.gid, `echo 'write "x" to a.md' > $M/intents/g && cat $M/intents/g.d/wait && readlink $M/intents/g.d/evidence/*`)
		if err != nil || !strings.HasPrefix(out, "SUCCEEDED") {
			t.Fatalf("%s: %v %s", a.login, err, out)
		}
		for _, l := range strings.Fields(out)[1:] {
			_, at, _ := strings.Cut(l, "evidence/records/")
			a.own = append(a.own, at)
		}
		if len(a.own) < 5 {
			t.Fatalf("%s has %v", a.login, a.own)
		}
	}
	for round := range 4 {
		for i := range people {
			a, b := people[(i+round)%2], people[(i+round+1)%2]
			out, err := p.inGroup(a.uid, a.gid, "cd $M/evidence/records && ls -d */*/*/*/* && cat */*/*/*/* > /dev/null")
			if err != nil {
				t.Fatalf("%s: %v %s", a.login, err, out)
			}
			if a.listed = strings.Fields(out); len(a.listed) < len(a.own) {
				t.Errorf("%s lists %d records and has caused %d", a.login, len(a.listed), len(a.own))
			}
			for _, at := range a.own {
				if !slices.Contains(a.listed, at) {
					t.Errorf("%s does not find his own %s", a.login, at)
				}
			}
			for _, at := range b.own {
				if slices.Contains(a.listed, at) {
					t.Errorf("round %d: %s lists %s of %s", round, a.login, at, b.login)
				}
			}
			out, _ = p.inGroup(a.uid, a.gid, "cd $M/evidence/records; for f in "+strings.Join(b.own, " ")+"; do stat -c %n $f; cat $f; done 2> /dev/null")
			if out != "" {
				t.Errorf("round %d: %s reaches what is of %s: %s", round, a.login, b.login, out)
			}
		}
	}
	t.Log("proves: evidence-91")
}

// What a person browses is what is there: by-type lists the types that the log has records
// of, each with some, and nothing of the log's own housekeeping is listed. A script that
// knows a type finds its directory all the same.
func TestEvidenceListsWhatIsThere(t *testing.T) {
	p := newPeople(t)
	if s := p.drop(aliceUID, "one", `write "x" to a.md`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	kinds := func() string { return p.ok(0, "ls $M/evidence/by-type") }
	if all := strings.Fields(kinds()); len(all) < 5 || len(all) > 100 || !slices.Contains(all, "EXECUTION_SUCCEEDED") || slices.Contains(all, "AGENT_RETIRED") {
		t.Errorf("by-type lists %v", all)
	}
	if out := p.ok(0, `for d in $M/evidence/by-type/*; do find $d/ -type l | grep -q . || echo $d; done; ls $M/evidence | grep LOCK || true; ls $M/evidence/by-type/AGENT_RETIRED`); out != "" {
		t.Errorf("listed without a record: %s", out)
	}
	if out, err := p.as(0, "ls $M/evidence/by-type/NONE_SUCH"); err == nil {
		t.Errorf("a type that does not exist: %s", out)
	}
	if strings.Contains(kinds(), "ROLLBACK_COMPLETED") {
		t.Error("nothing is rolled back yet")
	}
	p.ok(aliceUID, "echo 1 > $M/intents/one.d/rollback; cat $M/intents/one.d/wait")
	until(t, "a type of which the first record was just made", func() bool { return strings.Contains(kinds(), "ROLLBACK_COMPLETED") })
}
