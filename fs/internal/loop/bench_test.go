package loop

import (
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

	"github.com/hanwen/go-fuse/v2/fuse"
)

// flatFS answers at once: what remains is the transport's own time.
type flatFS struct{ fuse.RawFileSystem }

func (flatFS) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return fuse.ENOENT
}

func (flatFS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.Ino, out.Mode, out.Nlink = in.NodeId, syscall.S_IFDIR|0o755, 2
	return fuse.OK
}

type server interface {
	Serve()
	WaitMount() error
	Unmount() error
}

// BenchmarkRoundTrip compares this package with go-fuse's server: the time of
// an lstat of a name that is free, by one client and by four, and the daemon's
// CPU time of one. Both are measured by turns; only their ratio means something.
//
//	go test -run '^$' -bench RoundTrip -benchtime 7x ./fs/internal/loop
func BenchmarkRoundTrip(b *testing.B) {
	if spec := os.Getenv("AIOS_BENCH_CLIENT"); spec != "" {
		benchClient(b, strings.Fields(spec))
		return
	}
	if os.Geteuid() != 0 {
		b.Skip("needs root to mount")
	}
	fs := flatFS{fuse.NewDefaultRawFileSystem()}
	o := &fuse.MountOptions{MaxWrite: 1 << 20, DirectMount: true, Name: "flat", FsName: "flat"}
	makers := []struct {
		name string
		make func(dir string) (server, error)
	}{
		{"loop", func(dir string) (server, error) { return Mount(fs, dir, o, Options{MayBlock: inLine}) }},
		{"loop-handover", func(dir string) (server, error) { return Mount(fs, dir, o, Options{MayBlock: blocking}) }},
		{"go-fuse", func(dir string) (server, error) { return fuse.NewServer(fs, dir, o) }},
	}
	var dirs []string
	for _, m := range makers {
		dir := b.TempDir()
		s, err := m.make(dir)
		if err != nil {
			b.Fatal(err)
		}
		go s.Serve()
		if err := s.WaitMount(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := s.Unmount(); err != nil {
				b.Error(err)
			}
		})
		dirs = append(dirs, dir)
	}
	for _, clients := range []int{1, 4} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			got := make([][3][]float64, len(makers))
			for b.Loop() {
				for i := range makers {
					for j, v := range benchRound(b, dirs[i], clients) {
						got[i][j] = append(got[i][j], v)
					}
				}
			}
			for i, m := range makers {
				for j, unit := range []string{"p50-us", "us", "cpu-us"} {
					slices.Sort(got[i][j])
					b.ReportMetric(got[i][j][len(got[i][j])/2], m.name+"-"+unit)
				}
			}
		})
	}
}

const benchSteps = 5000

func benchRound(b *testing.B, dir string, clients int) [3]float64 {
	cmd := exec.Command("/proc/self/exe", "-test.run", "^$", "-test.bench", "^BenchmarkRoundTrip$", "-test.benchtime", "1x")
	cmd.Env = append(os.Environ(), fmt.Sprintf("AIOS_BENCH_CLIENT=%s %d", dir, clients))
	before := cpuTime()
	out, err := cmd.CombinedOutput()
	cpu := cpuTime() - before
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	f := [3]float64{2: float64(cpu.Nanoseconds()) / 1e3 / benchSteps}
	_, line, _ := strings.Cut(string(out), "CLIENT ")
	if _, err := fmt.Sscan(line, &f[0], &f[1]); err != nil {
		b.Fatalf("the client said %q", out)
	}
	return f
}

func benchClient(b *testing.B, spec []string) {
	clients, err := strconv.Atoi(spec[1])
	if err != nil {
		b.Fatal(err)
	}
	times := make([]time.Duration, benchSteps)
	start := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			var st syscall.Stat_t
			for i := c; i < benchSteps; i += clients {
				t := time.Now()
				if err := syscall.Lstat(filepath.Join(spec[0], strconv.Itoa(i)), &st); err != syscall.ENOENT {
					b.Errorf("lstat: %v", err)
				}
				times[i] = time.Since(t)
			}
		})
	}
	wg.Wait()
	all := time.Since(start)
	slices.Sort(times)
	fmt.Printf("\nCLIENT %f %f\n", float64(times[benchSteps/2].Nanoseconds())/1e3, float64(all.Nanoseconds())/1e3/benchSteps)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
