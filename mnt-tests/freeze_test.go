package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// freeze is how long a window may leave a question open before a person takes it for dead.
const freeze = 3 * time.Second

// ping asks Dolphin's main thread for something small, again and again, until it is
// stopped, and gives the longest time that it took. What the bus itself takes for the same
// question at the same moment is the machine's and not Dolphin's.
func (d *desktop) ping() (stop func() time.Duration) {
	const question = "org.freedesktop.DBus.Introspectable.Introspect"
	over, ended := make(chan struct{}), make(chan struct{})
	var worst time.Duration
	go func() {
		defer close(ended)
		for {
			var bus, window time.Duration
			var wg sync.WaitGroup
			wg.Go(func() {
				began := time.Now()
				_, _ = d.try("dbus-send", "--session", "--print-reply", "--reply-timeout=60000", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus", question)
				bus = time.Since(began)
			})
			wg.Go(func() {
				began := time.Now()
				if _, err := d.asks(question); err != nil {
					d.t.Errorf("the window does not answer: %v", err)
				}
				window = time.Since(began)
			})
			wg.Wait()
			worst = max(worst, window-bus)
			select {
			case <-over:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() time.Duration {
		close(over)
		<-ended
		return worst
	}
}

// signal sends Dolphin a signal, by its number in the session's namespace.
func (d *desktop) signal(name string) {
	d.t.Helper()
	pid := d.session.Process.Pid
	first, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		d.t.Fatal(err)
	}
	number := strings.TrimPrefix(d.service, "org.kde.dolphin-")
	if out, err := exec.Command("nsenter", "--target", strings.TrimSpace(string(first)), "--pid", "sh", "-c", "kill -s "+name+" "+number).CombinedOutput(); err != nil {
		d.t.Fatalf("%s to Dolphin: %v: %s", name, err, out)
	}
}
