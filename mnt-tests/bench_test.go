package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// benchMount mounts a fresh state for a benchmark.
func benchMount(b *testing.B) (dir string, daemon *exec.Cmd) {
	b.Helper()
	bin := aios(b)
	base := b.TempDir()
	dir = filepath.Join(base, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	daemon = mounted(b, bin, filepath.Join(base, "state"), dir)
	b.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		detach(dir)
	})
	return dir, daemon
}

// dropIntent writes a goal and waits for its end; the time runs from the close.
func dropIntent(dir string, n int64) (time.Duration, error) {
	name := filepath.Join(dir, "intents", fmt.Sprintf("b%d", n))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(f, "schema: aios.intent.v1alpha1\nreason: measured\nactions:\n  - id: w\n    action: aiosfs.object.write\n    target: {path: bench/f%d.txt}\n    params: {content: \"number %d\"}\n", n%500, n); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := f.Close(); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(name + ".d/wait")
	took := time.Since(began)
	if err == nil && strings.TrimSpace(string(b)) != "SUCCEEDED" {
		reason, _ := os.ReadFile(name + ".d/error.json")
		return 0, fmt.Errorf("intent %d: %s: %s", n, b, reason)
	}
	return took, err
}

func quantiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[min(len(took)-1, int(q*float64(len(took))))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.50), "p50-ms")
	b.ReportMetric(at(0.95), "p95-ms")
}

// BenchmarkIntent is an allowed one-file intent, from close to SUCCEEDED, all durable.
func BenchmarkIntent(b *testing.B) {
	dir, _ := benchMount(b)
	var took []time.Duration
	n := int64(0)
	for b.Loop() {
		d, err := dropIntent(dir, n)
		if err != nil {
			b.Fatal(err)
		}
		n++
		took = append(took, d)
	}
	quantiles(b, took)
}

// scriptOfIntents is one of the scripts that drop goals: a plain shell, without a
// process for each.
const scriptOfIntents = `i=0
while [ $i -lt "$3" ]; do
	i=$((i+1))
	printf 'schema: aios.intent.v1alpha1\nreason: measured\nactions:\n  - id: w\n    action: aiosfs.object.write\n    target: {path: bench/f%s-%s.txt}\n    params: {content: "number %s of %s"}\n' "$2" "$i" "$i" "$2" > "$1/intents/s$2-$i" || exit 1
	read -r word < "$1/intents/s$2-$i.d/wait"
	[ "$word" = SUCCEEDED ] || { echo "$word"; cat "$1/intents/s$2-$i.d/error.json"; exit 1; }
done`

// BenchmarkIntents32 is how many intents a second 32 scripts get done.
func BenchmarkIntents32(b *testing.B) {
	dir, _ := benchMount(b)
	const scripts, each = 32, 25
	done, round := 0, 0
	began := time.Now()
	for b.Loop() {
		var wg sync.WaitGroup
		for k := range scripts {
			wg.Go(func() {
				out, err := exec.Command("sh", "-c", scriptOfIntents, "sh", dir, fmt.Sprintf("%d-%d", round, k), fmt.Sprint(each)).CombinedOutput()
				if err != nil {
					b.Errorf("%v: %s", err, out)
				}
			})
		}
		wg.Wait()
		done, round = done+scripts*each, round+1
	}
	b.ReportMetric(float64(done)/time.Since(began).Seconds(), "intents/s")
}
