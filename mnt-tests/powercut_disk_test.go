package mnttests

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// disk is what a journaling filesystem keeps over a power cut, in memory: for each file the
// pages that are seen and those that are durable, for names a journal.
//
// The model is ext4's, and a little worse. A write is durable after an fsync of its file;
// until then each 4 KiB page of it may be lost, kept, or torn between sectors of 512 bytes,
// in any order. A new size may be durable without the pages. Changes of names, and of sizes
// by truncation, become durable in the order in which they were made; an fsync of anything
// commits all of them so far.
type disk struct {
	mu      sync.Mutex
	nodes   map[uint64]*dnode
	next    uint64
	journal []change
	dead    bool // the power is off: nothing is answered any more
	syncs   int
}

// change is what one call did to names, or to the size of a file; it is kept or lost as a
// whole.
type change struct {
	names []rename
	file  *dnode
	size  int64
}

type rename struct {
	dir  uint64
	name string
	to   uint64 // 0 removes the name
}

const pageSize = 4096

type pages map[int64]*[pageSize]byte

// dnode is a file, a directory or a symbolic link.
type dnode struct {
	ino          uint64
	mode         uint32
	uid, gid     uint32
	mtime        int64
	size, synced int64
	now, durable pages
	dirty        map[int64]bool
	target       string
	names, kept  map[string]uint64 // of a directory: as seen, and durable
}

func newDisk() *disk {
	d := &disk{nodes: map[uint64]*dnode{}, next: 2}
	d.nodes[1] = &dnode{ino: 1, mode: 0o40700, names: map[string]uint64{}, kept: map[string]uint64{}}
	return d
}

func (d *disk) make(mode uint32) *dnode {
	n := &dnode{ino: d.next, mode: mode, now: pages{}, durable: pages{}, dirty: map[int64]bool{}}
	if mode&0o170000 == 0o40000 {
		n.names, n.kept = map[string]uint64{}, map[string]uint64{}
	}
	d.next++
	d.nodes[n.ino] = n
	return n
}

// bind does a change of names.
func (d *disk) bind(names ...rename) {
	for _, e := range names {
		if e.to == 0 {
			delete(d.nodes[e.dir].names, e.name)
		} else {
			d.nodes[e.dir].names[e.name] = e.to
		}
	}
	d.journal = append(d.journal, change{names: names})
}

// commit makes the first n changes of names durable.
func (d *disk) commit(n int) {
	for _, c := range d.journal[:n] {
		if c.file != nil {
			c.file.resized(c.size)
		}
		for _, e := range c.names {
			if e.to == 0 {
				delete(d.nodes[e.dir].kept, e.name)
			} else {
				d.nodes[e.dir].kept[e.name] = e.to
			}
		}
	}
	d.journal = slices.Clone(d.journal[n:])
}

// resized makes a truncation durable.
func (n *dnode) resized(size int64) {
	for p := range n.durable {
		if p*pageSize >= size {
			delete(n.durable, p)
		}
	}
	n.synced = size
}

// resize does a truncation.
func (d *disk) resize(n *dnode, size int64) {
	n.truncate(size)
	d.journal = append(d.journal, change{file: n, size: size})
}

func (d *disk) sync(n *dnode) {
	for p := range n.dirty {
		if b := n.now[p]; b != nil {
			n.durable[p] = b // shared until it is written again
		} else {
			delete(n.durable, p)
		}
	}
	clear(n.dirty)
	d.commit(len(d.journal))
	n.synced = n.size
	d.syncs++
}

// page gives a page to write to.
func (n *dnode) page(p int64) *[pageSize]byte {
	b := n.now[p]
	if b == nil {
		b = new([pageSize]byte)
	} else if n.durable[p] == b {
		c := *b
		b = &c
	}
	n.now[p], n.dirty[p] = b, true
	return b
}

func (n *dnode) write(off int64, data []byte) {
	for len(data) > 0 {
		k := copy(n.page(off / pageSize)[off%pageSize:], data)
		data, off = data[k:], off+int64(k)
		n.size = max(n.size, off)
	}
}

func (n *dnode) read(off int64, buf []byte) int {
	if off >= n.size {
		return 0
	}
	buf = buf[:min(int64(len(buf)), n.size-off)]
	for done := 0; done < len(buf); {
		at := off + int64(done)
		piece := buf[done:min(len(buf), done+pageSize-int(at%pageSize))]
		if b := n.now[at/pageSize]; b != nil {
			copy(piece, b[at%pageSize:])
		} else {
			clear(piece)
		}
		done += len(piece)
	}
	return len(buf)
}

// punch makes zeros of a range.
func (n *dnode) punch(off, end int64) {
	for end = min(end, n.size); off < end; {
		p := off / pageSize
		stop := min((p+1)*pageSize, end)
		switch {
		case n.now[p] == nil:
		case off == p*pageSize && stop == (p+1)*pageSize:
			delete(n.now, p)
			n.dirty[p] = true
		default:
			clear(n.page(p)[off-p*pageSize : stop-p*pageSize])
		}
		off = stop
	}
}

func (n *dnode) truncate(size int64) {
	if size < n.size {
		n.punch(size, n.size)
	}
	n.size = size
}

// cut takes the power away and leaves what is found afterwards. Luck is the same for all
// pages of a cut or of each its own.
func (d *disk) cut(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	luck := rng.IntN(4) // 0: all is lost; 1: all is kept; otherwise each page has its own
	kept := rng.IntN(len(d.journal) + 1)
	if luck < 2 && rng.IntN(2) == 0 {
		kept = luck * len(d.journal)
	}
	d.commit(kept)
	d.journal = nil
	inos := make([]uint64, 0, len(d.nodes))
	for ino := range d.nodes {
		inos = append(inos, ino)
	}
	slices.Sort(inos) // a seed makes the same cut again
	for _, ino := range inos {
		d.nodes[ino].crash(rng, luck)
	}
	d.sweep()
}

func (n *dnode) crash(rng *rand.Rand, luck int) {
	if n.names != nil {
		n.names = map[string]uint64{}
		for name, to := range n.kept {
			n.names[name] = to
		}
		return
	}
	if n.size != n.synced && (luck == 0 || luck > 1 && rng.IntN(2) == 0) {
		if n.size < n.synced { // the truncation was lost, and what it dropped is there again
			for p, b := range n.durable {
				if (p+1)*pageSize > n.size {
					n.now[p] = b
					delete(n.dirty, p)
				}
			}
		}
		n.size = n.synced
	}
	dirty := make([]int64, 0, len(n.dirty))
	for p := range n.dirty {
		dirty = append(dirty, p)
	}
	slices.Sort(dirty)
	for _, p := range dirty {
		fate := luck
		if luck > 1 {
			fate = rng.IntN(7) / 3 // three lost, three kept, one torn
		}
		n.settle(rng, p, fate)
	}
	clear(n.dirty)
	for p := range n.now { // nothing beyond the end
		if p*pageSize >= n.size {
			delete(n.now, p)
		} else if rest := n.size - p*pageSize; rest < pageSize {
			c := *n.now[p]
			clear(c[rest:])
			n.now[p] = &c
		}
	}
	n.synced, n.durable = n.size, pages{}
	for p, b := range n.now {
		n.durable[p] = b
	}
}

// settle decides what became of a page that was not synced.
func (n *dnode) settle(rng *rand.Rand, p int64, fate int) {
	var old, new [pageSize]byte
	if b := n.durable[p]; b != nil {
		old = *b
	}
	if b := n.now[p]; b != nil {
		new = *b
	}
	switch fate {
	case 0:
		n.now[p] = &old
	case 2:
		for at := 0; at < pageSize; at += 512 {
			if rng.IntN(2) == 0 {
				copy(old[at:at+512], new[at:])
			}
		}
		n.now[p] = &old
	}
}

// sweep forgets what no name leads to.
func (d *disk) sweep() {
	reached := map[uint64]bool{}
	var walk func(ino uint64)
	walk = func(ino uint64) {
		reached[ino] = true
		for _, to := range d.nodes[ino].names {
			if !reached[to] {
				walk(to)
			}
		}
	}
	walk(1)
	for ino := range d.nodes {
		if !reached[ino] {
			delete(d.nodes, ino)
		}
	}
}

func (d *disk) links(ino uint64) (n uint32) {
	for _, x := range d.nodes {
		for _, to := range x.names {
			if to == ino {
				n++
			}
		}
	}
	return n
}
