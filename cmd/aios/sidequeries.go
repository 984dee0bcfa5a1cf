package main

import (
	"context"
	"fmt"

	"github.com/ai-os-dot-net/aios/agents"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/views"
)

// records are the log's records, for queries: what the caller may not read in evidence/
// he does not find either.
func (e evidenceSide) records(ctx context.Context, c views.Caller, f views.EvidenceFilter, fn func(views.EvidenceRow) error) error {
	q := evidence.Query{ActionID: f.Action, Subject: f.Subject, Until: f.Until, IncludeSimulated: f.Simulated}
	for _, name := range f.Types {
		t, err := record.Parse(name)
		if err != nil {
			return fmt.Errorf("%w: record_type: %w", views.ErrQuery, err)
		}
		q.Types = append(q.Types, t)
	}
	who := mountfs.Caller{UID: c.UID, GID: c.GID, Groups: c.Groups, Subject: c.Subject}
	for r, err := range e.log.Query(q) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		err = fn(views.EvidenceRow{ID: r.ID, Type: r.Type.String(), Subject: r.Subject, Action: r.ActionID, Group: r.GroupID, IsAI: r.SubjectIsAI, Simulated: r.Simulated, Seq: r.Seq, At: r.RecordedAt, Hidden: !e.MayRead(who, shown(r))})
		if err != nil {
			return err
		}
	}
	return nil
}

// actionRows are the runtime's actions, for queries; the runtime is there before anybody
// can ask.
func (d *daemon) actionRows(_ context.Context, c views.Caller) ([]views.ActionRow, error) {
	list := d.runtime.Actions(agents.Submitter{Subject: c.Subject, UID: c.UID, GID: c.GID, Groups: c.Groups})
	rows := make([]views.ActionRow, len(list))
	for i, a := range list {
		rows[i] = views.ActionRow{ID: a.ID, Action: a.Action, State: a.State, Phase: a.Phase, Subject: a.Subject, Path: a.Path, Run: a.Run, Intent: a.Intent,
			Correlation: a.Correlation, Mode: a.Mode, IsAI: a.IsAI, Submitted: a.Accepted, Updated: a.Changed}
	}
	return rows, nil
}
