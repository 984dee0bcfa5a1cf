package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// answered gives what a command line answers.
func answered(t *testing.T, args ...string) (code int, message string) {
	t.Helper()
	root := rootCommand()
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0, ""
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code, err.Error()
	}
	return exitFailed, err.Error()
}

// A wrong command line is answered in one line that says what is wrong, with exit code 2;
// never by a help text and success.
func TestWrongCommandLinesSayWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		"bogus":                     `no command "bogus" (see`,
		"statu":                     "did you mean status?",
		"intent bogus x":            `no command "intent bogus"`,
		"intent shwo":               "did you mean show?",
		"agent remove x":            `no command "agent remove"`,
		"policy test":               `no command "policy test"`,
		"snapshot delete x":         `no command "snapshot delete"`,
		"completion tcsh":           `no command "completion tcsh"`,
		"help bogus":                `no command "bogus"`,
		"help intent bogus":         `no command "intent bogus"`,
		"inbox x":                   `"x" is an argument too many`,
		"intent show":               "an argument is missing (usage: aios intent show ID",
		"intent show a b":           `"b" is an argument too many`,
		"diff a b c":                `"c" is an argument too many`,
		"goal":                      "an argument is missing (usage: aios goal",
		"umount":                    "an argument is missing",
		"log -n x":                  `"x" for "-n, --last" flag: a number is wanted`,
		"log --bogus":               "unknown flag: --bogus",
		"agent add x":               "the flag --uid is missing",
		"agent add x --uid abc":     "a number is wanted",
		"goal --dry-run bogus word": "validate or simulate",
	} {
		code, msg := answered(t, strings.Fields(line)...)
		if code != exitUsage || strings.Contains(msg, "\n") || strings.Contains(msg, "strconv") || !strings.Contains(msg, want) {
			t.Errorf("aios %s: %d %q, want %q", line, code, msg, want)
		}
	}
	for _, line := range []string{"", "help", "help intent", "help intent show", "intent", "intent --help"} {
		if code, msg := answered(t, strings.Fields(line)...); code != 0 {
			t.Errorf("aios %s: %d %q", line, code, msg)
		}
	}
}

// Every command tells what it is for.
func TestEveryCommandHasHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		args := append(strings.Fields(strings.TrimPrefix(c.CommandPath(), "aios")), "--help")
		if code, msg := answered(t, args...); code != 0 || c.Short == "" {
			t.Errorf("aios %s: %d %q, %q", strings.Join(args, " "), code, msg, c.Short)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(rootCommand())
}

// A command that works on a state directory makes none: a slip in its name is no empty
// store with nothing wrong in it.
func TestMaintenanceMakesNoState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "slip")
	for _, line := range []string{"fsck", "gc", "reindex", "policy sign", "backup " + state + ".copy", "verify"} {
		code, msg := answered(t, append(strings.Fields(line), "--state", state)...)
		if code != exitUsage || !strings.Contains(msg, state) {
			t.Errorf("aios %s: %d %q", line, code, msg)
		}
		if _, err := os.Stat(state); !os.IsNotExist(err) {
			t.Fatalf("aios %s made a state directory (%v)", line, err)
		}
	}
}
