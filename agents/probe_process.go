package agents

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// processWait is how long a probe gives the kernel to carry out a signal.
const processWait = 2 * time.Second

// probeProcess looks at a process: args pid, started (its start time in clock ticks, so
// that a number used again is another process) and expected: RUNNING, STOPPED or GONE.
func (rt *Runtime) probeProcess(k *Check) {
	pid, ok := integer(k.Args["pid"])
	want := arg(k.Args, "expected")
	if !ok || want != "RUNNING" && want != "STOPPED" && want != "GONE" {
		k.Outcome, k.Detail = probeError, "want pid, and expected RUNNING, STOPPED or GONE"
		return
	}
	started, _ := integer(k.Args["started"])
	for until := time.Now().Add(processWait); ; time.Sleep(5 * time.Millisecond) {
		k.Detail = processState(pid, started)
		if k.Detail == want {
			k.Outcome = passed
			return
		}
		if time.Now().After(until) || rt.ctx.Err() != nil {
			return
		}
	}
}

func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), true
	case float64:
		return int64(n), true
	}
	return 0, false
}

// processState reads fields 3 and 22 of /proc/PID/stat, which stand behind the last ')'.
func processState(pid, started int64) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "GONE"
	}
	f := strings.Fields(string(b)[strings.LastIndexByte(string(b), ')')+1:])
	if len(f) < 20 {
		return "GONE"
	}
	var at int64
	if _, err := fmt.Sscan(f[19], &at); err != nil || started != 0 && at != started {
		return "GONE" // its number is another's now
	}
	switch f[0] {
	case "Z", "X":
		return "GONE"
	case "T", "t":
		return "STOPPED"
	}
	return "RUNNING"
}
