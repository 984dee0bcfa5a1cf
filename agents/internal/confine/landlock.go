package confine

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// minLandlock is the oldest ABI that confinement accepts: 3 (Linux 6.2) covers
// truncation, without which "may not write" would not be true.
const minLandlock = 3

func landlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, fmt.Errorf("landlock: %w", errno)
	}
	return int(abi), nil
}

// system is what every program needs to start at all: loader, libraries, locale
// data, name service files without secrets in them, and the harmless devices.
var system = struct{ dirs, files, devices []string }{
	dirs:    []string{"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ssl", "/etc/ca-certificates", "/etc/alternatives", "/proc"},
	files:   []string{"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime", "/etc/mime.types"},
	devices: []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random"},
}

// network is what a program with network needs besides.
var network = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services"}

// restrictPaths lets the thread see the profile's paths and those every program
// needs, and nothing else of the host's files.
func restrictPaths(o order) (int, error) {
	p := o.Profile
	abi, err := landlockABI()
	if err != nil {
		return 0, err
	}
	if abi < minLandlock {
		return abi, fmt.Errorf("landlock ABI %d, need %d", abi, minLandlock)
	}
	config := landlock.V3
	if abi >= 6 {
		config = landlock.V6 // abstract Unix sockets and signals stay inside too
		if p.HostProcesses {
			config = landlock.V5
		}
	}
	files := append([]string{}, system.files...)
	if p.Network {
		files = append(files, network...)
	}
	rules := []landlock.Rule{
		landlock.RODirs(system.dirs...).IgnoreIfMissing(),
		landlock.ROFiles(files...).IgnoreIfMissing(),
		landlock.RWFiles(system.devices...).IgnoreIfMissing(),
	}
	if p.privateTmp() {
		rules = append(rules, landlock.RWDirs("/tmp").WithRefer())
	}
	if o.Program == Self {
		rules = append(rules, landlock.ROFiles(Self))
	}
	for _, path := range p.Read {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return abi, err
		case info.IsDir():
			rules = append(rules, landlock.RODirs(path))
		default:
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	for _, path := range p.Write {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return abi, err
		case info.IsDir():
			rules = append(rules, landlock.RWDirs(path).WithRefer())
		default:
			rules = append(rules, landlock.RWFiles(path))
		}
	}
	if p.Network && abi >= 6 {
		if err := config.RestrictPaths(rules...); err != nil {
			return abi, err
		}
		return abi, landlock.V6.RestrictScoped()
	}
	if abi >= 6 {
		return abi, config.Restrict(rules...) // TCP bind and connect are refused as well
	}
	return abi, config.RestrictPaths(rules...)
}
