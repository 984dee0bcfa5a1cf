package evidence

import (
	"context"

	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// A crash is a copy of the files of a running log, cut somewhere behind what
// its checkpoint covers.
func TestTornTail(t *testing.T) {
	l := openAt(t, Options{CheckpointEvery: time.Hour})
	appendN(t, l, 3)
	l.Checkpoint()
	signed := l.Head().Size
	rs := appendN(t, l, 2)
	crashed := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, l.o.Dir, crashed)
	recs, _ := os.ReadFile(filepath.Join(segmentPath(crashed, 1), recordsName))
	from := int(recordOffset(t, l, signed+1))
	second := int(recordOffset(t, l, signed+2))
	for _, name := range []string{recordsName, payloadsName} {
		start := from
		data := recs
		if name == payloadsName {
			data, _ = os.ReadFile(filepath.Join(segmentPath(crashed, 1), payloadsName))
			off, _ := refOffset(rs[0].PayloadRef, rs[0].SegmentID)
			start = int(off)
		}
		for n := start; n <= len(data); n += 37 {
			dir := filepath.Join(t.TempDir(), "try")
			copyDir(t, crashed, dir)
			if err := os.Truncate(filepath.Join(segmentPath(dir, 1), name), int64(n)); err != nil {
				t.Fatal(err)
			}
			if rep := verified(t, dir); rep.Records < signed {
				t.Fatalf("%+v", rep)
			}
			again, err := Open(context.Background(), Options{Dir: dir, Key: l.o.Key, Logger: quiet()})
			if err != nil || again.Health() != nil {
				t.Fatalf("%s cut to %d: %v %v", name, n, err, again.Health())
			}
			for seq := uint64(1); seq <= signed; seq++ {
				if _, err := again.At(seq); err != nil {
					t.Fatalf("%s cut to %d: record %d: %v", name, n, seq, err)
				}
			}
			_, lostFirst := again.Receipt(rs[0].ID)
			if name == recordsName && (n >= second) != (lostFirst == nil) {
				t.Fatalf("cut to %d: first unsigned record: %v", n, lostFirst)
			}
			events := 0
			for r := range again.Query(Query{Types: []record.Type{record.RecoveryEvent}}) {
				p, _ := again.Payload(r.ID)
				if jsonText(p, "event_kind") != "TORN_TAIL_CUT" {
					t.Fatalf("%s", p)
				}
				events++
			}
			clean := n == len(data)
			if clean != (events == 0) {
				t.Fatalf("%s cut to %d of %d: %d recovery events", name, n, len(data), events)
			}
			appendN(t, again, 1)
			again.Close()
			verified(t, dir)
		}
	}
	t.Log("proves: evidence-5")
}

func TestEvidence2_3_SealReasons(t *testing.T) {
	reasons := func(l *Log) (out []string) {
		for r, err := range l.Query(Query{Types: []record.Type{record.SegmentSealed}}) {
			if err != nil {
				t.Fatal(err)
			}
			p, err := l.Payload(r.ID)
			if err != nil {
				t.Fatal(err)
			}
			canonical, _, _ := splitPayload(p)
			if _, problem := checkSeal(canonical, l.public); problem != "" {
				t.Fatal(problem)
			}
			out = append(out, jsonText(p, "seal_reason"))
		}
		return out
	}
	l := openAt(t, Options{SealBytes: 4000})
	appendN(t, l, 20)
	if rs := reasons(l); len(rs) < 2 || slices.Contains(rs, sealAge) {
		t.Fatal(rs)
	}
	first, _ := l.At(1)
	last := l.Head()
	if first.SegmentID == last.Segment || first.Integrity != Sealed {
		t.Fatal("no new segment")
	}
	old := openAt(t, Options{SealAge: 20 * time.Millisecond})
	appendN(t, old, 1)
	time.Sleep(120 * time.Millisecond)
	if rs := reasons(old); !slices.Equal(rs, []string{sealAge}) {
		t.Fatal(rs)
	}
	old.Close()
	asked := openAt(t, Options{Dir: old.o.Dir, Key: old.o.Key})
	appendN(t, asked, 1)
	if err := asked.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	asked.Close()
	again := openAt(t, Options{Dir: old.o.Dir, Key: old.o.Key})
	appendN(t, again, 1)
	again.Close()
	again = openAt(t, Options{Dir: old.o.Dir, Key: old.o.Key})
	if rs := reasons(again); rs[len(rs)-1] != sealRestart || !slices.Contains(rs, sealOperator) {
		t.Fatal(rs)
	}
	verified(t, l.o.Dir)
	t.Log("proves: evidence-2 evidence-3")
}

func TestEvidence13_Rebuild(t *testing.T) {
	l := openAt(t, Options{SealBytes: 20_000})
	for i := range 120 {
		d := received(i)
		d.ActionID, d.CorrelationID = id("act_", i%7), "c-"+string(rune('a'+i%3))
		if i%3 == 2 {
			d.CorrelationID = "" // falls back to the action
		}
		if _, err := l.Append(context.Background(), d); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	answers := func(l *Log) string {
		all, _ := l.At(40)
		var out []string
		for _, q := range []Query{
			{ActionID: id("act_", 3)}, {CorrelationID: "c-b"}, {CorrelationID: id("act_", 2)}, {Types: []record.Type{record.SegmentSealed}}, {Subject: "family:alice", Limit: 9},
			{Since: all.RecordedAt}, {Until: all.RecordedAt}, {FromSeq: 77}, {FromSeq: 77, Reverse: true}, {Reverse: true, Limit: 3}, {ActionID: id("act_", 3), Reverse: true},
		} {
			n := 0
			for r, err := range l.Query(q) {
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, decimal(r.Seq))
				n++
			}
			if n == 0 {
				t.Fatalf("no answer to %+v", q)
			}
			out = append(out, ";")
		}
		return strings.Join(out, " ")
	}
	first := openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	want := answers(first)
	segment, _ := os.ReadFile(filepath.Join(segmentPath(l.o.Dir, 2), recordsName))
	if err := first.Rebuild(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := answers(first); got != want {
		t.Fatalf("after Rebuild:\n%s\n%s", got, want)
	}
	first.Close()
	for _, n := range []int{1, 2, 3} {
		os.Remove(filepath.Join(segmentPath(l.o.Dir, n), indexName))
	}
	second := openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	if err := second.Health(); err != nil {
		t.Fatal(err)
	}
	if got := answers(second); got != want {
		t.Fatalf("after deleting indexes:\n%s\n%s", got, want)
	}
	if again, _ := os.ReadFile(filepath.Join(segmentPath(l.o.Dir, 2), recordsName)); string(again) != string(segment) {
		t.Fatal("rebuilding touched a segment")
	}
	second.Close()
	flip(t, filepath.Join(segmentPath(l.o.Dir, 1), indexName), indexHead+50)
	third := openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	if _, err := third.At(1); err == nil {
		t.Fatal("a damaged index was believed")
	}
	if err := third.Rebuild(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := answers(third); got != want {
		t.Fatal("after rebuilding a damaged index")
	}
	t.Log("proves: evidence-13")
}

func TestEvidence7_8_Watch(t *testing.T) {
	l := openAt(t, Options{})
	appendN(t, l, 10)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	slow, err := l.Watch(ctx, 8)
	if err != nil {
		t.Fatal(err)
	}
	fast, err := l.Watch(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	for want := uint64(8); want <= 10; want++ {
		if r := <-slow; r.Seq != want {
			t.Fatalf("replay %d, want %d", r.Seq, want)
		}
	}
	appendN(t, l, 200) // slow reads nothing meanwhile
	for want := uint64(11); want <= 210; want++ {
		if r := <-fast; r.Seq != want {
			t.Fatalf("live %d, want %d", r.Seq, want)
		}
	}
	for want := uint64(11); want <= 210; want++ {
		if r := <-slow; r.Seq != want {
			t.Fatalf("slow %d, want %d", r.Seq, want)
		}
	}
	cancel()
	for range fast {
	}
	t.Log("proves: evidence-7")
}

// Verification of a directory that is being written, by readers only.
func TestVerifyLive(t *testing.T) {
	l := openAt(t, Options{SealBytes: 100_000, CheckpointEvery: 2 * time.Millisecond})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := l.Append(context.Background(), received(i)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for range 25 {
		rep := verified(t, l.o.Dir)
		ro, err := Open(context.Background(), Options{Dir: l.o.Dir, ReadOnly: true, Logger: quiet()})
		if err != nil || ro.Health() != nil {
			t.Errorf("read-only: %v %v", err, ro.Health())
			break
		}
		if ro.Head().Size < rep.TreeSize {
			t.Errorf("read-only sees %d of %d", ro.Head().Size, rep.TreeSize)
		}
		if _, err := ro.Append(context.Background(), received(1)); !errors.Is(err, ErrReadOnly) {
			t.Error(err)
		}
		ro.Close()
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if _, err := Open(context.Background(), Options{Dir: l.o.Dir, Key: l.o.Key, Logger: quiet()}); !errors.Is(err, ErrLocked) {
		t.Errorf("second writer: %v", err)
	}
	if _, err := Open(context.Background(), Options{Dir: l.o.Dir, Key: newKey(t), ReadOnly: true}); !errors.Is(err, ErrKey) {
		t.Errorf("other key: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	copyDir(t, l.o.Dir, copied)
	rep := verified(t, copied)
	t.Logf("%d records in %d segments", rep.Records, rep.Segments)
}

// A failed write is cut back and the next append goes on.
func TestFailedWrite(t *testing.T) {
	l := openAt(t, Options{})
	appendN(t, l, 2)
	s := l.active()
	good := s.files[1]
	closed, err := os.CreateTemp(t.TempDir(), "closed")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	l.do(context.Background(), func() error { s.files[1] = closed; return nil })
	if _, err := l.Append(context.Background(), received(1)); err == nil {
		t.Fatal("append to a closed file succeeded")
	}
	l.do(context.Background(), func() error { s.files[1] = good; return nil })
	if l.Head().Size != 2 {
		t.Fatal(l.Head().Size)
	}
}

func TestClosedLog(t *testing.T) {
	l := openAt(t, Options{})
	l.Close()
	if _, err := l.Append(context.Background(), received(1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if rep := verified(t, l.o.Dir); rep.Records != 0 {
		t.Error(rep)
	}
}
