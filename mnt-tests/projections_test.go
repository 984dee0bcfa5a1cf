package mnttests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// populated is a mount with files, links, labels, history, trash, views and intents in
// several states.
func populated(t *testing.T) *people {
	p := newPeople(t)
	p.populate()
	return p
}

func (p *people) populate() {
	p.t.Helper()
	p.ok(aliceUID, `set -e; cd $M/self/home; mkdir -p a/b/c; for i in $(seq 20); do echo text $i > a/b/$i.md; done
		echo again > a/b/1.md; ln a/b/2.md a/hard; ln -s b a/soft; ln -s nowhere a/dangling; ln -s . a/loop; mkfifo a/fifo
		head -c 300000 /dev/urandom > a/large.bin; setfattr -n user.xdg.tags -v red,blue a/b/3.md; setfattr -n user.xdg.tags -v red a/b/4.md
		mkdir gone; echo x > gone/x.txt; rm -rf gone
		echo 'from objects where name = "3.md"' > $M/views/define/three`)
	p.drop(aliceUID, "done", `write "hello" to notes.txt`)
	p.ok(aliceUID, `echo 'frobnicate the whatsit' > $M/intents/unclear || true; echo 'delete /aios/groups/local/shared/none' > $M/intents/waits || true; settled unclear || true; settled waits || true`)
}

// Everything that is listed can be read at once and has its true size; a walk ends, and
// meets a bounded number of names (contract §2, kde.md §6).
func TestEveryListedFileIsReadableAtOnce(t *testing.T) {
	p := populated(t)
	type answer struct {
		path string
		err  error
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	const most = 20_000
	names := 0
	buf := make([]byte, 16<<10)
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return fmt.Errorf("the walk took too long, at %s", path)
		}
		if names++; names > most {
			return fmt.Errorf("more than %d names, at %s", most, path)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // records come and go while the walk makes some
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		if info.Mode().Perm()&0o444 == 0 {
			return nil // something to write to only
		}
		done := make(chan answer, 1)
		go func() {
			f, err := os.Open(path)
			if err != nil {
				done <- answer{path, err}
				return
			}
			defer f.Close()
			n, err := io.ReadFull(f, buf)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			now, serr := f.Stat()
			if err == nil && serr == nil && int64(n) != min(now.Size(), int64(len(buf))) && int64(n) != min(info.Size(), int64(len(buf))) {
				err = fmt.Errorf("%d bytes were read, and the size is %d", n, now.Size())
			}
			if err == nil && info.Size() == 0 && n > 0 {
				err = fmt.Errorf("listed as empty, and it has %d bytes", n)
			}
			done <- answer{path, errors.Join(err, serr)}
		}()
		select {
		case a := <-done:
			if a.err != nil {
				t.Errorf("%s: %v", a.path, a.err)
			}
		case <-time.After(20 * time.Second):
			return fmt.Errorf("%s blocks", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d names", names)
}

// The programs that walk and copy whole trees end, without complaint, and what they copy
// is not empty (kde.md §1).
func TestProgramsWalkTheMount(t *testing.T) {
	p := populated(t)
	for _, c := range []struct{ what, script string }{
		{"find", `find $M > /dev/null`},
		{"du", `du -a $M > /dev/null`},
		{"grep", `grep -rqs "hello" $M/groups $M/views $M/intents $M/README`},
		{"ls", `ls -laR $M > /dev/null`},
		{"tar of the tree", `tar -C $M -cf - groups views intents README self policy | tar -tf - | wc -l`},
		{"tar keeps sizes", `mkdir $T/tar && tar -C $M -cf - intents views README | tar -C $T/tar -xf - && [ -s $T/tar/README ] && [ -s $T/tar/intents/done.d/state ] && [ "$(cat $T/tar/intents/done.d/state)" = SUCCEEDED ]`},
		{"cp -a", `cp -a $M/intents $T/cp && [ -s $T/cp/done.d/intent.json ] && cmp $T/cp/done.d/intent.json $M/intents/done.d/intent.json`},
		{"cp -a of the home", `cp -a $M/self/home/a $T/home && [ $(find $T/home | wc -l) = $(find $M/self/home/a | wc -l) ] && [ "$(getfattr --only-values -n user.xdg.tags $T/home/b/3.md)" = blue,red ]`},
		{"rsync -aHAX", `rsync -aHX $M/self/home/a/ $T/rsync/ && rsync -aHXn --itemize-changes $M/self/home/a/ $T/rsync/ | tee $T/diff && [ ! -s $T/diff ]`},
		{"rsync of the views", `rsync -a $M/views/ $T/views/ && [ -e $T/views/trash/gone/x.txt ]`},
		{"gio copy", `if command -v gio >/dev/null; then gio copy $M/intents/done.d/plan $T/plan && [ -s $T/plan ] && cmp $T/plan $M/intents/done.d/plan; fi`},
		{".versions is not walked", `! find $M/groups | grep -q '\.versions'`},
	} {
		tmp, err := os.MkdirTemp(os.TempDir(), "aios-walk")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(tmp, 0o777); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		out, err := p.as(aliceUID, "T="+tmp+"; "+c.script)
		if err != nil && !(c.what != "gio copy" && strings.Count(out, "Permission denied") > 0 && onlyDenied(out)) {
			t.Errorf("%s: %v: %.800s", c.what, err, out)
		}
		t.Logf("%s: %s", c.what, time.Since(began).Round(time.Millisecond))
		_ = exec.Command("rm", "-rf", tmp).Run()
	}
}

// onlyDenied tells whether a program complained about other people's places alone.
func onlyDenied(out string) bool {
	for _, l := range strings.Split(out, "\n") {
		if l != "" && !strings.Contains(l, "Permission denied") && !strings.Contains(l, "Exiting with failure status") {
			return false
		}
	}
	return true
}
