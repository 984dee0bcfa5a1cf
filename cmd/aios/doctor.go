package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// finding is one line of `aios doctor`.
type finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Need bool   `json:"needed"` // false: AIOS works without it, with less
	Says string `json:"says"`
	Mend string `json:"mend,omitempty"`
}

func doctorCommand() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "What this machine lacks, and how to get it", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			list := examine()
			if wantsJSON(c) {
				if err := printJSON(c.OutOrStdout(), list); err != nil {
					return err
				}
			} else {
				for _, f := range list {
					mark := "ok  "
					if !f.OK && f.Need {
						mark = "MISS"
					} else if !f.OK {
						mark = "less"
					}
					fmt.Fprintf(c.OutOrStdout(), "%s  %-22s %s\n", mark, f.What, f.Says)
					if !f.OK && f.Mend != "" {
						fmt.Fprintf(c.OutOrStdout(), "      %-22s → %s\n", "", f.Mend)
					}
				}
			}
			for _, f := range list {
				if !f.OK && f.Need {
					return &exitError{code: exitFailed}
				}
			}
			return nil
		}}
}

func examine() []finding {
	root := os.Geteuid() == 0
	list := []finding{checkDevice(), checkProgram("fusermount3", !root, "unprivileged mounts", "apt install fuse3"),
		checkProgram("git", false, "repo.clone and repo.fetch", "apt install git"), checkKernel(), checkLandlock(), checkCgroup(), checkUserns(), checkWho()}
	return list
}

func checkDevice() finding {
	f := finding{What: "/dev/fuse", Need: true}
	d, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		f.Says, f.Mend = err.Error(), "modprobe fuse; in a container, pass the device in"
		if errors.Is(err, fs.ErrPermission) {
			f.Mend = "an administrator must give it mode 0666 (chmod 0666 /dev/fuse)"
		}
		return f
	}
	d.Close()
	f.OK, f.Says = true, "can be opened"
	return f
}

func checkProgram(name string, need bool, forWhat, mend string) finding {
	f := finding{What: name, Need: need, Mend: mend}
	if p, err := exec.LookPath(name); err == nil {
		f.OK, f.Says = true, p
	} else {
		f.Says = "not found; used for " + forWhat
	}
	return f
}

func checkKernel() finding {
	f := finding{What: "kernel", Mend: "Linux 6.9 or newer gives large files their full speed"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		f.Says = err.Error()
		return f
	}
	release := unix.ByteSliceToString(u.Release[:])
	f.Says = release
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	ma, _ := strconv.Atoi(major)
	mi, _ := strconv.Atoi(minor)
	f.OK = ma > 6 || ma == 6 && mi >= 9
	return f
}

func checkLandlock() finding {
	f := finding{What: "Landlock", Mend: "boot with lsm=landlock,… so that adapters' programs can be confined"}
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
	if errno != 0 {
		f.Says = errno.Error()
		return f
	}
	f.OK, f.Says = true, fmt.Sprintf("ABI %d", abi)
	return f
}

func checkCgroup() finding {
	f := finding{What: "cgroup v2", Mend: "boot with systemd.unified_cgroup_hierarchy=1; without it adapters' programs are limited by rlimits and cgroup v1"}
	b, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		f.Says = "the unified hierarchy is not mounted at /sys/fs/cgroup"
		return f
	}
	have := strings.Fields(string(b))
	f.Says = strings.Join(have, " ")
	f.OK = strings.Contains(f.Says, "memory") && strings.Contains(f.Says, "pids")
	return f
}

func checkUserns() finding {
	f := finding{What: "user namespaces", Mend: "sysctl user.max_user_namespaces=10000"}
	b, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil {
		f.Says = err.Error()
		return f
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	f.OK, f.Says = n > 0, "up to "+strings.TrimSpace(string(b))
	return f
}

func checkWho() finding {
	f := finding{What: "who mounts", OK: true}
	u, err := user.Current()
	if err != nil {
		f.Says = err.Error()
		return f
	}
	f.Says = u.Username
	if os.Geteuid() != 0 {
		conf, _ := os.ReadFile("/etc/fuse.conf")
		for _, line := range strings.Split(string(conf), "\n") {
			if strings.TrimSpace(line) == "user_allow_other" {
				f.Says += "; other users can be let in (-o allow_other)"
				return f
			}
		}
		f.Says += "; only you will see the mount"
		f.Mend = "put user_allow_other into /etc/fuse.conf to let others in"
	}
	return f
}
