package fs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// dropBox is intents/: a goal is dropped as a file NAME, and the directory
// NAME.d beside it is its life (contract §4). What is not accepted yet lives
// in memory, a subject's own; a crash leaves nothing of it.
type dropBox struct {
	node
	t  *tree
	mu sync.Mutex
	of map[string]*drops // by subject
	// old is what a subject's .done listed last: what is there stays.
	old lately[string]
}

// drops are a subject's documents that are not accepted.
type drops struct {
	files map[string]*draft
	// failed keeps why the last document of a name was not accepted.
	failed  map[string]failure
	changed time.Time
}

// written is a name's document that is not accepted yet; nil where somebody has merely
// opened an accepted one to write it again. The drop box's lock is held.
func (o *drops) written(name string) *draft {
	d := o.files[name]
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again {
		return nil
	}
	return d
}

// failure is why a document was not accepted.
type failure struct {
	*IntentError
	unseen bool // it never got as far as the runtime, which knows at most of an earlier one
}

const (
	// maxDocument is the size of the largest typed intent (contract §4).
	maxDocument = 1 << 20
	// maxDrops bounds what one subject may hold in memory here.
	maxDrops = 1024
)

func newDropBox(t *tree) *dropBox {
	return &dropBox{node: node{key: "intents", perm: 0o1777, no: ErrImmutable}, t: t, of: map[string]*drops{}}
}

// temporary tells whether a name is an editor's or file manager's own, which
// is never submitted (design §3).
func temporary(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".swp") ||
		strings.HasSuffix(name, ".part") || name == "4913" || strings.HasSuffix(name, ".kate-swp") || strings.HasPrefix(name, ".goutputstream-")
}

// maxIntentName leaves room for what is added to an intent's name beside it.
const maxIntentName = 250

// nameable refuses, when the file is made and not when it is committed, a name that no
// intent can have: its directory and its records could not bear it.
func nameable(name string) error {
	switch {
	case temporary(name):
		return nil
	case len(name) > maxIntentName:
		return fmt.Errorf("an intent's name has at most %d bytes: %w", maxIntentName, errNameTooLong)
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is no text for an intent's name: %w", name, ErrInvalid)
	}
	return nil
}

// ours finds the caller's drops; b.mu is held.
func (b *dropBox) ours(c *call) *drops {
	d := b.of[c.Subject.ID]
	if d == nil {
		d = &drops{files: map[string]*draft{}, failed: map[string]failure{}, changed: b.t.born}
		b.of[c.Subject.ID] = d
	}
	return d
}

// attr has the time at which the caller's documents changed last: a time of now would
// make tar say that the directory changed while it was read.
func (b *dropBox) attr(c *call) (vattr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return vattr{mode: syscall.S_IFDIR | 0o1777, mtime: b.ours(c).changed}, nil
}

func (b *dropBox) run(c *call, name string) (RunInfo, bool) {
	if b.t.o.Intents == nil {
		return RunInfo{}, false
	}
	return b.t.o.Intents.Find(c.Caller, name)
}

func (b *dropBox) lookup(c *call, name string) (vnode, error) {
	b.mu.Lock()
	own := b.ours(c)
	d, failed := own.files[name], failure{}
	if base, ok := strings.CutSuffix(name, ".d"); ok {
		failed = own.failed[base]
	}
	b.mu.Unlock()
	if d != nil {
		return d, nil
	}
	if name == ".done" {
		return b.done(c, ""), nil
	}
	if r, ok := b.run(c, name); ok {
		return b.document(c, r), nil
	}
	if base, ok := strings.CutSuffix(name, ".d"); ok {
		if failed.unseen {
			return b.failedDir(c, base, failed.IntentError), nil
		}
		if r, ok := b.run(c, base); ok {
			return b.runDir(c, r.Name, r.ID, "", r.Accepted), nil
		}
		// Another's run has no name here, but whoever may decide on it finds it by id.
		if fi, err := b.t.o.Intents.Stat(c.Caller, base, "state"); err == nil {
			return b.runDir(c, base, base, "", fi.ModTime), nil
		}
		if failed.IntentError != nil {
			return b.failedDir(c, base, failed.IntentError), nil
		}
	}
	return nil, ErrNotFound
}

func (b *dropBox) list(c *call) ([]vent, error) {
	var es []vent
	seen := map[string]bool{}
	add := func(name string, v vnode) {
		if !seen[name] {
			seen[name] = true
			es = append(es, vent{name, v})
		}
	}
	b.mu.Lock()
	own := b.ours(c)
	for n, d := range own.files {
		add(n, d)
	}
	failed := maps.Clone(own.failed)
	b.mu.Unlock()
	for n, e := range failed {
		if e.unseen {
			add(n+".d", b.failedDir(c, n, e.IntentError))
		}
	}
	if b.t.o.Intents != nil {
		for _, r := range b.t.o.Intents.Runs(c.Caller) {
			add(r.Name, b.document(c, r))
			add(r.Name+".d", b.runDir(c, r.Name, r.ID, "", r.Accepted))
		}
		if len(b.t.o.Intents.Done(c.Caller)) > 0 {
			add(".done", b.done(c, ""))
		}
	}
	for n, e := range failed {
		add(n+".d", b.failedDir(c, n, e.IntentError))
	}
	sort.Slice(es, func(i, j int) bool { return es[i].name < es[j].name })
	return es, nil
}

func (b *dropBox) key(c *call, rest string) string {
	return "intents\x00" + c.Subject.ID + "/" + rest
}

// document is an accepted document: it can be read, and nothing else.
func (b *dropBox) document(c *call, r RunInfo) vnode {
	return &acceptedFile{node{key: b.key(c, r.Name+"\x00"+r.ID), perm: 0o644, uid: c.UID, gid: c.GID, mtime: r.Accepted, no: ErrImmutable}, b, r}
}

// failedDir is NAME.d of a document that was not accepted.
func (b *dropBox) failedDir(c *call, name string, e *IntentError) vnode {
	own := node{key: b.key(c, name+".d"), perm: 0o500, uid: c.UID, gid: c.GID, no: ErrImmutable}
	return &treeDir{node: own, all: func(*call) ([]vent, error) {
		f := own
		f.key, f.perm = own.key+"/error.json", 0o400
		st := own
		st.key, st.perm = own.key+"/state", 0o400
		return []vent{
			{"error.json", &textFile{node: f, text: func(*call) ([]byte, error) {
				details := map[string]any{}
				if e.Line > 0 {
					details["line"], details["column"] = e.Line, e.Column
				}
				return indent(map[string]any{"code": e.Code, "message": e.Message, "retryable": false, "details": details}, nil)
			}}},
			{"state", &textFile{node: st, text: func(*call) ([]byte, error) { return []byte("REFUSED\n"), nil }}},
		}, nil
	}}
}

// create makes a document that is not accepted yet, or an editor's file.
func (b *dropBox) create(c *call, name string, flags, _ uint32) (vnode, vhandle, error) {
	if b.t.o.Intents == nil {
		return nil, nil, ErrReadOnly
	}
	takes := b.t.healthy
	if b.t.o.Recovery {
		takes = b.t.sound
	}
	if err := takes(); err != nil {
		return nil, nil, err
	}
	if strings.HasSuffix(name, ".d") || name == ".done" {
		return nil, nil, fmt.Errorf("%s is the name of a run's directory: %w", name, ErrImmutable)
	}
	if err := nameable(name); err != nil {
		return nil, nil, err
	}
	d, err := b.fresh(c, name)
	if err != nil {
		return nil, nil, err
	}
	h, err := d.open(c, flags)
	return d, h, err
}

func (b *dropBox) fresh(c *call, name string) (*draft, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.ours(c)
	if d := own.files[name]; d != nil {
		return d, nil
	}
	if len(own.files) >= maxDrops {
		return nil, fmt.Errorf("%d documents are being written: %w", maxDrops, ErrAgain)
	}
	d := &draft{b: b, base: name, subject: c.Subject.ID, uid: c.UID, gid: c.GID, mtime: b.t.o.Now()}
	d.serial = nodeID(fmt.Sprintf("%s %s %d", c.Subject.ID, name, b.t.o.Now().UnixNano()))
	own.files[name] = d
	own.changed = d.mtime
	delete(own.failed, name)
	return d, nil
}

// unlink takes back what was not accepted.
func (b *dropBox) unlink(c *call, name string) error {
	b.mu.Lock()
	own := b.ours(c)
	d := own.written(name)
	if d != nil {
		delete(own.files, name)
		delete(own.failed, name)
		own.changed = b.t.o.Now()
		b.mu.Unlock()
		d.mu.Lock()
		d.gone = true
		d.mu.Unlock()
		return nil
	}
	b.mu.Unlock()
	if _, err := b.lookup(c, name); err != nil {
		return err
	}
	return fmt.Errorf("%s was accepted: %w", name, ErrImmutable)
}

// rename gives a file its real name: the way in which most programs save, and
// one of the ways to commit.
func (b *dropBox) rename(c *call, old, name string, flags uint32) error {
	if flags&unix.RENAME_EXCHANGE != 0 {
		return ErrInvalid
	}
	b.mu.Lock()
	own := b.ours(c)
	d := own.written(old)
	if d == nil {
		b.mu.Unlock()
		if _, err := b.lookup(c, old); err != nil {
			return err
		}
		return fmt.Errorf("%s was accepted: %w", old, ErrImmutable)
	}
	_, there := own.files[name]
	b.mu.Unlock()
	if strings.HasSuffix(name, ".d") || name == ".done" {
		return ErrImmutable
	}
	if err := nameable(name); err != nil {
		return err
	}
	if r, ok := b.run(c, name); ok {
		if flags&unix.RENAME_NOREPLACE != 0 {
			return errExist
		}
		if !b.terminal(c, r) {
			return ErrBusy
		}
	}
	if there && flags&unix.RENAME_NOREPLACE != 0 {
		return errExist
	}
	if !temporary(name) {
		if err := d.commitAs(c, name); err != nil {
			return err
		}
		b.mu.Lock()
		if own.files[old] == d {
			delete(own.files, old)
		}
		delete(own.files, name)
		own.changed = b.t.o.Now()
		b.mu.Unlock()
		return nil
	}
	b.mu.Lock()
	delete(own.files, old)
	own.changed = b.t.o.Now()
	own.files[name] = d
	d.base = name
	b.mu.Unlock()
	return nil
}

// terminalStates end a run (contract §4).
var terminalStates = map[string]bool{"SUCCEEDED": true, "FAILED": true, "ROLLED_BACK": true, "ROLLBACK_FAILED": true, "POLICY_DENIED": true, "REFUSED": true}

func (b *dropBox) terminal(c *call, r RunInfo) bool {
	s, err := b.t.o.Intents.Read(c.Caller, r.Name, "state")
	return err == nil && terminalStates[strings.TrimSpace(string(s))]
}

// accepted is called after a document was taken, or refused as malformed.
func (b *dropBox) settled(subject, name string, d *draft, err error, unseen bool) {
	var ie *IntentError
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.of[subject]
	if own == nil {
		return
	}
	own.changed = b.t.o.Now()
	switch {
	case err == nil:
		if own.files[name] == d {
			delete(own.files, name)
		}
		delete(own.failed, name)
	case errors.As(err, &ie):
		own.failed[name] = failure{ie, unseen}
	}
}

// acceptedFile is a document that was taken.
type acceptedFile struct {
	node
	b *dropBox
	r RunInfo
}

func (f *acceptedFile) attr(*call) (vattr, error) {
	return vattr{mode: syscall.S_IFREG | f.perm, size: f.r.DocSize, uid: f.uid, gid: f.gid, mtime: f.mtime}, nil
}

// open reads the document. To write the name anew starts a new run, once this
// one has ended.
func (f *acceptedFile) open(c *call, flags uint32) (vhandle, error) {
	if !writes(flags) {
		doc, err := f.b.t.o.Intents.Document(c.Caller, f.r.Name)
		return &bytesHandle{data: doc}, err
	}
	if strings.Contains(f.r.Name, "/") {
		return nil, ErrImmutable
	}
	if !f.b.terminal(c, f.r) {
		return nil, ErrBusy
	}
	if flags&syscall.O_APPEND != 0 {
		// The goal would be carried out a second time, with what is appended.
		return nil, fmt.Errorf("%s was accepted: %w", f.r.Name, ErrImmutable)
	}
	var doc []byte
	if flags&syscall.O_TRUNC == 0 { // as editors save that write over a file and cut it then
		var err error
		if doc, err = f.b.t.o.Intents.Document(c.Caller, f.r.Name); err != nil {
			return nil, err
		}
	}
	d, err := f.b.fresh(c, f.r.Name)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.data == nil && d.writers == 0 && !d.dirty && len(doc) > 0 {
		d.data, d.again, d.tried = bytes.Clone(doc), true, f.r.Name
	}
	d.mu.Unlock()
	return d.open(c, flags)
}

// forget lets go of a document that was opened to be written again and was not.
func (b *dropBox) forget(d *draft) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if own := b.of[d.subject]; own != nil && own.files[d.base] == d {
		delete(own.files, d.base)
		own.changed = b.t.o.Now()
	}
}

// setattr takes what file managers send after the close, and does nothing.
func (f *acceptedFile) setattr(_ *call, in *setAttrIn) error {
	if in.Valid&fattrSize != 0 {
		return fmt.Errorf("%s was accepted: %w", f.r.Name, ErrImmutable)
	}
	return nil
}

// runDir is NAME.d or a directory in it.
func (b *dropBox) runDir(c *call, run, id, dir string, at time.Time) vnode {
	own := node{key: b.key(c, run+".d\x00"+id+"/"+dir), perm: 0o500, uid: c.UID, gid: c.GID, mtime: at, no: ErrImmutable}
	return &treeDir{node: own,
		all: func(c *call) ([]vent, error) {
			fis, err := b.t.o.Intents.List(c.Caller, run, dir)
			if err != nil {
				return nil, err
			}
			var es []vent
			for _, fi := range fis {
				if fi.Listed && !fi.Blocking {
					es = append(es, vent{fi.Name, b.runNode(c, run, id, path.Join(dir, fi.Name), fi)})
				}
			}
			return es, nil
		},
		find: func(c *call, name string) (vnode, error) {
			p := path.Join(dir, name)
			fi, err := b.t.o.Intents.Stat(c.Caller, run, p)
			if err != nil {
				return nil, err
			}
			return b.runNode(c, run, id, p, fi), nil
		},
	}
}

func (b *dropBox) runNode(c *call, run, id, p string, fi FileInfo) vnode {
	switch fi.Mode & modeType {
	case modeDir:
		return b.runDir(c, run, id, p, fi.ModTime)
	case modeLink:
		return newLink(b.key(c, run+".d\x00"+id+"/"+p), fi.Link, fi.ModTime, ErrImmutable)
	}
	return &runFile{node{key: b.key(c, run+".d\x00"+id+"/"+p), perm: fi.Mode & 0o7777, uid: c.UID, gid: c.GID, mtime: fi.ModTime, no: ErrImmutable}, b, run, p, fi.Blocking, fi.Writable}
}
