package fs

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// evidenceTree is evidence/: the log as files, of which nothing can be
// changed by anybody (evidence.md §15). It stands at three places with
// inodes of its own at each; group narrows it to one group's records.
type evidenceTree struct {
	t     *tree
	key   string
	depth int // directories between the mount's root and this one's entries
	group string
	log   Evidence
}

func (t *tree) evidenceDir(key string, depth int, group string) *treeDir {
	e := &evidenceTree{t: t, key: key, depth: depth, group: group, log: t.o.Evidence}
	d := e.dir("", func(c *call) ([]vent, error) {
		if e.log == nil {
			return nil, nil
		}
		es := []vent{
			{"records", e.times("records", e.record)},
			{"payloads", e.times("payloads", e.payload)},
			{"by-seq", e.seqs(nil)},
			{"by-action", e.keyed("by-action", e.log.ByAction)},
			{"by-correlation", e.keyed("by-correlation", e.log.ByCorrelation)},
			{"by-type", e.types()},
		}
		if group == "" {
			es = append(es, vent{"head", &textFile{node: e.node("head", 0o444), text: func(*call) ([]byte, error) { return e.log.Head(), nil }}})
			fes, err := e.files(".").list(c)
			if err != nil {
				return nil, err
			}
			es = append(es, fes...)
		}
		return es, nil
	})
	if group != "" {
		d.ttl = 0 // who may enter it changes with the group
	}
	log, follows := e.log.(EvidenceFollower)
	d.find = func(c *call, name string) (vnode, error) {
		if name == followName && follows && group == "" {
			return &followFile{e.node(followName, 0o444), log}, nil
		}
		return listedNode(d, c, name)
	}
	return d
}

func (e *evidenceTree) node(rest string, perm uint32) node {
	no := fmt.Errorf("the evidence log: %w", ErrImmutable)
	if e.group != "" {
		no = ErrReadOnly // a view of the log: VirtualPathNotWritable
	}
	return node{key: strings.TrimSuffix(e.key+"/"+rest, "/"), perm: perm, no: no}
}

// dir is a directory that is there for everybody, once it is: the kernel may remember it,
// and does not ask about seven of them for each record that a backup opens.
func (e *evidenceTree) dir(rest string, all func(*call) ([]vent, error)) *treeDir {
	n := e.node(rest, 0o555)
	n.ttl = cacheTime
	return &treeDir{node: n, all: all}
}

// sees tells whether the caller may see a record here.
func (e *evidenceTree) sees(c *call, r EvidenceRecord) bool {
	return (e.group == "" || r.Group == e.group) && e.log.MayRead(c.Caller, r)
}

// times is a tree by year, month, day and hour, of which leaf makes the
// entries.
func (e *evidenceTree) times(top string, leaf func(rest string, r EvidenceRecord) vnode) *treeDir {
	return e.span(top, top, 0, time.Time{}, leaf)
}

// span lists the years (level 0), a year's months, a month's days, a day's
// hours, an hour's records (level 4).
func (e *evidenceTree) span(top, rest string, level int, at time.Time, leaf func(string, EvidenceRecord) vnode) *treeDir {
	if level == 4 {
		return e.hour(rest, at, leaf)
	}
	return e.dir(rest, func(c *call) ([]vent, error) {
		first, ok := e.log.First()
		if !ok {
			return nil, nil
		}
		from, last := first.UTC(), e.t.o.Now().UTC()
		if at.After(from) {
			from = at
		}
		var es []vent
		for !from.After(last) {
			slot, next, name := slotOf(level, from)
			if level > 0 && !within(level, at, slot) {
				break
			}
			es = append(es, vent{name, e.span(top, rest+"/"+name, level+1, slot, leaf)})
			from = next
		}
		return es, nil
	})
}

// hour lists the records of an hour.
func (e *evidenceTree) hour(rest string, at time.Time, leaf func(string, EvidenceRecord) vnode) *treeDir {
	d := e.dir(rest, func(c *call) ([]vent, error) {
		rs, err := e.log.Span(c, at, at.Add(time.Hour))
		var es []vent
		for _, r := range rs {
			if !e.sees(c, r) {
				continue
			}
			if v := leaf(rest, r); v != nil {
				es = append(es, vent{r.ID + ".json", v})
			}
		}
		return es, err
	})
	d.find = func(c *call, name string) (vnode, error) {
		id, ok := strings.CutSuffix(name, ".json")
		r, found := e.log.Record(id)
		if !ok || !found || !e.sees(c, r) || !r.At.UTC().Truncate(time.Hour).Equal(at) {
			return nil, ErrNotFound
		}
		if v := leaf(rest, r); v != nil {
			return v, nil
		}
		return nil, ErrNotFound
	}
	return d
}

// slotOf is the year, month, day or hour (levels 0 to 3) that a time is in.
func slotOf(level int, t time.Time) (slot, next time.Time, name string) {
	switch level {
	case 0:
		slot = time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		return slot, slot.AddDate(1, 0, 0), slot.Format("2006")
	case 1:
		slot = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		return slot, slot.AddDate(0, 1, 0), slot.Format("01")
	case 2:
		slot = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		return slot, slot.AddDate(0, 0, 1), slot.Format("02")
	}
	slot = t.Truncate(time.Hour)
	return slot, slot.Add(time.Hour), slot.Format("15")
}

// within tells whether a slot of a level lies in its parent's slot.
func within(level int, parent, slot time.Time) bool {
	up, _, _ := slotOf(level-1, slot)
	return up.Equal(parent)
}

// recordFile is one record: exactly the hashed bytes.
type recordFile struct {
	textFile
	r EvidenceRecord
}

func (e *evidenceTree) record(rest string, r EvidenceRecord) vnode {
	n := e.node(rest+"/"+r.ID+".json", 0o444)
	n.mtime = r.At
	return &recordFile{textFile{node: n, text: func(*call) ([]byte, error) { return r.Bytes, nil }, fixed: true}, r}
}

func (f *recordFile) getxattr(_ *call, name string) ([]byte, error) {
	s, ok := map[string]string{
		"receipt_id": f.r.ID, "seq": strconv.FormatUint(f.r.Seq, 10), "record_type": f.r.Type,
		"retention": f.r.Retention, "action_id": f.r.Action, "subject": f.r.Subject,
	}[strings.TrimPrefix(name, xattrPrefix)]
	if !ok || s == "" || !strings.HasPrefix(name, xattrPrefix) {
		return nil, errNoXattr
	}
	return []byte(s), nil
}
func (f *recordFile) listxattr(*call) ([]string, error) { return nil, nil }

func (e *evidenceTree) payload(rest string, r EvidenceRecord) vnode {
	if _, ok := e.log.Payload(r.ID); !ok {
		return nil
	}
	n := e.node(rest+"/"+r.ID+".json", 0o444)
	n.mtime = r.At
	return &textFile{node: n, text: func(*call) ([]byte, error) {
		b, ok := e.log.Payload(r.ID)
		if !ok {
			return nil, ErrNotFound
		}
		return b, nil
	}}
}

// link leads from a directory so many levels below the tree's root to a
// record's file.
func (e *evidenceTree) link(rest string, levels int, r EvidenceRecord) vnode {
	l := newLink(e.key+"/"+rest, upTo(levels)+"records/"+r.At.UTC().Format("2006/01/02/15")+"/"+r.ID+".json", r.At, e.node("", 0).no)
	return l
}

// seqs is by-seq/000/001/234: positions in three digits a level. digits are
// those above.
func (e *evidenceTree) seqs(digits []string) *treeDir {
	rest := path.Join(append([]string{"by-seq"}, digits...)...)
	base := uint64(0)
	for _, d := range digits {
		n, _ := strconv.ParseUint(d, 10, 64)
		base = base*1000 + n
	}
	width := uint64(1) // positions below one entry of this directory
	for range 2 - len(digits) {
		width *= 1000
	}
	entry := func(c *call, i uint64) (vnode, bool) {
		pos := (base*1000 + i) * width
		if size := e.log.Size(); pos > size || size == 0 { // the first is number 1 (S3.1 §19.1)
			return nil, false
		}
		name := fmt.Sprintf("%03d", i)
		if len(digits) < 2 {
			return e.seqs(append(append([]string(nil), digits...), name)), true
		}
		r, ok := e.log.Seq(pos)
		if !ok || !e.sees(c, r) {
			return nil, false
		}
		return e.link(rest+"/"+name, 3, r), true
	}
	d := e.dir(rest, func(c *call) ([]vent, error) {
		var es []vent
		for i := range uint64(1000) {
			if (base*1000+i)*width > e.log.Size() {
				break
			}
			if v, ok := entry(c, i); ok {
				es = append(es, vent{fmt.Sprintf("%03d", i), v})
			}
		}
		return es, nil
	})
	d.find = func(c *call, name string) (vnode, error) {
		i, err := strconv.ParseUint(name, 10, 64)
		if err != nil || len(name) != 3 {
			return nil, ErrNotFound
		}
		if v, ok := entry(c, i); ok {
			return v, nil
		}
		return nil, ErrNotFound
	}
	return d
}

// keyed is by-action and by-correlation: any id can be looked up, none is
// listed, since there is no end of them.
func (e *evidenceTree) keyed(top string, find func(ctx context.Context, id string) ([]EvidenceRecord, error)) *treeDir {
	d := e.dir(top, nil)
	d.find = func(c *call, id string) (vnode, error) {
		rs, err := find(c, id)
		if err == nil && len(rs) == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return nil, err
		}
		return e.numbered(top+"/"+id, 2, func(c *call) ([]EvidenceRecord, error) { return find(c, id) }), nil
	}
	return d
}

// numbered lists records in order as NNNN-TYPE.
func (e *evidenceTree) numbered(rest string, levels int, find func(*call) ([]EvidenceRecord, error)) *treeDir {
	nameOf := func(i int, r EvidenceRecord) string { return fmt.Sprintf("%04d-%s", i+1, r.Type) }
	d := e.dir(rest, func(c *call) ([]vent, error) {
		rs, err := e.rank(c, rest, find)
		var es []vent
		for i, r := range rs {
			if e.sees(c, r) {
				name := nameOf(i, r)
				es = append(es, vent{name, e.link(rest+"/"+name, levels, r)})
			}
		}
		return es, err
	})
	d.find = func(c *call, name string) (vnode, error) {
		digits, _, _ := strings.Cut(name, "-")
		i, err := strconv.Atoi(digits)
		if i--; err != nil || i < 0 {
			return nil, ErrNotFound
		}
		rs := e.t.ranks.of(rest)
		if i >= len(rs) {
			if rs, err = e.rank(c, rest, find); err != nil {
				return nil, err
			}
		}
		if i >= len(rs) || name != nameOf(i, rs[i]) || !e.sees(c, rs[i]) {
			return nil, ErrNotFound
		}
		return e.link(rest+"/"+name, levels, rs[i]), nil
	}
	return d
}

// rank asks the log for the records of a numbered directory and remembers them, without
// their bytes. The log only grows at its end: the places stay true.
func (e *evidenceTree) rank(c *call, rest string, find func(*call) ([]EvidenceRecord, error)) ([]EvidenceRecord, error) {
	rs, err := find(c)
	if err != nil {
		return nil, err
	}
	for i := range rs {
		rs[i].Bytes = nil
	}
	e.t.ranks.keep(rest, rs)
	return rs, nil
}

// types is by-type/<RECORD_TYPE>/<day>. Of the hundreds of types those are listed that
// have records: a file manager looks into each that it shows. The others are looked up.
func (e *evidenceTree) types() *treeDir {
	typ := func(n string) vnode { return e.days("by-type/"+n, n) }
	d := e.dir("by-type", func(*call) ([]vent, error) {
		names, err := e.log.Types()
		var es []vent
		for _, n := range names {
			es = append(es, vent{n, typ(n)})
		}
		return es, err
	})
	d.find = func(_ *call, name string) (vnode, error) {
		if !e.log.KnownType(name) {
			return nil, ErrNotFound
		}
		return typ(name), nil
	}
	return d
}

func (e *evidenceTree) days(rest, typ string) *treeDir {
	day := func(d time.Time) vnode {
		name := d.Format(time.DateOnly)
		return e.numbered(rest+"/"+name, 3, func(c *call) ([]EvidenceRecord, error) { return e.log.ByType(c, typ, d, d.AddDate(0, 0, 1)) })
	}
	d := e.dir(rest, func(c *call) ([]vent, error) {
		first, ok := e.log.First()
		if !ok {
			return nil, nil
		}
		rs, err := e.log.ByType(c, typ, first, e.t.o.Now().Add(time.Hour))
		var es []vent
		last := ""
		for _, r := range rs {
			if n := r.At.UTC().Format(time.DateOnly); n != last && e.sees(c, r) {
				last = n
				at, _, _ := slotOf(2, r.At.UTC())
				es = append(es, vent{n, day(at)})
			}
		}
		return es, err
	})
	d.find = func(_ *call, name string) (vnode, error) {
		at, err := time.Parse(time.DateOnly, name)
		if err != nil {
			return nil, ErrNotFound
		}
		return day(at), nil
	}
	return d
}

// whole are the log's files that hold all records. Who may not read every record does
// not find them; hashes, checkpoint and the key are everybody's.
func whole(p string) bool {
	for _, dir := range []string{"segments", "log/tile/entries"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

// files passes the log's own files through.
func (e *evidenceTree) files(dir string) *treeDir {
	d := e.dir("files/"+dir, func(c *call) ([]vent, error) {
		fsys := e.log.Files()
		if fsys == nil {
			return nil, nil
		}
		des, err := fs.ReadDir(fsys, dir)
		if err != nil {
			return nil, fmt.Errorf("read the log's files: %w", err)
		}
		var es []vent
		for _, de := range des {
			p := path.Join(dir, de.Name())
			if whole(p) && !e.log.MayReadAll(c.Caller) {
				continue
			}
			if de.IsDir() {
				es = append(es, vent{de.Name(), e.files(p)})
				continue
			}
			es = append(es, vent{de.Name(), &hostFile{e.node("files/"+p, 0o444), e.log, fsys, p}})
		}
		return es, nil
	})
	d.ttl = 0 // that of a partial tile goes when the tile is full, and not everybody finds all
	return d
}

// hostFile is a file of an fs.FS.
type hostFile struct {
	node
	log  Evidence
	fsys fs.FS
	p    string
}

func (f *hostFile) attr(*call) (vattr, error) {
	st, err := fs.Stat(f.fsys, f.p)
	if err != nil {
		return vattr{}, ErrNotFound
	}
	return vattr{mode: syscall.S_IFREG | f.perm, size: st.Size(), mtime: st.ModTime()}, nil
}

func (f *hostFile) open(c *call, flags uint32) (vhandle, error) {
	if writes(flags) {
		return nil, f.refusal()
	}
	if whole(f.p) && !f.log.MayReadAll(c.Caller) {
		return nil, ErrDenied
	}
	b, err := fs.ReadFile(f.fsys, f.p)
	if err != nil {
		return nil, fmt.Errorf("read the log's file %s: %w", f.p, err)
	}
	return &bytesHandle{data: b}, nil
}
