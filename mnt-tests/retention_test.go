package mnttests

import (
	"os/exec"
	"strings"
	"testing"
)

// A directory's user.aios.retention says what is kept of all below it; the nearest one
// counts. It is checked when it is set on a directory; on anything else it is an
// attribute like any other, and without effect (contract §3).
func TestRetentionOfADirectory(t *testing.T) {
	if _, err := exec.LookPath("setfattr"); err != nil {
		t.Skip("setfattr is missing")
	}
	p := newPeople(t)
	shared := p.path("mnt/groups/local/shared")
	sh := func(script string) string { t.Helper(); return p.sh(t, aliceUID, shared, script) }
	sh(`mkdir top; cd top; mkdir plain all last none days last/deep last/deep/all last/moved
		set_() { setfattr -n user.aios.retention -v "$2" $1; }
		set_ all all; set_ last last=3; set_ none none; set_ days days=1; set_ last/deep/all all
		for bad in "" some ALL last last= last=0 last=-1 last=x "last=1 " days=0 days=1.5 days=+1 last=99999999999; do
			set_ plain "$bad" 2> err && { echo "taken: $bad"; exit 1; }; grep -q "Invalid argument" err; done
		test -z "$(getfattr -d plain)"; test "$(getfattr --only-values -n user.aios.retention last)" = last=3; getfattr -d last | grep -q retention
		save() { for i in 1 2 3 4 5 6; do echo "$1 $i" > $1/f; done; echo gone > $1/gone; rm $1/gone; }
		for d in plain all last none days last/deep last/deep/all last/moved; do save $d; done
		echo x > file; set_ file some; test "$(getfattr --only-values -n user.aios.retention file)" = some; set_ file none; for i in 1 2 3; do echo $i > file; done
		ln -s nowhere link; mv last/moved plain/moved; cp -a last copied; for i in 1 2 3 4; do echo $i >> copied/f; done
		echo y > all/to; mv all/to none/to; for i in 1 2 3; do echo $i >> none/to; done`)
	if out, err := p.shell(bobUID, shared, "setfattr -n user.aios.retention -v none top/plain").CombinedOutput(); err == nil || !strings.Contains(string(out), "denied") {
		t.Errorf("somebody else sets it: %v %s", err, out)
	}
	count := func() (all string) {
		t.Helper()
		return sh(`cd top; for f in plain all last none days last/deep last/deep/all plain/moved copied; do echo "$f $(ls $f/.versions/f | wc -l)"; done; echo "file $(ls .versions/file | wc -l)"; echo "to $(ls none/.versions/to | wc -l)"`)
	}
	const before = "plain 6\nall 6\nlast 6\nnone 6\ndays 6\nlast/deep 6\nlast/deep/all 6\nplain/moved 6\ncopied 5\nfile 4\nto 4"
	if got := count(); got != before {
		t.Errorf("before the pass:\n%s\nwant\n%s", got, before)
	}
	stopMount(t, p.place, p.daemon)
	if code, out, errs := run(t, p.bin, "gc", "--state", p.state); code != 0 {
		t.Fatalf("gc: %d %s%s", code, out, errs)
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	const after = "plain 6\nall 6\nlast 3\nnone 1\ndays 6\nlast/deep 3\nlast/deep/all 6\nplain/moved 6\ncopied 3\nfile 4\nto 1"
	if got := count(); got != after {
		t.Errorf("after the pass:\n%s\nwant\n%s", got, after)
	}
	// What is left is the newest, whole; and only where nothing is kept is the trash empty.
	sh(`cd top; test "$(cat last/f)" = "last 6"; test "$(cat last/.versions/f/* | tr '\n' ,)" = "last 4,last 5,last 6,"; test "$(cat none/f)" = "none 6"; test "$(cat none/.versions/f/*)" = "none 6"`)
	if n := sh("ls $M/views/trash | grep -c ^gone"); n != "7" {
		t.Errorf("%s removed files are left, want the 7 that are not below `none`", n)
	}
	// Without the attribute, all is kept again.
	sh(`cd top; setfattr -x user.aios.retention last; for i in 1 2 3; do echo $i > last/f; done`)
	stopMount(t, p.place, p.daemon)
	if code, out, errs := run(t, p.bin, "gc", "--state", p.state); code != 0 {
		t.Fatalf("gc: %d %s%s", code, out, errs)
	}
	p.daemon = mounted(t, p.bin, p.state, p.dir)
	if n := sh("ls top/last/.versions/f | wc -l"); n != "6" {
		t.Errorf("%s versions after the attribute was removed, want 6", n)
	}
}
