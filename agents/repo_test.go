package agents

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	"github.com/ai-os-dot-net/aios/agents/adapter/repo"
	"github.com/ai-os-dot-net/aios/objects"
)

func TestMain(m *testing.M) {
	Main(placed{}, &slow{})
	// git in the tests' own shells does not ask what this machine's people like.
	for name, value := range map[string]string{"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// gitMachine is a machine with the repo adapter, and a repository to clone.
func gitMachine(t *testing.T) (m *machine, src string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("git runs as the submitter, here another user: needs root")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is needed: apt-get install git")
	}
	m = newMachine(t)
	m.stop()
	m.useGit()
	m.start()
	base, err := os.MkdirTemp("", "aios-test-source-") // readable for alice, as t.TempDir is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	src = filepath.Join(base, "src")
	shell(t, base, `git init -q -b main src && cd src && git config user.email a@b && git config user.name n &&
		echo hello > f && mkdir d && echo x > d/x && chmod +x d/x && ln -s f l && head -c 200000 /dev/urandom > large && git add -A && git commit -qm one`)
	return m, src
}

func (m *machine) useGit() {
	m.t.Helper()
	scratch, err := Scratch(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { os.RemoveAll(scratch) })
	m.scratch = scratch
	m.over = func(s *objects.Store) adapter.Adapter { return repo.New(s, scratch) }
}

func shell(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// approved drops a goal of alice's, lets bob approve what it asks for, and waits.
func (m *machine) approved(name, doc string) string {
	m.t.Helper()
	if err := m.rt.Submit(m.t.Context(), m.who(aliceUID), name, []byte(doc)); err != nil {
		m.t.Fatal(err)
	}
	m.approveAll()
	return m.wait(m.who(aliceUID), name)
}

// approveAll lets bob grant everything that waits for him.
func (m *machine) approveAll() {
	m.t.Helper()
	bob := m.who(bobUID)
	for in := m.waiting(bob); len(in) > 0; in = m.rt.Inbox(bob) {
		for line := range strings.Lines(m.read(bob, in[0].ID, "approval")) {
			if hash, ok := strings.CutPrefix(line, "hash: "); ok {
				if err := m.rt.Write(m.t.Context(), bob, in[0].ID, "approval", []byte("grant "+hash)); err != nil {
					m.t.Fatal(err)
				}
			}
		}
	}
}

// treeSum is a digest of everything in the tree: names, modes, owners, times, contents.
func (m *machine) treeSum() string {
	m.t.Helper()
	h := blake3.New()
	var visit func(ino objects.Ino, p string)
	visit = func(ino objects.Ino, p string) {
		a, err := m.store.GetAttr(ino)
		if err != nil {
			m.t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %o %d %d %d %d %d %s\n", p, a.Mode, a.UID, a.GID, a.Nlink, a.Size, a.Mtime.UnixNano(), a.Version)
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFDIR:
			d, err := m.store.OpenDir(ino)
			if err != nil {
				m.t.Fatal(err)
			}
			defer d.Close()
			for _, e := range d.From(0) {
				if e.Name != "." && e.Name != ".." {
					visit(e.Ino, p+"/"+e.Name)
				}
			}
		case syscall.S_IFREG:
			f, err := aiosfs.OpenFile(m.store, ino)
			if err != nil {
				m.t.Fatal(err)
			}
			if _, err := io.Copy(h, f); err != nil {
				m.t.Fatal(err)
			}
			f.Close()
		}
	}
	visit(objects.RootIno, "")
	return fmt.Sprintf("%x", h.Sum(nil))
}

func (m *machine) noScratch() {
	m.t.Helper()
	if l, err := os.ReadDir(m.scratch); err != nil || len(l) > 0 {
		m.t.Errorf("scratch is left: %v, %v", l, err)
	}
}

func cloneDoc(url, path string) string {
	return fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"need it","actions":[{"id":"c","action":"repo.clone","target":{"path":%q},"params":{"url":%q},"verify":[{"type":"repo.exists","args":{"path_or_object":%q}},{"type":"repo.clean","args":{"path_or_object":%q}}]}]}`, path, url, path, path)
}

func TestCloneAndFetch(t *testing.T) {
	m, src := gitMachine(t)
	alice := m.who(aliceUID)
	if s := m.approved("c.json", cloneDoc("file://"+src, "src/a")); s != "SUCCEEDED" {
		t.Fatal(s, m.read(alice, "c.json", "error.json"))
	}
	const home = "groups/family/users/alice/home/"
	if text, _ := m.file(home + "src/a/f"); text != "hello\n" {
		t.Errorf("f says %q", text)
	}
	x, err := m.store.Resolve(home + "src/a/d/x")
	if err != nil || x.Mode&0o777 != 0o755 || x.UID != aliceUID {
		t.Errorf("d/x: %+v, %v", x, err)
	}
	if s := m.approved("again.json", cloneDoc("file://"+src, "src/a")); s != "FAILED" || !strings.Contains(m.read(alice, "again.json", "error.json"), "aiosfs.Exists") {
		t.Errorf("a second clone to the same place: %s, %s", s, m.read(alice, "again.json", "error.json"))
	}
	// A clone of the clone in the tree, by its path in the tree.
	if s := m.approved("b.json", cloneDoc("/aios/groups/family/users/alice/home/src/a", "src/b")); s != "SUCCEEDED" {
		t.Fatal(s, m.read(alice, "b.json", "error.json"))
	}
	shell(t, src, "echo more >> f && git commit -qam two && git rev-parse HEAD")
	head := strings.TrimSpace(shell(t, src, "git rev-parse HEAD"))
	fetch := `{"schema":"aios.intent.v1alpha1","reason":"news","actions":[{"id":"f","action":"repo.fetch","target":{"path":"src/a"}}]}`
	if s := m.approved("f.json", fetch); s != "SUCCEEDED" {
		t.Fatal(s, m.read(alice, "f.json", "error.json"))
	}
	if rev, _ := m.file(home + "src/a/.git/refs/remotes/origin/main"); strings.TrimSpace(rev) != head {
		t.Errorf("origin/main is %q, want %s", rev, head)
	}
	if text, _ := m.file(home + "src/a/f"); text != "hello\n" {
		t.Errorf("a fetch has changed the work tree: %q", text)
	}
	m.noScratch()
}

// The probes look for themselves: a repository that is dirty, or none, does not pass.
func TestRepoProbesCanFail(t *testing.T) {
	m, src := gitMachine(t)
	alice := m.who(aliceUID)
	if s := m.approved("c.json", cloneDoc("file://"+src, "a")); s != "SUCCEEDED" {
		t.Fatal(s, m.read(alice, "c.json", "error.json"))
	}
	write := func(name, probe, want string) {
		t.Helper()
		doc := fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"look","actions":[{"id":"w","action":"aiosfs.object.write","target":{"path":"a/%s"},"params":{"content":"new"},"verify":[{"type":%q,"args":{"path_or_object":"a"}}]}]}`, name, probe)
		if s := m.drop(alice, name+".json", doc); s != want {
			t.Errorf("%s after writing %s: %s, want %s", probe, name, s, want)
		}
	}
	write("g", "repo.exists", "SUCCEEDED")
	write("h", "repo.clean", "ROLLED_BACK")
	doc := `{"schema":"aios.intent.v1alpha1","reason":"look","actions":[{"id":"w","action":"aiosfs.object.mkdir","target":{"path":"none"},"verify":[{"type":"repo.exists","args":{"path_or_object":"none"}}]}]}`
	if s := m.drop(alice, "none.json", doc); s != "ROLLED_BACK" {
		t.Errorf("a directory passes for a repository: %s", s)
	}
}

func TestRefusedSources(t *testing.T) {
	m, src := gitMachine(t)
	alice := m.who(aliceUID)
	secret := "hunter2-long-password"
	for i, c := range []struct{ url, code string }{
		{"--upload-pack=/bin/sh", "repo.SourceRefused"},
		{"ext::sh -c id", "repo.SourceRefused"},
		{"ssh://host/x", "repo.SourceRefused"},
		{"https://me:" + secret + "@host.example/x.git", "repo.SourceRefused"},
		{"file://" + src + "/nothing", "repo.SourceRefused"},
		{"file://" + filepath.Dir(src), "repo.GitFailed"},
		{"relative/path", "repo.SourceRefused"},
	} {
		name := fmt.Sprintf("r%d.json", i)
		before := m.treeSum()
		err := m.rt.Submit(t.Context(), alice, name, []byte(cloneDoc(c.url, "r")))
		if err != nil { // refused where the document is read
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells the password", c.url)
			}
			continue
		}
		m.approveAll()
		s := m.wait(alice, name)
		e := m.read(alice, name, "error.json")
		if s == "SUCCEEDED" || strings.Contains(e, secret) {
			t.Errorf("%s: %s: %s", c.url, s, e)
		}
		if s == "FAILED" && !strings.Contains(e, c.code) {
			t.Errorf("%s: want %s: %s", c.url, c.code, e)
		}
		if m.treeSum() != before {
			t.Errorf("%s: the tree has changed", c.url)
		}
	}
	m.noScratch()
}

// twoClonesTenWrites is a plan of two clones and ten writes; the last of them fails with
// the verification that is given.
func twoClonesTenWrites(src, verify string) string {
	var b strings.Builder
	b.WriteString(`{"schema":"aios.intent.v1alpha1","reason":"all or nothing","actions":[`)
	for _, n := range []string{"one", "two"} {
		fmt.Fprintf(&b, `{"id":"clone-%s","action":"repo.clone","target":{"path":"job/%s"},"params":{"url":"file://%s"}},`, n, n, src)
	}
	for i := range 10 {
		fmt.Fprintf(&b, `{"id":"w%d","action":"aiosfs.object.write","target":{"path":"job/f%d"},"params":{"content":"number %d"}%s}`, i, i, i, map[bool]string{true: verify}[i == 9])
		if i < 9 {
			b.WriteString(",")
		}
	}
	return b.String() + `]}`
}

func TestPlanOfClonesAndWritesIsAllOrNothing(t *testing.T) {
	m, src := gitMachine(t)
	alice := m.who(aliceUID)
	before := m.treeSum()
	bad := twoClonesTenWrites(src, `,"verify":[{"type":"file.exists","args":{"path":"job/never"}}]`)
	if s := m.approved("bad.json", bad); s != "ROLLED_BACK" {
		t.Fatal(s, m.read(alice, "bad.json", "error.json"))
	}
	if m.treeSum() != before {
		t.Error("the tree is not byte for byte as before")
	}
	if s := m.approved("late.json", twoClonesTenWrites(src+"/none", "")); s == "SUCCEEDED" {
		t.Error("a clone of nothing succeeded")
	}
	if m.treeSum() != before {
		t.Error("the tree has changed though a clone failed")
	}
	if s := m.approved("good.json", twoClonesTenWrites(src, "")); s != "SUCCEEDED" {
		t.Fatal(s, m.read(alice, "good.json", "error.json"))
	}
	for _, p := range []string{"one/f", "two/large", "f9"} {
		if _, ok := m.file("groups/family/users/alice/home/job/" + p); !ok {
			t.Errorf("%s is missing", p)
		}
	}
	m.noScratch()
}

// The runtime stops at each step of such a plan; after the restart it is all or nothing,
// and the state says which.
func TestPlanOfClonesStoppedAnywhere(t *testing.T) {
	m, src := gitMachine(t)
	alice := m.who(aliceUID)
	before := m.treeSum()
	for i, point := range []string{"executing", "prepared", "commit", "executed", "verify"} {
		m.stop()
		reached := make(chan struct{}, 8)
		m.fail = func(p string) error {
			if p == point {
				reached <- struct{}{}
				return errors.New("the power went")
			}
			return nil
		}
		m.useGit()
		m.start()
		name := fmt.Sprintf("p%d.json", i)
		doc := strings.ReplaceAll(twoClonesTenWrites(src, ""), "job/", fmt.Sprintf("job%d/", i))
		if err := m.rt.Submit(t.Context(), alice, name, []byte(doc)); err != nil {
			t.Fatal(err)
		}
		m.approveAll()
		<-reached
		m.stop()
		m.fail = nil
		m.useGit()
		m.start()
		s := m.wait(alice, name)
		after := m.treeSum()
		switch s {
		case "SUCCEEDED":
			for _, p := range []string{"one/f", "two/large", "f9"} {
				if _, ok := m.file(fmt.Sprintf("groups/family/users/alice/home/job%d/%s", i, p)); !ok {
					t.Errorf("stopped at %s: %s, and %s is missing", point, s, p)
				}
			}
		case "FAILED", "ROLLED_BACK":
			if after != before {
				t.Errorf("stopped at %s: %s, and the tree has changed", point, s)
			}
		default:
			t.Errorf("stopped at %s: %s", point, s)
		}
		t.Logf("stopped at %s: %s", point, s)
		before = after
		m.noScratch()
	}
}

// A repository whose configuration wants to start programs gets them started inside the
// walls, if at all: nothing outside changes.
func TestHostileRepositoryStaysInside(t *testing.T) {
	m, src := gitMachine(t)
	alice := m.who(aliceUID)
	if s := m.approved("c.json", cloneDoc("file://"+src, "a")); s != "SUCCEEDED" {
		t.Fatal(s, m.read(alice, "c.json", "error.json"))
	}
	mark := filepath.Join(filepath.Dir(src), "mark")
	outside := filepath.Dir(src)
	if err := os.Chmod(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	evil := "#!/bin/sh\ntouch " + mark + "\ncat\n"
	if err := os.WriteFile(filepath.Join(outside, "evil"), []byte(evil), 0o755); err != nil {
		t.Fatal(err)
	}
	config, _ := m.file("groups/family/users/alice/home/a/.git/config")
	config += fmt.Sprintf("[filter \"evil\"]\n\tclean = touch %s; cat\n\tsmudge = touch %s; cat\n[core]\n\tfsmonitor = %s/evil\n\thooksPath = %s\n[url \"ext::touch %s\"]\n\tinsteadOf = never:\n", mark, mark, outside, outside, mark)
	doc := fmt.Sprintf(`{"schema":"aios.intent.v1alpha1","reason":"set up","actions":[
		{"id":"a","action":"aiosfs.object.write","target":{"path":"a/.git/config"},"params":{"content":%q}},
		{"id":"b","action":"aiosfs.object.write","target":{"path":"a/.gitattributes"},"params":{"content":"* filter=evil\n"}},
		{"id":"c","action":"aiosfs.object.write","target":{"path":"a/f"},"params":{"content":"other\n"},"verify":[{"type":"repo.clean","args":{"path_or_object":"a"}}]}]}`, config)
	s := m.drop(alice, "evil.json", doc)
	if s != "ROLLED_BACK" && s != "FAILED" {
		t.Errorf("a changed work tree is clean: %s", s)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a program of the repository's has written outside")
	}
	m.noScratch()
}
