package objects

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestRetentionThins(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	every := func(n int, step time.Duration) (l []time.Time) {
		for i := range n {
			l = append(l, now.Add(-time.Duration(i)*step))
		}
		return l
	}
	const keep = 90 * thinDay
	for _, c := range []struct {
		policy string
		made   []time.Time
		least  int
		most   int
	}{
		{"all", every(10_000, time.Hour), 10_000, 10_000},
		{"none", every(100, time.Second), 1, 1},
		{"last=7", every(100, time.Second), 7, 7},
		{"days=2", every(100, time.Hour), 49, 49},
		{"days=200000", every(100, time.Hour), 100, 100}, // longer than a Duration can say
		{"days=999999999", every(100, time.Hour), 100, 100},
		{"", every(1000, time.Second), 1000, 1000},
		{"", every(10_000, 100*time.Millisecond), 1000, 1020},
		{"", every(900, 2*time.Hour), 900, 900},
		{"", every(3000, time.Hour), 1000 + 48, 1000 + 50},
		{"", every(20, 10*thinDay), 10, 10},
	} {
		r, err := parseRetention(c.policy)
		if err != nil && c.policy != "" {
			t.Fatal(err)
		}
		kept := 0
		drop := r.ended(c.made, now, keep)
		for _, d := range drop {
			if !d {
				kept++
			}
		}
		if drop[0] || kept < c.least || kept > c.most {
			t.Errorf("%q of %d: %d are kept, want %d to %d", c.policy, len(c.made), kept, c.least, c.most)
		}
	}
	for _, bad := range []string{"some", "last=0", "last=", "days=-1", "days=+1", "last=x", "last=99999999999"} {
		if err := ParseRetention(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A pass keeps to the nearest directory's policy, to what snapshots hold, and purges what
// has been in the trash long enough; all that is left is sound, and survives GC.
func TestPurge(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	s, err := Open(ctx, Options{Dir: t.TempDir(), Now: func() time.Time { now = now.Add(time.Millisecond); return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	text := func(dir string, i int) string { return fmt.Sprintf("%s %d %0*d", dir, i, i%2*10_000, 0) }
	dirs := map[string]Ino{}
	files := map[string]ID{}
	for _, d := range []string{"all", "none", "last=3", "plain"} {
		dirs[d] = mkdir(t, s, RootIno, d)
		if d != "plain" {
			if err := s.SetXattr(alice, dirs[d], RetentionXattr, []byte(d), false, false); err != nil {
				t.Fatal(err)
			}
		}
		sub := mkdir(t, s, dirs[d], "sub")
		for i := range 6 {
			files[d] = put(t, s, sub, "f", text(d, i)).Object
		}
		put(t, s, sub, "gone", "x")
		if err := s.Unlink(alice, sub, "gone"); err != nil {
			t.Fatal(err)
		}
	}
	pin, err := s.CreatePin(alice, "before")
	if err != nil {
		t.Fatal(err)
	}
	for d := range dirs {
		a, err := s.Lookup(dirs[d], "sub")
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, a.Ino, "f", "newest "+d)
		put(t, s, a.Ino, "f", "current "+d)
	}
	count := func(d string) int {
		t.Helper()
		vs, err := s.Versions(files[d])
		if err != nil {
			t.Fatal(err)
		}
		return len(vs)
	}
	rep, err := s.Purge(ctx)
	if err != nil || rep.Versions == 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	// `none` and `last` keep what the snapshot shows as well.
	for d, want := range map[string]int{"all": 8, "none": 2, "last=3": 3, "plain": 8} {
		if got := count(d); got != want {
			t.Errorf("%s: %d versions, want %d", d, got, want)
		}
	}
	read := func() {
		t.Helper()
		sn, err := s.At(pin.Time)
		if err != nil {
			t.Fatal(err)
		}
		defer sn.Close()
		for d := range dirs {
			a, err := sn.Resolve(d + "/sub/f")
			if err != nil {
				t.Fatal(err)
			}
			r, err := sn.Open(a.Ino)
			if err != nil {
				t.Errorf("%s in the snapshot: %v", d, err)
				continue
			}
			b := make([]byte, r.Size())
			if _, err := r.ReadAt(b, 0); string(b) != text(d, 5) {
				t.Errorf("%s in the snapshot: %.20q, %v", d, b, err)
			}
			r.Close()
		}
	}
	read()
	if l, err := s.Trash(10, nil); err != nil || len(l) != 3 {
		t.Errorf("the trash has %d, %v", len(l), err)
	}
	now = now.Add(100 * thinDay)
	if _, err := s.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	if l, err := s.Trash(10, nil); err != nil || len(l) != 1 {
		t.Errorf("after 100 days the trash has %d, want that of `all`: %v", len(l), err)
	}
	read()
	sound(t, s)
	if _, err := s.GC(ctx); err != nil {
		t.Fatal(err)
	}
	read()
	sound(t, s)
	for d := range dirs {
		a, err := s.Lookup(dirs[d], "sub")
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, a.Ino, "f"); got != "current "+d {
			t.Errorf("%s is %q", d, got)
		}
	}
	if err := s.DeletePin("before"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	if got := count("none"); got != 1 {
		t.Errorf("none keeps %d without the snapshot", got)
	}
	sound(t, s)
}

// What a file held before it was renamed over another is let go of by the retention of the
// place where it went: a program that writes a temporary file in two goes and renames it
// leaves the first of them as a version of an object that no name has.
func TestPurgeOfWhatWasRenamedOver(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	s, err := Open(ctx, Options{Dir: t.TempDir(), Now: func() time.Time { now = now.Add(time.Millisecond); return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dirs := map[string]Ino{}
	before := map[string]ID{}
	for _, d := range []string{"all", "none", "days=5", "plain"} {
		dirs[d] = mkdir(t, s, RootIno, d)
		if d != "plain" {
			if err := s.SetXattr(alice, dirs[d], RetentionXattr, []byte(d), false, false); err != nil {
				t.Fatal(err)
			}
		}
		put(t, s, dirs[d], "f", "old "+d)
		before[d] = put(t, s, dirs[d], "t", "first go "+d).Version
		put(t, s, dirs[d], "t", "second go "+d)
		if err := s.Rename(alice, dirs[d], "t", dirs[d], "f", 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		after time.Duration
		left  map[string]bool
	}{
		{0, map[string]bool{"all": true, "days=5": true, "plain": true}},
		{6 * thinDay, map[string]bool{"all": true, "plain": true}},
		{100 * thinDay, map[string]bool{"all": true}},
	} {
		now = now.Add(c.after)
		if _, err := s.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		for d, id := range before {
			if _, err := s.Version(id); (err == nil) != c.left[d] {
				t.Errorf("after %v in %s: the first go is there: %v, want %v (%v)", c.after, d, err == nil, c.left[d], err)
			}
			if got := get(t, s, dirs[d], "f"); got != "second go "+d {
				t.Errorf("after %v, %s/f reads as %q", c.after, d, got)
			}
		}
		if rep, err := s.Fsck(ctx); err != nil || len(rep.Problems) > 0 {
			t.Errorf("after %v: %v, %v", c.after, rep.Problems, err)
		}
	}
}
