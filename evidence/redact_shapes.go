package evidence

import (
	"math"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The shape catalog: what is a secret wherever it stands (S3.1 §14, S1.1
// §17.2.6).
var (
	pemBlock = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----(?s:.*?)(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|$)`)
	provider = regexp.MustCompile(`\b(sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{8,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|xox[a-z]-[A-Za-z0-9-]{8,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{30,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/-]{8,}=*)`)
	assigned = regexp.MustCompile(`(?i)\b(password|passphrase|passwd|api[_-]key|secret|token|auth[_-]token|bearer[_-]token|private[_-]key|client[_-]secret|access[_-]token)("?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"'}\]]+)`)
	userinfo = regexp.MustCompile(`(://[^/\s:@]*:)([^/\s@]+)@`)
	jwkText  = regexp.MustCompile(`"kty"\s*:`)
	jwkKey   = regexp.MustCompile(`"(d|p|q|dp|dq|qi|k)"\s*:`)
)

// idKinds are the kinds of our identifiers, which stand before the underscore.
var idKinds = map[string]bool{
	"evr": true, "recpt": true, "act": true, "intent": true, "plan": true, "corr": true, "polreq": true, "poldec": true,
	"apprq": true, "appb": true, "appr": true, "ovrq": true, "ovr": true, "actrq": true, "vrf": true, "vrfi": true,
	"sess": true, "obj": true, "ver": true, "chunk": true, "txn": true, "tx": true, "snap": true, "agent": true, "run": true,
	"req": true, "hnd": true, "chk": true, "idem": true, "seg": true, "tplan": true, "polb": true, "invbundle": true,
	"idbundle": true, "statbundle": true, "reccritical": true, "sigfloor": true, "spcat": true, "nscat": true, "narrativebundle": true,
	"vcap": true, "subj": true,
}

// jwkPrivate are the private members of a JSON Web Key (RFC 7518 §6).
var jwkPrivate = map[string]bool{"d": true, "p": true, "q": true, "dp": true, "dq": true, "qi": true, "oth": true, "k": true}

func privateJWK(m map[string]any) bool {
	if _, ok := m["kty"]; !ok {
		return false
	}
	for k := range m {
		if jwkPrivate[k] {
			return true
		}
	}
	return false
}

// The rules are regular expressions, and each record has dozens of texts. So a rule is
// tried only on a text that has what the rule cannot match without; looking for that costs
// a fraction. A letter that is not ASCII may be the other case of one that is (the Kelvin
// sign), so that texts with such letters are given to every rule.

func mayBeJWK(s string) bool { return strings.Contains(s, `"kty"`) }

func mayBeAssigned(s string) bool {
	return strings.ContainsAny(s, "=:") && holdsAny(s, "pass", "key", "secret", "token")
}

func mayBeBearer(s string) bool {
	return strings.ContainsAny(s, " \t\n\f\r") && holdsAny(s, "bearer", "basic")
}

func mayBeProvider(s string) bool {
	for _, start := range [...]string{"sk-", "gh", "glpat-", "xox", "AKIA", "AIza", "eyJ"} {
		if strings.Contains(s, start) {
			return true
		}
	}
	return false
}

// holdsAny tells whether a text has one of the words, which are lower case, in any case.
func holdsAny(s string, words ...string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return true
		}
		for _, w := range words {
			if c|0x20 == w[0] && len(s)-i >= len(w) && strings.EqualFold(s[i:i+len(w)], w) {
				return true
			}
		}
	}
	return false
}

// eachRun replaces the runs of at least so many letters, digits and the two others, each
// with up to pad equals signs behind it.
func eachRun(s string, other1, other2 byte, least, pad int, replace func(string) string) string {
	var out []byte
	done := 0
	for i := 0; i < len(s); i++ {
		j := i
		for j < len(s) && (s[j]|0x20 >= 'a' && s[j]|0x20 <= 'z' || s[j] >= '0' && s[j] <= '9' || s[j] == other1 || s[j] == other2) {
			j++
		}
		if j-i >= least {
			for n := 0; n < pad && j < len(s) && s[j] == '='; n++ {
				j++
			}
			if to := replace(s[i:j]); to != s[i:j] {
				out, done = append(append(out, s[done:i]...), to...), j
			}
		}
		i = max(i, j-1)
	}
	if out == nil {
		return s
	}
	return string(append(out, s[done:]...))
}

// typedID tells whether a word is an identifier of ours: the name of its kind, and a ULID
// or hex digits.
func typedID(s string) bool {
	kind, id, ok := strings.Cut(s, "_")
	if !ok || !idKinds[kind] {
		return false
	}
	if len(id) == 26 && strings.Trim(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == "" {
		return true
	}
	return len(id) >= 16 && len(id) <= 64 && strings.Trim(id, "0123456789abcdef") == ""
}

// hexWord tells whether a word is hex digits of one case.
func hexWord(s string) bool {
	lower, upper := true, true
	for i := range len(s) {
		c := s[i]
		digit := c >= '0' && c <= '9'
		lower = lower && (digit || c >= 'a' && c <= 'f')
		upper = upper && (digit || c >= 'A' && c <= 'F')
	}
	return s != "" && (lower || upper)
}

// text returns s with every secret in it replaced. key is the name of the
// field it stands in, which decides whether a long token is a digest or an
// identifier of ours (spec/evidence.md §21.17).
func (r *redactor) text(s, key string) string {
	if len(s) < 8 {
		return s
	}
	if strings.Contains(s, "PRIVATE KEY") {
		s = pemBlock.ReplaceAllStringFunc(s, r.hashed)
	}
	if mayBeJWK(s) && jwkText.MatchString(s) && jwkKey.MatchString(s) {
		return r.hashed(s)
	}
	if strings.Contains(s, "://") {
		s = userinfo.ReplaceAllStringFunc(s, func(m string) string {
			p := userinfo.FindStringSubmatch(m)
			r.rules |= ruleDropped
			return p[1] + "redacted@"
		})
	}
	if mayBeAssigned(s) {
		s = assigned.ReplaceAllStringFunc(s, func(m string) string {
			p := assigned.FindStringSubmatch(m)
			if strings.HasPrefix(p[3], "redacted") {
				return m
			}
			r.rules |= ruleDropped
			return p[1] + p[2] + "redacted"
		})
	}
	if mayBeProvider(s) {
		s = provider.ReplaceAllStringFunc(s, r.hashed)
	}
	if mayBeBearer(s) {
		s = bearer.ReplaceAllStringFunc(s, func(m string) string {
			p := bearer.FindStringSubmatch(m)
			if !looksRandom(p[2], 3.0) {
				return m
			}
			return p[1] + " " + r.hashed(p[2])
		})
	}
	return r.words(s, key)
}

// words replaces what looks like a key by its length and its letters alone.
func (r *redactor) words(s, key string) string {
	if len(s) < 32 || signatureField(key) {
		return s
	}
	s = eachRun(s, '+', '/', 64, 2, func(m string) string {
		if hexWord(m) || !looksRandom(m, 4.6) {
			return m
		}
		return r.hashed(m)
	})
	digests := digestField(key)
	return eachRun(s, '-', '_', 32, 0, func(m string) string {
		switch {
		case hexWord(m):
			if digests || strings.Contains(s, ":"+m) || strings.Contains(s, "redacted:"+m) {
				return m // b3:<hex>, sha256:<hex>, or our own replacement
			}
			return r.hashed(m)
		case !typedID(m) && looksRandom(m, 4.0):
			return r.hashed(m)
		}
		return m
	})
}

// looksRandom is the entropy heuristic: letters and digits mixed inside the
// parts between separators, and more bits a character than words have. Hex
// has at most 4, English text about 4, random base64 of 32 characters about
// 4.5.
func looksRandom(s string, bits float64) bool {
	mixed := false
	for _, part := range strings.FieldsFunc(s, func(c rune) bool { return c == '-' || c == '_' || c == '/' || c == '.' }) {
		var letter, digit bool
		var flips int
		var lastUpper bool
		for i, c := range part {
			upper := c >= 'A' && c <= 'Z'
			letter = letter || upper || c >= 'a' && c <= 'z'
			digit = digit || c >= '0' && c <= '9'
			if i > 1 && upper != lastUpper {
				flips++
			}
			lastUpper = upper
		}
		mixed = mixed || letter && digit || flips > len(part)/4 && len(part) >= 8
	}
	if !mixed {
		return false
	}
	var count [256]int
	for i := 0; i < len(s); i++ {
		count[s[i]]++
	}
	h := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			h -= p * math.Log2(p)
		}
	}
	return h > bits
}

// digestWords are parts of the names of fields that hold digests and ids.
var digestWords = map[string]bool{
	"id": true, "ids": true, "hash": true, "hashes": true, "digest": true, "root": true, "sha1": true,
	"sha256": true, "sha512": true, "blake3": true, "b3": true, "link": true, "commit": true, "commits": true,
	"rev": true, "revision": true, "tree": true, "leaf": true, "fingerprint": true, "version": true, "chunk": true,
	"chunks": true, "parent": true, "parents": true, "head": true, "merkle": true, "checkpoint": true, "ref": true,
	"refs": true, "handle": true, "object": true, "snapshot": true, "etag": true, "checksum": true, "proof": true,
	"oid": true, "base": true, "content": true, "traceparent": true, "transaction": true, "ino": true,
}

// digestField reports whether a field of this name may hold a digest.
func digestField(key string) bool {
	for _, part := range strings.FieldsFunc(strings.ToLower(key), func(c rune) bool { return c == '_' || c == '-' || c == '.' }) {
		if digestWords[part] {
			return true
		}
	}
	return false
}

// signatureField reports whether a field of this name holds a public
// signature or public key, which look like secrets and are none.
func signatureField(key string) bool {
	key = strings.ToLower(key)
	return strings.HasSuffix(key, "signature") || strings.HasSuffix(key, "public_key") || key == "tree_root" || key == "signing_key_id"
}
