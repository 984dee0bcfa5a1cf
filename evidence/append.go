package evidence

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// prepared is a draft that passed every check that needs no state, with its
// payload redacted and committed to.
type prepared struct {
	Draft
	retention record.Retention
	rules     int
	stored    []byte // payload with salt, as on disk
	hash      string
	tai       string // of a TIME_DRIFT_DETECTED: the time that it would have been
}

// Append stores the drafts, all or none, and returns when they are durable.
// Receipts come in the order of the drafts. Errors that wrap ErrInvalidDraft,
// ErrAuthority, ErrOrphanedParent, ErrRedaction, ErrTooLarge or one of the
// named refusals (refusal.go) are the draft's; ErrDegraded, ErrClockBackwards, ErrReadOnly and ErrClosed are the
// log's. If ctx ends while waiting, the records may still become durable.
func (l *Log) Append(ctx context.Context, d ...Draft) ([]Receipt, error) {
	if l.o.ReadOnly {
		return nil, fmt.Errorf("append: %w", ErrReadOnly)
	}
	if len(d) == 0 {
		return nil, nil
	}
	if err := l.Health(); err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	ps := make([]*prepared, len(d))
	for i := range d {
		p, err := l.prepare(ctx, d[i])
		if err != nil {
			return nil, err
		}
		ps[i] = p
	}
	out, err := l.submit(ctx, ps, false)
	if err != nil {
		if t, d, reason, ok := l.refusedLater(err); ok {
			l.refused(ctx, t, d, reason)
		}
	}
	return out, err
}

// Check returns the error with which Append would refuse the draft whatever
// the other drafts and the log's health: what Draft.Check finds, a key of
// another subject, a receipt id that the log has not given. As Append does, it
// leaves the side record of a refusal. The draft remembers what its payload
// comes to: after Check that must not change.
func (l *Log) Check(ctx context.Context, d *Draft) error {
	p, err := l.prepare(ctx, *d)
	if err == nil {
		d.ready = p
	}
	return err
}

// Check returns the error with which Append would always refuse the draft,
// whatever the log's state: a malformed field, an emitter without authority,
// a payload that cannot be redacted or is too large. Whoever keeps drafts in
// an outbox should ask before committing one. It records nothing.
func (d Draft) Check() error {
	if err := d.validate(); err != nil {
		return err
	}
	if err := d.authorised(); err != nil {
		return err
	}
	p, err := prepare(d)
	if err != nil {
		return fmt.Errorf("append %s: %w", d.Type, err)
	}
	return p.tooLarge()
}

func (d *Draft) authorised() error {
	if e := record.Emitter(d.Emitter); e == record.EmitterLog || !d.Type.MayEmit(e) {
		return fmt.Errorf("append %s: %w: %q", d.Type, ErrAuthority, d.Emitter)
	}
	return nil
}

func (p *prepared) tooLarge() error {
	if len(p.stored) > maxPayload {
		return fmt.Errorf("append %s: %w: payload of %d bytes", p.Type, ErrTooLarge, len(p.stored))
	}
	return nil
}

// prepare checks a draft, redacts its payload and commits to it, in the order
// of S6.3 §10.1.
func (l *Log) prepare(ctx context.Context, d Draft) (*prepared, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	if d.ID != "" && !l.gave(d.ID) {
		return nil, fmt.Errorf("append %s: %w: receipt_id %s", d.Type, ErrIllegalAuthority, d.ID)
	}
	if err := l.checkSubject(&d); err != nil {
		if errors.Is(err, ErrKeySubject) {
			l.refused(ctx, record.ReceiptForgeryDetected, d, "KEY_SUBJECT_MISMATCH")
		}
		return nil, err
	}
	if err := d.authorised(); err != nil {
		l.refused(ctx, record.ReceiptForgeryDetected, d, "EMITTER_WITHOUT_AUTHORITY")
		return nil, err
	}
	p, err := prepare(d)
	if errors.Is(err, ErrRetentionClass) {
		return nil, fmt.Errorf("append %s: %w", d.Type, err)
	}
	if err != nil {
		l.refused(ctx, record.ReceiptRedactionFailed, d, "REDACTOR_INCOMPLETE")
		return nil, fmt.Errorf("append %s: %w", d.Type, err)
	}
	return p, p.tooLarge()
}

// prepare redacts and commits; its error wraps ErrRetentionClass or
// ErrRedaction.
func prepare(d Draft) (*prepared, error) {
	if d.ready != nil {
		p := *d.ready
		p.Draft, p.Payload, p.ready = d, nil, nil
		return &p, nil
	}
	p := &prepared{Draft: d}
	plainPayload, err := normalise(d.Payload)
	if err == nil {
		p.retention = d.Type.RetentionFor(plainPayload)
		if d.Retention != 0 && d.Retention != p.retention {
			return nil, fmt.Errorf("%w: %w: a record of this type with this payload is kept %s, not %s", ErrInvalidDraft, ErrRetentionClass, p.retention, d.Retention)
		}
		plainPayload, p.rules, err = redact(plainPayload, d.Classified)
	}
	var canonical []byte
	if err == nil {
		canonical, err = appendCanonical(nil, plainPayload)
	}
	if err != nil {
		// The error's text may quote the payload: only its kind goes on.
		return nil, fmt.Errorf("%w (%T)", ErrRedaction, err)
	}
	var salt [16]byte
	rand.Read(salt[:])
	p.hash = commitment(salt, canonical)
	p.stored = appendPayload(nil, canonical, salt)
	p.Payload = nil
	return p, nil
}

// refusalWindow is how long one refusal of the same kind stands for all:
// refusals are kept for ever and must not be a way to fill the disk
// (spec/evidence.md §21.24).
const refusalWindow = time.Minute

// refusals coalesces the side records of refused drafts.
type refusals struct {
	mu   sync.Mutex
	seen map[string]*refusedKind
}

type refusedKind struct {
	since time.Time
	count int
}

// admit reports whether this refusal is to be recorded, and how many of its
// kind were left out since the last one.
func (r *refusals) admit(kind string, now time.Time) (ok bool, coalesced int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil || len(r.seen) > 4096 {
		r.seen = map[string]*refusedKind{}
	}
	e := r.seen[kind]
	if e != nil && now.Sub(e.since) < refusalWindow && !now.Before(e.since) {
		e.count++
		return false, 0
	}
	if e != nil {
		coalesced = e.count
	}
	r.seen[kind] = &refusedKind{since: now}
	return true, coalesced
}

// refused records that a draft was turned away. It carries no part of the
// payload, and never degrades the log (spec/evidence.md §21.6).
func (l *Log) refused(ctx context.Context, t record.Type, d Draft, reason string) {
	emitter := d.Emitter
	if len(emitter) > 40 {
		emitter = emitter[:40]
	}
	ok, coalesced := l.refusals.admit(t.String()+"\x00"+d.Type.String()+"\x00"+emitter+"\x00"+d.Subject, l.o.Now())
	if !ok {
		return
	}
	_, err := l.appendSelf(ctx, t, map[string]any{
		"reason_class": reason, "refused_record_type": d.Type.String(), "caller": emitter,
		"subject": d.Subject, "rule_registry": redactionCatalog, "coalesced": coalesced,
	})
	if err != nil {
		l.o.Logger.Warn("refused draft could not be recorded", "type", d.Type.String(), "err", err)
	}
}

// selfDraft is a record by the log itself.
func selfDraft(t record.Type, payload map[string]any) (*prepared, error) {
	d := Draft{Type: t, Subject: selfSubject, Emitter: string(record.EmitterLog), Scope: "_system", Payload: payload}
	return prepare(d)
}

// appendSelf appends a record by the log itself.
func (l *Log) appendSelf(ctx context.Context, t record.Type, payload map[string]any) ([]Receipt, error) {
	p, err := selfDraft(t, payload)
	if err != nil {
		return nil, err
	}
	return l.submit(ctx, []*prepared{p}, true)
}
