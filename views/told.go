package views

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/objects"
)

// Told is what evidence keeps of a query that touched SECRET_BEARING or CLASSIFIED
// things (filesystem.md §12): how much, never which.
type Told struct {
	QueryID   string // qry_<ULID>
	Canonical string
	Hash      string // BLAKE3 of Canonical, hex
	Ceiling   objects.Privacy
	Rows      int
	Filtered  int // hidden by the ceiling
	At        time.Time
}

// tell hands the query to the log before its rows are shown; without a record there
// are no rows.
func (e *execution) tell(ctx context.Context, canonical string, rows int) error {
	if e.v.d.Record == nil || e.highest < objects.SecretBearing {
		return nil
	}
	now := e.v.d.Now()
	sum := blake3.Sum256([]byte(canonical))
	err := e.v.d.Record(ctx, e.sight.c, Told{QueryID: "qry_" + ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String(), Canonical: canonical,
		Hash: hex.EncodeToString(sum[:]), Ceiling: e.ceiling, Rows: rows, Filtered: e.filtered, At: now})
	if err != nil {
		return fmt.Errorf("record the query: %w", err)
	}
	return nil
}
