package agents

import (
	"slices"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
)

// ActionInfo is what a list of actions shows of one.
type ActionInfo struct {
	ID, Action, State, Phase                      string
	Run, Intent, Correlation, Mode, Subject, Path string
	IsAI                                          bool
	Accepted, Changed                             time.Time
}

// Actions lists the actions of all runs that are visible to the caller, by id: his own,
// those that he may decide or has decided, and all of them for an administrator.
func (rt *Runtime) Actions(by Submitter) []ActionInfo {
	var out []ActionInfo
	for _, l := range rt.all() {
		r := l.now()
		if seen, _ := rt.visible(by, r.ID); seen == nil {
			continue
		}
		for _, a := range r.Actions {
			p, _ := a.Step.Target["path"].(string)
			if p != "" {
				p = aiosfs.Rooted(r.By.Subject, p)
			}
			out = append(out, ActionInfo{ID: a.ID, Action: a.Step.Action, State: string(a.State), Phase: a.Phase(), Run: r.ID, Intent: r.Intent, Correlation: r.Correlation,
				Mode: string(r.mode()), Subject: r.By.Subject.ID, IsAI: r.By.Subject.IsAI, Path: p, Accepted: r.Accepted, Changed: r.Changed})
		}
	}
	slices.SortFunc(out, func(a, b ActionInfo) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// RunStates lists the words that the state of a run may have (contract §4).
var RunStates = []string{runReceived, runAsking, string(ApprovalPending), string(Queued), string(Executing), string(Verifying),
	string(Succeeded), string(Failed), string(RolledBack), string(RollbackFailed), string(PolicyDenied), runRefused}

// States counts the runs by their state.
func (rt *Runtime) States() map[string]int {
	n := map[string]int{}
	for _, l := range rt.all() {
		n[l.now().State()]++
	}
	return n
}
