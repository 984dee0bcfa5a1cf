package kv

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// epochOf is what the n-th epoch of the crash test does to a model, and as a batch.
func epochOf(n int, model map[string]string) *Batch {
	r := rand.New(rand.NewPCG(uint64(n), 99))
	b := NewBatch()
	count := 1 + r.IntN(30)
	if n%9 == 4 {
		count = 3000 // splits with a memtable of 1 MiB
	}
	for range count {
		k := fmt.Sprintf("k%04d", r.IntN(5000))
		if r.IntN(4) == 0 {
			b.Delete([]byte(k))
			delete(model, k)
			continue
		}
		v := fmt.Sprintf("%d.%0*d", n, r.IntN(120), r.IntN(1000))
		b.Set([]byte(k), []byte(v))
		model[k] = v
	}
	if n%13 == 5 { // into Badger's value log
		v := fmt.Sprintf("%0*d", 90<<10, n)
		b.Set([]byte("klarge"), []byte(v))
		model["klarge"] = v
	}
	b.Set([]byte("k"), []byte(strconv.Itoa(n)))
	model["k"] = strconv.Itoa(n)
	return b
}

func modelAt(n int) map[string]string {
	m := map[string]string{}
	for i := 1; i <= n; i++ {
		epochOf(i, m)
	}
	return m
}

func count(v *View) int {
	b, err := v.Get([]byte("k"))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(b))
	return n
}

// crashWriter is the process that TestKilledAnywhere kills.
func crashWriter(dir string) error {
	d, err := Open(Options{Dir: dir, MemTable: 1 << 20})
	if err != nil {
		return err
	}
	v := d.View()
	n := count(v)
	v.Close()
	for {
		n++
		commit := d.Commit
		if n%2 == 0 { // through the journal
			commit = d.CommitSync
		}
		ts, err := commit(context.Background(), epochOf(n, map[string]string{}))
		if err != nil {
			return err
		}
		if n%3 == 0 {
			if err := d.Sync(context.Background()); err != nil {
				return err
			}
			fmt.Printf("synced %d %d\n", n, ts)
		}
	}
}

// Killed at any moment, the store is exactly some epoch, at least the one that was
// acknowledged last, and the past reads as it was.
func TestKilledAnywhere(t *testing.T) {
	t.Log("part of F-106, at the level of records")
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	dir := t.TempDir()
	acked := map[int]TS{}
	last := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "KV_CRASH_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		first := true
		for lines.Scan() {
			if first { // counted from the first epoch: a busy machine may take long to come to it
				first = false
				time.AfterFunc(time.Duration(rand.IntN(250))*time.Millisecond, func() { cmd.Process.Signal(unix.SIGKILL) })
			}
			var n int
			var ts TS
			if _, err := fmt.Sscanf(lines.Text(), "synced %d %d", &n, &ts); err == nil {
				acked[n], last = ts, n
			}
		}
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("the writer ended by itself: %v", err)
		}
		d := open(t, Options{Dir: dir, MemTable: 1 << 20})
		v := d.View()
		n := count(v)
		if n < last {
			t.Fatalf("round %d: epoch %d was acknowledged, %d is there", round, last, n)
		}
		if got := dump(t, v); !maps.Equal(got, modelAt(n)) {
			t.Fatalf("round %d: not epoch %d", round, n)
		}
		for n, ts := range acked { // one of them, at random
			v, err := d.ViewAt(ts)
			if err != nil || v.TS() != ts {
				t.Fatalf("as of epoch %d: %v", n, err)
			}
			if got := dump(t, v); !maps.Equal(got, modelAt(n)) {
				t.Fatalf("round %d: the past of epoch %d has changed", round, n)
			}
			break
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if last < rounds {
		t.Fatalf("only %d epochs in %d rounds: this proves little", last, rounds)
	}
	t.Logf("%d rounds, %d epochs", rounds, last)
}

// A power cut can keep a younger log and lose the tail of the one before it. What
// stands above the gap never happened.
func TestGapBetweenLogs(t *testing.T) {
	dir, copies := t.TempDir(), t.TempDir()
	d := open(t, Options{Dir: dir, MemTable: 1 << 20})
	second := filepath.Join(dir, "00002.mem")
	want, after := 0, 0
	at := func(n int) string { return filepath.Join(copies, strconv.Itoa(n)) }
	for n := 1; after < 3; n++ {
		if _, err := d.Commit(context.Background(), epochOf(n, map[string]string{})); err != nil {
			t.Fatal(err)
		}
		switch {
		case after > 0:
			after++
		case size(t, second) > 0:
			want, after = n-2, 1
		default: // a power cut may leave this of the first log
			if out, err := exec.Command("cp", "-a", "--sparse=always", dir, at(n)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			os.RemoveAll(at(n - 3))
		}
	}
	cut := at(want)
	b, err := os.ReadFile(second)
	if err == nil {
		err = os.WriteFile(filepath.Join(cut, "00002.mem"), b, 0o600)
	}
	if err != nil {
		d.Close()
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, Options{Dir: cut, MemTable: 1 << 20})
	defer d.Close()
	v := d.View()
	if n := count(v); n != want {
		t.Errorf("epoch %d shows, %d is the last before the gap", n, want)
	}
	if got := dump(t, v); !maps.Equal(got, modelAt(want)) {
		t.Errorf("not the state of epoch %d", want)
	}
	if len(d.torn) == 0 {
		t.Error("no torn interval was recorded")
	}
	for at := range d.Epochs(0, d.LastSealed()) {
		v, err := d.ViewAt(at)
		if err != nil {
			t.Fatal(err)
		}
		if n := count(v); n > want {
			t.Errorf("as of %d epoch %d shows", at, n)
		}
		v.Close()
	}
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return st.Size()
}

// After a commit that failed half-way the process goes on without a trace of it.
func TestFailedCommitIsUndoneAtOnce(t *testing.T) {
	d := open(t, Options{Dir: t.TempDir(), MemTable: 1 << 20})
	defer d.Close()
	if _, err := d.Commit(context.Background(), epochOf(4, map[string]string{})); err != nil {
		t.Fatal(err)
	}
	want := dump(t, d.View())
	n := 0
	d.failpoint = func(string) error {
		if n++; n == 2 {
			return os.ErrInvalid
		}
		return nil
	}
	if _, err := d.Commit(context.Background(), epochOf(13, map[string]string{})); err == nil {
		t.Fatal("no error")
	}
	d.failpoint = nil
	if got := dump(t, d.View()); !maps.Equal(got, want) {
		t.Errorf("half an epoch shows")
	}
	b := NewBatch()
	b.Set([]byte("knew"), []byte("x"))
	if _, err := d.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	want["knew"] = "x"
	if got := dump(t, d.View()); !maps.Equal(got, want) {
		t.Errorf("half an epoch shows after the next one")
	}
	v := d.View()
	defer v.Close()
	if h := v.History([]byte("k")); len(h) != 1 {
		t.Errorf("the history of a key shows the failed epoch: %+v", h)
	}
}
