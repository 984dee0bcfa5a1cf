package objects

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// leftoverWait is how long the chunks of work that was aborted are kept before a
// collection takes them (OM §7): who looks into what went wrong finds the bytes. Only what
// was cut into chunks already is meant; a staging file goes with its transaction.
const leftoverWait = 24 * time.Hour

// leftover is the record of what an aborted transaction has stored and nothing names.
type leftover struct {
	At     time.Time `json:"aborted_at"`
	Chunks []string  `json:"chunks"` // chk_…
}

func leftoverKey(txn ID) []byte { return append([]byte{'x'}, txn.u[:]...) }

func chunkID(h blob.Hash) string { return "chk_" + h.String() }

// leave notes the transaction's chunks in the open epoch, those that nobody had stored
// before. s.mu is held.
func (s *Store) leave(t *Tx) {
	if len(t.stored) == 0 || s.writable() != nil {
		return
	}
	l := leftover{At: s.o.Now().UTC()}
	for _, p := range t.stored {
		if _, err := s.get(chunkKey(p.hash)); errors.Is(err, kv.ErrNotFound) {
			s.open.puts[string(chunkKey(p.hash))] = p.place
			s.open.packed = true
		}
		l.Chunks = append(l.Chunks, chunkID(p.hash))
	}
	t.stored = nil
	b, err := json.Marshal(l)
	if err != nil {
		panic("a leftover's record cannot be written: " + err.Error()) // plain strings and a time only
	}
	s.open.puts[string(leftoverKey(t.id))] = b
}

// leftovers are what a collection finds of aborted work.
type leftovers struct {
	keep map[string]bool // ids of chunks that wait
	over [][]byte        // keys of records whose time is over
}

func (s *Store) leftovers(view *kv.View) (l leftovers, err error) {
	l.keep = map[string]bool{}
	now := s.o.Now()
	for k, b := range view.Scan([]byte{'x'}, nil) {
		var rec leftover
		if err := json.Unmarshal(b, &rec); err != nil {
			return l, err
		}
		if now.Sub(rec.At) >= leftoverWait {
			l.over = append(l.over, slices.Clone(k))
			continue
		}
		for _, id := range rec.Chunks {
			l.keep[id] = true
		}
	}
	return l, view.Err()
}

// gcListed is how many chunks and files one record of a collection names; a larger
// collection writes several.
const gcListed = 1000

// reaped is what a collection lets go of.
type reaped struct {
	hash  blob.Hash
	bytes int64
	file  bool // a plain file, else a chunk in a pack
}

// tellReaped is the evidence of a part of a collection, in the epoch that carries it out.
func (s *Store) tellReaped(part []reaped) {
	var chunks, files []string
	var bytes int64
	for _, r := range part {
		bytes += r.bytes
		if r.file {
			files = append(files, "b3:"+r.hash.String())
		} else {
			chunks = append(chunks, chunkID(r.hash))
		}
	}
	p := map[string]any{"detail_kind": "AIOSFS_CHUNK_PASS", "outcome": "SUCCEEDED", "scope": "chunks", "chunks_reaped": len(chunks), "files_reaped": len(files), "bytes_freed": bytes}
	if chunks != nil {
		p["chunk_ids"] = chunks
	}
	if files != nil {
		p["content_hashes"] = files
	}
	s.open.emit = append(s.open.emit, evidence.Draft{ID: s.evidenceID(), Type: record.GcPass, Emitter: string(record.EmitterStore), Subject: "_system:service:aiosfs", Scope: "_system", Payload: p})
}
