package translate

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// Timeout is the wall time of one translation (S1.1 §19).
const Timeout = 5 * time.Second

// Concurrency is how many translations run at once (S1.1 §19).
const Concurrency = 16

// Translator holds the catalogue in force. It has no other state and may be
// used by any number of goroutines.
type Translator struct {
	catalog atomic.Pointer[Catalog]
	slots   chan struct{}
}

// New makes a translator over a verified catalogue.
func New(c *Catalog) *Translator {
	t := &Translator{slots: make(chan struct{}, Concurrency)}
	t.catalog.Store(c)
	return t
}

// Reload puts another verified catalogue in force at once; translations under
// way finish with the one they started with. It returns the previous one.
func (t *Translator) Reload(c *Catalog) *Catalog { return t.catalog.Swap(c) }

// Catalog gives the catalogue in force.
func (t *Translator) Catalog() *Catalog { return t.catalog.Load() }

// translation is the state of one call.
type translation struct {
	ctx       context.Context
	cat       *Catalog
	req       Request
	text      string
	langs     []*langIndex
	mode      plan.Mode
	result    Result
	retrieved map[string]bool
	timedOut  bool
	spent     int // steps of the matcher so far
}

// Translate turns words into drafts, questions or a refusal. The error is only
// for a request that is no request (InvalidTranslationRequest, a *plan.Error);
// words that mean nothing are a Result with a Refusal. It takes at most 5 s.
func (t *Translator) Translate(ctx context.Context, r Request) (Result, error) {
	if fault := validate(r); fault != nil {
		return Result{}, fault
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	w := t.begin(ctx, r)
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		w.refuse(&Refusal{Code: TranslationTimeout, Message: "too many goals at once; drop it again"})
		return w.finish(), nil
	}
	w.run()
	return w.finish(), nil
}

// Continue translates again with the answers to an earlier result's questions,
// by question id. The translator keeps nothing, so the request is handed back.
func (t *Translator) Continue(ctx context.Context, r Request, prior Result, answers map[string]string) (Result, error) {
	merged := map[string]string{}
	for k, v := range r.Answers {
		merged[k] = v
	}
	for _, q := range prior.Questions {
		v, ok := answers[q.ID]
		if !ok {
			continue
		}
		if len(q.AllowedValues) > 0 && !contains(q.AllowedValues, v) {
			return Result{}, &plan.Error{Code: plan.CodeInvalidRequest, Message: q.ID + ": the answer is not one of " + strings.Join(q.AllowedValues, ", ")}
		}
		merged[q.ID] = v
	}
	for id := range answers {
		if _, ok := merged[id]; !ok {
			return Result{}, &plan.Error{Code: plan.CodeInvalidRequest, Message: "nothing was asked as " + id}
		}
	}
	r.Answers = merged
	return t.Translate(ctx, r)
}

func validate(r Request) error {
	switch {
	case len(r.Utterance) > plan.MaxWords:
		return &plan.Error{Code: plan.CodeInvalidRequest, Message: "a goal in words has at most 65536 bytes"}
	case !utf8.ValidString(r.Utterance):
		return &plan.Error{Code: plan.CodeInvalidRequest, Message: "the goal is not UTF-8"}
	case strings.ContainsRune(r.Utterance, 0):
		return &plan.Error{Code: plan.CodeInvalidRequest, Message: "the goal contains a NUL byte"}
	case strings.TrimSpace(r.Utterance) == "":
		return &plan.Error{Code: plan.CodeInvalidRequest, Message: "the goal is empty"}
	}
	return nil
}

func (t *Translator) begin(ctx context.Context, r Request) *translation {
	w := &translation{ctx: ctx, cat: t.catalog.Load(), req: r, text: r.Utterance, mode: plan.Live, retrieved: map[string]bool{}}
	locale := strings.ToLower(r.Locale)
	if i := strings.IndexAny(locale, "_-."); i > 0 {
		locale = locale[:i]
	}
	for _, lang := range []string{"en", "bg", "de"} { // a fixed order, for determinism
		l, ok := w.cat.lang[lang]
		if ok && (lang == "en" || lang == locale || locale == "" || lang == "bg" && cyrillic(r.Utterance)) {
			w.langs = append(w.langs, l)
		}
	}
	w.result = Result{Drafts: []Draft{}, Questions: []Question{}, Alternatives: []Alternative{}, Warnings: []string{}}
	return w
}

func cyrillic(s string) bool {
	for _, r := range s {
		if r >= 0x400 && r <= 0x4ff {
			return true
		}
	}
	return false
}

func (w *translation) refuse(r *Refusal) {
	if w.result.Refusal == nil {
		w.result.Refusal = r
	}
}

// run does the pipeline of S1.1 §7: normalise, retrieve, rank, bind, validate,
// risk, verification, envelope.
func (w *translation) run() {
	head, content, here := hereDocument(w.text)
	toks, unclosed := tokenize(head)
	if r := guard(toks, w.cat); r != nil {
		w.refuse(r)
		return
	}
	if unclosed >= 0 {
		w.ask(1, "utterance", "The quotation mark at character "+itoa(utf8.RuneCountInString(head[:unclosed])+1)+" is never closed; write the goal again with it closed.", nil)
		return
	}
	toks = w.takeMode(toks)
	clauses := w.split(toks)
	if w.timedOut {
		w.refuse(&Refusal{Code: TranslationTimeout, Message: "the goal takes too long to understand; make it shorter"})
		return
	}
	if len(clauses) > plan.MaxSteps {
		w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: "more than 64 steps; split the goal"})
		return
	}
	if here && len(clauses) != 1 {
		here = false
	}
	if w.req.Mode == SingleAction && len(clauses) > 1 {
		w.ask(1, "action", "This is more than one action; which one?", nil)
		return
	}
	var before []string
	for i, c := range clauses {
		if w.ctx.Err() != nil || w.timedOut {
			w.refuse(&Refusal{Code: TranslationTimeout, Message: "the goal takes too long to understand; make it shorter"})
			return
		}
		var ids []string
		if here {
			ids = w.clause(i+1, c, before, &content)
		} else {
			ids = w.clause(i+1, c, before, nil)
		}
		if w.result.Refusal != nil {
			return
		}
		if ids != nil {
			before = ids
		}
	}
	if len(clauses) == 0 {
		w.refuse(&Refusal{Code: NoMatchingCapability, Message: "there is no action in these words"})
	}
	if len(w.result.Drafts) > plan.MaxSteps {
		w.refuse(&Refusal{Code: TargetSchemaImpossible, Message: "more than 64 steps; split the goal"})
	}
}

// hereDocument splits "write to X:\n<content>": the first line ends in a colon
// and what follows, byte for byte, is the content.
func hereDocument(s string) (head, content string, ok bool) {
	line, rest, found := strings.Cut(s, "\n")
	trimmed := strings.TrimRight(strings.TrimSuffix(line, "\r"), " \t")
	if !found || rest == "" || !strings.HasSuffix(trimmed, ":") || !hereVerb.MatchString(strings.ToLower(line)) {
		return s, "", false
	}
	return strings.TrimSuffix(trimmed, ":"), rest, true
}

func (w *translation) finish() Result {
	r := &w.result
	r.DryRun = w.mode
	plain, redactions := Redact(w.req.Utterance)
	r.Reason = strings.TrimSpace(plan.CleanReason(plain))
	if r.Reason == "" {
		r.Reason = "a goal in words"
	}
	switch {
	case r.Refusal != nil:
		r.Status, r.Drafts, r.Questions = Rejected, []Draft{}, []Question{}
	case len(r.Questions) > 0 && len(r.Drafts) > 0:
		r.Status = Partial
	case len(r.Questions) > 0:
		r.Status = NeedsClarification
	default:
		r.Status = Ready
	}
	r.Confidence = 0
	for i := range r.Drafts {
		d := &r.Drafts[i]
		d.Request = d.Step.Request(w.req.Subject, r.Reason, "LOCAL")
		if i == 0 || d.Confidence < r.Confidence {
			r.Confidence = d.Confidence
		}
	}
	r.Evidence = w.evidence()
	r.Evidence.UtteranceRedacted, r.Evidence.Redactions = plain, redactions
	return *r
}
