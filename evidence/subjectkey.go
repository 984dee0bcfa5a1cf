package evidence

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

// A SubjectKey is the word of whoever established who is asking: it goes from
// there with the request to every draft about it, so that no confusion on the
// way can make a record speak for somebody else. It is bound to one subject
// and to whether that is an AI, holds no longer secret than this log's own,
// and stays valid over restarts, as a run does.
type SubjectKey string

// keyPrefix starts every capability key (S6.3 §3).
const keyPrefix = "vcap_"

// KeyFor gives the key of a subject. Only what resolves a caller by the
// kernel's word may ask for it.
func (l *Log) KeyFor(subject string, isAI bool) SubjectKey {
	ai := "human"
	if isAI {
		ai = "ai"
	}
	return SubjectKey(keyPrefix + hex.EncodeToString(l.secrets.subjects.mac(subject, ai)[:16]))
}

// Subjects is what the identity catalogue says at the time of an append.
type Subjects interface {
	// Known tells whether the catalogue names the subject, and as an AI.
	Known(subject string) (isAI, known bool)
}

// UseSubjects has every later draft held against the identity catalogue.
func (l *Log) UseSubjects(s Subjects) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subjects = s
}

// spokenFor are the emitters that speak for whoever dropped a goal or decides
// on one. Others either speak for the system or stand where the caller is
// resolved themselves.
func spokenFor(e record.Emitter) bool {
	switch e {
	case record.EmitterRuntime, record.EmitterTranslator, record.EmitterApproval, record.EmitterOverride, record.EmitterVerification:
		return true
	}
	return false
}

// checkSubject holds the draft's subject against its key and the identity
// catalogue.
func (l *Log) checkSubject(d *Draft) error {
	system := strings.HasPrefix(d.Subject, "_system:")
	same := func(ai bool) bool {
		return subtle.ConstantTimeCompare([]byte(d.Key), []byte(l.KeyFor(d.Subject, ai))) == 1
	}
	switch {
	case d.Key == "" && (system || !l.o.RequireKeys || !spokenFor(record.Emitter(d.Emitter))):
	case d.Key == "":
		return fmt.Errorf("append %s: %w: no key of %s", d.Type, ErrKeySubject, d.Subject)
	case same(d.SubjectIsAI):
	case same(!d.SubjectIsAI):
		return mismatch(d, "key")
	default:
		return fmt.Errorf("append %s: %w: the key is not of %s", d.Type, ErrKeySubject, d.Subject)
	}
	if system && d.SubjectIsAI {
		return mismatch(d, "name")
	}
	l.mu.RLock()
	s := l.subjects
	l.mu.RUnlock()
	if s != nil {
		if ai, known := s.Known(d.Subject); known && ai != d.SubjectIsAI {
			return mismatch(d, "entry in the identity catalogue")
		}
	}
	return nil
}

func mismatch(d *Draft, what string) error {
	return fmt.Errorf("append %s: %w: %w: subject_is_ai is %t, and the %s of %s says otherwise", d.Type, ErrInvalidDraft, ErrIdentityBundle, d.SubjectIsAI, what, d.Subject)
}
