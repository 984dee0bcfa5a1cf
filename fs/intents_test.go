package fs

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// memIntents takes documents and ends their runs at once when they say so: a
// small runtime of the interface's own terms, so that the drop box is tried
// without the one of agents.
type memIntents struct {
	t    testing.TB
	mu   sync.Mutex
	runs []*memRun
}

type memRun struct {
	RunInfo
	subject string
	doc     []byte
	state   string
	done    chan struct{}
	wrote   []string
}

func (m *memIntents) Submit(_ context.Context, c Caller, name string, doc []byte) error {
	if bytes.Contains(doc, []byte("bad")) {
		return &IntentError{Code: "EnvelopeValidationFailed", Message: "no such field", Line: 2, Column: 3}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.find(c, name); r != nil {
		if r.state == "EXECUTING" {
			return ErrBusy
		}
		r.Name = "\x00done"
	}
	r := &memRun{RunInfo: RunInfo{Name: name, ID: time.Now().String(), Accepted: time.Now(), DocSize: int64(len(doc))}, subject: c.Subject.ID, doc: doc, state: "EXECUTING", done: make(chan struct{})}
	if bytes.Contains(doc, []byte("now")) {
		r.state = "SUCCEEDED"
		close(r.done)
	}
	m.runs = append(m.runs, r)
	return nil
}

func (m *memIntents) find(c Caller, name string) *memRun {
	for _, r := range m.runs {
		if r.subject == c.Subject.ID && r.Name == name {
			return r
		}
	}
	return nil
}

func (m *memIntents) docs(subject string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ds []string
	for _, r := range m.runs {
		if r.subject == subject {
			ds = append(ds, r.Name+"="+string(r.doc))
		}
	}
	return ds
}

func (m *memIntents) Find(c Caller, name string) (RunInfo, bool) {
	for _, r := range m.Runs(c) {
		if r.Name == name {
			return r, true
		}
	}
	return RunInfo{}, false
}

func (m *memIntents) Runs(c Caller) []RunInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rs []RunInfo
	for _, r := range m.runs {
		if r.subject == c.Subject.ID && r.Name != "\x00done" {
			rs = append(rs, r.RunInfo)
		}
	}
	return rs
}
func (m *memIntents) Done(Caller) []string { return nil }
func (m *memIntents) List(c Caller, run, dir string) ([]FileInfo, error) {
	st, err := m.Stat(c, run, "state")
	cancel, _ := m.Stat(c, run, "cancel")
	return []FileInfo{st, cancel}, err
}
func (m *memIntents) Stat(c Caller, run, file string) (FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(c, run)
	if r == nil {
		return FileInfo{}, ErrNotFound
	}
	switch file {
	case "state":
		return FileInfo{Name: file, Mode: syscall.S_IFREG | 0o400, Size: int64(len(r.state) + 1), ModTime: r.Accepted, Listed: true}, nil
	case "wait":
		return FileInfo{Name: file, Mode: syscall.S_IFREG | 0o400, ModTime: r.Accepted, Blocking: true}, nil
	case "cancel":
		return FileInfo{Name: file, Mode: syscall.S_IFREG | 0o200, ModTime: r.Accepted, Listed: true, Writable: true}, nil
	}
	return FileInfo{}, ErrNotFound
}
func (m *memIntents) Read(c Caller, run, file string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.find(c, run); r != nil {
		return []byte(r.state + "\n"), nil
	}
	return nil, ErrNotFound
}

type waiting struct {
	ctx  context.Context
	r    *memRun
	text io.Reader
}

func (w *waiting) Read(p []byte) (int, error) {
	if w.text == nil {
		select {
		case <-w.r.done:
			w.text = strings.NewReader(w.r.state + "\n")
		case <-w.ctx.Done():
			return 0, w.ctx.Err()
		}
	}
	return w.text.Read(p)
}
func (w *waiting) Close() error { return nil }

func (m *memIntents) Stream(ctx context.Context, c Caller, run, file string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.find(c, run); r != nil {
		return &waiting{ctx: ctx, r: r}, nil
	}
	return nil, ErrNotFound
}
func (m *memIntents) Write(_ context.Context, c Caller, run, file string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(c, run)
	if r == nil {
		return ErrNotFound
	}
	if strings.TrimSpace(string(data)) != "1" {
		return ErrInvalid
	}
	r.wrote = append(r.wrote, file)
	if r.state == "EXECUTING" {
		r.state = "FAILED"
		close(r.done)
	}
	return nil
}
func (m *memIntents) Document(c Caller, run string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.find(c, run); r != nil {
		return r.doc, nil
	}
	return nil, ErrNotFound
}

func TestDropBox(t *testing.T) {
	in := &memIntents{t: t}
	r := newRig(t, func(o *Options) { o.Intents = in })
	const who = "family:alice"
	as := func(script string) (string, error) { return r.as(aliceUID, aliceUID, "cd $MNT/intents && "+script) }
	for _, c := range []struct{ name, script, want string }{
		{"one redirection", `echo one > w1`, "w1=one\n"},
		{"cp", `echo two > /tmp/.aios-two-$$ && cp /tmp/.aios-two-$$ w2; rm /tmp/.aios-two-$$`, "w2=two\n"},
		{"several processes", `(echo a; sleep 0.1; echo b) > w3`, "w3=a\nb\n"},
		{"several writes of one shell", `exec 3> w4; echo a >&3; echo b >&3; exec 3>&-`, "w4=a\nb\n"},
		{"cat of two", `(echo a | cat; echo b | cat) > w5`, "w5=a\nb\n"},
		{"rename of a temporary", `echo d > .w6.swp && mv .w6.swp w6`, "w6=d\n"},
		{"KDE", `echo e > w7.part && mv -n w7.part w7`, "w7=e\n"},
		{"append", `echo f > .w8; echo g >> .w8; mv .w8 w8`, "w8=f\ng\n"},
		{"from outside", `echo h > /tmp/.aios-h-$$ && mv /tmp/.aios-h-$$ w9`, "w9=h\n"},
		{"dd with fsync", `echo i | dd of=w10 conv=fsync 2>/dev/null`, "w10=i\n"},
	} {
		if out, err := as(c.script); err != nil {
			t.Errorf("%s: %v %s", c.name, err, out)
		}
		name, _, _ := strings.Cut(c.want, "=")
		r.wait(func() bool {
			for _, d := range in.docs(who) {
				if strings.HasPrefix(d, name+"=") {
					return true
				}
			}
			return false
		})
		n := 0
		for _, d := range in.docs(who) {
			if strings.HasPrefix(d, name+"=") {
				n++
				if d != c.want {
					t.Errorf("%s: submitted %q, want %q", c.name, d, c.want)
				}
			}
		}
		if n != 1 {
			t.Errorf("%s: submitted %d times", c.name, n)
		}
	}
	n := len(in.docs(who))
	for _, tmp := range []string{".x", "x~", "x.swp", "x.part", "4913", ".y.kate-swp", ".goutputstream-ABC"} {
		if out, err := as("echo t > '" + tmp + "' && cat '" + tmp + "' && rm '" + tmp + "'"); err != nil || out != "t" {
			t.Errorf("%s: %v %q", tmp, err, out)
		}
	}
	if m := len(in.docs(who)); m != n {
		t.Errorf("temporary names were submitted: %v", in.docs(who)[n:])
	}
	// Accepted: readable, immutable, and what file managers send does nothing.
	if out, err := as("cat w1 && chmod 600 w1 && touch w1 && cat w1.d/state"); err != nil || out != "one\nEXECUTING" {
		t.Errorf("accepted: %v %q", err, out)
	}
	for script, want := range map[string]string{
		"rm w1": "not permitted", "echo x >> w1": "busy", "echo x > w1": "busy", "mv w1 w99": "not permitted", "echo x > .n && mv .n w1": "busy",
		"echo x > y.d": "not permitted", "mkdir dir": "not permitted", "echo x > w1.d/state": "denied", "/bin/echo x > w1.d/cancel": "Invalid",
	} {
		if out, err := as(script); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v %q, want %q", script, err, out, want)
		}
	}
	// Other people see nothing of it.
	if out, err := r.as(bobUID, bobUID, "ls -A $MNT/intents; cat $MNT/intents/w1"); err == nil || strings.Contains(out, "one") || strings.Contains(out, "w2") {
		t.Errorf("a stranger sees %q", out)
	}
	// It can be used again once the run has ended.
	if out, err := as("echo 1 > w1.d/cancel && cat w1.d/wait && echo again > w1 && cat w1"); err != nil || out != "FAILED\nagain" {
		t.Errorf("again: %v %q", err, out)
	}
}

func TestMalformedDocument(t *testing.T) {
	in := &memIntents{t: t}
	r := newRig(t, func(o *Options) { o.Intents = in })
	dir := r.mnt + "/intents/"
	wantErrno(t, "close by the writer", os.WriteFile(dir+"c", []byte("bad"), 0o644), syscall.EINVAL)
	f, err := os.Create(dir + "f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("bad"); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, "fsync", f.Sync(), syscall.EINVAL)
	if err := f.Close(); err != nil {
		t.Errorf("close after fsync said it: %v", err)
	}
	put(t, dir+".r", "bad")
	wantErrno(t, "rename", os.Rename(dir+".r", dir+"r"), syscall.EINVAL)
	for _, n := range []string{"c", "f", "r"} {
		if s := get(t, dir+n+".d/error.json"); !strings.Contains(s, "EnvelopeValidationFailed") || !strings.Contains(s, `"line": 2`) {
			t.Errorf("%s.d/error.json: %s", n, s)
		}
	}
	put(t, dir+"c", "good now")
	if s := get(t, dir+"c.d/state"); s != "SUCCEEDED\n" {
		t.Errorf("corrected: %q", s)
	}
	if len(in.docs("local:root")) != 1 {
		t.Errorf("submitted %q", in.docs("local:root"))
	}
}

func TestWaitIsInterruptible(t *testing.T) {
	in := &memIntents{t: t}
	r := newRig(t, func(o *Options) { o.Intents = in })
	put(t, r.mnt+"/intents/w", "run")
	if _, err := exec.LookPath("timeout"); err != nil {
		t.Skip("timeout(1) is missing")
	}
	start := time.Now()
	out, err := r.as(0, 0, `timeout 0.3 cat $MNT/intents/w.d/wait; echo $?`)
	if err != nil || out != "124" || time.Since(start) > time.Minute {
		t.Errorf("timeout gave %q after %v: %v", out, time.Since(start), err)
	}
	if out := r.ok(0, 0, `ls $MNT/intents/w.d`); out != "cancel\nstate" {
		t.Errorf("listed: %q", out)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = os.WriteFile(r.mnt+"/intents/w.d/cancel", []byte("1\n"), 0o200)
	}()
	if got := get(t, r.mnt+"/intents/w.d/wait"); got != "FAILED\n" {
		t.Errorf("wait gave %q", got)
	}
}

func (m *memIntents) Inbox(Caller) []RunInfo { return nil }

func (m *memIntents) GroupInbox(Caller, string) []RunInfo { return nil }
