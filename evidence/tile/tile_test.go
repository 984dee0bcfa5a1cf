package tile

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func TestPath(t *testing.T) {
	for want, id := range map[string]ID{
		"tile/entries/000": {Entries, 0, 256}, "tile/entries/x001/x234/067": {Entries, 1234067, 256},
		"tile/0/001.p/17": {0, 1, 17}, "tile/1/x001/000.p/255": {1, 1000, 255}, "tile/2/999": {2, 999, 256},
	} {
		if got := id.Path(); got != want {
			t.Errorf("%v: %s, want %s", id, got, want)
		}
		if back, ok := ParsePath(want); !ok || back != id {
			t.Errorf("parse %s: %v %v", want, back, ok)
		}
	}
	for _, bad := range []string{"tile/0/1", "tile/0/0001", "tile/9/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/", "tile/0/x000/001", "tile/8/data/000", "tile/-1/000", "checkpoint", "tile/0/000.p/01"} {
		if id, ok := ParsePath(bad); ok {
			t.Errorf("parsed %s as %v", bad, id)
		}
	}
}

// The tree's roots, and tiles read back at any size, agree with tlog's.
func TestTreeAgainstTlog(t *testing.T) {
	const most = 70_000 // three rows of tiles
	var tree Tree
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(ix []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(ix))
		for i, x := range ix {
			out[i] = stored[x]
		}
		return out, nil
	})
	full := map[ID][]Hash{}
	for n := range int64(most) {
		entry := binary.BigEndian.AppendUint64(nil, uint64(n))
		hs, err := tlog.StoredHashes(n, entry, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hs...)
		tree.Add(Leaf(entry), func(f Full) { full[f.ID] = f.Hashes })
		size := n + 1
		if size > 600 && size%997 != 0 && size%256 > 1 && size%65536 > 2 {
			continue
		}
		want, err := tlog.TreeHash(size, reader)
		if err != nil || tree.Root() != want {
			t.Fatalf("root of %d differs (%v)", size, err)
		}
		read := func(id ID) ([]Hash, error) {
			if n := tree.Size() >> (8 * uint(id.Level)); id.N == n/Width {
				return tree.Row(id.Level), nil
			}
			id.W = Width
			if h, ok := full[id]; ok {
				return h, nil
			}
			return nil, errors.New("no tile " + id.Path())
		}
		back, err := Load(uint64(size), read)
		if err != nil || back.Root() != want || back.Clone().Root() != want {
			t.Fatalf("load %d: %v", size, err)
		}
		p, err := tlog.ProveRecord(size, size/2, Reader(read))
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p, size, want, size/2, tlog.RecordHash(binary.BigEndian.AppendUint64(nil, uint64(size/2)))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckpoint(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	s, err := Signer("example.org/log", key)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := VerifierKey("example.org/log", key.Public().(ed25519.PublicKey))
	v, err := note.NewVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	want := Checkpoint{"example.org/log", 12345, Hash{1, 2, 3}}
	msg, err := want.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCheckpoint(msg, v)
	if err != nil || got != want || !got.Canonical(msg) {
		t.Fatalf("%v %v", got, err)
	}
	for i := range msg {
		bad := append([]byte(nil), msg...)
		bad[i] ^= 1
		if cp, err := ParseCheckpoint(bad, v); err == nil && cp.Canonical(bad) {
			t.Fatalf("byte %d (%q) flipped and accepted", i, msg[i])
		}
	}
	all := append(append(append([]byte(nil), msg...), msg...), msg...)
	notes := SplitNotes(all)
	if len(notes) != 3 || string(notes[2]) != string(msg) {
		t.Fatalf("%d notes", len(notes))
	}
	if n := SplitNotes([]byte(strings.Repeat("x\n", 5))); len(n) != 0 {
		t.Fatal(n)
	}
}
