package translate

import (
	"sort"
	"strconv"
)

func (w *translation) evidence() Evidence {
	r := &w.result
	e := Evidence{
		CatalogVersion: w.cat.version, TranslatorVersion: Version, Subject: w.req.Subject,
		IntentID: w.req.IntentID, PlanID: w.req.PlanID, CorrelationID: w.req.CorrelationID,
		Status: r.Status, Retrieved: []string{}, Selected: []string{}, ModelIDs: []string{},
		Confidence: strconv.FormatFloat(r.Confidence, 'f', 3, 64),
	}
	for id := range w.retrieved {
		e.Retrieved = append(e.Retrieved, id)
	}
	sort.Strings(e.Retrieved)
	for _, d := range r.Drafts {
		e.Selected = append(e.Selected, d.Step.CapabilityID)
	}
	for _, q := range r.Questions {
		e.QuestionIDs = append(e.QuestionIDs, q.ID)
	}
	if r.Refusal != nil {
		e.RefusalCode = r.Refusal.Code
	}
	return e
}

func itoa(n int) string { return strconv.Itoa(n) }
