package objects

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Removing all names of a file that has many looks at each once, whichever way it goes:
// when it looked at all that were left each time, removing 65,000 links kept everybody on
// the mount waiting. Counted is the processor's time: 3,053 names of 10,000 took 15 s, all
// of them take less than one now.
func TestManyNamesAreRemovedInTurn(t *testing.T) {
	t.Run("forward", func(t *testing.T) { removeNames(t, func(i int) string { return fmt.Sprintf("n%05d", i) }) })
	t.Run("backward", func(t *testing.T) { removeNames(t, func(i int) string { return fmt.Sprintf("n%05d", 99999-i) }) })
}

func removeNames(t *testing.T, name func(int) string) {
	const names, most = 10_000, 25 * time.Second
	s := openStore(t, t.TempDir())
	defer s.Close()
	a := put(t, s, RootIno, name(0), "text")
	for i := 1; i < names; i++ {
		if _, err := s.Link(alice, a.Ino, RootIno, name(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := cpu()

	for i := range names - 1 {
		if err := s.Unlink(alice, RootIno, name(i)); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 500 {
			a, err := s.GetAttr(a.Ino)
			p, perr := s.PathOf(a.Ino)
			if err != nil || perr != nil || int(a.Nlink) != names-1-i || p == name(i) {
				t.Fatalf("after %s: %d links, at %q, want %d and not %q: %v, %v", name(i), a.Nlink, p, names-1-i, name(i), err, perr)
			}
		}
		if took := cpu() - begin; took > most {
			t.Fatalf("%d of %d names took %v", i, names, took)
		}
	}
}

// A record of removed names that gets one more is as if it had been read and written anew,
// also where the oldest name goes for it; any other record is left to that.
func TestOneMoreRemovedName(t *testing.T) {
	name := func(i int) graveName {
		return graveName{Ino(7), ID{kind: 'o'}, fmt.Sprint("n", i), time.Unix(int64(i), 5).UTC(), "local:alice", 1000}
	}
	g := &grave{names: []graveName{name(0)}}
	b, own := g.encode(), false
	for i := 1; i < maxGraveNames+50; i++ {
		var ok bool
		before := string(b)
		was := b
		if b, ok = moreNames(b, own, name(i)); !ok {
			t.Fatal(i)
		}
		if !own && string(was) != before {
			t.Fatalf("%d: a record that is somebody else's was written on", i)
		}
		own = i%3 > 0
		g.names = append(g.names, name(i))
		if len(g.names) > maxGraveNames {
			g.names = g.names[1:]
		}
		if string(b) != string(g.encode()) {
			t.Fatalf("%d names: the record is another", i+1)
		}
	}
	for what, g := range map[string]*grave{"nothing": {}, "a can": {names: g.names, can: true}, "a file": {inode: &inode{ino: 7}, names: g.names[:3]}} {
		if _, ok := moreNames(g.encode(), false, name(1)); ok {
			t.Errorf("%s is taken for names alone", what)
		}
	}
}
