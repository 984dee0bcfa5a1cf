package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/ai-os-dot-net/aios/agents/adapter"
	"github.com/ai-os-dot-net/aios/agents/internal/confine"
	"github.com/ai-os-dot-net/aios/agents/internal/gitbox"
)

// Main must be the first call of the program's main: a confined child, and one that
// carries out an action for an adapter, is the same binary and starts here. adapters are
// those that such a child knows.
func Main(adapters ...adapter.Executor) {
	confine.Main()
	if len(os.Args) == 1 && os.Args[0] == hostName {
		os.Exit(host(adapters, os.Stdin, os.Stdout))
	}
}

// Scratch makes the directory in which confined programs work for one state directory,
// and removes what a crash left there.
func Scratch(state string) (string, error) { return gitbox.Base(state) }

// hostName is what a child that carries out one action calls itself.
const hostName = "aios-adapter"

// maxAnswer bounds what such a child may answer.
const maxAnswer = 16 << 20

// task is what a child is given, and all of it (S10.1 §6.2).
type task struct {
	Adapter string          `json:"adapter"`
	Request adapter.Request `json:"request"`
	Back    bool            `json:"rollback,omitempty"`
	Handle  map[string]any  `json:"rollback_handle,omitempty"`
}

// answer is what a child gives back.
type answer struct {
	Output    adapter.Output `json:"output"`
	Failed    string         `json:"failed,omitempty"`
	Code      string         `json:"code,omitempty"`
	Retryable bool           `json:"retryable,omitempty"`
}

// admit refuses an adapter that cannot be carried out where its manifest leads it.
func admit(a adapter.Adapter, m adapter.Manifest) error {
	if err := m.Check(); err != nil {
		return err
	}
	if _, stages := a.(adapter.Stager); stages && m.Stability != adapter.Retired && m.Place(false, false, false) != adapter.InProcess {
		return fmt.Errorf("adapter %s: what is staged into a transaction is carried out in process, and %s for %s is not", m.ID, m.Stability, m.Dispatch)
	}
	return nil
}

// inChild gives how an action is carried out in another process; nil where it is in this one.
func inChild(a *Action, m adapter.Manifest) func(context.Context, task) (adapter.Output, error) {
	switch adapter.Dispatch(a.Dispatch) {
	case adapter.Subprocess:
		return hosted
	case adapter.Isolated:
		return func(ctx context.Context, t task) (adapter.Output, error) { return isolated(ctx, t, m.Sandbox) }
	}
	return nil
}

// isolated carries out a task in a confined child that runs as the submitter.
func isolated(ctx context.Context, t task, box *adapter.Sandbox) (adapter.Output, error) {
	if box == nil {
		return adapter.Output{}, adapter.Fail(noBackend, "the adapter %s says nothing of a sandbox, and this action has to be carried out in one", t.Adapter)
	}
	in, err := json.Marshal(t)
	if err != nil {
		return adapter.Output{}, fmt.Errorf("encode the task: %w", err)
	}
	p := confine.Profile{ID: "prof_" + t.Adapter, HostProcesses: box.HostProcesses, Input: in, Limits: confine.Limits{Output: maxAnswer}}
	if os.Geteuid() == 0 {
		p.SetUser, p.UID, p.GID, p.Groups = true, t.Request.UID, t.Request.GID, t.Request.Groups
	}
	res, err := confine.RunAs(ctx, p, confine.Self, []string{hostName})
	switch {
	case ctx.Err() != nil:
		return adapter.Output{}, ctx.Err()
	case errors.Is(err, confine.ErrBackend):
		return adapter.Output{}, &adapter.Error{Code: noBackend, Err: err}
	case errors.Is(err, confine.ErrApply):
		return adapter.Output{}, &adapter.Error{Code: sandboxFailed, Err: err}
	case err != nil:
		return adapter.Output{}, err
	case res.ExitCode != 0:
		err = fmt.Errorf("exit status %d", res.ExitCode)
	}
	return t.answered(bytes.NewReader(res.Stdout), err, string(res.Stderr))
}

// answered reads what a child said; err is how it ended.
func (t task) answered(out io.Reader, err error, said string) (adapter.Output, error) {
	var x answer
	decoded := json.NewDecoder(out).Decode(&x)
	switch {
	case err != nil || decoded != nil:
		return adapter.Output{}, &adapter.Error{Code: crashed, Retryable: true, Err: fmt.Errorf("the process of adapter %s ended without an answer: %w: %s", t.Adapter, errors.Join(err, decoded), firstLine(said))}
	case x.Code != "":
		return x.Output, &adapter.Error{Code: x.Code, Retryable: x.Retryable, Err: errors.New(x.Failed)}
	case x.Failed != "":
		return x.Output, errors.New(x.Failed)
	}
	return x.Output, nil
}

// hosted carries out a task in a process of its own, with nothing of this one: no
// environment, no open file but the task and the answer. It ends with its time, and with
// the daemon.
func hosted(ctx context.Context, t task) (adapter.Output, error) {
	in, err := json.Marshal(t)
	if err != nil {
		return adapter.Output{}, fmt.Errorf("encode the task: %w", err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args, cmd.Env, cmd.Dir = []string{hostName}, []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return adapter.Output{}, err
	}
	if err := cmd.Start(); err != nil {
		return adapter.Output{}, fmt.Errorf("start a process for adapter %s: %w", t.Adapter, err)
	}
	b, readErr := io.ReadAll(io.LimitReader(out, maxAnswer))
	err = errors.Join(cmd.Wait(), readErr)
	if ctx.Err() != nil {
		return adapter.Output{}, ctx.Err()
	}
	return t.answered(bytes.NewReader(b), err, said.String())
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// host is such a child.
func host(adapters []adapter.Executor, in io.Reader, out io.Writer) int {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return 2
	}
	for _, a := range adapters {
		if a.Manifest().ID != t.Adapter {
			continue
		}
		var x answer
		var err error
		if t.Back {
			err = a.Rollback(context.Background(), t.Request, t.Handle)
		} else {
			x.Output, err = a.Execute(context.Background(), t.Request)
		}
		var e *adapter.Error
		if errors.As(err, &e) {
			x.Code, x.Retryable = e.Code, e.Retryable
		}
		if err != nil {
			x.Failed = err.Error()
		}
		if json.NewEncoder(out).Encode(x) != nil {
			return 2
		}
		return 0
	}
	fmt.Fprintf(os.Stderr, "there is no adapter %s here\n", t.Adapter)
	return 2
}
