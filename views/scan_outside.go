package views

import (
	"context"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/views/dsl"
)

// EvidenceRow is a record of the log. Hidden says that the caller may not read it: that it
// is there is counted for the log, and not told to him.
type EvidenceRow struct {
	ID, Type, Subject, Action, Group string
	IsAI, Hidden, Simulated          bool
	Seq                              uint64
	At                               time.Time
}

// EvidenceFilter narrows what is looked at, where a query lets it; zero fields do not.
type EvidenceFilter struct {
	Types           []string
	Action, Subject string
	Until           time.Time // exclusive
	Simulated       bool      // what simulations recorded too
}

// ActionRow is an action of an intent that the caller may see.
type ActionRow struct {
	ID, Action, State, Phase, Subject, Path, Run, Intent, Correlation, Mode string
	IsAI                                                                    bool
	Submitted, Updated                                                      time.Time
}

func (e *execution) evidence(ctx context.Context) error {
	f := EvidenceFilter{}
	if !e.asOf.IsZero() {
		f.Until = e.asOf.Add(time.Nanosecond)
	}
	for _, p := range e.q.Where {
		// A simulation is no part of what happened (evidence.md §3): who wants its records
		// asks for them.
		f.Simulated = f.Simulated || p.Field == "simulated"
		if p.Op != dsl.Eq && (p.Op != dsl.In || p.Field != "record_type") {
			continue
		}
		switch p.Field {
		case "record_type":
			f.Types = nil
			for _, v := range p.Values {
				f.Types = append(f.Types, v.Text)
			}
		case "action_id":
			f.Action = p.Values[0].Text
		case "actor":
			f.Subject = p.Values[0].Text
		}
	}
	return e.v.d.Evidence(ctx, e.sight.c, f, func(x EvidenceRow) error {
		if err := e.step(ctx); err != nil {
			return err
		}
		r := &Row{ID: x.ID, Mtime: x.At, Link: "evidence/records/" + x.At.UTC().Format("2006/01/02/15") + "/" + x.ID + ".json"}
		r.fields = bySubject(x.Subject, map[string]any{"receipt_id": x.ID, "actor": x.Subject, "action_id": x.Action, "category": x.Type, "record_type": x.Type,
			"occurred_at": x.At, "recorded_at": x.At, "seq": float64(x.Seq), "simulated": x.Simulated, "subject.is_ai": x.IsAI})
		if x.Action != "" {
			r.edges = []Edge{{x.ID, x.Action, "of"}}
		}
		if x.Hidden { // left out silently, and counted (S3.1 §7)
			if e.all(r) {
				e.suppressed++
			}
			return nil
		}
		return e.take(r, objects.Public)
	})
}

func (e *execution) actions(ctx context.Context) error {
	list, err := e.v.d.Actions(ctx, e.sight.c)
	if err != nil {
		return err
	}
	for _, x := range list {
		if err := e.step(ctx); err != nil {
			return err
		}
		r := &Row{ID: x.ID, Mtime: x.Updated, Link: "intents/" + x.Run + ".d/actions/" + x.ID}
		r.fields = bySubject(x.Subject, map[string]any{"action_id": x.ID, "action": x.Action, "state": x.State, "phase": x.Phase, "subject": x.Subject, "path": x.Path,
			"submitted_at": x.Submitted, "updated_at": x.Updated, "run_id": x.Run, "intent_id": x.Intent, "correlation_id": x.Correlation, "mode": x.Mode, "subject.is_ai": x.IsAI})
		r.edges = []Edge{{x.ID, x.Run, "of"}}
		if err := e.take(r, objects.Public); err != nil {
			return err
		}
	}
	return nil
}
