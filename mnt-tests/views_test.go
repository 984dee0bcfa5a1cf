package mnttests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestViewsFollowTheTreeAndAreSaved(t *testing.T) {
	bin := aios(t)
	base := t.TempDir()
	state, dir := filepath.Join(base, "state"), filepath.Join(base, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(dir) })
	cmd := mounted(t, bin, state, dir)
	shows := func(view, name string, want bool) {
		t.Helper()
		began := time.Now()
		for {
			es, err := os.ReadDir(filepath.Join(dir, "views", view))
			found := false
			for _, e := range es {
				found = found || e.Name() == name
			}
			if found == want && (err == nil || !want && errors.Is(err, syscall.ENOENT)) {
				return
			}
			if time.Since(began) > soon() {
				t.Fatalf("%s: %v %v after %v, want %s there: %v", view, es, err, soon(), name, want)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	file := filepath.Join(dir, "self/home/report_2026.txt")
	if err := os.WriteFile(file, []byte("a walnut tree"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"search/walnut", "search/report", "recent", "kind/FILE", "mime/text/plain", `query/from objects where name contains "report"`} {
		shows(v, "report_2026.txt", true)
	}
	if err := os.WriteFile(file, []byte("a cherry tree"), 0o644); err != nil {
		t.Fatal(err)
	}
	shows("search/cherry", "report_2026.txt", true)
	shows("search/walnut", "report_2026.txt", false)
	if err := os.Rename(file, filepath.Join(dir, "self/home/notes.md")); err != nil {
		t.Fatal(err)
	}
	shows("mime/text/markdown", "notes.md", true)
	shows("mime/text/plain", "report_2026.txt", false)
	shows("search/notes", "notes.md", true)

	// A saved view is made, read, changed, kept over a restart and removed by plain files.
	const q = "from objects where name contains \"notes\"\n"
	define := filepath.Join(dir, "views/define/mine")
	if err := os.WriteFile(define, []byte(q), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(define); err != nil || string(b) != q {
		t.Errorf("define: %q %v", b, err)
	}
	shows("named/mine", "notes.md", true)
	if b, err := os.ReadFile(filepath.Join(dir, "views/named/mine/notes.md")); err != nil || string(b) != "a cherry tree" {
		t.Errorf("through the view: %q %v", b, err)
	}
	if err := os.WriteFile(define, []byte("from objects where colour = \"red\""), 0o644); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a wrong query: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "views/query/.error")); err != nil || !strings.Contains(string(b), "column 20") {
		t.Errorf("its message: %q %v", b, err)
	}
	if os.Geteuid() == 0 {
		other := exec.Command("cat", filepath.Join(dir, "views/query/.error"))
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4321, Gid: 4321}}
		if out, err := other.Output(); err == nil || len(out) > 0 {
			t.Errorf("another user reads the message: %q", out)
		}
	}
	if b, err := os.ReadFile(define); err != nil || string(b) != q {
		t.Errorf("a wrong query replaced the right one: %q %v", b, err)
	}
	if _, err := os.ReadDir(filepath.Join(dir, "views/query/from nowhere")); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a query of no source: %v", err)
	}

	for _, q := range [][]string{{`from objects where under "groups/local/users" and name = "notes.md"`}, {`from objects where mime = "text/markdown"`}, {"cherry", "tree"}} {
		out, err := exec.Command(bin, append([]string{"find", "--mount", dir, "--json"}, q...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `home/notes.md"`) {
			t.Errorf("find %q: %v %s", q, err, out)
		}
	}
	if out, err := exec.Command(bin, "find", "--mount", dir, `from objects where colour = "red"`).CombinedOutput(); err == nil || !strings.Contains(string(out), "column 20") {
		t.Errorf("find: %v %s", err, out)
	}

	// What touches CLASSIFIED things is on record, with all that the reference wants.
	if err := syscall.Setxattr(filepath.Join(dir, "self/home/notes.md"), "user.aios.privacy_class", []byte("CLASSIFIED"), 0); err != nil {
		t.Fatal(err)
	}
	shows("named/mine", "notes.md", true)
	t.Log("proves: F-55")
	out, err := exec.Command("sh", "-c", "cat "+filepath.Join(dir, "evidence/payloads")+"/* 2>/dev/null; find "+filepath.Join(dir, "evidence/payloads")+" -type f -exec cat {} +").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`AIOSFS_QUERY`, `"canonical_dsl"`, `"dsl_hash"`, `"query_id"`, `"privacy_ceiling"`, `"as_of"`, `"intent_id"`, `"translation_id"`, `"row_count"`, `"privacy_filtered_count"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s on record", want)
		}
	}

	if out, err := exec.Command(bin, "umount", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	cmd = mounted(t, bin, state, dir)
	defer func() { _ = cmd.Process.Kill(); _, _ = cmd.Process.Wait() }()
	shows("named/mine", "notes.md", true)
	if err := os.Remove(define); err != nil {
		t.Fatal(err)
	}
	shows("named", "mine", false)
	if _, err := os.Stat(filepath.Join(dir, "self/home/notes.md")); err != nil {
		t.Errorf("the view took the file along: %v", err)
	}
}
