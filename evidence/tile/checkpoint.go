package tile

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is the size and root of a log.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   Hash
}

// ErrCheckpoint is returned for a malformed checkpoint or one not signed by
// the expected key.
var ErrCheckpoint = errors.New("bad checkpoint")

// signer signs notes with a plain Ed25519 key; the note package offers only
// its own text form of private keys.
type signer struct {
	name string
	hash uint32
	key  ed25519.PrivateKey
}

func (s signer) Name() string                    { return s.name }
func (s signer) KeyHash() uint32                 { return s.hash }
func (s signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// VerifierKey returns the text form name+hash+base64 of a public key.
func VerifierKey(name string, pub ed25519.PublicKey) (string, error) {
	return note.NewEd25519VerifierKey(name, pub)
}

// Signer returns a note signer for the key under the name.
func Signer(name string, key ed25519.PrivateKey) (note.Signer, error) {
	text, err := VerifierKey(name, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, err
	}
	return signer{name, v.KeyHash(), key}, nil
}

// text is what is signed.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// Canonical reports whether msg says no more than the checkpoint and its
// signatures, in exactly the form that Sign writes.
func (c Checkpoint) Canonical(msg []byte) bool {
	rest, ok := strings.CutPrefix(string(msg), c.text()+"\n")
	if !ok {
		return false
	}
	for _, line := range strings.SplitAfter(rest, "\n") {
		if line == "" {
			continue
		}
		// Base64 has unused bits at its end: one signature, one spelling.
		f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(f) != 3 || f[0] != "—" || !strings.HasSuffix(line, "\n") {
			return false
		}
		sig, err := base64.StdEncoding.DecodeString(f[2])
		if err != nil || base64.StdEncoding.EncodeToString(sig) != f[2] {
			return false
		}
	}
	return true
}

// Sign returns the checkpoint as a signed note.
func (c Checkpoint) Sign(s note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: c.text()}, s)
}

// ParseCheckpoint opens a signed note with the verifier and reads the
// checkpoint in it. Extension lines are ignored, as the specification says.
func ParseCheckpoint(msg []byte, v note.Verifier) (Checkpoint, error) {
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != v.Name() {
		return Checkpoint{}, fmt.Errorf("%w: not a checkpoint of %s", ErrCheckpoint, v.Name())
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: size %q", ErrCheckpoint, lines[1])
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != len(Hash{}) {
		return Checkpoint{}, fmt.Errorf("%w: root %q", ErrCheckpoint, lines[2])
	}
	return Checkpoint{lines[0], size, Hash(root)}, nil
}

// SplitNotes separates signed notes that were written one after the other.
func SplitNotes(data []byte) [][]byte {
	var out [][]byte
	start, signed := 0, false
	for off := 0; off < len(data); {
		end := off
		for end < len(data) && data[end] != '\n' {
			end++
		}
		end = min(end+1, len(data))
		isSig := strings.HasPrefix(string(data[off:end]), "— ")
		if signed && !isSig {
			out = append(out, data[start:off])
			start, signed = off, false
		}
		signed = signed || isSig
		off = end
	}
	if signed {
		out = append(out, data[start:])
	}
	return out
}
