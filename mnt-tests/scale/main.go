// Command scale measures how cost grows with what a store holds: the same work on
// stores of more and more files, one crowded directory, one file with many versions,
// and what a history of real files takes on disk.
//
// Usage: scale [-sizes 1000,100000] [-crowd 100000] [-versions 1000] [-history REPO] AIOS-BINARY
//
// Every figure is printed as `size<TAB>metric<TAB>value<TAB>unit` as soon as it is
// known. "cold" needs root: the kernel's caches are dropped.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// perDir is how many files lie in one directory of the big stores, and work how many
// operations one figure is taken from.
const (
	perDir = 1000
	work   = 2000
)

// instance is a mounted store of its own.
type instance struct {
	bin, base, state, dir string
	cmd                   *exec.Cmd
}

func (in *instance) share() string { return filepath.Join(in.dir, "groups/local/shared") }

// mount starts the daemon and says how long it took until the mount answered.
func (in *instance) mount() (time.Duration, error) {
	began := time.Now()
	in.cmd = exec.Command(in.bin, "mount", "--state", in.state, in.dir)
	in.cmd.Stderr = os.Stderr
	if err := in.cmd.Start(); err != nil {
		return 0, err
	}
	for time.Since(began) < 5*time.Minute {
		if _, err := os.Stat(filepath.Join(in.dir, "README")); err == nil {
			return time.Since(began), nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, errors.New("the mount did not come up")
}

// stop unmounts cleanly, or kills.
func (in *instance) stop(kill bool) (time.Duration, error) {
	began := time.Now()
	sig := os.Signal(syscall.SIGTERM)
	if kill {
		sig = os.Kill
	}
	if err := in.cmd.Process.Signal(sig); err != nil {
		return 0, err
	}
	err := in.cmd.Wait()
	if kill {
		err = syscall.Unmount(in.dir, syscall.MNT_DETACH)
	}
	return time.Since(began), err
}

// rss is the daemon's resident memory in MiB.
func (in *instance) rss() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", in.cmd.Process.Pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, _ := strconv.ParseFloat(f[1], 64)
			return n / 1024
		}
	}
	return 0
}

func newInstance(bin string) (*instance, error) {
	base, err := os.MkdirTemp("", "aios-scale")
	if err != nil {
		return nil, err
	}
	in := &instance{bin: bin, base: base, state: filepath.Join(base, "state"), dir: filepath.Join(base, "mnt")}
	if err := os.Mkdir(in.dir, 0o755); err != nil {
		return nil, err
	}
	_, err = in.mount()
	return in, err
}

func (in *instance) remove() {
	if in.cmd != nil && in.cmd.ProcessState == nil {
		_, _ = in.stop(true)
	}
	os.RemoveAll(in.base)
}

func cold() {
	syscall.Sync()
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200)
	time.Sleep(300 * time.Millisecond)
}

func report(size int, metric string, value float64, unit string) {
	fmt.Printf("%d\t%s\t%.5g\t%s\n", size, metric, value, unit)
}

func rate(n int, fn func(i int) error) (float64, error) {
	began := time.Now()
	for i := range n {
		if err := fn(i); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

func write(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func run() error {
	sizes := flag.String("sizes", "1000,100000", "how many files the stores hold")
	crowd := flag.Int("crowd", 100_000, "entries of the crowded directory; 0 leaves it out")
	versions := flag.Int("versions", 1000, "versions of one file; 0 leaves it out")
	history := flag.String("history", "", "a git repository whose last ten commits are checked out one after the other")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("usage: scale [-sizes N,…] [-crowd N] [-versions N] [-history REPO] AIOS-BINARY")
	}
	bin, err := filepath.Abs(flag.Arg(0))
	if err != nil {
		return err
	}
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		if err := store(bin, n); err != nil {
			return fmt.Errorf("a store of %d files: %w", n, err)
		}
	}
	if *crowd > 0 {
		if err := crowded(bin, *crowd); err != nil {
			return fmt.Errorf("a directory of %d entries: %w", *crowd, err)
		}
	}
	if *versions > 0 {
		if err := manyVersions(bin, *versions); err != nil {
			return fmt.Errorf("a file with %d versions: %w", *versions, err)
		}
	}
	if *history != "" {
		if err := checkouts(bin, *history); err != nil {
			return fmt.Errorf("the history of %s: %w", *history, err)
		}
	}
	return nil
}

// store fills a store and does the same work on it whatever its size.
func store(bin string, n int) error {
	in, err := newInstance(bin)
	if err != nil {
		return err
	}
	defer in.remove()
	name := func(i int) string {
		return filepath.Join(in.share(), fmt.Sprintf("d%05d/f%03d", i/perDir, i%perDir))
	}
	fill, err := rate(n, func(i int) error {
		if i%perDir == 0 {
			if err := os.Mkdir(filepath.Dir(name(i)), 0o755); err != nil {
				return err
			}
		}
		return write(name(i), []byte(fmt.Sprintf("file %d\n", i)))
	})
	if err != nil {
		return err
	}
	report(n, "fill", fill, "files/s")
	filled := time.Now()
	time.Sleep(3 * time.Second) // the background has time to catch up, as between two pieces of work
	report(n, "rss_after_fill", in.rss(), "MiB")

	again, err := in.stop(false)
	if err != nil {
		return err
	}
	report(n, "stop", again.Seconds(), "s")
	up, err := in.mount()
	if err != nil {
		return err
	}
	report(n, "mount_after_stop", up.Seconds(), "s")
	report(n, "rss_idle", in.rss(), "MiB")

	pick := rand.New(rand.NewPCG(1, uint64(n)))
	cold()
	if err := measure(n, "lookup_cold", func(int) error { _, err := os.Lstat(name(pick.IntN(n))); return err }); err != nil {
		return err
	}
	if err := measure(n, "read_cold", func(int) error { _, err := os.ReadFile(name(pick.IntN(n))); return err }); err != nil {
		return err
	}
	past := filepath.Join(in.dir, "views/at", filled.Add(2*time.Second).UTC().Format(time.RFC3339), "groups/local/shared")
	if err := measure(n, "lookup_past", func(int) error {
		_, err := os.Lstat(filepath.Join(past, strings.TrimPrefix(name(pick.IntN(n)), in.share())))
		return err
	}); err != nil {
		return err
	}
	fresh := filepath.Join(in.share(), "fresh")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	if err := measure(n, "create", func(i int) error { return write(filepath.Join(fresh, strconv.Itoa(i)), []byte("x")) }); err != nil {
		return err
	}
	if _, err := in.stop(true); err != nil {
		return err
	}
	if up, err = in.mount(); err != nil {
		return err
	}
	report(n, "mount_after_kill", up.Seconds(), "s")
	_, err = in.stop(false)
	return err
}

func measure(n int, metric string, fn func(int) error) error {
	r, err := rate(work, fn)
	if err != nil {
		return fmt.Errorf("%s: %w", metric, err)
	}
	report(n, metric, r, "ops/s")
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}
