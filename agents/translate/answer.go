package translate

import (
	"encoding/json"
	"strings"

	"github.com/ai-os-dot-net/aios/agents/plan"
)

// ParseAnswer reads the text written to `answer`: the bare value when one
// question is open, otherwise `question_id: value` lines or a JSON object. The
// error is a *plan.Error.
func ParseAnswer(text string, questions []Question) (map[string]string, error) {
	byID := map[string]Question{}
	for _, q := range questions {
		byID[q.ID] = q
	}
	body := strings.TrimRight(text, "\r\n")
	out := map[string]string{}
	if strings.HasPrefix(strings.TrimSpace(body), "{") {
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			return nil, &plan.Error{Code: plan.CodeInvalidRequest, Message: "the answer is no JSON object of texts", Line: 1, Column: 1}
		}
	} else if first, value, ok := strings.Cut(body, ":"); len(questions) == 1 && (!ok || byID[strings.TrimSpace(first)].ID == "") {
		out[questions[0].ID] = body
	} else {
		_ = value
		for i, line := range strings.Split(body, "\n") {
			if strings.TrimSpace(line) == "" {
				continue
			}
			id, v, ok := strings.Cut(line, ":")
			if !ok {
				return nil, &plan.Error{Code: plan.CodeInvalidRequest, Message: "an answer is `question_id: value`", Line: i + 1, Column: 1}
			}
			out[strings.TrimSpace(id)] = strings.TrimSpace(v)
		}
	}
	for id, v := range out {
		q, ok := byID[id]
		if !ok {
			return nil, &plan.Error{Code: plan.CodeInvalidRequest, Message: "nothing was asked as " + id}
		}
		if len(q.AllowedValues) > 0 && !contains(q.AllowedValues, v) {
			return nil, &plan.Error{Code: plan.CodeInvalidRequest, Message: id + ": not one of " + strings.Join(q.AllowedValues, ", ")}
		}
	}
	return out, nil
}
