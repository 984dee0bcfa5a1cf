package mnttests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// followed are the lines that a reader of the log has had so far.
type followed struct {
	mu    sync.Mutex
	lines []string
}

func (f *followed) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines
}

// Of two who follow the log one reads nothing: he has the first thousand records, then one
// word of the gap with its extent, then what is new; the other has every record once, and
// the log went on for all.
func TestEvidence8_FollowingTheLog(t *testing.T) {
	p := newPeople(t)
	name := filepath.Join(p.dir, "evidence/follow")
	if out := p.ok(0, "ls $M/evidence"); strings.Contains(out, "follow") {
		t.Errorf("what waits is listed: %s", out)
	}
	if _, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
		t.Error("it opens for writing")
	}
	cmd := exec.Command(p.bin, "log", "--mount", p.dir, "-n", "0", "--follow", "--json", "--simulated")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fast := &followed{}
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for s := bufio.NewScanner(out); s.Scan(); {
			fast.mu.Lock()
			fast.lines = append(fast.lines, s.Text())
			fast.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done.Wait()
		_ = cmd.Wait() // it was ended
	})
	slow, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	for i := range 3 {
		doc := "schema: aios.intent.v1alpha1\nreason: many records\nactions:\n"
		for k := range 50 {
			doc += fmt.Sprintf("  - id: w%d\n    action: aiosfs.object.write\n    target: {path: many/%d-%d}\n    params: {content: x}\n", k, i, k)
		}
		if s := p.drop(aliceUID, fmt.Sprint("many", i), doc); s != "SUCCEEDED" {
			t.Fatal(s, p.ok(aliceUID, fmt.Sprintf("cat $M/intents/many%d.d/error.json", i)))
		}
	}
	type line struct {
		Seq   string `json:"sequence_number"`
		Event string `json:"event"`
		Count uint64 `json:"dropped"`
		From  string `json:"from_sequence"`
		To    string `json:"to_sequence"`
	}
	number := func(s string) uint64 {
		t.Helper()
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	read := bufio.NewReader(slow)
	next := func() (l line) {
		t.Helper()
		b, err := read.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(b, &l)
		}
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return l
	}
	last, kept := uint64(0), 0
	var gap line
	for gap.Event == "" {
		l := next()
		if l.Event != "" {
			gap = l
			break
		}
		if n := number(l.Seq); last != 0 && n != last+1 {
			t.Fatalf("record %d after %d", n, last)
		} else {
			last = n
		}
		if kept++; kept > 1000 {
			t.Fatalf("%d records were kept for one who reads nothing", kept)
		}
	}
	if gap.Event != "subscriber_dropped_event" || kept != 1000 || number(gap.From) != last+1 || number(gap.To)-number(gap.From)+1 != gap.Count {
		t.Fatalf("after %d records up to %d: %+v", kept, last, gap)
	}
	p.ok(aliceUID, "echo 'list processes' > $M/intents/new; cat $M/intents/new.d/wait")
	if l := next(); l.Event != "" || number(l.Seq) <= number(gap.To) {
		t.Errorf("after the gap: %+v, want a record after %s", l, gap.To)
	}
	var head struct {
		Size uint64 `json:"size"`
	}
	b, err := os.ReadFile(filepath.Join(p.dir, "evidence/head"))
	if err == nil {
		err = json.Unmarshal(b, &head)
	}
	if err != nil || head.Size < number(gap.To) {
		t.Fatalf("%s %v", b, err)
	}
	until(t, "the other has all", func() bool { return uint64(len(fast.all())) >= head.Size })
	for i, text := range fast.all() {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil || number(l.Seq) != uint64(i+1) {
			t.Fatalf("line %d of the other: %s, %v", i, text, err)
		}
	}
	t.Log("proves: evidence-8")
}

// Who follows the log hears of what he may read, and of nothing else.
func TestFollowingHidesOthersRecords(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, "echo keep > $M/self/home/k")
	// He cannot see when the reader has begun: he goes on until it has heard of him.
	out := p.ok(bobUID, `timeout 200 cat $M/evidence/follow > /tmp/follow-$$ &
		for i in $(seq 100); do
			echo "write \"$i\" to b$i.md" > $M/intents/b$i; cat $M/intents/b$i.d/wait > /dev/null
			grep -q EXECUTION_SUCCEEDED /tmp/follow-$$ && break
		done
		kill $!; cat /tmp/follow-$$; rm /tmp/follow-$$`)
	if !strings.Contains(out, "EXECUTION_SUCCEEDED") {
		t.Fatalf("bob does not hear of what he does: %s", out)
	}
	for l := range strings.Lines(out) {
		if strings.Contains(l, fmt.Sprintf(`"subject":"local:uid-%d"`, aliceUID)) || strings.Contains(l, `"subject":"_system`) {
			t.Errorf("bob hears of %s", l)
		}
	}
}
