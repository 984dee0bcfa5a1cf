package objects

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

func TestMain(m *testing.M) {
	checkNotes = true
	if dir := os.Getenv("AIOS_TEST_CRASH"); dir != "" {
		if os.Getenv("AIOS_TEST_STEP") == "replay" {
			fmt.Fprintln(os.Stderr, replaying(dir))
			os.Exit(1)
		}
		seed, _ := strconv.ParseUint(os.Getenv("AIOS_TEST_SEED"), 10, 64)
		fmt.Fprintln(os.Stderr, crashing(dir, seed, os.Getenv("AIOS_TEST_STEP")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashSteps are the named places of commit, seal, close and recovery.
var crashSteps = []string{
	"commit: epoch is closed", "commit: inodes are encoded", "commit: bytes are synced", "commit: records are synced", "commit: staging files are removed",
	"seal: hashed", "seal: adopted", "seal: in the epoch", "close: flattened", "close: installed", "outbox: appended", "cool: in the epoch",
	"recover: a draft", "recover: before the commit", "recover: before staging files go",
}

// noisy is the directory of the files that a second writer changes all the time.
const noisy = "noise"

func crashLog(dir string) (*evidence.Log, error) {
	return evidence.Open(context.Background(), evidence.Options{Dir: filepath.Join(dir, "evidence"), Origin: "aios.test/crash", Key: ed25519.NewKeyFromSeed(make([]byte, 32))})
}

// killAt makes a step hook that kills the process at the n-th pass of a step, "NAME=n".
func killAt(spec string) func(string) {
	name, count, ok := strings.Cut(spec, "=")
	if !ok {
		return nil
	}
	n, _ := strconv.ParseInt(count, 10, 64)
	var passed atomic.Int64
	return func(step string) {
		if step == name && passed.Add(1) == n {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
}

// crashing is the process that is killed: it says which step it is about to do, and
// which one was acknowledged as durable, with the epoch that holds it.
func crashing(dir string, seed uint64, kill string) error {
	log, err := crashLog(dir)
	if err != nil {
		return err
	}
	s, err := Open(context.Background(), Options{Dir: dir, Log: log, EpochInterval: 20 * time.Millisecond, step: killAt(kill)})
	if err != nil {
		return err
	}
	m, err := readingStore(s).load(noisy)
	if err != nil {
		return err
	}
	if strings.HasPrefix(kill, "recover") {
		os.Exit(0) // nothing was left to recover
	}
	go func() { fmt.Fprintln(os.Stderr, makeNoise(s)); os.Exit(1) }()
	fmt.Println("ready")
	d, r := newDriver(s), rand.New(rand.NewPCG(seed, 1))
	for i := 1; ; i++ {
		fmt.Println("do", i)
		st := m.next(r)
		durable, err := d.do(st)
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i, st, err)
		}
		m.do(st)
		if durable {
			fmt.Println("ack", i, uint64(s.db.LastSealed()))
		}
	}
}

// makeNoise writes small files whole, over and over, and syncs.
func makeNoise(s *Store) error {
	ctx := context.Background()
	a, err := s.Lookup(RootIno, noisy)
	if err != nil {
		if a, err = s.Mkdir(alice, RootIno, noisy, 0o755); err != nil {
			return err
		}
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("f%d", i%20)
		var h *Handle
		if f, err := s.Lookup(a.Ino, name); err == nil {
			if h, err = s.OpenFile(alice, f.Ino, unix.O_WRONLY); err != nil {
				return err
			}
		} else if _, h, err = s.Create(alice, a.Ino, name, 0o644, true); err != nil {
			return err
		}
		if _, err := h.WriteAt(alice, bytes.Repeat(fmt.Appendf(nil, "%09d\n", i), 1+i%20*200), 0); err != nil {
			return err
		}
		if err := h.Close(ctx); err != nil {
			return err
		}
		if i%10 == 9 {
			if err := s.SyncAll(ctx); err != nil {
				return err
			}
		}
	}
}

func checkNoise(t *testing.T, s *Store) {
	t.Helper()
	a, err := s.Lookup(RootIno, noisy)
	if err != nil {
		return
	}
	rd := readingStore(s)
	list, err := rd.list(a.Ino)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		b, err := rd.read(e.Ino)
		if err != nil {
			t.Fatalf("noise/%s: %v", e.Name, err)
		}
		if len(b) > 0 && (len(b)%10 != 0 || strings.Count(string(b), string(b[:10])) != len(b)/10) {
			t.Fatalf("noise/%s is torn: %d bytes, %q…", e.Name, len(b), b[:10])
		}
	}
}

// crashRig is what the crash test knows from one round to the next.
type crashRig struct {
	dir     string
	r       *rand.Rand
	model   *model // the tree as the last round left it
	pasts   []pastState
	seq     uint64          // of the evidence that was compared
	proved  map[string]bool // transactions that the log tells of
	steps   int
	acks    int
	atSteps map[string]int
}

type pastState struct {
	at    kv.TS
	model *model
}

// Killed at any moment and at each named step of commit, seal, close and recovery, under
// load: the tree is exactly the state after some step, not before the last acknowledged
// one; every byte matches its hash; the past is as it was; and the log tells of the
// transactions that happened and of no other.
func TestKilledStoreIsSomeEpoch(t *testing.T) {
	t.Log("proves: F-106")
	rounds := 60
	switch {
	case testing.Short():
		rounds = 2 * len(crashSteps)
	case os.Getenv("AIOS_LONG") != "":
		rounds = 600
	}
	rig := &crashRig{dir: t.TempDir(), r: rand.New(rand.NewPCG(rand.Uint64(), 3)), model: newModel(), proved: map[string]bool{}, atSteps: map[string]int{}}
	for round := range rounds {
		if round > 0 && round%50 == 0 { // a long history makes each check slow
			rig.dir, rig.model, rig.pasts, rig.seq = t.TempDir(), newModel(), nil, 0
		}
		kill := ""
		if round%2 == 1 {
			kill = crashSteps[round/2%len(crashSteps)]
		}
		rig.round(t, round, kill)
	}
	// Some steps need a state that a crash leaves by chance: try until it did.
	for _, s := range crashSteps {
		for ; rig.atSteps[s] == 0; rounds++ {
			if rounds > 1500 {
				t.Fatalf("never killed at %q", s)
			}
			rig.round(t, rounds, s)
		}
	}
	t.Logf("%d rounds, %d steps, %d acknowledged; killed at steps: %v", rounds, rig.steps, rig.acks, rig.atSteps)
	for ; rig.acks < 2*len(crashSteps); rounds++ {
		if rounds > 1500 {
			t.Fatalf("only %d steps were acknowledged: this proves little", rig.acks)
		}
		rig.round(t, rounds, "")
	}
}

func (c *crashRig) round(t *testing.T, round int, kill string) {
	t.Helper()
	seed := c.r.Uint64()
	what := fmt.Sprintf("round %d, seed %d, %s", round, seed, kill)
	if !strings.HasPrefix(kill, "recover") {
		done, acks := c.crash(t, what, seed, kill, 1+c.r.IntN(4))
		c.check(t, what, seed, done, acks)
		return
	}
	done, acks := c.crash(t, what, seed, "", 0)
	c.crash(t, what, seed, kill, 1)
	c.check(t, what, seed, done, acks)
}

// crash lets a writer run until it is killed, at the n-th pass of a step or after a
// while, and gives the last step that it began and those that were acknowledged.
func (c *crashRig) crash(t *testing.T, what string, seed uint64, kill string, n int) (done int, acks map[int]kv.TS) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "AIOS_TEST_CRASH="+c.dir, "AIOS_TEST_SEED="+strconv.FormatUint(seed, 10), fmt.Sprintf("AIOS_TEST_STEP=%s=%d", kill, n))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	acks = map[int]kv.TS{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int
		var ts uint64
		line := lines.Text()
		if line == "ready" {
			wait := time.Duration(5+c.r.IntN(300)) * time.Millisecond
			if kill != "" {
				wait = 3 * time.Second // should the step not come
			}
			timer.Reset(wait)
		} else if _, err := fmt.Sscanf(line, "ack %d %d", &n, &ts); err == nil {
			acks[n] = kv.TS(ts)
		} else if _, err := fmt.Sscanf(line, "do %d", &n); err == nil {
			done = n
		}
	}
	err = cmd.Wait()
	inTime := timer.Stop()
	switch {
	case err == nil && strings.HasPrefix(kill, "recover"):
		return 0, nil
	case err == nil || err.Error() != "signal: killed":
		t.Fatalf("%s: the writer ended by itself: %v: %s", what, err, said.String())
	case kill != "" && inTime:
		c.atSteps[kill]++
	}
	c.steps, c.acks = c.steps+done, c.acks+len(acks)
	return done, acks
}

// check opens what the crash left and compares.
func (c *crashRig) check(t *testing.T, what string, seed uint64, done int, acks map[int]kv.TS) {
	t.Helper()
	ctx := context.Background()
	log, err := crashLog(c.dir)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	s, err := Open(ctx, Options{Dir: c.dir, Log: log})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got, err := readingStore(s).load(noisy)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	c.findState(t, what, got, seed, done, acks)
	checkNoise(t, s)
	for range min(4, len(c.pasts)) {
		p := c.pasts[c.r.IntN(len(c.pasts))]
		sn, err := s.At(p.at.Time())
		if err != nil {
			t.Fatalf("%s: as of %d: %v", what, p.at, err)
		}
		was, err := readingSnapshot(sn).load(noisy)
		if err != nil {
			t.Fatalf("%s: as of %d: %v", what, p.at, err)
		}
		was.forget(p.model)
		if diff := differs(was, p.model, nil); len(diff) > 0 {
			t.Fatalf("%s: as of %d:\n%s", what, p.at, strings.Join(diff, "\n"))
		}
		sn.Close()
	}
	rep, err := s.Fsck(ctx)
	if err != nil || len(rep.Problems) > 0 {
		t.Fatalf("%s: fsck: %v, %v", what, rep.Problems, err)
	}
	if err := s.WaitEvidence(ctx); err != nil {
		t.Fatal(err)
	}
	c.checkEvidence(t, what, s, log)
	if err := s.Close(); err != nil {
		t.Fatalf("%s: close: %v", what, err)
	}
	if names, err := s.blobs.ListStaging(); err != nil || len(names) > 0 {
		t.Fatalf("%s: staging files stay behind: %v, %v", what, names, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := evidence.Verify(ctx, filepath.Join(c.dir, "evidence"), evidence.VerifyOptions{})
	if err != nil || !v.Consistent {
		t.Fatalf("%s: the log: %+v, %v", what, v, err)
	}
	// What was open became versions; the next round starts from what is there.
	c.model = got
}

// findState finds the step whose state the tree has, not before the acknowledged one.
func (c *crashRig) findState(t *testing.T, what string, got *model, seed uint64, done int, acks map[int]kv.TS) {
	t.Helper()
	acked := 0
	for n := range acks {
		acked = max(acked, n)
	}
	var states []*model
	var steps []string
	m, r := c.model, rand.New(rand.NewPCG(seed, 1))
	keep := func() { states = append(states, m.clone()) }
	if acked == 0 {
		keep()
	}
	for i := 1; i <= done; i++ {
		st := m.next(r)
		steps = append(steps, fmt.Sprintf("%d %v ack=%d", i, st, acks[i]))
		m.do(st)
		if i >= acked {
			keep()
		}
		if ts, ok := acks[i]; ok && c.r.IntN(3) == 0 {
			p := m.clone()
			p.forgetStaged()
			c.pasts = append(c.pasts, pastState{ts, p})
		}
	}
	var all []string
	for k, state := range states {
		diff := differs(got, state, laterBytes(states[k:]))
		if len(diff) == 0 {
			return
		}
		all = append(all, fmt.Sprintf("step %d:\n  %s", acked+k, strings.Join(diff, "\n  ")))
		for _, d := range diff { // which state has what is there?
			p, _, _ := strings.Cut(d, ": ")
			if gn := got.find(p); gn != nil {
				for j, other := range states {
					if on := other.find(p); on != nil && bytes.Equal(on.data, gn.data) {
						all = append(all, fmt.Sprintf("  (%s has the bytes of step %d)", p, acked+j))
					}
				}
			}
		}
	}
	t.Fatalf("%s: the tree is of no step from %d to %d:\n%s\nsteps:\n%s", what, acked, done, strings.Join(all, "\n"), strings.Join(steps[max(0, len(steps)-60):], "\n"))
}

// laterBytes are the contents that a staged draft of the first state has in later ones,
// through whatever handle they were written.
func laterBytes(states []*model) map[string][][]byte {
	byDraft := map[*int][][]byte{}
	for _, s := range states[1:] {
		for _, n := range s.open {
			if n.drafts != nil {
				byDraft[n.drafts] = append(byDraft[n.drafts], n.data)
			}
		}
	}
	later := map[string][][]byte{}
	states[0].walk(func(p string, n *mnode) {
		if n.staged {
			later[p] = byDraft[n.drafts]
		}
	})
	return later
}

// checkEvidence compares the store's transactions with the log's records, of this round.
func (c *crashRig) checkEvidence(t *testing.T, what string, s *Store, log *evidence.Log) {
	t.Helper()
	view := s.db.View()
	defer view.Close()
	for rec, err := range log.Query(evidence.Query{Types: []record.Type{record.ExecutionCompleted}, FromSeq: c.seq}) {
		if err != nil {
			t.Fatal(err)
		}
		c.seq = rec.Seq + 1
		b, err := log.Payload(rec.ID)
		if err != nil {
			t.Fatalf("%s: payload of %s: %v", what, rec.ID, err)
		}
		var whole struct {
			Payload struct {
				Kind string `json:"detail_kind"`
				Txn  string `json:"transaction_id"`
				Root string `json:"merkle_root"`
			} `json:"payload"`
		}
		if err := json.Unmarshal(b, &whole); err != nil {
			t.Fatalf("%s: payload of %s: %v", what, rec.ID, err)
		}
		p := whole.Payload
		if p.Kind != "AIOSFS_TRANSACTION_COMMITTED" {
			continue
		}
		if c.proved[p.Txn] {
			t.Fatalf("%s: transaction %s stands in the log twice", what, p.Txn)
		}
		c.proved[p.Txn] = true
		id, err := ParseID(p.Txn)
		if err != nil {
			t.Fatal(err)
		}
		txn, err := view.Get(txnKey(id))
		if err != nil {
			t.Fatalf("%s: the log tells of transaction %s, which did not happen", what, p.Txn)
		}
		var rec txnRecord
		if err := json.Unmarshal(txn, &rec); err != nil || rec.Root != p.Root {
			t.Fatalf("%s: transaction %s: root %s in the log, %s in the store, %v", what, p.Txn, p.Root, rec.Root, err)
		}
	}
	for k, v := range view.Scan([]byte{'t'}, nil) {
		id := ID{kind: 't'}
		copy(id.u[:], k[1:])
		var rec txnRecord
		if err := json.Unmarshal(v, &rec); err != nil {
			t.Fatal(err)
		}
		if rec.Action == "" && !c.proved[id.String()] {
			t.Fatalf("%s: transaction %s has no evidence: %.300s %d", what, id, v, len(c.proved))
		}
	}
}
