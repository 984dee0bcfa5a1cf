package agents

import (
	"context"
	"errors"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy"
)

// enrichTime is how long the facts for one decision may take (S2.3 §7).
const enrichTime = 200 * time.Millisecond

// fact is what is known of one place.
type fact struct {
	target  policy.Target
	objects []policy.ObjectFacts
}

// facts looks up the places of an action. in is false when that took too long: nobody
// waits for a store that does not answer, and nothing is allowed without its facts.
func (rt *Runtime) facts(places []string) (found []fact, f *Failure, in bool) {
	type answer struct {
		found []fact
		f     *Failure
	}
	done := make(chan answer, 1) // nobody may be there to take it
	go func() {
		found, f := rt.enrich(places)
		done <- answer{found, f}
	}()
	// The time is counted in turns that this process gets: on a busy machine it is not
	// the store that is late.
	const turn = 5 * time.Millisecond
	t := time.NewTicker(turn)
	defer t.Stop()
	for left := rt.d.EnrichTime; left > 0; left -= turn {
		select {
		case a := <-done:
			return a.found, a.f, true
		case <-t.C:
		}
	}
	select {
	case a := <-done:
		return a.found, a.f, true
	default:
		return nil, nil, false
	}
}

func (rt *Runtime) enrich(places []string) ([]fact, *Failure) {
	var list []fact
	for _, p := range places {
		t, err := rt.d.Resolver.Resolve(p)
		if err != nil {
			f := &Failure{Code: "InvalidTargetPath", Message: err.Error(), Details: map[string]any{"path": "/aios/" + p}}
			var re *ResolveError
			if errors.As(err, &re) {
				f.Details["resolution"], f.Details["segment"] = re.Code, re.Segment
			}
			return list, f
		}
		x := fact{target: t}
		if at, err := rt.d.Store.Resolve(p); err == nil && !at.Object.IsZero() {
			if o, err := rt.d.Store.Object(at.Object); err == nil {
				x.objects = []policy.ObjectFacts{{ID: o.ID.String(), PrivacyClass: o.Class, Kind: o.Kind, LifecycleState: o.State, CreatedBy: o.CreatedBy}}
			}
		} else if err != nil && !errors.Is(err, objects.ErrNotFound) && !errors.Is(err, objects.ErrNotDir) {
			return list, &Failure{Code: "EnrichmentUnavailable", Message: err.Error(), Retryable: true}
		}
		list = append(list, x)
	}
	return list, nil
}

// expired is a context whose time is over: with it the kernel answers that it could not
// be asked in time, in a decision like any other.
func expired(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 0)
}
