package fs

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// counting is a log that counts what it is asked for.
type counting struct {
	*memLog
	given, firsts atomic.Int64
}

func (l *counting) ByType(ctx context.Context, n string, from, until time.Time) ([]EvidenceRecord, error) {
	rs, err := l.memLog.ByType(ctx, n, from, until)
	l.given.Add(int64(len(rs)))
	return rs, err
}

func (l *counting) ByAction(ctx context.Context, id string) ([]EvidenceRecord, error) {
	rs, err := l.memLog.ByAction(ctx, id)
	l.given.Add(int64(len(rs)))
	return rs, err
}

// First is asked by each directory of years, months, days and hours that makes its names.
func (l *counting) First() (time.Time, bool) {
	l.firsts.Add(1)
	return l.memLog.First()
}

// What a backup reads of the log grows as the log does, not as its square: a name that was
// just listed is found again without all of its neighbours, and the directories that lead
// to a record are not asked about for each.
func TestAWalkOfTheEvidenceAsksOncePerRecord(t *testing.T) {
	const many = 600
	log := &counting{memLog: newMemLog(many)}
	r := newRig(t, func(o *Options) { o.Evidence = log })
	seen := 0
	for _, top := range []string{"evidence/by-type", "evidence/records", "evidence/payloads", "system/evidence/by-type", "evidence/by-action/act_1"} {
		err := filepath.WalkDir(filepath.Join(r.mnt, top), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			seen++
			for range 4 { // as cp -a and rsync do: lstat, open, attributes, all by path
				if _, err := os.Lstat(p); err != nil {
					return err
				}
			}
			_, err = os.ReadFile(p)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := many*5 - many/10; seen != want {
		t.Errorf("the walk met %d records, want %d", seen, want)
	}
	if n := log.given.Load(); n > 20*many {
		t.Errorf("the log gave %d records for %d", n, many)
	}
	if n := log.firsts.Load(); n > many {
		t.Errorf("directories of times were made %d times for %d records", n, many)
	}
}

// A record's place in a numbered directory is found also when it came after the last
// listing, and nothing is at a place that was never given.
func TestANumberedRecordIsFoundAfterTheListing(t *testing.T) {
	log := newMemLog(3)
	grown := &growing{memLog: log, byID: map[string]EvidenceRecord{}}
	r := newRig(t, func(o *Options) { o.Evidence = grown })
	dir := filepath.Join(r.mnt, "evidence/by-action/act_1")
	if list, err := os.ReadDir(dir); err != nil || len(list) != 3 {
		t.Fatalf("%d names, %v", len(list), err)
	}
	grown.add(EvidenceRecord{ID: "evr_00000000000000000000000003", Type: "POLICY_DECISION", Action: "act_1", Seq: 4, At: time.Now(), Bytes: []byte("new")})
	if to, err := os.Readlink(dir + "/0004-POLICY_DECISION"); err != nil || filepath.Base(to) != "evr_00000000000000000000000003.json" {
		t.Errorf("the new record: %q, %v", to, err)
	}
	for _, name := range []string{"0005-POLICY_DECISION", "0000-POLICY_DECISION", "4-POLICY_DECISION", "0001-OTHER", "0001", "x"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v, want no such file", name, err)
		}
	}
}
