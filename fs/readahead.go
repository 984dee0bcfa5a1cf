package fs

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// raiseReadAhead lets the kernel read ahead as much as one request carries. It starts a
// mount with 128 KiB, whatever is negotiated; an administrator's daemon may raise that.
// The mount itself is not touched for it: its device number stands in mountinfo.
func raiseReadAhead(mountpoint string) error {
	dev, err := deviceOf(mountpoint)
	if err != nil {
		return err
	}
	name := "/sys/class/bdi/" + dev + "/read_ahead_kb"
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if now, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || now >= maxRequest>>10 {
		return err
	}
	return os.WriteFile(name, []byte(strconv.Itoa(maxRequest>>10)), 0)
}

// deviceOf gives MAJOR:MINOR of what was last mounted at a place.
func deviceOf(mountpoint string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	dev := ""
	for sc := bufio.NewScanner(f); sc.Scan(); {
		l := strings.Fields(sc.Text())
		if len(l) > 4 && unescapeMount(l[4]) == mountpoint {
			dev = l[2]
		}
	}
	if dev == "" {
		return "", fmt.Errorf("%s is not in mountinfo", mountpoint)
	}
	return dev, nil
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
