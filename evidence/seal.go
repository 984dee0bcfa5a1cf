package evidence

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// sealDomain separates seals from everything else the key signs.
const sealDomain = "aios.evidence.segment-seal.v1"

// Why a segment was sealed (S3.1 §7.1; at most four values).
const (
	sealSize     = "SIZE"
	sealAge      = "AGE"
	sealOperator = "OPERATOR"
	sealRestart  = "RESTART"
)

// segmentID is seg_ + hex32(genesis_receipt_id || opened_at), deviation 6.
// opened_at is the first record's time.
func segmentID(genesis string, opened time.Time) string {
	return "seg_" + hex32([]byte(genesis+opened.UTC().Format(timeForm)))
}

func validSegmentID(first *Receipt) bool {
	return first.SegmentID == segmentID(first.ID, first.RecordedAt)
}

func linkSum(b []byte) [32]byte { return blake3.Sum256(b) }

func leafHex(b []byte) string {
	h := tile.Leaf(b)
	return hex.EncodeToString(h[:])
}

// seal is what the signature of a segment covers. Numbers are strings.
type seal struct {
	Domain       string `json:"domain"`
	FinalHash    string `json:"final_receipt_hash"` // link of the last record before SEGMENT_SEALED
	Genesis      string `json:"genesis_receipt_id"`
	PreviousSeal string `json:"previous_segment_seal_hash"` // hex32 of the previous seal's payload; zeros for the first
	Count        string `json:"record_count"`               // SEGMENT_SEALED included
	SealedAt     string `json:"sealed_at"`
	SegmentID    string `json:"segment_id"`
	TreeRoot     string `json:"tree_root"` // base64, of the tree before SEGMENT_SEALED
	TreeSize     string `json:"tree_size"`
}

// fields returns the seal as payload fields without the domain.
func (s *seal) fields() map[string]any {
	return map[string]any{
		"final_receipt_hash": s.FinalHash, "genesis_receipt_id": s.Genesis,
		"previous_segment_seal_hash": s.PreviousSeal, "record_count": s.Count, "sealed_at": s.SealedAt,
		"segment_id": s.SegmentID, "tree_root": s.TreeRoot, "tree_size": s.TreeSize,
	}
}

// signed returns the bytes the signature is over.
func (s *seal) signed() []byte {
	m := s.fields()
	m["domain"] = sealDomain
	b, err := appendCanonical(nil, m)
	if err != nil {
		panic(err) // only strings
	}
	return b
}

// payload returns the SEGMENT_SEALED payload with the signature in it.
func (s *seal) payload(key ed25519.PrivateKey, keyID, reason string) map[string]any {
	m := s.fields()
	m["seal_reason"] = reason
	m["segment_signature"] = base64.StdEncoding.EncodeToString(ed25519.Sign(key, s.signed()))
	m["signing_key_id"] = keyID
	return m
}

// checkSeal verifies the canonical payload of a SEGMENT_SEALED record and
// returns what it says, or what is wrong.
func checkSeal(canonical []byte, pub ed25519.PublicKey) (seal, string) {
	var p struct {
		seal
		Signature string `json:"segment_signature"`
	}
	if err := json.Unmarshal(canonical, &p); err != nil {
		return p.seal, "seal is not JSON"
	}
	sig, err := base64.StdEncoding.DecodeString(p.Signature)
	if err != nil || !ed25519.Verify(pub, p.seal.signed(), sig) {
		return p.seal, "seal's signature does not verify"
	}
	return p.seal, ""
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func rootText(h tile.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
