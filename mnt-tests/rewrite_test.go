package mnttests

import (
	"testing"
)

// A goal that has ended is edited and saved as any file is, by writing over it and cutting
// it (vim), by truncating it first, or by a rename: each save is a goal of its own, and the
// earlier ones are in .done. Looking at it for writing is none, and appending is refused:
// the first goal would be carried out once more.
func TestAnEndedGoalIsEdited(t *testing.T) {
	p := newPeople(t)
	home := "$M/self/home"
	if s := p.drop(aliceUID, "g", `write "one" to a.txt`); s != "SUCCEEDED" {
		t.Fatal(s)
	}
	over := func(text string) string {
		return `python3 - "$M/intents/g" <<'EOF_PY'
import os, sys
b = b'''` + text + `'''
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, b)
os.ftruncate(f, len(b))
os.fsync(f)
os.close(f)
EOF_PY
cat $M/intents/g.d/wait`
	}
	for i, save := range []string{
		over("write \"two, and longer\" to a.txt\n"),
		over("write \"3\" to a.txt\n"),
		`printf 'write "four" to a.txt\n' > $M/intents/g; cat $M/intents/g.d/wait`,
		`printf 'write "five" to a.txt\n' > $M/intents/.g.tmp; mv $M/intents/.g.tmp $M/intents/g; cat $M/intents/g.d/wait`,
	} {
		if s := p.ok(aliceUID, save); s != "SUCCEEDED" {
			t.Errorf("save %d: %s", i, s)
		}
		want := []string{"two, and longer", "3", "four", "five"}[i]
		if got := p.ok(aliceUID, "cat "+home+"/a.txt"); got != want {
			t.Errorf("save %d: the file holds %q, want %q", i, got, want)
		}
	}
	const done = "ls $M/intents/.done/*/*/* | grep -vc '\\.d$'"
	if n := p.ok(aliceUID, done); n != "4" {
		t.Errorf("%s earlier runs, want 4", n)
	}
	p.ok(aliceUID, `python3 -c 'import os, sys; os.close(os.open(sys.argv[1], os.O_RDWR))' $M/intents/g`)
	if got := p.ok(aliceUID, "cat $M/intents/g.d/state $M/intents/g"); got != "SUCCEEDED\nwrite \"five\" to a.txt" {
		t.Errorf("after a look at it: %s", got)
	}
	// While it is open for writing and nothing is written it is what was accepted, which is
	// neither removed nor given another name, and so carried out under that.
	p.ok(aliceUID, `python3 - $M/intents/g <<'EOF_PY'
import errno, os, sys
f = os.open(sys.argv[1], os.O_RDWR)
for what in (lambda: os.rename(sys.argv[1], sys.argv[1] + "x"), lambda: os.unlink(sys.argv[1])):
    try:
        what()
        sys.exit("it was taken for a new document")
    except OSError as e:
        assert e.errno == errno.EPERM, e
os.close(f)
EOF_PY`)
	if out, err := p.as(aliceUID, `echo 'write "six" to a.txt' >> $M/intents/g`); err == nil {
		t.Errorf("appended to: %s", out)
	}
	if n := p.ok(aliceUID, done); n != "4" {
		t.Errorf("%s earlier runs after a look and a refused append, want 4", n)
	}
	if got := p.ok(aliceUID, "cat "+home+"/a.txt"); got != "five" {
		t.Errorf("a goal was carried out twice: %q", got)
	}
	// What is written and cannot be read is kept, with the reason, as of a new name.
	if out, err := p.as(aliceUID, over("frobnicate the gibberish\n")); err == nil && out == "SUCCEEDED" {
		t.Errorf("nonsense: %s", out)
	}
	if got := p.ok(aliceUID, "cat $M/intents/g; cat $M/intents/g.d/error.json"); got == "" {
		t.Error("nothing is left of what was refused")
	}
}
