// Package kv keeps the store's records in Badger and adds what Badger does not have:
// epochs and a durability barrier that can be relied on (design §2).
//
// An epoch is one atomic commit at one timestamp. Timestamps are microseconds since
// 1970, strictly increasing, whatever the clock does. An epoch that is larger than
// one Badger transaction is written in several, all at its timestamp, and counts
// only once its seal, a last key at the same timestamp, is there. Readers always
// read at a sealed timestamp, so they never see a part of an epoch; a torn one,
// left by a crash, is written over at the next Open with the values before it.
//
// Reading at an older timestamp gives every record as it was then, back to the
// horizon, below which Badger may have dropped superseded values (T-1, T-2).
//
// CommitSync makes an epoch durable. A small one goes to the journal, one synchronous
// write of a file of its own, and Badger's log is synced behind it; Open takes up what
// the log lost of it. So what is acknowledged is in the log as far as that was synced,
// or in the journal; an epoch that is in neither has none after it that was acknowledged.
//
// # Keys on disk
//
// Users' keys are stored as they are and must not begin with 0x00. The package's own:
//
//	00 "seal"                 one version an epoch, at its timestamp. Value, big endian:
//	                          timestamp of the seal before it (8), newest timestamp known to be
//	                          on disk when it was written (8), Badger transactions in the epoch (4)
//	00 "part" <n, 4 bytes BE> one version for every transaction but the last of a split epoch:
//	                          read at the epoch's timestamp its version must be that timestamp
//	00 "torn" <from, 8 bytes BE>   nothing in (from, to] ever happened; value: to (8), timestamp
//	                          of the epoch that wrote the values before it over it (8)
//	00 "horizon"              the horizon (8)
//
// Seals form a chain because a power cut may keep a younger log and lose part of an
// older one that was not yet synced: the chain then has a gap, and everything above
// the gap is torn. Only what was not known to be on disk has to be walked at Open.
package kv
