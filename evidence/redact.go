package evidence

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/zeebo/blake3"
)

// redactionCatalog is the version of the name and shape catalogs below; it is
// named in RECEIPT_REDACTION_FAILED (S6.3 §4.4).
const redactionCatalog = "spcat_1"

// maxDepth bounds the nesting of payloads; deeper ones are refused.
const maxDepth = 64

// The redaction rules that apply here (S6.3 §4.4), as bits, strongest last.
const (
	ruleDropped  = 1 << iota // SECRET_FIELD_DROPPED
	ruleHashed               // KEY_MATERIAL_HASHED
	ruleWithheld             // FULL_PAYLOAD_WITHHELD
)

var ruleNames = []string{"SECRET_FIELD_DROPPED", "KEY_MATERIAL_HASHED", "FULL_PAYLOAD_WITHHELD"}

// secretNames are the field names whose values are dropped. Case and the
// difference between - and _ do not matter.
var secretNames = map[string]bool{
	"password": true, "passphrase": true, "api_key": true, "secret": true, "token": true,
	"auth_token": true, "bearer_token": true, "private_key": true, "client_secret": true,
	// Further entries of this catalog version:
	"passwd": true, "apikey": true, "access_token": true, "refresh_token": true, "id_token": true,
	"session_token": true, "secret_key": true, "secret_access_key": true, "authorization": true,
	"cookie": true, "set_cookie": true, "otp": true, "pin": true, "private_key_pem": true,
}

func secretName(key string) bool {
	return secretNames[strings.ReplaceAll(strings.ToLower(key), "-", "_")]
}

var errTooDeep = errors.New("payload nested too deeply")

// redactor walks one payload and remembers which rules applied.
type redactor struct{ rules int }

// redact removes secrets from a normalised payload (INV-015). It changes the
// maps it is given, and returns the class and profile to store. The error, or
// a panic on the way, means that the payload must not be stored.
func redact(payload map[string]any, classified bool) (out map[string]any, rules int, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("redactor panic: %v", p)
		}
	}()
	if classified {
		return map[string]any{}, ruleWithheld, nil
	}
	var r redactor
	v, err := r.object(payload, "", 0)
	if err != nil {
		return nil, 0, err
	}
	return v, r.rules, nil
}

// outcome returns the class and the profile text of a set of rules.
func outcome(rules int) (RedactionClass, string) {
	if rules == 0 {
		return RedactionNone, "none"
	}
	var names []string
	for i, n := range ruleNames {
		if rules&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	class := SecretRedacted
	if rules&ruleWithheld != 0 {
		class = FullRedacted
	}
	return class, strings.Join(names, ",")
}

func (r *redactor) object(m map[string]any, key string, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	private := privateJWK(m)
	for k, v := range m {
		if secretName(k) || private && jwkPrivate[k] {
			if empty(v) {
				continue
			}
			delete(m, k)
			r.rules |= ruleDropped
			continue
		}
		nv, err := r.value(v, k, depth+1)
		if err != nil {
			return nil, err
		}
		if nk := r.text(k, "path"); nk != k {
			delete(m, k)
			k = nk
		}
		m[k] = nv
	}
	return m, nil
}

// empty reports whether a secret field holds nothing worth dropping: its
// presence with such a value is itself information (token: null).
func empty(v any) bool {
	if v == nil || v == "" {
		return true
	}
	_, isBool := v.(bool)
	return isBool
}

func (r *redactor) value(v any, key string, depth int) (any, error) {
	switch v := v.(type) {
	case string:
		return r.text(v, key), nil
	case map[string]any:
		return r.object(v, key, depth)
	case []any:
		if depth > maxDepth {
			return nil, errTooDeep
		}
		for i, e := range v {
			ne, err := r.value(e, key, depth+1)
			if err != nil {
				return nil, err
			}
			v[i] = ne
		}
	}
	return v, nil
}

// hashed is what stands in the place of key material: enough to recognise
// the same value again, not to learn it.
func (r *redactor) hashed(secret string) string {
	r.rules |= ruleHashed
	return "redacted:" + hex32([]byte(secret))
}

// hex32 is the first 32 lowercase hex digits of BLAKE3-256.
func hex32(b []byte) string {
	sum := blake3.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
