package agents

import (
	"context"
	"encoding/hex"
	"errors"
	"io"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/agents/adapter/aiosfs"
	"github.com/ai-os-dot-net/aios/agents/plan"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects"
)

// Check is one verification and what an independent look at the store said.
type Check struct {
	Type    string         `json:"type"`
	Args    map[string]any `json:"args,omitempty"`
	Outcome string         `json:"outcome"` // PASSED FAILED PROBE_ERROR SKIPPED
	Detail  string         `json:"detail,omitempty"`
}

const (
	passed     = "PASSED"
	notPassed  = "FAILED"
	probeError = "PROBE_ERROR"
)

// verify looks at what the actions of an atomic run, or of one group, did, and ends
// them.
func (rt *Runtime) verify(l *tracked, group int) error {
	if err := rt.at("verify"); err != nil {
		return err
	}
	return rt.step(l, func(c *change) error {
		var bad *Action
		for _, a := range c.r.Actions {
			if a.State != Verifying || !c.r.Plan.Atomic && a.Group != group {
				continue
			}
			a.Verification = newID("vrf", c.now)
			a.Checks = nil
			result := passed
			for _, v := range rt.checks(c.r, a) {
				k := rt.probe(rt.ctx, c.r, a, v)
				a.Checks = append(a.Checks, k)
				if k.Outcome != passed {
					result = k.Outcome
				}
			}
			c.emit(record.EmitterVerification, record.VerificationResult, a, map[string]any{"status": status(result), "result": result, "checks": len(a.Checks)})
			if result != passed && bad == nil {
				bad = a
			}
		}
		if bad != nil {
			c.emit(record.EmitterRuntime, record.ExecutionVerificationFailed, bad, map[string]any{"checks": len(bad.Checks)})
			rt.failExecution(c, bad, &Failure{Code: "VerificationFailed", Message: "an independent look did not find what was asked for", Details: map[string]any{"checks": bad.Checks}})
			return nil
		}
		for _, a := range c.r.Actions {
			if a.State != Verifying || !c.r.Plan.Atomic && a.Group != group {
				continue
			}
			must(a.move(Succeeded, false))
			c.emit(record.EmitterRuntime, record.ExecutionSucceeded, a, map[string]any{"output": a.Output.Data, "transaction_id": c.r.Txns[a.Group]})
			c.event(a, string(Succeeded), "")
		}
		c.finish()
		return nil
	})
}

// checks are the step's own verifications; an adapter that hashed what it wrote adds
// the look at it.
func (rt *Runtime) checks(r *Run, a *Action) []plan.Verification {
	if r.Plan.Mode == plan.Simulate {
		return nil // nothing happened that could be looked at
	}
	vs := a.Step.Verification
	hash, _ := a.Output.Data["content_hash"].(string)
	for _, v := range vs {
		if v.Type == "file.hash" {
			hash = ""
		}
	}
	// What a signal did to a process can be seen where it leaves the process no choice.
	signal, _ := a.Output.Data["signal"].(string)
	if want := map[string]string{"KILL": "GONE", "STOP": "STOPPED", "CONT": "RUNNING"}[signal]; want != "" && a.Step.Action == "process.signal" {
		vs = append(vs[:len(vs):len(vs)], plan.Verification{Type: "process.state", Args: map[string]any{"pid": a.Output.Data["pid"], "started": a.Output.Data["started"], "expected": want}})
	}
	if want, ok := a.Output.Data["version_state"].(string); ok {
		vs = append(vs[:len(vs):len(vs)], plan.Verification{Type: versionState, Args: map[string]any{"version": a.Output.Data["version"], "expected": want}})
	}
	if p, ok := a.Output.Data["path"].(string); ok && hash != "" && a.Step.Params["to"] == nil {
		vs = append(vs[:len(vs):len(vs)], plan.Verification{Type: "file.hash", Args: map[string]any{"object_or_path": p, "expected_hash_hex": hash}})
	}
	return vs
}

func arg(m map[string]any, names ...string) string {
	for _, n := range names {
		if s, ok := m[n].(string); ok {
			return s
		}
	}
	return ""
}

// probe looks at the store as it is now, not at what the adapter said.
func (rt *Runtime) probe(ctx context.Context, r *Run, a *Action, v plan.Verification) Check {
	k := Check{Type: v.Type, Args: v.Args, Outcome: notPassed}
	switch v.Type {
	case "repo.exists", "repo.clean":
		rt.probeRepo(ctx, r, &k, a)
		return k
	case "process.state":
		rt.probeProcess(&k)
		return k
	case "aiosfs.transaction_undone":
		rt.probeUndone(&k)
		return k
	case versionState:
		rt.probeVersion(&k)
		return k
	}
	p := arg(v.Args, "object_or_path", "path")
	at, err := rt.d.Store.Resolve(aiosfs.Rooted(r.By.Subject, p))
	gone := errors.Is(err, objects.ErrNotFound) || errors.Is(err, objects.ErrNotDir)
	if err != nil && !gone {
		k.Outcome, k.Detail = probeError, err.Error()
		return k
	}
	switch v.Type {
	case "file.exists", "aiosfs.object_exists":
		if !gone {
			k.Outcome = passed
		}
	case "aiosfs_path_in_namespace":
		want := arg(v.Args, "expected_scope")
		t, err := rt.d.Resolver.Resolve(aiosfs.Rooted(r.By.Subject, p))
		if err != nil {
			k.Detail = err.Error()
		} else if k.Detail = "scope " + t.Scope; !gone && (want == "" || t.Scope == want) {
			k.Outcome = passed
		}
	case "file.hash":
		if gone {
			k.Detail = "it does not exist"
			break
		}
		sum, err := rt.hash(at)
		if err != nil {
			k.Outcome, k.Detail = probeError, err.Error()
			break
		}
		if k.Detail = sum; sum == arg(v.Args, "expected_hash_hex", "hash") {
			k.Outcome = passed
		}
	case "aiosfs.pointer":
		rt.probePointer(&k, at, gone)
	case "not":
		term, _ := v.Args["term"].(map[string]any)
		args, _ := term["args"].(map[string]any)
		inner := rt.probe(ctx, r, a, plan.Verification{Type: arg(term, "type"), Args: args})
		switch inner.Outcome {
		case passed:
			k.Detail = "it is so"
		case notPassed:
			k.Outcome = passed
		default:
			k.Outcome, k.Detail = inner.Outcome, inner.Detail
		}
	default:
		k.Outcome, k.Detail = probeError, "VerificationGrammarUnsupported: no probe for this here"
	}
	return k
}

// versionState is the look at whether a version is in quarantine, or in none any more.
const versionState = "aiosfs.version_state"

func (rt *Runtime) probeVersion(k *Check) {
	id, err := objects.ParseID(arg(k.Args, "version"))
	if err != nil {
		k.Outcome, k.Detail = probeError, err.Error()
		return
	}
	v, err := rt.d.Store.Version(id)
	if err != nil {
		k.Outcome, k.Detail = probeError, err.Error()
		return
	}
	if k.Detail = v.State; v.State == arg(k.Args, "expected") {
		k.Outcome = passed
	}
}

// probePointer wants CURRENT to be the version, or to have its bytes: making an
// earlier version current makes a new one of the same content.
func (rt *Runtime) probePointer(k *Check, at objects.Attr, gone bool) {
	want := arg(k.Args, "expected_version")
	if gone {
		k.Detail = "it does not exist"
		return
	}
	if k.Detail = at.Version.String(); want == "" || want == k.Detail {
		k.Outcome = passed
		return
	}
	id, err := objects.ParseID(want)
	if err != nil {
		k.Outcome, k.Detail = probeError, err.Error()
		return
	}
	f, err := rt.d.Store.OpenVersion(id)
	if err != nil {
		k.Outcome, k.Detail = probeError, err.Error()
		return
	}
	h := blake3.New()
	_, err = io.Copy(h, io.NewSectionReader(f, 0, f.Size()))
	if err = errors.Join(err, f.Close()); err != nil {
		k.Outcome, k.Detail = probeError, err.Error()
		return
	}
	if sum, err := rt.hash(at); err == nil && sum == hex.EncodeToString(h.Sum(nil)) {
		k.Outcome = passed
	}
}

// hash reads a file through the store and hashes it.
func (rt *Runtime) hash(at objects.Attr) (string, error) {
	f, err := aiosfs.OpenFile(rt.d.Store, at.Ino)
	if err != nil {
		return "", err
	}
	h := blake3.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// status is what the retention of a VERIFICATION_RESULT depends on.
func status(result string) string {
	if result == passed {
		return passed
	}
	return notPassed
}
