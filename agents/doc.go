// Package agents is the action runtime: it takes a document from a submitter and
// carries it out, or says why not (S0.1, S10.1).
//
// A run is one accepted document, a goal in words or a typed intent. It consists of
// actions, each of which goes through the fourteen states of S10.1 §3.1. Nothing
// runs that policy has not allowed; nothing that was run counts as done before an
// independent look says so; what fails after its first effect is taken back. Every
// step is durable before the next begins, and leaves evidence in the same commit.
package agents
