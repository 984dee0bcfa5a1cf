package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func txPut(s *Store, expect *ID, files map[string]string) error {
	t := s.Begin(alice, "act_01ARZ3NDEKTSV4RRFFQ69G5FAV")
	for name, text := range files {
		if err := t.WriteFile(context.Background(), name, strings.NewReader(text), WriteOptions{Expect: expect}); err != nil {
			return err
		}
	}
	_, err := t.Commit(context.Background())
	return err
}

// Two objects that one commit changes are seen changed together: never a new one and
// then an old one, and as of any moment both of the same commit.
func TestF8_ReadersNeverSeeAMix(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	rounds := 10_000
	if testing.Short() {
		rounds = 1000
	} else {
		t.Log("proves: F-8")
	}
	write := func(i int) error { return txPut(s, nil, map[string]string{"a": strconv.Itoa(i), "b": strconv.Itoa(i)}) }
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	var looks atomic.Int64
	var wg sync.WaitGroup
	number := func(rd reading, name string, resolve func(string) (Attr, error)) int {
		a, err := resolve(name)
		if err != nil {
			t.Error(err)
			return -1
		}
		b, err := rd.read(a.Ino)
		if err != nil {
			t.Error(err)
			return -1
		}
		n, err := strconv.Atoi(string(b))
		if err != nil {
			t.Error(err)
		}
		return n
	}
	wg.Go(func() {
		rd := readingStore(s)
		for !done.Load() && !t.Failed() {
			a := number(rd, "a", s.Resolve)
			if b := number(rd, "b", s.Resolve); b < a {
				t.Errorf("a is of commit %d, b, read later, of %d", a, b)
			}
			looks.Add(1)
		}
	})
	wg.Go(func() {
		for !done.Load() && !t.Failed() {
			sn, err := s.At(time.Now())
			if err != nil {
				t.Error(err)
				return
			}
			rd := readingSnapshot(sn)
			if a, b := number(rd, "a", sn.Resolve), number(rd, "b", sn.Resolve); a != b {
				t.Errorf("as of one moment a is of commit %d, b of %d", a, b)
			}
			sn.Close()
			looks.Add(1)
		}
	})
	for i := range rounds {
		if err := write(i + 1); err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	wg.Wait()
	if looks.Load() < int64(rounds)/10 {
		t.Errorf("looked %d times at %d commits", looks.Load(), rounds)
	}
}

// Whatever happens to the tree, what was committed reads as it did.
func TestF12_CommittedBytesNeverChange(t *testing.T) {
	t.Log("proves: F-12")
	dir := t.TempDir()
	s := openStore(t, dir)
	m, d, r := newModel(), newDriver(s), rand.New(rand.NewPCG(12, 12))
	run := func(n int) {
		t.Helper()
		for range n {
			st := m.next(r)
			if _, err := d.do(st); err != nil {
				t.Fatalf("%s: %v", st, err)
			}
			m.do(st)
		}
	}
	hashes := func() map[ID]string {
		t.Helper()
		if err := s.SyncAll(context.Background()); err != nil {
			t.Fatal(err)
		}
		all := map[ID]string{}
		view := s.db.View()
		defer view.Close()
		for _, b := range view.Scan([]byte{'v'}, nil) {
			v, err := decodeVersion(b)
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.OpenVersion(v.id)
			if err != nil {
				t.Fatal(err)
			}
			h := newHasher()
			if _, err := io.Copy(h, io.NewSectionReader(c, 0, c.Size())); err != nil {
				t.Fatal(err)
			}
			all[v.id] = fmt.Sprintf("%d %x", c.Size(), h.Sum(nil))
			c.Close()
		}
		return all
	}
	run(900)
	before := hashes()
	run(1000)
	for _, h := range d.open {
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	if _, err := s.GC(context.Background()); err != nil {
		t.Fatal(err)
	}
	after := hashes()
	for id, h := range before {
		if after[id] != h {
			t.Errorf("version %s was %s, is %q", id, h, after[id])
		}
	}
	if len(before) < 50 || len(after) <= len(before) {
		t.Errorf("%d versions before, %d after: this proves little", len(before), len(after))
	}
}

// Of two commits that start from one version exactly one happens.
func TestF61_OneOfTwoCommitsWins(t *testing.T) {
	t.Log("proves: F-61")
	s := openStore(t, t.TempDir())
	defer s.Close()
	for i := range 100 {
		name := fmt.Sprintf("f%d", i)
		if err := txPut(s, nil, map[string]string{name: "base"}); err != nil {
			t.Fatal(err)
		}
		a, err := s.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		var errs [2]error
		var wg sync.WaitGroup
		for k := range errs {
			wg.Go(func() { errs[k] = txPut(s, &a.Version, map[string]string{name: fmt.Sprintf("writer %d", k)}) })
		}
		wg.Wait()
		won := -1
		for k, err := range errs {
			switch {
			case err == nil && won < 0:
				won = k
			case err == nil:
				t.Fatalf("%s: both commits went through", name)
			case !errors.Is(err, ErrStale):
				t.Fatalf("%s: %v", name, err)
			}
		}
		if won < 0 || get(t, s, RootIno, name) != fmt.Sprintf("writer %d", won) {
			t.Fatalf("%s: writer %d won, the file says %q", name, won, get(t, s, RootIno, name))
		}
		vs, err := s.Versions(a.Object)
		if err != nil || len(vs) != 3 || vs[0].State+vs[1].State+vs[2].State != "VERIFIEDVERIFIEDSTAGED" {
			t.Fatalf("%s: %d versions, %v", name, len(vs), err)
		}
	}
}

// What is stored can be read without the store: content is not encrypted.
func TestF64_StoredBytesArePlain(t *testing.T) {
	t.Log("proves: F-64")
	dir := t.TempDir()
	s := openStore(t, dir)
	large := bytes.Repeat([]byte("a large file, in plain words. "), 100_000)
	put(t, s, RootIno, "large", string(large))
	random := make([]byte, 40_000)
	rand.NewChaCha8([32]byte{64}).Read(random)
	put(t, s, RootIno, "middle", string(random)) // compression finds nothing in it
	small := make([]byte, 3000)
	rand.NewChaCha8([32]byte{46}).Read(small)
	put(t, s, RootIno, "small", string(small))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found["large"] = found["large"] || bytes.Equal(b, large)
		found["small"] = found["small"] || bytes.Contains(b, small)
		found["middle"] = found["middle"] || bytes.Contains(b, random)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"large", "small", "middle"} {
		if !found[name] {
			t.Errorf("the bytes of %s are nowhere on disk", name)
		}
	}
}
