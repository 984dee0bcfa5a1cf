package mnttests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What is removed by any road is in views/trash, and comes back whole: by mv, by aios
// restore, and through a desktop's trash can (contract §2).
func TestTrash(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, `set -e; cd $M/self/home; mkdir -p d/sub; echo one > d/f.md; echo two > d/f.md; ln d/f.md d/sub/link
		chmod 600 d/f.md; setfattr -n user.note -v keep d/f.md; setfattr -n user.xdg.tags -v red d/f.md; ln -s ../f.md d/sub/sym
		getfattr --only-values -n user.aios.object_id d/f.md > /tmp/id.$$; mv /tmp/id.$$ id; rm -rf d`)
	check := func(how string) {
		t.Helper()
		out := p.ok(aliceUID, `set -e; cd $M/self/home; cat d/f.md; stat -c '%a %h' d/f.md; [ d/f.md -ef d/sub/link ]; readlink d/sub/sym
			getfattr --only-values -n user.note d/f.md; echo; getfattr --only-values -n user.xdg.tags d/f.md; echo
			[ "$(getfattr --only-values -n user.aios.object_id d/f.md)" = "$(cat id)" ]; ls d/.versions/f.md | wc -l`)
		if want := "two\n600 2\n../f.md\nkeep\nred\n2"; out != want {
			t.Errorf("%s: %q, want %q", how, out, want)
		}
	}
	if out := p.ok(aliceUID, "ls $M/views/trash; find $M/views/trash/d -printf '%P '; cat $M/views/trash/d/f.md"); out != "d\n sub sub/link sub/sym f.md two" && out != "d\n f.md sub sub/link sub/sym two" {
		t.Errorf("the trash shows %q", out)
	}
	p.ok(aliceUID, "cp -a $M/views/trash/d $M/self/home/copy && [ $(cat $M/self/home/copy/f.md) = two ] && [ $(getfattr --only-values -n user.note $M/self/home/copy/f.md) = keep ]")
	p.ok(aliceUID, "mv $M/views/trash/d $M/self/home/")
	check("mv")
	p.ok(aliceUID, "rm -rf $M/self/home/d && "+p.bin+" --mount $M restore $M/self/home/d")
	check("aios restore")
	if out := p.ok(aliceUID, "rm $M/self/home/copy/f.md; "+p.bin+" --mount $M restore"); !strings.Contains(out, "home/copy/f.md") {
		t.Errorf("aios restore lists %q", out)
	}
	if out := p.ok(bobUID, "ls $M/views/trash"); out != "" {
		t.Errorf("bob sees %q", out)
	}
	// Out of a scope into another only by copying.
	if out, err := p.as(aliceUID, `cd $M/self/home; echo x > x; rm x; python3 -c 'import os,sys; os.rename(sys.argv[1]+"/views/trash/x", sys.argv[1]+"/groups/local/shared/x")' $M`); err == nil || !strings.Contains(out, "18") {
		t.Errorf("out of its scope: %v, %s", err, out)
	}
	// By an unlink that follows the close at once, many times.
	if out := p.ok(aliceUID, `cd $M/self/home; mkdir many; for i in $(seq 50); do echo text $i > many/$i; rm many/$i; done; for i in $(seq 50); do cat $M/views/trash/$i; done | sort -u | wc -l`); out != "50" {
		t.Errorf("%s of 50 came back", out)
	}
	if _, err := exec.LookPath("gio"); err != nil {
		t.Log("no gio here: its trash is not tried")
		return
	}
	p.ok(aliceUID, `set -e; export HOME=/tmp; cd $M/self/home; gio trash d; [ ! -e d ]; ls $M/.Trash/`+"$(id -u)"+`/files/d/f.md; ls $M/views/trash/d/f.md
		grep -q "^Path=.*home/d$" $M/.Trash/$(id -u)/info/d.trashinfo; ! ls -a $M | grep -q Trash`)
	p.ok(aliceUID, `mv $M/.Trash/$(id -u)/files/d $M/self/home/d`)
	check("gio trash and back")
	p.ok(aliceUID, `set -e; export HOME=/tmp; cd $M/self/home; gio trash d; rm -rf $M/.Trash/$(id -u)/files/d; `+p.bin+` --mount $M restore d`)
	check("emptied and restored")
	if out, err := p.as(bobUID, "ls $M/.Trash/60101 2>&1; mkdir $M/.Trash/60101x 2>&1"); err == nil {
		t.Errorf("bob in alice's can: %s", out)
	}
}

// From the shared place of everybody: removed and brought back, put into a desktop's can
// and brought back, and the can emptied, after which it is in views/trash all the same, for
// whose it was and for nobody else (F-101).
func TestTrashFromShared(t *testing.T) {
	p := newPeople(t)
	t.Log("proves: F-101")
	p.ok(aliceUID, `set -e; cd $M/groups/local/shared; mkdir tt; echo first > tt/f; echo second > tt/f; chmod 640 tt/f; setfattr -n user.note -v keep tt/f`)
	whole := `set -e; cd $M/groups/local/shared; [ "$(cat tt/f)" = second ]; [ "$(stat -c %a tt/f)" = 640 ]
		[ "$(getfattr --only-values -n user.note tt/f)" = keep ]; [ "$(ls tt/.versions/f | wc -l)" = 2 ]`
	p.ok(aliceUID, `set -e; cd $M/groups/local/shared; rm -rf tt; [ ! -e tt ]; [ "$(cat $M/views/trash/tt/f)" = second ]; mv $M/views/trash/tt tt; [ ! -e $M/views/trash/tt ]`)
	p.ok(aliceUID, whole)
	if out, err := p.as(bobUID, "rm -rf $M/groups/local/shared/tt"); err == nil {
		t.Errorf("bob removed what is alice's: %s", out)
	}
	p.ok(aliceUID, whole)
	if _, err := exec.LookPath("gio"); err != nil {
		t.Skip("no gio here")
	}
	p.ok(aliceUID, `set -e; export HOME=/tmp; gio trash $M/groups/local/shared/tt; [ ! -e $M/groups/local/shared/tt ]
		[ "$(cat $M/.Trash/$(id -u)/files/tt/f)" = second ]; grep -q 'Path=.*groups/local/shared/tt$' $M/.Trash/$(id -u)/info/tt.trashinfo
		mv $M/.Trash/$(id -u)/files/tt $M/groups/local/shared/tt; rm $M/.Trash/$(id -u)/info/tt.trashinfo`)
	p.ok(aliceUID, whole)
	p.ok(aliceUID, `set -e; export HOME=/tmp; gio trash $M/groups/local/shared/tt; rm -rf $M/.Trash/$(id -u)/files/* $M/.Trash/$(id -u)/info/*
		[ -z "$(ls $M/.Trash/$(id -u)/files)" ]; [ "$(cat $M/views/trash/tt/f)" = second ]`)
	if out := p.ok(bobUID, "ls $M/views/trash"); out != "" {
		t.Errorf("bob sees in his trash what was alice's: %s", out)
	}
	p.ok(aliceUID, p.bin+` --mount $M restore $M/groups/local/shared/tt`)
	p.ok(aliceUID, whole)
}

// A file made at once under a removed directory's name is a thing of its own: the directory
// stays in the trash and comes back.
func TestTrashKeepsADirectoryReplacedByAFile(t *testing.T) {
	p := newPeople(t)
	p.ok(aliceUID, `set -e; cd $M/self/home; mkdir d; echo in > d/in; rm -rf d; echo file > d; ln -s x l; rm l; echo file > l
		[ $(cat $M/views/trash/d/in) = in ]; [ $(getfattr --only-values -n user.aios.kind d) = FILE ]; [ $(readlink $M/views/trash/l) = x ]
		mv d e; mv $M/views/trash/d d; [ $(cat d/in) = in ]`)
}

// KDE overwrites by CREATE N.part, UNLINK N, RENAME N.part N; deletes by a copy to the
// home directory and UNLINK; restores by CREATE (kde.md §4). The name keeps its history.
func TestKDESequences(t *testing.T) {
	p := newPeople(t)
	dir := filepath.Join(p.dir, "groups/local/shared")
	n := filepath.Join(dir, "N.txt")
	write := func(name, text string, flags int) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_WRONLY|flags, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	id := func() string {
		t.Helper()
		out, err := exec.Command("getfattr", "--only-values", "-n", "user.aios.object_id", n).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	versions := func(want ...string) {
		t.Helper()
		l, err := os.ReadDir(filepath.Join(dir, ".versions/N.txt"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range l {
			b, err := os.ReadFile(filepath.Join(dir, ".versions/N.txt", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(b))
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("versions %q, want %q", got, want)
		}
	}
	write(n, "one", os.O_CREATE|os.O_EXCL)
	first := id()
	// Overwrite.
	write(n+".part", "two", os.O_CREATE|os.O_EXCL)
	if err := os.Remove(n); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(n+".part", n); err != nil {
		t.Fatal(err)
	}
	if id() != first {
		t.Error("the overwritten file is another object")
	}
	versions("one", "two")
	// Delete: a copy leaves the mount, then UNLINK; restored by CREATE within and after 10 s it
	// has the name's history either way.
	if err := os.Remove(n); err != nil {
		t.Fatal(err)
	}
	versions("one", "two")
	if b, err := os.ReadFile(filepath.Join(p.dir, "views/trash/N.txt")); err != nil || string(b) != "two" {
		t.Errorf("%q, %v", b, err)
	}
	write(n, "two", os.O_CREATE|os.O_EXCL)
	if id() != first {
		t.Error("the restored file is another object")
	}
	write(n, "three", os.O_TRUNC) // KWrite: in place
	versions("one", "two", "three")
	// New file: CREATE .part, RENAME NOREPLACE.
	write(n+"2.part", "new", os.O_CREATE|os.O_EXCL)
	if err := os.Rename(n+"2.part", n+"2"); err != nil {
		t.Fatal(err)
	}
}
