package agents

import (
	"cmp"
	"slices"

	"github.com/ai-os-dot-net/aios/policy/identity"
)

// everyone is the group that everybody on this machine is in (contract §7).
const everyone = "local"

// waits says whether the action waits for somebody's word.
func (a *Action) waits() bool { return a.State == ApprovalPending && a.Approval != nil }

// concerns gives the groups in whose places an action works, and the users whose own
// these are. What works in no group's place is the affair of its proposer's group, whose
// members are asked for it.
func (rt *Runtime) concerns(r *Run, a *Action) (groups, users []string) {
	for _, p := range paths(a.Step, r.By) {
		t, err := rt.d.Resolver.Resolve(p)
		if err != nil || t.Group == "" {
			continue
		}
		if !slices.Contains(groups, t.Group) {
			groups = append(groups, t.Group)
		}
		if u := t.Group + ":" + t.User; t.User != "" && !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	if len(groups) == 0 {
		groups = []string{r.By.Subject.PrimaryGroup}
	}
	return groups, users
}

// addressees are the people in whose own places somebody else wants to work: theirs is
// the word. It is nobody where a proposer works in his own place too, who cannot approve
// for himself.
func (rt *Runtime) addressees(r *Run, a *Action) []string {
	_, users := rt.concerns(r, a)
	if slices.Contains(users, r.By.Subject.ID) {
		return nil
	}
	return users
}

// addressed says whether a run waits for one person by name: a question to who asked, an
// approval for whose place it is about, for the owner of the agent that proposes it, and
// for who looks after the machine or is the only one on it (filesystem.md §12).
func (rt *Runtime) addressed(r *Run, s identity.Subject) bool {
	if s.IsAI {
		return false
	}
	if r.Word == runAsking {
		return r.By.Subject.ID == s.ID
	}
	for _, a := range r.Actions {
		if !a.waits() {
			continue
		}
		if _, users := rt.concerns(r, a); slices.Contains(users, s.ID) {
			return true
		}
		if a.Approval.Eligible(s) == nil && (s.Admin || s.SingleOperator || rt.owns(s, r.By.Subject)) {
			return true
		}
	}
	return false
}

// owns says whether a person has registered an agent.
func (rt *Runtime) owns(s, agent identity.Subject) bool {
	return agent.IsAI && slices.ContainsFunc(rt.d.Identity.Catalog().Agents, func(a identity.Agent) bool { return a.ID == agent.ID && a.Owner == s.ID })
}

// waitsIn says whether a run waits in a group's inbox, as one of its members sees that:
// what is about another member's own place is not his to see unless he is asked for it.
// A person's ceiling is above every class, and an agent sees what it proposed itself in
// intents/ alone.
func (rt *Runtime) waitsIn(r *Run, group string, s identity.Subject) bool {
	if s.IsAI || group != everyone && group != s.PrimaryGroup && !s.Admin {
		return false
	}
	found := false
	for _, a := range r.Actions {
		if !a.waits() {
			continue
		}
		groups, users := rt.concerns(r, a)
		if len(users) > 0 && !slices.Contains(users, s.ID) && a.Approval.Eligible(s) != nil {
			return false
		}
		found = found || slices.Contains(groups, group)
	}
	return found
}

// shown says whether a run stands in an inbox that a subject reads.
func (rt *Runtime) shown(r *Run, s identity.Subject) bool {
	return rt.addressed(r, s) || rt.waitsIn(r, s.PrimaryGroup, s) || rt.waitsIn(r, everyone, s)
}

// Inbox lists the runs that wait for the caller by name, newest first.
func (rt *Runtime) Inbox(by Submitter) []RunInfo {
	return rt.waiting(func(r *Run) bool { return rt.addressed(r, by.Subject) })
}

// GroupInbox lists the runs that wait for somebody of a group and that the caller may
// see, newest first.
func (rt *Runtime) GroupInbox(by Submitter, group string) []RunInfo {
	return rt.waiting(func(r *Run) bool { return rt.waitsIn(r, group, by.Subject) })
}

func (rt *Runtime) waiting(is func(*Run) bool) []RunInfo {
	var out []RunInfo
	for _, l := range rt.living() {
		if r := l.now(); is(r) {
			out = append(out, info(r, r.Name))
		}
	}
	slices.SortFunc(out, func(a, b RunInfo) int { return cmp.Or(b.Accepted.Compare(a.Accepted), cmp.Compare(b.ID, a.ID)) })
	return out
}
