package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// collected are the chunks and files that records of collections name.
func collected(drafts []map[string]any) (ids []string) {
	for _, p := range drafts {
		if p["detail_kind"] != "AIOSFS_CHUNK_PASS" {
			continue
		}
		for _, k := range []string{"chunk_ids", "content_hashes"} {
			list, _ := p[k].([]any)
			for _, x := range list {
				ids = append(ids, x.(string))
			}
		}
	}
	return ids
}

// What an aborted transaction had put into packs is there for 24 hours, whatever is
// collected meanwhile; then a collection takes it, and its record names it (F-5). The same
// holds where the store gave the transaction up, and after a restart. What somebody has
// written since stays.
func TestF5_ChunksOfAbortedWork(t *testing.T) {
	ctx := context.Background()
	c := &later{}
	x := openToldAt(t, c.now)
	s := x.s
	alone, shared, late := noise(20_000, 1), noise(20_000, 2), noise(20_000, 3)
	begin := func(content ...[]byte) *Tx {
		t.Helper()
		tx := s.Begin(alice, "")
		for i, b := range content {
			if err := tx.WriteFile(ctx, "f"+string(rune('a'+i)), bytes.NewReader(b), WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		return tx
	}
	given := begin(late)
	if err := begin(alone, shared).Discard(); err != nil {
		t.Fatal(err)
	}
	c.advance(2 * time.Hour) // longer than a transaction may be pending
	if _, err := given.Commit(ctx); !errors.Is(err, ErrExpired) {
		t.Fatal(err)
	}
	there := func(b []byte) bool {
		t.Helper()
		got, err := s.rawChunk(blob.Sum(b))
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil && bytes.Equal(got, b)
	}
	gc := func(when string, want ...[]byte) {
		t.Helper()
		before := len(x.records(record.GcPass))
		if _, err := s.GC(ctx); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, b := range want {
			ids = append(ids, chunkID(blob.Sum(b)))
		}
		got := collected(x.records(record.GcPass)[before:])
		slices.Sort(ids)
		slices.Sort(got)
		if !slices.Equal(got, ids) {
			t.Errorf("%s: the record names %v, want %v", when, got, ids)
		}
	}
	if !there(alone) || !there(shared) || !there(late) {
		t.Error("aborted a moment ago: what was stored is gone")
	}
	put(t, s, RootIno, "mine", string(shared))
	x.stop()
	x.start()
	s = x.s
	c.advance(21 * time.Hour)
	gc("after 23 hours")
	if !there(alone) || !there(shared) || !there(late) {
		t.Error("after 23 hours: what was stored is gone")
	}
	c.advance(2 * time.Hour)
	gc("after 25 hours", alone)
	if there(alone) || !there(shared) || !there(late) {
		t.Errorf("after 25 hours: alone %v, shared %v, given up 23 hours ago %v", there(alone), there(shared), there(late))
	}
	c.advance(2 * time.Hour)
	gc("after 27 hours", late)
	gc("once more")
	mine, err := s.Lookup(RootIno, "mine")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.OpenVersion(mine.Version)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, shared) {
		t.Errorf("what was written since: %d bytes, %v", len(b), err)
	}
	t.Log("proves: F-5")
}

// A removed file is read for audit as long as its retention runs, and not written; after 90
// days it is a stub, its chunks are collected, and both leave evidence (F-9). Versions that
// lost a conflict or are in quarantine go with it.
func TestF9_RetiredAndPurged(t *testing.T) {
	ctx := context.Background()
	c := &later{}
	x := openToldAt(t, c.now)
	s := x.s
	first, second, bad := noise(20_000, 1), noise(20_000, 2), noise(20_000, 3)
	fenced := put(t, s, RootIno, "f", string(bad)).Version
	old := put(t, s, RootIno, "f", string(first)).Version
	a := put(t, s, RootIno, "f", string(second))
	other := put(t, s, RootIno, "other", string(first))
	tx := s.Begin(alice, "")
	tx.Quarantine(fenced, "it should never have been here")
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Unlink(alice, RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		t.Helper()
		o, err := s.Object(a.Object)
		if err != nil {
			t.Fatal(err)
		}
		return o.State
	}
	read := func(v ID) ([]byte, error) {
		r, err := s.OpenVersion(v)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		return b, errors.Join(err, r.Close())
	}
	pass := func() {
		t.Helper()
		if _, err := s.Purge(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := s.GC(ctx); err != nil {
			t.Fatal(err)
		}
	}
	c.advance(89 * 24 * time.Hour)
	pass()
	if got := state(); got != Retired.String() {
		t.Errorf("after 89 days it is %s", got)
	}
	for v, want := range map[ID][]byte{old: first, a.Version: second} {
		if b, err := read(v); err != nil || !bytes.Equal(b, want) {
			t.Errorf("read for audit: %d bytes, %v", len(b), err)
		}
	}
	if _, err := s.OpenFile(alice, a.Ino, os.O_WRONLY); !errors.Is(err, ErrNotFound) {
		t.Errorf("opened to be written: %v", err)
	}
	c.advance(2 * 24 * time.Hour)
	pass()
	if got := state(); got != Purged.String() {
		t.Errorf("after 91 days it is %s", got)
	}
	for _, v := range []ID{old, a.Version, fenced} {
		if _, err := s.Version(v); !errors.Is(err, ErrNotFound) {
			t.Errorf("version %s: %v", v, err)
		}
	}
	if b, err := read(other.Version); err != nil || !bytes.Equal(b, first) {
		t.Errorf("another file with a chunk of it: %d bytes, %v", len(b), err)
	}
	ids := collected(x.records(record.GcPass))
	slices.Sort(ids)
	want := []string{chunkID(blob.Sum(second)), chunkID(blob.Sum(bad))}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("the records name %v, want %v", ids, want)
	}
	purged := 0
	for _, p := range x.records(record.GcPass) {
		if n, ok := p["objects_purged"].(float64); ok {
			purged += int(n)
		}
	}
	if purged != 1 {
		t.Errorf("%d objects purged by the records", purged)
	}
	if rep, err := s.Fsck(ctx); err != nil || len(rep.Problems) > 0 {
		t.Errorf("fsck: %+v, %v", rep, err)
	}
}
