package mnttests

import (
	"strings"
	"testing"
)

// A directory goes back to what it was at a time, with what was edited, removed, renamed and
// made since; and forward again, for nothing is lost by it (contract §2).
func TestRestoreVersionOfADirectory(t *testing.T) {
	p := newPeople(t)
	aios := p.bin + " --mount $M "
	p.ok(aliceUID, `set -e; cd $M/self/home; mkdir -p d/sub d/gone; echo one > d/edited; echo keep > d/same; echo r > d/renamed; echo x > d/removed
		echo deep > d/gone/deep; chmod 640 d/gone/deep; setfattr -n user.note -v n d/gone/deep; ln -s same d/sym; echo two > d/sub/linked; ln d/sub/linked d/link2
		sync d; date -u +%FT%T.%NZ > then; getfattr --only-values -n user.aios.object_id d/renamed > rid; getfattr --only-values -n user.aios.object_id d/gone/deep > gid
		sync d`)
	p.ok(aliceUID, `set -e; cd $M/self/home; echo more >> d/edited; chmod 600 d/edited; mv d/renamed d/other; rm d/removed; rm -rf d/gone; ln -sfn edited d/sym
		echo three > d/sub/linked; mkdir d/new; echo n > d/new/n; sync d; date -u +%FT%T.%NZ > later`)
	diff := p.ok(aliceUID, "cd $M/self/home; "+aios+`diff d@$(cat then)`)
	for _, want := range []string{"changed  edited", "+more", "removed  renamed", "added    other", "removed  removed", "removed  gone/deep", "added    new/n", "changed  sym", "changed  link2", "changed  sub/linked"} {
		if !strings.Contains(diff, want) {
			t.Errorf("the diff says nothing of %q:\n%s", want, diff)
		}
	}
	if strings.Contains(diff, "same\n") {
		t.Errorf("what is the same differs:\n%s", diff)
	}
	if out := p.ok(aliceUID, "cd $M/self/home; "+aios+`diff d@$(cat then) d@$(cat later)`); strings.Count(out, "\n") != strings.Count(diff, "\n") {
		t.Errorf("between two times:\n%s\nagainst now:\n%s", out, diff)
	}
	out := p.ok(aliceUID, "cd $M/self/home; "+aios+`restore-version d@$(cat then)`)
	p.ok(aliceUID, `set -e; cd $M/self/home; diff -r --no-dereference d $M/views/at/$(cat then)/$(readlink $M/self)/home/d
		[ $(stat -c %a d/edited) = 644 ]; [ $(stat -c %a d/gone/deep) = 640 ]; [ d/sub/linked -ef d/link2 ]; [ $(ls d/.versions/edited | wc -l) = 3 ]
		[ $(getfattr --only-values -n user.aios.object_id d/renamed) = $(cat rid) ]; [ $(getfattr --only-values -n user.aios.object_id d/gone/deep) = $(cat gid) ]
		[ $(getfattr --only-values -n user.note d/gone/deep) = n ]; [ ! -e d/other ]; [ ! -e d/new ]; [ $(cat $M/views/trash/new/n) = n ]
		[ -z "$(`+aios+`diff d@$(cat then))" ]`)
	if !strings.Contains(out, "what it was before: ") || !strings.Contains(out, "removed  ") {
		t.Errorf("it says %q", out)
	}
	// Forward again, to what it says the state before was.
	p.ok(aliceUID, "set -e; cd $M/self/home; "+aios+`restore-version d@$(cat later); diff -r --no-dereference d $M/views/at/$(cat later)/$(readlink $M/self)/home/d; [ $(cat d/new/n) = n ]`)
	// The whole directory removed, and back without its being there.
	p.ok(aliceUID, "set -e; cd $M/self/home; rm -rf d; "+aios+`restore-version d@$(cat then); diff -r --no-dereference d $M/views/at/$(cat then)/$(readlink $M/self)/home/d
		[ $(getfattr --only-values -n user.aios.object_id d/renamed) = $(cat rid) ]`)
	// An administrator's restore takes a snapshot first.
	if out := p.ok(0, "set -e; H=$M/$(ls -d "+p.dir+"/groups/local/users/uid-60101 | sed s,"+p.dir+"/,,)/home; "+aios+"restore-version $H/d@$(cat $H/later) && "+aios+"snapshot ls"); !strings.Contains(out, "before-restore-") {
		t.Errorf("no snapshot: %s", out)
	}
	if out := p.ok(0, "stat -c %u "+p.dir+"/groups/local/users/uid-60101/home/d/edited"); out != "60101" {
		t.Errorf("the restored file is %s's", out)
	}
}

// Names that are of another kind now, swapped, special or odd go back as well.
func TestRestoreVersionOfOtherKinds(t *testing.T) {
	p := newPeople(t)
	aios := p.bin + " --mount $M "
	p.ok(aliceUID, `set -e; cd $M/self/home; mkdir -p d/x d/y d/wasdir d/ro; echo a > d/a; echo b > d/b; echo k > d/kind; echo in > d/wasdir/in; mkfifo -m 640 d/fifo; ln -s /nowhere d/dangling
		echo at > d/at@sign; printf x > "d/new
line"; echo r > d/ro/r; chmod 500 d/ro; for i in 1 2 3; do echo $i > d/x/$i; done; sync d; date -u +%FT%T.%NZ > then; sync d
		mv d/a d/t; mv d/b d/a; mv d/t d/b; rm d/kind; mkdir d/kind; echo z > d/kind/z; rm -rf d/wasdir; echo file > d/wasdir; rm d/fifo; mv d/x d/y/moved; rm d/dangling d/at@sign d/new*`)
	if out := p.ok(aliceUID, "cd $M/self/home; "+aios+`diff d@$(cat then)`); !strings.Contains(out, "changed  kind\n") || !strings.Contains(out, "changed  wasdir\n") || !strings.Contains(out, "removed  fifo") {
		t.Errorf("the diff: %s", out)
	}
	p.ok(aliceUID, "set -e; cd $M/self/home; "+aios+`restore-version d@$(cat then); [ -p d/fifo ]; [ $(stat -c %a d/fifo) = 640 ]; [ $(stat -c %a d/ro) = 500 ]; [ $(cat d/a) = a ]; [ $(cat d/b) = b ]; [ $(cat d/wasdir/in) = in ]; [ ! -e d/y/moved ]
		[ -z "$(`+aios+`diff d@$(cat then))" ]; [ $(cat $M/views/trash/wasdir) = file ]`)
}

// A file that was removed or renamed comes back at any of its versions.
func TestRestoreVersionOfARemovedName(t *testing.T) {
	p := newPeople(t)
	aios := p.bin + " --mount $M "
	p.ok(aliceUID, `set -e; cd $M/self/home; echo one > f; echo two > f; getfattr --only-values -n user.aios.object_id f > id; sync f; date -u +%FT%T.%NZ > then; sync .; rm f
		`+aios+`diff f@-1 f@-0 | grep -q '^+two'; `+aios+`diff f@$(cat then) f | grep -q '^-two'
		`+aios+`restore-version f@-1; [ $(cat f) = one ]; [ $(getfattr --only-values -n user.aios.object_id f) = $(cat id) ]; [ $(ls .versions/f | wc -l) = 3 ]
		rm f; `+aios+`restore-version f@$(cat then); [ $(cat f) = two ]
		mv f g; `+aios+`restore-version f@$(cat then); [ $(cat f) = two ]; [ $(cat g) = two ]`)
	if out, err := p.as(aliceUID, "cd $M/self/home; "+aios+"restore-version f@nonsense"); err == nil || !strings.Contains(out, "no version") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := p.as(bobUID, "cd /; "+aios+"restore-version "+p.dir+"/groups/local/users/uid-60101/home/f@-1"); err == nil {
		t.Errorf("bob restores alice's: %s", out)
	}
}
