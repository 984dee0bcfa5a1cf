package mnttests

import (
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// roleVar names what the test binary shall be when it is started again as a helper: a
// process that maps files, that acts under another uid, that serves a filesystem.
const roleVar = "AIOS_TEST_ROLE"

// roles are the helpers. Each serves requests from in until it ends.
var roles = map[string]func(in io.Reader, out io.Writer) error{
	"mapper": serveMaps,
	"caller": serveCalls,
	"power":  servePower,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		if err := roles[role](os.Stdin, os.Stdout); err != nil && err != io.EOF {
			fmt.Fprintln(os.Stderr, role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(onAnyMachine(m))
}

// helper is this test binary running as something else. Requests and answers are gob
// values, one of each in turn.
type helper struct {
	cmd *exec.Cmd
	enc *gob.Encoder
	dec *gob.Decoder
	in  io.Closer
}

// startHelper starts a role; attr may make it another user.
func startHelper(t *testing.T, role string, attr *syscall.SysProcAttr, env ...string) *helper {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // another user cannot walk to the binary's path
	cmd.Env = append(append(os.Environ(), roleVar+"="+role), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd, gob.NewEncoder(in), gob.NewDecoder(out), in}
	t.Cleanup(h.stop)
	return h
}

func (h *helper) stop() {
	if h.cmd == nil {
		return
	}
	_ = h.in.Close()
	_ = h.cmd.Wait() // it ends at the end of its input; how is of no interest
	h.cmd = nil
}

// ask sends a request and waits for its answer.
func (h *helper) ask(req, ans any) error {
	if err := h.enc.Encode(req); err != nil {
		return fmt.Errorf("helper: %w", err)
	}
	if err := h.dec.Decode(ans); err != nil {
		return fmt.Errorf("helper: %w", err)
	}
	return nil
}
