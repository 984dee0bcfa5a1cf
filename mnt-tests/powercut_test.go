package mnttests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A power cut at any moment loses nothing that was acknowledged, and leaves the tree as it
// was at one moment: the state directory lies on a filesystem that forgets what was not
// synced and tears what was in flight. AIOS_CUTS says how many cuts, AIOS_CUT_SEED repeats
// the choices of the disk (what the daemon was doing then, no seed can say).
func TestPowerCuts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a filesystem under the state directory: needs root")
	}
	cuts := 2
	if os.Getenv("AIOS_LONG") != "" {
		cuts = 60
	}
	if s := os.Getenv("AIOS_CUTS"); s != "" {
		var err error
		if cuts, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		t.Skip("starts the daemon several times")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("AIOS_CUT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	p := newPlace(t)
	m := &powerRig{t: t, place: p, disk: p.path("disk"), rng: rand.New(rand.NewPCG(seed, 0)), power: startHelper(t, "power", nil)}
	m.state = filepath.Join(m.disk, "state")
	if err := os.Mkdir(m.disk, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(m.disk) })
	m.ask("mount", 0)
	stopMount(t, m.place, mounted(t, m.bin, m.state, m.dir))
	var past []*powerWork
	for round := range cuts {
		daemon := mounted(t, m.bin, m.state, m.dir)
		for _, w := range past {
			w.check(t)
		}
		if t.Failed() {
			_ = daemon.Process.Kill()
			_ = daemon.Wait()
			t.Fatalf("seed %d, after cut %d", seed, round)
		}
		w := newPowerWork(t, m.dir, round)
		w.start()
		time.Sleep(time.Duration(m.rng.IntN(1500)) * time.Millisecond)
		w.end() // what is acknowledged from now on is not counted
		m.ask("cut", m.rng.Uint64())
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait() // it was killed
		detach(m.dir)
		w.wait()
		m.ask("unmount", 0)
		m.ask("mount", 0)
		m.restarted()
		past = append(past[max(0, len(past)-3):], w)
		for _, args := range [][]string{{"verify", "--state", m.state}, {"fsck", "--state", m.state}} {
			if out, err := exec.Command(m.bin, args...).CombinedOutput(); err != nil {
				t.Fatalf("seed %d, cut %d: %v: %v\n%s", seed, round, args, err, out)
			}
		}
	}
	daemon := mounted(t, m.bin, m.state, m.dir)
	for _, w := range past {
		w.check(t)
	}
	stopMount(t, m.place, daemon)
	m.ask("unmount", 0)
	t.Logf("%d cuts, seed %d, %d syncs reached the disk", cuts, seed, m.syncs)
}

// powerRig is a place whose state lies on a disk that loses its power.
type powerRig struct {
	place
	t     *testing.T
	disk  string
	rng   *rand.Rand
	power *helper
	syncs int
}

// restarted lets the store think that the machine was started again, which the test cannot do.
func (m *powerRig) restarted() {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.state, "boot"), []byte("an earlier one\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *powerRig) ask(op string, seed uint64) {
	m.t.Helper()
	var a powerAnswer
	if err := m.power.ask(&powerAsk{op, m.disk, seed}, &a); err != nil || a.Err != "" {
		m.t.Fatalf("%s: %v %s", op, err, a.Err)
	}
	m.syncs = a.Syncs
}

// powerWork is what is done between two cuts, each part by one goroutine in a directory of
// its own, with what was acknowledged.
type powerWork struct {
	t     *testing.T
	dir   string // groups/local/shared/r<n>
	mount string
	round int
	over  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex

	batches, saves, goals int         // so many were acknowledged
	blocks                map[int]int // block of the updated file → last acknowledged stamp
	flying                int         // the block that is written and not yet synced; -1 none
	ready                 bool        // the updated file was made, and that was acknowledged
}

func newPowerWork(t *testing.T, mount string, round int) *powerWork {
	return &powerWork{t: t, mount: mount, dir: filepath.Join(mount, "groups/local/shared", fmt.Sprint("r", round)), round: round, blocks: map[int]int{}, flying: -1}
}

// start sets the parts to work. What fails while there is power is a failure of the test.
func (w *powerWork) start() {
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	for name, part := range map[string]func(i int) error{"batches": w.batch, "saves": w.save, "updates": w.update, "trail": w.step, "goals": w.goal} {
		w.wg.Go(func() {
			for i := 0; !w.over.Load(); i++ {
				if err := part(i); err != nil {
					if !w.over.Load() {
						w.t.Errorf("round %d, %s %d: %v", w.round, name, i, err)
					}
					return
				}
			}
		})
	}
}

func (w *powerWork) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over.Store(true)
}

func (w *powerWork) wait() { w.wg.Wait() }

// acked notes what was acknowledged, if there was power until now.
func (w *powerWork) acked(note func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over.Load() {
		note()
	}
}

// text is content that tells its file, its stamp, and whether a part of it is missing.
func (w *powerWork) text(what string, stamp, size int) []byte {
	b := make([]byte, 0, size+40)
	for len(b) < size {
		b = fmt.Appendf(b, "%s %d %d %d\n", what, w.round, stamp, len(b))
	}
	return b[:size]
}

var powerSizes = []int{0, 10, 1000, 4096, 5000, 70_000, 300_000}

// put writes a file and closes it, for the kernel too: a program that is started meanwhile
// has a copy of every descriptor until its execve(2), and only the last copy's end is a
// close that a filesystem hears of.
func (w *powerWork) put(path string, b []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// batch makes a directory of files of all sizes and syncs the directory: then all of it is
// kept, as it was closed.
func (w *powerWork) batch(i int) error {
	dir := filepath.Join(w.dir, fmt.Sprint("b", i))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for k, size := range powerSizes {
		if err := w.put(filepath.Join(dir, fmt.Sprint(k)), w.text("batch", i*100+k, size)); err != nil {
			return err
		}
	}
	if err := syncPath(dir); err != nil {
		return err
	}
	w.acked(func() { w.batches = i + 1 })
	return nil
}

// save writes a new file over the old one, as editors do, and syncs the directory.
func (w *powerWork) save(i int) error {
	path := filepath.Join(w.dir, "saved")
	if err := w.put(path+".new", w.text("save", i, 20_000+i%5*30_000)); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if err := syncPath(w.dir); err != nil {
		return err
	}
	w.acked(func() { w.saves = i + 1 })
	return nil
}

const powerBlocks = 60 // a file that is written in place, larger than a draft in memory

// update writes a block of a large file in place and syncs the file.
func (w *powerWork) update(i int) error {
	path := filepath.Join(w.dir, "updated")
	if i == 0 {
		if err := w.put(path, make([]byte, powerBlocks*pageSize)); err != nil {
			return err
		}
		if err := syncPath(path); err != nil {
			return err
		}
		w.acked(func() { w.ready = true })
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for k := range 5 {
		stamp := i*5 + k + 1
		block := stamp * 7 % powerBlocks
		w.mu.Lock()
		over := w.over.Load()
		if !over {
			w.flying = block
		}
		w.mu.Unlock()
		if over { // what is written from now on, nobody would know to be in flight
			return nil
		}
		if _, err := f.WriteAt(w.text("block", stamp, pageSize), int64(block*pageSize)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		w.acked(func() { w.blocks[block], w.flying = stamp, -1 })
	}
	return nil
}

// step makes the next of a row of files, without any sync: what is left is the beginning of
// the row.
func (w *powerWork) step(i int) error {
	time.Sleep(time.Millisecond)
	return w.put(filepath.Join(w.dir, fmt.Sprint("t", i)), w.text("trail", i, 100))
}

// goal has a file written by an intent and waits until it succeeded.
func (w *powerWork) goal(i int) error {
	name := fmt.Sprintf("p%d-%d", w.round, i)
	if err := os.WriteFile(filepath.Join(w.mount, "intents", name), fmt.Appendf(nil, "write %q to kept/%s.md", name, name), 0o600); err != nil {
		return err
	}
	out, err := exec.Command("timeout", "60", "cat", filepath.Join(w.mount, "intents", name+".d", "wait")).Output()
	if err != nil {
		return err
	}
	if string(out) != "SUCCEEDED\n" {
		return fmt.Errorf("%s: %q", name, out)
	}
	w.acked(func() { w.goals = i + 1 })
	return nil
}
