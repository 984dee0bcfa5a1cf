// Command aios is the whole of AIOS in one binary: the daemon behind the mount and
// the commands that speak to a mounted tree through its files (contract §1).
//
// One file holds one command. daemon.go wires the packages together; nothing else
// here knows more than one of them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ai-os-dot-net/aios/agents"
	"github.com/ai-os-dot-net/aios/agents/adapter/process"
)

// version is set when the binary is linked.
var version = "unknown"

// Exit codes, frozen: scripts hold on to them (contract §1).
const (
	exitFailed      = 1
	exitUsage       = 2
	exitDenied      = 3
	exitApproval    = 4
	exitUnreachable = 5
)

// exitError carries the exit code that a failure answers with. An empty message
// means that the command has said everything already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func fail(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

func main() {
	agents.Main(process.Adapter{})
	syscall.Umask(0o022)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	if name := filepath.Base(os.Args[0]); name == "mount.aios" || name == "mount.fuse.aios" {
		translated, err := mountHelperArgs(args)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(exitUsage)
		}
		args = translated
	}
	root := rootCommand()
	root.SetArgs(args)
	os.Exit(report(root.ExecuteContext(ctx)))
}

// report prints the error once, in one line, and gives the exit code.
func report(err error) int {
	if err == nil {
		return 0
	}
	var e *exitError
	if errors.As(err, &e) {
		if e.err != nil {
			fmt.Fprintln(os.Stderr, "aios:", e.err)
		}
		return e.code
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; a goal that was dropped goes on (see `aios intent ls`)")
	}
	fmt.Fprintln(os.Stderr, "aios:", err)
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "aios",
		Short:         "Operate a Linux machine by goals: files in, verified changes out",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().String("mount", "", "where AIOS is mounted (default: AIOS_MOUNT, or the one that is mounted)")
	root.PersistentFlags().Bool("json", false, "print data as JSON")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.AddCommand(
		mountCommand(), umountCommand(), goalCommand(), intentCommand(), inboxCommand(),
		logCommand(), verifyCommand(), fsckCommand(), gcCommand(), reindexCommand(), policyCommand(), agentCommand(), findCommand(),
		historyCommand(), diffCommand(), restoreVersionCommand(), restoreCommand(), backupCommand(), snapshotCommand(), statusCommand(), doctorCommand(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

func wantsJSON(c *cobra.Command) bool {
	v, _ := c.Flags().GetBool("json")
	return v
}
