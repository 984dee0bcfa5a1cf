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
package kv
