package evidence

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// inject writes records past every check of an append, as somebody with the log's key
// could: links, tree and seals of what comes out are right.
func inject(t *testing.T, l *Log, ds ...Draft) {
	t.Helper()
	err := l.do(context.Background(), func() error {
		b, err := l.begin()
		if err != nil {
			return err
		}
		for _, d := range ds {
			if err := d.validate(); err != nil {
				return err
			}
			p, err := prepare(d)
			if err != nil {
				return err
			}
			if _, err := b.add(p); err != nil {
				return err
			}
		}
		if err := b.write(); err != nil {
			return err
		}
		b.publish()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func ofType(t *testing.T, l *Log, typ record.Type) (out []Receipt) {
	t.Helper()
	for r, err := range l.Query(Query{Types: []record.Type{typ}}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// A circle in a copy that is right in everything else is found by verification and by the
// audit, which records it, once, and fences its segments and no others: nothing can be
// built on them, also after a restart, and the log goes on.
func TestEvidence25_Cycle(t *testing.T) {
	ctx := context.Background()
	l := openAt(t, Options{})
	root := appendN(t, l, 1)[0]
	child := received(2)
	child.ParentID = root.ID
	if _, err := l.Append(ctx, child); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if rep := verified(t, l.o.Dir); rep.LineageDepth != 1 || rep.LineageCycle != nil {
		t.Fatalf("before: %+v", rep)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	copyDir(t, l.o.Dir, dir)
	l = openAt(t, Options{Dir: dir, Key: l.o.Key})
	ids := []string{l.Reserve(time.Now()), l.Reserve(time.Now()), l.Reserve(time.Now())}
	var circle [3]Draft
	for i := range circle {
		circle[i] = received(i)
		circle[i].ID, circle[i].ParentID = ids[i], ids[(i+2)%3]
	}
	first := l.Head().Size + 1
	inject(t, l, circle[0], circle[1])
	if err := l.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	inject(t, l, circle[2])
	if err := l.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	after := appendN(t, l, 1)[0]
	l.Checkpoint()

	want := []uint64{first, first + 1, first + 3} // a seal lies between
	rep, err := Verify(ctx, dir, VerifyOptions{})
	if err != nil || rep.Consistent || !strings.HasPrefix(rep.Problem, lineageCycle) || rep.FirstAnomalousID != ids[0] || !slices.Equal(rep.LineageCycle, want) {
		t.Fatalf("verification: %v %+v", err, rep)
	}
	for round := range 3 {
		rep, err := l.Audit(ctx, VerifyOptions{})
		if err != nil || rep.Consistent || !slices.Equal(rep.LineageCycle, want) {
			t.Fatalf("audit %d: %v %+v", round, err, rep)
		}
		if err := l.Health(); err != nil {
			t.Fatalf("audit %d: the bytes are as signed, and the log stopped: %v", round, err)
		}
		found := ofType(t, l, record.ReceiptLineageCycleDetected)
		if len(found) != 1 || found[0].Retention != record.Forever {
			t.Fatalf("audit %d: %d records of the circle", round, len(found))
		}
		for _, id := range ids {
			if r, err := l.Receipt(id); err != nil || r.Integrity != TamperQuarantine {
				t.Errorf("audit %d: %s is %s, %v", round, id, r.Integrity, err)
			}
			d := received(9)
			d.ParentID = id
			refusing(t, l, d, ErrQuarantinedParent)
		}
		for _, good := range []string{root.ID, after.ID} {
			if r, err := l.Receipt(good); err != nil || r.Integrity == TamperQuarantine {
				t.Errorf("audit %d: %s is %s, %v", round, good, r.Integrity, err)
			}
			d := received(9)
			d.ParentID = good
			if _, err := l.Append(ctx, d); err != nil {
				t.Errorf("audit %d: %v", round, err)
			}
		}
		d := received(9)
		d.ParentID = l.Reserve(time.Now())
		refusing(t, l, d, ErrOrphanedParent)
		if round == 1 {
			l.Close()
			l = openAt(t, Options{Dir: dir, Key: l.o.Key})
			if r, err := l.Receipt(ids[1]); err != nil || r.Integrity != TamperQuarantine {
				t.Fatalf("after a restart it is %s, %v", r.Integrity, err)
			}
		}
	}
	if n := len(l.Findings()); n != 0 {
		t.Errorf("%d findings of damage", n)
	}
	fenced := func() (n int) {
		for _, s := range l.segs {
			if s.quarantined.Load() {
				n++
			}
		}
		return n
	}
	before := fenced()
	l.Close()
	flip(t, filepath.Join(segmentPath(dir, 1), indexName), indexHead+50)
	l = openAt(t, Options{Dir: dir, Key: l.o.Key})
	if n := fenced(); n != before || n < 2 {
		t.Errorf("%d segments are fenced with a damaged index, %d before", n, before)
	}
	t.Log("proves: evidence-19 evidence-25")
}

// 1024 steps to the first ancestor are as many as a walk may have; one more is on record,
// and no damage.
func TestEvidence25_Depth(t *testing.T) {
	ctx := context.Background()
	l := openAt(t, Options{})
	parent := ""
	grow := func(n int) {
		t.Helper()
		var ds []Draft
		for i := range n {
			d := received(i)
			d.ID, d.ParentID = l.Reserve(time.Now()), parent
			parent = d.ID
			ds = append(ds, d)
		}
		if _, err := l.Append(ctx, ds...); err != nil {
			t.Fatal(err)
		}
	}
	audit := func(depth, records int) {
		t.Helper()
		for range 2 {
			rep, err := l.Audit(ctx, VerifyOptions{})
			if err != nil || !rep.Consistent || rep.LineageDepth != depth || rep.DeepestID != parent {
				t.Fatalf("%v %+v", err, rep)
			}
		}
		found := ofType(t, l, record.ReceiptLineageDepthExceeded)
		if len(found) != records || l.Health() != nil {
			t.Fatalf("%d steps: %d records, health %v", depth, len(found), l.Health())
		}
		if records > 0 {
			if p, err := l.Payload(found[records-1].ID); err != nil || jsonText(p, "receipt_id") != parent {
				t.Fatalf("%s %v", p, err)
			}
		}
	}
	grow(500)
	if err := l.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	grow(525)
	audit(1024, 0)
	grow(1)
	audit(1025, 1)
	grow(1)
	audit(1026, 2)
	if errors.Is(l.Health(), ErrDegraded) {
		t.Error("it is taken for damage")
	}
	t.Log("proves: evidence-25")
}
