package evidence

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pieces are what texts with and without secrets are made of; some are halves of a secret,
// or secrets in letters that fold to others.
var pieces = []string{
	"password", "PassPhrase", "paſſword", "api_key", "api-\u212aey", "toKen", "secret", "client_secret", "auth-token", "access_token",
	"=", ":", ": ", "\" : \"", "'", ";", ",", " ", "\t", "\n", "-", "_", "/", "@", "://", "user:", "https://bob:", "hunter2hunter2",
	"sk-abcdefgh12345678", "sk-", "ghp_0123456789abcdef", "gh", "github_pat_0123456789abcdefgh", "glpat-0123456789abcdefgh", "xoxb-1234567890-ab",
	"AKIAABCDEFGHIJKLMNOP", "AIzaSyA0123456789012345678901234567890", "eyJhbGciOi.eyJzdWIiOi.sig", "Bearer ", "basic ", "bEARER\t",
	"dXNlcjpwYXNzd29yZDEyMw==", `"kty":"RSA"`, `"kty" :`, `"d":"`, `"k" :`, "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----",
	"obj_01M8FBY03YMPZNQYGZE5V1NP3R", "b3:", "redacted:", "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
	"aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3gH5jK7mN9pQ1sT3vW5yZ7bC9dF1gH3j", "qW3eR5tY7uI9oP1aS3dF5gH7jK9lZ1xC", "an ordinary sentence about a cat", "é", "\xff",
}

var (
	word   = regexp.MustCompile(`[A-Za-z0-9_\-]{32,}`)
	blob   = regexp.MustCompile(`[A-Za-z0-9+/]{64,}={0,2}`)
	ofOurs = regexp.MustCompile(`^(evr|recpt|act|intent|plan|corr|polreq|poldec|apprq|appb|appr|ovrq|ovr|actrq|vrf|vrfi|sess|obj|ver|chunk|txn|tx|snap|agent|run|req|hnd|chk|idem|seg|tplan|polb|invbundle|idbundle|statbundle|reccritical|sigfloor|spcat|nscat|narrativebundle|vcap|subj)_([0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{16,64})$`)
)

// byRules is what text gives when no rule is left out.
func (r *redactor) byRules(s, key string) string {
	if len(s) < 8 {
		return s
	}
	s = pemBlock.ReplaceAllStringFunc(s, r.hashed)
	if jwkText.MatchString(s) && jwkKey.MatchString(s) {
		return r.hashed(s)
	}
	s = userinfo.ReplaceAllStringFunc(s, func(m string) string {
		r.rules |= ruleDropped
		return userinfo.FindStringSubmatch(m)[1] + "redacted@"
	})
	s = assigned.ReplaceAllStringFunc(s, func(m string) string {
		p := assigned.FindStringSubmatch(m)
		if strings.HasPrefix(p[3], "redacted") {
			return m
		}
		r.rules |= ruleDropped
		return p[1] + p[2] + "redacted"
	})
	s = provider.ReplaceAllStringFunc(s, r.hashed)
	s = bearer.ReplaceAllStringFunc(s, func(m string) string {
		p := bearer.FindStringSubmatch(m)
		if !looksRandom(p[2], 3.0) {
			return m
		}
		return p[1] + " " + r.hashed(p[2])
	})
	if !signatureField(key) {
		s = blob.ReplaceAllStringFunc(s, func(m string) string {
			if hexWord(m) || !looksRandom(m, 4.6) {
				return m
			}
			return r.hashed(m)
		})
	}
	return word.ReplaceAllStringFunc(s, func(m string) string {
		switch {
		case ofOurs.MatchString(m), signatureField(key):
			return m
		case hexWord(m):
			if digestField(key) || strings.Contains(s, ":"+m) || strings.Contains(s, "redacted:"+m) {
				return m
			}
			return r.hashed(m)
		case looksRandom(m, 4.0):
			return r.hashed(m)
		}
		return m
	})
}

// Leaving out the rules that a text cannot match leaves no secret in it.
func TestRulesThatAreLeftOutWouldFindNothing(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 8).Draw(t, "pieces"), rapid.SampledFrom([]string{"", " "}).Draw(t, "between"))
		key := rapid.SampledFrom([]string{"note", "hash", "signature", "id"}).Draw(t, "key")
		var got, want redactor
		if g, w := got.text(s, key), want.byRules(s, key); g != w || got.rules != want.rules {
			t.Fatalf("%q gives %q (%b), by all rules %q (%b)", s, g, got.rules, w, want.rules)
		}
		if want.rules != 0 {
			found++
		}
	})
	if found == 0 {
		t.Error("no text had a secret")
	}
}

type named string

// The short way of normalising a payload gives what the long one does.
func TestNormalIsAsThroughJSON(t *testing.T) {
	leaf := rapid.OneOf(
		rapid.Just[any](nil), rapid.Just[any](true), rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.Int(), func(i int) any { return i }), rapid.Map(rapid.Int64(), func(i int64) any { return i }),
		rapid.Map(rapid.Uint64(), func(i uint64) any { return i }), rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) any { return f }),
		rapid.Map(rapid.SliceOf(rapid.String()), func(l []string) any { return l }), rapid.Just[any]([]string(nil)), rapid.Just[any]([]any(nil)),
		rapid.Just[any](map[string]any(nil)), rapid.Just[any](named("a name")), rapid.Just[any]("bad \xff utf-8 \u2028 <&>"), rapid.Just[any](struct {
			A int `json:"a,omitempty"`
			B []named
		}{B: []named{"x"}}),
	)
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		if depth == 0 {
			return leaf
		}
		in := value(depth - 1)
		return rapid.OneOf(leaf,
			rapid.Map(rapid.SliceOfN(in, 0, 3), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(rapid.OneOf(rapid.String(), rapid.Just("bad \xfe")), in, 0, 3), func(m map[string]any) any { return m }))
	}
	rapid.Check(t, func(t *rapid.T) {
		v := value(3).Draw(t, "value")
		got, err := normal(v, 0)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := throughJSON(v); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%#v: %#v, through JSON %#v, %v", v, got, want, err)
		}
	})
}
