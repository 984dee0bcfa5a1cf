package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
)

var alice = Cred{UID: 1000, GID: 1000, Subject: "local:alice"}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Store, dir Ino, name, text string) Attr {
	t.Helper()
	a, err := s.Lookup(dir, name)
	var h *Handle
	if errors.Is(err, ErrNotFound) {
		_, h, err = s.Create(alice, dir, name, 0o644, true)
	} else if err == nil {
		h, err = s.OpenFile(alice, a.Ino, unix.O_WRONLY|unix.O_TRUNC)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(alice, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	a, err = s.Lookup(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(t testing.TB, s *Store, dir Ino, name string) string {
	t.Helper()
	a, err := s.Lookup(dir, name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	h, err := s.OpenFile(alice, a.Ino, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	b, err := io.ReadAll(io.NewSectionReader(h, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != a.Size {
		t.Fatalf("%s: read %d bytes, size %d", name, len(b), a.Size)
	}
	return string(b)
}

func TestContentOfEverySizeSurvivesRemount(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	sizes := []int{0, 1, 4096, 4097, 65536, 65537, 3 << 20}
	text := func(n int) string { return string(bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz\n"), n/27+1)[:n]) }
	for _, n := range sizes {
		put(t, s, RootIno, "f"+time.Duration(n).String(), text(n))
	}
	for range 2 {
		for _, n := range sizes {
			if got := get(t, s, RootIno, "f"+time.Duration(n).String()); got != text(n) {
				t.Errorf("%d bytes: %d come back", n, len(got))
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir)
	}
	a, err := s.Lookup(RootIno, "f"+time.Duration(3<<20).String())
	if err != nil {
		t.Fatal(err)
	}
	vs, err := s.Versions(a.Object)
	if err != nil || len(vs) != 1 || vs[0].State != "VERIFIED" || vs[0].Hash == "" || len(vs[0].Chunks) < 3 {
		t.Errorf("the large version after a restart: %+v, %v", vs, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSaveByRenameContinuesTheObject(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	a := put(t, s, RootIno, "note.md", "one")
	if err := s.SetLabels(alice, a.Object, []string{"hike"}); err != nil {
		t.Fatal(err)
	}
	if err := s.RaisePrivacy(alice, a.Object, Classified); err != nil {
		t.Fatal(err)
	}
	b := put(t, s, RootIno, ".note.md.swp", "two")
	if b.Object == a.Object {
		t.Fatal("two files, one object")
	}
	if err := s.Rename(alice, RootIno, ".note.md.swp", RootIno, "note.md", 0); err != nil {
		t.Fatal(err)
	}
	c, err := s.Lookup(RootIno, "note.md")
	if err != nil || c.Object != a.Object || c.Ino != b.Ino {
		t.Fatalf("%+v, %v", c, err)
	}
	o, err := s.Object(c.Object)
	if err != nil || o.Class != "CLASSIFIED" || len(o.Labels) != 1 || o.State != "ACTIVE" {
		t.Errorf("%+v, %v", o, err)
	}
	vs, err := s.Versions(c.Object)
	if err != nil || len(vs) != 2 || vs[1].Parent != vs[0].ID {
		t.Errorf("%+v, %v", vs, err)
	}
	hist, err := s.NameHistory(RootIno, "note.md")
	if err != nil || len(hist) != 2 {
		t.Errorf("the name's history: %+v, %v", hist, err)
	}
	if got := get(t, s, RootIno, "note.md"); got != "two" {
		t.Error(got)
	}
	if err := s.RaisePrivacy(alice, c.Object, Public); !errors.Is(err, ErrPermission) {
		t.Errorf("a class fell: %v", err)
	}
}

func TestThePastCanBeRead(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	d, err := s.Mkdir(alice, RootIno, "d", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, d.Ino, "f", "first")
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	then := time.Now()
	time.Sleep(2 * time.Millisecond)
	put(t, s, d.Ino, "f", "second")
	if err := s.Unlink(alice, d.Ino, "f"); err != nil {
		t.Fatal(err)
	}
	if err := s.Rmdir(alice, RootIno, "d"); err != nil {
		t.Fatal(err)
	}
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	sn, err := s.At(then)
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	a, err := sn.Resolve("d/f")
	if err != nil {
		t.Fatal(err)
	}
	r, err := sn.Open(a.Ino)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || string(b) != "first" {
		t.Errorf("%q, %v", b, err)
	}
	if list, err := sn.List(RootIno); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := s.Lookup(RootIno, "d"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	names, err := s.NamesEver(d.Ino)
	if err != nil || len(names) != 1 || names[0] != "f" {
		t.Errorf("%v, %v", names, err)
	}
	hist, err := s.NameHistory(d.Ino, "f")
	if err != nil || len(hist) != 2 {
		t.Errorf("%+v, %v", hist, err)
	}
	trash, err := s.Trash(10, nil)
	if err != nil || len(trash) != 1 || trash[0].Name != "d" {
		t.Fatalf("%+v, %v", trash, err)
	}
	if below, err := s.TrashIn(d.Ino); err != nil || len(below) != 1 || below[0].Name != "f" {
		t.Errorf("%+v, %v", below, err)
	}
}

func TestUnlinkedFilesLiveWhileOpen(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	a := put(t, s, RootIno, "f", "still here")
	h, err := s.OpenFile(alice, a.Ino, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unlink(alice, RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if err := s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 20)
	if n, err := h.ReadAt(buf, 0); err != io.EOF || string(buf[:n]) != "still here" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if _, err := h.WriteAt(alice, []byte("WRITE"), 0); err != nil {
		t.Fatal(err)
	}
	if n, _ := h.ReadAt(buf, 0); string(buf[:n]) != "WRITE here" {
		t.Errorf("%q", buf[:n])
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetAttr(a.Ino); !errors.Is(err, ErrNotFound) {
		t.Errorf("the inode is left: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTransactionIsAllOrNothingAndCanBeUndone(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	defer s.Close()
	a := put(t, s, RootIno, "a", "old a")
	put(t, s, RootIno, "b", "old b")
	before, err := s.GetAttr(a.Ino)
	if err != nil {
		t.Fatal(err)
	}

	tx := s.Begin(alice, "act_1")
	stale := before.Version
	if err := tx.WriteFile(ctx, "a", bytes.NewReader([]byte("new a")), WriteOptions{Expect: &stale}); err != nil {
		t.Fatal(err)
	}
	if err := tx.WriteFile(ctx, "dir/sub/c", bytes.NewReader(bytes.Repeat([]byte("c"), 200_000)), WriteOptions{Parents: true}); err != nil {
		t.Fatal(err)
	}
	tx.Delete("b", false, nil)
	tx.PutRecord("run/1", []byte("state"))
	res, err := tx.Commit(ctx)
	if err != nil || len(res.Versions) != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	if get(t, s, RootIno, "a") != "new a" {
		t.Error("a is not new")
	}
	if b, err := s.GetRecord("run/1"); err != nil || string(b) != "state" {
		t.Errorf("%q, %v", b, err)
	}

	// A second transaction with the same base loses, and changes nothing at all.
	tx = s.Begin(alice, "act_2")
	if err := tx.WriteFile(ctx, "other", bytes.NewReader([]byte("x")), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := tx.WriteFile(ctx, "a", bytes.NewReader([]byte("loser")), WriteOptions{Expect: &stale}); err != nil {
		t.Fatal(err)
	}
	tx.PutRecord("run/2", []byte("state"))
	if _, err := tx.Commit(ctx); !errors.Is(err, ErrStale) {
		t.Fatalf("the loser: %v", err)
	}
	if _, err := s.Lookup(RootIno, "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the loser's file is there: %v", err)
	}
	if _, err := s.GetRecord("run/2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the loser's record is there: %v", err)
	}
	if get(t, s, RootIno, "a") != "new a" {
		t.Error("the loser changed a")
	}

	// Undo gives everything back, times and modes included.
	if _, err := s.Undo(ctx, alice, res.Transaction, "act_3", nil); err != nil {
		t.Fatal(err)
	}
	after, err := s.Lookup(RootIno, "a")
	if err != nil || !after.Mtime.Equal(before.Mtime) || after.Version != before.Version || after.Mode != before.Mode || !after.Ctime.Equal(before.Ctime) {
		t.Errorf("a: %+v\nwas %+v, %v", after, before, err)
	}
	if get(t, s, RootIno, "a") != "old a" || get(t, s, RootIno, "b") != "old b" {
		t.Error("the old bytes are not back")
	}
	if _, err := s.Lookup(RootIno, "dir"); !errors.Is(err, ErrNotFound) {
		t.Errorf("dir is left: %v", err)
	}
	if _, err := s.Undo(ctx, alice, res.Transaction, "act_4", nil); !errors.Is(err, ErrStale) {
		t.Errorf("undone twice: %v", err)
	}
}

func TestScopesDoNotMix(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	defer s.Close()
	ga, err := s.EnsureDir(ctx, "groups/a", 0o750, 0, 100, Scope{ScopeGroup, "a", ""})
	if err != nil {
		t.Fatal(err)
	}
	gb, err := s.EnsureDir(ctx, "groups/b", 0o750, 0, 101, Scope{ScopeGroup, "b", ""})
	if err != nil {
		t.Fatal(err)
	}
	f := put(t, s, ga.Ino, "f", "x")
	if err := s.Rename(alice, ga.Ino, "f", gb.Ino, "f", 0); !errors.Is(err, ErrCrossScope) {
		t.Errorf("rename: %v", err)
	}
	if _, err := s.Link(alice, f.Ino, gb.Ino, "f"); !errors.Is(err, ErrCrossScope) {
		t.Errorf("link: %v", err)
	}
	o, err := s.Object(f.Object)
	if err != nil || o.Scope != (Scope{ScopeGroup, "a", ""}) {
		t.Errorf("%+v, %v", o, err)
	}
}

// A change whose evidence the log would refuse does not happen.
func TestRefusedEvidenceRefusesTheTransaction(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	for _, withFile := range []bool{true, false} {
		tx := s.Begin(alice, "act_01ARZ3NDEKTSV4RRFFQ69G5FAV")
		if withFile {
			if err := tx.WriteFile(context.Background(), "f", strings.NewReader("x"), WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		tx.PutRecord("r", []byte("x"))
		tx.Emit(evidence.Draft{Type: record.ExecutionCompleted, Emitter: "nobody", Subject: "local:alice", Scope: "_system"})
		if _, err := tx.Commit(context.Background()); !evidence.Refused(err) {
			t.Fatalf("committed with an emitter that may not: %v", err)
		}
		if _, err := s.Resolve("f"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the file is there: %v", err)
		}
		if _, err := s.GetRecord("r"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the record is there: %v", err)
		}
	}
}

// A draft that changed nothing, but was in an epoch, is gone from the records when it is
// closed: nothing names its staging file any more.
func TestCleanDraftLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	for _, size := range []int64{100, 300_000} {
		put(t, s, RootIno, "f", strings.Repeat("x", int(size)))
		if err := s.SyncAll(context.Background()); err != nil {
			t.Fatal(err)
		}
		a, err := s.Lookup(RootIno, "f")
		if err != nil {
			t.Fatal(err)
		}
		h, err := s.OpenFile(alice, a.Ino, unix.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SetAttr(alice, a.Ino, SetAttr{Size: &size}); err != nil { // the size that it has
			t.Fatal(err)
		}
		if err := h.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := s.commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		b, err := s.get(inoKey(a.Ino))
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := decodeInode(b); err != nil || n.drafted || n.large().staging != "" {
			t.Errorf("%d bytes: the record still has a draft: %v, %+v", size, err, n)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	defer s.Close()
	if got := get(t, s, RootIno, "f"); len(got) != 300_000 {
		t.Errorf("%d bytes", len(got))
	}
	if names, err := s.blobs.ListStaging(); err != nil || len(names) > 0 {
		t.Errorf("staging: %v, %v", names, err)
	}
}
