package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func intentCommand() *cobra.Command {
	c := &cobra.Command{Use: "intent", Short: "List, show, approve, deny, cancel or roll back intents"}
	c.AddCommand(intentList(), intentShow(),
		&cobra.Command{Use: "approve ID", Short: "Grant what an intent asks for, bound to exactly what it shows",
			Args: usageArgs(cobra.ExactArgs(1)), RunE: func(c *cobra.Command, a []string) error { return withRun(c, a[0], grant) }},
		intentDeny(), intentControl("cancel", "Stop an intent that is not done"), intentControl("rollback", "Undo what an intent did"))
	return c
}

func withRun(c *cobra.Command, name string, fn func(*cobra.Command, run) error) error {
	t, err := findTree(c)
	if err != nil {
		return err
	}
	r, err := openRun(t, name)
	if err != nil {
		return err
	}
	return fn(c, r)
}

var approvalHash = regexp.MustCompile(`(?m)^hash:?\s+([0-9a-f]{32,64})\s*$`)

// grant reads what is asked, shows it, and writes back the hash that it read: if
// the request changes in between, the daemon refuses the stale hash.
func grant(c *cobra.Command, r run) error {
	text := r.read("approval")
	if text == "" {
		return fail(exitFailed, "%s does not wait for an approval; its state is %s", r.name, r.state())
	}
	m := approvalHash.FindStringSubmatch(text)
	if m == nil {
		return fail(exitFailed, "%s: the approval file names no hash", r.name)
	}
	if !wantsJSON(c) {
		fmt.Fprintln(c.OutOrStdout(), text)
	}
	if err := r.write("approval", "grant "+m[1]+"\n"); err != nil {
		var e *exitError
		if errors.As(err, &e) && e.code == exitDenied {
			return fail(exitDenied, "%s: not yours to approve; what you asked for yourself takes another person, unless single_operator is true (%w)", r.name, err)
		}
		return err
	}
	state, err := waitState(c.Context(), r, 10*time.Second)
	if err != nil && state == "" {
		return err
	}
	if wantsJSON(c) {
		return printJSON(c.OutOrStdout(), map[string]string{"name": r.name, "state": state, "granted": m[1]})
	}
	fmt.Fprintf(c.OutOrStdout(), "granted; the intent is now %s\n", state)
	return nil
}

func intentDeny() *cobra.Command {
	return &cobra.Command{Use: "deny ID [REASON…]", Short: "Refuse what an intent asks for", Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return withRun(c, a[0], func(c *cobra.Command, r run) error {
				reason := strings.Join(a[1:], " ")
				if reason == "" {
					reason = "no reason given"
				}
				if err := r.write("approval", "deny "+reason+"\n"); err != nil {
					return err
				}
				fmt.Fprintln(c.OutOrStdout(), "denied")
				return nil
			})
		}}
}

func intentControl(file, short string) *cobra.Command {
	return &cobra.Command{Use: file + " ID", Short: short, Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return withRun(c, a[0], func(c *cobra.Command, r run) error {
				if err := r.write(file, "1\n"); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: state %s\n", r.name, r.state())
				return nil
			})
		}}
}

// summary is one row of `aios intent ls` and `aios inbox`.
type summary struct {
	ID    string    `json:"id"`
	Name  string    `json:"name"`
	State string    `json:"state"`
	Since time.Time `json:"since"`
	Goal  string    `json:"goal"`
	Dir   string    `json:"dir"`
}

func summarise(r run, docPath string) summary {
	s := summary{ID: approvalName(r), Name: r.name, State: r.state(), Dir: r.dir}
	if info, err := os.Stat(filepath.Join(r.dir, "state")); err == nil {
		s.Since = info.ModTime()
	}
	var envelopes []struct {
		Request struct {
			Reason string `json:"reason"`
		} `json:"request"`
	}
	if json.Unmarshal([]byte(r.read("intent.json")), &envelopes) == nil && len(envelopes) > 0 {
		s.Goal = envelopes[0].Request.Reason
	}
	if s.Goal == "" { // what is asked of an approver names who asks for what, and why
		asked := map[string]string{}
		for line := range strings.Lines(r.read("approval")) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
				asked[k] = v
			} else if strings.Contains(line, " asks for ") {
				asked["who"] = strings.TrimSpace(line)
			}
		}
		if s.Goal = asked["who"]; asked["reason"] != "" {
			s.Goal += ": " + asked["reason"]
		}
	}
	if s.Goal == "" && docPath != "" {
		if b, err := os.ReadFile(docPath); err == nil {
			s.Goal, _, _ = strings.Cut(string(b), "\n")
		}
	}
	if s.Goal == "" { // one's own, which is asked back
		s.Goal, _, _ = strings.Cut(r.read("question"), "\n")
	}
	return s
}

func runsIn(t tree, dir string) ([]summary, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, reach(err)
	}
	var list []summary
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		// The inbox holds links to the runs of others.
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err != nil || !info.IsDir() {
			continue
		}
		name := strings.TrimSuffix(e.Name(), ".d")
		list = append(list, summarise(run{t, name, filepath.Join(dir, e.Name())}, filepath.Join(dir, name)))
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Since.Before(list[j].Since) })
	return list, nil
}

func printSummaries(c *cobra.Command, list []summary, nothing string) error {
	if wantsJSON(c) {
		if list == nil {
			list = []summary{}
		}
		return printJSON(c.OutOrStdout(), list)
	}
	if len(list) == 0 {
		fmt.Fprintln(c.OutOrStdout(), nothing)
		return nil
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tSINCE\tGOAL")
	for _, s := range list {
		goal := []rune(s.Goal)
		if len(goal) > 60 {
			goal = append(goal[:59], '…')
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, s.State, s.Since.Format("Jan _2 15:04:05"), string(goal))
	}
	return w.Flush()
}

func intentList() *cobra.Command {
	return &cobra.Command{Use: "ls", Short: "My intents that are not put away yet", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := findTree(c)
			if err != nil {
				return err
			}
			list, err := runsIn(t, t.path("intents"))
			if err != nil {
				return err
			}
			return printSummaries(c, list, "no intents")
		}}
}

func intentShow() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "What an intent means to do, did, or asks", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return withRun(c, a[0], func(c *cobra.Command, r run) error {
				out := c.OutOrStdout()
				if wantsJSON(c) {
					v := map[string]any{"name": r.name, "state": r.state(), "dir": r.dir}
					for _, f := range []string{"intent", "plan", "decision", "verification", "result", "error"} {
						if text := r.read(f + ".json"); text != "" {
							v[f] = json.RawMessage(text)
						}
					}
					return printJSON(out, v)
				}
				fmt.Fprintf(out, "%s  %s\n", r.name, r.state())
				for _, f := range []string{"question", "approval", "plan"} {
					if text := r.read(f); text != "" {
						fmt.Fprintf(out, "\n%s\n", text)
					}
				}
				var e runError
				if json.Unmarshal([]byte(r.read("error.json")), &e) == nil && e.Message != "" {
					fmt.Fprintf(out, "\n%s: %s\n", e.Code, e.Message)
				}
				if log := r.read("events.log"); log != "" {
					fmt.Fprintln(out)
					for _, line := range strings.Split(log, "\n") {
						var e event
						if json.Unmarshal([]byte(line), &e) == nil {
							fmt.Fprintf(out, "%s  %-20s %s\n", e.Time, e.State, e.Detail)
						}
					}
				}
				return nil
			})
		}}
}

// waiting lists what waits for the caller by name, and what others of his group ask any
// of its members.
func waiting(t tree) ([]summary, error) {
	list, err := runsIn(t, t.path("self", "inbox"))
	if err != nil {
		return nil, err
	}
	home, err := os.Readlink(t.path("self"))
	if err != nil {
		return nil, reach(err)
	}
	at := strings.Split(home, "/")
	if len(at) != 4 || at[2] != "users" {
		return list, nil // an agent is asked nothing
	}
	all, err := runsIn(t, t.path("groups", at[1], "inbox"))
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if !s.proposedBy(t, at[1]+":"+at[3]) && !slices.ContainsFunc(list, func(x summary) bool { return x.Name == s.Name }) {
			list = append(list, s)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Since.Before(list[j].Since) })
	return list, nil
}

// proposedBy says whether what waits for an approval was asked for by a subject.
func (s summary) proposedBy(t tree, subject string) bool {
	return strings.HasPrefix(run{t, s.Name, s.Dir}.read("approval"), subject+" asks for ")
}

func inboxCommand() *cobra.Command {
	return &cobra.Command{Use: "inbox", Short: "What waits for me", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := findTree(c)
			if err != nil {
				return err
			}
			list, err := waiting(t)
			if err != nil {
				return err
			}
			if err := printSummaries(c, list, "nothing waits for you"); err != nil || !interactive(c) {
				return err
			}
			for _, s := range list {
				r := run{t, s.Name, s.Dir}
				if s.State == "APPROVAL_PENDING" {
					fmt.Fprintf(c.OutOrStdout(), "\n── %s\n", s.Name)
					if err := askApproval(c, r, true); err != nil && err.Error() != "" {
						return err
					}
				}
			}
			return nil
		}}
}
