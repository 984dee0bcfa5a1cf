package evidence

import (
	"errors"
	"fmt"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// actions are those that the log knows, with the group that each was received
// for. Only the writer uses it. It holds the ones met lately; the log's own
// index knows the rest.
type actions struct {
	recent, older map[string]string
}

// recentActions bounds each of the two generations: a machine that receives a
// thousand actions a second asks the index for those of some seconds ago.
const recentActions = 8192

func (a *actions) group(id string) (string, bool) {
	g, ok := a.recent[id]
	if !ok {
		if g, ok = a.older[id]; ok {
			a.note(id, g)
		}
	}
	return g, ok
}

func (a *actions) note(id, group string) {
	if len(a.recent) >= recentActions || a.recent == nil {
		a.recent, a.older = make(map[string]string, recentActions), a.recent
	}
	a.recent[id] = group
}

// belongs refuses a draft of an action that was never received (S6.3 §9.6),
// and one that puts it into another group. An action is received in the log,
// or earlier in the same append, or in the same batch.
func (b *batch) belongs(r *request, i int) error {
	p := r.drafts[i]
	if p.ActionID == "" || r.self {
		return nil
	}
	group, ok := b.l.actions.group(p.ActionID)
	if !ok {
		group, ok = among(r.drafts[:i+1], p.ActionID)
	}
	if !ok {
		group, ok = b.introduced(p.ActionID)
	}
	if !ok {
		var err error
		if group, ok, err = b.l.receivedBefore(p.ActionID); err != nil {
			return fmt.Errorf("append %s: find action: %w", p.Type, err)
		}
	}
	if !ok {
		return &refusal{p, ErrOrphanedAction, p.ActionID}
	}
	if p.GroupID != "" && p.GroupID != group {
		return &refusal{p, ErrNamespaceScope, fmt.Sprintf("%s was received for group %q, not %q", p.ActionID, group, p.GroupID)}
	}
	return nil
}

// among finds where an action begins among drafts.
func among(ps []*prepared, action string) (group string, ok bool) {
	for _, p := range ps {
		if p.Type == record.ActionReceived && p.ActionID == action {
			return p.GroupID, true
		}
	}
	return "", false
}

// introduced finds where an action begins in the batch so far.
func (b *batch) introduced(action string) (group string, ok bool) {
	for i := range b.rows {
		if r := &b.rows[i].Receipt; r.Type == record.ActionReceived && r.ActionID == action {
			return r.GroupID, true
		}
	}
	return "", false
}

// receivedBefore asks the index. The first record of an action is the one
// that received it.
func (l *Log) receivedBefore(action string) (group string, ok bool, err error) {
	for r, err := range l.Query(Query{ActionID: action, Limit: 1, IncludeSimulated: true}) {
		if err != nil {
			return "", false, err
		}
		l.actions.note(action, r.GroupID)
		return r.GroupID, true, nil
	}
	return "", false, nil
}

// refusedLater leaves the side record of a draft that only the writer could
// refuse; it runs where Append was called.
func (l *Log) refusedLater(err error) (t record.Type, d Draft, reason string, ok bool) {
	var r *refusal
	if !errors.As(err, &r) {
		return 0, Draft{}, "", false
	}
	switch {
	case errors.Is(err, ErrOrphanedAction):
		return record.ReceiptOrphanActionRefDetected, r.draft.Draft, "ACTION_NOT_KNOWN", true
	case errors.Is(err, ErrOrphanedParent), errors.Is(err, ErrQuarantinedParent):
		l.o.Logger.Warn("a record was refused for its parent", "type", r.draft.Type.String(), "emitter", r.draft.Emitter, "err", err)
	}
	return 0, Draft{}, "", false
}
