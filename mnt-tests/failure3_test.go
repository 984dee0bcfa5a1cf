package mnttests

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// gitServer serves the repositories below a directory once it is opened; until then it
// takes connections and answers nothing.
func gitServer(t *testing.T, base string) (addr string, open func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving atomic.Bool
	var all sync.WaitGroup
	var mu sync.Mutex
	var held []net.Conn
	all.Add(1)
	go func() {
		defer all.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			held = append(held, c)
			mu.Unlock()
			if !serving.Load() {
				continue
			}
			all.Add(1)
			go func() {
				defer all.Done()
				defer c.Close()
				cmd := exec.Command("git", "daemon", "--inetd", "--export-all", "--base-path="+base, base)
				cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+base, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
				cmd.Stdin, cmd.Stdout = io.Reader(c), io.Writer(c)
				_ = cmd.Run() // what became of it the clone says
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range held {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String(), func() { serving.Store(true) }
}

// Failure 3: the daemon dies while a plan is carried out, before its commit. The plan
// has failed then, with a word on the crash; nothing of it stands in the tree, in the
// history or on the disk; its key is spent, and with a new one it is a new action that
// succeeds.
func TestF96_CrashBeforeTheCommit(t *testing.T) {
	p := newPeople(t)
	base := p.path("git")
	for _, args := range [][]string{{"init", "-q", base + "/src"}, {"-C", base + "/src", "-c", "user.name=a", "-c", "user.email=a@example.invalid", "commit", "-q", "--allow-empty", "-m", "first"}} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	addr, open := gitServer(t, base)
	// The content of a file that is never committed (what it is copied from is: a crash may take
	// what nobody synced), and the clone that does not come to
	// its end; both are one transaction.
	p.ok(aliceUID, "ls $M/self/ >/dev/null; head -c 3000000 /dev/urandom > $M/self/home/big; sync $M/self/home/big")
	doc := func(key string) string {
		return intent("both", "id: copy\naction: aiosfs.object.copy\ntarget: {path: big}\nparams: {to: copied}") +
			fmt.Sprintf("\n  - id: clone\n    action: repo.clone\n    target: {path: cloned}\n    params: {url: 'git://%s/src'}\n    after: [copy]\nidempotency_key: %s", addr, key)
	}
	grant := func(name string) {
		hash := p.asking(aliceUID, name, doc(name[:1]))
		if err := p.give(bobUID, "grant "+hash); err != nil {
			t.Fatal(err)
		}
	}
	grant("a")
	until(t, "the clone is under way", func() bool { return len(speaking("git://"+addr)) > 0 })
	first := p.ok(aliceUID, "ls $M/intents/a.d/actions")
	if err := p.daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.daemon.Wait()
	detach(p.dir)
	until(t, "its programs end with it", func() bool { return len(speaking("git://"+addr)) == 0 })
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	if s := p.ok(aliceUID, "cat $M/intents/a.d/wait"); s != "FAILED" && s != "ROLLED_BACK" {
		t.Fatal(s)
	}
	if e := p.ok(aliceUID, "cat $M/intents/a.d/error.json"); !strings.Contains(e, "ADAPTER_PANIC") || !strings.Contains(e, `"crash_recovery_observed": true`) || !strings.Contains(e, `"retryable": true`) {
		t.Error(e)
	}
	if out := p.ok(aliceUID, "ls $M/self/home"); out != "big" {
		t.Errorf("in the tree: %s", out)
	}
	for _, act := range strings.Fields(first) {
		out := p.ok(aliceUID, p.bin+` find --mount $M --json 'from transactions where action_id = "`+act+`"'`)
		if strings.Contains(out, "COMMITTED") {
			t.Errorf("%s: %s", act, out)
		}
	}
	// The key leads to the first run, as it is; nothing runs.
	p.ok(aliceUID, "cat > $M/intents/again <<'EOF_DOC'\n"+doc("a")+"\nEOF_DOC\ncat $M/intents/again.d/wait")
	if again := p.ok(aliceUID, "ls $M/intents/again.d/actions"); again != first {
		t.Errorf("the same key: %s, and was %s", again, first)
	}
	// On the disk nothing is left over that a collection would have to find.
	unmount := exec.Command(p.bin, "umount", p.dir)
	if out, err := unmount.CombinedOutput(); err != nil {
		t.Fatalf("umount: %v %s", err, out)
	}
	_ = p.daemon.Wait()
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state); code != 0 {
		t.Errorf("fsck: %d %s%s", code, out, errs)
	}
	if code, out, errs := run(t, p.bin, "gc", "--state", p.state); code != 0 || !strings.Contains(out, "0 chunks") {
		t.Errorf("gc: %d %s%s", code, out, errs)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(p.state, &st); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(fmt.Sprintf("/var/tmp/aios-scratch-%x-%x*", st.Dev, st.Ino)); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	open()
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	grant("b")
	if s := p.ok(aliceUID, "cat $M/intents/b.d/wait"); s != "SUCCEEDED" {
		t.Fatalf("with a new key: %s: %s", s, p.ok(aliceUID, "cat $M/intents/b.d/error.json"))
	}
	second := p.ok(aliceUID, "ls $M/intents/b.d/actions")
	if slices.ContainsFunc(strings.Fields(second), func(a string) bool { return strings.Contains(first, a) }) {
		t.Errorf("with a new key it is %s, and was %s", second, first)
	}
	p.ok(aliceUID, "cmp $M/self/home/big $M/self/home/copied && git -c safe.directory='*' -C $M/self/home/cloned log --oneline | grep -q first")
	t.Log("proves: F-96")
}
