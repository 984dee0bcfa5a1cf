package kv

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// powerCut copies a database as a power cut may leave it: of Badger's logs only what was
// synced, of the journal all.
type powerCut struct {
	t    *testing.T
	dir  string
	disk string // the logs when they were synced last
	mu   sync.Mutex
}

func newPowerCut(t *testing.T, dir string) (*DB, *powerCut) {
	t.Helper()
	c := &powerCut{t: t, dir: dir, disk: t.TempDir()}
	d := open(t, Options{Dir: dir, MemTable: 1 << 20})
	d.logs.synced = func(name string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		err := sparse(name, filepath.Join(c.disk, filepath.Base(name)))
		if _, gone := os.Stat(name); err != nil && gone == nil { // else a flush was faster
			t.Error(err)
		}
	}
	if err := d.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	return d, c
}

func sparse(from, to string) error {
	return exec.Command("cp", "--sparse=always", from, to).Run()
}

// now gives a directory as the cut leaves it at this moment. A flush or a compaction in the
// background that comes while it is copied has it copied again: the disk stops at once.
func (c *powerCut) now() string {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for range 1000 {
		to, before := c.t.TempDir(), c.files()
		if err = c.copyTo(to); err == nil && c.files() == before {
			return to
		}
		os.RemoveAll(to)
	}
	c.t.Fatalf("the database is never at rest: %v", err)
	return ""
}

// files tells whether Badger has changed which files there are.
func (c *powerCut) files() string {
	c.t.Helper()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return fmt.Sprint(names, size(c.t, filepath.Join(c.dir, "MANIFEST")))
}

func (c *powerCut) copyTo(to string) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from := filepath.Join(c.dir, e.Name())
		if filepath.Ext(e.Name()) == ".mem" {
			from = filepath.Join(c.disk, e.Name())
			if _, err := os.Stat(from); err != nil {
				continue // its name was never synced
			}
		}
		if err := sparse(from, filepath.Join(to, e.Name())); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

func holds(t *testing.T, dir string, n int) {
	t.Helper()
	d := open(t, Options{Dir: dir, MemTable: 1 << 20})
	defer d.Close()
	v := d.View() // dump closes it
	if got := count(v); got != n {
		t.Fatalf("epoch %d is there, %d was acknowledged last", got, n)
	}
	if !maps.Equal(dump(t, v), modelAt(n)) {
		t.Fatalf("not the state of epoch %d", n)
	}
}

// Epochs that were acknowledged are there after a power cut, though Badger's log was not
// synced: in what the journal holds, at every turn of its halves, across large epochs,
// and commits that nobody synced. Their times stay.
func TestJournalAfterAPowerCut(t *testing.T) {
	ctx := context.Background()
	d, c := newPowerCut(t, t.TempDir())
	defer d.Close()
	rounds := 1500
	if testing.Short() {
		rounds = 400
	}
	pad := bytes.Repeat([]byte("p"), 12<<10) // so that the halves turn
	journaled, turns, gen := 0, 0, d.journal.gen
	for n := 1; n <= rounds; n++ {
		b := epochOf(n, map[string]string{})
		b.Set([]byte("kpad"), pad)
		if n%50 == 7 {
			if _, err := d.Commit(ctx, b); err != nil { // nobody was promised this one
				t.Fatal(err)
			}
			continue
		}
		ts, err := d.CommitSync(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		if d.LastSynced() < ts {
			journaled++
		}
		if d.journal.gen != gen {
			gen = d.journal.gen
			turns++
		}
		if n%97 != 0 {
			continue
		}
		cut := c.now()
		e := open(t, Options{Dir: cut, MemTable: 1 << 20})
		v, err := e.ViewAt(ts)
		if err != nil || v.TS() != ts || count(v) != n {
			t.Fatalf("as of epoch %d: %v, %v, %d", n, err, v.TS(), count(v))
		}
		want := modelAt(n)
		want["kpad"] = string(pad)
		if !maps.Equal(dump(t, v), want) {
			t.Fatalf("not the state of epoch %d", n)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if journaled < rounds/2 || turns < 2 {
		t.Errorf("%d of %d epochs went to the journal, %d turns: this proves little", journaled, rounds, turns)
	}
}

// A record that the power cut tore was never acknowledged; nor is what only looks like one.
func TestTornJournal(t *testing.T) {
	ctx := context.Background()
	d, c := newPowerCut(t, t.TempDir())
	defer d.Close()
	var ends []int64
	for n := 1; n <= 3; n++ {
		if _, err := d.CommitSync(ctx, epochOf(n, map[string]string{})); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, d.journal.pos)
	}
	holds(t, c.now(), 3)
	for at := ends[1]; at < ends[2]; at += max(7, (ends[2]-ends[1])/20) {
		cut := c.now()
		f, err := os.OpenFile(filepath.Join(cut, journalName), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x40
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		f.Close()
		holds(t, cut, 2)
		holds(t, cut, 2) // and stays so
	}
}

// Where the journal cannot be written the log is synced as without one.
func TestJournalFails(t *testing.T) {
	ctx := context.Background()
	d, c := newPowerCut(t, t.TempDir())
	defer d.Close()
	for n := 1; n <= 6; n++ {
		if n == 3 {
			d.journal.f.Close()
		}
		if _, err := d.CommitSync(ctx, epochOf(n, map[string]string{})); err != nil {
			t.Fatal(err)
		}
		holds(t, c.now(), n)
	}
	if d.journal.err == nil {
		t.Error("the journal did not fail")
	}
}

func FuzzJournal(f *testing.F) {
	b := NewBatch()
	b.Set([]byte("key"), []byte("value"))
	b.Delete([]byte("gone"))
	b.Set([]byte("empty"), nil)
	f.Add(encodeEntry(nil, entry{1, 2, 3, b}))
	f.Add([]byte("AIJ1"))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, rest, ok := decodeEntry(in)
		if !ok {
			return
		}
		again, _, ok := decodeEntry(encodeEntry(nil, e))
		if !ok || again.gen != e.gen || again.ts != e.ts || again.prev != e.prev || !maps.EqualFunc(again.batch.m, e.batch.m, func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }) {
			t.Errorf("%+v is read back as %+v", e, again)
		}
		if len(rest) >= len(in) {
			t.Error("a record of no length")
		}
	})
}
