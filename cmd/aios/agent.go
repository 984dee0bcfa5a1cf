package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func agentCommand() *cobra.Command {
	c := &cobra.Command{Use: "agent", Short: "AI subjects: they propose, people approve"}
	c.AddCommand(agentAdd(), agentList())
	return c
}

func agentAdd() *cobra.Command {
	var uid int
	var group string
	c := &cobra.Command{Use: "add NAME --uid UID", Short: "Register an AI subject that is bound to a uid of its own", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			if !c.Flags().Changed("uid") {
				return fail(exitUsage, "%s: the flag --uid is missing (usage: %s)", c.CommandPath(), c.UseLine())
			}
			t, err := findTree(c)
			if err != nil {
				return err
			}
			doc := fmt.Sprintf("schema: aios.intent.v1alpha1\nreason: register the agent %s\nactions:\n  - id: register\n    action: agent.register\n    target: {agent: %q}\n    params: {group: %q, uid: %d}\n", a[0], a[0], group, uid)
			r, err := drop(t, goalName("agent add "+a[0]), doc)
			if err != nil {
				return err
			}
			return followGoal(c, r, true)
		}}
	c.Flags().IntVar(&uid, "uid", 0, "the uid that speaks for the agent, and for nobody else")
	c.Flags().StringVar(&group, "group", "local", "the group that it belongs to")
	return c
}

func agentList() *cobra.Command {
	return &cobra.Command{Use: "ls", Short: "The agents that I may see", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := findTree(c)
			if err != nil {
				return err
			}
			entries, err := os.ReadDir(t.path("agents"))
			if err != nil {
				return reach(err)
			}
			names := []string{}
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if wantsJSON(c) {
				return printJSON(c.OutOrStdout(), names)
			}
			if len(names) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "no agents")
				return nil
			}
			fmt.Fprintln(c.OutOrStdout(), strings.Join(names, "\n"))
			return nil
		}}
}
