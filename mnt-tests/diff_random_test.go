package mnttests

import (
	"flag"
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Random sequences by several people on the mount and on the local disk; a difference is
// made as short as rapid can. The short form makes the same ones every time, so that a
// change is judged by what it changes; AIOS_DIFF_TIME=1h makes new ones for an hour.
func TestDifferentialRandom(t *testing.T) {
	p := newPair(t)
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.checks": "20", "rapid.shrinktime": "15s", "rapid.seed": "0"} {
		f := flag.Lookup(name)
		old := f.Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, old) })
	}
	d := long(t, "AIOS_DIFF_TIME", 0, 10*time.Minute)
	end, rounds, made := time.Now().Add(d), 0, 0
	for !t.Failed() && (rounds < 6 || time.Now().Before(end)) {
		rounds++
		if d == 0 {
			if err := flag.Set("rapid.seed", strconv.Itoa(rounds)); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(strconv.Itoa(rounds), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				n := rapid.SampledFrom([]int{1, 2, 4, 8, 16, 30, 50, 80, 80, 80, 80, 80, 80}).Draw(r, "length")
				seq := rapid.SliceOfN(anyCall, n, n).Draw(r, "calls")
				made += len(seq)
				p.run(r, append(ground[:len(ground):len(ground)], seq...))
			})
		})
	}
	t.Logf("%d rounds, %d calls on each side", rounds, made)
}

// The paths of random sequences: few, so that they meet.
var (
	randomNames = []string{"a", "b", "c", "d", "e", "s", "g", "d/a", "d/b", "d/e", "d/e/a", "s/a", "s/b", "g/a", "e/a", "e/d"}
	oddPaths    = []string{".", "..", "a/", "d/", "d/.", "d/..", "./a", "d/../b", "", "a/x", "d//a", "nothing/a"}
)

// ground is what random sequences find: directories for everybody, sticky and of a group.
var ground = []call{
	{Who: "root", Op: "mkdir", P: "d", Mode: 0o755}, {Who: "root", Op: "chmod", P: "d", Mode: 0o777},
	{Who: "root", Op: "mkdir", P: "s", Mode: 0o755}, {Who: "root", Op: "chmod", P: "s", Mode: 0o1777},
	{Who: "alice", Op: "mkdir", P: "g", Mode: 0o755}, {Who: "alice", Op: "chown", P: "g", UID: -1, GID: teamGID}, {Who: "alice", Op: "chmod", P: "g", Mode: 0o2775},
}

// choice draws one of the words; the first is what shrinking ends at.
func choice(words ...string) *rapid.Generator[string] { return rapid.SampledFrom(words) }

func path(r *rapid.T) string {
	if rapid.IntRange(0, 15).Draw(r, "odd") == 15 {
		return rapid.SampledFrom(oddPaths).Draw(r, "path")
	}
	return rapid.SampledFrom(randomNames).Draw(r, "path")
}

func slot(r *rapid.T) int { return rapid.IntRange(1, 3).Draw(r, "fd") }

func mode(r *rapid.T) int {
	if rapid.IntRange(0, 3).Draw(r, "how") < 3 {
		return rapid.SampledFrom([]int{0o644, 0o755, 0o777, 0o666, 0o600, 0o700, 0o1777, 0o2775, 0o6755, 0}).Draw(r, "mode")
	}
	return rapid.IntRange(0, 0o7777).Draw(r, "mode")
}

func length(r *rapid.T) int64 {
	return rapid.SampledFrom([]int64{0, 1, 10, 511, 4095, 4096, 4097, 8192, 20000, 65536, 65537, 131073}).Draw(r, "length")
}

func data(r *rapid.T) string {
	char := string(rune('a' + rapid.IntRange(0, 25).Draw(r, "char")))
	return fmt.Sprint(repeat(char, int(length(r))))
}

func repeat(s string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = s[0]
	}
	return string(b)
}

func id(r *rapid.T) int {
	return rapid.SampledFrom([]int{-1, 0, aliceUID, bobUID, teamGID}).Draw(r, "id")
}

func date(r *rapid.T) string {
	return choice("omit", "now", "1000", "1000.000000001", "1234567890.123456789", "0").Draw(r, "time")
}

// pathOrFD makes a call by a name or, one time in four, by a descriptor.
func pathOrFD(r *rapid.T, c call) call {
	if rapid.IntRange(0, 3).Draw(r, "by") == 3 {
		c.FD = slot(r)
	} else {
		c.P = path(r)
	}
	return c
}

var openFlags = choice("RDWR|CREAT", "RDONLY", "WRONLY", "RDWR", "WRONLY|CREAT", "RDWR|CREAT|EXCL", "RDWR|TRUNC", "WRONLY|CREAT|TRUNC", "WRONLY|APPEND|CREAT",
	"RDWR|APPEND", "RDONLY|DIRECTORY", "RDONLY|NOFOLLOW", "PATH", "PATH|NOFOLLOW", "RDONLY|CREAT", "RDONLY|TRUNC", "RDONLY|NOATIME", "WRONLY|SYNC", "RDWR|TMPFILE", "WRONLY|TMPFILE|EXCL", "RDWR|CREAT|NOFOLLOW")

// randomCalls are the operations that random sequences draw from. Those whose differences
// are known and end a comparison (collapse and insert range) are left to the hand-written
// ones, as are holes, whose places are the filesystem's own affair.
var randomCalls = []struct {
	weight int
	make   func(r *rapid.T) call
}{
	{12, func(r *rapid.T) call {
		return call{Op: "open", P: path(r), FD: slot(r), Flags: openFlags.Draw(r, "flags"), Mode: mode(r)}
	}},
	{3, func(r *rapid.T) call { return call{Op: "close", FD: slot(r)} }},
	{5, func(r *rapid.T) call { return call{Op: "write", FD: slot(r), Data: data(r)} }},
	{5, func(r *rapid.T) call { return call{Op: "pwrite", FD: slot(r), Off: length(r), Data: data(r)} }},
	{4, func(r *rapid.T) call { return call{Op: "read", FD: slot(r), N: length(r)} }},
	{4, func(r *rapid.T) call { return call{Op: "pread", FD: slot(r), Off: length(r), N: length(r)} }},
	{2, func(r *rapid.T) call {
		return call{Op: "copy", FD: slot(r), To: slot(r), Off: length(r), Mode: int(length(r)), N: length(r)}
	}},
	{5, func(r *rapid.T) call { return pathOrFD(r, call{Op: "truncate", N: length(r)}) }},
	{3, func(r *rapid.T) call {
		return call{Op: "fallocate", FD: slot(r), Off: length(r), N: length(r), Flags: choice("", "KEEP", "PUNCH|KEEP", "ZERO", "ZERO|KEEP").Draw(r, "flags")}
	}},
	{2, func(r *rapid.T) call {
		return call{Op: "sync", FD: slot(r), Name: choice("", "data", "fs").Draw(r, "how")}
	}},
	{7, func(r *rapid.T) call { return call{Op: "mkdir", P: path(r), Mode: mode(r)} }},
	{3, func(r *rapid.T) call {
		return call{Op: "mknod", P: path(r), Flags: choice("FIFO", "SOCK", "REG", "CHR", "BLK").Draw(r, "type"), Mode: mode(r), N: 259}
	}},
	{4, func(r *rapid.T) call { return call{Op: "symlink", P: path(r), Q: path(r)} }},
	{2, func(r *rapid.T) call { return call{Op: "readlink", P: path(r)} }},
	{5, func(r *rapid.T) call {
		return call{Op: "link", P: path(r), Q: path(r), Flags: choice("", "FOLLOW").Draw(r, "flags")}
	}},
	{2, func(r *rapid.T) call { return call{Op: "linkfd", FD: slot(r), P: path(r)} }},
	{6, func(r *rapid.T) call {
		return call{Op: "unlink", P: path(r), Flags: choice("", "", "REMOVEDIR").Draw(r, "flags")}
	}},
	{9, func(r *rapid.T) call {
		return call{Op: "rename", P: path(r), Q: path(r), Flags: choice("", "", "", "NOREPLACE", "EXCHANGE").Draw(r, "flags")}
	}},
	{6, func(r *rapid.T) call { return pathOrFD(r, call{Op: "chmod", Mode: mode(r)}) }},
	{5, func(r *rapid.T) call {
		return pathOrFD(r, call{Op: "chown", UID: id(r), GID: id(r), Flags: choice("", "LINK").Draw(r, "flags")})
	}},
	{4, func(r *rapid.T) call {
		return pathOrFD(r, call{Op: "utimens", A: date(r), M: date(r), Flags: choice("", "LINK").Draw(r, "flags")})
	}},
	{2, func(r *rapid.T) call {
		return call{Op: "access", P: path(r), Mode: rapid.IntRange(0, 7).Draw(r, "want")}
	}},
	{5, func(r *rapid.T) call {
		return pathOrFD(r, call{Op: "stat", Flags: choice("", "LINK").Draw(r, "flags")})
	}},
	{3, func(r *rapid.T) call { return call{Op: "list", P: path(r)} }},
	{3, func(r *rapid.T) call { return call{Op: "tree"} }},
	{3, func(r *rapid.T) call {
		return pathOrFD(r, call{Op: "setxattr", Name: xattrName(r), Data: repeat("x", rapid.IntRange(0, 300).Draw(r, "n")), Flags: choice("", "XCREATE", "XREPLACE", "LINK").Draw(r, "flags")})
	}},
	{2, func(r *rapid.T) call {
		return pathOrFD(r, call{Op: "getxattr", Name: xattrName(r), Flags: choice("", "LINK").Draw(r, "flags")})
	}},
	{1, func(r *rapid.T) call { return pathOrFD(r, call{Op: "listxattr"}) }},
	{1, func(r *rapid.T) call { return pathOrFD(r, call{Op: "rmxattr", Name: xattrName(r)}) }},
	{1, func(r *rapid.T) call {
		return call{Op: "umask", Mode: rapid.SampledFrom([]int{0o22, 0, 0o77, 0o27}).Draw(r, "umask")}
	}},
	{1, func(r *rapid.T) call {
		return call{Op: "flock", FD: slot(r), Flags: choice("SH", "EX", "UN").Draw(r, "flags")}
	}},
	{2, func(r *rapid.T) call {
		return call{Op: "lock", FD: slot(r), Off: length(r), N: length(r), Name: choice("", "ofd").Draw(r, "kind"), Flags: choice("SH", "EX", "", "SH|GET", "EX|GET").Draw(r, "flags")}
	}},
}

func xattrName(r *rapid.T) string { return choice("user.a", "user.b", "trusted.a").Draw(r, "name") }

// anyCall draws a call of anybody; trees are looked at by root alone, who sees all.
var anyCall = rapid.Custom(func(r *rapid.T) call {
	total := 0
	for _, c := range randomCalls {
		total += c.weight
	}
	n := rapid.IntRange(0, total-1).Draw(r, "operation")
	for _, k := range randomCalls {
		if n -= k.weight; n < 0 {
			c := k.make(r)
			c.Who = choice("root", "root", "alice", "alice", "bob", "alice2").Draw(r, "who")
			if c.Op == "tree" {
				c.Who = "root"
			}
			return c
		}
	}
	panic("unreachable")
})
