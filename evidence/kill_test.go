package evidence

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// appendChild opens the log, appends from several goroutines and prints each
// acknowledged id, until it is killed.
func appendChild(dir string) {
	seed := make([]byte, ed25519.SeedSize)
	l, err := Open(context.Background(), Options{Dir: dir, Key: ed25519.NewKeyFromSeed(seed), SealBytes: 60_000, CheckpointEvery: 3 * time.Millisecond, Logger: quiet()})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(3)
	}
	if err := l.Health(); err != nil {
		fmt.Println("health:", err)
		os.Exit(4)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				rs, err := l.Append(context.Background(), received(g*1000000+i), received(i))
				if err != nil {
					fmt.Println("append:", err)
					os.Exit(5)
				}
				mu.Lock()
				fmt.Println(rs[0].ID, rs[0].Seq)
				fmt.Println(rs[1].ID, rs[1].Seq)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
}

func TestEvidence14_KillAtRandom(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	dir := filepath.Join(t.TempDir(), "evidence")
	acked := map[string]string{}
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "EVIDENCE_APPEND_CHILD="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(5+rand.IntN(60))*time.Millisecond, func() { cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) == 2 && strings.HasPrefix(f[0], idPrefix) && len(f[0]) == 30 {
				acked[f[0]] = f[1]
			} else if strings.Contains(lines.Text(), ": ") {
				t.Fatalf("round %d: child says %q", round, lines.Text())
			}
		}
		cmd.Wait()
		timer.Stop()
		if len(acked) == 0 {
			continue // killed before the log was there
		}
		if round%10 == 0 {
			if rep := verified(t, dir); rep.Tail != "" {
				t.Logf("round %d: torn tail: %s", round, rep.Tail)
			}
		}
	}
	l := openAt(t, Options{Dir: dir, Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))})
	if err := l.Health(); err != nil {
		t.Fatal(err)
	}
	present := map[string]bool{}
	own := 0
	for r, err := range l.Query(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		present[r.ID] = true
		if seq, ok := acked[r.ID]; ok && seq != fmt.Sprint(r.Seq) {
			t.Fatalf("%s acknowledged as %s, is %d", r.ID, seq, r.Seq)
		}
		if r.Emitter == "log" {
			own++
		}
	}
	for id := range acked {
		if !present[id] {
			t.Fatalf("acknowledged record %s is gone", id)
		}
	}
	l.Checkpoint()
	rep := verified(t, dir)
	t.Logf("%d rounds, %d acknowledged, %d records of which %d the log's own, %d segments", rounds, len(acked), rep.Records, own, rep.Segments)
	t.Log("proves: evidence-14 evidence-2 evidence-3")
}
