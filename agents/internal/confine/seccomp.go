package confine

import (
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// allowed is the allow-list: what an ordinary file-handling program calls. What
// is not here is EPERM; the ones in unsupported are ENOSYS, since C libraries then
// take the older call. Names that an architecture does not have are left out.
var allowed = []string{
	// files and directories
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "open", "openat", "openat2", "creat", "close", "close_range",
	"stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2", "lseek", "ftruncate", "truncate", "fallocate", "fsync",
	"fdatasync", "sync_file_range", "sync", "syncfs", "copy_file_range", "sendfile", "splice", "tee", "readahead", "fadvise64", "flock", "fcntl", "dup", "dup2", "dup3", "pipe", "pipe2",
	"mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "readlink", "readlinkat", "chmod", "fchmod",
	"fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat", "futimesat", "umask", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "getxattr", "lgetxattr",
	"fgetxattr", "listxattr", "llistxattr", "flistxattr", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
	// memory
	"mmap", "munmap", "mprotect", "mremap", "madvise", "msync", "mincore", "brk", "mlock", "munlock", "membarrier", "memfd_create",
	// processes, threads, signals
	"fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "kill", "tkill", "tgkill", "getpid", "getppid", "gettid", "getpgrp", "getpgid", "setpgid", "getsid", "setsid",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "rt_sigqueueinfo", "sigaltstack", "restart_syscall", "set_tid_address", "set_robust_list", "get_robust_list",
	"rseq", "futex", "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getpriority", "setpriority", "prctl", "arch_prctl", "prlimit64", "getrlimit", "setrlimit", "getrusage", "pidfd_open", "pidfd_send_signal",
	// identity, asked not changed (a change fails without capabilities anyway)
	"getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getresgid", "capget", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
	// time, waiting, randomness, the system
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "alarm", "setitimer", "getitimer", "timer_create", "timer_settime", "timer_delete", "timerfd_create", "timerfd_settime", "timerfd_gettime",
	"poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd4", "getrandom", "uname", "sysinfo", "getcpu", "ioctl",
	// sockets: which families is decided below
	"socketpair", "connect", "bind", "listen", "accept", "accept4", "getsockname", "getpeername", "getsockopt", "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "shutdown",
}

// unsupported are calls that have an older sibling in the list.
var unsupported = []string{"clone3"}

// namespaceFlags are the bits of clone that make namespaces; a thread or a fork has none.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

func restrictSyscalls(net bool) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	known := func(names []string) []string {
		var out []string
		for _, n := range names {
			if _, ok := info.SyscallNames[n]; ok {
				out = append(out, n)
			}
		}
		return out
	}
	families := []uint64{unix.AF_UNIX}
	if net {
		families = append(families, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK) // resolvers ask netlink for addresses
	}
	var conditional []seccomp.NameWithConditions
	for _, f := range families {
		conditional = append(conditional, seccomp.NameWithConditions{Name: "socket",
			Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: f}}})
	}
	conditional = append(conditional, seccomp.NameWithConditions{Name: "clone",
		Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsNotSet, Value: namespaceFlags}}})
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno, // EPERM
			Syscalls: []seccomp.SyscallGroup{
				{Names: known(unsupported), Action: seccomp.Action(uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS))},
				{Names: known(allowed), Action: seccomp.ActionAllow},
				{NamesWithCondtions: conditional, Action: seccomp.ActionAllow},
			},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}
