package objects

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWhenReadingIsDue(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		what                string
		atime, mtime, ctime time.Duration // before now
		want                bool
	}{
		{"never read since it was made", time.Hour, time.Hour, time.Hour, true},
		{"read since", time.Minute, time.Hour, time.Hour, false},
		{"written since", time.Hour, time.Minute, time.Minute, true},
		{"only its mode was changed since", time.Hour, 2 * time.Hour, time.Minute, true},
		{"read a day ago", 24 * time.Hour, 48 * time.Hour, 48 * time.Hour, true},
		{"read nearly a day ago", 24*time.Hour - time.Second, 48 * time.Hour, 48 * time.Hour, false},
		{"read in the future", -time.Hour, time.Hour, time.Hour, false},
		{"written in the future", 0, -time.Hour, time.Hour, true},
	} {
		n := &inode{atime: ago(c.atime), mtime: ago(c.mtime), ctime: ago(c.ctime)}
		if got := n.due(Relatime, now); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
		if n.due(NoAtime, now) || !n.due(StrictAtime, now) {
			t.Errorf("%s: noatime moves it, or strictatime does not", c.what)
		}
	}
}

// attrs gives a name's attributes.
func attrs(t *testing.T, s *Store, name string) Attr {
	t.Helper()
	a, err := s.Lookup(RootIno, name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A reading is no change: no epoch, no record, no version, nothing that anybody hears of.
// It is kept all the same, when the inode leaves memory and when the store is closed.
func TestReadingIsKeptAndIsNoChange(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	open := func(readOnly bool) *Store {
		s, err := Open(ctx, Options{Dir: dir, CacheNodes: 4, EpochInterval: time.Hour, ReadOnly: readOnly})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(false)
	names := make([]string, 600) // more than one block of the table
	for i := range names {
		names[i] = string(rune('a'+i/26)) + string(rune('a'+i%26))
		put(t, s, RootIno, names[i], "text")
	}
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	heard := 0
	defer s.Subscribe(func(Change) { heard++ })()
	before, seq := map[string]Attr{}, s.db.LastSealed()
	read := map[string]time.Time{}
	for i, name := range names {
		a := attrs(t, s, name)
		before[name] = a
		if i%3 == 0 {
			continue
		}
		if !s.Accessed(a.Ino, Relatime) || s.Accessed(a.Ino, Relatime) {
			t.Fatalf("%s: the first reading counts, and the second does not", name)
		}
		read[name] = attrs(t, s, name).Atime
	}
	check := func(what string) {
		t.Helper()
		for _, name := range names {
			a, want := attrs(t, s, name), before[name]
			if at, ok := read[name]; ok {
				want.Atime = at
			}
			if !a.Atime.Equal(want.Atime) || !a.Mtime.Equal(want.Mtime) || !a.Ctime.Equal(want.Ctime) || a.Version != want.Version {
				t.Fatalf("%s: %s is %+v, want %+v", what, name, a, want)
			}
		}
	}
	check("evicted")
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	if now := s.db.LastSealed(); now != seq || heard > 0 {
		t.Errorf("reading made an epoch (%v after %v), or was told %d times", now, seq, heard)
	}
	if v, err := s.Versions(before["ab"].Object); err != nil || len(v) != 1 {
		t.Errorf("a file that was read has %d versions: %v", len(v), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(false)
	check("opened again")

	// What a program sets counts, and the record of any change has the reading in it.
	set := time.Unix(1_000_000, 5)
	if _, err := s.SetAttr(alice, before["ab"].Ino, SetAttr{Atime: &set}); err != nil {
		t.Fatal(err)
	}
	mode := uint32(0o600)
	a, err := s.SetAttr(alice, before["ac"].Ino, SetAttr{Mode: &mode})
	if err != nil {
		t.Fatal(err)
	}
	read["ab"], before["ac"] = set, a
	ab := before["ab"]
	ab.Ctime = attrs(t, s, "ab").Ctime
	before["ab"] = ab
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(true)
	defer s.Close()
	check("changed and opened again, to read only")
	if s.Accessed(before["ac"].Ino, StrictAtime) || s.AccessDue(before["ac"].Ino, Relatime) {
		t.Error("reading moves a time of a store that must not be written")
	}
}

// fsync makes a reading durable, whatever happens then.
func TestFsyncKeepsAReading(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := Open(ctx, Options{Dir: dir, EpochInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a := put(t, s, RootIno, "f", "text")
	if err := s.SyncAll(ctx); err != nil {
		t.Fatal(err)
	}
	if !s.Accessed(a.Ino, Relatime) {
		t.Fatal("the first reading does not count")
	}
	if err := s.SyncIno(ctx, a.Ino); err != nil {
		t.Fatal(err)
	}
	want := attrs(t, s, "f").Atime
	later := t.TempDir() // what a crash leaves
	if err := os.CopyFS(later, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, later)
	defer again.Close()
	if got := attrs(t, again, "f").Atime; !got.Equal(want) {
		t.Errorf("read at %v, want %v", got, want)
	}
}

// What the kernel reads in a lent host file moves the time; looking at the file does not,
// nor does what the store reads in it.
func TestReadingOfALentFileShows(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	defer s.Close()
	a := put(t, s, RootIno, "big", string(make([]byte, 300<<10)))
	h, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	loan, ok, err := h.Lend(ctx, false)
	if err != nil || !ok {
		t.Fatalf("not lent: %v", err)
	}
	if !hostCounts(loan.File) {
		t.Skip("the host does not move times of reading")
	}
	if _, err := h.ReadAt(make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.sealAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := h.Attr()
	if !before.Atime.Equal(a.Atime) {
		t.Fatalf("it was lent, and counts as read: %v, was %v", before.Atime, a.Atime)
	}
	kernel, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(loan.File.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Close()
	read := func() Attr {
		t.Helper()
		if _, err := kernel.ReadAt(make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
		return h.Attr()
	}
	first := read()
	if !first.Atime.After(before.Ctime) || !first.Ctime.Equal(before.Ctime) || !first.Mtime.Equal(before.Mtime) {
		t.Errorf("read, and it is %+v, was %+v", first, before)
	}
	if second := read(); !second.Atime.Equal(first.Atime) {
		t.Errorf("the second reading moved it: %v, was %v", second.Atime, first.Atime)
	}
	old := time.Now().Add(-25 * time.Hour)
	if _, err := s.SetAttr(alice, a.Ino, SetAttr{Atime: &old}); err != nil {
		t.Fatal(err)
	}
	if got := h.Attr().Atime; !got.Equal(old) {
		t.Errorf("set to %v, and is %v", old, got)
	}
	if third := read(); !third.Atime.After(first.Atime) {
		t.Errorf("read a day later, and it is %v", third.Atime)
	}
}
