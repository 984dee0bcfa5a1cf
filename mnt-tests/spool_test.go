package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// spooled mounts with a spool directory that everybody may write to.
func spooled(t *testing.T) (bin, spool, dir string, start func() *exec.Cmd) {
	t.Helper()
	bin = aios(t)
	base := t.TempDir()
	for p := base; p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil { // other users come this way
			t.Fatal(err)
		}
	}
	spool, dir = filepath.Join(base, "spool"), filepath.Join(base, "mnt")
	for _, d := range []string{spool, dir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(spool, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AIOS_SPOOL", spool)
	t.Cleanup(func() { detach(dir) })
	return bin, spool, dir, func() *exec.Cmd {
		cmd := mounted(t, bin, filepath.Join(base, "state"), dir)
		t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() })
		return cmd
	}
}

func drop(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answered waits until a file of an answer has the text.
func answered(t *testing.T, file, want string) {
	t.Helper()
	var b []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		b, _ = os.ReadFile(file)
		if strings.Contains(string(b), want) {
			return
		}
	}
	t.Fatalf("%s: %q, want %q", file, b, want)
}

func TestSpoolTakesWhatIsCompleteAndAnswersBesideIt(t *testing.T) {
	_, spool, dir, start := spooled(t)
	drop(t, filepath.Join(spool, "early"), `write "before" to early.md`)
	start()
	answered(t, filepath.Join(spool, "early.d", "state"), "SUCCEEDED")

	// One that is still being written stays, however long its writer pauses.
	half, err := os.Create(filepath.Join(spool, "slow"))
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if _, err := half.WriteString(`write "one`); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	if _, err := os.Stat(filepath.Join(spool, "slow.d")); !os.IsNotExist(err) {
		t.Fatalf("half a document was taken: %v", err)
	}
	if _, err := half.WriteString(` two" to slow.md`); err != nil {
		t.Fatal(err)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	answered(t, filepath.Join(spool, "slow.d", "state"), "SUCCEEDED")
	if _, err := os.Stat(filepath.Join(spool, "slow.d", "result.json")); err != nil {
		t.Errorf("the state came before the result: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "self/home/slow.md")); err != nil || strings.TrimSpace(string(b)) != "one two" {
		t.Errorf("%q %v", b, err)
	}

	// Renamed in; a name again; temporary names.
	drop(t, filepath.Join(spool, ".new.yaml"), "schema: aios.intent.v1alpha1\nreason: test\nactions:\n  - id: w\n    action: aiosfs.object.write\n    target: {path: typed.md}\n    params: {content: typed}\n")
	if err := os.Rename(filepath.Join(spool, ".new.yaml"), filepath.Join(spool, "new.yaml")); err != nil {
		t.Fatal(err)
	}
	answered(t, filepath.Join(spool, "new.yaml.d", "state"), "SUCCEEDED")
	drop(t, filepath.Join(spool, "early"), `write "again" to early.md`)
	answered(t, filepath.Join(spool, "early.d", "plan"), "again")
	answered(t, filepath.Join(spool, "early.d", "state"), "SUCCEEDED")
	if earlier, _ := filepath.Glob(filepath.Join(spool, "early.*.d", "state")); len(earlier) != 1 {
		t.Errorf("the first answer is not kept: %q", earlier)
	}
	if b, err := os.ReadFile(filepath.Join(spool, "early.d", "document")); err != nil || string(b) != `write "again" to early.md` {
		t.Errorf("document: %q %v", b, err)
	}

	// One that is asked back says what; the answer is given in the mount.
	drop(t, filepath.Join(spool, "vague"), "delete it")
	answered(t, filepath.Join(spool, "vague.d", "state"), "NEEDS_CLARIFICATION")
	if q, err := os.ReadFile(filepath.Join(spool, "vague.d", "question")); err != nil || len(q) == 0 {
		t.Errorf("question: %q %v", q, err)
	}

	// Bad ones.
	drop(t, filepath.Join(spool, "bad.yaml"), "schema: aios.intent.v1alpha1\nreason: test\nactionz: []\n")
	answered(t, filepath.Join(spool, "bad.yaml.d", "state"), "REFUSED")
	answered(t, filepath.Join(spool, "bad.yaml.d", "error.json"), `"line": 3`)
	drop(t, filepath.Join(spool, "huge"), strings.Repeat("a", 2<<20))
	answered(t, filepath.Join(spool, "huge.d", "error.json"), "at most")
	if err := os.Symlink("/etc/passwd", filepath.Join(spool, "link")); err != nil {
		t.Fatal(err)
	}
	answered(t, filepath.Join(spool, "link.d", "error.json"), "not a regular file")
	left, err := os.ReadDir(spool)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !e.IsDir() && e.Name() != "link" {
			t.Errorf("left lying: %s", e.Name())
		}
	}
}

func TestSpoolSpeaksForTheOwnerOfAFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: drops as another user")
	}
	bin, spool, dir, start := spooled(t)
	start()
	as := func(uid uint32, script string) {
		t.Helper()
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = spool
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", script, err, out)
		}
	}
	as(4321, `echo 'write "mine" to mine.md' > hers`)
	answered(t, filepath.Join(spool, "hers.d", "state"), "SUCCEEDED")
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "groups/local/users/uid-4321/home/mine.md"), &st); err != nil || st.Uid != 4321 {
		t.Errorf("uid %d, %v", st.Uid, err)
	}
	// The answer is hers, nobody else's; and she can clear it away.
	if err := syscall.Stat(filepath.Join(spool, "hers.d"), &st); err != nil || st.Uid != 4321 || st.Mode&0o7777 != 0o700 {
		t.Errorf("answer: uid %d mode %o, %v", st.Uid, st.Mode, err)
	}
	as(4321, `rm -r hers.d`)
	// What another made under the answer's name is not followed, and not written into.
	as(4322, `mkdir -m 777 x.d && ln -s /etc/passwd x.d/state`)
	as(4321, `echo 'write "x" to x.md' > x`)
	var found []string
	until(t, "an answer under another name", func() bool {
		found, _ = filepath.Glob(filepath.Join(spool, "x-*.d", "state")) // the pattern is a good one
		return len(found) == 1
	})
	answered(t, found[0], "SUCCEEDED")
	if names, _ := os.ReadDir(filepath.Join(spool, "x.d")); len(names) != 1 {
		t.Errorf("written into another's directory: %v", names)
	}
	// Policy answers her as it would in the mount.
	as(4321, `printf 'schema: aios.intent.v1alpha1\nreason: test\nactions:\n  - id: g\n    action: group.create\n    target: {group: hers}\n' > g.yaml`)
	answered(t, filepath.Join(spool, "g.yaml.d", "state"), "POLICY_DENIED")

	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "mount", "--state", filepath.Join(t.TempDir(), "s"), "--spool", open, t.TempDir()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "sticky") {
		t.Errorf("a spool without the sticky bit: %v %s", err, out)
	}
}

// Each goal that was dropped is carried out exactly once, whenever the daemon dies.
func TestSpoolTakesEachGoalOnceAcrossKills(t *testing.T) {
	_, spool, dir, start := spooled(t)
	want := map[string]int{}
	rounds := 6
	for round := range rounds {
		cmd := start()
		for i := range 8 {
			line := fmt.Sprintf("line-%d-%d", round, i)
			tmp := filepath.Join(spool, ".tmp")
			drop(t, tmp, fmt.Sprintf("schema: aios.intent.v1alpha1\nreason: test\nactions:\n  - id: a\n    action: aiosfs.object.append\n    target: {path: log-%d-%d.txt}\n    params: {content: %q}\n", round, i, line+"\n"))
			if err := os.Rename(tmp, filepath.Join(spool, line+".yaml")); err != nil {
				t.Fatal(err)
			}
			want[line] = 1
		}
		time.Sleep(time.Duration(round*23) * time.Millisecond) // somewhere in the middle of it
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = cmd.Process.Wait()
		detach(dir)
	}
	start()
	for line := range want {
		answered(t, filepath.Join(spool, line+".yaml.d", "state"), "SUCCEEDED")
	}
	for line := range want {
		b, err := os.ReadFile(filepath.Join(dir, "self/home", strings.Replace(line, "line", "log", 1)+".txt"))
		if err != nil || string(b) != line+"\n" {
			t.Errorf("%s: %q %v", line, b, err)
		}
	}
	runs, err := filepath.Glob(filepath.Join(dir, "intents", "line-*.yaml"))
	if err != nil || len(runs) != len(want) {
		t.Errorf("%d runs of %d goals, %v", len(runs), len(want), err)
	}
}
