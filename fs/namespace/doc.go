// Package namespace is the path lattice of AIOS: which names may stand where
// in the stored tree, who may change what is below them, and what a path
// string means (S4.1 §3–8, filesystem.md §10).
//
// A scope is one of three places with a closed list of reserved names:
// system (24 names), a group (13) and a user of a group (11). A catalog is
// one version of those lists, named nscat_ and the digest of its content. A
// path resolves, within one catalog, to a scope, the ids of the group and the
// user, a reserved name and what is left below it; or it does not resolve,
// and the error says why and at which segment.
//
// The package is pure: it knows nothing of a store, a mount or a caller, and
// resolving the same string in the same catalog always gives the same answer.
package namespace
