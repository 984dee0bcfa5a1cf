package views

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/objects"
)

// Told is what evidence keeps of a query that touched SECRET_BEARING or CLASSIFIED
// things (filesystem.md §12): how much, never which.
type Told struct {
	QueryID   string // qry_<ULID>
	Canonical string
	Hash      string // the first 32 hex digits of BLAKE3 of Canonical (S2.1 §9.1)
	Ceiling   objects.Privacy
	AsOf      time.Time // zero for the present
	Rows      int
	Filtered  int // hidden by the ceiling
	// Suppressed counts what lies in other groups' places.
	Suppressed int
	At         time.Time
}

// tell hands the query to the log before its rows are shown; without a record there
// are no rows. An ordinary query is only counted.
func (e *execution) tell(ctx context.Context, r *Result, rows int) error {
	sum := blake3.Sum256([]byte(r.Canonical))
	t := Told{QueryID: r.ID, Canonical: r.Canonical, Hash: hex.EncodeToString(sum[:16]), Ceiling: e.ceiling, AsOf: r.AsOf,
		Rows: rows, Filtered: e.filtered, Suppressed: e.suppressed, At: r.At}
	if e.v.d.Record == nil || e.highest < objects.SecretBearing {
		e.v.count(e.sight.c, t)
		return nil
	}
	if err := e.v.d.Record(ctx, e.sight.c, t); err != nil {
		return fmt.Errorf("record the query: %w", err)
	}
	return nil
}
