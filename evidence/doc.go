// Package evidence is the append-only log of what happened: who asked, what
// was decided, what was done, and what was observed afterwards (S3.1, S6.3).
//
// A draft is what a component says about an event. The log checks and redacts
// it and turns it into a record: canonical JSON bytes (JCS, RFC 8785) that
// never change. A receipt is a record as it is handed out: its fields, its
// exact bytes and its place. The payload is kept beside the record, committed
// to by a salted hash, so that it can be purged without touching the record.
// Each record carries the hash of its predecessor (the link); all records
// are leaves of one Merkle tree, published as static files in C2SP
// tlog-tiles form under log/. A checkpoint is the signed size and root of
// that tree. Records live in segments; a segment ends with a SEGMENT_SEALED
// record, whose payload carries an Ed25519 seal, and is never written again.
// An anchor is a checkpoint kept somewhere else: only it (or a verifier key
// from elsewhere) protects against somebody who can write this directory.
//
// FORMAT.md describes every byte on disk.
//
// # Deviations from the reference
//
// The reference declares two different receipt messages and contradicts
// itself in places (spec/evidence.md §2, §21). This package settles it so:
//
//  1. A stored record is the JCS form of the union of both envelopes, with
//     payload_hash instead of the payload. Those exact bytes are hashed,
//     served and exported. There is no protobuf form.
//  2. receipt_id is evr_<ULID> (S0.1 §3.2.1), not a digest of the content.
//  3. previous_receipt_hash is the first 32 hex digits of BLAKE3-256 over
//     the whole previous record. It is 32 zeros only for the first record of
//     the log; a segment's first record links to the previous SEGMENT_SEALED.
//  4. sequence_number is strictly rising over the whole log, from 1, and does
//     not restart with each segment; order is chain order. It is a string in
//     JSON, as every 64-bit number.
//  5. A segment's seal signs JCS{domain, segment_id, record_count,
//     genesis_receipt_id, final_receipt_hash, previous_segment_seal_hash,
//     tree_size, tree_root, sealed_at} and lies inside the payload of
//     SEGMENT_SEALED, which it does not cover.
//  6. segment_id is seg_ + hex32(genesis_receipt_id || opened_at): sealed_at
//     is not known when the records that carry the id are hashed.
//  7. payload_hash is hex32(salt || JCS(payload)) with a random 16-byte salt
//     that is purged with the payload.
//  8. Records carry no signature of their own: checkpoints and seals sign
//     everything. A draft carries its subject's key instead (SubjectKey),
//     which is checked when it is appended and not stored.
//  9. A draft by the wrong emitter is refused and recorded as
//     RECEIPT_FORGERY_DETECTED, not as TAMPER_DETECTED, and never degrades
//     the engine: otherwise any caller could stop the host (§21.6).
//  10. Findings about damaged bytes go into fresh segments of their own under
//     findings/, outside the damaged chain, which stays as found.
//  11. Records carry their emitter (a component's name), which neither
//     envelope has; unset optional fields are left out.
package evidence
