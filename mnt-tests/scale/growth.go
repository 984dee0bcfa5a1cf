package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func seconds(fn func() error) (float64, error) {
	began := time.Now()
	err := fn()
	return time.Since(began).Seconds(), err
}

// crowded makes, lists, finds and removes one directory of many entries.
func crowded(bin string, n int) error {
	in, err := newInstance(bin)
	if err != nil {
		return err
	}
	defer in.remove()
	dir := filepath.Join(in.share(), "crowd")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	made, err := rate(n, func(i int) error { return write(filepath.Join(dir, fmt.Sprintf("f%07d", i)), []byte("x")) })
	if err != nil {
		return err
	}
	report(n, "crowd_create", made, "files/s")
	cold()
	count := 0
	took, err := seconds(func() error {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		names, err := f.Readdirnames(-1)
		count = len(names)
		return err
	})
	if err != nil || count != n {
		return fmt.Errorf("%d of %d entries listed: %w", count, n, err)
	}
	report(n, "crowd_list_cold", took, "s")
	report(n, "crowd_rss", in.rss(), "MiB")
	if took, err = seconds(func() error { return os.RemoveAll(dir) }); err != nil {
		return err
	}
	report(n, "crowd_remove", took, "s")
	return nil
}

// manyVersions saves one file over and over and looks at its history.
func manyVersions(bin string, n int) error {
	in, err := newInstance(bin)
	if err != nil {
		return err
	}
	defer in.remove()
	name := filepath.Join(in.share(), "often.md")
	saved, err := rate(n, func(i int) error { return write(name, []byte(strings.Repeat(strconv.Itoa(i)+"\n", 50))) })
	if err != nil {
		return err
	}
	report(n, "versions_save", saved, "saves/s")
	var list []os.DirEntry
	took, err := seconds(func() (err error) {
		list, err = os.ReadDir(filepath.Join(in.share(), ".versions/often.md"))
		return err
	})
	if err != nil {
		return err
	}
	if len(list) != n {
		return fmt.Errorf("%d of %d versions are listed", len(list), n)
	}
	report(n, "versions_list", took, "s")
	took, err = seconds(func() error {
		_, err := os.ReadFile(filepath.Join(in.share(), ".versions/often.md", list[n/2].Name()))
		return err
	})
	report(n, "versions_read_one", took, "s")
	return err
}

// used is what a tree takes on disk, in bytes.
func used(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		info, err := d.Info()
		if err != nil {
			return err
		}
		st = *info.Sys().(*syscall.Stat_t)
		total += st.Blocks * 512
		return nil
	})
	return total, err
}

// checkouts puts the last ten commits of a repository side by side into the tree, as
// ten directories, and compares what is stored with what it says; beside it what
// restic and git take for the same, where they are installed.
func checkouts(bin, repo string) error {
	in, err := newInstance(bin)
	if err != nil {
		return err
	}
	defer in.remove()
	out, err := exec.Command("git", "-C", repo, "rev-list", "--max-count=10", "HEAD").Output()
	if err != nil {
		return err
	}
	before, err := used(in.state)
	if err != nil {
		return err
	}
	plain := filepath.Join(in.base, "plain")
	for i, commit := range strings.Fields(string(out)) {
		for _, under := range []string{plain, in.share()} {
			to := filepath.Join(under, fmt.Sprintf("checkout%02d", i))
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			sh := exec.Command("sh", "-c", `git -C "$1" archive "$2" | tar -C "$3" -xf -`, "sh", repo, commit, to)
			if b, err := sh.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, b)
			}
		}
	}
	if _, err := in.stop(false); err != nil {
		return err
	}
	var logical int64
	if err := filepath.WalkDir(plain, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, e := d.Info()
			if e != nil {
				return e
			}
			logical += info.Size()
		}
		return err
	}); err != nil {
		return err
	}
	after, err := used(in.state)
	if err != nil {
		return err
	}
	report(10, "history_logical", float64(logical)/(1<<20), "MiB")
	report(10, "history_stored_aios", float64(after-before)/float64(logical), "of logical")
	if _, err := exec.LookPath("restic"); err == nil {
		rep := filepath.Join(in.base, "restic")
		sh := exec.Command("sh", "-c", `restic init -q -r "$1" && restic backup -q -r "$1" "$2"`, "sh", rep, plain)
		sh.Env = append(os.Environ(), "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR="+filepath.Join(in.base, "cache"))
		if b, err := sh.CombinedOutput(); err != nil {
			return fmt.Errorf("restic: %w: %s", err, b)
		}
		n, err := used(rep)
		if err != nil {
			return err
		}
		report(10, "history_stored_restic", float64(n)/float64(logical), "of logical")
	}
	g := filepath.Join(in.base, "git")
	sh := exec.Command("sh", "-c", `git init -q "$1" && cp -r "$2"/. "$1"/ && cd "$1" && git add -A . && git -c user.name=s -c user.email=s@invalid commit -qm all && git gc -q`, "sh", g, plain)
	if b, err := sh.CombinedOutput(); err != nil {
		return fmt.Errorf("git: %w: %s", err, b)
	}
	n, err := used(filepath.Join(g, ".git"))
	if err != nil {
		return err
	}
	report(10, "history_stored_git", float64(n)/float64(logical), "of logical")
	return nil
}
