// Package agents is the action runtime: it takes a document from a submitter and
// carries it out, or says why not (S0.1, S10.1).
//
// A run is one accepted document, a goal in words or a typed intent. It consists of
// actions, each of which goes through the fourteen states of S10.1 §3.1. Nothing
// runs that policy has not allowed; nothing that was run counts as done before an
// independent look says so; what fails after its first effect is taken back. Every
// step is durable before the next begins, and leaves evidence in the same commit.
//
// One subject may have so many actions carried out in a minute, and so many at once. The
// reference bounds an AI to 30 and 15, and a human to 60 and 30 (S10.1 §11.4). The first
// holds here, and a configuration can make it stricter and never wider. The second does
// not hold by itself: a hundred scripts of one person drop their goals at once and are
// served, 200 a second, and to a filesystem they are that one person. Where people share
// a machine with programs that they do not trust, `human_rate: 60/30` puts it in force.
package agents
