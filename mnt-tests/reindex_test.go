package mnttests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The search index holds nothing of its own: made anew from the store, mounted or not,
// after a reindex or after the directory was removed, views are what they were.
func TestF67_IndexIsMadeAnewFromTheStore(t *testing.T) {
	t.Log("proves: F-67")
	bin := aios(t)
	base := t.TempDir()
	state, dir := filepath.Join(base, "state"), filepath.Join(base, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(dir) })
	list := func(view string) []string {
		t.Helper()
		es, err := os.ReadDir(filepath.Join(dir, view))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range es {
			to, err := os.Readlink(filepath.Join(dir, view, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, e.Name()+" -> "+to)
		}
		return out
	}
	views := []string{"views/search/walnut", "views/search/notes", "views/search/blue green", "views/kind/FILE"}
	want := map[string][]string{}
	same := func(when string) {
		t.Helper()
		for _, v := range views {
			began := time.Now()
			for !slices.Equal(list(v), want[v]) { // a start catches up in the background
				if time.Since(began) > soon() {
					t.Fatalf("%s: %s: %q, want %q", when, v, list(v), want[v])
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
	start := func() func() {
		t.Helper()
		cmd := mounted(t, bin, state, dir)
		return func() {
			t.Helper()
			if out, err := exec.Command(bin, "umount", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
	reindex := func() {
		t.Helper()
		out, err := exec.Command(bin, "reindex", "--state", state, "--mount", dir).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "searchable") {
			t.Fatalf("%v %s", err, out)
		}
	}
	stop := start()
	for name, text := range map[string]string{"notes-1.txt": "walnut", "notes-2.md": "a walnut tree", "letter": "blue sky, green grass", "empty": ""} {
		if err := os.WriteFile(filepath.Join(dir, "self/home", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for len(list(views[0])) != 2 || len(list(views[1])) != 2 || len(list(views[2])) != 1 {
		if time.Since(began) > soon() {
			t.Fatalf("not fresh: %q", list(views[0]))
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, v := range views {
		want[v] = list(v)
	}
	if err := os.Remove(filepath.Join(dir, "self/home/notes-2.md")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "self/home/notes-2.md"), []byte("a walnut tree"), 0o644); err != nil {
		t.Fatal(err)
	}
	same("after a replacement")
	reindex()
	same("made anew under the mount")
	stop()

	reindex()
	stop = start()
	same("made anew while stopped")
	stop()

	if err := os.RemoveAll(filepath.Join(state, "index")); err != nil {
		t.Fatal(err)
	}
	stop = start()
	same("after the index was removed")
	stop()
}
