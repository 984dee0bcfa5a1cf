package translate

import (
	"math"
	"regexp"
)

var secretShapes = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----(?s:.*?)(-----END [A-Z0-9 ]+-----|$)` +
	`|\b(sk-|sk_live_|sk_test_|ghp_|gho_|ghs_|ghu_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza|ya29\.|eyJ[A-Za-z0-9_-]{8,}\.)[A-Za-z0-9_.=-]{6,}` +
	`|[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@` +
	`|(?i:\b(password|passwd|passphrase|secret|token|api[_-]?key)\s*[:=]\s*\S+)` +
	`|(?i:\bbearer\s+[A-Za-z0-9._~+/=-]{12,})` +
	`|\S*(id_rsa|id_ed25519|id_ecdsa|id_dsa)\S*|\S+\.(pem|key|p12|pfx)\b`)

var blob = regexp.MustCompile(`[A-Za-z0-9+/_=-]{24,}`)

// Redact replaces secret-shaped substrings (S1.1 §15: PEM, known token
// prefixes, credentials in URLs, names of key files, long random text) and
// says how many it replaced. Ids of ours (ver_…) and hashes in hex are kept.
func Redact(s string) (string, int) {
	n := 0
	s = secretShapes.ReplaceAllStringFunc(s, func(string) string { n++; return "[redacted]" })
	s = blob.ReplaceAllStringFunc(s, func(b string) string {
		if ownID.MatchString(b) || hexText.MatchString(b) || entropy(b) < 3.9 {
			return b
		}
		if pathLike.MatchString(b) {
			return b
		}
		n++
		return "[redacted]"
	})
	return s, n
}

var (
	ownID    = regexp.MustCompile(`^[a-z]{2,8}_[0-9A-HJKMNP-TV-Z]{26}$`)
	hexText  = regexp.MustCompile(`^[0-9a-f]{32}$|^[0-9a-f]{40}$|^[0-9a-f]{64}$`)
	pathLike = regexp.MustCompile(`^/?([a-z][a-z_-]*/)*[a-z0-9_-]*$`)
)

// entropy is Shannon's, in bits a character; random base64 of 24 characters is
// above 3.9, words are below.
func entropy(s string) float64 {
	var count [256]int
	for i := 0; i < len(s); i++ {
		count[s[i]]++
	}
	e := 0.0
	for _, c := range count {
		if c > 0 {
			p := float64(c) / float64(len(s))
			e -= p * math.Log2(p)
		}
	}
	return e
}
