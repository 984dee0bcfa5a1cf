package mnttests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// desktopScript is the session of an ordinary user: a display of its own, a window
// manager, a bus, and Dolphin. The environment it has is written down for those who join.
const desktopScript = `
cd "$HOME"
Xvfb -displayfd 3 -screen 0 1600x1000x24 -nolisten tcp 3> display > xvfb.log 2>&1 &
until [ -s display ]; do sleep 0.1; done
export DISPLAY=:$(cat display)
export DBUS_SESSION_BUS_ADDRESS=$(dbus-daemon --session --fork --print-address)
openbox > openbox.log 2>&1 &
dolphin --new-window "$1" > dolphin.log 2>&1 &
env > joining
mv joining env
while :; do wait; sleep 60; done`

// desktop is a session in which Dolphin shows a mount to one person.
type desktop struct {
	p       *people
	t       *testing.T // the test that acts now
	uid     uint32
	home    string
	session *exec.Cmd
	env     []string
	service string // Dolphin's name on the bus
	window  string // its main window
}

// newDesktop starts a session whose Dolphin shows dir, or skips the test where the programs
// for it are missing. Its processes live and end in a namespace of their own.
func newDesktop(t *testing.T, p *people, uid uint32, dir string) *desktop {
	t.Helper()
	for _, name := range []string{"dolphin", "kioclient5", "Xvfb", "openbox", "xdotool", "import", "dbus-daemon", "dbus-send", "unshare", "setpriv"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("there is no %s: make need-kde installs a desktop for this test, 250 MB", name)
		}
	}
	d := &desktop{p: p, t: t, uid: uid, home: p.path("desk")}
	for _, sub := range []string{"", "run", ".config"} {
		if err := os.Mkdir(filepath.Join(d.home, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(d.home, sub), int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
	}
	d.configure()
	d.start(dir)
	return d
}

// configure gives the person a name, and Dolphin the settings under which it reads most.
func (d *desktop) configure() {
	d.t.Helper()
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		d.t.Fatal(err)
	}
	users = fmt.Appendf(users, "alice:x:%d:%d:Alice:%s:/bin/sh\n", d.uid, d.uid, d.home)
	for name, text := range map[string]string{
		"passwd":             string(users),
		".config/dolphinrc":  "[PreviewSettings]\nPlugins=directorythumbnail,imagethumbnail,jpegthumbnail,svgthumbnail,textthumbnail\n\n[VersionControl]\nenabledPlugins=Git\n",
		".config/kdeglobals": "[KDE]\nAnimationDurationFactor=0\n",
		"session.sh":         desktopScript,
	} {
		if err := os.WriteFile(filepath.Join(d.home, name), []byte(text), 0o644); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *desktop) start(dir string) {
	d.t.Helper()
	// The bus and KIO ask who the person is, whom this machine does not know.
	d.session = exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "slave", "--mount-proc", "sh", "-c",
		`mount --bind "$1/passwd" /etc/passwd && cd / && exec setpriv --pdeathsig KILL --reuid=$2 --regid=$2 --clear-groups env -i PATH=/usr/bin:/bin HOME="$1" XDG_RUNTIME_DIR="$1/run" LANG=C.UTF-8 XDG_CURRENT_DESKTOP=KDE KDE_FULL_SESSION=true KDE_SESSION_VERSION=5 QT_QPA_PLATFORM=xcb sh "$1/session.sh" "$3"`,
		"sh", d.home, fmt.Sprint(d.uid), dir)
	var said bytes.Buffer
	d.session.Stderr = &said
	if err := d.session.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = d.session.Process.Kill() // and with it the first process of the namespace, and so all
		_ = d.session.Wait()
	})
	until(d.t, "the session is there", func() bool {
		b, err := os.ReadFile(filepath.Join(d.home, "env"))
		d.env = strings.Split(strings.TrimSpace(string(b)), "\n")
		if err != nil && zombie(d.session.Process.Pid) {
			_ = d.session.Wait()
			d.t.Fatalf("the session ended: %s", said.String())
		}
		return err == nil
	})
	until(d.t, "Dolphin is on the bus", func() bool {
		names, _ := d.try("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.ListNames")
		_, after, found := strings.Cut(names, `"org.kde.dolphin-`)
		number, _, _ := strings.Cut(after, `"`)
		d.service = "org.kde.dolphin-" + number
		return found
	})
	until(d.t, "Dolphin has a window", func() bool {
		out, _ := d.try("xdotool", "search", "--onlyvisible", "--class", "dolphin")
		d.window, _, _ = strings.Cut(out, "\n")
		return d.window != "" && d.title(d.window) != ""
	})
	d.do("xdotool", "windowsize", "--sync", d.window, "100%", "96%", "windowmove", d.window, "0", "20", "windowactivate", d.window)
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.shoot("failed")
		}
	})
}

// try runs a program in the session.
func (d *desktop) try(name string, args ...string) (string, error) {
	cmd := exec.Command("timeout", append([]string{"120", name}, args...)...)
	cmd.Env, cmd.Dir = d.env, d.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: d.uid, Gid: d.uid}}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %.200q: %w: %.500s", name, args, err, errs.String())
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

func (d *desktop) do(name string, args ...string) string {
	d.t.Helper()
	out, err := d.try(name, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// within is a test within the session's: what fails there leaves a picture of the screen.
func (d *desktop) within(name string, f func(t *testing.T)) {
	outer := d.t
	outer.Run(name, func(t *testing.T) {
		d.t = t
		defer func() { d.t = outer }()
		defer func() {
			if t.Failed() {
				d.shoot(name)
			}
		}()
		f(t)
	})
}

// screen is a picture of the screen, as PNG.
func (d *desktop) screen() []byte {
	d.t.Helper()
	d.do("import", "-window", "root", "screen.png")
	b, err := os.ReadFile(filepath.Join(d.home, "screen.png"))
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// shoot keeps a picture of the screen in out/, which git ignores.
func (d *desktop) shoot(name string) {
	d.t.Helper()
	file := filepath.Join("out", "dolphin-"+strings.NewReplacer("/", "_", " ", "-").Replace(name)+".png")
	if err := os.MkdirAll("out", 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(file, d.screen(), 0o644); err != nil {
		d.t.Fatal(err)
	}
	d.t.Logf("the screen: mnt-tests/%s", file)
}

func (d *desktop) keys(keys ...string) {
	d.t.Helper()
	d.do("xdotool", append([]string{"key", "--delay", "30"}, keys...)...)
}

func (d *desktop) typed(text string) {
	d.t.Helper()
	d.do("xdotool", "type", "--delay", "8", text)
}

// click presses a button of the mouse.
func (d *desktop) click(x, y, button int) {
	d.t.Helper()
	d.do("xdotool", "mousemove", fmt.Sprint(x), fmt.Sprint(y), "click", fmt.Sprint(button))
}

// drag takes what is at one place of the screen to another, as a hand does: a drag begins
// with the first steps.
func (d *desktop) drag(x, y, toX, toY int) {
	d.t.Helper()
	d.do("xdotool", "mousemove", fmt.Sprint(x), fmt.Sprint(y), "mousedown", "1")
	const steps = 12
	for i := 1; i <= steps; i++ {
		d.do("xdotool", "mousemove", fmt.Sprint(x+(toX-x)*i/steps), fmt.Sprint(y+(toY-y)*i/steps), "sleep", "0.05")
	}
	d.do("xdotool", "mouseup", "1")
}

func (d *desktop) title(window string) string {
	out, _ := d.try("xdotool", "getwindowname", window) // a window that has gone has no name
	return out
}

// dialog gives the window in front of the main one, if there is one.
func (d *desktop) dialog() string {
	w, err := d.try("xdotool", "getactivewindow")
	if err != nil || w == d.window {
		return ""
	}
	return w
}

// titled brings the window with these words in its title to the front.
func (d *desktop) titled(words string) bool {
	out, _ := d.try("xdotool", "search", "--onlyvisible", "--name", words) // fails while there is none
	if out == "" {
		return false
	}
	w, _, _ := strings.Cut(out, "\n")
	_, err := d.try("xdotool", "windowactivate", "--sync", w)
	return err == nil
}

// asks calls Dolphin's main window over the bus, and gives what it answers.
func (d *desktop) asks(method string, args ...string) (string, error) {
	return d.try("dbus-send", append([]string{"--session", "--print-reply=literal", "--reply-timeout=60000", "--dest=" + d.service, "/dolphin/Dolphin_1", method}, args...)...)
}

// busy says whether the folder is still being listed: then there is something to stop.
func (d *desktop) busy() bool {
	out, err := d.asks("org.kde.KMainWindow.actionIsEnabled", "string:stop")
	return err != nil || !strings.Contains(out, "false")
}

// act does something in the window until it has its effect. A key that is pressed while a
// window comes up may go astray, as a person's does; then everything is closed and done
// again.
func (d *desktop) act(what string, done func() bool, steps func()) {
	d.t.Helper()
	for try := range 5 {
		if done() {
			return
		}
		if try > 0 {
			d.t.Logf("%s: once more", what)
			d.keys("Escape", "Escape")
			d.do("xdotool", "windowactivate", d.window)
		}
		steps()
		if comes(done) {
			return
		}
	}
	d.t.Fatalf("never: %s", what)
}

// comes waits for what a key brings about, as long as a person may before pressing it again.
func comes(done func() bool) bool {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return false
}

// answers writes into the dialog that comes up, and says whether one did.
func (d *desktop) answers(text string) bool {
	d.t.Helper()
	if !comes(func() bool { return d.dialog() != "" }) {
		return false
	}
	d.keys("ctrl+a")
	d.typed(text)
	d.keys("Return")
	return true
}

// open shows a place by its name typed into the location bar, and waits until all of it is
// listed.
func (d *desktop) open(place string) {
	d.t.Helper()
	url := place
	if strings.HasPrefix(place, "/") {
		url = "file://" + strings.NewReplacer("%", "%25", " ", "%20", "#", "%23", "?", "%3F").Replace(place)
	}
	here := func() bool {
		for _, u := range []string{url, url + "/"} {
			if out, err := d.asks("org.kde.dolphin.MainWindow.isUrlOpen", "string:"+u); err == nil && strings.Contains(out, "true") {
				return true
			}
		}
		return false
	}
	d.act("Dolphin shows "+place, here, func() {
		d.do("xdotool", "key", "--delay", "30", "ctrl+l", "ctrl+a", "type", "--delay", "4", "--args", "1", place, "key", "Return")
	})
	until(d.t, place+" is listed", func() bool { return !d.busy() })
}

// selects marks one name in the folder that is shown, by typing it.
func (d *desktop) selects(name string) {
	d.t.Helper()
	d.click(900, 900, 1)
	d.typed(name)
}
