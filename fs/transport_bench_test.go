package fs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The work of BenchmarkTransport's client, which is a process of its own: one
// in the daemon's would share its processors.
var benchWork = map[string]struct {
	clients int
	step    func(dir string, i int) error
}{
	"rename": {1, func(dir string, i int) error {
		return syscall.Rename(filepath.Join(dir, "r"+strconv.Itoa(i)), filepath.Join(dir, "r"+strconv.Itoa(i+1)))
	}},
	"create_1k":          {1, create1k},
	"create_1k_parallel": {4, create1k},
	"lookup_negative": {1, func(dir string, i int) error {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(dir, "none"+strconv.Itoa(i)), &st); err != syscall.ENOENT {
			return fmt.Errorf("lstat of a name that is free: %v", err)
		}
		return nil
	}},
}

func create1k(dir string, i int) error {
	fd, err := syscall.Open(filepath.Join(dir, "c"+strconv.Itoa(i)), syscall.O_CREAT|syscall.O_WRONLY|syscall.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := syscall.Write(fd, make([]byte, 1024)); err != nil {
		return err
	}
	return syscall.Close(fd)
}

// BenchmarkTransport runs the same work on both transports by turns, and
// reports of each the median time of a step, the rate and the daemon's CPU
// time. Compare the two; the figures alone say more about the machine.
//
//	go test -run '^$' -bench Transport -benchtime 5x ./fs
func BenchmarkTransport(b *testing.B) {
	if spec := os.Getenv("AIOS_BENCH_CLIENT"); spec != "" {
		benchClient(b, spec)
		return
	}
	for _, work := range []string{"lookup_negative", "rename", "create_1k", "create_1k_parallel"} {
		b.Run(work, func(b *testing.B) {
			kinds := []string{TransportLoop, TransportGoFuse}
			rigs := map[string]*rig{}
			for _, k := range kinds {
				rigs[k] = newRig(b, func(o *Options) { o.Transport = k })
			}
			got := map[string][]benchFigures{}
			const steps = 2000
			for round := 0; b.Loop(); round++ {
				for _, k := range kinds {
					got[k] = append(got[k], benchRound(b, rigs[k], work, round, steps))
				}
			}
			for _, k := range kinds {
				b.ReportMetric(median(got[k], func(f benchFigures) float64 { return f.p50 }), k+"-p50-us")
				b.ReportMetric(median(got[k], func(f benchFigures) float64 { return f.mean }), k+"-us")
				b.ReportMetric(median(got[k], func(f benchFigures) float64 { return f.cpu }), k+"-cpu-us")
			}
		})
	}
}

type benchFigures struct{ p50, mean, cpu float64 }

func median(fs []benchFigures, of func(benchFigures) float64) float64 {
	var v []float64
	for _, f := range fs {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchRound(b *testing.B, r *rig, work string, round, steps int) benchFigures {
	b.Helper()
	dir := r.shared(fmt.Sprintf("%s%d", work, round))
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^$", "-test.bench", "^BenchmarkTransport$", "-test.benchtime", "1x")
	cmd.Env = append(os.Environ(), fmt.Sprintf("AIOS_BENCH_CLIENT=%s %d %s", work, steps, dir))
	before := cpuTime()
	out, err := cmd.CombinedOutput()
	cpu := cpuTime() - before
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	f := benchFigures{cpu: float64(cpu.Microseconds()) / float64(steps)}
	for sc := bufio.NewScanner(strings.NewReader(string(out))); sc.Scan(); {
		if _, line, ok := strings.Cut(sc.Text(), "CLIENT "); ok {
			if _, err := fmt.Sscan(line, &f.p50, &f.mean); err != nil {
				b.Fatal(err)
			}
		}
	}
	if f.p50 == 0 {
		b.Fatalf("the client said nothing: %s", out)
	}
	return f
}

func benchClient(b *testing.B, spec string) {
	f := strings.Fields(spec)
	work := benchWork[f[0]]
	steps, err := strconv.Atoi(f[1])
	if err != nil {
		b.Fatal(err)
	}
	if f[0] == "rename" {
		if err := os.WriteFile(filepath.Join(f[2], "r0"), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	times := make([]time.Duration, steps)
	start := time.Now()
	var wg sync.WaitGroup
	for c := range work.clients {
		wg.Go(func() {
			for i := c; i < steps; i += work.clients {
				t := time.Now()
				if err := work.step(f[2], i); err != nil {
					b.Errorf("step %d: %v", i, err)
					return
				}
				times[i] = time.Since(t)
			}
		})
	}
	wg.Wait()
	all := time.Since(start)
	slices.Sort(times)
	fmt.Printf("\nCLIENT %f %f\n", float64(times[steps/2].Nanoseconds())/1e3, float64(all.Nanoseconds())/1e3/float64(steps))
}
