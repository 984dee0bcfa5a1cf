// Package plan defines what is about to happen, before anything does.
//
// A *document* is what a person or a program dropped into the mount: either
// words (a goal, at most 64 KiB of UTF-8) or a typed intent (YAML or JSON, at
// most 1 MiB, schema aios.intent.v1alpha1). ParseDocument reads one and either
// returns it whole or an *Error that names the line and the column.
//
// An *action* is one entry of a typed document. A *step* is an action that has
// been matched with a capability of the catalogue: its target and parameters
// validate, its risk, verification and sandbox profile are known, and it has a
// key. A *plan* is the steps of one goal in the order in which they run; its
// JSON form is canonical (RFC 8785), so that it can be hashed and approved.
//
// A *request* is the frozen part of an action envelope (S0.1 §4): what an
// approval binds and what the idempotency check compares.
//
// The package performs nothing, asks nobody and imports no other package of
// this module.
package plan
