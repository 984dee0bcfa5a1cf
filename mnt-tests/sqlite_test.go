package mnttests

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// database is a SQLite database on a mount, and what its writers were told of it.
type database struct {
	t    *testing.T
	dir  string
	mode string // the pragmas of every connection

	mu    sync.Mutex
	next  int
	acked map[int]bool // committed, by the word of SQLite; all others may be there or not
}

// body is what a row holds: most are small, some fill pages of their own.
func body(id int) string { return strings.Repeat(fmt.Sprint(id, ","), 1+id*id%700) }

func (d *database) name() string { return filepath.Join(d.dir, "t.db") }

// ask runs statements in a connection of their own.
func (d *database) ask(sql string) string {
	d.t.Helper()
	code, out, stderr := runCmd(d.t, exec.Command("sqlite3", "-batch", "-bail", "-cmd", ".timeout 60000", "-cmd", ".output /dev/null", "-cmd", d.mode, "-cmd", ".output", d.name(), sql))
	if code != 0 || stderr != "" {
		d.t.Fatalf("%.80s: exit %d: %s", sql, code, stderr)
	}
	return strings.TrimSpace(out)
}

// dbWriter is a program that commits one row after another until it, or what is below
// it, is killed.
type dbWriter struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (d *database) writer() *dbWriter {
	d.t.Helper()
	// A pipe would not see an answer before the buffer is full.
	cmd := exec.Command("stdbuf", "-oL", "sqlite3", "-batch", "-bail", d.name())
	in, err := cmd.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	w := &dbWriter{cmd, make(chan struct{})}
	go func() {
		defer close(w.done)
		defer in.Close()
		answers := bufio.NewScanner(out)
		if _, err := fmt.Fprintf(in, ".timeout 60000\n%s\n", d.mode); err != nil {
			return
		}
		for {
			d.mu.Lock()
			id := d.next
			d.next++
			d.mu.Unlock()
			if _, err := fmt.Fprintf(in, "begin immediate; insert into t values(%d, '%s'); commit; select 'row %d';\n", id, body(id), id); err != nil {
				return
			}
			want := fmt.Sprint("row ", id)
			for answers.Text() != want {
				if !answers.Scan() {
					return
				}
			}
			d.mu.Lock()
			d.acked[id] = true
			d.mu.Unlock()
		}
	}()
	return w
}

func (d *database) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.acked)
}

// during kills the daemon and gives the rows that had been acknowledged by then. What is
// acknowledged later is no promise: where SQLite cannot open the directory to sync the
// removal of its journal, as when the mount is gone, it calls the commit durable all the
// same (unixDelete), and the journal may be there again and take it back.
func (d *database) during(kill func() error) map[int]bool {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	promised := maps.Clone(d.acked)
	if err := kill(); err != nil {
		d.t.Fatal(err)
	}
	return promised
}

func (w *dbWriter) kill() {
	_ = w.cmd.Process.Kill() // it may have ended by itself
	<-w.done
	_ = w.cmd.Wait()
}

// check wants a sound database with every row that was acknowledged, and none that
// nobody wrote.
func (d *database) check() {
	d.t.Helper()
	if s := d.ask("pragma integrity_check"); s != "ok" {
		d.t.Fatalf("integrity_check: %s", s)
	}
	there := map[int]bool{}
	for line := range strings.Lines(d.ask("select id, body from t") + "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, text, _ := strings.Cut(line, "|")
		id, err := strconv.Atoi(key)
		if err != nil || id >= d.next || text != body(id) {
			d.t.Fatalf("a row that nobody wrote: %.80s", line)
		}
		there[id] = true
	}
	for id := range d.acked {
		if !there[id] {
			d.t.Fatalf("row %d was committed, and is gone; %d are there", id, len(there))
		}
	}
}

// Programs commit to a database on the mount, and the daemon or one of them is killed at
// any moment. Whatever SQLite has called committed is there afterwards, in a sound
// database, and the many syncs of it leave a short history (contract §3: a version at the
// last close, and one in version_interval).
func TestDatabaseUnderKill(t *testing.T) {
	for _, name := range []string{"sqlite3", "stdbuf"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is missing", name)
		}
	}
	for name, mode := range map[string]string{
		"write-ahead log": "pragma journal_mode=wal; pragma synchronous=full; pragma wal_autocheckpoint=30;",
		// Only with extra is a commit durable here, on any disk: full leaves the removal of the journal to luck.
		"rollback journal": "pragma journal_mode=delete; pragma synchronous=extra;",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killedDatabase(t, mode)
		})
	}
}

func killedDatabase(t *testing.T, mode string) {
	p := newPlace(t)
	rounds := 3
	if os.Getenv("AIOS_LONG") != "" {
		rounds = 80
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, seed))
	d := &database{t: t, dir: filepath.Join(p.dir, "groups/local/shared"), mode: mode, acked: map[int]bool{}}
	daemon := mounted(t, p.bin, p.state, p.dir)
	t.Cleanup(func() { _ = daemon.Process.Kill() })
	d.ask("create table t(id integer primary key, body text)")
	began := time.Now()
	for round := range rounds {
		writers := []*dbWriter{d.writer(), d.writer(), d.writer()}
		var promised map[int]bool
		enough := d.count() + 10 + rng.IntN(60)
		until(t, "rows are committed", func() bool { return d.count() >= enough })
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond) // somewhere in a commit
		if round%3 == 1 {
			writers[0].kill() // the others have to recover its work, and go on
			enough = d.count() + 20
			until(t, "rows are committed after a writer was killed", func() bool { return d.count() >= enough })
		} else {
			promised = d.during(daemon.Process.Kill)
			_ = daemon.Wait() // it was killed
		}
		if rng.IntN(2) == 0 { // else they are still there when the next daemon comes
			for _, w := range writers {
				w.kill()
			}
		}
		if round%3 != 1 {
			detach(p.dir)
			daemon = mounted(t, p.bin, p.state, p.dir)
		}
		for _, w := range writers {
			w.kill()
		}
		if promised != nil {
			d.acked = promised
		}
		d.check()
	}
	versions, err := os.ReadDir(filepath.Join(d.dir, ".versions", "t.db"))
	// Once an interval; and each round is ended by the last writer's close, followed by
	// one of the check, and a restart keeps what was open as it was synced.
	if most := 4*rounds + 4 + int(time.Since(began)/(30*time.Second)); err != nil || len(versions) == 0 || len(versions) > most {
		t.Errorf("%d commits have left %d versions, want at most %d: %v", d.count(), len(versions), most, err)
	}
	t.Logf("%d commits in %d rounds, %d versions", d.count(), rounds, len(versions))
	stopMount(t, p, daemon)
	for _, args := range [][]string{{"verify", "--state", p.state}, {"fsck", "--state", p.state}} {
		if code, out, stderr := run(t, p.bin, args...); code != 0 {
			t.Errorf("%s: %d %s%s", args[0], code, out, stderr)
		}
	}
}
