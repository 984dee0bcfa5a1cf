package confine

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ready says whether the walls that every profile needs can stand on this host as it is
// now; otherwise the error is ErrBackend and names the one that cannot. A start may still
// fail for its own profile.
func Ready() error {
	abi, err := landlockABI()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackend, err)
	}
	if abi < minLandlock {
		return fmt.Errorf("%w: landlock ABI %d, need %d", ErrBackend, abi, minLandlock)
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); errno != 0 {
		return fmt.Errorf("%w: seccomp: %w", ErrBackend, errno)
	}
	if os.Geteuid() == 0 {
		return nil
	}
	// Without root the namespaces hang on a user namespace, which may be switched off.
	for _, name := range []string{"/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/unprivileged_userns_clone"} {
		if b, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(b)) == "0" {
			return fmt.Errorf("%w: user namespaces are switched off by %s", ErrBackend, name)
		}
	}
	return nil
}
