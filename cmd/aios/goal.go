package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func goalCommand() *cobra.Command {
	var wait bool
	var dry, name string
	c := &cobra.Command{
		Use:   "goal [--wait] [--dry-run validate|simulate] TEXT…",
		Short: "Say what you want; follow it until it is done",
		Long: "Drops the text (or standard input, for `-`) as a goal into intents/ and follows it: the plan, the question\n" +
			"or the approval that it waits for, and the result. Exit codes: 0 done, 1 failed, 3 denied by policy, 4 waits for approval.",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			text := strings.Join(args, " ")
			if text == "-" {
				b, err := io.ReadAll(c.InOrStdin())
				if err != nil {
					return err
				}
				text = string(b)
			}
			switch dry {
			case "":
			case "simulate", "validate":
				text = dry + ": " + text
			default:
				return fail(exitUsage, "--dry-run takes validate or simulate, not %q", dry)
			}
			t, err := findTree(c)
			if err != nil {
				return err
			}
			if name == "" {
				name = goalName(text)
			}
			r, err := drop(t, name, text)
			if err != nil {
				return err
			}
			return followGoal(c, r, wait)
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "keep waiting while somebody else has to approve")
	c.Flags().StringVar(&dry, "dry-run", "", "validate: only check; simulate: say what would happen")
	c.Flags().StringVar(&name, "name", "", "name of the file in intents/ (default: made from the text)")
	return c
}

// goalName makes a file name that a person recognises and no other goal has.
func goalName(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 24 {
			break
		}
	}
	var tail [3]byte
	_, _ = rand.Read(tail[:]) // crypto/rand.Read never fails
	return fmt.Sprintf("%s-%x", strings.Trim(b.String(), "-"), tail)
}

// drop writes the document under a name of its own and hands it in by rename: one
// step for the other side, and a refusal comes back from the call itself.
func drop(t tree, name, text string) (run, error) {
	r := run{t, name, t.path("intents", name+".d")}
	tmp := t.path("intents", "."+name+".part")
	if _, err := os.Stat(t.path("intents")); errors.Is(err, fs.ErrNotExist) {
		return r, fail(exitFailed, "%s is mounted for recovery: it takes no goals", t.root)
	}
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return r, reach(err)
	}
	if err := os.Rename(tmp, t.path("intents", name)); err != nil {
		_ = os.Remove(tmp) // the refusal is what counts
		switch {
		case errors.Is(err, syscall.EBUSY):
			return r, fail(exitFailed, "an intent called %q is still running (`aios intent show %s`)", name, name)
		case errors.Is(err, syscall.EAGAIN):
			return r, fail(exitFailed, "too many goals at once; try again in a moment")
		case errors.Is(err, syscall.EINVAL):
			return r, fail(exitFailed, "%w", r.explain(errors.New("refused")))
		}
		return r, r.explain(reach(err))
	}
	return r, nil
}

// followGoal prints what happens to a run and answers with its exit code.
func followGoal(c *cobra.Command, r run, wait bool) error {
	ctx, out := c.Context(), c.OutOrStdout()
	quiet := wantsJSON(c)
	if !quiet {
		fmt.Fprintf(out, "goal       %s\n", filepath.Join(r.t.root, "intents", r.name))
	}
	shown := ""
	for {
		paused := ""
		err := r.follow(ctx, func(e event) bool {
			if e.State != "" && e.State != shown && !quiet {
				fmt.Fprintf(out, "%-10s %s\n", strings.ToLower(shorten(e.State)), e.Detail)
				shown = e.State
			}
			if e.State == "NEEDS_CLARIFICATION" || e.State == "APPROVAL_PENDING" && !wait {
				// An older line of the log may say so; what counts is the state now.
				if r.state() == e.State {
					paused = e.State
					return true
				}
			}
			return false
		})
		if err != nil {
			return err
		}
		switch paused {
		case "NEEDS_CLARIFICATION":
			if answered, err := askQuestion(c, r); err != nil {
				return err
			} else if answered {
				continue
			}
			return &exitError{code: exitApproval}
		case "APPROVAL_PENDING":
			return askApproval(c, r, false)
		}
		return showOutcome(c, r)
	}
}

func shorten(state string) string {
	switch state {
	case "NEEDS_CLARIFICATION":
		return "question"
	case "APPROVAL_PENDING":
		return "approval"
	case "POLICY_DENIED":
		return "denied"
	case "ROLLED_BACK":
		return "undone"
	case "ROLLBACK_FAILED":
		return "stuck"
	}
	return state
}

func interactive(c *cobra.Command) bool {
	f, ok := c.InOrStdin().(*os.File)
	if !ok || wantsJSON(c) {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS) // /dev/null is a device, too
	return err == nil
}

func askLine(c *cobra.Command, prompt string) (string, error) {
	fmt.Fprint(c.OutOrStdout(), prompt)
	line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	return strings.TrimSpace(line), err
}

func askQuestion(c *cobra.Command, r run) (answered bool, err error) {
	fmt.Fprintln(c.OutOrStdout(), r.read("question"))
	if !interactive(c) {
		fmt.Fprintf(c.OutOrStdout(), "answer it with:  echo '…' > %s\n", filepath.Join(r.dir, "answer"))
		return false, nil
	}
	line, err := askLine(c, "answer: ")
	if err != nil || line == "" {
		return false, err
	}
	return true, r.write("answer", line+"\n")
}

// askApproval shows what has to be approved. On a terminal the caller may decide;
// whether he is allowed to is the policy kernel's word, not ours.
func askApproval(c *cobra.Command, r run, mayDecide bool) error {
	out := c.OutOrStdout()
	fmt.Fprintln(out, r.read("approval"))
	if mayDecide && interactive(c) {
		line, err := askLine(c, "grant it? [y/N] ")
		if err != nil {
			return err
		}
		if strings.EqualFold(line, "y") || strings.EqualFold(line, "yes") {
			return grant(c, r)
		}
	}
	fmt.Fprintf(out, "waits for a person, who finds it in `aios inbox`; `aios intent approve %s` grants it\n", approvalName(r))
	return &exitError{code: exitApproval}
}

func approvalName(r run) string {
	for line := range strings.Lines(r.read("approval")) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "id: "); ok {
			return id
		}
	}
	return r.name
}

// showOutcome prints the result of a run that is over.
func showOutcome(c *cobra.Command, r run) error {
	state := r.state()
	done, code := final(state)
	if !done {
		return fail(exitFailed, "%s: the events ended while the state is %s", r.name, state)
	}
	if wantsJSON(c) {
		v := map[string]any{"name": r.name, "state": state, "dir": r.dir}
		for _, f := range []string{"result", "error", "decision", "verification"} {
			if text := r.read(f + ".json"); text != "" {
				v[f] = json.RawMessage(text)
			}
		}
		if err := printJSON(c.OutOrStdout(), v); err != nil {
			return err
		}
		return codeOnly(code)
	}
	var res struct {
		Summary string `json:"summary"`
	}
	if json.Unmarshal([]byte(r.read("result.json")), &res) == nil && res.Summary != "" {
		fmt.Fprintf(c.OutOrStdout(), "%-10s %s\n", "result", res.Summary)
	}
	if code != 0 {
		var e runError
		if json.Unmarshal([]byte(r.read("error.json")), &e) == nil && e.Message != "" {
			return &exitError{code, fmt.Errorf("%s: %s", e.Code, e.Message)}
		}
	}
	return codeOnly(code)
}

func codeOnly(code int) error {
	if code == 0 {
		return nil
	}
	return &exitError{code: code}
}

// waitState polls nothing: it reads `wait`, which blocks in the daemon.
func waitState(ctx context.Context, r run, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.follow(ctx, func(event) bool { return false })
	return r.state(), err
}
