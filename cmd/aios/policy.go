package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Ask the policy kernel, without doing anything"}
	c.AddCommand(policyCheck(), policyExplain(), policyLint(), policySign())
	return c
}

func policyCheck() *cobra.Command {
	var target, params []string
	c := &cobra.Command{Use: "check ACTION [--target KEY=VALUE]…", Short: "Would this action be allowed to me?",
		Long: "Asks by a simulation of the action: the whole way up to the adapter, and no effect.\n" +
			"Exit codes: 0 allowed, 3 denied, 4 somebody would have to approve.",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			doc, err := simulation(a[0], target, params)
			if err != nil {
				return err
			}
			t, err := findTree(c)
			if err != nil {
				return err
			}
			r, err := drop(t, goalName("policy check "+a[0]), doc)
			if err != nil {
				return err
			}
			state, err := settled(c, r)
			if err != nil {
				return err
			}
			if state == "APPROVAL_PENDING" {
				defer func() { _ = r.write("cancel", "1\n") }() // the question was only whether one is asked for
			}
			return showDecision(c, r)
		}}
	c.Flags().StringArrayVarP(&target, "target", "t", nil, "field of the target, such as path=notes/a.md")
	c.Flags().StringArrayVarP(&params, "param", "p", nil, "parameter, such as content=x")
	return c
}

// simulation writes the typed intent that asks the question.
func simulation(action string, target, params []string) (string, error) {
	fields := func(list []string) (map[string]string, error) {
		m := map[string]string{}
		for _, kv := range list {
			k, v, ok := strings.Cut(kv, "=")
			if !ok || k == "" {
				return nil, fail(exitUsage, "%q: want KEY=VALUE", kv)
			}
			m[k] = v
		}
		return m, nil
	}
	tm, err := fields(target)
	if err != nil {
		return "", err
	}
	pm, err := fields(params)
	if err != nil {
		return "", err
	}
	act := map[string]any{"id": "check", "action": action, "target": tm}
	if len(pm) > 0 {
		act["params"] = pm
	}
	b, err := json.Marshal(map[string]any{"schema": "aios.intent.v1alpha1", "reason": "policy check", "mode": "SIMULATE", "actions": []any{act}})
	return string(b), err
}

// settled waits until a run is over or waits for somebody.
func settled(c *cobra.Command, r run) (string, error) {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		s := r.state()
		if done, _ := final(s); done || s == "APPROVAL_PENDING" || s == "NEEDS_CLARIFICATION" {
			return s, nil
		}
		select {
		case <-c.Context().Done():
			return "", c.Context().Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return "", fail(exitFailed, "%s: no answer within 30 s", r.name)
}

// decision is one entry of decision.json.
type decision struct {
	Action   string   `json:"action"`
	Outcome  string   `json:"decision"`
	Code     string   `json:"reason_code"`
	Message  string   `json:"reason_message"`
	Rule     string   `json:"rule_id"`
	Bundle   string   `json:"bundle_version"`
	ID       string   `json:"policy_decision_id"`
	Also     []string `json:"also_matched"`
	Snapshot string   `json:"enrichment_snapshot_id"`
}

func readDecisions(r run) ([]decision, error) {
	text := r.read("decision.json")
	if text == "" {
		return nil, errors.New("no decision was taken; " + firstOf(errorText(r), "the state is "+r.state()))
	}
	var list []decision
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		var wrapped struct {
			Decisions []decision `json:"decisions"`
		}
		if err2 := json.Unmarshal([]byte(text), &wrapped); err2 != nil {
			return nil, fmt.Errorf("decision.json: %w", err)
		}
		list = wrapped.Decisions
	}
	return list, nil
}

func errorText(r run) string {
	var e runError
	if json.Unmarshal([]byte(r.read("error.json")), &e) == nil && e.Message != "" {
		return e.Code + ": " + e.Message
	}
	return ""
}

func showDecision(c *cobra.Command, r run) error {
	list, err := readDecisions(r)
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		if err := printJSON(c.OutOrStdout(), list); err != nil {
			return err
		}
	}
	code := 0
	for _, d := range list {
		if !wantsJSON(c) {
			fmt.Fprintf(c.OutOrStdout(), "%-16s %s  (%s, rule %s, bundle %s)\n", d.Outcome, d.Message, d.Code, firstOf(d.Rule, "none"), d.Bundle)
			for _, also := range d.Also {
				fmt.Fprintf(c.OutOrStdout(), "%-16s also: %s\n", "", also)
			}
		}
		switch d.Outcome {
		case "DENY":
			code = exitDenied
		case "REQUIRE_APPROVAL":
			if code == 0 {
				code = exitApproval
			}
		}
	}
	return codeOnly(code)
}

func policyExplain() *cobra.Command {
	return &cobra.Command{Use: "explain INTENT", Short: "Why an intent was allowed, denied, or sent for approval", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return withRun(c, a[0], func(c *cobra.Command, r run) error {
				err := showDecision(c, r)
				var e *exitError
				if errors.As(err, &e) && e.err == nil {
					return nil // the explanation was asked for, and given
				}
				return err
			})
		}}
}
