package mnttests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A backup of a whole mount ends, complains of nothing, and has what was there: no
// directory stands in itself, each file has as many bytes as it was said to have, and
// nothing that is the same before and after was seen to change.
func TestABackupOfTheWholeMount(t *testing.T) {
	p := populated(t)
	p.ok(0, `set -e
		for i in $(seq 30); do echo "write \"line $i\" to notes/n$i.md" > $M/intents/g$i; done
		for i in $(seq 30); do settled g$i; done
		echo 'write "again" to notes/n1.md' > $M/intents/g1; settled g1
		for i in $(seq 40); do echo $i > $M/groups/local/shared/often.txt; done
		for i in $(seq 12); do tags=$(seq -s, 12); setfattr -n user.xdg.tags -v "$tags,own$i" $M/self/home/notes/n$i.md; done
		`+p.bin+` --mount $M agent add walker --uid 61000
		rm -r $M/self/home/notes/n20.md; sync`)
	type file struct{ dev, ino uint64 }
	names, dirs := 0, map[string]file{}
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if names++; err != nil || names > 100_000 {
			return fmt.Errorf("%s, the name %d: %w", path, names, err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if d.IsDir() {
			id := file{st.Dev, st.Ino}
			for up := filepath.Dir(path); len(up) >= len(p.dir); up = filepath.Dir(up) {
				if dirs[up] == id {
					t.Errorf("%s is %s again", path, up)
				}
			}
			dirs[path] = id
			return nil
		}
		if !d.Type().IsRegular() || grows(path) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil || int64(len(b)) != info.Size() {
			t.Errorf("%s: %d bytes, and its size is %d (%v)", path, len(b), info.Size(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d names, %d directories", names, len(dirs))
	tmp := t.TempDir()
	for _, c := range []string{
		`find $M -ls > /dev/null`,
		`du -a $M > /dev/null`,
		`ls -lR $M > /dev/null`,
		`cp -a $M $T/cp`,
		`tar -C $M -cf $T/all.tar .`,
		`rsync -a $M/ $T/rsync/`,
	} {
		out, err := p.as(0, "T="+tmp+"; "+c)
		for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
			if l != "" && !grows(strings.TrimSuffix(l, ": file changed as we read it")) && !strings.Contains(l, "socket ignored") {
				t.Errorf("%s: %v: %s", c, err, l)
			}
		}
	}
	for _, copied := range []string{"cp", "rsync"} {
		for _, f := range []string{"README", "intents/g1.d/state", "groups/local/shared/often.txt", "policy/manifest.json"} {
			want, err := os.ReadFile(filepath.Join(p.dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(tmp, copied, f)); err != nil || string(got) != string(want) {
				t.Errorf("%s of %s: %q, %v", copied, f, got, err)
			}
		}
	}
}

// The page that stands in the tree says nothing that is not so: what it tells to look at is
// there.
func TestTheReadmeInTheTreeIsTrue(t *testing.T) {
	p := newPeople(t)
	page := p.ok(aliceUID, `cat $M/README`)
	p.drop(aliceUID, "hike", `write "I went hiking today." to journal/today.md`)
	p.ok(aliceUID, `setfattr -n user.xdg.tags -v trip $M/self/home/journal/today.md`)
	ran, now := 0, time.Now().UTC().Format(time.RFC3339Nano)
	for _, l := range strings.Split(page, "\n") {
		cmd, _, _ := strings.Cut(strings.TrimPrefix(l, "  "), "  ")
		switch {
		case !strings.HasPrefix(l, "  ls ") && !strings.HasPrefix(l, "  cat "):
			continue
		case strings.Contains(cmd, "question"), strings.Contains(cmd, "approval"), strings.Contains(cmd, ".error"):
			continue // only where something is unclear, waits, or was wrong
		}
		// This mount has no yesterday yet.
		cmd = strings.NewReplacer("NAME", "today.md", ".versions", "self/home/journal/.versions", "yesterday", now).Replace(cmd)
		if out, err := p.as(aliceUID, "cd $M && "+cmd); err != nil {
			t.Errorf("%s: %v: %s", cmd, err, out)
		}
		ran++
	}
	if ran < 10 {
		t.Errorf("%d lines were tried; the page has more", ran)
	}
}

// grows tells whether a file tells of the mount itself, which a walk moves on.
func grows(path string) bool {
	return strings.Contains(path, "system/runtime/") || strings.HasSuffix(path, "evidence/head") ||
		strings.Contains(path, "evidence/log") || strings.Contains(path, "evidence/segments")
}
