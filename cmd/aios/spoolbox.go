package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/agents/plan"
	mountfs "github.com/ai-os-dot-net/aios/fs"
)

// spoolBox is the spool's directory. Users write in it while we do: nothing is opened
// by a path, no link is followed, and what was looked at is known again by its inode.
type spoolBox struct {
	name string
	dir  *os.File
	// fail is called between the steps of taking a file; tests stop there.
	fail func(point string)
}

// spoolFile is a dropped file.
type spoolFile struct {
	*os.File
	stat unix.Stat_t
}

// spoolAnswer is NAME.d, which belongs to who dropped NAME.
type spoolAnswer struct {
	dir      *os.File
	run      string
	uid, gid uint32
}

var errNoFile = errors.New("it is not a regular file")

// answerRun is the file in NAME.d that names the run in intents/.
const answerRun = "run"

func openSpoolBox(name string) (*spoolBox, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b := &spoolBox{name: name, dir: os.NewFile(uintptr(fd), name)}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		switch euid := os.Geteuid(); {
		case st.Uid != 0 && int(st.Uid) != euid:
			err = fmt.Errorf("%s belongs to uid %d, who could replace what others drop; give it to root", name, st.Uid)
		case st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
			err = fmt.Errorf("%s lets one user replace what another drops; set the sticky bit (chmod +t)", name)
		}
	}
	if err != nil {
		b.dir.Close()
		return nil, err
	}
	return b, nil
}

func (b *spoolBox) Close() error { return b.dir.Close() }

func (b *spoolBox) fd() int { return int(b.dir.Fd()) }

func (b *spoolBox) names() ([]string, error) {
	d, err := openat(b.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func openat(dir int, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (b *spoolBox) open(name string) (*spoolFile, error) {
	f := &spoolFile{}
	if err := unix.Fstatat(b.fd(), name, &f.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	if f.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errNoFile
	}
	var err error
	if f.File, err = openat(b.fd(), name, unix.O_RDONLY); errors.Is(err, unix.ELOOP) {
		return nil, errNoFile
	}
	if err != nil {
		return nil, err
	}
	if err = unix.Fstat(int(f.Fd()), &f.stat); err == nil && f.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNoFile
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// read gives what the file holds, at most one byte more than a document may have, while
// nobody has it open for writing: a read lease is granted only then, and makes a new
// writer wait. errNotYet while somebody writes.
func (f *spoolFile) read(now time.Time) ([]byte, error) {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, errNotYet
	case err != nil: // a host without leases
		if now.Sub(time.Unix(0, f.stat.Ctim.Nano())) < spoolStill {
			return nil, errNotYet
		}
	default:
		defer unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK) // closing drops it anyway
	}
	if err := unix.Fstat(int(f.Fd()), &f.stat); err != nil {
		return nil, err
	}
	doc, err := io.ReadAll(io.NewSectionReader(f.File, 0, plan.MaxTyped+1))
	if err == nil && int64(len(doc)) != min(f.stat.Size, plan.MaxTyped+1) {
		err = errNotYet
	}
	return doc, err
}

// answer makes NAME.d for a run, or finds the one that an interrupted attempt made. An
// earlier answer under the name steps aside; what somebody else put there stays.
func (b *spoolBox) answer(name, run string, uid, gid uint32) (*spoolAnswer, error) {
	dir := name + ".d"
	if len(dir) > 255 {
		dir = run + ".d"
	}
	for range 3 {
		err := unix.Mkdirat(b.fd(), dir, 0o700)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("make its answer: %w", err)
		}
		made := err == nil
		a, err := b.openAnswer(dir)
		switch {
		case err != nil && dir == run+".d":
			return nil, fmt.Errorf("make its answer: %w", err)
		case err != nil: // not a directory
			dir = run + ".d"
			continue
		case a.run == run && (a.uid == uid || int(a.uid) == os.Geteuid()), made, a.run == "" && int(a.uid) == os.Geteuid():
			return a, a.begin(run, uid, gid)
		case a.uid != uid:
			a.Close()
			if dir == run+".d" {
				return nil, fmt.Errorf("make its answer: %s is somebody else's", dir)
			}
			dir = run + ".d"
		default:
			a.Close()
			aside := strings.TrimSuffix(dir, ".d") + "." + strconv.FormatInt(time.Now().UnixNano(), 36) + ".d"
			if err := unix.Renameat2(b.fd(), dir, b.fd(), aside, unix.RENAME_NOREPLACE); err != nil {
				return nil, fmt.Errorf("move the earlier answer aside: %w", err)
			}
		}
	}
	return nil, fmt.Errorf("make its answer: %s changes all the time", dir)
}

func (b *spoolBox) openAnswer(dir string) (*spoolAnswer, error) {
	d, err := openat(b.fd(), dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	a := &spoolAnswer{dir: d}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		d.Close()
		return nil, err
	}
	a.uid, a.gid = st.Uid, st.Gid
	a.run = a.read(answerRun)
	return a, nil
}

// begin writes down whose run it is and gives the directory to him.
func (a *spoolAnswer) begin(run string, uid, gid uint32) error {
	a.run, a.uid, a.gid = run, uid, gid
	err := a.write(answerRun, []byte(run+"\n"))
	if err == nil && os.Geteuid() == 0 {
		err = a.dir.Chown(int(uid), int(gid))
	}
	if err != nil {
		a.Close()
	}
	return err
}

func (a *spoolAnswer) Close() error { return a.dir.Close() }

// read gives a small file of the answer, "" without one.
func (a *spoolAnswer) read(name string) string {
	f, err := openat(int(a.dir.Fd()), name, unix.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(f, 512)) // what is not readable is not there
	return strings.TrimSpace(string(b))
}

// write puts a file into the answer, whole or not at all.
func (a *spoolAnswer) write(name string, b []byte) error {
	fd, tmp := int(a.dir.Fd()), "."+name+".part"
	if err := unix.Unlinkat(fd, tmp, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	f, err := openat(fd, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && os.Geteuid() == 0 {
		err = f.Chown(int(a.uid), int(a.gid))
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = unix.Renameat(fd, tmp, fd, name)
	}
	return err
}

// remove takes a file out of the answer, if it is there.
func (a *spoolAnswer) remove(name string) error {
	if err := unix.Unlinkat(int(a.dir.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// refuse writes why a document did not become a run.
func (a *spoolAnswer) refuse(why error) error {
	v := map[string]any{"code": "Refused", "message": why.Error(), "retryable": false}
	var bad *mountfs.IntentError
	if errors.As(why, &bad) {
		v["code"], v["message"] = bad.Code, bad.Message
		if bad.Line > 0 {
			v["details"] = map[string]int{"line": bad.Line, "column": bad.Column}
		}
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(a.write("error.json", append(b, '\n')), a.write("state", []byte("REFUSED\n")))
}

// move puts the document that was read into its answer. Another file that has its name
// by now goes back, and is taken in its own right.
func (b *spoolBox) move(f *spoolFile, name string, a *spoolAnswer) error {
	to := int(a.dir.Fd())
	if err := unix.Renameat(b.fd(), name, to, "document"); err != nil {
		return fmt.Errorf("move the document: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(to, "document", &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("move the document: %w", err)
	}
	if st.Ino != f.stat.Ino || st.Dev != f.stat.Dev {
		if err := unix.Renameat2(to, "document", b.fd(), name, unix.RENAME_NOREPLACE); err != nil {
			return fmt.Errorf("put the next document back: %w", err)
		}
	}
	return b.dir.Sync()
}

// explain tells the owner of a thing that stays where it is why it does.
func (b *spoolBox) explain(name string, why error) error {
	var st unix.Stat_t
	if err := unix.Fstatat(b.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil // directories may lie here
	}
	if euid := os.Geteuid(); euid != 0 && int(st.Uid) != euid {
		return nil // nothing can be given to him
	}
	a, err := b.answer(name, fmt.Sprintf("%s-%x", name[:min(len(name), 200)], st.Ino), st.Uid, st.Gid)
	if err != nil {
		return err
	}
	return errors.Join(a.refuse(why), a.Close())
}

// unfinished gives the answers whose run was not over when they were last written.
func (b *spoolBox) unfinished() ([]*spoolAnswer, error) {
	names, err := b.names()
	var list []*spoolAnswer
	for _, name := range names {
		if !strings.HasSuffix(name, ".d") {
			continue
		}
		a, err := b.openAnswer(name)
		if err != nil {
			continue // somebody's own
		}
		if a.run == "" || finalStates[a.read("state")] {
			a.Close()
			continue
		}
		list = append(list, a)
	}
	return list, err
}

// finalStates are the words after which nothing comes (contract §4).
var finalStates = map[string]bool{"SUCCEEDED": true, "FAILED": true, "ROLLED_BACK": true, "ROLLBACK_FAILED": true, "POLICY_DENIED": true, "REFUSED": true}
