package agents

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ai-os-dot-net/aios/policy"
)

// RunInfo is one run of the drop box.
type RunInfo struct {
	Name, ID string
	Accepted time.Time
	DocSize  int64 // bytes
}

// FileInfo is a file of a run's directory.
type FileInfo struct {
	Name     string
	Mode     uint32 // S_IFREG, S_IFDIR or S_IFLNK, and permissions
	Size     int64
	ModTime  time.Time
	Listed   bool
	Blocking bool // reading may wait
	Writable bool
	Link     string
}

// named finds the submitter's run that has a name in intents/.
func (rt *Runtime) named(subject, name string) *tracked {
	rt.mu.Lock()
	l := rt.byName[subject+"\x00"+name]
	rt.mu.Unlock()
	if l == nil {
		return nil
	}
	if r := l.now(); r.MovedTo != "" || r.Name != name && !slices.Contains(r.Aliases, name) {
		return nil
	}
	return l
}

// moved finds the submitter's run at a place below .done/. One that was found is noted
// among the names, where no slash is: a walk asks for each of thousands some thirty times.
func (rt *Runtime) moved(subject, place string) *tracked {
	key := subject + "\x00" + place
	is := func(l *tracked) bool {
		r := l.now()
		return r.By.Subject.ID == subject && r.MovedTo == place
	}
	rt.mu.Lock()
	l := rt.byName[key]
	rt.mu.Unlock()
	if l != nil && is(l) {
		return l
	}
	for _, l := range rt.all() {
		if is(l) {
			rt.mu.Lock()
			rt.byName[key] = l
			rt.mu.Unlock()
			return l
		}
	}
	return nil
}

// Find gives the caller's run that is shown in intents/ under a name.
func (rt *Runtime) Find(by Submitter, name string) (RunInfo, bool) {
	l := rt.named(by.Subject.ID, name)
	if l == nil {
		return RunInfo{}, false
	}
	return info(l.now(), name), true
}

// visible finds a run by its name, its place below .done/, or its id; own says
// whether it is the caller's. Another's is visible to who may decide on it, to whom it
// stands in an inbox, and to an administrator.
func (rt *Runtime) visible(by Submitter, run string) (l *tracked, own bool) {
	if strings.Contains(run, "/") {
		if l := rt.moved(by.Subject.ID, run); l != nil {
			return l, true
		}
		return nil, false
	}
	if l := rt.named(by.Subject.ID, run); l != nil {
		return l, true
	}
	l = rt.tracked(run)
	if l == nil {
		return nil, false
	}
	r := l.now()
	switch {
	case r.By.Subject.ID == by.Subject.ID:
		return l, true
	case by.Subject.Admin && !by.Subject.IsAI, rt.mayDecide(r, by), rt.shown(r, by.Subject):
		return l, false
	}
	for _, a := range r.Actions {
		// Who has decided may go on reading what became of it.
		if a.Approval != nil && a.Approval.Binding != nil && a.Approval.Binding.Granting == by.Subject.ID {
			return l, false
		}
	}
	return nil, false
}

func (rt *Runtime) mayDecide(r *Run, by Submitter) bool {
	for _, a := range r.Actions {
		if a.waits() && a.Approval.Eligible(by.Subject) == nil {
			return true
		}
	}
	return false
}

func info(r *Run, name string) RunInfo {
	return RunInfo{Name: name, ID: r.ID, Accepted: r.Accepted, DocSize: int64(len(r.Doc))}
}

// Runs lists the caller's runs that are shown in intents/, by name.
func (rt *Runtime) Runs(by Submitter) []RunInfo {
	var out []RunInfo
	for _, l := range rt.all() {
		if r := l.now(); r.By.Subject.ID == by.Subject.ID && r.MovedTo == "" {
			out = append(out, info(r, r.Name))
			for _, n := range r.Aliases {
				out = append(out, info(r, n))
			}
		}
	}
	slices.SortFunc(out, func(a, b RunInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Done lists the caller's runs that were moved away, as YYYY/MM/DD/NAME.
func (rt *Runtime) Done(by Submitter) []string {
	var out []string
	for _, l := range rt.all() {
		if r := l.now(); r.By.Subject.ID == by.Subject.ID && r.MovedTo != "" {
			out = append(out, r.MovedTo)
		}
	}
	slices.Sort(out)
	return out
}

// Document is the accepted document as it was dropped.
func (rt *Runtime) Document(by Submitter, run string) ([]byte, error) {
	l, _ := rt.visible(by, run)
	if l == nil {
		return nil, ErrNotFound
	}
	return l.now().Doc, nil
}

// render gives the files of a run's directory that are there at once, by path. What they
// say is the run's, which is replaced and never changed: so the last ones are kept for a
// program that asks for each file of a directory, and for its size, by name.
func (rt *Runtime) render(r *Run) map[string][]byte {
	rt.renderedMu.Lock()
	f := rt.rendered[r]
	rt.renderedMu.Unlock()
	if f != nil {
		return f
	}
	f = rt.rendering(r)
	rt.renderedMu.Lock()
	defer rt.renderedMu.Unlock()
	if len(rt.rendered) >= maxRendered {
		clear(rt.rendered)
	}
	rt.rendered[r] = f
	return f
}

// maxRendered bounds the runs whose files are kept, some tens of KiB each.
const maxRendered = 64

func (rt *Runtime) rendering(r *Run) map[string][]byte {
	f := map[string][]byte{"state": []byte(r.State() + "\n"), "events.log": events(r)}
	if r.Plan != nil {
		f["plan.json"] = pretty(r.Plan)
		f["plan"] = []byte(r.Diff)
	}
	var envelopes []envelope
	type decided struct {
		policy.Decision
		Action string `json:"action"`
	}
	decisions := []decided{}
	var checks []any
	results := map[string]any{}
	for _, a := range r.Actions {
		f["actions/"+a.ID+"/state"] = []byte(string(a.State) + "\n")
		f["actions/"+a.ID+"/phase"] = []byte(a.Phase() + "\n")
		envelopes = append(envelopes, rt.envelope(r, a))
		if a.Decision != nil {
			decisions = append(decisions, decided{*a.Decision, a.Step.Action})
		}
		if a.Verification != "" {
			result := "VERIFICATION_PASSED"
			for _, k := range a.Checks {
				if k.Outcome != passed {
					result = "VERIFICATION_FAILED"
				}
			}
			checks = append(checks, map[string]any{"verification_id": a.Verification, "action_id": a.ID, "result": result, "checks": a.Checks})
		}
		if a.State == Succeeded {
			results[a.Step.ID] = map[string]any{"action": a.Step.Action, "action_id": a.ID, "output": a.Output, "transaction_id": r.Txns[a.Group]}
		}
	}
	if len(envelopes) > 0 {
		f["intent.json"] = pretty(envelopes)
	}
	if len(decisions) > 0 {
		f["decision.json"] = pretty(decisions)
	}
	if len(checks) > 0 {
		f["verification.json"] = pretty(checks)
	}
	if r.Terminal() && len(results) > 0 && r.State() == string(Succeeded) {
		f["result.json"] = pretty(map[string]any{"summary": summary(r), "actions": results})
	}
	if r.Failure != nil {
		f["error.json"] = pretty(r.Failure)
	}
	if len(r.Questions) > 0 && r.Word == runAsking {
		f["question"] = question(r)
		f["answer"] = []byte{}
	}
	if slices.ContainsFunc(r.Actions, func(a *Action) bool { return a.Approval != nil }) {
		f["approval"] = approvalText(r)
	}
	if a := deniedForGood(r); a != nil {
		f["override"] = []byte("denied for good (" + a.Decision.ReasonCode + "): nobody can override it\n")
	}
	f["cancel"], f["rollback"] = []byte{}, []byte{}
	return f
}

func pretty(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return []byte(fmt.Sprintf("{\"error\": %q}\n", err))
	}
	return b.Bytes()
}

func events(r *Run) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, x := range r.Events {
		_ = e.Encode(x) // into memory, of plain strings
	}
	return b.Bytes()
}

func question(r *Run) []byte {
	var b strings.Builder
	for _, q := range r.Questions {
		fmt.Fprintf(&b, "%s: %s\n", q.ID, q.Prompt)
		for _, v := range q.AllowedValues {
			fmt.Fprintf(&b, "  %s\n", v)
		}
	}
	return []byte(b.String())
}

func approvalText(r *Run) []byte {
	var b strings.Builder
	for _, a := range r.Actions {
		q := a.Approval
		if q == nil {
			continue
		}
		fmt.Fprintf(&b, "%s asks for %s\nid: %s\n", q.Proposer, a.Step.Action, r.ID)
		for _, p := range paths(a.Step, r.By) {
			fmt.Fprintf(&b, "on /aios/%s\n", p)
		}
		fmt.Fprintf(&b, "reason: %s\nstate: %s\nstrength: %s\n", r.Plan.Reason, q.State, q.Strength)
		if q.First != nil && q.Binding == nil {
			fmt.Fprintf(&b, "signed by: %s; a second person must, too\n", q.First.Subject)
		}
		if !q.ExpiresAt.IsZero() {
			fmt.Fprintf(&b, "expires: %s\n", q.ExpiresAt.Format(time.RFC3339))
		}
		fmt.Fprintf(&b, "hash: %s\n\n", a.RequestHash)
	}
	return []byte(b.String())
}

// controls are the files that are written to.
var controls = []string{"answer", "approval", "cancel", "override", "rollback"}

func (rt *Runtime) fileInfo(r *Run, run, p string, data []byte) FileInfo {
	name := p[strings.LastIndexByte(p, '/')+1:]
	fi := FileInfo{Name: name, Mode: syscall.S_IFREG | 0o444, Size: int64(len(data)), ModTime: r.Changed, Listed: true}
	if slices.Contains(controls, p) {
		fi.Writable, fi.Mode = true, syscall.S_IFREG|0o644
	}
	return fi
}

// List lists what lies in a directory of NAME.d: "", "actions", "actions/<id>",
// "evidence".
func (rt *Runtime) List(by Submitter, run, dir string) ([]FileInfo, error) {
	l, _ := rt.visible(by, run)
	if l == nil {
		return nil, ErrNotFound
	}
	r := l.now()
	if dir == "evidence" {
		return rt.evidenceLinks(r, run), nil
	}
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	var out []FileInfo
	seen := map[string]bool{}
	add := func(fi FileInfo) {
		if !seen[fi.Name] {
			seen[fi.Name] = true
			out = append(out, fi)
		}
	}
	for p, data := range rt.render(r) {
		rest, ok := strings.CutPrefix(p, prefix)
		if !ok {
			continue
		}
		if sub, _, deeper := strings.Cut(rest, "/"); deeper {
			add(FileInfo{Name: sub, Mode: syscall.S_IFDIR | 0o555, ModTime: r.Changed, Listed: true})
			continue
		}
		add(rt.fileInfo(r, run, p, data))
	}
	if dir == "" {
		add(FileInfo{Name: "evidence", Mode: syscall.S_IFDIR | 0o555, ModTime: r.Changed, Listed: true})
	}
	if len(out) == 0 {
		return nil, ErrNotFound
	}
	slices.SortFunc(out, func(a, b FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// evidenceLinks are symlinks to the run's records that the log has, in order.
func (rt *Runtime) evidenceLinks(r *Run, run string) []FileInfo {
	var out []FileInfo
	for i := range r.Evidence {
		if fi, ok := rt.evidenceLink(r, run, i); ok {
			out = append(out, fi)
		}
	}
	return out
}

// evidenceLink is one of them, false while it is in the outbox still.
func (rt *Runtime) evidenceLink(r *Run, run string, i int) (FileInfo, bool) {
	rec, err := rt.d.Log.Receipt(r.Evidence[i].ID)
	if err != nil {
		return FileInfo{}, false
	}
	up := strings.Repeat("../", 3+strings.Count(run, "/"))
	if strings.Contains(run, "/") {
		up += "../" // .done
	}
	link := up + "evidence/records/" + rec.RecordedAt.UTC().Format("2006/01/02/15") + "/" + rec.ID + ".json"
	return FileInfo{Name: evidenceName(r, i), Mode: syscall.S_IFLNK | 0o777, Size: int64(len(link)),
		ModTime: rec.RecordedAt, Listed: true, Link: link}, true
}

func evidenceName(r *Run, i int) string { return fmt.Sprintf("%03d-%s.json", i+1, r.Evidence[i].Type) }

// Stat finds one file, also wait and events, which are not listed.
func (rt *Runtime) Stat(by Submitter, run, file string) (FileInfo, error) {
	l, _ := rt.visible(by, run)
	if l == nil {
		return FileInfo{}, ErrNotFound
	}
	r := l.now()
	if file == "" {
		return FileInfo{Name: run + ".d", Mode: syscall.S_IFDIR | 0o555, ModTime: r.Changed, Listed: true}, nil
	}
	if file == "wait" || file == "events" {
		return FileInfo{Name: file, Mode: syscall.S_IFREG | 0o444, ModTime: r.Changed, Blocking: true}, nil
	}
	dir, name := "", file
	if i := strings.LastIndexByte(file, '/'); i >= 0 {
		dir, name = file[:i], file[i+1:]
	}
	if dir == "evidence" { // each of them is read from the log
		for i := range r.Evidence {
			if evidenceName(r, i) != name {
				continue
			}
			if fi, ok := rt.evidenceLink(r, run, i); ok {
				return fi, nil
			}
		}
		return FileInfo{}, ErrNotFound
	}
	all, err := rt.List(by, run, dir)
	if err != nil {
		return FileInfo{}, err
	}
	for _, fi := range all {
		if fi.Name == name {
			return fi, nil
		}
	}
	return FileInfo{}, ErrNotFound
}

// Read gives the whole of a file that is there at once.
func (rt *Runtime) Read(by Submitter, run, file string) ([]byte, error) {
	l, _ := rt.visible(by, run)
	if l == nil {
		return nil, ErrNotFound
	}
	b, ok := rt.render(l.now())[file]
	if !ok {
		return nil, ErrNotFound
	}
	return b, nil
}
