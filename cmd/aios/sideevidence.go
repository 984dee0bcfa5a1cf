package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	aiosfs "github.com/ai-os-dot-net/aios/fs"
)

// evidenceSide shows the log to the mount.
type evidenceSide struct {
	log  *evidence.Log
	dir  string
	desk *recoveryDesk // nil but in recovery
}

var _ aiosfs.Evidence = evidenceSide{}

func shown(r evidence.Receipt) aiosfs.EvidenceRecord {
	return aiosfs.EvidenceRecord{ID: r.ID, Type: r.Type.String(), Action: r.ActionID, Correlation: r.CorrelationID, Subject: r.Subject,
		Group: r.GroupID, Retention: r.Retention.String(), Seq: r.Seq, At: r.RecordedAt, Bytes: r.Bytes}
}

func (e evidenceSide) Record(id string) (aiosfs.EvidenceRecord, bool) {
	r, err := e.log.Receipt(id)
	return shown(r), err == nil
}

func (e evidenceSide) Seq(n uint64) (aiosfs.EvidenceRecord, bool) {
	r, err := e.log.At(n)
	return shown(r), err == nil
}

func (e evidenceSide) Size() uint64 { return e.log.Head().Size }

func (e evidenceSide) Payload(id string) ([]byte, bool) {
	b, err := e.log.Payload(id)
	return b, err == nil
}

func (e evidenceSide) query(ctx context.Context, q evidence.Query) ([]aiosfs.EvidenceRecord, error) {
	q.IncludeSimulated = true
	var list []aiosfs.EvidenceRecord
	for r, err := range e.log.Query(q) {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = append(list, shown(r))
	}
	return list, nil
}

func (e evidenceSide) Span(ctx context.Context, from, until time.Time) ([]aiosfs.EvidenceRecord, error) {
	return e.query(ctx, evidence.Query{Since: from, Until: until})
}

func (e evidenceSide) ByAction(ctx context.Context, id string) ([]aiosfs.EvidenceRecord, error) {
	return e.query(ctx, evidence.Query{ActionID: id})
}

func (e evidenceSide) ByCorrelation(ctx context.Context, id string) ([]aiosfs.EvidenceRecord, error) {
	return e.query(ctx, evidence.Query{CorrelationID: id})
}

func (e evidenceSide) ByType(ctx context.Context, name string, from, until time.Time) ([]aiosfs.EvidenceRecord, error) {
	t, err := record.Parse(name)
	if err != nil {
		return nil, err
	}
	return e.query(ctx, evidence.Query{Types: []record.Type{t}, Since: from, Until: until})
}

func (e evidenceSide) Types() ([]string, error) {
	types, err := e.log.Types()
	var names []string
	for _, t := range types {
		names = append(names, t.String())
	}
	return names, err
}

func (e evidenceSide) KnownType(name string) bool {
	_, err := record.Parse(name)
	return err == nil
}

func (e evidenceSide) First() (time.Time, bool) {
	r, err := e.log.At(1)
	return r.RecordedAt, err == nil
}

func (e evidenceSide) Head() []byte {
	h := e.log.Head()
	b, err := json.MarshalIndent(map[string]any{"size": h.Size, "last_receipt_id": h.LastID, "link_hash": h.LinkHash, "segment_id": h.Segment}, "", "  ")
	if err != nil {
		return nil
	}
	return append(b, '\n')
}

func (e evidenceSide) Files() fs.FS { return logFiles{os.DirFS(e.dir)} }

// logFiles are the log's files without its lock, which says nothing to anybody.
type logFiles struct{ fs.FS }

func (f logFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(f.FS, name)
	return slices.DeleteFunc(list, func(e fs.DirEntry) bool { return name == "." && e.Name() == evidence.LockFile }), err
}

// MayRead: an administrator reads everything, everybody what he or a group of his
// has caused (S3.1 §7: others' records are left out silently), and an operator in recovery
// what he was let see.
func (e evidenceSide) MayRead(c aiosfs.Caller, r aiosfs.EvidenceRecord) bool {
	s := c.Subject
	if s.Admin && !s.IsAI || r.Subject == s.ID || r.Group != "" && slices.Contains(s.Memberships, r.Group) {
		return true
	}
	group := r.Group
	if group == "" { // what was recorded of a subject without a place is his group's
		group, _, _ = strings.Cut(r.Subject, ":")
	}
	return e.desk.sees(s, group)
}

// MayReadAll: an administrator, and whose daemon this is, to whom the state directory
// belongs anyway.
func (e evidenceSide) MayReadAll(c aiosfs.Caller) bool {
	return !c.Subject.IsAI && (c.Subject.Admin || int(c.UID) == os.Geteuid())
}

// Follow tells of new records, from one subscription of the log: who reads too slowly is
// told how many of his he has missed, and between which.
func (e evidenceSide) Follow(c aiosfs.Caller) (aiosfs.EvidenceFeed, error) {
	s, err := e.log.Subscribe(evidence.SubscribeRequest{IncludeSimulated: true, May: func(r *evidence.Receipt) bool { return e.MayRead(c, shown(*r)) }})
	if err != nil {
		return nil, err
	}
	return feed{s}, nil
}

type feed struct{ s *evidence.Subscription }

// dropped is the line in the place of records that a reader was too slow for.
type dropped struct {
	Event string `json:"event"`
	Count uint64 `json:"dropped"`
	From  uint64 `json:"from_sequence,string"`
	To    uint64 `json:"to_sequence,string"`
}

const subscriberDropped = "subscriber_dropped_event"

func (f feed) Next(ctx context.Context) ([]byte, error) {
	x, err := f.s.Next(ctx)
	if err != nil {
		return nil, err
	}
	if x.Dropped == 0 {
		return append(slices.Clone(x.Bytes), '\n'), nil
	}
	b, err := json.Marshal(dropped{subscriberDropped, x.Dropped, x.DroppedFrom, x.DropTo})
	return append(b, '\n'), err
}

func (f feed) Close() { f.s.Close() }

// denialSide writes what the mount refused into the log.
type denialSide struct {
	log    *evidence.Log
	logger *slog.Logger
	counts *refusedOps
}

func (d denialSide) Record(x aiosfs.Denial) {
	d.counts.add(x)
	t, emitter := record.PolicyDecision, record.EmitterPolicy
	if named, err := record.Parse(x.Code); err == nil {
		t = named
	} else if x.Code == "CrossGroupAccessForbidden" {
		t = record.CrossGroupAccessDenied
	}
	for _, e := range []record.Emitter{record.EmitterPolicy, record.EmitterMount, record.EmitterRuntime, record.EmitterCognition, record.EmitterIdentity, record.EmitterStore} {
		if t.MayEmit(e) {
			emitter = e
			break
		}
	}
	draft := evidence.Draft{Type: t, Emitter: string(emitter), Subject: x.Caller.Subject.ID, SubjectIsAI: x.Caller.Subject.IsAI, Key: d.log.KeyFor(x.Caller.Subject.ID, x.Caller.Subject.IsAI),
		Payload: map[string]any{"decision": map[bool]string{true: "ALLOW", false: "DENY"}[x.Code == aiosfs.SystemAdminOperation], "reason_code": x.Code, "operation": string(x.Op), "path": printable(x.Target.Path), "scope": x.Target.Scope.String(),
			"target_group_id": x.Target.Group, "subject_group_id": x.Caller.Subject.PrimaryGroup, "uid": x.Caller.UID, "count": x.Count, "reason": printable(x.Reason)}}
	if draft.Subject == "" {
		draft.Subject, draft.Key = "_system:service:aiosfs", ""
	}
	if _, err := d.log.Append(context.Background(), draft); err != nil {
		d.logger.Error("a denial could not be recorded", "error", err, "code", x.Code)
	}
}

// printable keeps a path's odd bytes out of the log.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			b[i] = '?'
		}
	}
	return string(b)
}
