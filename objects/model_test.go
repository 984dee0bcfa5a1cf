package objects

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// model is what the tree should be: the plainest file system, in memory. Steps change it
// and a store alike.
type model struct {
	root *mnode
	open map[int]*mnode // by handle number
}

type mnode struct {
	kids   map[string]*mnode // of a directory
	mode   uint32
	data   []byte
	target string
	xattrs map[string]string
	links  int
	// writers are handles; draft says that it was written since the last version, staged
	// that the draft lies in a staging file, whose bytes may be younger than the epoch.
	writers       int
	draft, staged bool
	sum           string // of data; "" when it changed
	drafts        *int   // names the draft: the same in later states for as long as it is open
}

func newModel() *model {
	return &model{root: &mnode{kids: map[string]*mnode{}, mode: unix.S_IFDIR | 0o755}, open: map[int]*mnode{}}
}

func (m *model) find(p string) *mnode {
	n := m.root
	for _, part := range splitPath(p) {
		if n == nil {
			return nil
		}
		n = n.kids[part]
	}
	return n
}

func (m *model) parent(p string) (*mnode, string) {
	dir, base := path.Split(p)
	return m.find(dir), base
}

// walk calls fn for everything but the root, in order.
func (m *model) walk(fn func(p string, n *mnode)) {
	var visit func(p string, n *mnode)
	visit = func(p string, n *mnode) {
		for _, name := range slices.Sorted(maps.Keys(n.kids)) {
			k := n.kids[name]
			fn(path.Join(p, name), k)
			if k.kids != nil {
				visit(path.Join(p, name), k)
			}
		}
	}
	visit("", m.root)
}

// line describes a node; of a staged draft the bytes are left out.
func (n *mnode) line() string {
	switch n.mode & unix.S_IFMT {
	case unix.S_IFREG:
		if n.staged {
			return fmt.Sprintf("%o %d links %d staged %q", n.mode, len(n.data), n.links, n.xattrs)
		}
		if n.sum == "" {
			h := blake3.Sum256(n.data)
			n.sum = fmt.Sprintf("%x", h[:8])
		}
		return fmt.Sprintf("%o %d links %d %s %q", n.mode, len(n.data), n.links, n.sum, n.xattrs)
	case unix.S_IFLNK:
		return "-> " + n.target
	}
	return fmt.Sprintf("%o %q", n.mode, n.xattrs)
}

func (m *model) lines() map[string]string {
	l := map[string]string{}
	m.walk(func(p string, n *mnode) { l[p] = n.line() })
	return l
}

// step is one change. Which fields count depends on op.
type step struct {
	op      string
	p, q    string
	h       int
	off     int64
	data    []byte
	files   map[string][]byte
	refused bool // a transaction that must fail
}

func (s step) String() string {
	return fmt.Sprintf("%s %s %s #%d @%d %d bytes", s.op, s.p, s.q, s.h, s.off, len(s.data))
}

// next chooses a step that is possible now, from the random source alone.
func (m *model) next(r *rand.Rand) step {
	for {
		if s, ok := m.try(r); ok {
			return s
		}
	}
}

func noiseBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	if r.IntN(2) == 0 {
		src.Read(b)
		return b
	}
	for i := range b {
		b[i] = byte('a' + i%17 + int(b[0]))
	}
	return b
}

func sizeOf(r *rand.Rand) int {
	switch k := r.IntN(20); {
	case k < 12:
		return r.IntN(3000)
	case k < 17:
		return r.IntN(60_000)
	}
	return r.IntN(300_000)
}

func (m *model) try(r *rand.Rand) (step, bool) {
	var dirs, files, links []string
	dirs = append(dirs, "")
	m.walk(func(p string, n *mnode) {
		switch n.mode & unix.S_IFMT {
		case unix.S_IFDIR:
			dirs = append(dirs, p)
		case unix.S_IFREG:
			files = append(files, p)
		default:
			links = append(links, p)
		}
	})
	pick := func(l []string) string {
		if len(l) == 0 {
			return ""
		}
		return l[r.IntN(len(l))]
	}
	free := func() string {
		for {
			p := path.Join(pick(dirs), fmt.Sprintf("n%d", r.IntN(40)))
			if m.find(p) == nil {
				return p
			}
		}
	}
	handles := slices.Sorted(maps.Keys(m.open))
	h := 0
	if len(handles) > 0 {
		h = handles[r.IntN(len(handles))]
	}
	f := pick(files)
	switch k := r.IntN(100); {
	case k < 4 && len(dirs) < 12:
		return step{op: "mkdir", p: free()}, true
	case k < 6:
		d := pick(dirs)
		return step{op: "rmdir", p: d}, d != "" && len(m.find(d).kids) == 0
	case k < 20 && len(handles) < 6 && len(files) < 50:
		return step{op: "create", p: free(), h: m.handle()}, true
	case k < 28 && len(handles) < 6:
		return step{op: "open", p: f, h: m.handle()}, f != ""
	case k < 48 && h != 0:
		n := m.open[h]
		off := int64(0)
		if len(n.data) > 0 {
			off = r.Int64N(int64(len(n.data)) + 1)
		}
		if r.IntN(6) == 0 {
			off += r.Int64N(100_000)
		}
		b := noiseBytes(r, 1+sizeOf(r))
		return step{op: "write", h: h, off: off, data: b}, len(n.data) < 2<<20
	case k < 53 && h != 0:
		return step{op: "truncate", h: h, off: int64(sizeOf(r))}, true
	case k < 66 && h != 0:
		return step{op: "close", h: h}, true
	case k < 70 && h != 0:
		return step{op: "fsync", h: h}, true
	case k < 76:
		p := pick(append(files, links...))
		return step{op: "unlink", p: p}, p != ""
	case k < 82:
		q := free()
		if r.IntN(2) == 0 {
			q = pick(files)
		}
		return step{op: "rename", p: f, q: q}, f != "" && q != "" && m.find(q) != m.find(f)
	case k < 83:
		d, q := pick(dirs), free()
		return step{op: "rename", p: d, q: q}, d != "" && !strings.HasPrefix(q+"/", d+"/")
	case k < 86:
		return step{op: "link", p: f, q: free()}, f != ""
	case k < 88:
		return step{op: "symlink", p: free(), q: "to/" + f}, true
	case k < 90:
		return step{op: "chmod", p: f, off: int64(r.IntN(0o1000))}, f != ""
	case k < 93:
		return step{op: "xattr", p: f, q: fmt.Sprintf("user.%d", r.IntN(3)), data: noiseBytes(r, 1+r.IntN(50))}, f != ""
	case k < 97:
		s := step{op: "tx", files: map[string][]byte{}, refused: r.IntN(4) == 0}
		for range 1 + r.IntN(3) {
			p := free()
			if g := pick(files); g != "" && r.IntN(2) == 0 {
				p = g
			}
			if n := m.find(p); n == nil || n.writers == 0 {
				s.files[p] = noiseBytes(r, sizeOf(r))
			}
		}
		return s, len(s.files) > 0
	case k < 98:
		return step{op: "sync"}, true
	}
	return step{}, false
}

func (m *model) handle() int {
	for h := 1; ; h++ {
		if m.open[h] == nil {
			return h
		}
	}
}

// set gives the file other bytes; the slice of an older state stays as it was.
func (n *mnode) set(data []byte) {
	if len(n.data) > blob.MemoryLimit || len(data) > blob.MemoryLimit {
		n.staged = n.draft
	}
	if n.draft && n.drafts == nil {
		n.drafts = new(int)
	}
	n.data, n.sum = data, ""
}

func (n *mnode) published() { n.draft, n.staged, n.drafts = false, false, nil }

func (m *model) do(s step) {
	switch s.op {
	case "mkdir":
		d, base := m.parent(s.p)
		d.kids[base] = &mnode{kids: map[string]*mnode{}, mode: unix.S_IFDIR | 0o750}
	case "rmdir", "unlink":
		d, base := m.parent(s.p)
		d.kids[base].links--
		delete(d.kids, base)
	case "create":
		d, base := m.parent(s.p)
		n := &mnode{mode: unix.S_IFREG | 0o640, links: 1, writers: 1}
		d.kids[base], m.open[s.h] = n, n
	case "open":
		n := m.find(s.p)
		n.writers++
		m.open[s.h] = n
	case "write":
		n := m.open[s.h]
		n.draft = true
		b := make([]byte, max(len(n.data), int(s.off)+len(s.data)))
		copy(b, n.data)
		copy(b[s.off:], s.data)
		n.set(b)
	case "truncate":
		n := m.open[s.h]
		n.draft = true
		b := make([]byte, s.off)
		copy(b, n.data)
		n.set(b)
	case "close":
		n := m.open[s.h]
		delete(m.open, s.h)
		if n.writers--; n.writers == 0 {
			n.published()
		}
	case "rename":
		d, base := m.parent(s.p)
		n := d.kids[base]
		to, name := m.parent(s.q)
		if old := to.kids[name]; old != nil {
			old.links--
		}
		delete(d.kids, base)
		to.kids[name] = n
	case "link":
		n := m.find(s.p)
		n.links++
		d, base := m.parent(s.q)
		d.kids[base] = n
	case "symlink":
		d, base := m.parent(s.p)
		d.kids[base] = &mnode{mode: unix.S_IFLNK, target: s.q}
	case "chmod":
		n := m.find(s.p)
		n.mode = unix.S_IFREG | uint32(s.off)
	case "xattr":
		n := m.find(s.p)
		if n.xattrs == nil {
			n.xattrs = map[string]string{}
		}
		n.xattrs[s.q] = string(s.data)
	case "tx":
		if s.refused {
			return
		}
		for _, p := range slices.Sorted(maps.Keys(s.files)) { // two may be names of one file
			n, b := m.find(p), s.files[p]
			if n == nil {
				d, base := m.parent(p)
				n = &mnode{mode: unix.S_IFREG | 0o640, links: 1}
				d.kids[base] = n
			}
			n.set(b)
		}
	}
}

// driver does steps on a store.
type driver struct {
	s    *Store
	open map[int]*Handle
}

func newDriver(s *Store) *driver { return &driver{s, map[int]*Handle{}} }

func (d *driver) parent(p string) (Ino, string, error) {
	dir, base := path.Split(p)
	a, err := d.s.Resolve(dir)
	return a.Ino, base, err
}

// do does a step; durable says that everything up to it was acknowledged.
func (d *driver) do(s step) (durable bool, err error) {
	ctx := context.Background()
	var dir, at Ino
	var base string
	if s.p != "" {
		if dir, base, err = d.parent(s.p); err != nil {
			return false, err
		}
		if a, err := d.s.Resolve(s.p); err == nil {
			at = a.Ino
		}
	}
	switch s.op {
	case "mkdir":
		_, err = d.s.Mkdir(alice, dir, base, 0o750)
	case "rmdir":
		err = d.s.Rmdir(alice, dir, base)
	case "unlink":
		err = d.s.Unlink(alice, dir, base)
	case "create":
		_, d.open[s.h], err = d.s.Create(alice, dir, base, 0o640, true)
	case "open":
		d.open[s.h], err = d.s.OpenFile(alice, at, unix.O_RDWR)
	case "write":
		_, err = d.open[s.h].WriteAt(alice, s.data, s.off)
	case "truncate":
		_, err = d.s.SetAttr(alice, d.open[s.h].Ino(), SetAttr{Size: &s.off})
	case "close":
		err = d.open[s.h].Close(ctx)
		delete(d.open, s.h)
	case "fsync":
		return true, d.open[s.h].Sync(ctx)
	case "sync":
		return true, d.s.SyncAll(ctx)
	case "rename":
		to, name, e := d.parent(s.q)
		if e != nil {
			return false, e
		}
		err = d.s.Rename(alice, dir, base, to, name, 0)
	case "link":
		to, name, e := d.parent(s.q)
		if e != nil {
			return false, e
		}
		_, err = d.s.Link(alice, at, to, name)
	case "symlink":
		_, err = d.s.Symlink(alice, dir, base, s.q)
	case "chmod":
		mode := uint32(s.off)
		_, err = d.s.SetAttr(alice, at, SetAttr{Mode: &mode})
	case "xattr":
		err = d.s.SetXattr(alice, at, s.q, s.data, false, false)
	case "tx":
		t := d.s.Begin(alice, "act_01ARZ3NDEKTSV4RRFFQ69G5FAV")
		for _, p := range slices.Sorted(maps.Keys(s.files)) {
			if err := t.WriteFile(ctx, p, bytes.NewReader(s.files[p]), WriteOptions{Mode: 0o640}); err != nil {
				return false, err
			}
		}
		if s.refused {
			t.Delete("nothing/of/that/name", false, nil)
		}
		if _, err = t.Commit(ctx); s.refused {
			if err == nil {
				return false, fmt.Errorf("a transaction that must fail went through")
			}
			return false, nil
		}
		return err == nil, err
	}
	return false, err
}

// tree is what reading a store or a snapshot of it takes.
type tree interface {
	GetAttr(Ino) (Attr, error)
	Readlink(Ino) (string, error)
}

type reading struct {
	t     tree
	list  func(Ino) ([]DirEntry, error)
	read  func(Ino) ([]byte, error)
	xattr func(Ino) (map[string]string, error)
}

func readingStore(s *Store) reading {
	return reading{s, func(i Ino) ([]DirEntry, error) {
		h, err := s.OpenDir(i)
		if err != nil {
			return nil, err
		}
		defer h.Close()
		return h.From(0), nil
	}, func(i Ino) ([]byte, error) {
		h, err := s.OpenFile(alice, i, unix.O_RDONLY)
		if err != nil {
			return nil, err
		}
		defer h.Close(context.Background())
		return io.ReadAll(io.NewSectionReader(h, 0, 1<<30))
	}, func(i Ino) (map[string]string, error) {
		names, err := s.ListXattr(i)
		var m map[string]string
		for _, n := range names {
			v, err := s.GetXattr(i, n)
			if err != nil {
				return nil, err
			}
			if m == nil {
				m = map[string]string{}
			}
			m[n] = string(v)
		}
		return m, err
	}}
}

func readingSnapshot(s *Snapshot) reading {
	return reading{s, s.List, func(i Ino) ([]byte, error) {
		r, err := s.Open(i)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	}, func(i Ino) (map[string]string, error) {
		names, err := s.ListXattr(i)
		var m map[string]string
		for _, n := range names {
			v, err := s.GetXattr(i, n)
			if err != nil {
				return nil, err
			}
			if m == nil {
				m = map[string]string{}
			}
			m[n] = string(v)
		}
		return m, err
	}}
}

// load reads a tree into a model; what lies under the names in skip is left out.
func (r reading) load(skip ...string) (*model, error) {
	m := newModel()
	inos := map[Ino]*mnode{}
	var visit func(n *mnode, dir Ino, p string) error
	visit = func(n *mnode, dir Ino, p string) error {
		list, err := r.list(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		for _, e := range list {
			if e.Name == "." || e.Name == ".." || p == "" && slices.Contains(skip, e.Name) {
				continue
			}
			name := path.Join(p, e.Name)
			if k := inos[e.Ino]; k != nil {
				n.kids[e.Name] = k
				continue
			}
			a, err := r.t.GetAttr(e.Ino)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			k := &mnode{mode: a.Mode}
			n.kids[e.Name], inos[e.Ino] = k, k
			if k.xattrs, err = r.xattr(e.Ino); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			switch a.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				k.kids = map[string]*mnode{}
				err = visit(k, e.Ino, name)
			case unix.S_IFLNK:
				k.mode = unix.S_IFLNK
				k.target, err = r.t.Readlink(e.Ino)
			default:
				k.links = int(a.Nlink)
				if k.data, err = r.read(e.Ino); err == nil && int64(len(k.data)) != a.Size {
					err = fmt.Errorf("%d bytes are read, the size is %d", len(k.data), a.Size)
				}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}
	return m, visit(m.root, RootIno, "")
}

// differs names the first few differences between what is there and a model. Staged
// drafts are compared by later: each of their bytes must be of this or a later state.
func differs(got, want *model, later map[string][][]byte) []string {
	var diff []string
	g, w := got.lines(), want.lines()
	for _, p := range slices.Sorted(maps.Keys(w)) {
		n := want.find(p)
		switch gn := got.find(p); {
		case gn == nil:
			diff = append(diff, p+" is missing: "+w[p])
		case n.staged:
			if len(gn.data) != len(n.data) || gn.mode != n.mode || gn.links != n.links {
				diff = append(diff, fmt.Sprintf("%s: %s, want %s", p, g[p], w[p]))
			} else if i := strayByte(gn.data, append(later[p], n.data)); i >= 0 {
				diff = append(diff, fmt.Sprintf("%s: byte %d is of no state", p, i))
			}
		case g[p] != w[p]:
			diff = append(diff, fmt.Sprintf("%s: %s, want %s", p, g[p], w[p]))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(g)) {
		if _, ok := w[p]; !ok {
			diff = append(diff, p+" is there: "+g[p])
		}
	}
	return diff[:min(len(diff), 8)]
}

func strayByte(got []byte, states [][]byte) int {
next:
	for i, b := range got {
		for _, s := range states {
			if i < len(s) && s[i] == b || i >= len(s) && b == 0 {
				continue next
			}
		}
		return i
	}
	return -1
}

// Whatever is done, the store shows what the model shows: at once, after a remount, and
// later of every moment that was sealed on the way.
func TestModel(t *testing.T) {
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	for seed := range uint64(rounds) {
		dir := t.TempDir()
		r := rand.New(rand.NewPCG(seed, 7))
		s := openStore(t, dir)
		m, d := newModel(), newDriver(s)
		type past struct {
			at    kv.TS
			model *model
		}
		var pasts []past
		check := func(when string, rd reading, want *model) {
			t.Helper()
			got, err := rd.load()
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, when, err)
			}
			if diff := differs(got, want, nil); len(diff) > 0 {
				t.Fatalf("seed %d, %s:\n%s", seed, when, strings.Join(diff, "\n"))
			}
		}
		for i := range 900 {
			st := m.next(r)
			durable, err := d.do(st)
			if err != nil {
				t.Fatalf("seed %d, step %d, %s: %v", seed, i, st, err)
			}
			m.do(st)
			if i%15 == 0 {
				check(fmt.Sprintf("after step %d, %s", i, st), readingStore(s), m)
			}
			if durable && r.IntN(4) == 0 {
				pasts = append(pasts, past{s.db.LastSealed(), m.clone()})
			}
			if i%200 == 199 {
				for h := range d.open {
					st := step{op: "close", h: h}
					if _, err := d.do(st); err != nil {
						t.Fatal(err)
					}
					m.do(st)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if names, err := s.blobs.ListStaging(); err != nil || len(names) > 0 {
					t.Errorf("seed %d: staging files stay behind: %v, %v", seed, names, err)
				}
				s = openStore(t, dir)
				d = newDriver(s)
				check("after a remount", readingStore(s), m)
				rep, err := s.Fsck(context.Background())
				if err != nil || len(rep.Problems) > 0 {
					t.Fatalf("seed %d: fsck: %v, %v", seed, rep.Problems, err)
				}
			}
		}
		for _, p := range pasts {
			sn, err := s.At(p.at.Time())
			if err != nil {
				t.Fatal(err)
			}
			p.model.forgetStaged()
			got, err := readingSnapshot(sn).load()
			if err != nil {
				t.Fatalf("seed %d, as of %d: %v", seed, p.at, err)
			}
			got.forget(p.model)
			if diff := differs(got, p.model, nil); len(diff) > 0 {
				t.Fatalf("seed %d, as of %d:\n%s", seed, p.at, strings.Join(diff, "\n"))
			}
			sn.Close()
		}
		if len(pasts) < 5 {
			t.Errorf("only %d moments of the past were looked at", len(pasts))
		}
		for _, h := range d.open {
			if err := h.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *model) clone() *model {
	c := newModel()
	seen := map[*mnode]*mnode{}
	var copyNode func(n *mnode) *mnode
	copyNode = func(n *mnode) *mnode {
		if k := seen[n]; k != nil {
			return k
		}
		k := *n
		seen[n] = &k
		k.xattrs = maps.Clone(n.xattrs)
		if n.kids != nil {
			k.kids = map[string]*mnode{}
			for name, kid := range n.kids {
				k.kids[name] = copyNode(kid)
			}
		}
		return &k
	}
	c.root = copyNode(m.root)
	for h, n := range m.open {
		c.open[h] = copyNode(n)
	}
	return c
}

// forgetStaged leaves out the bytes of large files that were being written: the past
// shows their last version.
func (m *model) forgetStaged() {
	m.walk(func(p string, n *mnode) {
		if n.staged {
			n.data, n.sum, n.staged, n.writers = nil, "", false, -1
		}
	})
}

func (m *model) forget(like *model) {
	like.walk(func(p string, n *mnode) {
		if n.writers == -1 {
			if k := m.find(p); k != nil {
				k.data, k.sum = nil, ""
			}
		}
	})
}
