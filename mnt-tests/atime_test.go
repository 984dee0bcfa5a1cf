package mnttests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func statOf(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// read reads a file to its end, with flags of open(2).
func read(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := new(bytes.Buffer).ReadFrom(f); err != nil {
		t.Fatal(err)
	}
}

// opened opens a file or a directory, and does not read it.
func opened(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// aged sets what a file has that was read for the last time so long ago, and written before.
func aged(t *testing.T, path string, age time.Duration) {
	t.Helper()
	now := time.Now().Add(-age).Unix()
	ts := []unix.Timespec{{Sec: now}, {Sec: now - 3600}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}

// day is more than what relatime takes for a day, and hour much less.
const (
	day  = 25 * time.Hour
	hour = time.Hour
)

// script runs sh in a directory.
func script(t *testing.T, dir, text string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", text)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", text, err, out)
	}
}

// mapRead reads a file's first byte through mmap.
func mapRead(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if m[0] != 'x' {
		t.Errorf("%s: mapped %q", path, m[0])
	}
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
}

// relatimeDisk is a directory on a disk that moves times of reading as relatime does, or "".
func relatimeDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type != unix.EXT4_SUPER_MAGIC || st.Flags&unix.ST_RELATIME == 0 {
		t.Logf("the disk is not ext4 with relatime (%#x, flags %#x): nothing to compare with", st.Type, st.Flags)
		return ""
	}
	return dir
}

// acts are what may move a file's time of reading. Each finds the file that the acts before
// it left, with a time of reading that is so old, where an age is given: that changes ctime.
var acts = []struct {
	what  string
	age   time.Duration
	do    func(t *testing.T, path string)
	moves bool
}{
	{"looked at", hour, func(t *testing.T, path string) { statOf(t, path) }, false},
	{"read with O_NOATIME", hour, func(t *testing.T, path string) { read(t, path, unix.O_NOATIME) }, false},
	{"read for the first time", 0, func(t *testing.T, path string) { read(t, path, unix.O_RDONLY) }, true},
	{"read again", 0, func(t *testing.T, path string) { read(t, path, unix.O_RDONLY) }, false},
	{"read by cat", 0, func(t *testing.T, path string) { script(t, "/", "cat "+path+" > /dev/null") }, false},
	{"read with O_NOATIME, a day old", day, func(t *testing.T, path string) { read(t, path, unix.O_NOATIME) }, false},
	{"read, a day old", 0, func(t *testing.T, path string) { read(t, path, unix.O_RDONLY) }, true},
	{"read after its mode was changed", hour, func(t *testing.T, path string) { script(t, "/", "chmod 600 "+path); read(t, path, unix.O_RDONLY) }, true},
	{"written", hour, func(t *testing.T, path string) { script(t, "/", "printf x >> "+path) }, false},
	{"read since it was written", 0, func(t *testing.T, path string) { read(t, path, unix.O_RDONLY) }, true},
	{"mapped", hour, mapRead, true},
	{"read by a reader that may write", hour, func(t *testing.T, path string) { read(t, path, unix.O_RDWR) }, true},
	{"copied by cp -p", day, func(t *testing.T, path string) {
		before := statOf(t, path)
		script(t, "/", "cp -p "+path+" "+path+".copy")
		if c := statOf(t, path+".copy"); c.Atim != before.Atim || c.Mtim != before.Mtim {
			t.Errorf("the copy has the times %v %v, want %v %v", c.Atim, c.Mtim, before.Atim, before.Mtim)
		}
	}, true},
	{"packed by tar", day, func(t *testing.T, path string) {
		script(t, filepath.Dir(path), "tar cf - "+filepath.Base(path)+" | cat > /dev/null")
	}, true},
}

// Times of reading move as relatime says, whichever way the bytes take: given with the
// open, kept by the kernel, read from the daemon, passed through. mtime and ctime stay.
// The local disk says whether the table is right.
func TestTimesOfReading(t *testing.T) {
	p := newPlace(t)
	defer stopMount(t, p, mounted(t, p.bin, p.state, p.dir))
	sides := map[string]string{"mount": filepath.Join(p.dir, "groups/local/shared")}
	if d := relatimeDisk(t); d != "" {
		sides["disk"] = d
	}
	for name, dir := range sides {
		for _, size := range []int{1, 10, 4096, 60_000, 64 << 10, 64<<10 + 1, 300_000, 3 << 20} {
			path := filepath.Join(dir, fmt.Sprint("f", size))
			if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, a := range acts {
				what := fmt.Sprintf("%s: %d bytes, %s", name, size, a.what)
				if a.age > 0 {
					aged(t, path, a.age)
				}
				before := statOf(t, path)
				if a.do(t, path); !a.moves {
					if after := statOf(t, path); !sameRead(before, after) {
						t.Errorf("%s: moved from %v to %v", what, before.Atim, after.Atim)
					}
					continue
				}
				// Who reads many files at once is told late that their times have moved.
				var after unix.Stat_t
				until(t, what, func() bool { after = statOf(t, path); return !sameRead(before, after) })
				if late := time.Since(time.Unix(after.Atim.Unix())); late < -time.Second || late > hour/2 {
					t.Errorf("%s: moved to %v, which is not now", what, after.Atim)
				}
				if name == "disk" && !time.Unix(after.Atim.Unix()).After(time.Unix(after.Ctim.Unix())) {
					continue // its clock goes in ticks: it was read in the one that it was changed in
				}
				read(t, path, unix.O_RDONLY)
				if again := statOf(t, path); !sameRead(again, after) || again.Ctim != after.Ctim || again.Mtim != after.Mtim {
					t.Errorf("%s: the next reading made %v %v %v of %v %v %v", what, again.Atim, again.Mtim, again.Ctim, after.Atim, after.Mtim, after.Ctim)
				}
			}
		}
	}
}

func sameRead(a, b unix.Stat_t) bool { return a.Atim == b.Atim }

// isOld tells whether aged has set the time of reading.
func isOld(st unix.Stat_t) bool { return time.Since(time.Unix(st.Atim.Unix())) > hour }

// Who reads one file sees its time move at once, and so of a directory and a link; who
// opens it sees it stay.
func TestTimeOfReadingShowsAtOnce(t *testing.T) {
	p := newPlace(t)
	defer stopMount(t, p, mounted(t, p.bin, p.state, p.dir))
	dir := filepath.Join(p.dir, "groups/local/shared")
	script(t, dir, `echo text > small; head -c 60000 /dev/zero > middle; head -c 300000 /dev/zero > large; mkdir dir; : > dir/f; ln -s dir link`)
	list := func(t *testing.T, path string) {
		if _, err := os.ReadDir(path); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(t *testing.T, path string) {
		if _, err := os.Readlink(path); err != nil {
			t.Fatal(err)
		}
	}
	file := func(t *testing.T, path string) { read(t, path, unix.O_RDONLY) }
	for _, c := range []struct {
		name string
		read func(t *testing.T, path string)
		late bool // of a link the kernel hears a moment later that it is to ask again
	}{{"small", file, false}, {"middle", file, false}, {"large", file, false}, {"dir", list, false}, {"link", follow, true}} {
		path := filepath.Join(dir, c.name)
		first := statOf(t, path)
		if c.name != "link" {
			opened(t, path)
		}
		if !sameRead(statOf(t, path), first) {
			t.Errorf("%s: opened, and counts as read", c.name)
		}
		c.read(t, path)
		second := statOf(t, path)
		c.read(t, path)
		third := statOf(t, path)
		if sameRead(first, second) || !sameRead(second, third) {
			t.Errorf("%s: %v, read %v, and again %v", c.name, first.Atim, second.Atim, third.Atim)
		}
		if second.Mtim != first.Mtim || second.Ctim != first.Ctim {
			t.Errorf("%s: reading moved mtime or ctime", c.name)
		}
		aged(t, path, day)
		if c.name != "link" {
			opened(t, path)
		}
		if !isOld(statOf(t, path)) {
			t.Errorf("%s: opened a day later, and counts as read", c.name)
		}
		if c.late {
			until(t, c.name+", read a day later, moves", func() bool { c.read(t, path); return !isOld(statOf(t, path)) })
			continue
		}
		if c.read(t, path); isOld(statOf(t, path)) {
			t.Errorf("%s: read a day later, and it is %v", c.name, statOf(t, path).Atim)
		}
	}
	// What changes a link has its next reading count: another owner, a name.
	for _, change := range []string{"touch -hm link", "mv link other; mv other link", "ln -P link again"} {
		script(t, dir, change)
		before := statOf(t, filepath.Join(dir, "link"))
		until(t, "link, read after "+change, func() bool {
			follow(t, filepath.Join(dir, "link"))
			return !sameRead(statOf(t, filepath.Join(dir, "link")), before)
		})
	}
	// A handle that reads the host's file, or is about to, shows it before it is closed.
	path := filepath.Join(dir, "large")
	aged(t, path, day)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !isOld(statOf(t, path)) {
		t.Error("large: opened, and counts as read")
	}
	if _, err := f.ReadAt(make([]byte, 10), 100_000); err != nil {
		t.Fatal(err)
	}
	if isOld(statOf(t, path)) {
		t.Error("large: read, and does not count before it is closed")
	}
	aged(t, path, day)
	if _, err := f.ReadAt(make([]byte, 10), 200_000); err != nil {
		t.Fatal(err)
	}
	if isOld(statOf(t, path)) {
		t.Error("large: read a day later by a reader that has it open, and does not count")
	}
	// Reading one file says nothing of another with the same bytes, one host file or not.
	script(t, dir, `cp --reflink=never large twin`)
	aged(t, path, day)
	read(t, filepath.Join(dir, "twin"), unix.O_RDONLY)
	if !isOld(statOf(t, path)) {
		t.Error("large: counts as read since another file with its bytes was")
	}
}

// Times of reading outlive the mount, make no versions, and follow the mount options.
func TestTimesOfReadingAndMounts(t *testing.T) {
	p := newPlace(t)
	dir := filepath.Join(p.dir, "groups/local/shared")
	daemon := mounted(t, p.bin, p.state, p.dir)
	defer func() { stopMount(t, p, daemon) }()
	script(t, dir, `echo text > small; head -c 300000 /dev/zero > large; mkdir dir; : > dir/f; ln -s dir link`)
	names := []string{"small", "large", "dir", "link"}
	readAll := func() {
		t.Helper()
		script(t, dir, `cat small large > /dev/null; ls dir > /dev/null; readlink link > /dev/null`)
	}
	versions := func() string {
		t.Helper()
		out, err := exec.Command("sh", "-c", "cd "+dir+"/.versions && ls -l small large").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	again := func(options string) {
		t.Helper()
		stopMount(t, p, daemon)
		daemon = mounted(t, p.bin, p.state, p.dir, "-o", options)
	}
	before := versions()
	again("rw") // the kernel and the store know nothing any more
	old := map[string]unix.Stat_t{}
	for _, n := range names {
		old[n] = statOf(t, filepath.Join(dir, n))
	}
	readAll()
	seen := map[string]unix.Stat_t{}
	for _, n := range names {
		seen[n] = statOf(t, filepath.Join(dir, n))
		if s := seen[n]; sameRead(s, old[n]) || s.Mtim != old[n].Mtim || s.Ctim != old[n].Ctim {
			t.Errorf("%s: read, and has %v %v %v; had %v %v %v", n, s.Atim, s.Mtim, s.Ctim, old[n].Atim, old[n].Mtim, old[n].Ctim)
		}
	}
	if now := versions(); now != before {
		t.Errorf("reading changed the versions:\n%swere\n%s", now, before)
	}
	again("rw")
	for _, n := range names {
		if got := statOf(t, filepath.Join(dir, n)); !sameRead(got, seen[n]) || got.Ctim != seen[n].Ctim {
			t.Errorf("%s: mounted again, and read at %v, want %v", n, got.Atim, seen[n].Atim)
		}
	}
	for _, c := range []struct {
		options     string
		moves, dirs bool
	}{{"noatime", false, false}, {"ro", false, false}, {"nodiratime", true, false}, {"relatime", true, true}, {"noatime,atime", true, true}} {
		for _, n := range names {
			aged(t, filepath.Join(dir, n), day)
		}
		again(c.options)
		readAll()
		for _, n := range names {
			want := c.moves
			if n == "dir" {
				want = c.dirs
			}
			if got := statOf(t, filepath.Join(dir, n)); isOld(got) == want {
				t.Errorf("-o %s: %s is read at %v", c.options, n, got.Atim)
			}
		}
		again("rw")
	}
	again("strictatime")
	for _, n := range []string{"small", "large", "dir"} {
		path := filepath.Join(dir, n)
		for range 3 {
			before := statOf(t, path)
			if readAll(); sameRead(statOf(t, path), before) {
				t.Errorf("-o strictatime: %s is read, and not moved", n)
			}
		}
	}
}

// Of many files that are read in a row the kernel hears later, but it hears of each.
func TestTimesOfReadingOfAWholeTree(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	dir := filepath.Join(p.dir, "groups/local/shared")
	script(t, dir, `mkdir tree; cd tree; for i in $(seq 1000); do echo $i > f$i; done`)
	old := map[string]unix.Stat_t{}
	files, err := filepath.Glob(filepath.Join(dir, "tree/*"))
	if err != nil || len(files) != 1000 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		old[f] = statOf(t, f)
	}
	script(t, dir, `grep -r nothing tree || test $? = 1`)
	until(t, "every file of the tree is read", func() bool {
		for _, f := range files {
			if sameRead(statOf(t, f), old[f]) {
				return false
			}
		}
		return true
	})
	seen := map[string]unix.Stat_t{}
	for _, f := range files {
		seen[f] = statOf(t, f)
	}
	stopMount(t, p, daemon)
	defer stopMount(t, p, mounted(t, p.bin, p.state, p.dir))
	for _, f := range files {
		if got := statOf(t, f); !sameRead(got, seen[f]) || got.Ctim != seen[f].Ctim {
			t.Fatalf("%s: mounted again, and read at %v, want %v", f, got.Atim, seen[f].Atim)
		}
	}
}

// A host that moves no times of reading does not show what the kernel reads: there the
// open of a large file counts.
func TestTimesOfReadingOnAHostWithout(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a mount with noatime needs root")
	}
	p := newPlace(t)
	if err := os.Mkdir(p.state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(p.state, p.state, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("no bind mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(p.state, unix.MNT_DETACH) })
	if err := unix.Mount("", p.state, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOATIME, ""); err != nil {
		t.Skipf("no noatime: %v", err)
	}
	daemon := mounted(t, p.bin, p.state, p.dir)
	defer stopMount(t, p, daemon)
	path := filepath.Join(p.dir, "groups/local/shared/large")
	if err := os.WriteFile(path, make([]byte, 300_000), 0o644); err != nil {
		t.Fatal(err)
	}
	aged(t, path, day)
	read(t, path, unix.O_NOATIME)
	if !isOld(statOf(t, path)) {
		t.Error("read with O_NOATIME, and it counts")
	}
	if read(t, path, unix.O_RDONLY); isOld(statOf(t, path)) {
		t.Error("read, and it does not count")
	}
}
