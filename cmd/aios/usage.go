package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// usageArgs says of wrong arguments which is missing or too many, and what would be right.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		wrong := "an argument is missing"
		for n := len(args) - 1; n >= 0; n-- {
			if check(c, args[:n]) == nil {
				wrong = fmt.Sprintf("%q is an argument too many", args[n])
				break
			}
		}
		return fail(exitUsage, "%s: %s (usage: %s)", c.CommandPath(), wrong, c.UseLine())
	}
}

// flagError is what a wrong flag answers, without the words of the parser's insides.
func flagError(c *cobra.Command, err error) error {
	var num *strconv.NumError
	msg := err.Error()
	if errors.As(err, &num) {
		msg = strings.TrimSuffix(msg, num.Error()) + "a number is wanted"
	}
	return fail(exitUsage, "%s (see `%s --help`)", msg, c.CommandPath())
}

// noSuch refuses a word that is no command of c.
func noSuch(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if c.SuggestionsMinimumDistance = 2; !c.DisableSuggestions {
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, ", ") + "?"
		}
	}
	return fail(exitUsage, "there is no command %q%s (see `%s --help`)", strings.TrimPrefix(c.CommandPath()+" "+args[0], "aios "), hint, c.CommandPath())
}

// strict makes the commands that only hold others, at any depth, refuse what is none of
// them: cobra shows its help instead, as if all were well.
func strict(root *cobra.Command) {
	for _, c := range root.Commands() {
		strict(c)
	}
	if root.HasSubCommands() && root.Run == nil && root.RunE == nil {
		root.Args = noSuch
		root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
}

// helpCommand is `aios help [COMMAND…]`.
func helpCommand() *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND…]", Short: "What a command does, and with which flags",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if at, rest, err := c.Root().Find(args); err == nil && len(rest) == 0 {
				for _, sub := range at.Commands() {
					if sub.IsAvailableCommand() {
						names = append(names, sub.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			at, rest, err := c.Root().Find(args)
			if at == nil || err != nil || len(rest) > 0 {
				return noSuch(c.Root(), []string{strings.Join(args, " ")})
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		}}
}

// holdsState refuses a directory that is no state directory: of a name with a slip in it a
// command would make an empty store, and find nothing wrong with that.
func holdsState(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "VERSION")); err != nil {
		return fail(exitUsage, "%s is no state directory of AIOS, --state names one: %w", dir, err)
	}
	return nil
}
