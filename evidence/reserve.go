package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/zeebo/blake3"
)

// A receipt id belongs to the log (S6.3 §10.1). Whoever must name a record
// before it is appended, because a record in an outbox is appended again after
// a crash, has the log reserve the id; the log knows its own reservations by a
// tag in them, also after a restart, and refuses any other id.

// secrets are what the log derives from its signing key.
type secrets struct {
	reservation, subjects *keyed
}

func deriveSecrets(key ed25519.PrivateKey) secrets {
	return secrets{
		reservation: derive("aios.evidence 2026 reserved receipt ids", key),
		subjects:    derive("aios.evidence 2026 subject keys", key),
	}
}

// keyed is BLAKE3 with a key. A hasher has 10 KB, and several are needed for each record,
// so that they are used again.
type keyed struct{ hashers sync.Pool }

func derive(purpose string, from ed25519.PrivateKey) *keyed {
	key := make([]byte, 32)
	blake3.DeriveKey(purpose, from.Seed(), key)
	return &keyed{sync.Pool{New: func() any {
		h, err := blake3.NewKeyed(key)
		if err != nil {
			panic(err) // the key has 32 bytes
		}
		return h
	}}}
}

// mac is the keyed hash of fields that cannot run into each other.
func (k *keyed) mac(fields ...string) []byte {
	h := k.hashers.Get().(*blake3.Hasher)
	defer k.hashers.Put(h)
	h.Reset()
	var n [4]byte
	for _, f := range fields {
		binary.LittleEndian.PutUint32(n[:], uint32(len(f)))
		h.Write(n[:])
		h.WriteString(f)
	}
	return h.Sum(nil)
}

// tagBytes is how much of a reserved ULID is the log's tag: its last 40 bits.
// The rest of its entropy is a counter, so that ids rise within a
// millisecond, and chance.
const tagBytes = 5

// reservations counts within a millisecond.
type reservations struct {
	mu   sync.Mutex
	ms   uint64
	next uint16
}

// Reserve gives the id of a record that is to be appended later. The time
// goes into the id and nowhere else.
func (l *Log) Reserve(at time.Time) string {
	var u ulid.ULID
	ms := ulid.Timestamp(at)
	l.reserved.mu.Lock()
	if ms > l.reserved.ms {
		l.reserved.ms, l.reserved.next = ms, 0
	}
	ms = l.reserved.ms
	l.reserved.next++
	if l.reserved.next == 0 { // the count is used up: the next millisecond's
		l.reserved.ms++
		ms = l.reserved.ms
	}
	n := l.reserved.next
	l.reserved.mu.Unlock()
	if err := u.SetTime(ms); err != nil {
		panic(err) // not before the year 10889
	}
	binary.BigEndian.PutUint16(u[6:], n)
	rand.Read(u[8 : len(u)-tagBytes])
	copy(u[len(u)-tagBytes:], l.tag(u))
	return idPrefix + u.String()
}

func (l *Log) tag(u ulid.ULID) []byte {
	return l.secrets.reservation.mac(string(u[:len(u)-tagBytes]))[:tagBytes]
}

// gave reports whether the log has given the id: it is a reservation, or that
// of a record, which is then an append repeated.
func (l *Log) gave(id string) bool {
	u, err := ulidOf(id)
	if err != nil {
		return false
	}
	if bytes.Equal(l.tag(u), u[len(u)-tagBytes:]) {
		return true
	}
	_, _, err = l.find(id)
	return err == nil
}

// setByLog are the fields of a receipt that no emitter sets, by their names in
// a record.
var setByLog = []string{"receipt_id", "segment_id", "sequence_number", "tai64n", "recorded_at", "emitted_at", "previous_receipt_hash",
	"payload_hash", "payload_ref", "tamper_quarantined"}

// ParseDraft reads a draft that was kept as JSON (json.Marshal). It refuses
// one that sets what only the log sets, with ErrIllegalAuthority, and any
// other field that a draft does not have.
func ParseDraft(b []byte) (Draft, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return Draft{}, fmt.Errorf("%w: %w", ErrInvalidDraft, err)
	}
	for _, f := range setByLog {
		if _, ok := fields[f]; ok {
			return Draft{}, fmt.Errorf("%w: %s", ErrIllegalAuthority, f)
		}
	}
	var d Draft
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return Draft{}, fmt.Errorf("%w: %w", ErrInvalidDraft, err)
	}
	return d, nil
}
