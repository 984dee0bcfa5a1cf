package evidence

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// sampleLog makes a stopped log of a few small segments.
func sampleLog(t testing.TB, segments, each int) (dir string, l *Log) {
	t.Helper()
	l = openAt(t, Options{})
	for range segments {
		appendN(t, l, each)
		if err := l.Seal(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.o.Dir, l
}

// covered lists the files of a log that Verify vouches for: all but the lock
// and the indexes, which are derived.
func covered(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != indexName && e.Name() != LockFile {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFlipEveryByte(t *testing.T) {
	dir, _ := sampleLog(t, 2, 2)
	key, _ := os.ReadFile(filepath.Join(dir, keyFile))
	flips := 0
	for _, rel := range covered(t, dir) {
		path := filepath.Join(dir, rel)
		os.Chmod(path, 0o644)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		stride := 1
		if testing.Short() {
			stride = 17
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(data); i += stride {
			f.WriteAt([]byte{data[i] ^ byte(1<<(i%8))}, int64(i))
			rep, err := Verify(context.Background(), dir, VerifyOptions{Key: string(key), Workers: 1})
			if err != nil {
				t.Fatalf("%s byte %d: %v", rel, i, err)
			}
			if rep.Consistent {
				t.Fatalf("%s byte %d (%q): not detected", rel, i, data[i])
			}
			if rep.File == "" || rep.Problem == "" || !strings.HasPrefix(rel, rep.File) && rep.FirstAnomalousSeq == 0 {
				t.Fatalf("%s byte %d: blamed on %q at record %d: %s", rel, i, rep.File, rep.FirstAnomalousSeq, rep.Problem)
			}
			if rep.File != rel && !strings.HasPrefix(rel, segmentsDir) {
				t.Fatalf("%s byte %d: blamed on %s: %s", rel, i, rep.File, rep.Problem)
			}
			f.WriteAt(data[i:i+1], int64(i))
			flips++
		}
		f.Close()
	}
	verified(t, dir)
	t.Logf("%d flips detected", flips)
	t.Log("proves: evidence-4")
}

func TestMissingFile(t *testing.T) {
	dir, _ := sampleLog(t, 2, 150)
	for _, rel := range covered(t, dir) {
		path := filepath.Join(dir, rel)
		os.Rename(path, path+"-away")
		rep, err := Verify(context.Background(), dir, VerifyOptions{})
		// A superseded partial file may be removed at any time.
		stale := strings.Contains(rel, ".p/")
		if err != nil || rep.Consistent && !stale || !rep.Consistent && !strings.HasPrefix(rep.File, filepath.Dir(rel)) && !strings.HasPrefix(rel, rep.File) {
			if !(err == nil && stale && rep.File == filepath.Dir(rel)+"/"+filepath.Base(rel)+"-away") {
				t.Fatalf("%s removed: %v %+v", rel, err, rep)
			}
		}
		os.Rename(path+"-away", path)
	}
	os.RemoveAll(segmentPath(dir, 1))
	rep, err := Verify(context.Background(), dir, VerifyOptions{})
	if err != nil || rep.Consistent || rep.File != "segments/00000001" || rep.FirstAnomalousSeq != 1 {
		t.Fatalf("%v %+v", err, rep)
	}
}

func TestTruncateEverywhere(t *testing.T) {
	dir, l := sampleLog(t, 2, 3)
	for _, name := range []string{recordsName, payloadsName} {
		path := filepath.Join(segmentPath(dir, 2), name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(data); n += 3 {
			if err := os.WriteFile(path, data[:n], 0o644); err != nil {
				t.Fatal(err)
			}
			rep, err := Verify(context.Background(), dir, VerifyOptions{})
			if err != nil || rep.Consistent || !strings.HasPrefix(rep.File, "segments/00000002/") || rep.FirstAnomalousSeq < 5 {
				t.Fatalf("%s cut to %d: %v %+v", name, n, err, rep)
			}
			if n%30 == 0 {
				copied := filepath.Join(t.TempDir(), "copy")
				copyDir(t, dir, copied)
				damaged, err := Open(context.Background(), Options{Dir: copied, Key: l.o.Key, Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				if err := damaged.Health(); !errors.Is(err, ErrDegraded) {
					t.Fatalf("%s cut to %d: health %v", name, n, err)
				}
				if _, err := damaged.Append(context.Background(), received(0)); !errors.Is(err, ErrDegraded) {
					t.Fatalf("append to a damaged log: %v", err)
				}
				if r, err := damaged.At(1); err != nil || r.Seq != 1 {
					t.Fatalf("read of a damaged log: %v", err)
				}
				damaged.Close()
			}
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	verified(t, dir)
	t.Log("proves: evidence-5")
}

func TestEvidence4_AuditDegrades(t *testing.T) {
	l := openAt(t, Options{})
	appendN(t, l, 100)
	if err := l.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 1)
	if rep, err := l.Audit(context.Background(), VerifyOptions{}); err != nil || !rep.Consistent {
		t.Fatal(err, rep)
	}
	if r, _ := l.At(50); r.Integrity != Verified {
		t.Fatalf("integrity %s", r.Integrity)
	}
	flip(t, filepath.Join(segmentPath(l.o.Dir, 1), recordsName), recordOffset(t, l, 50)+200)
	rep, err := l.Audit(context.Background(), VerifyOptions{})
	if err != nil || rep.Consistent || rep.FirstAnomalousSeq != 50 {
		t.Fatalf("%v %+v", err, rep)
	}
	if _, err := l.Append(context.Background(), received(0)); !errors.Is(err, ErrDegraded) {
		t.Fatalf("append: %v", err)
	}
	if _, err := l.At(50); !errors.Is(err, ErrIntegrity) {
		t.Fatalf("damaged record: %v", err)
	}
	if r, err := l.At(51); err != nil || r.Integrity != TamperQuarantine {
		t.Fatalf("neighbour: %v %s", err, r.Integrity)
	}
	fs := l.Findings()
	if len(fs) != 1 || fs[0].Type != record.TamperDetected {
		t.Fatalf("findings %+v", fs)
	}
	p, err := l.Payload(fs[0].ID)
	if err != nil || jsonText(p, "first_anomalous_sequence") != "50" {
		t.Fatalf("finding %s %v", p, err)
	}
	l.Close()
	again := openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	if err := again.Health(); !errors.Is(err, ErrDegraded) {
		t.Fatalf("a finding must outlive a restart: %v", err)
	}
	flip(t, filepath.Join(segmentPath(l.o.Dir, 1), recordsName), recordOffset(t, again, 50)+200)
	if err := again.ResolveFindings(context.Background(), "family:alice", "restored from backup"); err != nil {
		t.Fatal(err)
	}
	again.Close()
	healed := openAt(t, Options{Dir: l.o.Dir, Key: l.o.Key})
	if err := healed.Health(); err != nil {
		t.Fatal(err)
	}
	appendN(t, healed, 1)
	healed.Checkpoint()
	verified(t, l.o.Dir)
	t.Log("proves: evidence-4")
}

func recordOffset(t testing.TB, l *Log, seq uint64) int64 {
	t.Helper()
	s, i, err := l.locate(seq)
	if err != nil {
		t.Fatal(err)
	}
	off, _, err := s.index().row(i)
	if err != nil {
		t.Fatal(err)
	}
	return off
}

func flip(t testing.TB, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

// relink rewrites record seq of a one-segment log and recomputes every later
// link, as somebody without the key can.
func relink(t testing.TB, dir string, seq uint64) {
	t.Helper()
	path := filepath.Join(segmentPath(dir, 1), recordsName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, prev := []byte(recordMagic), ""
	for rest := data[magicLen:]; len(rest) > 0; {
		body, n, err := nextFrame(rest, maxRecord)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRecord(body)
		if err != nil {
			t.Fatal(err)
		}
		if prev != "" {
			r.PreviousHash = prev
		}
		if r.Seq == seq {
			r.Subject = "family:mallory"
		}
		b := appendRecord(nil, &r)
		if r.Seq >= seq {
			prev = hex32(b)
		}
		out = appendFrame(out, b)
		rest = rest[n:]
	}
	if err := os.WriteFile(path, out, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEvidence6_RelinkedRewrite(t *testing.T) {
	dir, l := sampleLog(t, 1, 20)
	relink(t, dir, 7)
	rep, err := Verify(context.Background(), dir, VerifyOptions{})
	if err != nil || rep.Consistent || rep.FirstAnomalousSeq != 7 || rep.File != "segments/00000001/records" {
		t.Fatalf("%v %+v", err, rep)
	}
	// Opening sees it too, once the index no longer vouches for the files.
	os.Remove(filepath.Join(segmentPath(dir, 1), indexName))
	os.RemoveAll(filepath.Join(dir, findingsDir))
	again, err := Open(context.Background(), Options{Dir: dir, Key: l.o.Key, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Health(); !errors.Is(err, ErrDegraded) {
		t.Fatalf("health of a rewritten log: %v", err)
	}
	t.Log("proves: evidence-6")
}

// A whole log forged with the host's own key is caught by an anchor only.
func TestEvidence94_Anchor(t *testing.T) {
	anchor := filepath.Join(t.TempDir(), "anchor")
	l := openAt(t, Options{Anchor: anchor})
	for range 5 {
		appendN(t, l, 30)
		l.Checkpoint()
	}
	l.Close()
	kept, err := os.ReadFile(anchor)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(context.Background(), l.o.Dir, VerifyOptions{Anchors: [][]byte{kept}})
	if err != nil || !rep.Consistent || rep.Checkpoints < 7 {
		t.Fatalf("%v %+v", err, rep)
	}
	forged := openAt(t, Options{Key: l.o.Key})
	appendN(t, forged, 200)
	forged.Close()
	verified(t, forged.o.Dir)
	rep, err = Verify(context.Background(), forged.o.Dir, VerifyOptions{Anchors: [][]byte{kept}})
	if err != nil || rep.Consistent || rep.FirstAnomalousSeq != 1 || !strings.Contains(rep.Problem, "anchored") {
		t.Fatalf("%v %+v", err, rep)
	}
	short := openAt(t, Options{Key: l.o.Key})
	appendN(t, short, 10)
	short.Close()
	rep, err = Verify(context.Background(), short.o.Dir, VerifyOptions{Anchors: [][]byte{kept}})
	if err != nil || rep.Consistent || !strings.Contains(rep.Problem, "rolled back") {
		t.Fatalf("%v %+v", err, rep)
	}
	other := openAt(t, Options{})
	appendN(t, other, 1)
	other.Close()
	key, _ := os.ReadFile(filepath.Join(l.o.Dir, keyFile))
	rep, err = Verify(context.Background(), other.o.Dir, VerifyOptions{Key: string(key)})
	if err != nil || rep.Consistent || rep.File != keyFile {
		t.Fatalf("%v %+v", err, rep)
	}
	t.Log("proves: evidence-94 evidence-6")
}

func TestEvidence9_SequenceTwice(t *testing.T) {
	l := openAt(t, Options{CheckpointEvery: time.Hour})
	appendN(t, l, 5)
	l.Checkpoint()
	dir := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, l.o.Dir, dir)
	path := filepath.Join(segmentPath(dir, 1), recordsName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from, to, next := recordOffset(t, l, 3), recordOffset(t, l, 4), recordOffset(t, l, 5)
	if to-from != next-to {
		t.Fatal("records of different length")
	}
	copy(data[to:next], data[from:to]) // record 3 once more, in the place of 4
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	again := openAt(t, Options{Dir: dir, Key: l.o.Key})
	if _, err := again.Append(context.Background(), received(1)); !errors.Is(err, ErrDegraded) {
		t.Fatalf("append: %v", err)
	}
	fs := again.Findings()
	if len(fs) != 1 || fs[0].Type != record.ChainInconsistencyDetected {
		t.Fatalf("findings: %d", len(fs))
	}
	p, err := again.Payload(fs[0].ID)
	if err != nil || jsonText(p, "detail") != "SEQUENCE_REPLAY_DETECTED" || jsonText(p, "sequence_number") != "4" {
		t.Fatalf("%s %v", p, err)
	}
	if r, err := again.At(3); err != nil || r.Seq != 3 {
		t.Fatalf("read: %v", err)
	}
	t.Log("proves: evidence-9")
}

// Whoever takes the redaction class out of a record, and relinks all that follow, still
// has the signature against him.
func TestEvidence26_StrippedRedactionClass(t *testing.T) {
	dir, _ := sampleLog(t, 1, 20)
	path := filepath.Join(segmentPath(dir, 1), recordsName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, prev, stripped := []byte(recordMagic), "", 0
	for rest := data[magicLen:]; len(rest) > 0; {
		body, n, err := nextFrame(rest, maxRecord)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRecord(body)
		if err != nil {
			t.Fatal(err)
		}
		text := string(body)
		if prev != "" {
			text = strings.Replace(text, r.PreviousHash, prev, 1)
		}
		if r.Seq == 7 {
			text = redactionField.ReplaceAllString(text, "")
			stripped = len(body) - len(text)
		}
		if r.Seq >= 7 {
			prev = hex32([]byte(text))
		}
		out = appendFrame(out, []byte(text))
		rest = rest[n:]
	}
	if stripped == 0 {
		t.Fatal("the record has no redaction class")
	}
	if err := os.WriteFile(path, out, 0o644); err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(context.Background(), dir, VerifyOptions{})
	if err != nil || rep.Consistent || rep.FirstAnomalousSeq != 7 {
		t.Fatalf("%v %+v", err, rep)
	}
	t.Log("proves: evidence-26")
}

// redactionField is the class with the comma that parts it from the next field.
var redactionField = regexp.MustCompile(`"redaction_class":[^,}]*,`)
