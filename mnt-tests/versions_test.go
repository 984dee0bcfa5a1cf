package mnttests

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Whatever programs do to a few names, by every road by which programs save, each last
// close leaves a version, and every version gives back, bit for bit, what the file held at
// a close: under its names, removed and renamed ones too, as an object, in the past, and
// by `aios restore-version` (contract §2, §3). AIOS_TEST_VERSIONS=1h runs for an hour.
func TestEveryCloseIsAVersion(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir, "--version-interval", "1h")
	t.Cleanup(func() { stopMount(t, p, daemon) })
	settings := map[string]string{"rapid.nofailfile": "true", "rapid.checks": "8", "rapid.shrinktime": "15s"}
	if os.Getenv("AIOS_LONG") == "" {
		settings["rapid.seed"] = "20261127" // the same sequences every time
	}
	for name, value := range settings {
		f := flag.Lookup(name)
		old := f.Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, old) })
	}
	mapper := startHelper(t, "mapper", nil)
	end, dirs := time.Now().Add(long(t, "AIOS_TEST_VERSIONS", 0, 5*time.Minute)), 0
	for first := true; !t.Failed() && (first || time.Now().Before(end)); first = false {
		rapid.Check(t, func(r *rapid.T) {
			dirs++
			dir := filepath.Join(p.dir, "groups/local/shared", fmt.Sprint("v", dirs))
			if err := os.Mkdir(dir, 0o755); err != nil {
				r.Fatal(err)
			}
			s := &saves{r: r, p: p, dir: dir, mapper: mapper, names: map[string]*saved{}, ever: map[string]bool{}, objects: map[string]bool{}, held: map[content]bool{}, lasting: rapid.Bool().Draw(r, "every name is synced")}
			defer s.end()
			n := rapid.SampledFrom([]int{3, 8, 20, 40}).Draw(r, "length")
			for range n {
				rapid.SampledFrom(savings).Draw(r, "step").do(s)
			}
			s.end()
			s.check()
		})
	}
	t.Logf("%d sequences", dirs)
}

// content is what a file held, by its digest: they are compared, never shown.
type content [sha256.Size]byte

// saves is the model: names, the files behind them, and what was closed.
type saves struct {
	r       *rapid.T
	p       place
	dir     string
	mapper  *helper
	names   map[string]*saved
	ever    map[string]bool
	held    map[content]bool // what any file held when it was closed, removed or replaced
	closed  []closing
	objects map[string]bool // that had one of the names: a file that replaced another goes on as that
	past    []moment
	stamp   int
	lost    []*os.File // open files that have no name any more
	lasting bool       // each name is durable before the next step: then `.versions` knows it
}

// saved is a file; writers are those of its handles that stay open.
type saved struct {
	text    []byte
	links   int
	dirty   bool
	writers []*os.File
}

// closing is a close that must have left a version. A brief one was followed by the name's
// end at once, maybe in the same epoch: `.versions` need not know it.
type closing struct {
	name, object string
	what         content
	brief        bool
}

// moment is a time, and what the closed names held then.
type moment struct {
	at    string
	names map[string]content
	open  map[string]bool
}

// step is a way to save, or what else happens to names.
type step struct {
	name string
	do   func(*saves)
}

func (s step) String() string { return s.name }

var savings = []step{
	{"write anew", func(s *saves) { s.write(s.name(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC) }},
	{"write in place", func(s *saves) { s.write(s.name(), os.O_RDWR|os.O_CREATE) }},
	{"append", func(s *saves) { s.write(s.name(), os.O_WRONLY|os.O_CREATE|os.O_APPEND) }},
	{"rename a new file over it", func(s *saves) {
		part, name := s.name()+".part", s.name()
		s.write(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		s.rename(part, name)
	}},
	{"rename", func(s *saves) { s.rename(s.name(), s.name()) }},
	{"exchange", (*saves).exchange},
	{"unlink", func(s *saves) { s.unlink(s.name()) }},
	{"unlink and create", func(s *saves) {
		name := s.name()
		s.unlink(name)
		s.write(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	}},
	{"save and remove at once", func(s *saves) { s.saveThen(s.name(), s.unlink) }},
	{"save and make anew at once", func(s *saves) {
		s.saveThen(s.name(), func(name string) {
			s.unlink(name)
			s.write(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		})
	}},
	{"save and rename over it at once", func(s *saves) {
		part, name := s.name()+".part", s.name()
		s.write(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		s.saveThen(name, func(name string) { s.rename(part, name) })
	}},
	{"a file without a name", (*saves).tmpfile},
	{"truncate", (*saves).truncate},
	{"map", (*saves).mapped},
	{"copy", (*saves).copyRange},
	{"open a handle", (*saves).open},
	{"write by a handle", func(s *saves) { s.byHandle(false) }},
	{"close a handle", func(s *saves) { s.byHandle(true) }},
	{"look back later", (*saves).remember},
}

func (s *saves) name() string {
	return rapid.SampledFrom([]string{"a", "b.txt", "c"}).Draw(s.r, "name")
}

func (s *saves) path(name string) string { return filepath.Join(s.dir, name) }

func (s *saves) must(err error) {
	s.r.Helper()
	if err != nil {
		s.r.Fatal(err)
	}
}

// bytes are some that no other write has.
func (s *saves) bytes() []byte {
	n := rapid.SampledFrom([]int{1, 40, 4096, 4097, 65536, 66000, 300_000}).Draw(s.r, "length")
	s.stamp++
	unit := fmt.Appendf(nil, "<%s %d>", filepath.Base(s.dir), s.stamp)
	return append(unit, bytes.Repeat(unit, n/len(unit))...)
}

func (s *saves) offset(f *saved) int {
	return rapid.SampledFrom([]int{0, len(f.text) / 2, len(f.text), len(f.text) + 5000}).Draw(s.r, "offset")
}

func (f *saved) put(off int, b []byte) {
	f.text = append(slices.Clone(f.text), make([]byte, max(0, off+len(b)-len(f.text)))...)
	copy(f.text[off:], b)
	f.dirty = true
}

// file is what a name stands for; one that is opened to be made is there then.
func (s *saves) file(name string, flags int) *saved {
	f := s.names[name]
	if f == nil && flags&os.O_CREATE != 0 {
		f = &saved{links: 1}
		s.names[name], s.ever[name] = f, true
	}
	if f != nil && flags&os.O_TRUNC != 0 && len(f.text) > 0 {
		f.text, f.dirty = nil, true
	}
	return f
}

func (s *saves) write(name string, flags int) {
	f := s.file(name, flags)
	h, err := os.OpenFile(s.path(name), flags, 0o644)
	s.must(err)
	b := s.bytes()
	if flags&os.O_APPEND != 0 {
		_, err = h.Write(b)
		f.put(len(f.text), b)
	} else {
		off := s.offset(f)
		_, err = h.WriteAt(b, int64(off))
		f.put(off, b)
	}
	s.must(err)
	s.must(h.Close())
	s.wasClosed(name, f)
}

// saveThen saves a file, and does something to its name at once: the kernel may tell of the
// close after it. A file that is made alone may be the kernel's own to write.
func (s *saves) saveThen(name string, then func(name string)) {
	if f := s.names[name]; f != nil && len(f.writers) > 0 {
		return
	}
	if rapid.Bool().Draw(s.r, "alone") {
		time.Sleep(150 * time.Millisecond)
	}
	f := s.file(name, os.O_CREATE|os.O_TRUNC)
	h, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	s.must(err)
	c := closing{name: name, object: xattrOf(fmt.Sprint("/proc/self/fd/", h.Fd()), "user.aios.object_id"), brief: true}
	b := s.bytes()
	_, err = h.Write(b)
	s.must(err)
	f.put(0, b)
	f.dirty, c.what = false, sha256.Sum256(f.text)
	s.held[c.what], s.objects[c.object], s.closed = true, true, append(s.closed, c)
	s.must(h.Close())
	then(name)
}

// wasClosed notes a close, which makes a version if it is the last writer's.
func (s *saves) wasClosed(name string, f *saved) {
	s.r.Helper()
	s.held[sha256.Sum256(f.text)] = true
	s.sync()
	if len(f.writers) > 0 || !f.dirty || f.links == 0 {
		return
	}
	f.dirty = false
	if len(f.text) == 0 {
		return // a file that never held anything has no version
	}
	c := closing{name: name, object: xattrOf(s.path(name), "user.aios.object_id"), what: sha256.Sum256(f.text)}
	s.closed, s.objects[c.object] = append(s.closed, c), true
}

func xattrOf(path, name string) string {
	b := make([]byte, 256)
	n, err := unix.Getxattr(path, name, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func (s *saves) sync() {
	if s.lasting {
		s.syncNow()
	}
}

func (s *saves) syncNow() {
	d, err := os.Open(s.dir)
	s.must(err)
	s.must(d.Sync())
	s.must(d.Close())
}

func (s *saves) drop(name string) {
	if f := s.names[name]; f != nil {
		s.held[sha256.Sum256(f.text)] = true
		f.links--
		delete(s.names, name)
		s.lost, f.writers = append(s.lost, f.writers...), nil
	}
}

func (s *saves) rename(from, to string) {
	f := s.names[from]
	err := os.Rename(s.path(from), s.path(to))
	if f == nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.r.Fatalf("rename of nothing: %v", err)
		}
		return
	}
	s.must(err)
	if from != to {
		s.drop(to)
		delete(s.names, from)
		s.names[to], s.ever[to] = f, true
		s.objects[xattrOf(s.path(to), "user.aios.object_id")] = true
	}
	s.sync()
}

func (s *saves) exchange() {
	a, b := s.name(), s.name()
	if s.names[a] == nil || s.names[b] == nil {
		return
	}
	s.must(unix.Renameat2(unix.AT_FDCWD, s.path(a), unix.AT_FDCWD, s.path(b), unix.RENAME_EXCHANGE))
	s.names[a], s.names[b] = s.names[b], s.names[a]
	s.sync()
}

func (s *saves) unlink(name string) {
	if s.names[name] == nil {
		return
	}
	s.drop(name)
	s.must(os.Remove(s.path(name)))
	s.sync()
}

func (s *saves) tmpfile() {
	name := s.name()
	fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR, 0o644)
	s.must(err)
	h := os.NewFile(uintptr(fd), name)
	f := &saved{}
	b := s.bytes()
	_, err = h.WriteAt(b, 0)
	s.must(err)
	f.put(0, b)
	s.unlink(name)
	s.must(unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, s.path(name), unix.AT_SYMLINK_FOLLOW))
	f.links = 1
	s.names[name], s.ever[name] = f, true
	s.must(h.Close())
	s.wasClosed(name, f)
}

func (s *saves) truncate() {
	name := s.name()
	f := s.names[name]
	if f == nil {
		return
	}
	n := s.offset(f)
	s.must(os.Truncate(s.path(name), int64(n)))
	f.text = append(slices.Clone(f.text[:min(n, len(f.text))]), make([]byte, max(0, n-len(f.text)))...)
	f.dirty = true
	s.wasClosed(name, f)
}

func (s *saves) mapped() {
	name := s.name()
	f := s.names[name]
	if f == nil || len(f.text) == 0 {
		return
	}
	b := s.bytes()
	off := rapid.IntRange(0, len(f.text)-1).Draw(s.r, "at")
	b = b[:min(len(b), len(f.text)-off, mapWindow-off)]
	for _, op := range []string{"write", "drop"} {
		var a mapAnswer
		s.must(s.mapper.ask(&mapAsk{op, s.path(name), off, len(b), b}, &a))
		if a.Err != "" {
			s.r.Fatalf("map %s: %s", op, a.Err)
		}
	}
	f.put(off, b)
	s.wasClosed(name, f)
}

func (s *saves) copyRange() {
	from, to := s.name(), s.name()
	f := s.names[from]
	if f == nil || from == to || f == s.names[to] {
		return
	}
	in, err := os.Open(s.path(from))
	s.must(err)
	defer in.Close()
	t := s.file(to, os.O_CREATE|os.O_TRUNC)
	out, err := os.OpenFile(s.path(to), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	s.must(err)
	for off := int64(0); off < int64(len(f.text)); {
		n, err := unix.CopyFileRange(int(in.Fd()), nil, int(out.Fd()), nil, len(f.text), 0)
		s.must(err)
		if n == 0 {
			s.r.Fatalf("the copy ends at %d of %d", off, len(f.text))
		}
		off += int64(n)
	}
	t.put(0, f.text)
	s.must(out.Close())
	s.wasClosed(to, t)
}

func (s *saves) open() {
	name := s.name()
	if f := s.file(name, os.O_CREATE); len(f.writers) < 3 {
		h, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE, 0o644)
		s.must(err)
		f.writers = append(f.writers, h)
	}
}

func (s *saves) byHandle(last bool) {
	name := s.name()
	f := s.names[name]
	if f == nil || len(f.writers) == 0 {
		return
	}
	h := f.writers[0]
	if !last {
		b, off := s.bytes(), s.offset(f)
		_, err := h.WriteAt(b, int64(off))
		s.must(err)
		f.put(off, b)
		return
	}
	f.writers = f.writers[1:]
	s.must(h.Close())
	s.wasClosed(name, f)
}

// remember takes the present down, to be compared with what the past shows later.
func (s *saves) remember() {
	s.syncNow()
	m := moment{names: map[string]content{}, open: map[string]bool{}}
	for name, f := range s.names {
		m.names[name], m.open[name] = sha256.Sum256(f.text), len(f.writers) > 0
	}
	// What comes later is of a later epoch, by its time too.
	m.at = time.Now().UTC().Format(time.RFC3339Nano)
	s.syncNow()
	s.past = append(s.past, m)
}

// end closes what is open: what has lost its name at last, so that nothing closes it later.
func (s *saves) end() {
	for _, h := range s.lost {
		s.must(h.Close())
	}
	s.lost = nil
	for name, f := range s.names {
		for len(f.writers) > 0 {
			h := f.writers[0]
			f.writers = f.writers[1:]
			s.must(h.Close())
			s.wasClosed(name, f)
		}
	}
}

// read gives a file's digest, and wants the size that stat says.
func (s *saves) read(path string) content {
	s.r.Helper()
	info, err := os.Stat(path)
	s.must(err)
	b, err := os.ReadFile(path)
	s.must(err)
	if int64(len(b)) != info.Size() {
		s.r.Fatalf("%s: %d bytes, stat says %d", path, len(b), info.Size())
	}
	return sha256.Sum256(b)
}

func (s *saves) check() {
	listed := map[content]bool{}
	for name := range s.ever {
		list, err := os.ReadDir(filepath.Join(s.dir, ".versions", name))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // of a name that never held anything there is nothing
			s.r.Fatal(err)
		}
		newest := sha256.Sum256(nil)
		for _, e := range list {
			newest = s.read(filepath.Join(s.dir, ".versions", name, e.Name()))
			if !s.held[newest] && newest != sha256.Sum256(nil) {
				s.r.Fatalf("version %s of %s holds what the file never held at a close", e.Name(), name)
			}
			listed[newest] = true
		}
		if f := s.names[name]; f != nil && len(f.text) > 0 && newest != sha256.Sum256(f.text) {
			s.r.Fatalf("the newest of %d versions of %s is not what it holds", len(list), name)
		}
		s.restore(name, list)
	}
	kept, seen := map[content]bool{}, map[string]bool{}
	for object := range s.objects {
		dir := filepath.Join(s.p.dir, "objects", object, "versions")
		list, err := os.ReadDir(dir)
		s.must(err)
		for _, e := range list {
			if !seen[e.Name()] {
				seen[e.Name()] = true
				kept[s.read(filepath.Join(dir, e.Name()))] = true
			}
		}
	}
	for _, c := range s.closed {
		if !kept[c.what] {
			s.r.Fatalf("a close of %s left no version of what it held: object %s", c.name, c.object)
		}
		// Of a file that replaced another the version is under the name that it took.
		if s.lasting && !c.brief && !listed[c.what] {
			s.r.Fatalf("a close of %s left a version that no .versions lists: object %s", c.name, c.object)
		}
	}
	for _, m := range s.past {
		then := filepath.Join(s.p.dir, "views/at", m.at, strings.TrimPrefix(s.dir, s.p.dir))
		list, err := os.ReadDir(then)
		s.must(err)
		if len(list) != len(m.names) {
			s.r.Fatalf("at %s: %v, want %d names", m.at, list, len(m.names))
		}
		for name, what := range m.names {
			if got := s.read(filepath.Join(then, name)); got != what && !m.open[name] {
				s.r.Fatalf("at %s, %s was something else", m.at, name)
			}
		}
	}
}

// restore makes one of a name's versions current, whether the name is still there or not,
// and wants the program's list to be the directory's.
func (s *saves) restore(name string, list []os.DirEntry) {
	if len(list) == 0 {
		return
	}
	out, err := exec.Command(s.p.bin, "history", "--json", s.path(name)).Output()
	s.must(err)
	var told []struct{ Version, File string }
	s.must(json.Unmarshal(out, &told))
	if len(told) != len(list) {
		s.r.Fatalf("history of %s tells of %d versions, there are %d", name, len(told), len(list))
	}
	v := told[rapid.IntRange(0, len(told)-1).Draw(s.r, "restore")]
	want := s.read(v.File)
	if out, err := exec.Command(s.p.bin, "restore-version", s.path(name)+"@"+v.Version).CombinedOutput(); err != nil {
		s.r.Fatalf("restore %s@%s: %v: %s", name, v.Version, err, out)
	}
	if s.read(s.path(name)) != want {
		s.r.Fatalf("%s@%s was restored as something else", name, v.Version)
	}
}
