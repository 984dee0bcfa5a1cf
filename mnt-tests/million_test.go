package mnttests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Bounds for a million files on two cores: what the daemon may take at any moment, and how
// long it may take to start after a stop, and after it was killed.
const (
	maxMiB       = 1024
	maxStartMany = 3 * time.Second
	maxStartDead = 10 * time.Second
)

// perDirectory is how many of the files lie in one directory; wordEvery is which of them
// have the same word.
const (
	perDirectory = 1000
	wordEvery    = 997
)

// multitude is a mount with very many files.
type multitude struct {
	t      *testing.T
	p      place
	daemon *exec.Cmd
	files  int
}

func (m *multitude) share() string { return filepath.Join(m.p.dir, "groups/local/shared") }

func (m *multitude) path(i int) string {
	return filepath.Join(m.share(), fmt.Sprintf("tree/d%04d/f%07d.txt", i/perDirectory, i))
}

// content is 1 KiB that no other file has.
func (m *multitude) content(i int) []byte {
	b := fmt.Appendf(make([]byte, 0, 1100), "file %d about walnut%d\n", i, i%wordEvery)
	for len(b) < 1024 {
		b = fmt.Appendf(b, "line %d of file %d says nothing much\n", len(b)*7919%1000, i)
	}
	return b[:1024]
}

// step does something, and looks at how much memory the daemon had at most meanwhile.
func (m *multitude) step(what string, do func()) {
	m.t.Helper()
	began := time.Now()
	daemon := m.daemon
	// proc(5): 5 has the peak begin anew.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", daemon.Process.Pid), []byte("5"), 0o200); err != nil {
		m.t.Fatal(err)
	}
	do()
	if m.daemon == daemon {
		m.memory(what, time.Since(began))
	}
}

func (m *multitude) memory(what string, took time.Duration) {
	m.t.Helper()
	all, anon := resident(m.t, m.daemon)
	most := peak(m.t, m.daemon)
	m.t.Logf("%-28s %8.1f s, at most %4d MiB, now %4d, %4d of it the daemon's own", what, took.Seconds(), most, all, anon)
	if most >= maxMiB {
		m.t.Errorf("%s: the daemon took %d MiB", what, most)
	}
}

// peak is the most memory that a process has had, in MiB.
func peak(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n >> 10
}

// start mounts, and asserts how soon the mount answers.
func (m *multitude) start(what string, most time.Duration) {
	m.t.Helper()
	began := time.Now()
	m.daemon = mounted(m.t, m.p.bin, m.p.state, m.p.dir)
	took := time.Since(began)
	m.memory(what, took)
	if took > most {
		m.t.Errorf("%s: it took %v, %v of it on the processor", what, took, spent(m.t, m.daemon))
	}
}

// counts runs a pipeline in the shared directory that prints a number.
func (m *multitude) counts(pipeline string, want int) {
	m.t.Helper()
	cmd := exec.Command("sh", "-c", pipeline)
	cmd.Dir = m.share()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != fmt.Sprint(want) || said.Len() > 0 {
		m.t.Errorf("%s: %s, want %d (%v %.300s)", pipeline, got, want, err, said.String())
	}
}

// sample reads a thousandth of the files.
func (m *multitude) sample() {
	m.t.Helper()
	for i := 0; i < m.files; i += max(1, m.files/1000-1) {
		if b, err := os.ReadFile(m.path(i)); err != nil || !bytes.Equal(b, m.content(i)) {
			m.t.Fatalf("%s: %.60q %v", m.path(i), b, err)
		}
	}
}

func (m *multitude) fill(at func(i int) string, n int) {
	m.t.Helper()
	for i := range n {
		if i%perDirectory == 0 {
			if err := os.MkdirAll(filepath.Dir(at(i)), 0o755); err != nil {
				m.t.Fatal(err)
			}
		}
		if err := os.WriteFile(at(i), m.content(i), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
}

// A million small files, or AIOS_FILES, are made, listed, found, searched, there again after
// a stop and after a crash, and removed; a tenth of them in one directory, too. The daemon
// stays below 1 GiB, and starts soon.
func TestMillionFiles(t *testing.T) {
	if os.Getenv("AIOS_LONG") == "" {
		t.Skip("takes minutes: AIOS_LONG=1")
	}
	m := &multitude{t: t, p: newPlace(t), files: 1_000_000}
	if v := os.Getenv("AIOS_FILES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < perDirectory {
			t.Fatalf("AIOS_FILES=%q is not a number of %d or more", v, perDirectory)
		}
		m.files = n
	}
	m.start("first start", patience)
	defer func() { _ = m.daemon.Process.Kill(); _, _ = m.daemon.Process.Wait() }() // it may have ended
	withWord := (m.files-1-7)/wordEvery + 1

	m.step("make", func() { m.fill(m.path, m.files) })
	m.step("list", func() { m.counts("ls -lR tree | grep -c '^-'", m.files) })
	m.step("find", func() { m.counts("find tree -type f -size 2 | wc -l", m.files) })
	m.step("grep", func() { m.counts("grep -rlw walnut7 tree | wc -l", withWord) })
	stop := time.Now()
	stopMount(t, m.p, m.daemon)
	t.Logf("%-28s %8.1f s", "stop", time.Since(stop).Seconds())
	m.start("start after a stop", maxStartMany)
	m.step("read some", m.sample)
	m.step("find again", func() { m.counts("find tree -type f -size 2 | wc -l", m.files) })

	crowd := func(i int) string { return filepath.Join(m.share(), fmt.Sprintf("crowd/f%07d", i)) }
	m.step("make a crowd", func() { m.fill(crowd, m.files/10) })
	m.step("list the crowd", func() { m.counts("ls -l crowd | grep -c '^-'", m.files/10) })
	script(t, m.share(), "sync crowd")
	if err := m.daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = m.daemon.Wait() // it was killed
	detach(m.p.dir)
	m.start("start after a kill", maxStartDead)
	m.step("read some", m.sample)
	m.step("find once more", func() { m.counts("find tree crowd -type f -size 2 | wc -l", m.files+m.files/10) })

	m.step("remove the crowd", func() { m.counts("rm -r crowd && ls | wc -l", 1) })
	m.step("remove", func() { m.counts("rm -r tree && ls | wc -l", 0) })
	stopMount(t, m.p, m.daemon)
	m.start("start after the removal", maxStartMany)
	m.step("look", func() { m.counts("find . -mindepth 1 | wc -l", 0) })
	if _, err := os.Stat(m.path(0)); !os.IsNotExist(err) {
		t.Errorf("a removed file: %v", err)
	}
	stopMount(t, m.p, m.daemon)
	for _, check := range []string{"fsck", "verify"} {
		began := time.Now()
		code, out, stderr := run(t, m.p.bin, check, "--state", m.p.state)
		t.Logf("%s: %.1f s", check, time.Since(began).Seconds())
		if code != 0 {
			t.Errorf("%s: %d %s %s", check, code, out, stderr)
		}
	}
}
