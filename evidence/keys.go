package evidence

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// publicKey takes the Ed25519 key out of a verifier key text.
func publicKey(text string) (ed25519.PublicKey, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("malformed verifier key")
	}
	b, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(b) != 1+ed25519.PublicKeySize || b[0] != 1 {
		return nil, errors.New("malformed verifier key")
	}
	return ed25519.PublicKey(b[1:]), nil
}

// keyText is the verifier key of this log.
func (l *Log) keyText() string {
	text, err := tile.VerifierKey(l.o.Origin, l.public)
	if err != nil {
		return ""
	}
	return text
}

// jsonText returns one text field of a stored payload.
func jsonText(stored []byte, field string) string {
	var p struct {
		Payload map[string]any `json:"payload"`
	}
	if json.Unmarshal(stored, &p) != nil {
		return ""
	}
	s, _ := p.Payload[field].(string)
	return s
}
