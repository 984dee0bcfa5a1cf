package namespace

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// onCPU is the time that the processor spent on fn in this thread: unlike the time on the
// wall, a busy machine does not stretch it.
func onCPU(fn func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var began, ended unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &began) // the clock exists since Linux 2.6
	fn()
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ended)
	return time.Duration(ended.Nano() - began.Nano())
}
