package evidence

import (
	"context"
	"errors"
	"time"
)

// VerifyOptions says what to check a directory against.
type VerifyOptions struct {
	// Key is the verifier key text (name+id+base64) the log must be signed
	// with; empty takes verifier.key from the directory, which then proves
	// only that the directory agrees with itself.
	Key string
	// Anchors are checkpoints (signed notes) kept elsewhere; the log must be
	// a consistent extension of each. One anchor may hold several notes one
	// after the other, as the Anchor file of Options does.
	Anchors [][]byte
	// Workers bounds the goroutines that hash; default GOMAXPROCS.
	Workers int
	// Progress, if set, is called now and then with records checked so far
	// and their number in all.
	Progress func(done, total uint64)
}

// Report is the outcome of Verify. If Consistent is false, the fields from
// FirstAnomalousSeq on name the first anomaly.
type Report struct {
	Consistent  bool
	Records     uint64 // records checked
	Segments    int
	Checkpoints int    // signed checkpoints checked, anchors included
	KeyGiven    bool   // the key was given, not taken from the directory
	Key         string // verifier key text that was used
	TreeSize    uint64 // size of the newest checkpoint
	Root        string // its root, base64

	FirstAnomalousSeq uint64 // 0 where no single record is at fault
	FirstAnomalousID  string
	File              string // relative to the directory
	Offset            int64  // byte offset in File, -1 where there is none
	Problem           string
	Findings          []string // tamper findings recorded earlier

	Duration time.Duration
}

// Verify checks a log directory: live, stopped, or a plain copy. The error is
// for what could not be looked at; an inconsistent log is a Report with
// Consistent false.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	return Report{}, errors.New("verify: not available in this build")
}
