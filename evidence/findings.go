package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// Findings about damage are records of a log of their own in findings/: the
// damaged chain stays as it was found, and the finding is chained, sealed and
// signed like everything else (spec/evidence.md §9, §21.7).
type findings struct {
	mu       sync.Mutex
	dir      string
	off      bool // this is itself a findings log
	receipts []Receipt
	payloads map[string][]byte
	pending  string // problem of the newest unresolved finding
}

// The event that ends findings.
const findingsResolved = "FINDINGS_RESOLVED"

// load reads the findings there are.
func (f *findings) load(dir string) error {
	if filepath.Base(dir) == findingsDir {
		f.off = true
		return nil
	}
	f.dir = filepath.Join(dir, findingsDir)
	if _, err := os.Stat(f.dir); err != nil {
		return nil
	}
	l, err := Open(context.Background(), Options{Dir: f.dir, ReadOnly: true})
	if err != nil {
		// A findings log that cannot be read is a finding, too.
		f.pending = err.Error()
		return nil
	}
	defer l.Close()
	f.payloads = map[string][]byte{}
	for r, err := range l.Query(Query{}) {
		if err != nil {
			f.pending = err.Error()
			return nil
		}
		p, err := l.Payload(r.ID)
		if err != nil {
			f.pending = err.Error()
			return nil
		}
		f.receipts = append(f.receipts, r)
		f.payloads[r.ID] = p
		f.note(r.Type, p)
	}
	return nil
}

// note keeps track of what is unresolved.
func (f *findings) note(t record.Type, stored []byte) {
	switch t {
	case record.TamperDetected, record.ChainInconsistencyDetected:
		f.pending = jsonText(stored, "problem")
	case record.RecoveryEvent:
		if jsonText(stored, "event_kind") == findingsResolved {
			f.pending = ""
		}
	}
}

// open returns the problem of the newest unresolved finding.
func (f *findings) open() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pending
}

func (f *findings) receipt(id string) (Receipt, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.receipts {
		if r.ID == id {
			return r, true
		}
	}
	return Receipt{}, false
}

func (f *findings) payload(id string) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.payloads[id]
	return p, ok
}

// Findings returns the records of the findings log, oldest first. Their
// sequence numbers are its own.
func (l *Log) Findings() []Receipt {
	l.findings.mu.Lock()
	defer l.findings.mu.Unlock()
	return append([]Receipt(nil), l.findings.receipts...)
}

// record writes a finding, unless the same one is already open.
func (l *Log) record(d *damage, method string) error {
	if l.findings.off || l.findings.open() == d.Error() {
		return nil
	}
	segment := ""
	if s, _, err := l.locate(d.seq); err == nil {
		segment = s.id
	}
	t, detail := findingType(d.problem)
	return l.finding(t, map[string]any{
		"segment_id": segment, "first_anomalous_sequence": decimal(d.seq), "first_anomalous_receipt_id": d.id,
		"sequence_number": decimal(d.seq), "detail": detail, "detection_method": method,
		"file": d.file, "offset": fmt.Sprint(d.offset), "problem": d.Error(),
	})
}

// findingType tells a broken chain (whole records in the wrong place) from
// changed or missing bytes (spec/evidence.md §9).
func findingType(problem string) (t record.Type, detail string) {
	switch {
	case strings.HasPrefix(problem, wrongSequence):
		return record.ChainInconsistencyDetected, "SEQUENCE_REPLAY_DETECTED"
	case strings.HasPrefix(problem, wrongLink):
		return record.ChainInconsistencyDetected, "LINK_MISMATCH"
	}
	return record.TamperDetected, "BYTES_CHANGED"
}

// finding appends one record to the findings log.
func (l *Log) finding(t record.Type, payload map[string]any) error {
	ctx := context.Background()
	n, err := Open(ctx, Options{Dir: l.findings.dir, Origin: l.o.Origin, Key: l.o.Key, Now: l.o.Now, Logger: l.o.Logger})
	if err != nil {
		return err
	}
	out, err := n.appendSelf(ctx, t, payload)
	var stored []byte
	if err == nil {
		stored, err = n.Payload(out[0].ID)
	}
	if err := errors.Join(err, n.Close()); err != nil {
		return err
	}
	l.findings.mu.Lock()
	defer l.findings.mu.Unlock()
	if l.findings.payloads == nil {
		l.findings.payloads = map[string][]byte{}
	}
	l.findings.receipts = append(l.findings.receipts, out[0])
	l.findings.payloads[out[0].ID] = stored
	l.findings.note(t, stored)
	return nil
}

// quarantine marks the segment a finding is about.
func (l *Log) quarantine(d *damage) {
	if s, _, err := l.locate(d.seq); err == nil {
		s.quarantined.Store(true)
	}
}

// degrade stops appends for good.
func (l *Log) degrade(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = err
		l.o.Logger.Error("evidence log degraded: appends are refused", "err", err)
	}
}

// Audit verifies the open log against its own key and the given anchors.
// Damage degrades it (appends refused, reads go on), fences the segment and
// is recorded as TAMPER_DETECTED in the findings log; a clean audit marks its
// segments verified. A circle in the lineage fences the segments that it goes
// through and is recorded in the log itself, which goes on.
func (l *Log) Audit(ctx context.Context, o VerifyOptions) (Report, error) {
	l.Checkpoint()
	if o.Key == "" && l.o.Key != nil {
		o.Key = l.keyText()
	}
	rep, err := Verify(ctx, l.o.Dir, o)
	if err != nil {
		return rep, err
	}
	if strings.HasPrefix(rep.Problem, lineageCycle) {
		if err := l.fence(ctx, &rep); err != nil {
			return rep, fmt.Errorf("record a circle in the lineage: %w", err)
		}
		return rep, nil
	}
	if rep.Consistent {
		if err := l.tooDeep(ctx, &rep); err != nil {
			return rep, fmt.Errorf("record the depth of the lineage: %w", err)
		}
		l.mu.RLock()
		defer l.mu.RUnlock()
		for _, s := range l.segs {
			if s.sealed.Load() && s.last() <= rep.TreeSize {
				s.verified.Store(true)
			}
		}
		return rep, nil
	}
	d := &damage{seq: rep.FirstAnomalousSeq, id: rep.FirstAnomalousID, file: rep.File, offset: rep.Offset, problem: rep.Problem}
	l.degrade(fmt.Errorf("%w: %w", ErrDegraded, d))
	l.quarantine(d)
	if l.o.ReadOnly {
		return rep, nil
	}
	if err := l.record(d, "VerifyChain"); err != nil {
		return rep, fmt.Errorf("record finding: %w", err)
	}
	return rep, nil
}

// ResolveFindings records, after a clean verification of the whole log, that
// an operator has dealt with every finding (restored the files, say). It
// takes effect at the next Open.
func (l *Log) ResolveFindings(ctx context.Context, operator, how string) error {
	if l.o.ReadOnly {
		return fmt.Errorf("resolve findings: %w", ErrReadOnly)
	}
	rep, err := Verify(ctx, l.o.Dir, VerifyOptions{Key: l.keyText()})
	if err != nil {
		return fmt.Errorf("resolve findings: %w", err)
	}
	if !rep.Consistent {
		return fmt.Errorf("resolve findings: %w: %s: %s", ErrDegraded, rep.File, rep.Problem)
	}
	return l.finding(record.RecoveryEvent, map[string]any{
		"event_kind": findingsResolved, "operator_subject": operator, "detail": how,
	})
}
