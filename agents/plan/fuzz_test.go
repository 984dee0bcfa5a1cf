package plan

import (
	"errors"
	"testing"
)

func FuzzParseDocument(f *testing.F) {
	for _, c := range bad {
		if len(c.doc) < 4096 {
			f.Add([]byte(c.doc), c.file)
		}
	}
	f.Add([]byte(head+"actions:\n- {id: a, action: a.b, target: {path: x}, verify: [{type: file.exists}]}\n"), "")
	f.Add([]byte(`{"schema":"aios.intent.v1alpha1","reason":"r","actions":[{"action":"a.b","after":[]}]}`), "x.json")
	f.Fuzz(func(t *testing.T, doc []byte, name string) {
		d, err := ParseDocument(doc, name)
		var e *Error
		if err != nil {
			if !errors.As(err, &e) || e.Message == "" || e.Code == "" || e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %#v", doc, err)
			}
			return
		}
		if d.Kind == Typed && (d.Reason == "" || len(d.Actions) == 0 || len(d.Order) != len(d.Actions)) {
			t.Fatalf("%q: %+v", doc, d)
		}
	})
}
