package evidence

import (
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// Query selects receipts. Zero fields do not filter. Results come in chain
// order, or newest first with Reverse.
type Query struct {
	Types                               []record.Type
	ActionID, CorrelationID             string
	Subject, ParentID, PolicyDecisionID string
	Since, Until                        time.Time // Since inclusive, Until exclusive
	FromSeq                             uint64    // first sequence number to consider (last, with Reverse)
	Limit                               int       // 0: no limit
	IncludeSimulated                    bool      // simulations are left out otherwise
	Reverse                             bool
}

// Head is the present end of the log.
type Head struct {
	Size       uint64 // records; also the highest sequence number
	LastID     string
	LinkHash   string // hex32 of the last record; 32 zeros for an empty log
	Segment    string // id of the active segment; empty between segments
	Checkpoint []byte // newest signed checkpoint; may cover fewer records
}
