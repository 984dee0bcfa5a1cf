package mnttests

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted starts the daemon and waits until the mount answers.
func mounted(t testing.TB, bin, state, dir string, flags ...string) *exec.Cmd {
	t.Helper()
	return serving(t, exec.Command(bin, daemonArgs(state, dir, flags...)...), filepath.Join(dir, "README"))
}

// serving starts a daemon and waits for a name that its mount shows.
func serving(t testing.TB, cmd *exec.Cmd, name string) *exec.Cmd {
	t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(name); err == nil {
			return cmd
		}
		if zombie(cmd.Process.Pid) {
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it has said what there is to say
	t.Fatalf("the mount did not come up: %s", said.String())
	return nil
}

// zombie says whether a child has ended and nobody has asked how.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func detach(dir string) {
	if exec.Command("fusermount3", "-uz", dir).Run() != nil {
		_ = exec.Command("umount", "-l", dir).Run() // nothing is mounted: nothing to do
	}
}

// A daemon that is killed at any moment has lost nothing that it acknowledged: goals
// that said SUCCEEDED, files that were synced; goals that were accepted are carried
// out after the restart, and log and store agree.
func TestKilledDaemonKeepsItsWord(t *testing.T) {
	bin := aios(t)
	base := t.TempDir()
	state, dir := filepath.Join(base, "state"), filepath.Join(base, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(dir) })
	rounds := 2
	if os.Getenv("AIOS_LONG") != "" {
		rounds = 150
	}
	want := map[string]string{}
	var plans []string
	for round := range rounds {
		cmd := mounted(t, bin, state, dir)
		for path, text := range want {
			if b, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(b) != text {
				t.Fatalf("round %d: %s: %d bytes, %v; it was acknowledged", round, path, len(b), err)
			}
		}
		for _, name := range plans {
			wholeOrNothing(t, dir, name)
		}
		plans = nil
		for i := range 5 {
			name, text := fmt.Sprintf("g%d-%d", round, i), fmt.Sprintf("text %d of round %d", i, round)
			if err := os.WriteFile(filepath.Join(dir, "intents", name), fmt.Appendf(nil, "write %q to kept/%s.md", text, name), 0o600); err != nil {
				t.Fatal(err)
			}
			path := "self/home/kept/" + name + ".md"
			if i < 4 { // the last one is accepted and may be anywhere when the daemon dies
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				out, err := exec.CommandContext(ctx, "cat", filepath.Join(dir, "intents", name+".d", "wait")).Output()
				cancel()
				if err != nil || strings.TrimSpace(string(out)) != "SUCCEEDED" {
					t.Fatalf("%s: %q, %v", name, out, err)
				}
				want[path] = text
			}
		}
		for i, size := range []int{100, 30_000, 500_000} {
			path, text := fmt.Sprintf("groups/local/shared/f%d-%d", round, i), strings.Repeat("x", size)
			f, err := os.Create(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(text); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			want[path] = text
		}
		for i := range 3 {
			plans = append(plans, fmt.Sprintf("plan%d-%d", round, i))
			if err := os.WriteFile(filepath.Join(dir, "intents", plans[i]), tenWrites(plans[i]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(rand.IntN(15)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		detach(dir)
		for _, args := range [][]string{{"verify", "--state", state}, {"fsck", "--state", state}} {
			if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
				t.Fatalf("round %d: %v: %v\n%s", round, args, err, out)
			}
		}
	}
}

// tenWrites is an atomic plan of ten files.
func tenWrites(name string) []byte {
	doc := []byte("schema: aios.intent.v1alpha1\nreason: all or nothing\nactions:\n")
	for i := range 10 {
		doc = fmt.Appendf(doc, "  - id: w%d\n    action: aiosfs.object.write\n    target: {path: plans/%s/f%d}\n    params: {content: \"%s %d\"}\n", i, name, i, name, i)
	}
	return doc
}

// wholeOrNothing wants an accepted plan to have ended after the restart, with all of its
// files or none, and its state and evidence to say which.
func wholeOrNothing(t *testing.T, dir, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "cat", filepath.Join(dir, "intents", name+".d", "wait")).Output()
	if err != nil {
		t.Fatalf("%s was accepted, and does not end: %v", name, err)
	}
	there := 0
	for i := range 10 {
		if b, err := os.ReadFile(filepath.Join(dir, "self/home/plans", name, fmt.Sprint("f", i))); err == nil && string(b) == fmt.Sprintf("%s %d", name, i) {
			there++
		}
	}
	state := strings.TrimSpace(string(out))
	if want := map[bool]int{true: 10}[state == "SUCCEEDED"]; there != want {
		t.Fatalf("%s: %s, and %d of 10 files are there", name, state, there)
	}
	// The log takes what was committed a moment after it.
	done := -1
	for deadline := time.Now().Add(patience); done != there && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		links, err := os.ReadDir(filepath.Join(dir, "intents", name+".d", "evidence"))
		if err != nil {
			t.Fatal(err)
		}
		done = 0
		for _, l := range links {
			if strings.HasSuffix(l.Name(), "EXECUTION_SUCCEEDED.json") {
				done++
			}
		}
	}
	if done != there {
		t.Fatalf("%s: %s, %d files, %d actions succeeded by the evidence", name, state, there, done)
	}
}
