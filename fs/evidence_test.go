package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

func constCatalog(c *identity.Catalog) func() *identity.Catalog {
	return func() *identity.Catalog { return c }
}

// memLog is a log held in memory, for the tree's shape and its refusals; the
// real one is adapted by cmd.
type memLog struct {
	rs    []EvidenceRecord
	files fstest.MapFS
}

func newMemLog(n int) *memLog {
	l := &memLog{files: fstest.MapFS{"log/checkpoint": {Data: []byte("note\n")}, "segments/seg_1/records.bin": {Data: []byte("x")}}}
	for i := range n {
		l.rs = append(l.rs, EvidenceRecord{ID: fmt.Sprintf("evr_%026d", i), Type: "POLICY_DECISION", Action: "act_1", Seq: uint64(i + 1), At: time.Now().Add(time.Duration(i-n) * time.Minute), Bytes: []byte(fmt.Sprintf(`{"n":%d}`, i))})
	}
	return l
}

func (l *memLog) pick(f func(EvidenceRecord) bool) ([]EvidenceRecord, error) {
	var rs []EvidenceRecord
	for _, r := range l.rs {
		if f(r) {
			rs = append(rs, r)
		}
	}
	return rs, nil
}
func (l *memLog) Record(id string) (EvidenceRecord, bool) {
	rs, _ := l.pick(func(r EvidenceRecord) bool { return r.ID == id })
	if len(rs) == 0 {
		return EvidenceRecord{}, false
	}
	return rs[0], true
}
func (l *memLog) Seq(n uint64) (EvidenceRecord, bool) {
	if n == 0 || n > uint64(len(l.rs)) {
		return EvidenceRecord{}, false
	}
	return l.rs[n-1], true
}
func (l *memLog) Size() uint64                     { return uint64(len(l.rs)) }
func (l *memLog) Payload(id string) ([]byte, bool) { return []byte("{}"), !strings.HasSuffix(id, "0") }
func (l *memLog) Span(_ context.Context, from, until time.Time) ([]EvidenceRecord, error) {
	return l.pick(func(r EvidenceRecord) bool { return !r.At.Before(from) && r.At.Before(until) })
}
func (l *memLog) ByAction(_ context.Context, id string) ([]EvidenceRecord, error) {
	return l.pick(func(r EvidenceRecord) bool { return r.Action == id })
}
func (l *memLog) ByCorrelation(context.Context, string) ([]EvidenceRecord, error) { return nil, nil }
func (l *memLog) ByType(_ context.Context, n string, from, until time.Time) ([]EvidenceRecord, error) {
	return l.pick(func(r EvidenceRecord) bool { return r.Type == n && !r.At.Before(from) && r.At.Before(until) })
}
func (l *memLog) Types() ([]string, error)            { return []string{"POLICY_DECISION"}, nil }
func (l *memLog) KnownType(n string) bool             { return n == "POLICY_DECISION" }
func (l *memLog) First() (time.Time, bool)            { return l.rs[0].At, true }
func (l *memLog) Head() []byte                        { return []byte("size 20\n") }
func (l *memLog) MayReadAll(c Caller) bool            { return c.Subject.Admin }
func (l *memLog) Files() fs.FS                        { return l.files }
func (l *memLog) MayRead(Caller, EvidenceRecord) bool { return true }

func TestEvidenceCannotBeChanged(t *testing.T) {
	t.Log("proves: evidence-87")
	log := newMemLog(20)
	r := newRig(t, func(o *Options) { o.Evidence = log })
	for _, top := range []string{"/evidence", "/system/evidence"} {
		dir := r.mnt + top
		rec := log.rs[3]
		name := filepath.Join(dir, "records", rec.At.UTC().Format("2006/01/02/15"), rec.ID+".json")
		if got := get(t, name); got != string(rec.Bytes) {
			t.Errorf("record reads %q", got)
		}
		hour := filepath.Dir(name)
		for what, err := range map[string]error{
			"open for write": os.WriteFile(name, nil, 0o644),
			"append":         openErr(name, os.O_APPEND|os.O_WRONLY),
			"O_TRUNC":        openErr(name, os.O_TRUNC|os.O_RDONLY),
			"truncate":       os.Truncate(name, 0),
			"unlink":         os.Remove(name),
			"rename inside":  os.Rename(name, name+"x"),
			"create":         os.WriteFile(hour+"/new", nil, 0o644),
			"mkdir":          os.Mkdir(hour+"/d", 0o755),
			"symlink":        os.Symlink("x", hour+"/l"),
			"mknod":          syscall.Mknod(hour+"/n", syscall.S_IFIFO|0o644, 0),
			"O_TMPFILE":      openErr(hour, unix.O_TMPFILE|os.O_WRONLY),
			"setxattr":       syscall.Setxattr(name, "user.x", []byte("y"), 0),
			"utimes":         os.Chtimes(name, time.Now(), time.Now()),
			"chmod":          os.Chmod(name, 0o600),
			"chown":          os.Chown(name, 1, 1),
			"link inside":    os.Link(name, hour+"/h"),
			"rename over":    os.Rename(r.mk("o"), name),
		} {
			wantErrno(t, top+": "+what, err, syscall.EPERM)
		}
		wantErrno(t, "mkdir over a name", os.Mkdir(name, 0o755), syscall.EEXIST)
		if err := openErr(name, os.O_CREATE|os.O_RDONLY); err != nil {
			t.Errorf("O_CREAT for reading: %v", err)
		}
		wantErrno(t, "purged payload", stat(strings.Replace(filepath.Join(filepath.Dir(name), log.rs[10].ID+".json"), "/records/", "/payloads/", 1)), syscall.ENOENT)
		for _, l := range []string{"by-seq/000/000/004", "by-action/act_1/0004-POLICY_DECISION", "by-type/POLICY_DECISION/" + rec.At.UTC().Format(time.DateOnly)} {
			p := filepath.Join(dir, l)
			if st, err := os.Stat(p); err != nil {
				t.Errorf("%s: %v", l, err)
			} else if st.Mode().IsRegular() && get(t, p) != string(rec.Bytes) {
				t.Errorf("%s leads elsewhere", l)
			}
		}
		if all, err := os.ReadDir(dir + "/by-seq/000/000"); err != nil || len(all) != 20 || all[0].Name() != "001" || all[19].Name() != "020" {
			t.Errorf("by-seq lists %v, %v; want 001 to 020", all, err)
		}
		if get(t, dir+"/by-seq/000/000/020") != string(log.rs[19].Bytes) {
			t.Error("the newest record is not at its number")
		}
		if get(t, dir+"/log/checkpoint") != "note\n" || get(t, dir+"/head") != "size 20\n" {
			t.Error("the log's own files")
		}
	}
	out, err := r.as(aliceUID, aliceUID, `echo x > $MNT/evidence/head`)
	if err == nil || !strings.Contains(out, "denied") && !strings.Contains(out, "not permitted") {
		t.Errorf("an ordinary user: %v %s", err, out)
	}
	r.wait(func() bool { return len(r.deny.list()) > 0 })
}

func openErr(name string, flags int) error {
	f, err := os.OpenFile(name, flags, 0o644)
	if err == nil {
		f.Close()
	}
	return err
}

// growing is a log of many records that goes on growing while it is read.
type growing struct {
	*memLog
	mu   sync.Mutex
	byID map[string]EvidenceRecord
}

func (l *growing) add(r EvidenceRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rs = append(l.rs, r)
	l.byID[r.ID] = r
}
func (l *growing) Record(id string) (EvidenceRecord, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.byID[id]
	return r, ok
}
func (l *growing) Span(ctx context.Context, from, until time.Time) ([]EvidenceRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memLog.Span(ctx, from, until)
}
func (l *growing) First() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memLog.First()
}
func (l *growing) ByAction(ctx context.Context, id string) ([]EvidenceRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memLog.ByAction(ctx, id)
}
func (l *growing) ByType(ctx context.Context, n string, from, until time.Time) ([]EvidenceRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memLog.ByType(ctx, n, from, until)
}
func (l *growing) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memLog.Size()
}

// A directory of a hundred thousand records is listed whole, each record once, while
// others come to it.
func TestEvidence90_ManyRecordsWhileMoreCome(t *testing.T) {
	t.Log("proves: evidence-90")
	const many = 100_000
	log := &growing{memLog: newMemLog(0), byID: map[string]EvidenceRecord{}}
	at := time.Now().UTC().Truncate(time.Hour)
	grow := func(n int) {
		log.add(EvidenceRecord{ID: fmt.Sprintf("evr_%026d", n), Type: "POLICY_DECISION", Seq: uint64(n + 1), At: at, Bytes: fmt.Appendf(nil, `{"n":%d}`, n)})
	}
	for n := range many {
		grow(n)
	}
	r := newRig(t, func(o *Options) { o.Evidence = log })
	stop, grown := make(chan struct{}), make(chan int)
	go func() {
		n := many
		for ; ; n++ {
			select {
			case <-stop:
				grown <- n
				return
			case <-time.After(time.Millisecond):
				grow(n)
			}
		}
	}()
	dir, err := os.Open(filepath.Join(r.mnt, "evidence/records", at.Format("2006/01/02/15")))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	seen := make(map[string]bool, many)
	for err == nil {
		var part []string
		part, err = dir.Readdirnames(1000)
		for _, name := range part {
			if seen[name] {
				t.Fatalf("%s is listed twice", name)
			}
			seen[name] = true
		}
	}
	close(stop)
	last := <-grown
	if !errors.Is(err, io.EOF) || last == many {
		t.Fatalf("the listing ends with %v, with %d records more", err, last-many)
	}
	for n := range many {
		if !seen[fmt.Sprintf("evr_%026d.json", n)] {
			t.Fatalf("record %d of %d is not listed; %d are", n, many, len(seen))
		}
	}
}
