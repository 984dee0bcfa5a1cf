package mnttests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A side is a directory that sequences run in, and the processes that make the calls.
type side struct {
	base string
	who  map[string]*helper
}

// newSide starts the callers of one side; each is a process of its own.
func newSide(t *testing.T, base string) *side {
	t.Helper()
	s := &side{base, map[string]*helper{}}
	for name, uid := range callers {
		cred := &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), Groups: []uint32{}}
		if name == "alice" || name == "alice2" || name == "bob" {
			cred.Groups = []uint32{teamGID}
		}
		s.who[name] = startHelper(t, "caller", &syscall.SysProcAttr{Credential: cred})
	}
	return s
}

func (s *side) do(t failer, c call) string {
	t.Helper()
	var a struct{ Text string }
	if err := s.who[c.Who].ask(&c, &a); err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	return a.Text
}

// failer is what both testing.T and rapid.T can do.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// pair is the mount and the local disk, side by side.
type pair struct {
	mount, disk *side
	mu          sync.Mutex
	n           int
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := newPeople(t, "-o", "dev") // as the disk is
	disk := filepath.Join(p.base, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err == nil {
		err = os.Chmod(exe, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(disk, &st); err != nil || st.Type != 0xef53 || st.Flags&unix.ST_NODEV != 0 {
		t.Skipf("the local disk is no ext4 with devices (%#x, %v): nothing to compare with", st.Type, err)
	}
	return &pair{mount: newSide(t, filepath.Join(p.dir, "groups/local/shared")), disk: newSide(t, disk)}
}

// begin makes an empty directory on both sides, everybody's, and sends all callers there.
func (p *pair) begin(t failer) {
	t.Helper()
	p.mu.Lock()
	p.n++
	name := fmt.Sprint("d", p.n)
	p.mu.Unlock()
	for _, s := range []*side{p.mount, p.disk} {
		dir := filepath.Join(s.base, name, "x") // what is above it must be the same, too
		for d, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o777} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatalf("%v", err)
			}
			if err := os.Chmod(d, mode); err != nil {
				t.Fatalf("%v", err)
			}
		}
		for who := range s.who {
			if a := s.do(t, call{Who: who, Op: "reset", P: dir}); a != "ok" {
				t.Fatalf("%s cannot go to %s: %s", who, dir, a)
			}
		}
	}
}

// run makes the calls on both sides and wants the same answers. It gives the difference
// of the table that ended it, if one did.
func (p *pair) run(t failer, seq []call) *difference {
	t.Helper()
	p.begin(t)
	for i, c := range append(seq[:len(seq):len(seq)], call{Who: "root", Op: "tree"}) {
		got, want := p.mount.do(t, c), p.disk.do(t, c)
		if got == want {
			continue
		}
		if d := excused(c, got, want); d != nil {
			if d.ends {
				return d
			}
			continue
		}
		var told strings.Builder
		for _, c := range seq[:min(i+1, len(seq))] {
			fmt.Fprintln(&told, c)
		}
		t.Fatalf("%s\n  mount: %s\n  disk:  %s\nafter\n%s", c, got, want, told.String())
	}
	return nil
}

// difference is a deliberate one between the mount and ext4.
type difference struct {
	what   string
	reason string
	ends   bool // what follows cannot be compared any more
	is     func(c call, mount, disk string) bool
}

// differences are all that are allowed.
var differences = []difference{
	{
		what: "collapse and insert range", ends: true,
		reason: "the kernel answers EOPNOTSUPP for every FUSE filesystem before it asks the daemon (fuse_file_fallocate); XFS over NFS and btrfs do not have them either",
		is: func(c call, mount, disk string) bool {
			return c.Op == "fallocate" && (c.has("COLLAPSE") || c.has("INSERT")) && mount == "ENOTSUP" // the same number
		},
	},
	{
		what: "xattrs above one block", ends: true,
		reason: "ext4 keeps all xattrs of a file in 4 KiB and answers ENOSPC; the store takes what the kernel takes, 64 KiB each",
		is: func(c call, mount, disk string) bool {
			return c.Op == "setxattr" && disk == "ENOSPC" && mount == "ok"
		},
	},
	{
		what: "a chown of nothing by who may write", ends: true,
		reason: "before the kernel itself writes into a set-id file it sends what it sends for chown(-1, -1); whose write it may be is let through, " +
			"and takes the bits away as the write would (TestChownToNobody)",
		is: func(c call, mount, disk string) bool {
			return c.Op == "chown" && c.UID == -1 && c.GID == -1 && c.Who != "root" && mount == "ok" && disk == "EPERM"
		},
	},
	{
		what: "the time of reading",
		reason: "the kernel keeps what it has read of a symbolic link, and does not ask again after a change; an empty file is read without asking; " +
			"and of many small files that are read in a row the open counts, the kernel hears of it late: FUSE has no message that kept bytes are read",
		is: func(c call, mount, disk string) bool {
			return differentReads(c, mount, disk, func(mode string) bool { return mode[:2] == "12" || mode[:2] == "10" })
		},
	},
	{
		what:   "the time of writing into a FIFO",
		reason: "the kernel moves the bytes without the daemon, and marks no time of a FIFO on FUSE (S_NOCMTIME)",
		is: func(c call, mount, disk string) bool {
			return (c.Op == "stat" || c.Op == "tree") && newerFIFO(mount, disk)
		},
	},
}

// fifoTimes are what stat says of a FIFO, and of its times: one that a program has set
// stays on the mount, whatever is written.
var fifoTimes = regexp.MustCompile(`^(.*\b1[0-7]{4} links=.*?)( m=-?\d+\.\d+)?( m\+)?( c\+)?$`)

// newerFIFO tells whether two lines differ in times of a FIFO alone, and in none of writing
// that has moved on the mount and not on the disk.
func newerFIFO(mount, disk string) bool {
	m, d := fifoTimes.FindStringSubmatch(mount), fifoTimes.FindStringSubmatch(disk)
	return m != nil && d != nil && atimes.ReplaceAllString(m[1], "") == atimes.ReplaceAllString(d[1], "") && mount != disk &&
		(d[2] == "" || d[2] == m[2]) && (m[3] == "" || d[3] != "" || d[2] != m[2]) && (m[4] == "" || d[4] != "")
}

// atimes are the times of reading in what stat shows, and modes what stands before them: a
// time of reading that a program set long ago is shown, one that has moved since is not.
var (
	atimes = regexp.MustCompile(` a=-?\d+\.\d+`)
	modes  = regexp.MustCompile(`\b([0-7]{5,6}) links=`)
)

// differentReads tells whether what stat shows differs in times of reading alone, and
// wherever it does, of a mode that is allowed.
func differentReads(c call, mount, disk string, allowed func(mode string) bool) bool {
	m, d := strings.Split(mount, "\n"), strings.Split(disk, "\n")
	if c.Op != "stat" && c.Op != "tree" || len(m) != len(d) {
		return false
	}
	for i := range m {
		mode := modes.FindStringSubmatch(m[i])
		switch {
		case m[i] == d[i]:
		case mode == nil, atimes.ReplaceAllString(m[i], "") != atimes.ReplaceAllString(d[i], ""), !allowed(mode[1]):
			return false
		}
	}
	return true
}

// excused gives the difference that explains the two answers. A tree may have several, of
// one file each: then every line that differs must be explained by one.
func excused(c call, mount, disk string) *difference {
	for i := range differences {
		if differences[i].is(c, mount, disk) {
			return &differences[i]
		}
	}
	m, d := strings.Split(mount, "\n"), strings.Split(disk, "\n")
	if c.Op != "tree" || len(m) != len(d) || len(m) == 1 {
		return nil
	}
	var found *difference
	for i := range m {
		if m[i] == d[i] {
			continue
		}
		if found = excused(c, m[i], d[i]); found == nil || found.ends {
			return nil
		}
	}
	return found
}

// Two known differences in one tree are known; one that is not beside one that is, is not.
func TestDifferencesTogether(t *testing.T) {
	const mount = "ok\n  \"./a\" 11715 links=1 0:0\n  \"./b\" 100000 links=1 1:1 size=0 a=1000.000000000 m=1000.000000001 m+ c+ \"\"\n  \"./c\" 100600 links=1 0:0 size=0 \"\""
	disk := strings.Replace(strings.Replace(mount, "11715 links=1 0:0", "11715 links=1 0:0 m+ c+", 1), " a=1000.000000000", "", 1)
	if excused(call{Op: "tree"}, mount, disk) == nil {
		t.Error("the times of a FIFO and of reading an empty file are not explained together")
	}
	const set, written, before = `"./b" 10000 links=1 60101:60101 m=0.000000000`, `"./b" 10000 links=1 60101:60101 m+ c+`, `"./b" 10000 links=1 60101:60101`
	for _, two := range [][2]string{{set, written}, {set, before}, {before, written}} {
		if excused(call{Op: "tree"}, two[0], two[1]) == nil || excused(call{Op: "tree"}, two[1], two[0]) != nil {
			t.Errorf("a time of a FIFO moves on the disk alone, and never on the mount alone: %q", two)
		}
	}
	for _, other := range []string{strings.Replace(disk, "100600", "100644", 1), strings.Replace(disk, "\n  \"./c\"", "\n  \"./d\"", 1), disk + "\n  \"./e\" 100600"} {
		if d := excused(call{Op: "tree"}, mount, other); d != nil {
			t.Errorf("explained by %q: %s", d.what, other)
		}
	}
}

// long says how long a random suite runs: a few seconds, or minutes with AIOS_LONG, or as
// the named variable says.
func long(t *testing.T, variable string, short, ordinary time.Duration) time.Duration {
	t.Helper()
	if s := os.Getenv(variable); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if os.Getenv("AIOS_LONG") != "" {
		return ordinary
	}
	return short
}

// Hand-written sequences, an area of the file API each.
func TestDifferential(t *testing.T) {
	p := newPair(t)
	for _, area := range sequences {
		t.Run(area.name, func(t *testing.T) {
			var seq []call
			for line := range strings.Lines(area.calls) {
				if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
					continue
				}
				c, err := parseCall(line)
				if err != nil {
					t.Fatal(err)
				}
				if back, err := parseCall(c.String()); err != nil || back != c {
					t.Fatalf("%s is read back as %s: %v", c, back, err)
				}
				seq = append(seq, c)
			}
			if d := p.run(t, seq); d != nil && area.ends != d.what {
				t.Errorf("ended by a difference that is not its own: %s", d.what)
			}
		})
	}
}
