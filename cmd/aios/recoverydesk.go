package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/approval"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// maxPetitions is how many typed actions one recovery takes: people write them by hand.
const maxPetitions = 1000

// recoveryDesk takes the few typed actions that are possible in recovery, and only there
// (S9.1 §5): each is decided by policy and approved by another person, for exactly what it
// says and once. Nothing of it is kept: what waits when recovery ends is asked for again.
type recoveryDesk struct {
	d   *daemon
	key ed25519.PrivateKey // signs approvals
	mu  sync.Mutex
	all []*petition // oldest first
}

var _ mountfs.Intents = (*recoveryDesk)(nil)

// petition is one typed action.
type petition struct {
	id, name    string
	by          mountfs.Caller
	doc         []byte
	at, changed time.Time
	step        plan.Step
	reason      string
	op          operation
	hash        string
	decision    policy.Decision
	ask         *approval.Request
	state       string
	code, says  string // why it came to nothing
	result      map[string]any
	shows       string    // the group whose evidence it opened to its petitioner
	until       time.Time // and how long it stays open
}

func newRecoveryDesk(d *daemon) (*recoveryDesk, error) {
	k, err := key(d.cfg.State, "approval")
	return &recoveryDesk{d: d, key: k}, err
}

// sees says whether a subject was let into the evidence of a group. He must still hold
// the capability for which he was.
func (k *recoveryDesk) sees(s identity.Subject, group string) bool {
	if k == nil || !s.Has(identity.SystemAuditRead) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	return slices.ContainsFunc(k.all, func(p *petition) bool {
		return p.shows == group && p.by.Subject.ID == s.ID && now.Before(p.until)
	})
}

// Submit takes a document of one action: policy decides at once, a person later.
func (k *recoveryDesk) Submit(ctx context.Context, c mountfs.Caller, name string, doc []byte) error {
	p, err := readPetition(c, name, doc)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.find(c, name); old != nil && old.state == statePending {
		return mountfs.ErrBusy
	}
	if len(k.all) >= maxPetitions {
		return fmt.Errorf("%d actions were asked for in this recovery: %w", maxPetitions, mountfs.ErrAgain)
	}
	if err := k.decide(ctx, p); err != nil {
		return err
	}
	k.all = append(k.all, p)
	return nil
}

// The states are those of a run that its files tell of (contract §4).
const (
	statePending = "APPROVAL_PENDING"
	stateDone    = "SUCCEEDED"
	stateFailed  = "FAILED"
	stateDenied  = "POLICY_DENIED"
)

// decide asks policy; what it would allow a person must still approve.
func (k *recoveryDesk) decide(ctx context.Context, p *petition) error {
	t, err := p.op.target(p.step)
	if err != nil {
		return malformed(err)
	}
	privileged := policy.Risk{Privileged: true, RecoveryPathAffected: p.op.class == policy.Mutate}
	p.decision = k.d.kernel.Evaluate(ctx, policy.Request{RequestHash: p.hash, Action: p.step.Action, Class: p.op.class, Subject: p.by.Subject, Target: t,
		Claimed: privileged, Template: privileged, Environment: "LOCAL", DryRun: "LIVE", RecoveryMode: true})
	v := p.decision
	told := map[string]any{"decision": v.Outcome.String(), "reason_code": v.ReasonCode, "rule_id": v.RuleID, "bundle_version": v.BundleVersion, "target_group_id": t.Group}
	if err := k.tell(ctx, p.by, p, record.EmitterPolicy, record.PolicyDecision, told); err != nil {
		return err
	}
	if v.Outcome != policy.Allow && v.Outcome != policy.RequireApproval {
		for _, name := range v.ExtraRecords {
			t, err := record.Parse(name)
			if err == nil {
				err = k.tell(ctx, p.by, p, t.Emitters()[0], t, map[string]any{"reason_code": v.ReasonCode, "target_group_id": p.group(), "subject_group_id": p.by.Subject.PrimaryGroup})
			}
			if err != nil {
				return err
			}
		}
		p.end(stateDenied, v.ReasonCode, v.ReasonMessage)
		return nil
	}
	return k.askFor(ctx, p)
}

func (k *recoveryDesk) askFor(ctx context.Context, p *petition) error {
	v, s := p.decision, p.by.Subject
	classes, strength, ttl := v.Approval.ApproverClasses, v.Approval.Strength, v.Approval.TTLSeconds
	if !v.Approval.Required {
		classes, strength, ttl = []string{"human"}, "STRONG", 300
	}
	q, err := approval.New(approval.Request{ActionID: p.id, DecisionID: v.ID, RequestHash: p.hash, BundleVersion: v.BundleVersion, Proposer: s.ID, ProposerUID: p.by.UID,
		ProposerAI: s.IsAI, ProposerGroup: s.PrimaryGroup, Classes: classes, Strength: strength, TTLSeconds: ttl}, v.HardDeny, time.Now())
	if err == nil {
		err = q.Deliver(time.Now())
	}
	if err != nil {
		return fmt.Errorf("ask for an approval: %w", err)
	}
	p.ask, p.state = q, statePending
	for _, t := range []record.Type{record.ApprovalRequested, record.ApprovalDelivered} {
		if err := k.tell(ctx, p.by, p, record.EmitterApproval, t, map[string]any{"approval_request_id": q.ID, "strength": q.Strength, "expires_at": q.ExpiresAt}); err != nil {
			return err
		}
	}
	return nil
}

// Write takes a person's word: `grant <hash>` or `deny <reason>`.
func (k *recoveryDesk) Write(ctx context.Context, c mountfs.Caller, run, file string, data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.find(c, run)
	if p == nil || file != "approval" || p.ask == nil {
		return mountfs.ErrNotFound
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	q, rest := p.ask, strings.TrimSpace(rest)
	switch word {
	case "grant":
		if err := q.Grant(c.Subject, rest, k.key, time.Now()); err != nil {
			return approvalRefused(err)
		}
		if err := k.tell(ctx, c, p, record.EmitterApproval, record.ApprovalGranted, map[string]any{"approval_request_id": q.ID}); err != nil {
			return err
		}
		if q.State == approval.Granted { // of two people the second one has signed, too
			return k.perform(ctx, p)
		}
	case "deny":
		if err := q.Deny(c.Subject, rest); err != nil {
			return approvalRefused(err)
		}
		p.end(stateFailed, "ApprovalDenied", "denied by "+c.Subject.ID+": "+rest)
		return k.tell(ctx, c, p, record.EmitterApproval, record.ApprovalDenied, map[string]any{"approval_request_id": q.ID, "message": rest})
	default:
		return fmt.Errorf("write `grant <hash>` or `deny <reason>`: %w", mountfs.ErrInvalid)
	}
	return nil
}

func approvalRefused(err error) error {
	if errors.Is(err, approval.ErrHash) || errors.Is(err, approval.ErrTransition) || errors.Is(err, approval.ErrExpired) {
		return fmt.Errorf("%w: %w", mountfs.ErrInvalid, err)
	}
	return fmt.Errorf("%w: %w", mountfs.ErrDenied, err)
}

// perform spends the grant, which is durable in the log before anything is done with it.
func (k *recoveryDesk) perform(ctx context.Context, p *petition) error {
	q := p.ask
	if err := q.Consume(p.hash, k.key.Public().(ed25519.PublicKey), time.Now()); err != nil {
		p.end(stateFailed, "ApprovalDenied", err.Error())
		return approvalRefused(err)
	}
	err := k.tell(ctx, p.by, p, record.EmitterApproval, record.ApprovalConsumed, map[string]any{"approval_request_id": q.ID, "binding_id": q.Binding.ID, "granting_subject_id": q.Binding.Granting})
	if err == nil {
		err = p.op.perform(ctx, k, p)
	}
	if err != nil {
		p.end(stateFailed, "ExecutionFailed", err.Error())
		return nil // the word was taken; what came of it is in error.json
	}
	p.end(stateDone, "", "")
	return nil
}

func (p *petition) end(state, code, says string) {
	p.state, p.code, p.says, p.changed = state, code, says, time.Now()
}

// tell writes a record about a petition, in somebody's name.
func (k *recoveryDesk) tell(ctx context.Context, who mountfs.Caller, p *petition, e record.Emitter, t record.Type, payload map[string]any) error {
	if _, err := k.d.log.Append(ctx, k.draft(who, p, e, t, payload)); err != nil {
		return fmt.Errorf("record %s: %w", t, err)
	}
	return nil
}

func (k *recoveryDesk) draft(who mountfs.Caller, p *petition, e record.Emitter, t record.Type, payload map[string]any) evidence.Draft {
	s := who.Subject
	payload["action"], payload["request_hash"], payload["recovery_mode"] = p.step.Action, p.hash, true
	d := evidence.Draft{Type: t, Emitter: string(e), Subject: s.ID, SubjectIsAI: s.IsAI, Key: k.d.log.KeyFor(s.ID, s.IsAI), Session: s.SessionClass, Scope: "_system", CorrelationID: p.id, Payload: payload}
	if s.PrimaryGroup != "_system" {
		d.Scope, d.GroupID = "groups", s.PrimaryGroup
	}
	return d
}

// expire ends what nobody approved in time; k.mu is held.
func (k *recoveryDesk) expire(p *petition) {
	if p.ask == nil || !p.ask.Expire(time.Now()) {
		return
	}
	p.end(stateFailed, "ApprovalExpired", "nobody approved it in time")
	if err := k.tell(context.Background(), p.by, p, record.EmitterApproval, record.ApprovalExpired, map[string]any{"approval_request_id": p.ask.ID}); err != nil {
		k.d.logger.Error("an approval's end could not be recorded", "error", err)
	}
}

// find gives a petition by its petitioner's name for it, or by its id for whoever may
// decide on it or looks after the machine; k.mu is held.
func (k *recoveryDesk) find(c mountfs.Caller, run string) *petition {
	for _, p := range slices.Backward(k.all) {
		own := p.by.Subject.ID == c.Subject.ID
		if own && (p.name == run || p.id == run) || p.id == run && p.shownTo(c.Subject) {
			k.expire(p)
			return p
		}
	}
	return nil
}

func (p *petition) shownTo(s identity.Subject) bool {
	return s.Admin || p.ask != nil && p.ask.Eligible(s) == nil
}

// Runs lists the caller's own by name, the last of each, and what he may decide on by id.
func (k *recoveryDesk) Runs(c mountfs.Caller) []mountfs.RunInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []mountfs.RunInfo
	named := map[string]bool{}
	for _, p := range slices.Backward(k.all) {
		name := p.id
		if p.by.Subject.ID == c.Subject.ID && !named[p.name] {
			name = p.name
			named[name] = true
		} else if p.by.Subject.ID == c.Subject.ID || !p.shownTo(c.Subject) {
			continue
		}
		out = append(out, mountfs.RunInfo{Name: name, ID: p.id, Accepted: p.at, DocSize: int64(len(p.doc))})
	}
	return out
}

// Find gives the caller's own.
func (k *recoveryDesk) Find(c mountfs.Caller, name string) (mountfs.RunInfo, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.find(c, name)
	if p == nil {
		return mountfs.RunInfo{}, false
	}
	return mountfs.RunInfo{Name: name, ID: p.id, Accepted: p.at, DocSize: int64(len(p.doc))}, true
}

// Document is what was dropped.
func (k *recoveryDesk) Document(c mountfs.Caller, run string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.find(c, run)
	if p == nil {
		return nil, mountfs.ErrNotFound
	}
	return p.doc, nil
}

// files are what NAME.d holds.
func (p *petition) files() map[string][]byte {
	show := func(v any) []byte {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return []byte("{}\n") // of strings and numbers only
		}
		return append(b, '\n')
	}
	f := map[string][]byte{"state": []byte(p.state + "\n"), "decision.json": show([]policy.Decision{p.decision})}
	if q := p.ask; q != nil {
		f["approval"] = fmt.Appendf(nil, "%s asks for %s\nid: %s\non %s\nreason: %s\nstate: %s\nstrength: %s\nexpires: %s\nhash: %s\n",
			q.Proposer, p.step.Action, p.id, show(p.step.RequestTarget()), p.reason, q.State, q.Strength, q.ExpiresAt.Format(time.RFC3339), p.hash)
	}
	if p.code != "" {
		f["error.json"] = show(map[string]any{"code": p.code, "message": p.says, "details": map[string]any{}, "retryable": p.code == "ApprovalExpired"})
	}
	if p.result != nil {
		f["result.json"] = show(p.result)
	}
	return f
}

func (k *recoveryDesk) shownFiles(c mountfs.Caller, run string) (*petition, map[string][]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.find(c, run)
	if p == nil {
		return nil, nil, mountfs.ErrNotFound
	}
	return p, p.files(), nil
}

// List lists NAME.d.
func (k *recoveryDesk) List(c mountfs.Caller, run, dir string) ([]mountfs.FileInfo, error) {
	p, files, err := k.shownFiles(c, run)
	if err != nil || dir != "" {
		return nil, mountfs.ErrNotFound
	}
	var out []mountfs.FileInfo
	for name, data := range files {
		fi := mountfs.FileInfo{Name: name, Mode: syscall.S_IFREG | 0o444, Size: int64(len(data)), ModTime: p.at, Listed: true}
		if name == "approval" {
			fi.Mode, fi.Writable = syscall.S_IFREG|0o644, true
		}
		out = append(out, fi)
	}
	slices.SortFunc(out, func(a, b mountfs.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Stat finds one file of NAME.d.
func (k *recoveryDesk) Stat(c mountfs.Caller, run, file string) (mountfs.FileInfo, error) {
	list, err := k.List(c, run, "")
	if err != nil {
		return mountfs.FileInfo{}, err
	}
	if i := slices.IndexFunc(list, func(fi mountfs.FileInfo) bool { return fi.Name == file }); i >= 0 {
		return list[i], nil
	}
	return mountfs.FileInfo{}, mountfs.ErrNotFound
}

// Read gives a file of NAME.d.
func (k *recoveryDesk) Read(c mountfs.Caller, run, file string) ([]byte, error) {
	_, files, err := k.shownFiles(c, run)
	if b, ok := files[file]; ok && err == nil {
		return b, nil
	}
	return nil, mountfs.ErrNotFound
}

// Stream has nothing to wait for: an approval is performed while it is written.
func (k *recoveryDesk) Stream(context.Context, mountfs.Caller, string, string) (io.ReadCloser, error) {
	return nil, mountfs.ErrNotFound
}

// Inbox, GroupInbox and Done have no place in recovery: nobody's directories are there.
func (k *recoveryDesk) Inbox(mountfs.Caller) []mountfs.RunInfo { return nil }

// GroupInbox is empty.
func (k *recoveryDesk) GroupInbox(mountfs.Caller, string) []mountfs.RunInfo { return nil }

// Done is empty.
func (k *recoveryDesk) Done(mountfs.Caller) []string { return nil }

func newPetitionID() string { return "rec_" + ulid.Make().String() }
