package evidence

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// client reads a tlog-tiles log from files, written from the specification
// (spec/tlog.md) and from nothing of this package.
type client struct {
	dir  string
	key  note.Verifier
	size int64
	root tlog.Hash
}

func newClient(dir, key string) (*client, error) {
	v, err := note.NewVerifier(strings.TrimSpace(key))
	if err != nil {
		return nil, err
	}
	c := &client{dir: dir, key: v}
	return c, c.refresh()
}

func (c *client) refresh() error {
	msg, err := os.ReadFile(filepath.Join(c.dir, "checkpoint"))
	if err != nil {
		return err
	}
	n, err := note.Open(msg, note.VerifierList(c.key))
	if err != nil {
		return err
	}
	f := strings.Split(n.Text, "\n")
	if len(f) != 4 || f[3] != "" || f[0] != c.key.Name() {
		return fmt.Errorf("checkpoint %q", n.Text)
	}
	c.size, err = strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return err
	}
	root, err := base64.StdEncoding.DecodeString(f[2])
	copy(c.root[:], root)
	return err
}

// file fetches the partial file the checkpoint names, or the full one.
func (c *client) file(level string, n, rows int64) ([]byte, error) {
	name := fmt.Sprintf("%03d", n%1000)
	for m := n / 1000; m > 0; m /= 1000 {
		name = fmt.Sprintf("x%03d/", m%1000) + name
	}
	base := filepath.Join(c.dir, "tile", level, name)
	if w := rows - n*256; w < 256 {
		if b, err := os.ReadFile(base + ".p/" + strconv.FormatInt(w, 10)); err == nil {
			return b, nil
		}
	}
	return os.ReadFile(base)
}

// Height and the two methods below are what tlog.TileHashReader asks for.
func (c *client) Height() int { return 8 }

func (c *client) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		b, err := c.file(strconv.Itoa(t.L), t.N, c.size>>(8*t.L))
		if err != nil {
			return nil, err
		}
		out = append(out, b[:t.W*32])
	}
	return out, nil
}

func (c *client) SaveTiles([]tlog.Tile, [][]byte) {}

func (c *client) hashes() tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: c.size, Hash: c.root}, c)
}

// entries reads every entry of every bundle.
func (c *client) entries() ([][]byte, error) {
	var out [][]byte
	for n := int64(0); n*256 < c.size; n++ {
		b, err := c.file("entries", n, c.size)
		if err != nil {
			return nil, err
		}
		for len(b) > 0 {
			k := int(binary.BigEndian.Uint16(b))
			out = append(out, b[2:2+k])
			b = b[2+k:]
		}
	}
	if int64(len(out)) != c.size {
		return nil, fmt.Errorf("%d entries, checkpoint says %d", len(out), c.size)
	}
	return out, nil
}

func TestForeignClient(t *testing.T) {
	const most = 600
	l := openAt(t, Options{SealBytes: 150_000})
	key, err := os.ReadFile(filepath.Join(l.o.Dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	var c *client
	type head struct {
		size int64
		root tlog.Hash
	}
	var heads []head
	var byhand []tlog.Hash // leaves, hashed here
	for l.Head().Size < most {
		appendN(t, l, 1)
		l.Checkpoint()
		if c == nil {
			if c, err = newClient(filepath.Join(l.o.Dir, logDir), string(key)); err != nil {
				t.Fatal(err)
			}
		} else if err := c.refresh(); err != nil {
			t.Fatal(err)
		}
		for n := int64(len(byhand)); n < c.size; n++ {
			r, err := l.At(uint64(n + 1))
			if err != nil {
				t.Fatal(err)
			}
			byhand = append(byhand, sha256.Sum256(append([]byte{0}, r.Bytes...)))
		}
		heads = append(heads, head{c.size, c.root})
		hr := c.hashes()
		for _, i := range []int64{0, c.size / 2, c.size - 1} {
			p, err := tlog.ProveRecord(c.size, i, hr)
			if err != nil {
				t.Fatalf("size %d record %d: %v", c.size, i, err)
			}
			if err := tlog.CheckRecord(p, c.size, c.root, i, byhand[i]); err != nil {
				t.Fatalf("size %d record %d: %v", c.size, i, err)
			}
			ours, err := l.InclusionProof(uint64(i+1), uint64(c.size))
			if err != nil || len(ours) != len(p) {
				t.Fatalf("our proof: %v", err)
			}
			for k := range p {
				if string(ours[k]) != string(p[k][:]) {
					t.Fatalf("our proof differs at %d", k)
				}
			}
		}
	}
	entries, err := c.entries()
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if tlog.RecordHash(e) != byhand[i] {
			t.Fatalf("entry %d", i)
		}
	}
	hr := c.hashes()
	for i := range c.size {
		p, err := tlog.ProveRecord(c.size, i, hr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p, c.size, c.root, i, byhand[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range heads[:len(heads)-1] {
		p, err := tlog.ProveTree(c.size, h.size, hr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(p, c.size, c.root, h.size, h.root); err != nil {
			t.Fatalf("%d to %d: %v", h.size, c.size, err)
		}
		ours, err := l.ConsistencyProof(uint64(h.size), uint64(c.size))
		if err != nil || len(ours) != len(p) {
			t.Fatalf("our consistency proof: %v", err)
		}
	}
	// History rewritten after a head was remembered fails.
	wrong := heads[10].root
	wrong[0] ^= 1
	p, _ := tlog.ProveTree(c.size, heads[10].size, hr)
	if tlog.CheckTree(p, c.size, c.root, heads[10].size, wrong) == nil {
		t.Fatal("accepted a wrong old head")
	}
	t.Log("proves: evidence-94")
}
